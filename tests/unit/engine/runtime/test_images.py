"""A repetition begins with the newest snapshot that is of any use, and comes to the run's end."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import zlib
from pathlib import Path

import msgspec
import pytest

from engine.backtest.recorder import Recorder
from engine.core.errors import NotKept, ReplayDiverged
from engine.journal.files import Files
from engine.journal.snapshots import adopt_snapshot, draft_snapshot, list_snapshots, read_snapshot
from engine.runtime.images import own_build, repeat, write_draft, written_of
from engine.runtime.proving import main, prove
from engine.runtime.recovery import beginning, private_loop, quiet_log
from tests.kit import holders
from tests.kit.loops import asset
from tests.kit.runs import journaled, make_loop, replay_of, snapshot_at, trader

OWN = Path("tests/kit/own_models.py")


@pytest.fixture
def directory(tmp_path):
    return journaled(tmp_path, 3)


def repeated(directory):
    """The record with which a repetition begins that comes to the run's end, and what it came to."""
    begun = beginning(directory)
    start = repeat(
        lambda: private_loop(begun.config, begun.switches, quiet_log()),
        directory,
        begun,
        lambda start: start.replay.run(),
        quiet_log(),
    )
    reached = start.replay.reached()
    return start.seq, (reached.seq, reached.ts, reached.state_hash, reached.outputs_hash, reached.ended)


def forged(directory, seq, change):
    """A whole snapshot, with another state in it."""
    was = read_snapshot(list_snapshots(Files(), str(directory))[-1].path)
    written = written_of(was, beginning(directory), own_build(beginning(directory)))
    state = zlib.compress(msgspec.msgpack.encode(change(written)))
    draft = draft_snapshot(
        directory, seq=seq, ts=was.ts, state_hash=was.state_hash, state=state, run_id=was.run_id
    )
    return adopt_snapshot(draft, lambda found: None)


def of_image(field, value):
    return lambda w: msgspec.structs.replace(w, image=msgspec.structs.replace(w.image, **{field: value}))


def of_kernel(**values):
    return lambda w: of_image("kernel", msgspec.structs.replace(w.image.kernel, **values))(w)


def test_the_newest_snapshot_is_taken_then_the_older_then_the_beginning(directory):
    first, whole = repeated(directory)
    assert first == 0
    snapshot_at(directory, 300)
    newest = snapshot_at(directory, 700)
    assert repeated(directory) == (700, whole)
    data = bytearray(Path(newest.path).read_bytes())
    data[len(data) // 2] ^= 1
    Path(newest.path).write_bytes(data)
    assert repeated(directory) == (300, whole)
    for one in list_snapshots(Files(), str(directory)):
        os.truncate(one.path, 100)
    assert repeated(directory) == (0, whole)


@pytest.mark.parametrize(
    "change",
    [
        lambda w: msgspec.structs.replace(w, format=99),
        lambda w: msgspec.structs.replace(w, build="another"),
        lambda w: msgspec.structs.replace(w, begun=msgspec.structs.replace(w.begun, version=7)),
        of_image("venue", b""),
        of_image("loop", b"\0" * 20),
        lambda w: of_image("loop", w.image.loop + b"\0")(w),
        lambda w: of_kernel(desk=w.image.kernel.desk[:-1])(w),
        lambda w: of_kernel(desk=w.image.kernel.desk + b"\0")(w),
        lambda w: of_kernel(desk=b"\xff" + w.image.kernel.desk[1:])(w),
        lambda w: of_kernel(seats=w.image.kernel.seats[1:])(w),
        lambda w: of_kernel(held=b"")(w),
        lambda w: of_kernel(held=b"no pickle")(w),
    ],
)
def test_a_state_that_is_not_for_here_is_passed_over_and_named(directory, change, caplog):
    _, whole = repeated(directory)
    snapshot_at(directory, 500)
    forged(directory, 500, change)
    begun = beginning(directory)
    with caplog.at_level(logging.WARNING, "test"):
        start = repeat(
            lambda: private_loop(begun.config, begun.switches, quiet_log()),
            directory,
            begun,
            lambda start: start.replay.run(),
            logging.getLogger("test"),
        )
    assert start.seq == 0
    assert start.replay.reached().outputs_hash == whole[3]
    [said] = caplog.messages
    assert said.startswith("a snapshot is of no use")


def test_a_state_that_leads_elsewhere_is_found_out_by_the_outputs_of_the_run(directory):
    """It is whole, and of the run: but of another record than it says."""
    _, whole = repeated(directory)
    snapshot_at(directory, 400)
    forged(directory, 600, lambda w: w)
    with pytest.raises(ReplayDiverged):
        prove(directory, read_snapshot(list_snapshots(Files(), str(directory))[-1].path))
    assert repeated(directory) == (400, whole)


def test_what_is_wrong_with_the_run_itself_is_raised(directory):
    begun = beginning(directory)
    begun.config.strategies[0].cls = begun.config.strategies[0].cls.replace(":Trader", ":Other")
    snapshot_at(directory, 400)
    with pytest.raises(ReplayDiverged):
        repeat(
            lambda: private_loop(begun.config, begun.switches, quiet_log()),
            directory,
            begun,
            lambda start: start.replay.run(),
            quiet_log(),
        )


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: make_loop(trader("Holder", "tests/kit/holders.py")), "strategy t holds what cannot be kept"),
        (lambda: make_loop(trader("Sets", "tests/kit/holders.py")), "a set, whose order would be another"),
        (lambda: make_loop(assets=[asset(queue_model=f"{OWN}:Queue")]), "the venue"),
    ],
)
def test_what_cannot_be_written_down_says_so(tmp_path, make, says):
    directory = journaled(tmp_path, 1, make(), rounds=10)
    replay = replay_of(directory)
    replay.run()
    with pytest.raises(NotKept, match=says):
        write_draft(directory, replay, beginning(directory))
    assert not list_snapshots(Files(), str(directory))


def test_a_session_that_is_kept_in_memory_has_no_snapshots(tmp_path):
    directory = journaled(tmp_path, 1, rounds=10)
    replay = replay_of(directory)
    replay._loop.record_into(Recorder())
    replay.run()
    with pytest.raises(NotKept, match=r"engine\.result"):
        replay.written()


def test_a_draft_is_a_snapshot_once_another_process_has_proven_it(directory, capsys, monkeypatch):
    replay = replay_of(directory, limit=600)
    replay.run()
    draft = write_draft(directory, replay, beginning(directory))
    assert not list_snapshots(Files(), str(directory))
    monkeypatch.setattr(os, "nice", lambda by: 0)
    monkeypatch.setattr("engine.runtime.proving.die_with_parent", lambda pid: None)
    assert main(["1", draft, "0", "0"]) == 0
    said = msgspec.json.decode(capsys.readouterr().out)
    assert said["seq"] == 600
    [one] = list_snapshots(Files(), str(directory))
    assert said["size"] == Path(one.path).stat().st_size
    assert not Path(draft).exists()
    # Another is cut before it is proven: it never becomes one, and the first stays.
    replay.run(most=50)
    draft = write_draft(directory, replay, beginning(directory))
    os.truncate(draft, 1000)
    assert main(["1", draft, "0", "0"]) == 1
    assert "broken" in capsys.readouterr().out
    assert not Path(draft).exists()
    assert main(["1", draft, "0", "0"]) == 1
    assert [one.seq for one in list_snapshots(Files(), str(directory))] == [600]


def test_a_strategy_with_state_where_no_snapshot_looks_is_found_out_and_loses_them(tmp_path):
    """The first one cannot be known to be wrong; from there the second is not reached."""
    directory = journaled(tmp_path, 3, make_loop(trader("Elsewhere", "tests/kit/holders.py")))
    proofs = []
    for seq in (300, 900):
        holders.Elsewhere.forget()
        replay = replay_of(directory, limit=seq)
        replay.run()
        draft = write_draft(directory, replay, beginning(directory))
        command = [sys.executable, "-m", "engine.runtime.proving", str(os.getpid()), draft, "0", "0"]
        proofs.append(subprocess.run(command, capture_output=True, text=True, check=False))
        if proofs[-1].returncode:
            break
    assert proofs[-1].returncode == 2, proofs[-1].stdout + proofs[-1].stderr
    assert "record" in proofs[-1].stdout
    assert not list_snapshots(Files(), str(directory))
