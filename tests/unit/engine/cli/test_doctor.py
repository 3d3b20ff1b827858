"""``ringbook doctor`` finds what is wrong, says what to do, and survives its own checks."""

from __future__ import annotations

import json

import pytest

from engine.cli import doctor, main
from engine.runtime import rundir
from engine.runtime.switches import switch_id, write_switches
from engine.strategy.status import LatchInfo


@pytest.fixture
def sound(monkeypatch, tmp_path_factory):
    """A place for runs whose name leaves room for those of sockets, as a test's own would not."""
    monkeypatch.setenv("RINGBOOK_RUN_DIR", str(tmp_path_factory.mktemp("r")))


@pytest.mark.usefixtures("sound")
def test_a_sound_setup_has_no_problem(capsys):
    assert main.main(["doctor"]) == 0
    output = capsys.readouterr().out
    assert "all is well" in output
    assert "PROBLEM" not in output


@pytest.mark.usefixtures("sound")
def test_json_lists_the_same_findings(capsys):
    assert main.main(["doctor", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["problems"] == 0
    assert {"python", "core", "packages", "shared memory", "run directory"} <= {
        finding["check"] for finding in report["findings"]
    }


def test_a_long_run_directory_is_a_problem_with_a_remedy(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("RINGBOOK_RUN_DIR", str(tmp_path / ("x" * 120)))
    assert main.main(["doctor"]) == 1
    output = capsys.readouterr().out
    assert "PROBLEM  run directory" in output
    assert "set RINGBOOK_RUN_DIR" in output


def test_a_missing_core_is_explained(monkeypatch):
    monkeypatch.setattr(doctor, "EXTENSIONS", ("engine.core.no_such_module",))
    (finding,) = doctor.check_core()
    assert finding.level == "problem"
    assert "make build" in finding.remedy


def test_a_check_that_breaks_is_a_finding(monkeypatch):
    def broken():
        raise OSError("disk on fire")
        yield

    broken.__name__ = "check_disk"
    monkeypatch.setattr(doctor, "check_python", broken)
    findings = list(doctor.examine())
    assert findings[0].level == "problem"
    assert "disk on fire" in findings[0].message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[engine]\nnam = 'x'\n", "nam"),
        (
            "[[instruments]]\nsymbol = 'A'\ntick_size = 0.1\nlot_size = 1.0\n"
            "[[strategies]]\nid = 's'\nclass = 'no.such.module:Class'\n",
            "no.such.module",
        ),
    ],
)
def test_a_wrong_config_is_explained(tmp_path, capsys, text, expected):
    path = tmp_path / "c.toml"
    path.write_text(text)
    assert main.main(["doctor", "--config", str(path)]) == 1
    assert expected in capsys.readouterr().out


class Run(rundir.RunDir):
    """A run that looks as if a daemon had it."""

    def owner(self):
        return self.pid


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor, "PAGE_WAIT_S", 0.01)
    one = Run(tmp_path / "main")
    one.pid = None
    one.make()
    return one


def state(run, **changes):
    fields = {
        "name": "main", "mode": "PAPER", "state": "running", "pid": 7, "endpoint": "e", "started": 1,
        "config": "x.toml", "config_hash": "",
    }  # fmt: skip
    run.write_state(rundir.RunState(**fields | changes))


def found(run):
    return [(finding.level, finding.message, finding.remedy) for finding in doctor.check_daemon(run)]


def test_no_daemon_is_no_problem_but_its_end_may_be(run):
    assert found(run) == [("ok", f"none runs in {run.path}", "")]
    state(run, state="stopped", message="the engine died (exit code 7)")
    ((level, message, _),) = found(run)
    assert (level, "ended because the engine died" in message) == ("warning", True)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [({}, ""), ({"behind_s": 90.0}, "90.0 s behind"), ({"error": "nobody answers"}, "nobody answers"),
     ({"left_out": 4}, "4 market rows left out")],
)  # fmt: skip
def test_a_recorder_that_falls_behind_is_a_warning(run, monkeypatch, wrong, said):
    state(run)
    run.pid = 7
    recorder = {"seq": 9, "batches": 0, "bytes": 0, "rows": 7, "failures": 0, "left_out": 0, "error": ""}
    recorder |= {"behind_s": 0.5, "behind_records": 3} | wrong
    report = {"state": "running", "recorder": recorder}
    monkeypatch.setattr("engine.runtime.metrics.read", lambda run: report)
    [(level, message, remedy)] = [one for one in found(run) if "s behind; 7 rows" in one[1]]
    assert (level, bool(remedy)) == (("warning", True) if wrong else ("ok", False))
    assert said in message


def test_thrown_switches_and_edits_that_wait_are_warnings(run):
    switch = LatchInfo("strategy", "mm", "kill_switch", "HALTED", 7, reason="why")
    write_switches(run.switches_file, [switch])
    state(run)
    run.pid = 7
    run.write_watch({"state": "refused", "message": "line 2", "needs_restart": ["feed.speed"]})
    said = found(run)
    assert said[0][0] == "warning"
    assert said[0][1:] == (
        "strategy mm is HALTED by kill_switch: why",
        f"ringbook rearm --confirm {switch_id(switch)}",
    )
    texts = [message for _, message, _ in said]
    assert "the last edit was refused: line 2" in texts
    assert "edited, not in force: feed.speed" in texts


def test_an_engine_that_says_nothing_is_a_problem(run, monkeypatch):
    state(run)
    run.pid = 7
    assert found(run)[0][:2] == ("problem", "the engine of pid 7 has said nothing for 0.01 s")
    beats = iter(range(100))
    monkeypatch.setattr(Run, "page_beat", lambda self: next(beats))
    assert found(run) == [("ok", "pid 7, running, trading unknown", "")]
