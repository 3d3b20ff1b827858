"""Control commands: pause, resume, emergency stop, parameters, limits, external strategies, signals."""

from __future__ import annotations

import math
from typing import Annotated

import pytest

from engine.core.errors import CapacityError
from engine.core.types import Reason, Side, Status, TimeInForce, TradingState
from engine.risk.limits import RiskLimits
from engine.strategy.base import Range
from tests.kit.kernels import FILL, ORDER, REQUEST, STRATEGY, Recorder, events, request, trading


class Tuned(Recorder):
    """A strategy with parameters."""

    edge: Annotated[float, Range(ge=0, le=10)] = 1.0
    size: int = 3


@pytest.fixture
def world():
    strategy = Tuned()
    kernel, venue = trading(strategy)
    return kernel, venue, strategy, strategy.ctx


def denied(strategy: Recorder, kernel) -> list[Reason]:
    kernel.market(0, events(("bid", 1.0, 1.0), ts=kernel.now))
    return [o.reason for o in strategy.of("on_order") if o.status is Status.DENIED]


def test_a_paused_strategy_sends_no_new_orders_and_may_cancel(world):
    kernel, venue, strategy, ctx = world
    order_id = ctx.buy(99.0, 0.5)
    venue.answer()
    answer = kernel.pause("s0")
    assert (answer.success, answer.strategy_state, answer.trading_state) == (True, "Paused", "ACTIVE")
    assert answer.current_params == {"edge": 1.0, "size": 3}
    assert not ctx.trading
    assert ctx.buy(99.0, 0.1) == 0
    assert ctx.modify(order_id, 99.0, 0.6) is False
    assert ctx.modify(order_id, 98.5, 0.5) is False
    assert ctx.modify(order_id, 99.0, 0.3)
    venue.answer()
    assert denied(strategy, kernel) == [Reason.STRATEGY_NOT_RUNNING] * 3
    ctx.cancel(order_id)
    venue.answer()
    assert strategy.of("on_order")[-1].status is Status.CANCELED
    assert len(strategy.of("on_book")) == 2
    assert kernel.resume("s0").strategy_state == "Running"
    assert ctx.buy(99.0, 0.1) > 0


def test_a_denied_modify_says_what_the_order_still_is(world):
    kernel, venue, _strategy, ctx = world
    order_id = ctx.buy(99.0, 0.5)
    venue.answer()
    kernel.pause()
    ctx.modify(order_id, 98.0, 0.7)
    update = venue.of(ORDER)[-1]
    assert (update["order"]["status"], update["prev_status"]) == (Status.DENIED, Status.NEW)
    assert update["order"]["req"] == Status.REPLACED
    order = ctx.order(order_id)
    assert (order.px, order.qty, order.req) == (99.0, pytest.approx(0.5), Status.NONE)


def test_pause_and_resume_of_all():
    strategies = [Recorder(), Recorder()]
    kernel, _venue = trading(*strategies)
    assert "s0, s1" in kernel.pause().message
    assert "nothing" in kernel.pause().message
    assert kernel.query_status().message == "s0 Paused, s1 Paused"
    kernel.resume()
    assert [kernel.strategy(n).state for n in kernel.strategy_names] == ["Running", "Running"]


def test_commands_on_strategies_that_are_not_there_or_not_running(world):
    kernel, *_ = world
    answer = kernel.pause("nobody")
    assert not answer.success
    assert "nobody" in answer.message
    assert answer.strategy_state == ""
    kernel.stop()
    answer = kernel.resume("s0")
    assert (answer.success, answer.strategy_state) == (False, "Stopped")


def test_emergency_stop_halts_cancels_and_closes(world):
    kernel, venue, strategy, ctx = world
    first = ctx.buy(99.0, 0.5)
    venue.answer()
    venue.fill(first, 2)
    answer = kernel.emergency_stop(cancel_orders=True, close_position=True)
    assert answer.success
    assert kernel.trading_state is TradingState.HALTED
    assert ctx.buy(99.0, 0.1) == 0
    assert denied(strategy, kernel) == [Reason.TRADING_HALTED]
    requests = venue.of(REQUEST)[-2:]
    assert [r["order"]["req"] for r in requests] == [Status.CANCELED, Status.NEW]
    closing = requests[1]["order"]
    assert (closing["side"], closing["qty"]) == (Side.SELL, 2)
    assert (closing["order_type"], closing["time_in_force"]) == (1, TimeInForce.IOC)
    venue.answer()
    assert ctx.position() == 0.0
    assert [o.reason for o in strategy.of("on_order") if o.status is Status.CANCELED] == [
        Reason.CANCEL_BY_OPERATOR
    ]
    kernel.check_invariants()
    assert kernel.resume().trading_state == "ACTIVE"
    assert ctx.buy(99.0, 0.1) > 0


def test_closing_goes_on_until_flat_when_a_cancel_comes_too_late(world):
    kernel, venue, _strategy, ctx = world
    first = ctx.buy(99.0, 0.2)
    second = ctx.buy(98.0, 0.3)
    venue.answer()
    venue.fill(first)
    kernel.emergency_stop(cancel_orders=True, close_position=True)
    venue.fill(second)
    assert venue.answer() == 2
    assert ctx.position() == pytest.approx(0.3)
    assert venue.answer() == 1
    assert ctx.position() == 0.0
    assert venue.answer() == 0
    kernel.check_invariants()


def test_closing_gives_up_in_the_end(world):
    kernel, venue, _strategy, ctx = world
    venue.kernel.market(0, events(("bid", 99.0, 1.0), ts=1100))
    first = ctx.buy(99.0, 0.2)
    venue.answer()
    venue.fill(first)
    kernel.emergency_stop(close_position=True)
    refused = [venue.reject() for _ in range(7)]
    assert refused == [1, 1, 1, 1, 1, 0, 0]
    assert ctx.position() == pytest.approx(0.2)
    assert "positions being closed: 1" in kernel.emergency_stop(close_position=True).message
    venue.answer()
    assert ctx.position() == 0.0


def test_a_position_without_a_market_cannot_be_closed_and_the_answer_says_so():
    strategy = Recorder()
    kernel, venue = trading(strategy)
    first = strategy.ctx.buy(99.0, 0.2)
    venue.answer()
    venue.fill(first)
    kernel.market(0, events(("bid", 100.0, 0.0), ts=1200))
    assert "without a market to close on: 1" in kernel.emergency_stop(close_position=True).message
    kernel.market(0, events(("bid", 100.0, 1.0), ts=1300))
    assert "positions being closed: 1" in kernel.emergency_stop(close_position=True).message


def test_reduce_only_lets_reducing_orders_through(world):
    kernel, venue, strategy, ctx = world
    order_id = ctx.buy(99.0, 0.5)
    venue.answer()
    venue.fill(order_id)
    kernel.reduce_only()
    assert ctx.buy(99.0, 0.1) == 0
    assert ctx.sell(101.0, 0.3) > 0
    assert ctx.sell(101.0, 0.3) == 0
    assert ctx.sell(101.0, 0.2) > 0
    assert denied(strategy, kernel) == [Reason.REDUCE_ONLY] * 2


def test_cancel_orders_by_strategy_and_symbol():
    strategies = [Recorder(), Recorder()]
    kernel, venue = trading(*strategies)
    for strategy in strategies:
        strategy.ctx.buy(99.0, 0.1, "BTC")
        strategy.ctx.buy(9.0, 1.0, "ETH")
    venue.answer()
    assert kernel.cancel_orders("s0", "ETH").message.endswith(": 1")
    venue.answer()
    assert kernel.cancel_orders("", "BTC").message.endswith(": 2")
    venue.answer()
    assert [len(s.ctx.orders()) for s in strategies] == [0, 1]
    assert not kernel.cancel_orders("s0", "DOGE").success


def test_update_params_is_all_or_nothing(world):
    kernel, venue, strategy, _ctx = world
    for wrong in ({"edge": 2.0, "size": 1.5}, {"edge": 11.0}, {"edge": "1"}, {"egde": 1.0}, {"size": True}):
        answer = kernel.update_params("s0", wrong)
        assert not answer.success
        assert answer.current_params == {"edge": 1.0, "size": 3}
    assert strategy.of("on_params") == []
    venue.collect()
    answer = kernel.update_params("s0", {"edge": 2, "size": 5})
    assert answer.success
    assert answer.current_params == {"edge": 2.0, "size": 5}
    assert len(strategy.of("on_params")) == 1
    assert [o["kind"] for o in venue.collect()] == [STRATEGY]


def test_limits_change_while_running(world):
    kernel, _venue, strategy, ctx = world
    assert kernel.update_limits("s0", "BTC", max_order_qty=0.5, max_open_orders=2).success
    assert kernel.update_limits("s0", max_position=0.6).success
    assert kernel.strategy("s0").limits == {
        "BTC": RiskLimits(max_order_qty=0.5, max_open_orders=2, max_position=0.6),
        "ETH": RiskLimits(max_position=0.6),
    }
    assert ctx.buy(99.0, 0.6) == 0
    assert ctx.buy(99.0, 0.5) > 0
    assert ctx.buy(99.0, 0.2) == 0
    assert ctx.sell(102.0, 0.5) > 0
    assert ctx.sell(102.0, 0.1) == 0
    assert denied(strategy, kernel) == [Reason.MAX_ORDER_QTY, Reason.MAX_POSITION, Reason.MAX_OPEN_ORDERS]
    assert kernel.update_limits("s0", max_open_orders=10, max_order_qty=math.inf).success
    assert ctx.sell(102.0, 0.1) > 0


@pytest.mark.parametrize("wrong", [{"max_qty": 1.0}, {"max_position": -1.0}, {"max_open_orders": 1.5}])
def test_wrong_limits_change_nothing(world, wrong):
    kernel, *_ = world
    assert not kernel.update_limits("s0", max_notional=5.0, **wrong).success
    assert kernel.strategy("s0").limits["BTC"] == RiskLimits()
    assert not kernel.update_limits("s0", "DOGE", max_position=1.0).success


def test_notional_is_in_the_settlement_currency():
    strategy = Recorder()
    kernel, _venue = trading(strategy)
    kernel.update_limits("s0", "BTC", max_notional=50.0)
    kernel.update_limits("s0", "ETH", max_notional=2.0)
    assert strategy.ctx.buy(100.0, 0.5) > 0
    assert strategy.ctx.buy(100.5, 0.5) == 0
    assert strategy.ctx.buy(10.0, 2.0, "ETH") > 0
    assert strategy.ctx.buy(9.0, 2.0, "ETH") == 0
    assert denied(strategy, kernel) == [Reason.MAX_NOTIONAL] * 2


# --- external strategies -------------------------------------------------------------------------


@pytest.fixture
def outside():
    kernel, venue = trading()
    assert kernel.register_external("bot", ["BTC"], {"speed": 2.0}).success
    venue.collect()
    return kernel, venue


def updates(venue) -> list[tuple[int, Status, Reason]]:
    venue.collect()
    return [
        (o["order"]["client_order_id"], Status(o["order"]["status"]), Reason(o["order"]["reason"]))
        for o in venue.of(ORDER)
    ]


def test_an_external_order_lives_by_its_client_order_id(outside):
    kernel, venue = outside
    kernel.request(request(kernel, "bot", "BTC", 77, qty=3), 2000)
    venue.answer()
    kernel.request(request(kernel, "bot", "BTC", 77, req=Status.REPLACED, price_tick=199, qty=2), 2100)
    venue.answer()
    assert [(o.price_tick, o.client_order_id) for o in kernel.orders("bot")] == [(199, 77)]
    kernel.request(request(kernel, "bot", "BTC", 77, req=Status.CANCELED), 2200)
    venue.answer()
    assert [status for _, status, _ in updates(venue)] == [
        Status.NONE, Status.NEW, Status.NEW, Status.NEW, Status.NEW, Status.CANCELED,
    ]  # fmt: skip
    kernel.request(request(kernel, "bot", "BTC", 77), 2300)
    assert kernel.orders("bot")[0].order_id == 2
    kernel.check_invariants()


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"client_order_id": 1}, Reason.DUPLICATE_ORDER_ID),
        ({"client_order_id": 0}, Reason.DUPLICATE_ORDER_ID),
        ({"qty": 0}, Reason.INVALID_QTY),
        ({"qty": -1}, Reason.INVALID_QTY),
        ({"price_tick": 0}, Reason.INVALID_PRICE),
        ({"instrument": 1}, Reason.UNKNOWN_INSTRUMENT),
        ({"req": Status.CANCELED}, Reason.UNKNOWN_ORDER),
        ({"req": Status.REPLACED}, Reason.UNKNOWN_ORDER),
        ({"req": Status.REPLACED, "client_order_id": 1}, Reason.REQUEST_IN_FLIGHT),
    ],
)
def test_a_wrong_external_request_is_denied_with_its_reason(outside, fields, reason):
    kernel, venue = outside
    kernel.request(request(kernel, "bot", "BTC", 1), 2000)
    kernel.request(request(kernel, "bot", "BTC", 2, **fields), 2100)
    assert updates(venue)[-1][1:] == (Status.DENIED, reason)
    kernel.check_invariants()


def test_a_wrong_external_modify_is_denied(outside):
    kernel, venue = outside
    kernel.request(request(kernel, "bot", "BTC", 1), 2000)
    venue.answer()
    kernel.request(request(kernel, "bot", "BTC", 1, req=Status.REPLACED, qty=0), 2100)
    kernel.request(request(kernel, "bot", "BTC", 1, req=Status.REPLACED, price_tick=-3), 2100)
    assert [u[2] for u in updates(venue)[-2:]] == [Reason.INVALID_QTY, Reason.INVALID_PRICE]


@pytest.mark.parametrize(
    "fields",
    [{"strategy": 9}, {"instrument": 9}, {"side": 0}, {"order_type": 2}, {"time_in_force": 4}, {"req": 0}],
)
def test_a_malformed_external_request_is_an_error_and_changes_nothing(outside, fields):
    kernel, _venue = outside
    before = kernel.state_hash()
    with pytest.raises(Exception, match=r"unknown|invalid"):
        kernel.request(request(kernel, "bot", "BTC", 1, **fields), 1000)
    assert kernel.state_hash() == before
    assert kernel.counters["outputs"] == 0


def test_a_cancel_that_comes_too_early_follows_the_acknowledgement(outside):
    kernel, venue = outside
    kernel.request(request(kernel, "bot", "BTC", 5), 2000)
    kernel.request(request(kernel, "bot", "BTC", 5, req=Status.CANCELED), 2001)
    assert venue.answer() == 1
    assert venue.answer() == 1
    assert updates(venue)[-1] == (5, Status.CANCELED, Reason.CANCEL_REQUESTED)


def test_a_cancel_of_everything(outside):
    kernel, venue = outside
    for number in (1, 2, 3):
        kernel.request(request(kernel, "bot", "BTC", number), 2000)
    venue.answer()
    kernel.request(request(kernel, "bot", "BTC", 0, req=Status.CANCELED, instrument=0xFFFF), 2100)
    assert venue.answer() == 3
    assert kernel.orders("bot") == []


def test_leaving_cancels_orders_and_coming_back_finds_the_position(outside):
    kernel, venue = outside
    kernel.request(request(kernel, "bot", "BTC", 1, qty=4), 2000)
    venue.answer()
    venue.fill(1, 1)
    assert not kernel.register_external("bot", ["BTC"]).success
    answer = kernel.disconnect_external("bot")
    assert (answer.success, answer.strategy_state) == (True, "Stopped")
    venue.answer()
    assert updates(venue)[-1] == (1, Status.CANCELED, Reason.CANCEL_ON_DISCONNECT)
    kernel.request(request(kernel, "bot", "BTC", 2), 2100)
    assert updates(venue)[-1] == (2, Status.DENIED, Reason.STRATEGY_NOT_RUNNING)
    assert kernel.register_external("bot", ["BTC", "ETH"], {"speed": 3.0}).current_params == {"speed": 3.0}
    assert kernel.state("bot", "BTC").position == pytest.approx(0.1)
    assert kernel.strategy("bot").symbols == ("BTC", "ETH")
    kernel.check_invariants()


def test_leaving_can_leave_the_orders(outside):
    kernel, venue = outside
    kernel.request(request(kernel, "bot", "BTC", 1), 2000)
    venue.answer()
    assert not kernel.disconnect_external("bot", "forget").success
    kernel.disconnect_external("bot", "keep")
    assert venue.answer() == 0
    venue.fill(1)
    assert kernel.state("bot", "BTC").position == pytest.approx(0.1)
    assert len(venue.of(FILL)) == 1


def test_leaving_can_leave_what_only_reduces_the_position(outside):
    kernel, venue = outside
    for number, side in ((1, 1), (2, 1), (3, -1), (4, -1), (5, -1)):
        tick = 199 if side > 0 else 210 + number
        kernel.request(request(kernel, "bot", "BTC", number, side=side, qty=2, price_tick=tick), 2000)
    venue.answer()
    venue.fill(1)
    kernel.disconnect_external("bot", "reduce")
    venue.answer()
    # Two lots long: the oldest sell of two closes that, a second one would turn it around.
    ended = {number for number, status, _ in updates(venue) if status is Status.CANCELED}
    assert ended == {2, 4, 5}
    venue.fill(3)
    assert kernel.state("bot", "BTC").position == 0.0
    kernel.check_invariants()


def test_external_parameters_keep_their_types(outside):
    kernel, _venue = outside
    assert not kernel.update_params("bot", {"speed": 3}).success
    assert not kernel.update_params("bot", {"other": 3.0}).success
    assert kernel.update_params("bot", {"speed": 3.0}).current_params == {"speed": 3.0}
    info = kernel.strategy("bot")
    assert (info.kind, info.specs["speed"].kind) == ("external", "float")


def test_names_cannot_be_taken(outside):
    kernel, _venue = outside
    kernel.add_strategy("inside", Recorder())
    assert not kernel.register_external("inside", ["BTC"]).success
    assert not kernel.disconnect_external("inside").success
    assert not kernel.register_external("other", ["DOGE"]).success
    assert not kernel.register_external("other", []).success
    assert kernel.strategy_names == ("bot", "inside")


def test_signals_reach_the_strategies_of_their_symbol():
    strategies = [Recorder(), Recorder()]
    kernel, _venue = trading(strategies[0])
    kernel.add_strategy("eth", strategies[1], ["ETH"])
    kernel.register_external("bot", ["BTC"])
    assert kernel.send_signal("alpha", "BTC", 0.5).message.endswith(": 1")
    assert kernel.send_signal("alpha", "", 1.5).message.endswith(": 2")
    assert [s.value for s in strategies[0].of("on_signal")] == [0.5, 1.5]
    assert [(s.name, s.symbol, s.value, s.ts) for s in strategies[1].of("on_signal")] == [
        ("alpha", "", 1.5, 1000)
    ]
    assert not kernel.send_signal("alpha", "DOGE", 1.0).success


def test_commands_wait_while_outputs_do():
    strategy = Recorder()
    kernel, venue = trading(strategy, outbox_size=6)
    venue.collect()
    for px in (98.0, 99.0):
        strategy.ctx.buy(px, 0.1)
    venue.answer()
    strategy.ctx.cancel_all()
    kernel.pause()
    assert kernel.counters["outputs"] == 7
    answer = kernel.emergency_stop()
    assert (answer.success, answer.message) == (False, "busy: outputs wait to be taken")
    assert kernel.trading_state is TradingState.ACTIVE
    venue.collect()
    assert kernel.emergency_stop().success


def test_a_halt_denies_even_what_a_pause_lets_through(world):
    kernel, venue, strategy, ctx = world
    order_id = ctx.buy(99.0, 0.5)
    venue.answer()
    kernel.pause()
    kernel.emergency_stop(cancel_orders=False)
    assert ctx.modify(order_id, 99.0, 0.3) is False
    assert denied(strategy, kernel) == [Reason.TRADING_HALTED]
    assert ctx.order(order_id).qty == pytest.approx(0.5)


def test_a_full_kernel_gives_the_seats_of_those_away_who_left_without_a_trade(outside):
    kernel, venue = outside
    kernel.request(request(kernel, "bot", "BTC", 1, qty=4), 2000)
    venue.answer()
    venue.fill(1, 1)
    for number in range(63):
        assert kernel.register_external(
            f"guest{number}", ["BTC"], limits=RiskLimits(max_order_qty=1.0)
        ).success
        venue.collect()
    refused = kernel.register_external("late", ["BTC"])
    assert "all 64 seats are taken" in refused.message
    kernel.disconnect_external("bot")
    kernel.disconnect_external("guest5")
    venue.answer()
    assert kernel.register_external("late", ["ETH"], {"speed": 1.0}).current_params == {"speed": 1.0}
    assert (kernel.slot("late"), kernel.slot("bot")) == (6, 0)
    assert kernel.strategy("late").limits["ETH"].max_order_qty is None
    assert "guest5" not in kernel.strategy_names
    venue.collect()
    kernel.request(request(kernel, "late", "ETH", 1), 2000)
    venue.answer()
    assert updates(venue)[-1][:2] == (1, Status.NEW)
    assert not kernel.register_external("later", ["BTC"]).success
    with pytest.raises(CapacityError, match="all 64 seats"):
        kernel.add_strategy("inside", Recorder())
    kernel.check_invariants()


def test_who_comes_back_names_each_symbol_once(outside):
    kernel, _venue = outside
    kernel.disconnect_external("bot")
    assert "each once" in kernel.register_external("bot", ["BTC"] * 1000).message
    assert kernel.strategy("bot").state == "Stopped"


def test_resuming_after_a_halt_says_that_trading_is_active(world):
    kernel, *_ = world
    kernel.emergency_stop()
    assert kernel.resume().message == "trading is active again"
