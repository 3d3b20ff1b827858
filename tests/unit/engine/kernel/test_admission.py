"""Each limit through the kernel: what it accepts, what it denies, what the denial says, what it counts."""

from __future__ import annotations

import math

import pytest

from engine.core.errors import ConfigError
from engine.core.types import OrdType, Reason, Status, TradingState
from engine.kernel import InstrumentSpec, Kernel
from engine.risk.codes import DENY_CODES
from engine.risk.limits import RiskConfig, RiskLimits
from tests.kit.kernels import REQUEST, Recorder, Venue, events, request

A, B = InstrumentSpec("A", 0.5, 0.1), InstrumentSpec("B", 0.5, 0.1)
DAY = 86_400 * 10**9
START = 20_000 * DAY
"""A Thursday is day 0 of the epoch; so this is a Thursday less 20,000 % 7 = 1 days back: a Friday."""


class World:
    """A kernel with two strategies, a and b, on two instruments with a market of 100 x 101, and its venue."""

    def __init__(self, *, own=None, risk=None, now=START):
        self.now = now
        self.kernel = Kernel([A, B])
        self.kernel.set_risk(risk or RiskConfig())
        self.a, self.b = Recorder(), Recorder()
        self.kernel.add_strategy("a", self.a, limits=own)
        self.kernel.add_strategy("b", self.b)
        self.kernel.start(now)
        for i in range(2):
            self.quote(i, 100.0, 101.0)
        self.venue = Venue(self.kernel)

    def quote(self, i, bid, ask, ts=None):
        old = self.kernel.book(self.kernel.symbols[i])
        rows = [("bid", old.best_bid, 0.0), ("ask", old.best_ask, 0.0)] if old.best_bid > 0 else []
        rows += [("bid", bid, 5.0), ("ask", ask, 5.0)]
        made = events(*rows, ts=self.now)
        if ts is not None:
            made["exch_ts"] = ts
        self.kernel.market(i, made)

    def wait(self, ns):
        self.now += ns
        self.kernel.timer(self.now)

    def order(self, who="a", symbol="A", side=1, px=90.0, qty=0.1, **more):
        """Sends an order: "" if it passed, else the reason of its denial."""
        strategy = getattr(self, who)
        if strategy.ctx.submit(symbol, side, px, qty, **more):
            return ""
        self.kernel.market(0, events(("bid", 1.0, 1.0), ts=self.now))
        self.denial = strategy.of("on_order")[-1]
        assert self.denial.status is Status.DENIED
        return self.denial.reason.name.lower()

    def fill(self, who="a", symbol="A", side=1, px=100.0, qty=0.1):
        """Gets a position at a price."""
        order_id = getattr(self, who).ctx.submit(symbol, side, px, qty)
        assert order_id
        self.venue.answer(self.now)
        self.venue.fill(order_id)


def test_every_denial_has_one_code_made_of_its_reason():
    assert DENY_CODES[Reason.MAX_POSITION] == "RISK_MAX_POSITION"
    assert len(set(DENY_CODES.values())) == len(DENY_CODES)
    for reason, code in DENY_CODES.items():
        assert code.split("_", 1)[1] == Reason(reason).name
    denials = {r for r in Reason if r >= Reason.STRATEGY_NOT_RUNNING}
    assert set(DENY_CODES) == denials


SCOPES = {
    "strategy": lambda limits: {"own": limits},
    "instrument": lambda limits: {"risk": RiskConfig(instruments={"A": limits})},
    "global": lambda limits: {"risk": RiskConfig(limits=limits)},
}


@pytest.mark.parametrize(
    ("limits", "accepted", "denied", "reason", "limit", "actual", "scopes"),
    [
        ({"max_order_qty": 0.5}, {"qty": 0.5}, {"qty": 0.6}, "max_order_qty", 0.5, 0.6, "si"),
        ({"max_position": 0.5}, {"qty": 0.5}, {"qty": 0.6}, "max_position", 0.5, 0.6, "si"),
        ({"max_notional": 45.0}, {"qty": 0.5}, {"qty": 0.6}, "max_notional", 45.0, 54.0, "sig"),
        ({"max_open_notional": 45.0}, {"qty": 0.5}, {"qty": 0.6}, "max_open_notional", 45.0, 54.0, "sig"),
        ({"max_gross_notional": 50.25}, {"qty": 0.5}, {"qty": 0.6}, "max_gross_notional", 50.25, 60.3, "sig"),
        ({"capital": 25.125, "leverage": 2}, {"qty": 0.5}, {"qty": 0.6}, "buying_power", 50.25, 60.3, "sig"),
        ({"capital": 50.25}, {"qty": 0.5}, {"qty": 0.6}, "buying_power", 50.25, 60.3, "sig"),
        ({"price_collar_bps": 1000.0}, {"px": 90.5}, {"px": 90.0}, "price_collar", 1000.0, 1044.776, "sig"),
        ({"restricted": True}, None, {}, "restricted_instrument", 0.0, 1.0, "sig"),
        ({"reduce_only": True}, None, {}, "reduce_only", 0.0, 1.0, "sig"),
        ({"session_hours": ["01:00-02:00"]}, None, {}, "session_hours", 0.0, 0.0, "sig"),
        ({"session_hours": ["fri 00:00-00:01"]}, {}, None, "", 0.0, 0.0, "sig"),
        ({"session_hours": ["mon-thu 00:00-00:01"]}, None, {}, "session_hours", 0.0, 0.0, "sig"),
        ({"session_hours": ["thu 23:00-01:00"]}, {}, None, "", 0.0, 0.0, "sig"),
        ({"max_open_orders": 0}, None, {}, "max_open_orders", 0.0, 1.0, "sig"),
    ],
)
def test_a_limit_accepts_up_to_itself(limits, accepted, denied, reason, limit, actual, scopes):
    for name, make in SCOPES.items():
        if name[0] not in scopes:
            continue
        limit_set = RiskLimits(**{k: tuple(v) if isinstance(v, list) else v for k, v in limits.items()})
        if accepted is not None:
            assert World(**make(limit_set)).order(**accepted) == ""
        if denied is not None:
            world = World(**make(limit_set))
            assert world.order(**denied) == reason
            assert world.denial.limit == pytest.approx(limit)
            assert world.denial.actual == pytest.approx(actual)
            assert world.denial.deny_code.endswith(reason.upper())
            assert world.denial.scope in (name, "order")
            world.kernel.check_invariants()


def test_sums_count_all_strategies_of_an_instrument_and_all_instruments_of_everything():
    of_a = World(risk=RiskConfig(instruments={"A": RiskLimits(max_position=0.5, max_open_orders=2)}))
    assert of_a.order("a", qty=0.3) == ""
    assert of_a.order("b", qty=0.3) == "max_position"
    assert of_a.order("b", "B", qty=0.3) == ""
    assert of_a.order("b", qty=0.2) == ""
    assert of_a.order("b", side=-1, px=110.0) == "max_open_orders"
    everything = World(risk=RiskConfig(limits=RiskLimits(max_open_notional=90.0)))
    assert everything.order("a", "A", qty=0.5) == ""
    assert everything.order("b", "B", qty=0.5) == ""
    assert everything.order("a", "B") == "max_open_notional"
    assert everything.denial.scope == "global"


def test_requests_in_flight_count_and_a_change_counts_at_its_worst():
    world = World(own=RiskLimits(max_open_notional=100.0, max_position=1.0))
    order_id = world.a.ctx.buy(90.0, 0.5)
    assert world.order(qty=0.7) == "max_position"
    world.venue.answer()
    assert world.a.ctx.modify(order_id, 90.0, 0.9)
    assert world.order(px=50.0, qty=0.2) == "max_position"
    world.venue.reject()
    assert world.order(px=50.0, qty=0.5) == ""
    assert not world.a.ctx.modify(order_id, 98.0, 0.5) or world.kernel.state_hash()
    world.kernel.check_invariants()


@pytest.mark.parametrize("lots", [2**60 + 1, 2**62, 2**63 - 1, 0, -1, -(2**63)])
def test_impossible_quantities_are_denied_without_any_limit(lots):
    world = World()
    world.kernel.register_external("bot", ["A"])
    world.kernel.request(request(world.kernel, "bot", "A", 1, qty=lots), world.now)
    row = world.kernel.drain()[-1]["order"]
    assert (Reason(row["reason"]), Status(row["status"])) == (Reason.INVALID_QTY, Status.DENIED)


@pytest.mark.parametrize("tick", [2**60 + 1, 2**63 - 1, 0, -5, -(2**63)])
def test_impossible_prices_are_denied_without_any_limit(tick):
    world = World()
    world.kernel.register_external("bot", ["A"])
    world.kernel.request(request(world.kernel, "bot", "A", 1, price_tick=tick), world.now)
    assert Reason(world.kernel.drain()[-1]["order"]["reason"]) is Reason.INVALID_PRICE


def test_sums_of_lots_never_overflow():
    world = World()
    world.kernel.register_external("bot", ["A"])
    passed = 0
    for number in range(1, 20):
        world.kernel.request(request(world.kernel, "bot", "A", number, qty=2**60), world.now)
        passed += any(world.kernel.drain()["kind"] == REQUEST)
    assert passed == 2
    world.kernel.check_invariants()


def test_a_value_that_is_too_great_for_a_double_is_denied():
    world = World()
    kernel = Kernel([InstrumentSpec("H", 1.0, 1e270, contract_size=1e30)])
    kernel.register_external("bot", ["H"])
    kernel.start(START)
    kernel.request(request(kernel, "bot", "H", 1, qty=2**40), START)
    assert Reason(kernel.drain()[-1]["order"]["reason"]) is Reason.MAX_NOTIONAL
    assert world.order(px=90.0) == ""


@pytest.mark.parametrize(
    "limits",
    [
        {"max_position": math.nan},
        {"max_notional": math.nan},
        {"max_daily_loss": math.nan},
        {"leverage": 2.0},
        {"order_burst": 3},
        {"max_rejects": 3},
        {"loss_action": "reduce"},
        {"session_hours": ("08:00",)},
        {"session_hours": ("xyz 08:00-09:00",)},
        {"session_hours": ("08:00-25:00",)},
        {"session_hours": ("08:00-08:00",)},
        {"session_hours": ("22:00-01:00",) * 5},
        {"message_rate": 5.0, "cancel_reserve": 5},
    ],
)
def test_limits_that_say_nothing_are_refused(limits):
    with pytest.raises(ConfigError):
        World(own=RiskLimits(**limits))
    with pytest.raises(ConfigError):
        World(risk=RiskConfig(limits=RiskLimits(**limits)))


def test_order_rate_is_a_bucket_on_engine_time():
    world = World(own=RiskLimits(order_rate=10.0, order_burst=3))
    assert [world.order() for _ in range(4)] == ["", "", "", "order_rate"]
    assert (world.denial.limit, world.denial.actual) == (3.0, 4.0)
    world.wait(10**8 - 1)
    assert world.order() == "order_rate"
    world.wait(1)
    assert [world.order(), world.order()] == ["", "order_rate"]
    assert world.order("b") == ""


def test_cancels_have_a_reserve_of_messages_and_pass_without_one():
    world = World(own=RiskLimits(message_rate=10.0, message_burst=4, cancel_reserve=2))
    first, second = world.a.ctx.buy(90.0, 0.1), world.a.ctx.buy(89.0, 0.1)
    assert world.order() == "message_rate"
    world.venue.answer()
    assert not world.a.ctx.modify(first, 88.0, 0.1)
    for order_id in (first, second):
        world.a.ctx.cancel(order_id)
    world.venue.answer()
    assert world.kernel.orders("a") == []
    world.wait(3 * 10**8 - 1)
    assert world.order() == "message_rate"
    world.wait(1)
    assert world.order() == ""


def test_the_same_content_twice_within_its_window_is_denied():
    world = World(own=RiskLimits(duplicate_window_ns=1000))
    assert [world.order(), world.order(), world.order(qty=0.2)] == ["", "duplicate_content", ""]
    world.wait(1000)
    assert world.order() == "duplicate_content"
    assert world.denial.actual == 1000
    world.wait(1)
    assert world.order() == ""


def test_an_order_that_could_meet_an_own_one_is_denied():
    world = World(own=RiskLimits(self_trade_prevention=True))
    order_id = world.a.ctx.buy(95.0, 0.1)
    assert world.order(side=-1, px=95.0) == "self_trade_prevention"
    assert (world.denial.limit, world.denial.actual) == (95.0, 95.0)
    assert world.order(side=-1, px=95.5) == ""
    assert world.order(side=-1, order_type=OrdType.MARKET) == "self_trade_prevention"
    assert world.order("b", side=-1, px=95.0) == ""
    world.venue.answer()
    world.a.ctx.cancel(order_id)
    assert world.order(side=-1, px=95.0) == "self_trade_prevention"
    world.venue.answer()
    assert world.order(side=-1, px=95.0) == ""


def test_over_all_strategies_nobody_meets_anybody_even_while_a_change_is_in_flight():
    world = World(risk=RiskConfig(limits=RiskLimits(self_trade_prevention=True)))
    order_id = world.a.ctx.buy(95.0, 0.1)
    world.venue.answer()
    assert world.a.ctx.modify(order_id, 93.0, 0.1)
    assert world.order("b", side=-1, px=95.0) == "self_trade_prevention"
    assert world.order("b", "B", side=-1, px=95.0) == ""
    world.venue.answer()
    assert world.order("b", side=-1, px=93.5) == ""


def test_orders_need_a_book_that_is_fresh_whole_and_not_crossed():
    limits = {
        "max_data_age_ns": 100,
        "require_book": True,
        "refuse_crossed_book": True,
        "max_clock_skew_ns": 50,
    }
    world = World(own=RiskLimits(**limits))
    world.wait(100)
    assert world.order() == ""
    world.wait(1)
    assert world.order() == "stale_market_data"
    assert (world.denial.limit, world.denial.actual) == (100.0, 101.0)
    world.quote(0, 100.0, 101.0, ts=world.now + 50)
    assert world.order() == ""
    world.quote(0, 100.0, 101.0, ts=world.now + 51)
    assert world.order() == "clock_sanity"
    world.quote(0, 100.0, 101.0)
    # A bid through the ask that nobody took away.
    world.kernel.market(0, events(("bid", 101.5, 1.0), ts=world.now))
    assert world.order() == "book_unsynced"
    world.kernel.market(0, events(("ask", 103.0, 1.0), ts=world.now))
    assert world.order() == "crossed_book"
    world.kernel.market(0, events(("ask", 101.0, 0.0), ts=world.now))
    assert world.order() == ""


def test_a_collar_without_a_reference_denies():
    world = World(own=RiskLimits(price_collar_bps=5000.0))
    world.kernel.market(0, events(("ask", 101.0, 0.0), ts=world.now))
    assert world.order() == "price_collar"
    assert math.isnan(world.denial.actual)
    world.kernel.market(0, events(("ask", 101.0, 1.0), ts=world.now))
    assert world.order() == ""


@pytest.mark.parametrize("name", ["max_daily_loss", "max_drawdown"])
@pytest.mark.parametrize("scope", list(SCOPES))
def test_a_loss_latches_until_it_is_rearmed(name, scope):
    # Bought half a point below the mid: the highest equity is 0.5.
    over = 0.5 if name == "max_drawdown" else 0.0
    world = World(**SCOPES[scope](RiskLimits(**{name: 5.0 + over})))
    world.fill(px=100.0, qty=1.0)
    live = world.a.ctx.buy(80.0, 0.1)
    world.venue.answer()
    world.quote(0, 95.0, 95.0 + 0.5)
    assert world.order() == ""
    world.quote(0, 94.5, 95.0)
    assert world.order() == name
    assert (world.denial.limit, world.denial.actual) == (5.0 + over, 5.25 + over)
    world.quote(0, 100.0, 101.0)
    assert world.order() == name
    (latch,) = world.kernel.latches()
    assert (latch.scope, latch.cause, latch.who, latch.state) == (scope, name, "risk", "HALTED")
    world.venue.answer()
    assert live not in [o.order_id for o in world.kernel.orders("a")]
    target = {"strategy": {"strategy": "a"}, "instrument": {"symbol": "A"}, "global": {}}[scope]
    world.kernel.resume()
    assert world.order() == name
    assert world.kernel.rearm(**target, who="boss").success
    if scope == "global":
        assert world.kernel.trading_state is TradingState.HALTED
        world.kernel.resume()
    assert world.order() == ""
    world.kernel.check_invariants()


def test_a_loss_may_leave_reductions_open():
    world = World(own=RiskLimits(max_drawdown=5.0, loss_action="reduce"))
    world.fill(px=100.0, qty=1.0)
    world.quote(0, 90.0, 91.0)
    assert world.order() == "max_drawdown"
    assert world.order(side=-1, px=91.0, qty=1.1) == "max_drawdown"
    assert world.order(side=-1, px=91.0, qty=1.0) == ""


def test_a_loss_is_seen_when_it_is_made_by_a_fill():
    world = World(own=RiskLimits(max_daily_loss=5.0))
    world.fill(px=120.0, qty=1.0)
    assert world.kernel.latches()[0].cause == "max_daily_loss"
    assert "max_daily_loss" in world.kernel.strategy("a").message


def test_a_new_day_forgets_the_loss_of_the_last_but_not_the_latch():
    world = World(own=RiskLimits(max_daily_loss=5.0))
    world.fill(px=100.0, qty=1.0)
    world.quote(0, 96.0, 97.0)
    assert world.order() == ""
    world.wait(DAY)
    world.quote(0, 92.0, 93.0)
    assert world.order() == ""
    world.quote(0, 91.0, 92.0)
    assert world.order() == ""
    world.quote(0, 90.5, 91.0)
    assert world.order() == "max_daily_loss"
    world.wait(DAY)
    assert world.order() == "max_daily_loss"


def test_too_many_executions_or_rejects_stop_trading():
    world = World(own=RiskLimits(max_repeat_executions=2, repeat_window_ns=1000))
    for _ in range(2):
        world.fill(qty=0.1)
    assert world.order() == ""
    world.fill(qty=0.1)
    assert world.order() == "repeat_execution_throttle"
    assert (world.denial.limit, world.denial.actual) == (2.0, 3.0)
    world.wait(10_000)
    assert world.order() == "repeat_execution_throttle"
    assert world.kernel.rearm("a", cause="repeat_execution_throttle").success
    assert world.order() == ""
    rejects = World(own=RiskLimits(max_rejects=2, reject_window_ns=1000))
    for wanted in ("", "", "", "reject_rate_breaker"):
        assert rejects.order() == wanted
        rejects.venue.reject()


def test_messages_for_each_execution_are_limited_after_a_grace():
    world = World(own=RiskLimits(max_order_to_trade_ratio=5.0, order_to_trade_grace=3))
    assert [world.order() for _ in range(6)] == [""] * 5 + ["max_order_to_trade_ratio"]
    assert (world.denial.limit, world.denial.actual) == (5.0, 6.0)
    world.venue.answer()
    for held in world.kernel.orders("a")[:2]:
        world.venue.fill(held.order_id)
    assert [world.order() for _ in range(6)] == [""] * 5 + ["max_order_to_trade_ratio"]
    world.wait(DAY)
    assert world.order() == ""


def test_gross_notional_lets_reductions_pass_and_buying_power_follows_the_equity():
    world = World(own=RiskLimits(max_gross_notional=100.5))
    world.fill(qty=1.0)
    assert world.order(qty=0.1) == "max_gross_notional"
    assert world.order(side=-1, px=110.0, qty=2.0) == ""
    assert world.order(side=-1, px=110.0, qty=0.1) == "max_gross_notional"
    power = World(own=RiskLimits(capital=100.5))
    power.fill(qty=1.0)
    power.quote(0, 90.0, 91.0)
    assert power.order(qty=0.1) == "buying_power"
    assert power.denial.limit == pytest.approx(100.5 + (90.5 - 100.0))


def test_limits_change_while_it_runs_all_or_none():
    world = World(own=RiskLimits(max_position=1.0))
    for _ in range(3):
        assert world.order(qty=0.1) == ""
    assert world.kernel.update_limits("a", max_open_notional=36.0, max_position=0.5).success
    assert world.order(qty=0.1) == ""
    assert world.order(qty=0.1) == "max_open_notional"
    assert world.kernel.limits_of("a", "A").max_position == 0.5
    before = world.kernel.limits_of("a"), world.kernel.state_hash()
    for wrong in ({"max_position": math.nan, "max_drawdown": 5.0}, {"max_drawdown": 5.0, "leverage": 3.0}):
        assert not world.kernel.update_limits("a", **wrong).success
    assert "whole" in world.kernel.update_limits("a", "A", max_drawdown=5.0).message
    assert "add up" in world.kernel.update_limits(max_position=5.0).message
    assert not world.kernel.update_limits("", "C", max_position=5.0).success
    assert (world.kernel.limits_of("a"), world.kernel.state_hash()) == before
    assert world.kernel.update_limits("", "A", max_open_orders=4).message == "limits changed in A"
    assert world.kernel.update_limits("a", max_open_notional=math.inf).success
    assert world.order("b") == "max_open_orders"
    assert world.kernel.update_limits(restricted=True).message == "limits changed in everything"
    assert world.order("b", "B") == "restricted_instrument"
    assert world.kernel.update_limits(restricted=False).success
    assert world.order("b", "B") == ""
    world.kernel.check_invariants()


def test_money_of_two_currencies_does_not_add_up():
    kernel = Kernel([A, InstrumentSpec("I", 0.5, 1.0, asset="inverse")])
    with pytest.raises(ConfigError, match="different currencies"):
        kernel.set_risk(RiskConfig(limits=RiskLimits(max_drawdown=5.0)))
    with pytest.raises(ConfigError, match="different currencies"):
        kernel.add_strategy("a", Recorder(), limits=RiskLimits(max_gross_notional=5.0))
    kernel.add_strategy("a", Recorder(), ["I"], RiskLimits(max_gross_notional=5.0))
    kernel.set_risk(RiskConfig(instruments={"I": RiskLimits(max_open_notional=5.0)}))


def test_same_inputs_same_counters():
    hashes = []
    for _ in range(2):
        world = World(own=RiskLimits(order_rate=100.0, max_drawdown=50.0, duplicate_window_ns=5))
        hashes.append([world.kernel.state_hash()])
        for n in range(5):
            world.order(px=90.0 + n)
            hashes[-1].append(world.kernel.state_hash())
    assert hashes[0] == hashes[1]
    assert len(set(hashes[0])) == 6
