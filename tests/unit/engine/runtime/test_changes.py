import json
import math
import os
import threading

import pytest

from engine.core.errors import ConfigError
from engine.runtime import switches
from engine.runtime.changes import Change, describe, differences, last_version, moment, read
from engine.runtime.ledger import Ledger
from engine.runtime.logging import configure
from engine.runtime.rundir import RunDir
from engine.strategy.status import LatchInfo

ALL = LatchInfo("global", "", "kill_switch", "HALTED", 5, reason="wrong prices", who="cli:ann")
MM = LatchInfo("strategy", "mm", "kill_switch", "HALTED", 7)


@pytest.fixture
def run(tmp_path):
    run = RunDir(tmp_path / "r")
    run.make()
    return run


@pytest.fixture
def ledger(run):
    one = Ledger(run, configure("engine", run.log_file, console=False))
    yield one
    one.close()


def change(version, kind="params", strategy="mm", **values):
    return Change(
        version=version, ts=moment(10**18), step=3, who="cli:ann", kind=kind, strategy=strategy, values=values
    )


def test_only_what_differs_is_a_change_and_no_limit_is_none():
    before = {"a": 1, "b": None, "c": math.inf, "d": 2.0, "gone": 1}
    after = {"a": 1, "b": math.inf, "c": None, "d": 3.0, "new": 4}
    assert differences(before, after) == {"d": (2.0, 3.0), "gone": (1, None), "new": (None, 4)}


def test_the_record_is_read_back_filtered_and_told(run, ledger):
    for one in (change(1, half_spread=(1.0, 2.0)), change(2, "limits", a=(None, 3)), change(3, "pause", "")):
        ledger.note(one)
    ledger.close()
    assert [one.version for one in read(run.changes_file)] == [1, 2, 3]
    assert [one.version for one in read(run.changes_file, frozenset({"params"}))] == [1]
    assert [one.version for one in read(run.changes_file, strategy="mm", last=1)] == [2]
    assert read(run.path / "none") == []
    first, second, _ = map(describe, read(run.changes_file))
    assert first == "    1  2001-09-09T01:46:40.000000Z  cli:ann  params mm: half_spread 1 -> 2"
    assert second.endswith("limits mm: a none -> 3")


def test_versions_go_on_after_a_restart_and_past_a_line_that_was_cut_off(run, ledger):
    assert (ledger.version, last_version(run.changes_file)) == (0, 0)
    ledger.note(change(1))
    ledger.note(change(2))
    ledger.close()
    with run.changes_file.open("ab") as file:
        file.write(b'{"version": 3, "ts": "20')
    again = Ledger(run, configure("engine", None, console=False))
    assert again.version == 2
    again.note(change(3, a=(1, 2)))
    again.close()
    assert [one.version for one in read(run.changes_file)] == [1, 2, 3]
    assert last_version(run.changes_file) == 3


def test_switches_are_kept_whole_and_a_missing_file_has_none(run, ledger):
    assert switches.read_switches(run.switches_file) == []
    done = [ledger.keep(kept) for kept in ((ALL,), (ALL, MM))]
    ledger.close()
    assert [(ticket.done, ticket.error) for ticket in done] == [(True, "")] * 2
    assert switches.read_switches(run.switches_file) == [ALL, MM]
    assert [path.name for path in run.path.iterdir() if path.suffix == ".new"] == []
    assert run.switches_file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"layout": 9}', b'{"switches": [{"scope": "moon"}]}'])
def test_a_file_that_cannot_be_trusted_is_said_to_be_so(run, data):
    run.switches_file.write_bytes(data)
    with pytest.raises(switches.SwitchesUnreadable, match=str(run.switches_file)):
        switches.read_switches(run.switches_file)


def test_a_disk_that_takes_nothing_is_told_and_the_former_file_stands(run, ledger, monkeypatch):
    switches.write_switches(run.switches_file, [MM])

    def full(fd):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    ticket = ledger.keep((ALL,))
    ledger.close()
    assert (ticket.done, ticket.error) == (True, "No space left on device")
    assert switches.read_switches(run.switches_file) == [MM]
    lines = [json.loads(line) for line in run.log_file.read_text().splitlines()]
    assert "kill switches are not kept" in lines[-1]["text"]


def test_a_short_write_is_a_failure(run, monkeypatch):
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:5]))
    with pytest.raises(OSError, match="No space left"):
        switches.write_switches(run.switches_file, [ALL])
    assert not run.switches_file.exists()


def test_a_change_that_was_recorded_in_part_does_not_spoil_the_next(run, monkeypatch):
    ledger = Ledger(run, configure("engine", None, console=False))
    write, cut = os.write, threading.Event()

    def short(fd, data):
        if cut.is_set():
            return write(fd, data)
        cut.set()
        return write(fd, data[:20])

    monkeypatch.setattr(os, "write", short)
    ledger.note(change(1))
    ledger.note(change(2))
    ledger.close()
    assert [one.version for one in read(run.changes_file)] == [2]


def test_nobody_waits_for_the_disk(run, ledger, monkeypatch):
    held = threading.Event()
    fsync = os.fsync

    def slow(fd):
        held.wait(5)
        fsync(fd)

    monkeypatch.setattr(os, "fsync", slow)
    ticket = ledger.keep((ALL,))
    assert not ticket.done
    held.set()
    ledger.close()
    assert ticket.done


def test_a_switch_is_found_by_its_id_and_another_one_has_another():
    again = LatchInfo("global", "", "kill_switch", "HALTED", 6, reason="wrong prices", who="cli:ann")
    ids = [switches.switch_id(info) for info in (ALL, MM, again)]
    assert len(set(ids)) == 3
    assert switches.find((ALL, MM), ids[1]) == MM
    with pytest.raises(ConfigError, match=f"no thrown switch has the id '{ids[2]}'; {ids[0]} is global"):
        switches.find((ALL, MM), ids[2])
    with pytest.raises(ConfigError, match="none is thrown"):
        switches.find((), ids[0])
    assert switches.as_plain((MM,))[0] | {"id": ids[1], "scope": "strategy"} == switches.as_plain((MM,))[0]
