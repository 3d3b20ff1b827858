"""``ringbook logs`` and what the record of changes looks like without a daemon."""

import json
import threading
import time

import pytest

from engine.cli import values
from engine.cli.main import main
from engine.runtime.changes import Change
from engine.runtime.ledger import Ledger
from engine.runtime.logging import configure
from engine.runtime.rundir import RunDir


@pytest.fixture
def run(tmp_path):
    one = RunDir(tmp_path / "main")
    one.make()
    return one


def ringbook(capsys, run, *words):
    code = main([*words, "--run-dir", str(run.path.parent)])
    return code, *capsys.readouterr()


def write(run):
    for source, level in (("engine", "info"), ("bridge", "warning"), ("engine", "error"), ("feed", "debug")):
        with run.log_file.open("a") as file:
            line = {"ts": "T", "level": level, "source": source, "pid": 1, "text": f"{source} {level}"}
            file.write(json.dumps(line) + "\n")
    with run.log_file.open("a") as file:
        file.write("no json\n[1]\n")


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ((), ["engine info", "bridge warning", "engine error", "feed debug", "no json", "[1]"]),
        (("-n", "1"), ["[1]"]),
        (("-n", "0"), []),
        (("--level", "warning"), ["bridge warning", "engine error"]),
        (("--source", "engine"), ["engine info", "engine error"]),
        (("--source", "engine", "--level", "error"), ["engine error"]),
    ],
)
def test_lines_are_chosen_by_level_and_source(capsys, run, words, shown):
    write(run)
    code, out, _ = ringbook(capsys, run, "logs", *words)
    assert code == 0
    assert len(out.splitlines()) == len(shown)
    for line, text in zip(out.splitlines(), shown, strict=True):
        assert line.endswith(text)


def test_json_lines_are_as_they_were_written(capsys, run):
    write(run)
    out = ringbook(capsys, run, "logs", "-n", "3", "--level", "error", "--json")[1]
    assert json.loads(out)["text"] == "engine error"


def test_without_a_log_there_is_one_line(capsys, run):
    code, out, err = ringbook(capsys, run, "logs")
    assert (code, out, err) == (1, "", f"ringbook: no log in {run.path}\n")


def test_following_waits_for_whole_lines_and_ends_with_the_file(capsys, run, monkeypatch):
    monkeypatch.setattr(values, "FOLLOW_S", 0.01)
    write(run)
    seen = []
    monkeypatch.setattr(values, "_print", lambda line, args: seen.append(line))

    def writer():
        with run.log_file.open("a") as file:
            for part in ('{"text": "fi', 'rst"}\n', '{"text": "second"}\n'):
                file.write(part)
                file.flush()
                time.sleep(0.03)
        end = time.monotonic() + 10
        while len(seen) < 2 and time.monotonic() < end:
            time.sleep(0.01)
        run.log_file.unlink()

    thread = threading.Thread(target=writer)
    thread.start()
    assert ringbook(capsys, run, "logs", "-n", "0", "--follow")[0] == 0
    thread.join()
    assert [json.loads(line)["text"] for line in seen] == ["first", "second"]


def test_the_record_of_changes_is_read_without_a_daemon(capsys, run):
    assert ringbook(capsys, run, "params", "--history")[1] == f"no params were changed in {run.path}\n"
    ledger = Ledger(run, configure("engine", None, console=False))
    ledger.note(
        Change(version=1, ts="T", step=2, who="ann", kind="params", strategy="mm", values={"a": (1, 2.5)})
    )
    ledger.note(
        Change(version=2, ts="T", step=3, who="ann", kind="limits", strategy="mm", values={"b": (1, None)})
    )
    ledger.close()
    assert ringbook(capsys, run, "params", "--history")[1] == "    1  T  ann  params mm: a 1 -> 2.5\n"
    assert ringbook(capsys, run, "params", "show", "other", "--history")[1].startswith("no params")
    (change,) = json.loads(ringbook(capsys, run, "limits", "--history", "--json")[1])["changes"]
    assert (change["version"], change["values"]) == (2, {"b": [1, None]})
