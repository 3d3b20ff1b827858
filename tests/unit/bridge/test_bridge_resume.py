"""Sessions outlive connections: numbers, repeats, takeovers, policies; with the bridge's real parts."""

import msgspec
import pytest

from bridge import protocol as p
from bridge import records
from bridge.intake import Intakes
from bridge.roles import Grant
from engine.core.types import Status
from tests.fuzz.orders import run
from tests.kit.bridge_parts import Parts


def submit(number, seq=0, px=100.0):
    return p.Submit(number, "BTCUSDT", "buy", px, 0.001, seq=seq)


def joined(**hello):
    parts = Parts()
    parts.tell(p.Hello(1, "c", "trader", "mm", **hello))
    welcome = parts.reply(slot=3)
    return parts, welcome.session


def requests(parts):
    return [values[0] for values, _ in parts.link.orders]


def test_an_order_is_sent_on_once_and_answered_again():
    parts, _ = joined()
    parts.tell(submit(7))
    assert parts.tell(submit(7)) == p.OrderReport(0, 7, True, True)
    assert parts.tell(submit(7, px=100.1)).code == "duplicate_order_id"
    assert parts.tell(p.QueryOrder(5, 7)) == p.OrderReport(5, 7, True, True)
    assert parts.tell(p.QueryOrder(6, 8)) == p.OrderReport(6, 8, False, False)
    assert requests(parts) == [Status.NEW]
    # What was refused was not sent on, and may be tried again.
    parts.link.full = True
    assert parts.tell(submit(8)).code == "busy"
    parts.link.full = False
    parts.tell(submit(8))
    assert requests(parts) == [Status.NEW, Status.NEW]


def test_numbered_messages_are_taken_in_their_order_and_once():
    parts, _ = joined()
    parts.tell(submit(7, 1))
    assert parts.tell(p.Cancel(7, 3)).code == "out_of_sequence"
    before = len(parts.sent)
    parts.tell(p.Cancel(7, 2))
    parts.tell(p.Cancel(7, 2))
    assert len(parts.sent) == before
    assert parts.tell(submit(7, 1)) == p.OrderReport(0, 7, True, True)
    assert requests(parts) == [Status.NEW, Status.CANCELED]
    # An order that had been refused under its number is not done now, and the client is told.
    assert parts.tell(submit(9, 2)) == p.OrderReport(0, 9, False, False)
    assert parts.tell(p.Heartbeat(5)) == p.Heartbeat(5, 0, 2)


def test_a_live_session_is_taken_over_by_who_knows_it():
    parts, session = joined()
    parts.tell(submit(7, 1))
    assert parts.tell(p.Hello(1, "c", "trader", "mm"), b"b").code == "strategy_in_use"
    hello = p.Hello(1, "c", "trader", "mm", resume=session)
    stranger = Grant("another key", "x", "trader", ())
    assert parts.tell(hello, b"s", grant=stranger).code == "strategy_in_use"
    assert parts.tell(hello, b"b").session == session
    assert parts.tell(submit(8, 2)).code == "hello_first"
    assert parts.tell(submit(7, 1), b"b") == p.OrderReport(0, 7, True, True)
    assert [c["command"] for c in parts.link.commands] == ["register"]


@pytest.mark.parametrize("policy", ["cancel", "keep", "reduce"])
def test_the_sessions_policy_says_what_a_loss_means(policy):
    parts, _ = joined(on_loss=policy)
    for _ in range(4):
        parts.tick()
    assert [parts.link.commands[-1][k] for k in ("command", "policy")] == ["disconnect", policy]
    # Who says goodbye means it.
    parts, _ = joined(on_loss=policy)
    parts.tell(p.Goodbye())
    assert [parts.link.commands[-1][k] for k in ("command", "policy")] == ["disconnect", "cancel"]
    # Over a restart of the bridge as well.
    again = Parts(intakes=parts.intakes)
    again.restart(records.StrategyBlob("mm", "Running", "external"))
    for _ in range(10):
        again.tick()
    assert [again.link.commands[-1][k] for k in ("command", "policy")] == ["disconnect", policy]


def test_a_new_session_cancels_what_the_one_before_has_kept():
    parts, session = joined(on_loss="keep")
    parts.tell(submit(7))
    for _ in range(4):
        parts.tick()
    hello = p.Hello(1, "c", "trader", "mm", on_loss="keep")
    parts.tell(msgspec.structs.replace(hello, resume=session), b"b")
    assert parts.reply(slot=3).session == session
    assert requests(parts) == [Status.NEW]
    parts.tell(p.Cancel(7), b"b")
    for _ in range(4):
        parts.tick()
    parts.tell(hello, b"c")
    assert parts.reply(slot=3).session != session
    assert requests(parts) == [Status.NEW, Status.CANCELED, Status.CANCELED]
    assert parts.tell(submit(7), b"c").code == "duplicate_order_id"


def test_a_dead_process_is_a_lost_session():
    parts, session = joined()
    assert parts.sessions.held(session)
    assert not parts.sessions.held("another")
    parts.sessions.lost(session)
    assert not parts.sessions.held(session)
    assert parts.link.commands[-1]["command"] == "disconnect"


def test_the_table_outlives_the_bridge(tmp_path):
    parts = Parts(intakes=Intakes(tmp_path / "table"))
    parts.tell(p.Hello(1, "c", "trader", "mm"))
    session = parts.reply(slot=0).session
    parts.tell(submit(7, 1))
    again = Parts(intakes=Intakes(tmp_path / "table"))
    again.restart(records.StrategyBlob("mm", "Running", "external"))
    assert again.tell(p.Hello(1, "c", "trader", "mm", resume=session)).session == session
    assert again.tell(submit(7, 1)) == p.OrderReport(0, 7, True, False)
    assert again.tell(submit(7)) == p.OrderReport(0, 7, True, False)
    assert requests(again) == []


def test_orders_that_come_twice_late_or_out_of_order_are_executed_once():
    """The short form of ``python -m tests.fuzz.orders``."""
    counts = run(8000, 3)
    assert counts["executed"] > 1000
    assert counts["repeats answered"] > 500
    assert counts["other content refused"] > 100
    assert counts["gaps refused"] > 100
