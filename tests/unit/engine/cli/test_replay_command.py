"""``ringbook replay``: a run from its journal, what it says of it, and what it refuses."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from engine.cli.main import main
from engine.cli.playback import bridge_config
from engine.journal.journaller import Journaller
from engine.reports.session import load
from engine.runtime.recovery import quiet_log
from engine.runtime.returning import open_journal
from engine.runtime.rundir import RunDir
from tests.kit import runs as kit

ROOT = Path(__file__).resolve().parents[4]


@pytest.fixture(scope="module")
def journals(tmp_path_factory):
    """The folder of a daemon's journals, with one run, and the loop that made it."""
    folder = tmp_path_factory.mktemp("replay")
    run = RunDir(folder / "run")
    run.make()
    run.journal_buffer = str(folder / "buffer")
    # A file of its own, which a test may change.
    source = folder / "trader.py"
    source.write_text(Path(kit.__file__).read_text())
    loop = kit.make_loop(kit.trader(file=str(source)))
    loop.config.journal.dir, loop.config.journal.buffer_mb = str(folder / "journals"), 1
    open_journal(lambda: loop.engine, loop.config, run, quiet_log())
    session = kit.Session(loop, 7)
    session.go()
    session.end()
    journal = loop.engine.inputs.journal
    with Journaller(journal, folder / "journals" / journal.run_id.hex()) as journaller:
        journaller.drain()
    return folder / "journals", loop


def test_a_replay_says_that_it_is_the_run(journals, capsys, tmp_path):
    folder, loop = journals
    out = str(tmp_path / "session.npz")
    assert main(["replay", "--journal", str(folder), "--out", out]) == 0
    printed = capsys.readouterr().out
    assert f"{loop.kernel.state_hash():016x}" in printed
    assert "the run ended in good order" in printed
    assert load(out).fills is not None
    assert main(["replay", "--journal", str(next(folder.iterdir())), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["outputs"] == loop.engine.outputs
    assert said["outputs_hash"] == f"{loop.engine.outputs_hash:016x}"
    assert said["diverged"] == ""


def test_a_replay_stops_where_it_is_told(journals, capsys):
    folder, loop = journals
    until = (1_000_000_000 + loop.engine.now) // 2
    for text in (str(until), "1970-01-01T00:00:01.050"):
        assert main(["replay", "--journal", str(folder), "--until", text, "--json"]) == 0
        said = json.loads(capsys.readouterr().out)
        assert 1_000_000_000 < said["engine_ts"] <= until
        assert not said["ended"]
        assert not said["complete"]
    assert main(["replay", "--journal", str(folder), "--until", str(until)]) == 0
    assert "the journal goes on from there" in capsys.readouterr().out


def test_what_cannot_be_replayed_is_said_in_a_line(journals, capsys, tmp_path):
    folder, _ = journals
    for arguments, words in (
        (["--journal", str(tmp_path)], "no journal is there"),
        (
            ["--journal", str(folder), "--until", "noon"],
            "--until: 'noon' is neither ISO 8601 nor nanoseconds",
        ),
        (["--journal", str(folder), "--from", "5"], "it needs --speed or --tui"),
        (["--journal", str(folder), "--tui"], "needs a terminal"),
    ):
        assert main(["replay", *arguments]) == 2
        error = capsys.readouterr().err
        assert words in error
        assert error.count("\n") == 1


@pytest.mark.parametrize("speed", ["-1", "nan", "inf", "fast"])
def test_a_speed_is_a_number(journals, capsys, speed):
    with pytest.raises(SystemExit):
        main(["replay", "--journal", str(journals[0]), "--speed", speed])
    assert "--speed" in capsys.readouterr().err


def test_a_strategy_that_has_changed_is_found_out(journals):
    folder, _ = journals
    source = folder.parent / "trader.py"
    source.write_text(source.read_text().replace("skip: int = 3", "skip: int = 2"))
    command = [sys.executable, "-m", "engine.cli.main", "replay", "--journal", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "DIVERGED     record" in done.stdout
    assert done.stderr == ""


def test_what_is_played_back_waits_for_no_disk(tmp_path):
    loop = kit.make_loop()
    loop.config.journal.dir, loop.config.journal.acknowledge = str(tmp_path), "durable"
    config = bridge_config(loop.config, RunDir(tmp_path / "run"))
    assert (config.journal, config.hold) == ("", False)
