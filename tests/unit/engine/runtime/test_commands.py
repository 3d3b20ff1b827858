import numpy as np
import pytest

from engine.backtest.config import StrategyConfig
from engine.core.errors import ConfigError
from engine.runtime.config import DaemonConfig
from engine.runtime.engine import make_kernel
from engine.runtime.records import Kind, blob_records
from engine.strategy.base import Strategy
from tests.kit.loops import Loop, asset, quotes

MAKER = StrategyConfig(id="mm", cls="engine.strategy.native:MarketMaker", params={"half_spread": 2.0})


@pytest.fixture
def loop():
    one = Loop(MAKER)
    one.feed(quotes(10))
    one.run_dry()
    return one


def answer(loop, command, **fields):
    return loop.ask(command, **fields).body


def test_a_reply_has_the_state_the_parameters_and_the_slot(loop):
    reply = answer(loop, "query_status", strategy_id="mm")
    assert reply["success"]
    assert (reply["strategy_state"], reply["trading_state"], reply["slot"]) == ("Running", "ACTIVE", 0)
    assert reply["current_params"]["half_spread"] == 2.0
    assert answer(loop, "query_status")["slot"] is None


def test_parameters_change_all_or_none(loop):
    done = answer(loop, "update_params", strategy_id="mm", params={"half_spread": 3.0})
    assert (done["success"], done["current_params"]["half_spread"]) == (True, 3.0)
    refused = answer(loop, "update_params", strategy_id="mm", params={"half_spread": 4.0, "skew": -1.0})
    assert (refused["success"], refused["current_params"]["half_spread"]) == (False, 3.0)
    assert "skew" in refused["message"]


def test_a_change_is_told_to_everyone_before_its_reply(loop):
    loop.take("orders_out")
    loop.command("update_params", strategy_id="mm", params={"half_spread": 3.0})
    loop.step(2)
    (told,), (reply,) = loop.take("orders_out"), loop.take("control_out")
    assert (told.kind, reply.kind) == (Kind.STRATEGY, Kind.REPLY)
    assert told.body["params"][1]["value"] == 3.0
    assert told.header["step"] == reply.header["step"]


def test_limits_change_and_those_that_are_null_stay(loop):
    assert answer(loop, "update_risk_limits", strategy_id="mm", max_position=0.5, max_notional=None)[
        "success"
    ]
    assert answer(loop, "update_risk_limits", strategy_id="mm", symbol="BTCUSDT", max_open_orders=3)[
        "success"
    ]
    limits = loop.kernel.strategy("mm").limits["BTCUSDT"]
    assert (limits.max_position, limits.max_open_orders, limits.max_notional) == (0.5, 3, None)


@pytest.mark.parametrize(
    ("command", "fields", "message"),
    [
        ("fly", {}, "unknown command 'fly'"),
        (None, {}, "unknown command None"),
        (["pause"], {}, "unknown command"),
        ("pause", {"strategy_id": "nobody"}, "unknown strategy 'nobody'"),
        ("pause", {"strategy_id": 7}, "strategy_id: expected text, not int"),
        ("pause", {"strategy_id": ["mm"]}, "strategy_id: expected text"),
        ("cancel_orders", {"symbol": "XYZ"}, "unknown symbol 'XYZ'"),
        ("emergency_stop", {"cancel_orders": "yes"}, "cancel_orders: expected true or false"),
        ("update_params", {"strategy_id": "mm", "params": [1]}, "params: expected a table"),
        ("update_params", {"strategy_id": "mm", "params": {"half_spread": {}}}, "half_spread"),
        (
            "update_risk_limits",
            {"strategy_id": "mm", "max_position": "1"},
            "got `str` - at `$.max_position`",
        ),
        ("update_risk_limits", {"strategy_id": "mm", "max_position": -1.0}, "max_position"),
        ("register", {"strategy_id": "mm"}, "mm is a strategy inside the engine"),
        ("register", {"strategy_id": ""}, "needs a name"),
        ("register", {"strategy_id": "x", "symbols": "BTCUSDT"}, "symbols: expected a list"),
        ("register", {"strategy_id": "x", "symbols": ["XYZ"]}, "unknown symbol 'XYZ'"),
        ("disconnect", {"strategy_id": "mm"}, "mm is a strategy inside the engine"),
    ],
)
def test_what_cannot_be_done_is_answered_and_changes_nothing(loop, command, fields, message):
    before = loop.kernel.state_hash()
    reply = answer(loop, command, **fields)
    assert not reply["success"]
    assert message in reply["message"]
    assert loop.kernel.state_hash() == before


def test_commands_that_are_no_tables_are_answered_too(loop):
    loop.take("orders_out")
    for message in (7, "pause", [1, 2]):
        loop.push("control_in", blob_records(Kind.CONTROL, message))
    loop.step(3)
    replies = [out.body for out in loop.take("control_out") if out.kind == Kind.REPLY]
    assert [(r["request_id"], r["success"], r["message"]) for r in replies] == [
        (0, False, "a command is a table")
    ] * 3


def test_a_fault_of_ours_is_answered_and_the_engine_goes_on(loop, monkeypatch):
    def fault(message):
        raise ZeroDivisionError("oops")

    monkeypatch.setitem(loop.engine._commands._handlers, "query_status", fault)
    reply = answer(loop, "query_status")
    assert (reply["success"], reply["message"]) == (False, "internal error: ZeroDivisionError: oops")
    assert answer(loop, "pause", strategy_id="mm")["success"]


def test_an_external_trader_gets_the_configured_limits_and_can_come_back():
    loop = Loop(external={"limits": {"max_order_qty": 0.5}})
    first = answer(loop, "register", strategy_id="ext", params={"edge": 1.0})
    assert (first["success"], first["slot"], first["current_params"]) == (True, 0, {"edge": 1.0})
    assert loop.kernel.strategy("ext").limits["BTCUSDT"].max_order_qty == 0.5
    assert "connected already" in answer(loop, "register", strategy_id="ext")["message"]
    assert answer(loop, "disconnect", strategy_id="ext")["strategy_state"] == "Stopped"
    again = answer(loop, "register", strategy_id="ext")
    assert (again["success"], again["slot"]) == (True, 0)


def test_a_daemon_can_refuse_external_traders():
    loop = Loop(external={"enabled": False})
    assert "takes no external traders" in answer(loop, "register", strategy_id="ext")["message"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cls": "nowhere:X"}, r"d.toml: \$.strategies\[0\]: strategy 'nowhere:X'"),
        ({"params": {"nope": 1}}, r"d.toml: \$.strategies\[0\]: MarketMaker: unknown parameter nope"),
        ({"limits": {"max_qty": 1}}, r"d.toml: \$.strategies\[0\].limits: .*unknown field `max_qty`"),
    ],
)
def test_a_strategy_that_cannot_be_made_names_file_and_key(changes, message):
    values = {"id": "mm", "cls": "engine.strategy.native:MarketMaker"} | changes
    config = DaemonConfig(instruments=[asset()], strategies=[StrategyConfig(**values)])
    with pytest.raises(ConfigError, match=message):
        make_kernel(config, "d.toml")


class Careless(Strategy):
    """Puts into its parameters whatever it likes."""

    edge: float = 1.0
    count: int = 1
    label: str = ""
    notes: str = ""


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"edge": np.float64(2.5), "count": np.int64(7)}, {"edge": 2.5, "count": 7}),
        ({"label": "\ud800", "count": 2**70}, {"label": "\\ud800", "count": str(2**70)}),
        ({"label": "x" * 100_000, "notes": "short"}, {"label": "x" * 4096, "notes": "short"}),
    ],
)
def test_whatever_a_strategy_makes_of_its_parameters_it_is_told(values, told):
    loop = Loop()
    strategy = Careless()
    loop.kernel.add_strategy("careless", strategy)
    vars(strategy).update(values)
    reply = answer(loop, "query_status", strategy_id="careless")
    assert {name: reply["current_params"][name] for name in told} == told
    assert answer(loop, "resync")["success"]


def test_what_a_strategy_says_may_be_long_and_no_text():
    class Talkative(Strategy):
        def on_start(self, ctx):
            ctx.log("half a pair: \ud800")
            raise ValueError("\udfff" * 100_000)

    loop = Loop()
    loop.kernel.add_strategy("talkative", Talkative())
    loop.feed(quotes(3))
    loop.run_dry()
    reply = answer(loop, "query_status", strategy_id="talkative")
    assert reply["strategy_state"] == "Error"
    assert reply["message"].startswith("ValueError: \\udfff")
