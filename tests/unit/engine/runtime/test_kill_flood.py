"""The kill switch when everything else is full: all cancels are with the venue at the end of its turn."""

import numpy as np
import pytest

from engine.core.types import Reason, Side, Status
from engine.runtime.records import FeedState, Kind, order_record_dtype, record_dtype
from tests.kit.loops import Loop, asset, quotes

ORDERS = 10_000
CHUNK = 2_000
OUTGOING = ("orders_out", "market_out", "telemetry_out", "control_out")


@pytest.fixture
def loop():
    """An engine with that many open orders of one external trader, in two instruments."""
    one = Loop(assets=[asset(), asset("ETHUSDT")], max_orders=ORDERS + 10)
    one.feed(quotes(10), quotes(10))
    one.run_dry()
    slot = one.ask("register", strategy_id="ext").body["slot"]
    for first in range(1, ORDERS, CHUNK):
        records = np.zeros(CHUNK, record_dtype)
        records["kind"] = Kind.ORDER_REQUEST
        order = records["payload"].view(order_record_dtype)["order"]
        order["strategy"], order["req"], order["side"] = slot, Status.NEW, Side.BUY
        order["instrument"] = np.arange(CHUNK) % 2
        order["client_order_id"] = first + np.arange(CHUNK)
        order["price_tick"] = 500 - np.arange(CHUNK) % 300
        order["qty"] = order["leaves_qty"] = 1
        one.push("orders_in", records)
        while len(one.rings["orders_in"]):
            one.engine.turn(0.0)
            one.take("orders_out")
    for second in (2, 3):
        one.feed_status(FeedState.RUNNING, second * 1_000_000_000)
        one.engine.turn(0.0)
        one.take("orders_out")
    assert len(one.kernel.orders("ext")) == ORDERS
    assert {order.status.name for order in one.kernel.orders("ext")} == {"NEW"}
    return one


def fill(loop, *names):
    for name in names:
        junk = np.zeros(CHUNK, record_dtype)
        junk["kind"] = Kind.ORDER_REQUEST if name == "orders_in" else Kind.TRADE
        while loop.rings[name].push_many(junk.view(np.uint8).reshape(CHUNK, -1)):
            pass
        assert len(loop.rings[name]) == loop.rings[name].capacity


def test_every_open_order_is_cancelled_at_once_though_all_other_rings_are_full(loop):
    fill(loop, "orders_in", *OUTGOING)
    before = loop.kernel.counters["requests"]
    loop.command("kill", reason="flood")
    loop.engine.turn(0.0)
    assert loop.kernel.counters["requests"] - before == ORDERS
    assert loop.kernel.counters["outputs"] == 0
    waiting = loop.kernel.orders("ext")
    assert len(waiting) == ORDERS
    assert all(order.req == Status.CANCELED for order in waiting)
    # Nobody reads the answers either, and yet the venue's come in and every order ends.
    loop.rings["orders_in"].pop_many()
    for second in (4, 5):
        loop.feed_status(FeedState.RUNNING, second * 1_000_000_000)
    for _ in range(400):
        if not loop.kernel.orders("ext"):
            break
        # Until the bridge has used up the engine's patience.
        loop.engine.turn(0.01)
    assert loop.kernel.orders("ext") == []
    assert loop.kernel.trading_state.name == "HALTED"
    loop.kernel.check_invariants()


def test_what_comes_after_the_kill_is_denied_and_whoever_reads_again_is_told_all(loop):
    fill(loop, *OUTGOING)
    loop.command("kill")
    for name in OUTGOING:
        loop.rings[name].pop_many()
    loop.order(Status.NEW, ORDERS + 1, strategy=0, side=Side.BUY, price_tick=500, qty=1, leaves_qty=1)
    loop.engine.turn(0.0)
    loop.engine.turn(0.0)
    told = [out for out in loop.take("orders_out") if out.kind == Kind.ORDER]
    cancels = {
        int(out.body["order"]["order_id"]) for out in told if out.body["order"]["req"] == Status.CANCELED
    }
    assert len(cancels) == ORDERS
    (denied,) = [out.body["order"] for out in told if out.body["order"]["client_order_id"] == ORDERS + 1]
    assert (denied["status"], denied["reason"]) == (Status.DENIED, Reason.KILL_SWITCH)
