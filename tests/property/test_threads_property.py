"""Whether a thread packs recordings ahead changes nothing: the same bytes come out, and the same errors."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.backtest import hbt
from engine.backtest.config import AssetConfig, BacktestConfig, StrategyConfig
from engine.backtest.runner import BacktestRunner
from engine.core.errors import DataError, RingbookError
from tests.kit.markets import LOT_SIZE, START, TICK_SIZE, random_market
from tests.kit.order_markets import random_orders

STRATEGIES = {
    "maker": (
        "engine.strategy.native:MarketMaker",
        {"interval_ns": 7_000, "half_spread": 0.5, "order_qty": 2 * LOT_SIZE, "max_position": 11 * LOT_SIZE},
    ),
    "crosser": ("tests/kit/crosser.py:Crosser", {"interval_ns": 9_000, "order_qty": 2 * LOT_SIZE}),
    "talker": ("tests/kit/talker.py:Talker", {}),
}
FAULTS = [("qty", np.nan), ("px", np.inf), ("ev", 0), ("exch_ts", START - 1), ("local_ts", 2**63 - 1)]


def market(seed: int, rows: int, by_order: bool) -> np.ndarray:
    return random_orders(seed, rows) if by_order else random_market(seed, rows)


def configure(symbols: list[str], strategy: str, by_order: bool) -> BacktestConfig:
    cls, params = STRATEGIES[strategy]
    assets = [
        AssetConfig(
            symbol=symbol,
            tick_size=TICK_SIZE,
            lot_size=LOT_SIZE,
            entry_latency_ns=2_000,
            response_latency_ns=1_000,
            queue_model="l3_fifo_queue_model" if by_order else "power_prob_queue_model3",
        )
        for symbol in symbols
    ]
    one = StrategyConfig(id="s", cls=cls, params=params)
    return BacktestConfig(assets=assets, strategies=[one], equity_sample_ns=50_000)


def outcome(config: BacktestConfig, markets: dict, **how) -> tuple:
    """Everything that a run comes to, its progress and its error."""
    seen: list[float] = []
    try:
        result = BacktestRunner(progress=seen.append, **how).run(config, markets)
    except RingbookError as error:
        return type(error), str(error), seen
    arrays = [getattr(result, name).tobytes() for name in ("fills", "orders", "equity")]
    return *arrays, repr(result.states), repr(result.logs), result.events, result.last_ts, seen


@settings(max_examples=60, deadline=None)
@given(
    st.data(),
    st.sampled_from(sorted(STRATEGIES)),
    st.booleans(),
    st.integers(1, 3),
    st.sampled_from([1, 7, 100, 128, 129, 1000, 1 << 16]),
    st.booleans(),
)
def test_a_run_comes_to_the_same(data, strategy, by_order, n_assets, rows, faulty):
    symbols = ["A", "B", "C"][:n_assets]
    config = configure(symbols, strategy, by_order)
    markets = {}
    for symbol in symbols:
        events = market(data.draw(st.integers(0, 2**32)), data.draw(st.integers(1, 6000)), by_order)
        if faulty and data.draw(st.booleans()):
            field, value = data.draw(st.sampled_from(FAULTS))
            events[field][data.draw(st.integers(0, len(events) - 1))] = value
        cuts = data.draw(st.lists(st.integers(0, len(events)), max_size=3).map(sorted))
        markets[symbol] = np.split(events, cuts)
    one = outcome(config, markets, chunk_rows=rows, threads=1)
    assert outcome(config, markets, chunk_rows=rows, threads=2) == one
    checked = data.draw(st.booleans())
    assert outcome(config, markets, chunk_rows=rows, threads=2, check_invariants=checked) == one


class Hand:
    """A polling strategy that asks at random, and writes down all answers."""

    def __init__(self, run: hbt.HashMapMarketDepthBacktest, assets: int, seed: int) -> None:
        self.run, self.assets, self.rng = run, assets, random.Random(seed)
        self.order_id = 0
        self.told: list[object] = []

    def step(self) -> int:
        run, rng = self.run, self.rng
        asset = rng.randrange(self.assets)
        kind = rng.random()
        if kind < 0.5:
            ended = run.elapse(rng.choice([0, 500, 7_000, 100_000, 1_000_000]))
        elif kind < 0.7:
            ended = run.wait_next_feed(rng.random() < 0.5, 50_000)
        elif self.told:
            ended = self.order(asset)
        else:
            ended = run.elapse(1)
        depth = run.depth(asset)
        self.told.append((ended, run.current_timestamp, depth.best_bid, depth.best_ask))
        self.told.append((run.position(asset), run.state_values(asset).balance, run.feed_latency(asset)))
        self.told.append((run.order_latency(asset), run.queue_ahead(asset, self.order_id)))
        return ended

    def order(self, asset: int) -> int:
        run, rng = self.run, self.rng
        depth = run.depth(asset)
        tick = rng.choice([depth.best_bid_tick, depth.best_ask_tick]) + rng.randint(-1, 1)
        if not 0 < tick < 10_000:
            return 0
        self.order_id += 1
        submit = run.submit_buy_order if rng.random() < 0.5 else run.submit_sell_order
        wait = rng.random() < 0.3
        return submit(asset, self.order_id, tick * TICK_SIZE, LOT_SIZE, hbt.GTC, hbt.LIMIT, wait)

    def outcome(self, steps: int) -> list[object]:
        try:
            while steps and self.step() != 1:
                steps -= 1
        except DataError as error:
            self.told.append(str(error))
        if steps == 0:
            self.run.check_invariants()
        for asset in range(self.assets):
            self.told += [self.run.fills(asset).tobytes(), self.run.order_log(asset).tobytes()]
        self.run.close()
        return [repr(one) if not isinstance(one, bytes) else one for one in self.told]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 2**32), st.integers(1, 6000)), min_size=1, max_size=3),
    st.booleans(),
    st.integers(0, 2**32),
    st.sampled_from([3, 60, 10_000]),
    st.none() | st.tuples(st.sampled_from(FAULTS), st.floats(0, 1)),
)
def test_a_polled_run_says_the_same(seeds, by_order, seed, steps, fault):
    markets = [market(*one, by_order) for one in seeds]
    if fault is not None:
        (field, value), where = fault
        markets[-1][field][int(where * (len(markets[-1]) - 1))] = value

    def told(threads: int) -> list[object]:
        assets = []
        for events in markets:
            asset = hbt.BacktestAsset().data(np.split(events, [len(events) // 3])[0]).tick_size(TICK_SIZE)
            asset.data(events[len(events) // 3 :]).lot_size(LOT_SIZE).constant_order_latency(3_000, 1_000)
            assets.append(asset.l3_fifo_queue_model() if by_order else asset.power_prob_queue_model3(3.0))
        run = hbt.HashMapMarketDepthBacktest(assets, threads=threads)
        return Hand(run, len(assets), seed).outcome(steps)

    assert told(2) == told(1)


def test_a_chunk_that_cannot_be_read_ends_a_run_where_it_begins():
    """What reading the next chunk raises, perhaps ahead of time, is raised where the chunk before it ends."""

    class Torn:
        name = "torn"
        rows = 5_000

        def chunks(self, start: int = 0):
            yield random_market(1, 2_000)
            raise DataError("torn off", file="torn")

    config = configure(["A"], "maker", False)
    outcomes = [outcome(config, {"A": [Torn()]}, threads=threads) for threads in (1, 2)]
    assert outcomes[0] == outcomes[1]
    assert outcomes[0][0] is DataError
    assert "torn off" in outcomes[0][1]


def test_threads_are_one_or_two():
    for wrong in (0, 3, -1, True, "2"):
        with pytest.raises(RingbookError, match="threads"):
            BacktestRunner(threads=wrong)
