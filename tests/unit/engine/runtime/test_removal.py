"""A journal whose old segments have gone: what can begins with a snapshot, what cannot says so."""

from __future__ import annotations

import os
import random
import shutil
from collections import defaultdict
from pathlib import Path

import msgspec
import pytest

from engine.core.errors import JournalError, RecordsRemoved
from engine.journal.export import recording, symbols
from engine.journal.files import Files, segment_names
from engine.journal.reader import JournalReader
from engine.journal.recovery import recover
from engine.journal.retention import remove_segments
from engine.journal.snapshots import RECORDER, list_snapshots
from engine.runtime.images import earliest, repeat, write_draft
from engine.runtime.proving import kept_since, main, remove_old
from engine.runtime.recorded import session_of
from engine.runtime.recording import Recording
from engine.runtime.recovery import beginning, private_loop, quiet_log
from engine.storage.spool import Spool
from tests.kit.runs import RUN_ID, SMALL, journaled, replay_of, snapshot_at
from tests.unit.engine.runtime.test_recording import LOG, OUTPUTS, World, drained

ROUNDS = 120


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    directory = journaled(tmp_path_factory.mktemp("run"), 3, rounds=ROUNDS, sizes=SMALL)
    assert len(segment_names(Files(), str(directory))) > 3
    return directory


@pytest.fixture
def directory(whole, tmp_path):
    return Path(shutil.copytree(whole, tmp_path / whole.name))


def loops(begun):
    return lambda: private_loop(begun.config, begun.switches, quiet_log())


def came_to(replay):
    reached = replay.reached()
    return reached.seq, reached.ts, reached.state_hash, reached.outputs, reached.outputs_hash, reached.ended


def end_of(directory):
    begun = beginning(directory)
    start = earliest(loops(begun), directory, begun)
    start.replay.run()
    found = came_to(start.replay)
    newest = repeat(loops(begun), directory, begun, lambda start: start.replay.run(), quiet_log())
    assert came_to(newest.replay) == found
    return start.seq, newest.seq, found


def last_of(directory):
    return JournalReader(directory).last()[0]


def test_from_any_two_snapshots_and_whatever_was_removed_before_the_run_comes_to_its_end(whole, tmp_path):
    rng, last = random.Random(1), last_of(whole)
    _, _, wanted = end_of(whole)
    removed = 0
    for number in range(8):
        directory = Path(shutil.copytree(whole, tmp_path / str(number)))
        older, newer = sorted(rng.sample(range(200, last - 1), 2))
        snapshot_at(directory, older)
        snapshot_at(directory, newer)
        removed += remove_old(directory, older, rng.choice((1, 1, 2 * SMALL.segment)), recorded=False)
        gone = JournalReader(directory).first_seq > 1
        assert end_of(directory) == (older if gone else 0, newer, wanted)
        assert recover(directory, repair=False).seq == last
        assert symbols(directory) == symbols(whole)
        # What a start appends goes on as before, and removes on.
        assert kept_since(directory)["first_seq"] == JournalReader(directory).first_seq
    assert removed > 6


def test_nothing_goes_but_before_a_snapshot_that_has_led_to_the_newest(directory):
    snapshot_at(directory, 2000)
    assert remove_old(directory, 0, 1, recorded=False) == 0
    assert remove_old(directory, 2000, 1, recorded=False) == 0, "there is one alone"
    snapshot_at(directory, 2600)
    assert remove_old(directory, 0, 1, recorded=False) == 0, "the newest was proven by none"
    assert remove_old(directory, 1500, 1, recorded=False) == 0, "nor by one that is still there"
    assert remove_old(directory, 2000, 0, recorded=False) == 0, "everything is kept"
    assert remove_old(directory, 2000, 1, recorded=True) == 0, "the recorder has not written anything down"
    assert remove_old(directory, 2000, 1, recorded=False) > 0


def proven(directory, seq, monkeypatch, capsys, keep_mb="0", recorded="0"):
    replay = replay_of(directory) if JournalReader(directory).first_seq == 1 else None
    if replay is None:
        begun = beginning(directory)
        replay = earliest(loops(begun), directory, begun).replay
    replay.run(most=seq - replay.reached().seq)
    draft = write_draft(directory, replay, beginning(directory))
    monkeypatch.setattr(os, "nice", lambda by: 0)
    monkeypatch.setattr("engine.runtime.proving.die_with_parent", lambda pid: None)
    code = main(["1", draft, keep_mb, recorded])
    return code, capsys.readouterr().out


def test_the_prover_removes_what_is_old_and_says_since_when_there_is_something(
    directory, monkeypatch, capsys
):
    monkeypatch.setattr(
        "engine.runtime.proving.remove_segments",
        lambda path, needed, size: remove_segments(path, needed, size >> 20),
    )
    for seq in (1500, 2200):
        code, said = proven(directory, seq, monkeypatch, capsys, "1")
        assert code == 0
    said = msgspec.json.decode(said)
    assert 1 < said["first_seq"] <= 1501
    assert said["first_ts"] == next(JournalReader(directory)).ts
    assert "not_removed" not in said

    # A disk that refuses loses no snapshot, and is named.
    def refuses(*_):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("engine.runtime.proving.remove_segments", refuses)
    code, said = proven(directory, 2700, monkeypatch, capsys, "1")
    assert code == 0
    assert "Read-only" in msgspec.json.decode(said)["not_removed"]
    assert [one.seq for one in list_snapshots(Files(), str(directory))] == [2200, 2700]


def test_snapshots_stay_where_they_are_all_that_there_is(directory, monkeypatch, capsys):
    snapshot_at(directory, 1500)
    snapshot_at(directory, 2200)

    def other(*_):
        raise JournalError("it is another")

    monkeypatch.setattr("engine.runtime.proving.prove", other)
    remove_segments(directory, 1500, 0)
    assert proven(directory, 2700, monkeypatch, capsys)[0] == 2
    assert [one.seq for one in list_snapshots(Files(), str(directory))] == [1500, 2200]


def test_who_needs_the_whole_run_refuses_in_a_line(directory):
    snapshot_at(directory, 1500)
    snapshot_at(directory, 2200)
    remove_segments(directory, 1500, 0)
    first = JournalReader(directory).first_seq
    with pytest.raises(RecordsRemoved, match=f"begins with record {first}, what was before it has been"):
        session_of(directory)
    events, _ = recording(directory)
    assert len(events) > 100
    begun = beginning(directory)
    for one in list_snapshots(Files(), str(directory)):
        os.truncate(one.path, 100)
    for go in (
        lambda: earliest(loops(begun), directory, begun),
        lambda: repeat(loops(begun), directory, begun, lambda start: start.replay.run(), quiet_log()),
    ):
        with pytest.raises(RecordsRemoved, match=r"from no snapshot: .*does not begin|is broken"):
            go()


# --- the recorder -------------------------------------------------------------------------------------------


def rows(directory, spool_path):
    """What a recorder makes of a whole journal."""
    stored, spool = defaultdict(dict), Spool(spool_path)
    one = Recording(spool, directory, LOG, interval_ns=50_000_000)
    while not one.step(2**63):
        pass
    one.finish()
    drained(spool, stored)
    spool.close()
    return stored


@pytest.mark.parametrize("seed", range(4))
def test_no_row_is_lost_or_doubled_by_what_is_removed_however_often_the_recorder_is_killed(
    tmp_path, seed, caplog
):
    rng, world = random.Random(seed), World(tmp_path, seed, sizes=SMALL)
    spool, stored = Spool(tmp_path / "spool"), defaultdict(dict)
    copy = tmp_path / "copy"
    world.go()

    def again():
        return Recording(spool, world.directory, LOG, interval_ns=50_000_000, every=rng.randrange(50, 400))

    recording, began, removed = again(), [], 0
    for _ in range(140):
        world.go()
        if rng.random() < 0.7:
            recording.step(world.buffer.durable_seq - rng.randrange(3))
        if rng.random() < 0.4:
            drained(spool, stored)
        if rng.random() < 0.1:
            spool.close()
            spool = Spool(tmp_path / "spool")
            recording = again()
            began.append(recording._replica.began)
        if rng.random() < 0.1:
            copy.mkdir(exist_ok=True)
            for name in segment_names(Files(), str(world.directory)):
                # What removal takes away is kept for the one who records it all at once.
                shutil.copy(world.directory / name, copy / name)
            seq = world.buffer.durable_seq - 1
            if not list_snapshots(Files(), str(world.directory)):
                snapshot_at(world.directory, seq)
            else:
                begun = beginning(world.directory)
                start = earliest(loops(begun), world.directory, begun)
                start.reader.limit = seq
                start.replay.run()
                Path(write_draft(world.directory, start.replay, begun)).rename(
                    world.directory / f"snapshot-{seq:020d}.snap"
                )
            kept = list_snapshots(Files(), str(world.directory))
            for old in kept[:-2]:
                os.unlink(old.path)
            removed += remove_old(world.directory, kept[-2].seq if len(kept) > 1 else 0, 1, recorded=True)
    world.end()
    while not recording.step(world.buffer.durable_seq):
        pass
    assert recording.ended
    recording.finish()
    drained(spool, stored)
    for name in segment_names(Files(), str(world.directory)):
        shutil.copy(world.directory / name, copy / name)
    wanted = rows(copy, tmp_path / "again")
    for table in (*OUTPUTS, "market_data"):
        assert repr(sorted(stored[table].values(), key=lambda row: row[2])) == repr(
            list(wanted[table].values())
        ), table
    assert removed > 1
    assert max(began) > 0
    assert not [line for line in caplog.messages if "not recorded" in line]


def test_a_recorder_whose_snapshots_are_damaged_takes_the_older_or_the_whole_run(tmp_path):
    world = World(tmp_path, 2)
    spool, stored = Spool(tmp_path / "spool"), defaultdict(dict)
    world.go()
    one = Recording(spool, world.directory, LOG, every=100)
    for _ in range(40):
        world.go()
        one.step(world.buffer.durable_seq)
        drained(spool, stored)
    files, path = Files(), str(world.directory)
    older, newer = list_snapshots(files, path, RECORDER)
    assert Recording(spool, world.directory, LOG)._replica.began == 0, "the run has none, who knows why"
    snapshot_at(world.directory, 500)
    assert Recording(spool, world.directory, LOG)._replica.began == newer.seq
    os.truncate(newer.path, 200)
    assert Recording(spool, world.directory, LOG)._replica.began == older.seq
    os.truncate(older.path, 200)
    assert Recording(spool, world.directory, LOG)._replica.began == 0
    assert [one.seq for one in list_snapshots(files, path)] == [500]
    spool.close()


def test_a_recorder_that_comes_too_late_records_the_market_that_is_there(tmp_path, directory, caplog):
    snapshot_at(directory, 1500)
    remove_segments(directory, 1500, 0)
    spool, stored = Spool(tmp_path / "spool"), defaultdict(dict)
    one = Recording(spool, directory, LOG)
    assert one.lost
    while not one.step(2**63):
        pass
    drained(spool, stored)
    assert min(stored["market_data"]) >= JournalReader(directory).first_seq
    assert "what was before it has been removed" in caplog.text
    assert RUN_ID in caplog.text
    assert not stored["orders"]
    spool.close()
