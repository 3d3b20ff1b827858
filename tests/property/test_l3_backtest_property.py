"""Generated markets by order: the backtest equals hftbacktest's L3 FIFO model, and batches equal steps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from benchmarks.peers.hftbacktest_mm import run_crosser, run_market_maker
from engine.backtest.config import AssetConfig, BacktestConfig, StrategyConfig
from engine.backtest.runner import BacktestRunner
from tests.kit.compare import assert_same
from tests.kit.markets import LOT_SIZE as PRICE_LOT
from tests.kit.markets import TICK_SIZE as PRICE_TICK
from tests.kit.markets import random_market
from tests.kit.order_markets import LOT_SIZE, TICK_SIZE, random_orders

CROSSER = "tests/kit/crosser.py:Crosser"
MAKER = "engine.strategy.native:MarketMaker"
TALKER = "tests/kit/talker.py:Talker"

latency = st.sampled_from([0, 0, 1_000, 2_000, 5_000, 7_500])
seeds = st.tuples(st.integers(0, 2**32), st.integers(40, 500))


def make_asset(symbol="A", entry=3_000, response=1_000):
    return AssetConfig(
        symbol=symbol,
        tick_size=TICK_SIZE,
        lot_size=LOT_SIZE,
        contract_size=50.0,
        maker_fee=-0.0001,
        taker_fee=0.0005,
        entry_latency_ns=entry,
        response_latency_ns=response,
        queue_model="l3_fifo_queue_model",
    )


def configure(assets, cls, **params):
    return BacktestConfig(assets=assets, strategies=[StrategyConfig(id="s", cls=cls, params=params)])


def same(one, other):
    assert one.fills.tobytes() == other.fills.tobytes()
    assert one.orders.tobytes() == other.orders.tobytes()
    assert [state.values[:6] for state in one.states] == [state.values[:6] for state in other.states]


@settings(max_examples=60, deadline=None)
@given(seeds, latency, latency, st.integers(1, 9), st.integers(0, 3), st.integers(1, 4), st.integers(0, 4))
def test_the_market_maker_has_hftbacktests_fills(seed, entry, response, interval, half, grid, skew):
    data = random_orders(*seed)
    asset = make_asset(entry=entry, response=response)
    params = {
        "interval_ns": interval * 1_000 + entry + response,
        "half_spread": half / 2,
        "skew": skew / 2,
        "order_qty": 2.0,
        "max_position": 11.0,
        "grid_num": grid,
        "grid_interval": 1,
    }
    result = BacktestRunner(check_invariants=True).run(configure([asset], MAKER, **params), {"A": data})
    assert_same(result, run_market_maker(asset, data, **params))


@settings(max_examples=60, deadline=None)
@given(seeds, latency, latency, st.integers(1, 9), st.integers(1, 4))
def test_the_crosser_has_hftbacktests_fills(seed, entry, response, interval, lots):
    # A clear can leave own orders beyond the market, which a modify then takes with ours and not with theirs.
    data = random_orders(*seed, clears=False)
    asset = make_asset(entry=entry, response=response)
    # Faster polls than answers never end in hftbacktest, see docs/parity.md.
    interval = interval * 1_000 + entry + response
    config = configure([asset], CROSSER, interval_ns=interval, order_qty=float(lots), modify_ticks=-2)
    result = BacktestRunner(check_invariants=True).run(config, {"A": data})
    peer = run_crosser(asset, data, interval, float(lots), -2)
    # Without an opposite side its market orders fill at the ends of int64, ours expire: see docs/parity.md.
    assume(all(-(1 << 60) < tick < 1 << 60 for tick in peer.fills["price_tick"].tolist()))
    assert_same(result, peer)


@settings(max_examples=40, deadline=None)
@given(seeds, seeds, seeds, st.sampled_from([CROSSER, MAKER, TALKER]), st.integers(1, 20), latency, latency)
def test_batches_equal_steps_beside_a_market_by_price(one, two, three, cls, interval, entry, response):
    by_price = AssetConfig(symbol="P", tick_size=PRICE_TICK, lot_size=PRICE_LOT)
    assets = [make_asset("A", entry, response), by_price, make_asset("B", response, entry)]
    data = {"A": random_orders(*one), "P": random_market(*two), "B": random_orders(*three)}
    config = configure(assets, cls, interval_ns=interval * 1_000)
    batched = BacktestRunner(check_invariants=True).run(config, data)
    same(batched, BacktestRunner(stepwise=True).run(config, data))


@pytest.mark.parametrize("seed", range(8))
def test_a_market_in_pieces_is_the_same_market(seed):
    data = random_orders(seed, 400)
    config = configure([make_asset()], CROSSER, interval_ns=5_000)
    pieces = np.split(data, np.sort(np.random.default_rng(seed).integers(0, len(data), 4)))
    one, other = (BacktestRunner().run(config, {"A": chunks}) for chunks in (data, pieces))
    assert len(one.fills) > 0
    same(one, other)
