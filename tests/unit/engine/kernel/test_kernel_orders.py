"""The kernel's orders: requests, the venue's answers, callbacks, positions."""

from __future__ import annotations

import math

import pytest

from engine.core.errors import InvalidOrder, OrderNotFound, RequestInProcess
from engine.core.types import Reason, Side, Status, TimeInForce
from tests.kit.kernels import FILL, ORDER, REQUEST, STRATEGY, Recorder, Venue, events, trading


@pytest.fixture
def world():
    strategy = Recorder()
    kernel, venue = trading(strategy)
    return kernel, venue, strategy, strategy.ctx


def test_a_submitted_order_is_pending_until_the_venue_answers(world):
    kernel, venue, strategy, ctx = world
    order_id = ctx.buy(99.5, 0.3, post_only=True)
    assert order_id == 1
    order = ctx.order(order_id)
    assert (order.status, order.req) == (Status.NONE, Status.NEW)
    assert (order.px, order.qty, order.leaves_qty) == (99.5, pytest.approx(0.3), pytest.approx(0.3))
    assert order.time_in_force is TimeInForce.GTX
    kinds = [(o["kind"], o["order"]["order_id"]) for o in venue.collect() if o["kind"] != STRATEGY]
    assert kinds == [(REQUEST, 1), (ORDER, 1)]
    venue.answer(now=1500)
    order = ctx.order(order_id)
    assert (order.status, order.req, order.exch_ts) == (Status.NEW, Status.NONE, 1500)
    assert [o.status for o in strategy.of("on_order")] == [Status.NEW]
    assert kernel.now == 1500
    kernel.check_invariants()


def test_a_fill_moves_position_and_money_and_the_order_is_gone_after_its_callbacks(world):
    kernel, venue, strategy, ctx = world
    seen = []
    strategy.script["on_fill"] = lambda c, fill: seen.append(
        (c.order(fill.order_id), c.orders(), c.position())
    )
    order_id = ctx.sell(101.0, 0.2)
    venue.answer()
    venue.fill(order_id, fee=0.25)
    order, live, position = seen[0]
    assert order.status is Status.FILLED
    assert live == []
    assert position == pytest.approx(-0.2)
    assert ctx.order(order_id) is None
    state = ctx.state()
    assert state.balance == pytest.approx(20.2)
    assert (state.fee, state.num_trades) == (0.25, 1)
    assert state.avg_px == pytest.approx(101.0)
    assert state.unrealized_pnl == pytest.approx(0.1)
    assert state.equity == pytest.approx(20.2 - 0.2 * 100.5 - 0.25)
    fill = venue.of(FILL)[0]["fill"]
    assert (fill["mid_price"], fill["px"], fill["reason"]) == (100.5, 101.0, Reason.QUEUE_FRONT)
    kernel.check_invariants()


def test_partial_fills_reach_the_position(world):
    _kernel, venue, strategy, ctx = world
    order_id = ctx.buy(99.0, 0.5)
    venue.answer()
    venue.fill(order_id, 2)
    order = ctx.order(order_id)
    assert (order.status, order.leaves_qty) == (Status.PARTIALLY_FILLED, pytest.approx(0.3))
    assert ctx.position() == pytest.approx(0.2)
    venue.fill(order_id)
    assert ctx.position() == pytest.approx(0.5)
    assert [f.qty for f in strategy.of("on_fill")] == pytest.approx([0.2, 0.3])
    assert strategy.of("on_order")[-1].cum_exec_qty == pytest.approx(0.5)


def test_a_cancel_waits_for_the_venue(world):
    _kernel, venue, strategy, ctx = world
    order_id = ctx.buy(99.0, 0.1)
    with pytest.raises(RequestInProcess):
        ctx.cancel(order_id)
    venue.answer()
    ctx.cancel(order_id)
    assert ctx.order(order_id).req is Status.CANCELED
    with pytest.raises(RequestInProcess):
        ctx.modify(order_id, 98.0, 0.1)
    venue.answer()
    assert strategy.of("on_order")[-1].status is Status.CANCELED
    with pytest.raises(OrderNotFound):
        ctx.cancel(order_id)


def test_a_rejected_new_order_ends_and_a_rejected_cancel_changes_nothing(world):
    kernel, venue, strategy, ctx = world
    order_id = ctx.buy(99.0, 0.1)
    venue.reject()
    assert strategy.of("on_order")[-1].status is Status.REJECTED
    assert ctx.orders() == []
    order_id = ctx.buy(99.0, 0.1)
    venue.answer()
    ctx.cancel(order_id)
    venue.reject()
    order = ctx.order(order_id)
    assert (order.status, order.req) == (Status.NEW, Status.NONE)
    kernel.check_invariants()


def test_a_rejected_modify_gives_price_and_quantity_back(world):
    kernel, venue, _strategy, ctx = world
    order_id = ctx.buy(99.0, 0.1)
    venue.answer()
    assert ctx.modify(order_id, 98.0, 0.4)
    order = ctx.order(order_id)
    assert (order.px, order.qty, order.req) == (98.0, pytest.approx(0.4), Status.REPLACED)
    kernel.check_invariants()
    venue.reject()
    order = ctx.order(order_id)
    assert (order.px, order.qty, order.req) == (99.0, pytest.approx(0.1), Status.NONE)
    kernel.check_invariants()
    ctx.modify(order_id, 98.0, 0.4)
    venue.answer()
    order = ctx.order(order_id)
    assert (order.px, order.leaves_qty, order.req) == (98.0, pytest.approx(0.4), Status.NONE)


def test_a_partial_fill_does_not_end_a_cancel_in_flight(world):
    kernel, venue, _strategy, ctx = world
    order_id = ctx.buy(99.0, 0.5)
    venue.answer()
    kernel.market(0, events(("bid", 99.5, 1.0), ts=2000))
    ctx.cancel(order_id)
    venue.fill(order_id, 1)
    order = ctx.order(order_id)
    assert (order.status, order.req) == (Status.PARTIALLY_FILLED, Status.CANCELED)
    venue.answer()
    assert ctx.orders() == []
    kernel.check_invariants()


def test_an_answer_to_an_older_request_is_ignored(world):
    kernel, venue, _strategy, ctx = world
    order_id = ctx.buy(99.0, 0.5)
    venue.collect()
    stale = venue.requests[0].copy()
    stale["req"], stale["local_ts"] = Status.REJECTED, 1
    kernel.report(stale, 1100)
    assert ctx.order(order_id).req is Status.NEW


def test_money_moves_for_an_order_that_is_not_known(world):
    kernel, venue, strategy, ctx = world
    order_id = ctx.buy(99.0, 0.5)
    venue.answer()
    late = venue.resting[order_id].copy()
    ctx.cancel(order_id)
    venue.answer()
    late["status"], late["exec_qty"], late["exec_price_tick"] = Status.FILLED, 5, 198
    kernel.report(late, 1200)
    assert ctx.position() == pytest.approx(0.5)
    assert len(strategy.of("on_fill")) == 1
    late["status"] = Status.CANCELED
    with pytest.raises(OrderNotFound):
        kernel.report(late, 1300)
    kernel.check_invariants()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((None, Side.BUY, math.nan, 0.1), "nan"),
        ((None, Side.BUY, math.inf, 0.1), "inf"),
        (("DOGE", Side.BUY, 99.0, 0.1), "DOGE"),
        ((None, "up", 99.0, 0.1), "up"),
        ((None, Side.BUY, 99.0, 0.15), "lots"),
        ((None, Side.BUY, 99.0, 0.0), "lots"),
        ((None, Side.BUY, 99.0, -0.1), "lots"),
        ((None, Side.BUY, 99.0, math.nan), "lots"),
        ((None, Side.BUY, 99.0, 0.1, 7), "order type"),
        ((None, Side.BUY, 99.0, 0.1, 0, 9), "time in force"),
    ],
)
def test_an_order_that_cannot_exist_is_an_exception(world, arguments, text):
    kernel, _venue, _strategy, ctx = world
    with pytest.raises(InvalidOrder, match=text):
        ctx.submit(*arguments)
    assert kernel.counters["requests"] == 0


def test_a_quantity_a_hair_off_a_lot_is_that_lot(world):
    *_, ctx = world
    assert ctx.order(ctx.buy(99.0, 0.1 + 0.2)).qty == pytest.approx(0.3)


def test_modify_checks_its_arguments(world):
    _kernel, venue, _strategy, ctx = world
    order_id = ctx.buy(99.0, 0.1)
    venue.answer()
    with pytest.raises(InvalidOrder):
        ctx.modify(order_id, math.nan, 0.1)
    with pytest.raises(InvalidOrder):
        ctx.modify(order_id, 99.0, 0.05)
    with pytest.raises(InvalidOrder):
        ctx.modify(order_id, 0.0, 0.1)
    with pytest.raises(OrderNotFound):
        ctx.modify(999, 99.0, 0.1)


def test_a_market_order_needs_a_market(world):
    _kernel, venue, strategy, ctx = world
    assert ctx.submit("ETH", Side.BUY, 0.0, 1.0, 1) == 0
    denied = strategy.of("on_order")
    assert denied == []
    assert ctx.submit("BTC", Side.BUY, math.nan, 0.1, 1, TimeInForce.IOC) > 0
    venue.answer()
    assert ctx.position() == pytest.approx(0.1)


def test_one_strategy_cannot_touch_anothers_orders():
    first, second = Recorder(), Recorder()
    _kernel, venue = trading(first, second)
    order_id = first.ctx.buy(99.0, 0.1)
    venue.answer()
    assert second.ctx.order(order_id) is None
    with pytest.raises(OrderNotFound):
        second.ctx.cancel(order_id)
    assert second.ctx.cancel_all() == 0
    assert first.ctx.cancel_all() == 1


def test_cancel_all_follows_requests_in_flight(world):
    kernel, venue, _strategy, ctx = world
    ctx.buy(99.0, 0.1)
    ctx.sell(102.0, 0.1)
    venue.answer()
    ctx.buy(98.0, 0.1)
    assert ctx.cancel_all("ETH") == 0
    assert ctx.cancel_all() == 3
    assert venue.answer() == 3
    assert [o.px for o in ctx.orders()] == [98.0]
    assert venue.answer() == 1
    assert ctx.orders() == []
    kernel.check_invariants()


def test_orders_are_listed_oldest_first(world):
    _kernel, venue, _strategy, ctx = world
    ids = [ctx.buy(99.0 - i, 0.1) for i in range(4)]
    venue.answer()
    venue.fill(ids[1])
    assert [o.order_id for o in ctx.orders("BTC")] == [ids[0], ids[2], ids[3]]
    assert ctx.orders("ETH") == []


def test_denials_reach_on_order_after_the_callback_that_caused_them():
    def on_book(ctx, _):
        seen.append(("book", ctx.submit("ETH", Side.BUY, 0.0, 1.0, 1), len(strategy.of("on_order"))))

    seen = []
    strategy = Recorder({"on_book": on_book})
    _kernel, venue = trading(strategy)
    assert seen == [("book", 0, 0)]
    denied = strategy.of("on_order")
    assert [(o.status, o.reason) for o in denied] == [(Status.DENIED, Reason.NO_MARKET)]
    assert [o["order"]["status"] for o in venue.of(ORDER)] == [Status.DENIED]


def test_a_strategy_that_answers_every_denial_with_another_order_ends():
    def again(ctx, _):
        ctx.submit("ETH", Side.BUY, 0.0, 1.0, 1)

    strategy = Recorder({"on_book": again, "on_order": again})
    kernel, _venue = trading(strategy)
    assert 1 < len(strategy.of("on_order")) <= 256
    kernel.check_invariants()


def test_full_tables_deny_new_orders_and_let_cancels_pass():
    strategy = Recorder()
    kernel, venue = trading(strategy, max_orders=3, outbox_size=8)
    ctx = strategy.ctx
    venue.collect()
    ids = [ctx.buy(90.0 + i, 0.1) for i in range(4)]
    assert ids[3] == 0
    assert venue.of(ORDER)[-1]["order"]["reason"] == Reason.BUSY
    venue.answer()
    # Five outputs wait: a further order would go above the eight that new orders may fill.
    venue.collect()
    assert ctx.cancel_all() == 3
    assert kernel.counters["outputs"] == 6
    venue.answer()
    kernel.check_invariants()
    assert ctx.orders() == []


def test_inputs_are_refused_until_the_outputs_are_taken():
    strategy = Recorder()
    kernel, venue = trading(strategy, outbox_size=4)
    venue.collect()
    ids = [strategy.ctx.buy(90.0, 0.1) for _ in range(3)]
    assert ids[2] == 0
    venue.answer()
    strategy.ctx.cancel_all()
    strategy.ctx.buy(90.0, 0.1)
    kernel.drain()
    assert Venue(kernel).collect() == []


@pytest.mark.parametrize("price_tick", [0, -5])
def test_an_execution_at_a_price_that_cannot_be_is_refused(world, price_tick):
    kernel, venue, strategy, ctx = world
    order_id = ctx.buy(99.0, 0.5)
    venue.answer()
    before = kernel.state_hash()
    wrong = venue.resting[order_id].copy()
    wrong["status"], wrong["exec_qty"], wrong["exec_price_tick"] = Status.FILLED, 5, price_tick
    with pytest.raises(InvalidOrder):
        kernel.report(wrong, kernel.now)
    assert kernel.state_hash() == before
    assert strategy.of("on_fill") == []


def test_touching_the_books_changes_nothing_in_them():
    kernel, _ = trading(Recorder())
    kernel.market(0, events(("bid", 100.0, 1.0), ("ask", 101.0, 2.0), ("bid", 1.0, 3.0)))
    before = kernel.state_hash()
    kernel.touch()
    assert kernel.state_hash() == before
    kernel.check_invariants()
