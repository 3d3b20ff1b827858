"""The market maker: its rules by example, and those in Python, Numba and Cython order by order."""

from __future__ import annotations

import numpy as np
import pytest

from engine.core.types import Side, Status
from engine.kernel import Kernel
from engine.strategy.native import MarketMaker as Native
from examples.strategies.market_maker import MarketMaker as Plain
from examples.strategies.market_maker_jit import MarketMaker as Jit
from tests.kit.kernels import BTC, ETH, REQUEST, Venue, events

HOMES = [
    pytest.param(Plain, id="python"),
    pytest.param(Jit, id="jit"),
    pytest.param(Jit.plain, id="jit-plain"),
    pytest.param(Native, id="cython"),
]
EACH = pytest.mark.parametrize("kind", HOMES)


def start(kind, symbols=("BTC",), bid=100.0, ask=101.0, **params):
    kernel = Kernel([BTC, ETH])
    kernel.add_strategy("mm", kind(interval_ns=100, **params), symbols)
    kernel.start(1000)
    kernel.market(0, events(("bid", bid, 5.0), ("ask", ask, 5.0), ts=1000))
    return kernel, Venue(kernel)


def quotes(kernel):
    return sorted((o.side.name, o.price_tick, round(o.qty / 0.1)) for o in kernel.orders("mm"))


def move(kernel, old, new, ts):
    rows = [("bid", old[0], 0.0), ("ask", old[1], 0.0), ("bid", new[0], 5.0), ("ask", new[1], 5.0)]
    kernel.market(0, events(*rows, ts=ts))


@EACH
def test_they_have_the_same_parameters(kind):
    assert kind.specs() == Native.specs()


@EACH
def test_quotes_around_the_middle(kind):
    kernel, venue = start(kind, half_spread=2.0, order_qty=0.3, max_position=1.0)
    kernel.timer(1099)
    assert quotes(kernel) == []
    kernel.timer(1100)
    assert quotes(kernel) == [("BUY", 199, 3), ("SELL", 203, 3)]
    order = kernel.orders("mm")[0]
    assert order.time_in_force.name == "GTX"
    venue.answer()
    kernel.timer(1200)
    assert venue.answer() == 0


@EACH
def test_quotes_never_cross_the_best(kind):
    kernel, _venue = start(kind, half_spread=0.0, order_qty=0.1, max_position=1.0, bid=99.0, ask=103.0)
    kernel.timer(1100)
    assert quotes(kernel) == [("BUY", 198, 1), ("SELL", 206, 1)]


@EACH
def test_a_quote_that_is_no_longer_wanted_is_replaced_and_one_that_is_stays(kind):
    kernel, venue = start(kind, half_spread=1.5, order_qty=0.1, max_position=1.0)
    kernel.timer(1100)
    venue.answer()
    before = {o.price_tick: o.order_id for o in kernel.orders("mm")}
    assert sorted(before) == [199, 203]
    kernel.market(0, events(("ask", 100.5, 5.0), ts=1150))
    kernel.timer(1200)
    assert [o.price_tick for o in kernel.orders("mm") if o.req is Status.CANCELED] == [203]
    venue.answer()
    assert {o.price_tick: o.order_id for o in kernel.orders("mm")}[199] == before[199]
    assert quotes(kernel) == [("BUY", 199, 1), ("SELL", 202, 1)]


@EACH
def test_an_order_with_a_request_in_flight_is_left_alone(kind):
    kernel, venue = start(kind, half_spread=1.0, order_qty=0.1, max_position=1.0)
    kernel.timer(1100)
    move(kernel, (100.0, 101.0), (110.0, 111.0), 1150)
    kernel.timer(1200)
    assert quotes(kernel) == [("BUY", 200, 1), ("BUY", 220, 1), ("SELL", 202, 1), ("SELL", 222, 1)]
    assert venue.answer() == 4
    kernel.timer(1300)
    requests = venue.of(REQUEST)[4:]
    assert [r["order"]["req"] for r in requests] == [Status.CANCELED] * 2


@EACH
def test_the_position_shifts_and_limits_the_quotes(kind):
    kernel, venue = start(kind, half_spread=2.0, skew=1.0, order_qty=0.2, max_position=0.4)
    kernel.timer(1100)
    venue.answer()
    bid = next(o for o in kernel.orders("mm") if o.side is Side.BUY)
    venue.fill(bid.order_id)
    kernel.timer(1200)
    venue.answer()
    assert quotes(kernel) == [("BUY", 198, 2), ("SELL", 202, 2)]
    bid = next(o for o in kernel.orders("mm") if o.side is Side.BUY)
    venue.fill(bid.order_id)
    kernel.timer(1300)
    venue.answer()
    assert quotes(kernel) == [("SELL", 202, 2)]


@EACH
def test_a_grid_is_filled_from_the_best_and_within_the_limit(kind):
    kernel, _venue = start(
        kind, half_spread=1.0, order_qty=0.1, max_position=0.25, grid_num=4, grid_interval=3
    )
    kernel.timer(1100)
    assert quotes(kernel) == [("BUY", 197, 1), ("BUY", 200, 1), ("SELL", 202, 1), ("SELL", 205, 1)]


@EACH
def test_the_widest_grid_is_kept_whole_and_follows_the_market(kind):
    kernel, venue = start(kind, half_spread=1.0, order_qty=0.1, max_position=10.0, grid_num=100)
    kernel.timer(1100)
    assert venue.answer() == 200
    kernel.timer(1200)
    assert venue.answer() == 0
    move(kernel, (100.0, 101.0), (100.5, 101.5), 1250)
    kernel.timer(1300)
    assert sorted(o.price_tick for o in kernel.orders("mm") if o.req is Status.CANCELED) == [101, 202]
    venue.answer()
    kernel.timer(1400)
    assert venue.answer() == 0
    assert [q[1] for q in quotes(kernel)] == [*range(102, 202), *range(203, 303)]


@EACH
def test_bids_end_above_zero(kind):
    kernel, _venue = start(
        kind, half_spread=0.0, order_qty=0.1, max_position=9.0, grid_num=5, bid=1.0, ask=1.5, grid_interval=1
    )
    kernel.timer(1100)
    assert [q for q in quotes(kernel) if q[0] == "BUY"] == [("BUY", 1, 1), ("BUY", 2, 1)]


@EACH
def test_without_a_market_nothing_happens(kind):
    kernel, venue = start(kind, half_spread=1.0, order_qty=0.1, max_position=1.0)
    kernel.timer(1100)
    venue.answer()
    kernel.market(0, events(("ask", 101.0, 0.0), ts=1150))
    kernel.timer(1200)
    assert len(quotes(kernel)) == 2
    assert venue.answer() == 0


@EACH
def test_a_pause_takes_the_quotes_away_and_resuming_brings_them_back(kind):
    kernel, venue = start(kind, half_spread=1.0, order_qty=0.1, max_position=1.0)
    kernel.timer(1100)
    venue.answer()
    kernel.pause("mm")
    kernel.timer(1200)
    venue.answer()
    assert quotes(kernel) == []
    kernel.timer(1300)
    assert kernel.counters["denials"] == 0
    kernel.resume("mm")
    kernel.timer(1400)
    assert len(quotes(kernel)) == 2


@EACH
def test_a_changed_interval_takes_effect(kind):
    kernel, _venue = start(kind)
    assert kernel.next_timer == 1100
    assert kernel.update_params("mm", {"skew": 2.0}).success
    assert kernel.next_timer == 1100
    assert kernel.update_params("mm", {"interval_ns": 30}).success
    assert kernel.next_timer == 1030


@EACH
def test_the_relative_spread_adds_to_the_ticks(kind):
    kernel, _venue = start(kind, half_spread=0.5, relative_half_spread=0.01, order_qty=0.1, max_position=1.0)
    kernel.timer(1100)
    assert quotes(kernel) == [("BUY", 198, 1), ("SELL", 204, 1)]


def simulate(kind, seed, **params):
    """A random walk with random fills, rejections and pauses; the requests and the final state."""
    kernel, venue = start(kind, ("BTC", "ETH"), **params)
    rng = np.random.default_rng(seed)
    kernel.market(1, events(("bid", 10.0, 9.0), ("ask", 10.02, 9.0), ts=1000))
    px = 100.0
    for ts in range(1100, 40_000, 100):
        new = max(5.0, px + int(rng.integers(-3, 4)) / 2)
        move(kernel, (px, px + 1.0), (new, new + 1.0), ts)
        px = new
        kernel.timer(ts)
        if rng.random() < 0.8:
            venue.answer()
        elif rng.random() < 0.2:
            venue.reject()
        if venue.resting and rng.random() < 0.5:
            ids = sorted(venue.resting)
            venue.fill(ids[int(rng.integers(len(ids)))], None if rng.random() < 0.7 else 1, fee=0.01)
        if rng.random() < 0.02:
            kernel.pause() if kernel.strategy("mm").state == "Running" else kernel.resume()
        kernel.check_invariants()
    assert kernel.strategy("mm").traceback == ""
    requests = [o["order"].tobytes() for o in venue.of(REQUEST)]
    return requests, [kernel.state("mm", s) for s in ("BTC", "ETH")]


@pytest.mark.parametrize("seed", range(4))
def test_all_send_the_same_orders(seed):
    params = {
        "half_spread": [0.0, 1.0, 2.5, 4.0][seed],
        "relative_half_spread": [0.0, 0.001, 0.0, 0.01][seed],
        "skew": [0.0, 0.3, 1.7, 0.5][seed],
        "order_qty": [0.1, 0.25, 0.3, 0.2][seed],
        "max_position": [0.5, 2.0, 1.0, 3.3][seed],
        "grid_num": [1, 3, 5, 2][seed],
        "grid_interval": [1, 2, 1, 4][seed],
    }
    native, *others = (simulate(kind, seed, **params) for kind in (Native, Plain, Jit, Jit.plain))
    assert len(native[0]) > 200
    for other in others:
        assert other[0] == native[0]
        assert str(other[1]) == str(native[1])
