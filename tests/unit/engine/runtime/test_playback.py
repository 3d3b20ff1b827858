"""A run played back: at which pace, what is published of it, and what those who watch may do."""

from __future__ import annotations

import numpy as np
import pytest

from engine.core.errors import ReplayDiverged
from engine.core.ring import Ring
from engine.journal.journaller import Journaller
from engine.journal.reader import JournalReader
from engine.runtime import playback
from engine.runtime.playback import OBSERVERS, Playback
from engine.runtime.records import (
    BLOB_KINDS,
    PAYLOAD_DTYPES,
    SLOT_BYTES,
    BlobJoiner,
    FeedState,
    Kind,
    blob_records,
    record_dtype,
)
from engine.runtime.recovery import LAST_TS, Replay, private_loop, quiet_log
from engine.runtime.returning import open_journal
from engine.runtime.rundir import RING_SLOTS, RunDir
from tests.kit import runs

OUT = ("orders_out", "market_out", "telemetry_out", "control_out")
SECOND = 1_000_000_000


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The loop of a run that has ended, and its journal."""
    folder = tmp_path_factory.mktemp("playback")
    place = RunDir(folder / "run")
    place.make()
    place.journal_buffer = str(folder / "buffer")
    loop = runs.make_loop()
    loop.config.journal.dir, loop.config.journal.buffer_mb = str(folder / "journals"), 1
    open_journal(lambda: loop.engine, loop.config, place, quiet_log())
    session = runs.Session(loop, 7)
    session.go()
    session.end()
    journal = loop.engine.inputs.journal
    directory = folder / "journals" / journal.run_id.hex()
    with Journaller(journal, directory) as journaller:
        journaller.drain()
    return loop, directory


@pytest.fixture(autouse=True)
def awake(monkeypatch):
    """Nothing sleeps."""
    monkeypatch.setattr(playback, "WAIT_NS", 1)
    monkeypatch.setattr(playback, "ROOM_NS", 1)


class Watched:
    """A playback, its clock, and the bridge's end of its rings."""

    def __init__(self, run, **options):
        loop, directory = run
        self.now = 0
        self.rings = {name: Ring(RING_SLOTS[name], SLOT_BYTES) for name in (*OUT, "control_in")}
        self.loop = private_loop(loop.config, [], quiet_log(), self.rings)
        self.replay = Replay(self.loop, JournalReader(directory))
        outgoing = [self.rings[name] for name in OUT]
        self.playback = Playback(self.loop, self.replay, outgoing, clock=lambda: self.now, **options)
        self._joiners = {name: BlobJoiner() for name in OUT}
        self.seen = []

    def take(self, ring):
        """What has been published on a ring: kinds, and messages or payloads."""
        found = []
        for record in self.rings[ring].pop_many().view(record_dtype).reshape(-1):
            kind = Kind(int(record["kind"]))
            if kind in BLOB_KINDS:
                if (message := self._joiners[ring].add(record)) is not None:
                    found.append((kind, message))
            else:
                found.append((kind, np.asarray(record["payload"]).reshape(1).view(PAYLOAD_DTYPES[kind])[0]))
        return found

    def turns(self, n):
        """So many turns."""
        for _ in range(n):
            self.playback.turn()

    def to_rest(self):
        """Turns until it stands."""
        for _ in range(1000):
            if self.playback.rest:
                return
            self.turns(1)
            for ring in OUT:
                self.seen += self.take(ring)
        raise AssertionError("it never stood still")

    def ask(self, command, **fields):
        """Sends a command; its answer."""
        message = {"request_id": 7, "command": command, **fields}
        for slot in blob_records(Kind.CONTROL, message).view(np.uint8).reshape(-1, SLOT_BYTES):
            assert self.rings["control_in"].push(slot.tobytes())
        self.playback.turn()
        answers = [body for ring in OUT for kind, body in self.take(ring) if kind == Kind.REPLY]
        assert len(answers) == 1
        return answers[0]


def test_it_comes_to_what_the_run_came_to_and_publishes_it(run):
    loop, _ = run
    watched = Watched(run, speed=0.0)
    watched.playback.begin()
    watched.to_rest()
    watched.turns(2)
    assert watched.playback.rest == "the journal goes no further"
    reached = watched.replay.reached()
    assert reached.ended
    assert reached.outputs_hash == loop.engine.outputs_hash
    assert reached.state_hash == loop.kernel.state_hash()
    fills = [body for kind, body in watched.seen if kind == Kind.FILL]
    assert len(fills) == loop.kernel.counters["fills"] > 3
    assert {body["strategy_id"] for kind, body in watched.seen if kind == Kind.STRATEGY} == {"t", "ext"}
    assert any(kind == Kind.DEPTH for kind, _ in watched.seen)
    states = [body["feed_state"] for ring in OUT for kind, body in watched.take(ring) if kind == Kind.STATUS]
    assert set(states) <= {FeedState.ENDED}


def test_time_passes_as_fast_as_asked(run):
    watched = Watched(run, speed=0.5)
    watched.playback.begin()
    watched.turns(50)
    began = watched.loop.now
    for tenths in range(1, 20):
        watched.now = tenths * SECOND // 10
        watched.turns(20)
        passed = watched.loop.now - began
        assert passed <= tenths * SECOND // 20
        if watched.playback.rest:
            break
    assert passed > 0


def test_what_was_missed_while_stopped_is_not_hurried_through(run):
    watched = Watched(run, speed=0.01)
    watched.playback.begin()
    watched.turns(20)
    began = watched.loop.now
    watched.now = 3600 * SECOND
    watched.turns(20)
    assert watched.loop.now - began < SECOND // 100


def test_it_begins_and_stops_where_it_is_told_and_goes_on_when_asked(run):
    loop, _ = run
    ended = loop.engine.now
    since, until = ended - 60 * runs.MS, ended - 20 * runs.MS
    watched = Watched(run, speed=0.0, until=until)
    watched.playback.seek(since, lambda: False)
    assert not any(len(ring) for ring in watched.rings.values())
    at = watched.loop.now
    assert 0 < at < since
    watched.playback.begin()
    watched.to_rest()
    assert at < watched.loop.now <= until
    assert "where it was to stop" in watched.playback.rest
    before = watched.loop.now
    watched.turns(3)
    assert watched.loop.now == before
    assert watched.ask("resume")["success"]
    watched.to_rest()
    assert watched.replay.reached().ended
    assert not watched.ask("resume")["success"]


def test_those_who_watch_pause_the_replay_and_nothing_else(run):
    watched = Watched(run, speed=0.0)
    watched.playback.begin()
    watched.turns(1)
    assert watched.ask("pause")["success"]
    stood = watched.loop.now
    for command, fields in (
        ("pause", {"strategy_id": "t"}),
        ("kill", {"strategy_id": ""}),
        ("update_params", {"strategy_id": "t", "params": {"qty": 0.05}}),
        ("update_risk_limits", {"strategy_id": "t", "max_position": 1.0}),
        ("register", {"strategy_id": "new", "symbols": [], "params": {}}),
        ("emergency_stop", {}),
        ("stop", {}),
        ("nonsense", {}),
    ):
        answer = watched.ask(command, **fields)
        assert (answer["success"], answer["message"]) == (False, OBSERVERS), command
    assert watched.ask("query_status", strategy_id="t")["success"]
    watched.turns(3)
    assert watched.loop.now == stood
    assert not watched.ask("pause")["success"]
    assert watched.ask("query_limits", strategy_id="t")["success"]
    assert watched.ask("resume")["success"]
    assert not watched.ask("resume")["success"]
    watched.to_rest()
    # Whoever watched has changed nothing: it still is what the journal says.
    assert watched.replay.reached().ended
    assert watched.playback.diverged == ""


def test_somebody_who_comes_late_is_told_everything(run):
    watched = Watched(run, speed=0.0)
    watched.playback.begin()
    watched.turns(1)
    assert watched.ask("pause")["success"]
    for ring in OUT:
        watched.take(ring)
    message = blob_records(Kind.CONTROL, {"request_id": 8, "command": "resync"})
    assert watched.rings["control_in"].push(message.tobytes())
    watched.playback.turn()
    told = watched.take("orders_out")
    assert [body["strategy_id"] for kind, body in told if kind == Kind.STRATEGY] == ["t", "ext"]
    assert sum(kind == Kind.ORDER for kind, _ in told) == watched.loop.kernel.counters["live_orders"]
    # The answer comes after all of it.
    assert told[-1][1]["message"] == "told again"
    assert any(kind == Kind.DEPTH for kind, _ in watched.take("market_out"))


def test_it_waits_for_a_bridge_that_does_not_read(run):
    watched = Watched(run, speed=0.0)
    watched.playback.begin()
    ring = watched.rings["market_out"]
    ring.push_many(np.zeros((ring.capacity // 2 + 1, SLOT_BYTES), np.uint8))
    watched.turns(20)
    assert watched.replay.records == 0
    ring.pop_many()
    watched.turns(20)
    assert watched.replay.records > 0


def test_a_departure_from_the_run_is_told_and_ends_it(run):
    watched = Watched(run, speed=0.0)
    real, calls = watched.replay.run, []

    def run_until(until=LAST_TS, most=LAST_TS):
        calls.append(most)
        if len(calls) > 2:
            raise ReplayDiverged("record 9: the state hash is another")
        real(until, most)

    watched.replay.run = run_until
    watched.playback.begin()
    watched.to_rest()
    assert watched.playback.diverged == "record 9: the state hash is another"
    watched.turns(1)
    assert not watched.ask("resume")["success"]
    lines = [body for kind, body in watched.seen if kind == Kind.LOG and body["source"] == "replay"]
    assert [line["level"] for line in lines] == ["error"]
    assert "not what the run was" in lines[0]["text"]
