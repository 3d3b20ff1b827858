"""Generated markets: batches equal steps, a pushed stream equals the backtest, and all equal hftbacktest."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from benchmarks.peers.hftbacktest_mm import run_crosser, run_market_maker
from engine.backtest.config import AssetConfig, BacktestConfig, StrategyConfig
from engine.backtest.recorder import Recorder
from engine.backtest.runner import BacktestRunner
from engine.feeds.merge import Merger
from engine.feeds.replay import NpzSource
from engine.gateways.paper import Paper, PaperDriver
from engine.kernel import Kernel
from engine.strategy.loader import load
from tests.kit.compare import assert_same
from tests.kit.markets import LOT_SIZE, TICK_SIZE, random_market

CROSSER = "tests/kit/crosser.py:Crosser"
MAKER = "engine.strategy.native:MarketMaker"
TALKER = "tests/kit/talker.py:Talker"

LATENCIES = {"entry_latency_ns": 3_000, "response_latency_ns": 1_000}

latency = st.sampled_from([0, 0, 1_000, 2_000, 5_000, 7_500])
queue = st.sampled_from(
    [
        ("risk_adverse_queue_model", 3.0),
        ("log_prob_queue_model", 3.0),
        ("log_prob_queue_model2", 3.0),
        ("power_prob_queue_model", 2.0),
        ("power_prob_queue_model2", 1.5),
        ("power_prob_queue_model3", 3.0),
    ]
)


@dataclass
class Market:
    """Assets and the seeds of their data, so that a failing example is short."""

    assets: list[AssetConfig]
    seeds: list[tuple[int, int]]

    @property
    def data(self):
        return {
            asset.symbol: random_market(seed, rows)
            for asset, (seed, rows) in zip(self.assets, self.seeds, strict=True)
        }


@st.composite
def markets(draw, symbols=("A",)):
    """Assets with drawn models, and data."""
    assets = []
    for symbol in symbols:
        model, n = draw(queue)
        assets.append(
            AssetConfig(
                symbol=symbol,
                tick_size=TICK_SIZE,
                lot_size=LOT_SIZE,
                maker_fee=-0.0001,
                taker_fee=0.0005,
                entry_latency_ns=draw(latency),
                response_latency_ns=draw(latency),
                queue_model=model,
                queue_n=n,
            )
        )
    size = st.tuples(st.integers(0, 2**32), st.integers(40, 500))
    return Market(assets, draw(st.lists(size, min_size=len(symbols), max_size=len(symbols))))


def configure(assets, cls, **params):
    return BacktestConfig(assets=assets, strategies=[StrategyConfig(id="s", cls=cls, params=params)])


def same(one, other):
    assert one.fills.tobytes() == other.fills.tobytes()
    assert one.orders.tobytes() == other.orders.tobytes()
    assert [state.values[:6] for state in one.states] == [state.values[:6] for state in other.states]


@settings(max_examples=40, deadline=None)
@given(markets(), st.integers(1, 9), st.integers(1, 4))
def test_the_crosser_has_hftbacktests_fills(market, interval, lots):
    assets, data = market.assets, market.data
    # Faster polls than answers never end in hftbacktest, see docs/parity.md.
    interval = interval * 1_000 + assets[0].entry_latency_ns + assets[0].response_latency_ns
    config = configure(assets, CROSSER, interval_ns=interval, order_qty=lots * LOT_SIZE)
    result = BacktestRunner(check_invariants=True).run(config, data)
    peer = run_crosser(assets[0], data["A"], interval, lots * LOT_SIZE)
    # Without an opposite side its market orders fill at the ends of int64, ours expire: see docs/parity.md.
    assume(all(-(1 << 60) < tick < 1 << 60 for tick in peer.fills["price_tick"].tolist()))
    assert_same(result, peer)


@settings(max_examples=40, deadline=None)
@given(markets(), st.integers(1, 9), st.integers(0, 3), st.integers(1, 4), st.integers(0, 4))
def test_the_market_maker_has_hftbacktests_fills(market, interval, half, grid, skew):
    assets, data = market.assets, market.data
    params = {
        "interval_ns": interval * 1_000 + assets[0].entry_latency_ns + assets[0].response_latency_ns,
        "half_spread": half / 2,
        "skew": skew / 2,
        "order_qty": 2 * LOT_SIZE,
        "max_position": 11 * LOT_SIZE,
        "grid_num": grid,
        "grid_interval": 1,
    }
    result = BacktestRunner(check_invariants=True).run(configure(assets, MAKER, **params), data)
    assert_same(result, run_market_maker(assets[0], data["A"], **params))


@settings(max_examples=40, deadline=None)
@given(markets(("A", "B", "C")), st.sampled_from([CROSSER, MAKER, TALKER]), st.integers(1, 20))
def test_batches_equal_steps(market, cls, interval):
    assets, data = market.assets, market.data
    config = configure(assets, cls, interval_ns=interval * 1_000)
    same(BacktestRunner().run(config, data), BacktestRunner(stepwise=True).run(config, data))


def push(config, data):
    """Runs a configuration through the paper venue, on the merged stream."""
    kernel = Kernel(config.assets)
    for entry in config.strategies:
        kernel.add_strategy(entry.id, load(entry.cls)(**entry.params))
    paper, recorder = Paper(config.assets), Recorder()
    merger = Merger([NpzSource(asset.symbol, data[asset.symbol]) for asset in config.assets])
    items = merger.read(1 << 20)
    kernel.start(int(items["ts"][0]))
    driver = PaperDriver(kernel, paper, recorder)
    columns = (np.ascontiguousarray(items[name]) for name in ("event", "ts", "instrument", "flags"))
    driver.push(*columns)
    driver.finish()
    paper.check_invariants()
    kernel.check_invariants()
    return recorder, kernel


@settings(max_examples=40, deadline=None)
@given(markets(("A", "B")), st.sampled_from([CROSSER, MAKER, TALKER]), st.integers(1, 20))
def test_a_pushed_stream_equals_the_backtest(market, cls, interval):
    assets, data = market.assets, market.data
    # A poll slower than an answer: then both end with the data.
    slowest = max(asset.entry_latency_ns + asset.response_latency_ns for asset in assets)
    config = configure(assets, cls, interval_ns=interval * 1_000 + slowest)
    result = BacktestRunner().run(config, data)
    recorder, kernel = push(config, data)
    assert result.fills.tobytes() == recorder.fill_array().tobytes()
    for state in result.states:
        assert kernel.state("s", state.symbol)[:6] == state.values[:6]


def test_the_same_run_twice_gives_the_same_bytes():
    data = {"A": random_market(7, 500)}
    asset = AssetConfig(symbol="A", tick_size=TICK_SIZE, lot_size=LOT_SIZE, **LATENCIES)
    config = configure([asset], CROSSER, interval_ns=5_000)
    one, other = BacktestRunner().run(config, data), BacktestRunner().run(config, data)
    assert len(one.fills) > 0
    assert one.orders.tobytes() == other.orders.tobytes()
    assert one.fills.tobytes() == other.fills.tobytes()


@pytest.mark.parametrize("seed", range(8))
def test_a_market_in_pieces_is_the_same_market(seed):
    data = random_market(seed, 400)
    asset = AssetConfig(symbol="A", tick_size=TICK_SIZE, lot_size=LOT_SIZE, **LATENCIES)
    config = configure([asset], CROSSER, interval_ns=5_000)
    cuts = np.sort(np.random.default_rng(seed).integers(0, len(data), 4))
    pieces = np.split(data, cuts)
    same(BacktestRunner().run(config, {"A": data}), BacktestRunner().run(config, {"A": pieces}))
