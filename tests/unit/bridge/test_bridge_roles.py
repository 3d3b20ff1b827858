"""Roles: every pair of role and message, what a key may be, and what it sees."""

from typing import get_args

import pytest

from bridge import protocol as p
from bridge.roles import MAY, MAY_BE, ROLES, SEES, Grant, may
from bridge.sessions import MAX_PEERS_A_KEY
from tests.kit.bridge_parts import Parts

MESSAGES = {
    p.Hello: p.Hello(1, "c", "admin"),
    p.Heartbeat: p.Heartbeat(1),
    p.Goodbye: p.Goodbye(),
    p.SnapshotRequest: p.SnapshotRequest(9, "md."),
    p.ReplayRequest: p.ReplayRequest(9, "md.BTCUSDT.depth", 1),
    p.WaitDurable: p.WaitDurable(9, 0),
    p.Submit: p.Submit(9, "BTCUSDT", "buy", 100.0, 0.1),
    p.Modify: p.Modify(9, 100.0, 0.1),
    p.Cancel: p.Cancel(9),
    p.CancelAll: p.CancelAll(),
    p.Signal: p.Signal("x", 1.0),
    p.ExecutionReplayRequest: p.ExecutionReplayRequest(1),
    p.QueryOrder: p.QueryOrder(1, 1),
    p.Features: p.Features("x", "BTCUSDT", ["a"], bytes(8)),
    p.Kill: p.Kill(9, "mm"),
    p.QueryStatus: p.QueryStatus(9),
    p.QueryLimits: p.QueryLimits(9),
    p.Pause: p.Pause(9),
    p.ReduceOnly: p.ReduceOnly(9),
    p.CancelOrders: p.CancelOrders(9),
    p.EmergencyStop: p.EmergencyStop(9),
    p.UpdateRiskLimits: p.UpdateRiskLimits(9, "mm"),
    p.Resume: p.Resume(9),
    p.UpdateParams: p.UpdateParams(9, "mm", {"a": 1}),
    p.Rearm: p.Rearm(9, "1f3a9c07"),
}
PAIRS = [(channel, role, kind) for channel, table in MAY.items() for role in ROLES for kind in table]
A, B = (Grant(key * 40, key, "trader", (key,)) for key in ("a", "b"))


def test_the_table_has_every_message_of_its_socket():
    assert set(MAY["orders"]) == set(get_args(p.ClientMessage))
    assert set(MAY["control"]) == set(get_args(p.ControlMessage))
    assert set(MAY_BE) == set(SEES) == set(ROLES)


@pytest.mark.parametrize(("channel", "role", "kind"), PAIRS, ids=lambda x: getattr(x, "__name__", x))
def test_every_role_and_message(channel, role, kind):
    parts = Parts()
    grant = Grant("k" * 40, "k", role)
    strategy = "mm" if channel == "orders" and may(role, channel, p.Submit) else ""
    answer = parts.tell(p.Hello(1, "c", role, strategy), channel=channel, grant=grant)
    if strategy:
        answer = parts.reply(slot=3)
    if not may(role, channel, p.Hello):
        assert answer.code == "forbidden"
        assert parts.tell(MESSAGES[kind], channel=channel, grant=grant).code in ("hello_first", "forbidden")
        assert not parts.link.commands
        return
    assert type(answer) is p.Welcome
    refused = []
    parts.sessions.on_refused = lambda *what: refused.append(what)
    asked = len(parts.link.commands), len(parts.link.orders), len(parts.link.signals)
    parts.tell(MESSAGES[kind], channel=channel, grant=grant)
    passed = (len(parts.link.commands), len(parts.link.orders), len(parts.link.signals)) != asked
    if may(role, channel, kind):
        assert not refused
        assert getattr(parts.sent[-1][1], "code", "") != "forbidden"
    else:
        answer = parts.sent[-1][1]
        assert (answer.code, passed) == ("forbidden", False)
        assert kind.__name__ in answer.message
        assert refused == [(channel, p.Hello(1, "c", role, strategy), grant, kind.__name__, answer.message)]
        assert answer.request_id == getattr(MESSAGES[kind], "request_id", 0)


def test_what_stops_trading_needs_less_than_what_lets_it_go_on():
    stops = {p.Kill, p.Pause, p.EmergencyStop, p.ReduceOnly, p.CancelOrders}
    goes_on = {p.Rearm, p.Resume}
    assert {kind for kind in stops | goes_on if may("risk", "control", kind)} == stops
    assert all(may("admin", "control", kind) for kind in stops | goes_on)
    assert not any(may(role, "control", kind) for role in ("observer", "trader") for kind in MAY["control"])
    assert may("trader", "orders", p.Kill)


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("hello", ROLES)
def test_a_key_is_no_more_than_its_role(role, hello):
    parts = Parts()
    strategy = "mm" if hello == "trader" else ""
    parts.tell(p.Hello(1, "c", hello, strategy), grant=Grant("k" * 40, "k", role))
    if strategy and parts.link.commands:
        parts.reply(slot=3)
    answer = parts.sent[-1][1]
    assert (type(answer) is p.Welcome) == (hello in MAY_BE[role])
    assert type(answer) is p.Welcome or answer.code == "forbidden"


def test_a_key_trades_as_its_own_strategies_only():
    parts = Parts()
    parts.trader(b"1", "a", grant=A)
    assert parts.tell(p.Hello(1, "c", "trader", "a"), b"2", grant=B).code == "forbidden"
    parts.trader(b"2", "b", slot=4, grant=B)
    parts.tell(MESSAGES[p.Submit], b"1", grant=A)
    assert parts.tell(p.Cancel(9), b"2", grant=B).code == "unknown_order"
    assert parts.tell(p.Kill(9, "a"), b"2", grant=B).code == "forbidden"
    parts.tell(p.CancelAll(), b"2", grant=B)
    assert [values[1] for values, _ in parts.link.orders] == [3, 4]


def test_a_trader_does_not_see_what_others_do():
    parts = Parts()
    parts.trader(b"1", "a", grant=A)
    for topic in ("tm.orders", "tm.fills", "tm.positions", "tm.strategies", "tm.log", "tm.", "t", ""):
        assert parts.tell(p.SnapshotRequest(9, topic), b"1", grant=A).code == "forbidden"
        assert parts.tell(p.ReplayRequest(9, topic, 1), b"1", grant=A).code == "forbidden"
    assert type(parts.tell(p.SnapshotRequest(9, "md."), b"1", grant=A)) is p.Snapshot
    assert type(parts.tell(p.SnapshotRequest(9, "tm.status"), b"1", grant=A)) is p.Snapshot


def test_the_identity_of_a_session_is_of_no_use_to_another_key():
    parts = Parts()
    parts.trader(b"1", "a", grant=A)
    for message in (MESSAGES[p.Submit], p.CancelAll(), p.Goodbye(), p.Hello(1, "c", "trader", "b")):
        assert parts.tell(message, b"1", grant=B).code == "forbidden"
    assert not parts.link.orders
    assert type(parts.tell(p.Heartbeat(4), b"1", grant=A)) is p.Heartbeat


def test_sessions_of_a_key_end_and_their_strategies_have_no_client():
    parts = Parts()
    parts.trader(b"1", "a", grant=A)
    parts.trader(b"2", "b", slot=4, grant=B)
    parts.sessions.end(lambda grant: grant.key == A.key, "the key is revoked")
    assert parts.sent[-1] == (b"1", p.Goodbye("the key is revoked"))
    assert (parts.link.commands[-1]["command"], parts.link.commands[-1]["strategy_id"]) == ("disconnect", "a")
    assert type(parts.tell(p.Heartbeat(4), b"2", grant=B)) is p.Heartbeat
    assert parts.tell(p.CancelAll(), b"1", grant=A).code == "hello_first"


def test_a_session_that_ends_while_it_waits_for_the_engine_is_not_welcomed():
    parts = Parts()
    parts.tell(p.Hello(1, "c", "trader", "a"), b"1", grant=A)
    registering = parts.link.commands[-1]["request_id"]
    parts.sessions.end(lambda grant: True, "the key is revoked")
    parts.reply(request_id=registering, slot=3)
    assert parts.sent == [(b"1", p.Goodbye("the key is revoked"))]
    assert [command["command"] for command in parts.link.commands] == ["register", "disconnect"]
    parts.trader(b"2", "a", grant=A)


def test_orders_that_a_revoked_key_has_left_are_cancelled():
    parts = Parts()
    parts.tell(p.Hello(1, "c", "trader", "a", on_loss="keep"), b"1", grant=A)
    parts.reply(slot=3)
    parts.tell(p.Submit(9, "BTCUSDT", "buy", 100.0, 0.1), b"1", grant=A)
    for _ in range(100):
        parts.tick()
    command = parts.link.commands[-1]
    assert (command["command"], command["policy"]) == ("disconnect", "keep")
    parts.router.disown()
    assert parts.link.commands[-1] is command
    parts.router.holds = lambda key: key != A.key
    parts.link.full = True
    parts.router.disown()
    parts.link.full = False
    parts.router.tick()
    assert (parts.link.commands[-1]["command"], parts.link.commands[-1]["strategy_id"]) == (
        "cancel_orders",
        "a",
    )


def test_a_session_is_gone_on_with_by_its_own_key_only():
    parts = Parts()
    parts.tell(p.Hello(1, "c", "trader", "a", on_loss="keep"), b"1", grant=A)
    session = parts.reply(slot=3).session
    for _ in range(100):
        parts.tick()
    other = Grant("c" * 40, "c", "trader", ("a",))
    parts.tell(p.Hello(1, "c", "trader", "a", resume=session), b"2", grant=other)
    assert parts.reply(slot=3).session != session


def test_one_key_does_not_take_all_places():
    parts = Parts()
    for number in range(MAX_PEERS_A_KEY):
        assert type(parts.tell(p.Hello(1, "c", "observer"), b"a%d" % number, grant=A)) is p.Welcome
    assert parts.tell(p.Hello(1, "c", "observer"), b"more", grant=A).code == "busy"
    assert type(parts.tell(p.Hello(1, "c", "observer"), b"other", grant=B)) is p.Welcome
    for number in range(MAX_PEERS_A_KEY + 1):
        assert type(parts.tell(p.Hello(1, "c", "observer"), b"own%d" % number)) is p.Welcome
