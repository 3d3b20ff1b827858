"""Stamps: what is repeated, overtaken, late or of another session does nothing."""

import msgspec
import pytest

from bridge import protocol as p
from bridge import stamps
from bridge.stamps import MAX_TTL_NS, TTL_NS, StampCheck, Stamper
from tests.kit.bridge_parts import Parts

NOW = 5 * 10**12


@pytest.fixture
def clock(monkeypatch):
    """The clock of both sides, which stands at ``clock[0]``."""
    now = [NOW]
    monkeypatch.setattr(stamps.time, "monotonic_ns", lambda: now[0])
    return now


def welcome(nonce="n", clock=0):
    return p.Welcome(1, 5, "s", "m", "t", "PAPER", "e", [], nonce=nonce, clock=clock)


def test_each_stamp_is_good_once_and_none_after_a_later_one(clock):
    check = StampCheck("n")
    made = [p.Stamp("n", number, NOW + 1) for number in (1, 2, 3, 7)]
    assert check.wrong(made[0]) == ""
    assert "repeated, or out of order" in check.wrong(made[0])
    assert check.wrong(made[2]) == ""
    assert "repeated, or out of order" in check.wrong(made[1])
    assert check.wrong(made[3]) == ""
    assert "needs a stamp" in check.wrong(None)


@pytest.mark.parametrize(
    ("stamp", "why"),
    [
        (p.Stamp("m", 1, NOW + 1), "this session's"),
        (p.Stamp("n", 1, NOW), "expired"),
        (p.Stamp("n", 1, 0), "expired"),
        (p.Stamp("n", 1, NOW + MAX_TTL_NS + 1), "more than 60"),
        (p.Stamp("n", 1, 2**63 - 1), "more than 60"),
    ],
)
def test_a_refused_stamp_uses_no_number_up(clock, stamp, why):
    check = StampCheck("n")
    assert why in check.wrong(stamp)
    assert check.wrong(p.Stamp("n", 1, NOW + MAX_TTL_NS)) == ""


def test_a_client_counts_in_its_session_and_by_the_servers_clock(clock):
    stamper = Stamper()
    assert stamper.stamp(p.Pause(1)) == p.Pause(1)
    stamper.welcome(welcome(clock=1000))
    clock[0] += 5
    assert stamper.stamp(p.Pause(1)).stamp == p.Stamp("n", 1, 1005 + TTL_NS)
    assert stamper.stamp(p.Heartbeat(1)) == p.Heartbeat(1)
    assert stamper.stamp(p.Kill(2, "mm")).stamp.counter == 2
    stamper.welcome(welcome("o"))
    assert stamper.stamp(p.Pause(1)).stamp.nonce == "o"
    assert stamper.stamp(p.Pause(1)).stamp.counter == 2


def test_every_command_has_a_stamp():
    from bridge.control import COMMANDS

    assert all(kind.__struct_fields__[-1] == "stamp" for kind in COMMANDS)


def sent(parts, message, identity=b"a", channel="control"):
    """The answer to exactly these bytes, and whether the engine was asked."""
    asked = len(parts.link.commands)
    parts.sessions.receive(channel, [identity, msgspec.msgpack.encode(message)])
    return parts.sent[-1][1], len(parts.link.commands) > asked


def test_replayed_reordered_late_and_strange_commands_do_nothing():
    parts = Parts()
    parts.tell(p.Hello(1, "c", "admin"), channel="control")
    parts.tell(p.Hello(1, "c", "admin"), b"b", channel="control")
    first, second = (parts.stamped(p.Pause(number), b"a", "control") for number in (1, 2))
    assert sent(parts, second)[1]
    for message in (second, first, p.Pause(3)):
        answer, done = sent(parts, message)
        assert (answer.code, answer.request_id, done) == ("stale_command", message.request_id, False)
    assert sent(parts, parts.stamped(p.Resume(4), b"a", "control"), b"b")[0].code == "stale_command"
    late = msgspec.structs.replace(parts.stamped(p.Resume(5), b"a", "control").stamp, expires=1)
    assert sent(parts, p.Resume(5, stamp=late))[0].code == "stale_command"
    assert sent(parts, parts.stamped(p.Resume(6), b"a", "control"))[1]
    # What was recorded is worth nothing in a session after it, either.
    recorded = parts.stamped(p.Kill(7), b"a", "control")
    parts.tell(p.Goodbye(), channel="control")
    parts.tell(p.Hello(1, "c", "admin"), channel="control")
    answer, done = sent(parts, recorded)
    assert (answer.code, done) == ("stale_command", False)


def test_a_traders_kill_has_a_stamp_too():
    parts = Parts()
    parts.trader()
    assert sent(parts, p.Kill(1, "mm"), channel="orders")[0].code == "stale_command"
    kill = parts.stamped(p.Kill(2, "mm"))
    assert sent(parts, kill, channel="orders")[1]
    assert sent(parts, kill, channel="orders")[0].code == "stale_command"


def test_the_engine_and_its_journal_never_see_a_stamp():
    parts = Parts()
    parts.tell(p.Hello(1, "c", "admin"), channel="control")
    sent(parts, parts.stamped(p.Pause(1, "mm"), b"a", "control"))
    assert "stamp" not in parts.link.commands[-1]
