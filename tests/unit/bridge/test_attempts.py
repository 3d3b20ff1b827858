"""What was refused is told once, counted, and never faster than the disk should have it."""

import logging

import pytest

from bridge import protocol as p
from bridge.attempts import BURST, MAX_KINDS, REFILL_TICKS, REST, Attempts, Ration, who
from bridge.process import check_memory, resident
from bridge.roles import Grant
from bridge.router import REFUSED_BURST, REFUSED_TICKS
from engine.core.errors import CapacityError
from tests.kit.bridge_parts import Parts

LOG = logging.getLogger("test")


class Engine:
    def __init__(self):
        self.told, self.full = [], False

    def ask(self, command, fields, answer, who):
        assert command == "attempt"
        if not self.full:
            self.told.append((who, fields["what"]))
        return not self.full


def test_equal_attempts_are_one_record():
    engine = Engine()
    attempts = Attempts(engine.ask, LOG)
    for _ in range(3):
        attempts.refused("key:mm/c", "Resume", "not for a trader")
    attempts.tick({"10.0.0.9": 7})
    assert engine.told == [
        ("key:mm/c", "Resume refused: not for a trader (3 times)"),
        ("address:10.0.0.9", "connect refused: no key that is known (7 times)"),
    ]
    attempts.tick({})
    assert len(engine.told) == 2


def test_a_flood_of_attempts_is_a_few_records():
    engine = Engine()
    attempts = Attempts(engine.ask, LOG)
    for number in range(100_000):
        attempts.refused(f"key:{number}", "Resume", "no")
    assert len(attempts._waiting) == MAX_KINDS + 1
    attempts.tick({})
    assert len(engine.told) == BURST
    for _ in range(REFILL_TICKS * 200):
        attempts.tick({})
    assert len(engine.told) == MAX_KINDS + 1
    assert engine.told[-1] == (REST[0], f"attempts refused: {REST[2]} ({100_000 - MAX_KINDS} times)")


def test_attempts_wait_for_room_in_the_ring():
    engine = Engine()
    engine.full = True
    attempts = Attempts(engine.ask, LOG)
    attempts.refused("a", "b", "c")
    attempts.tick({})
    engine.full = False
    attempts.tick({})
    assert engine.told == [("a", "b refused: c")]


def test_who_is_the_key_first():
    hello = p.Hello(1, "c", "trader", "mm")
    assert who("desk", hello) == "key:desk/mm/c"
    assert who("", hello) == "mm/c"


@pytest.mark.parametrize(
    ("message", "role", "channel"),
    [
        (p.Resume(1), "risk", "control"),
        (p.Rearm(1, "x"), "risk", "control"),
        (p.Kill(1, "other"), "trader", "orders"),
        (p.Submit(1, "ETH", "buy", 1.0, 1.0), "observer", "orders"),
        (p.Hello(1, "c", "admin"), "observer", "orders"),
        (p.Hello(1, "c", "observer"), "observer", "control"),
    ],
)
def test_every_refusal_is_noticed(message, role, channel):
    parts = Parts()
    refused = []
    parts.sessions.on_refused = lambda channel, hello, grant, what, why: refused.append((grant.name, what))
    grant = Grant("k" * 40, "k", role)
    if type(message) is not p.Hello:
        parts.tell(p.Hello(1, "c", role, "mm" if role == "trader" else ""), channel=channel, grant=grant)
        if role == "trader":
            parts.reply(slot=3)
    assert parts.tell(message, channel=channel, grant=grant).code == "forbidden"
    assert refused == [("k", type(message).__name__)]


def test_a_stale_command_is_noticed():
    parts = Parts()
    refused = []
    parts.sessions.on_refused = lambda channel, hello, grant, what, why: refused.append((what, why))
    parts.tell(p.Hello(1, "c", "admin"), channel="control")
    parts.counter = 5
    parts.tell(p.Pause(1), channel="control")
    parts.counter = 5
    assert parts.tell(p.Pause(1), channel="control").code == "stale_command"
    assert refused == [("Pause", "counter 6 is not above 6: repeated, or out of order")]


def test_a_bridge_that_somebody_fills_ends():
    assert resident() > 1 << 20
    check_memory(1 << 40)
    with pytest.raises(CapacityError, match="somebody floods it"):
        check_memory(1 << 20)


def test_a_ration_is_each_ones_own_and_comes_back():
    ration = Ration(2, 3)
    for _ in range(2):
        assert not ration.spent("a")
        ration.use("a")
    assert ration.spent("a")
    assert not ration.spent("b")
    for _ in range(2):
        ration.tick()
    assert ration.spent("a")
    ration.tick()
    assert not ration.spent("a")
    for _ in range(10):
        ration.tick()
    assert not ration._used.total()


def test_registrations_that_the_engine_refuses_are_rationed_by_key():
    parts = Parts()
    a, b = (Grant(key * 40, key, "trader", ("mm",)) for key in "ab")
    hello = p.Hello(1, "c", "trader", "mm")
    for _ in range(REFUSED_BURST):
        parts.tell(hello, grant=a)
        assert parts.reply(success=False, message="no").code == "refused"
    asked = len(parts.link.commands)
    for _ in range(100):
        assert parts.tell(hello, grant=a).code == "busy"
    assert len(parts.link.commands) == asked
    parts.tell(hello, b"b", grant=b)
    assert type(parts.reply(slot=3)) is p.Welcome
    for _ in range(REFUSED_TICKS):
        parts.router.tick()
    assert parts.tell(hello, grant=a).code == "strategy_in_use"
