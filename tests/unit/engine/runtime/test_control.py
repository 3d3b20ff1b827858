"""Commands that change something: their record, edited configurations, and the kill switch over restarts."""

import math
import os
import threading
import time

import pytest

from engine.backtest.config import StrategyConfig
from engine.core.types import Reason, Side, Status
from engine.runtime.changes import read
from engine.runtime.lifting import limiting
from engine.runtime.reconfigure import Reconfigure
from engine.runtime.records import Kind
from engine.runtime.rundir import RunDir
from engine.runtime.switches import read_switches
from tests.kit.loops import Loop, asset, quotes

MAKER = StrategyConfig(id="mm", cls="engine.strategy.native:MarketMaker", params={"half_spread": 2.0})
AT = 1_700_000_000_000_000_000
BY = {"who": "cli:ann", "at": AT}


def made(run, *strategies, **options):
    loop = Loop(*(strategies or (MAKER,)), run=run, **options)
    loop.feed(quotes(10))
    loop.run_dry()
    return loop


@pytest.fixture
def run(tmp_path):
    one = RunDir(tmp_path / "r")
    one.make()
    return one


@pytest.fixture
def loop(run):
    one = made(run)
    yield one
    one.ledger.close()


def answer(loop, command, **fields):
    """The reply's body, waiting for the disk where the engine does not."""
    request_id = loop.command(command, **{**BY, **fields})
    end = time.monotonic() + 10
    while time.monotonic() < end:
        loop.step()
        for out in loop.take("orders_out") + loop.take("control_out"):
            if out.kind == Kind.REPLY and out.body["request_id"] == request_id:
                return out.body
    raise AssertionError(f"no reply to {command}")


def changes(loop, run):
    loop.ledger.close()
    return read(run.changes_file)


def external(loop, n=0, name="ext"):
    """Registers a trader with ``n`` live orders; its slot."""
    slot = answer(loop, "register", strategy_id=name)["slot"]
    for number in range(1, n + 1):
        loop.order(Status.NEW, number, strategy=slot, side=Side.BUY, price_tick=900, qty=1, leaves_qty=1)
    loop.step(3)
    return slot


# --- the record ---------------------------------------------------------------------------------


def test_parameters_are_recorded_with_who_when_old_and_new(loop, run):
    reply = answer(loop, "update_params", strategy_id="mm", params={"half_spread": 3.0, "skew": 0.5})
    assert reply["message"] == "changed: half_spread, skew (version 1)"
    assert answer(loop, "update_params", strategy_id="mm", params={"skew": 0.5})["message"] == "changed: skew"
    refused = answer(loop, "update_params", strategy_id="mm", params={"half_spread": 4.0, "skew": -9.0})
    assert not refused["success"]
    (one,) = changes(loop, run)
    assert (one.version, one.who, one.kind, one.strategy) == (1, "cli:ann", "params", "mm")
    assert one.ts == "2023-11-14T22:13:20.000000Z"
    assert one.values["half_spread"] == (2.0, 3.0)
    assert one.step > 0


def test_limits_are_recorded_likewise_and_can_be_lifted(loop, run):
    reply = answer(loop, "update_risk_limits", strategy_id="mm", limits={"max_position": 0.5})
    assert reply["message"].endswith("(version 1)")
    answer(loop, "update_risk_limits", strategy_id="mm", max_position=0.25, max_open_orders=3)
    answer(loop, "update_risk_limits", strategy_id="mm", limits={"max_position": math.inf})
    shown = answer(loop, "query_limits", strategy_id="mm")
    assert shown["details"] == {"limits": {"BTCUSDT": {"max_open_orders": 3}}}
    answer(loop, "update_risk_limits", strategy_id="mm", limits={"max_open_orders": math.inf})
    assert answer(loop, "query_limits", strategy_id="mm")["details"] == {"limits": {"BTCUSDT": {}}}
    assert [one.values for one in changes(loop, run)] == [
        {"BTCUSDT.max_position": (None, 0.5)},
        {"BTCUSDT.max_position": (0.5, 0.25), "BTCUSDT.max_open_orders": (None, 3)},
        {"BTCUSDT.max_position": (0.25, None)},
        {"BTCUSDT.max_open_orders": (3, None)},
    ]


def test_limits_over_all_strategies_are_changed_shown_and_recorded(loop, run):
    def ask(command, **fields):
        return answer(loop, command, who="cli:ann", **fields)

    assert ask("query_limits")["details"] == {"limits": {"": {}}}
    reply = ask("update_risk_limits", limits={"max_gross_notional": 1e6, "loss_action": None})
    assert reply["message"] == "limits changed in everything (version 1)"
    ask("update_risk_limits", symbol="BTCUSDT", max_position=2.0, max_open_orders=7)
    ask("update_risk_limits", symbol="BTCUSDT", limits={"max_open_orders": math.inf})
    everything = {"": {"max_gross_notional": 1e6}, "BTCUSDT": {"max_position": 2.0}}
    assert ask("query_limits")["details"] == {"limits": everything}
    assert ask("query_limits", symbol="BTCUSDT")["details"]["limits"] == {"BTCUSDT": {"max_position": 2.0}}
    assert loop.kernel.limits_of("", "BTCUSDT").max_position == 2.0
    # A strategy's own are not touched.
    assert ask("query_limits", strategy_id="mm")["details"] == {"limits": {"BTCUSDT": {}}}
    recorded = changes(loop, run)
    assert {(one.who, one.kind, one.strategy) for one in recorded} == {("cli:ann", "limits", "")}
    assert [(one.version, one.values) for one in recorded] == [
        (1, {"everything.max_gross_notional": (None, 1e6)}),
        (2, {"BTCUSDT.max_position": (None, 2.0), "BTCUSDT.max_open_orders": (None, 7)}),
        (3, {"BTCUSDT.max_open_orders": (7, None)}),
    ]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"limits": {"max_position": 1.0}}, "do not add up"),
        ({"symbol": "XYZ", "max_position": 1.0}, "XYZ"),
        ({"symbol": "BTCUSDT", "limits": {"max_open_orders": 5, "max_notional": -1.0}}, "max_notional"),
        ({"symbol": ["BTCUSDT"], "max_position": 1.0}, "symbol: expected text"),
    ],
)
def test_limits_over_all_strategies_change_all_or_none(loop, run, fields, message):
    reply = answer(loop, "update_risk_limits", **fields)
    assert (reply["success"], message in reply["message"]) == (False, True), reply["message"]
    assert answer(loop, "query_limits")["details"] == {"limits": {"": {}}}
    assert changes(loop, run) == []


def test_a_limit_over_all_strategies_is_held_at_once(loop):
    external(loop)
    answer(loop, "update_risk_limits", symbol="BTCUSDT", limits={"max_open_orders": 1})
    for number in (1, 2):
        loop.order(Status.NEW, number, strategy=1, side=1, price_tick=990, qty=5)
    loop.step(2)
    orders = [out.body["order"] for out in loop.of_kind("orders_out", Kind.ORDER)]
    denied = {int(one["client_order_id"]): one["reason"] for one in orders if one["status"] == Status.DENIED}
    assert denied[2] == Reason.MAX_OPEN_ORDERS


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"max_nothing": 1.0}, "max_nothing"),
        ({"max_position": -1.0}, "max_position"),
        ({"max_position": math.nan}, "max_position"),
        ({"max_position": True}, "got `bool` - at `$.max_position`"),
        ({"max_open_orders": 2.5}, "max_open_orders"),
        ({"max_position": 0.5, "max_notional": 0.0}, "max_notional"),
    ],
)
def test_limits_change_all_or_none(loop, limits, message):
    before = loop.kernel.strategy("mm").limits
    reply = answer(loop, "update_risk_limits", strategy_id="mm", limits=limits)
    assert (reply["success"], message in reply["message"]) == (False, True)
    assert loop.kernel.strategy("mm").limits == before


def test_what_else_operators_do_is_recorded_when_it_was_done(loop, run):
    for command, fields in (
        ("pause", {"strategy_id": "mm"}),
        ("pause", {"strategy_id": "nobody"}),
        ("query_status", {}),
        ("reduce_only", {}),
        ("emergency_stop", {}),
        ("resume", {}),
    ):
        answer(loop, command, **fields)
    recorded = [(one.kind, one.strategy, one.version) for one in changes(loop, run)]
    assert recorded == [
        ("pause", "mm", 1),
        ("reduce_only", "", 2),
        ("emergency_stop", "", 3),
        ("resume", "", 4),
    ]


def test_versions_go_on_after_a_restart(loop, run):
    answer(loop, "pause", strategy_id="mm")
    loop.ledger.close()
    again = made(run)
    assert "(version 2)" in answer(again, "pause", strategy_id="mm")["message"]
    again.ledger.close()


@pytest.mark.parametrize("fields", [{"who": 7}, {"who": ["x"]}])
def test_a_sender_that_is_no_text_is_refused(loop, fields):
    assert (
        answer(loop, "pause", **fields)["message"]
        == f"who: expected text, not {type(fields['who']).__name__}"
    )


def test_limits_of_what_is_not_there(loop):
    assert answer(loop, "query_limits", strategy_id="nobody")["message"].startswith("unknown strategy")
    refused = answer(loop, "query_limits", strategy_id="mm", symbol="XYZ")
    assert refused["message"] == "mm does not trade 'XYZ'"


def test_limits_of_many_symbols_are_told_for_some():
    loop = Loop(
        MAKER, assets=[asset(f"S{i}") for i in range(70)], slots=dict.fromkeys(("orders_out",), 1 << 12)
    )
    reply = answer(loop, "query_limits", strategy_id="mm")
    assert (len(reply["details"]["limits"]), reply["message"]) == (
        64,
        "6 more symbols: name one to see its limits",
    )
    assert list(answer(loop, "query_limits", strategy_id="mm", symbol="S69")["details"]["limits"]) == ["S69"]


# --- an edited configuration --------------------------------------------------------------------


def test_an_edit_changes_parameters_limits_and_externals_at_once(run):
    loop = made(run, MAKER, external={"limits": {"max_order_qty": 0.5}})
    external(loop)
    reply = answer(
        loop,
        "reconfigure",
        params={"mm": {"half_spread": None, "skew": 0.5}},
        limits={"mm": {"max_position": 0.5}},
        risk={"": {"max_open_orders": 9}, "BTCUSDT": {"max_position": 3.0}},
        external_limits={"max_order_qty": 0.25},
        external_enabled=False,
    )
    assert (reply["success"], reply["message"]) == (
        True,
        "the edited configuration is in force (versions 1 to 4)",
    )
    assert loop.kernel.limits_of().max_open_orders == 9
    assert loop.kernel.limits_of("", "BTCUSDT").max_position == 3.0
    info = loop.kernel.strategy("mm")
    assert (info.params["half_spread"], info.params["skew"]) == (info.specs["half_spread"].default, 0.5)
    assert info.limits["BTCUSDT"].max_position == 0.5
    assert loop.kernel.strategy("ext").limits["BTCUSDT"].max_order_qty == 0.25
    assert "takes no external traders" in answer(loop, "register", strategy_id="other")["message"]
    answer(loop, "reconfigure", risk={"": {"max_open_orders": None}})
    recorded = changes(loop, run)
    assert recorded.pop().values == {"everything.max_open_orders": (9, None)}
    kinds = [(one.kind, one.strategy) for one in recorded]
    assert sorted(kinds) == [("limits", ""), ("limits", "ext"), ("limits", "mm"), ("params", "mm")]
    [over_all] = [one for one in recorded if not one.strategy]
    assert over_all.values == {
        "everything.max_open_orders": (None, 9),
        "BTCUSDT.max_position": (None, 3.0),
    }


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"params": {"mm": {"skew": -9.0}}}, "mm.skew: -9.0 is below"),
        ({"params": {"mm": {"nope": 1}}}, "mm: unknown parameter nope"),
        ({"params": {"mm": {"nope": None}}}, "mm: unknown parameter nope"),
        ({"params": {"nobody": {}}}, "unknown strategy 'nobody'"),
        ({"limits": {"mm": {"max_position": -1.0}}}, "mm: Expected `float` >= 0"),
        ({"limits": {"mm": {"max_open_orders": 0.5}}}, "mm: Expected `int | null`"),
        ({"limits": {"mm": {"nope": None}}}, "mm: unknown limit nope"),
        ({"limits": {"nobody": {}}}, "unknown strategy 'nobody'"),
        ({"limits": 7}, "Expected `object`"),
        ({"external_limits": {"nope": 1}}, "unknown field `nope`"),
        ({"risk": {"XYZ": {"max_position": 1.0}}}, "risk: there is no instrument 'XYZ'"),
        ({"risk": {"": {"max_open_orders": -1}}}, "risk of everything: Expected `int` >= 0"),
        ({"risk": {"BTCUSDT": {"max_open_orders": 5}, "": {"max_position": 1.0}}}, "do not add up"),
        ({"log_level": "loud"}, "Invalid enum value 'loud'"),
    ],
)
def test_an_edit_that_is_wrong_anywhere_changes_nothing(loop, fields, message):
    def over_all():
        return answer(loop, "query_limits")["details"]["limits"]

    before = loop.kernel.state_hash(), loop.kernel.params("mm"), loop.kernel.strategy("mm").limits
    assert over_all() == {"": {}}
    whole = {"params": {"mm": {"half_spread": 9.0}}, "limits": {"mm": {"max_notional": 5.0}}}
    for name, value in fields.items():
        whole[name] = whole[name] | value if isinstance(value, dict) and name in whole else value
    reply = answer(loop, "reconfigure", **whole)
    assert (reply["success"], message in reply["message"]) == (False, True), reply["message"]
    assert (loop.kernel.state_hash(), loop.kernel.params("mm"), loop.kernel.strategy("mm").limits) == before
    assert over_all() == {"": {}}


class Refusing:
    """A kernel that refuses the parameters of a strategy after all."""

    def __init__(self, kernel):
        self.kernel = kernel

    def __getattr__(self, name):
        return getattr(self.kernel, name)

    def update_params(self, name, values):
        return self.kernel.update_params("nobody", values)


def test_what_the_kernel_refuses_after_all_takes_the_rest_back():
    loop = Loop(MAKER, assets=[asset("A"), asset("B")])
    kernel = loop.kernel
    kernel.update_limits("mm", "A", max_position=1.0)
    kernel.update_limits("mm", max_notional=100.0)
    kernel.update_limits("", "A", max_position=8.0)
    before = kernel.strategy("mm").limits
    change = Reconfigure(
        limits={"mm": {"max_position": 5.0, "max_notional": 7.0, "max_open_orders": 3}},
        risk={"": {"max_open_orders": 4}, "A": {"max_position": 9.0}},
        params={"mm": {"half_spread": 9.0}},
    )
    change.check(kernel, None)
    result = change.apply(Refusing(kernel))
    assert (result.success, result.message.startswith("unknown strategy 'nobody'")) == (False, True)
    after = kernel.strategy("mm").limits
    for symbol in ("A", "B"):
        for field in ("max_position", "max_notional", "max_open_orders"):
            old, new = getattr(before[symbol], field), getattr(after[symbol], field)
            assert new == old or (old is None and not limiting(field, new))
    assert kernel.params("mm")["half_spread"] == 2.0
    assert not limiting("max_open_orders", kernel.limits_of().max_open_orders)
    assert kernel.limits_of("", "A").max_position == 8.0
    assert change.apply(kernel).success
    assert kernel.strategy("mm").limits["B"].max_notional == 7.0


def test_an_edit_of_what_has_ended_needs_a_restart(loop):
    loop.kernel.stop()
    reply = answer(loop, "reconfigure", params={"mm": {"half_spread": 1.0}})
    assert reply["message"] == "mm is Stopped: its parameters change with a restart"


# --- the kill switch ----------------------------------------------------------------------------


def test_kill_cancels_latches_and_survives_a_restart_until_it_is_rearmed(loop, run):
    slot = external(loop, 3)
    assert len(loop.kernel.orders("ext")) >= 3
    reply = answer(loop, "kill", reason="wrong prices")
    assert (reply["success"], reply["trading_state"]) == (True, "HALTED")
    assert read_switches(run.switches_file) == list(loop.kernel.latches())
    loop.order(Status.NEW, 9, strategy=slot, side=Side.BUY, price_tick=900, qty=1, leaves_qty=1)
    loop.step(2)
    (denied,) = [o for o in loop.of_kind("orders_out", Kind.ORDER) if o.body["order"]["client_order_id"] == 9]
    assert denied.body["order"]["reason"] in (Reason.KILL_SWITCH, Reason.TRADING_HALTED)
    assert not answer(loop, "resume")["success"]
    loop.ledger.close()

    again = made(run)
    assert again.kernel.trading_state.name == "HALTED"
    (switch,) = answer(again, "query_status")["details"]["switches"]
    assert (switch["scope"], switch["reason"], switch["who"]) == ("global", "wrong prices", "cli:ann")
    assert not answer(again, "resume")["success"]
    wrong = answer(again, "rearm", switch="0" * 8)
    assert (wrong["success"], f"{switch['id']} is global HALTED" in wrong["message"]) == (False, True)
    assert answer(again, "rearm", switch=switch["id"])["success"]
    assert read_switches(run.switches_file) == []
    assert answer(again, "resume")["trading_state"] == "ACTIVE"
    assert not answer(again, "rearm", switch=switch["id"])["success"]
    again.ledger.close()

    third = made(run)
    assert (third.kernel.trading_state.name, third.kernel.latches()) == ("ACTIVE", ())
    third.ledger.close()


@pytest.mark.parametrize("place", [{"strategy_id": "ext"}, {"symbol": "BTCUSDT"}])
def test_a_strategy_or_an_instrument_is_killed_alone(loop, run, place):
    external(loop, 2)
    reply = answer(loop, "kill", **place)
    assert (reply["success"], reply["trading_state"]) == (True, "ACTIVE")
    (kept,) = read_switches(run.switches_file)
    assert (kept.scope, kept.name) == (
        ("strategy", "ext") if "strategy_id" in place else ("instrument", "BTCUSDT")
    )
    loop.ledger.close()
    again = made(run)
    assert again.kernel.latches() == (kept,)
    (switch,) = answer(again, "query_status")["details"]["switches"]
    assert answer(again, "rearm", switch=switch["id"])["success"]
    again.ledger.close()


@pytest.mark.parametrize("place", [{"strategy_id": "mm"}, {"symbol": "BTCUSDT"}, {}])
def test_whom_a_switch_holds_is_told_with_the_strategies(loop, run, place):
    def told():
        return {o.body["strategy_id"]: o.body["switches"] for o in loop.of_kind("orders_out", Kind.STRATEGY)}

    external(loop, 1)
    loop.command("resync")
    loop.step(2)
    assert told() == {"mm": [], "ext": []}
    loop.command("kill", **place, reason="enough", who="ann")
    loop.step(2)
    scope = {"strategy_id": "strategy", "symbol": "instrument"}.get(next(iter(place), ""))
    held = [
        [scope, place.get("strategy_id") or place.get("symbol"), "HALTED", "kill_switch", "ann", "enough"]
    ]
    expected = {"strategy": {"mm": held, "ext": []}, "instrument": {"mm": held, "ext": held}}
    assert told() == expected.get(scope, {"mm": [], "ext": []})
    (switch,) = answer(loop, "query_status")["details"]["switches"]
    loop.command("rearm", switch=switch["id"])
    loop.step(2)
    assert told()["mm"] == []


@pytest.mark.parametrize(
    "fields", [{"strategy_id": "nobody"}, {"symbol": "XYZ"}, {"strategy_id": "mm", "symbol": "BTCUSDT"}]
)
def test_a_kill_of_what_is_not_there_is_refused(loop, run, fields):
    assert not answer(loop, "kill", **fields)["success"]
    assert loop.kernel.latches() == ()
    assert not run.switches_file.exists()


def test_a_file_that_cannot_be_read_kills_everything_until_somebody_has_looked(run):
    run.switches_file.write_text("{")
    loop = made(run)
    assert loop.kernel.trading_state.name == "HALTED"
    (switch,) = answer(loop, "query_status")["details"]["switches"]
    assert str(run.switches_file) in switch["reason"]
    assert answer(loop, "rearm", switch=switch["id"])["success"]
    assert read_switches(run.switches_file) == []
    loop.ledger.close()


def test_whoever_kills_is_answered_when_the_disk_has_it_and_the_market_goes_on(loop, run, monkeypatch):
    held, fsync = threading.Event(), os.fsync

    def slow(fd):
        held.wait(10)
        fsync(fd)

    monkeypatch.setattr(os, "fsync", slow)
    loop.take("control_out")
    loop.command("kill", **BY)
    loop.step(5)
    assert loop.kernel.trading_state.name == "HALTED"
    assert loop.of_kind("control_out", Kind.REPLY) == []
    events = loop.engine.events
    loop.feed(quotes(10, start=2_000_000_000))
    loop.step(5)
    assert loop.engine.events > events
    other = answer(loop, "query_status")
    assert other["trading_state"] == "HALTED"
    held.set()
    end = time.monotonic() + 10
    replies = []
    while not replies and time.monotonic() < end:
        loop.step()
        replies = loop.of_kind("control_out", Kind.REPLY)
    assert replies[0].body["success"]


def test_a_disk_that_takes_nothing_is_told_in_the_answer_and_all_is_killed_all_the_same(loop, monkeypatch):
    def full(fd):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    reply = answer(loop, "kill")
    assert reply["success"]
    assert "NOT kept for a restart: No space left on device" in reply["message"]
    assert loop.kernel.trading_state.name == "HALTED"


def test_a_kill_that_waits_for_the_disk_is_answered_at_the_end_too(loop, run):
    loop.command("kill", **BY)
    loop.step()
    loop.engine.stop()
    (reply,) = loop.of_kind("control_out", Kind.REPLY)
    assert reply.body["success"]
    assert len(read_switches(run.switches_file)) == 1
