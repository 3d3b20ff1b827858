"""``ringbook report`` and ``ringbook runs``: of runs, sessions' files and journals, and what they refuse."""

from __future__ import annotations

import json

import numpy as np
import pytest

from engine.cli.main import main
from engine.journal.journaller import Journaller
from engine.reports.session import load
from engine.runtime.recorded import session_of
from engine.runtime.recovery import quiet_log
from engine.runtime.returning import open_journal
from engine.runtime.rundir import RunDir
from tests.kit import runs as kit
from tests.kit.sessions import market


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "market.npz"
    np.savez(path, data=market(3.0))
    return str(path)


@pytest.fixture
def kept(recording, tmp_path, capsys, monkeypatch):
    """Two runs that differ in a parameter; their names."""
    monkeypatch.setenv("RINGBOOK_RUNS", str(tmp_path / "runs"))
    names = []
    for interval in ("50_000_000", "90_000_000"):
        assert main([
            "backtest", "--data", recording, "--symbol", "X", "--tick-size", "0.1", "--lot-size", "0.001",
            "--strategy", "tests.kit.sessions:Clockwork", "--param", f"interval_ns={interval}", "--json",
            "--out", str(tmp_path / "session.npz"),
        ]) == 0  # fmt: skip
        names.append(json.loads(capsys.readouterr().out)["run"])
    return names


def test_runs_are_listed_shown_and_compared(kept, capsys):
    first, second = kept
    assert main(["runs", "list"]) == 0
    said = capsys.readouterr().out
    assert first in said
    assert second in said
    assert main(["runs", "list", "--limit", "1", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["runs"]) == 1
    assert main(["runs", "show", first[:8]]) == 0
    said = capsys.readouterr().out
    assert first in said
    assert "git commit" in said
    assert "queue depletion" in said
    assert main(["runs", "show", first, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["config"]["strategies"][0]["params"] == {
        "interval_ns": 50_000_000
    }
    assert main(["runs", "diff", first, second]) == 1
    said = capsys.readouterr().out
    assert "strategies[0].params.interval_ns" in said
    assert "90000000" in said
    assert main(["runs", "diff", first, first, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["same_result"] is True


def test_a_report_of_a_run_its_directory_and_its_session(kept, tmp_path, capsys):
    out = tmp_path / "r.html"
    assert main(["report", "last", "--html", str(out), "--title", "Mine"]) == 0
    assert f"wrote {out}" in capsys.readouterr().out
    assert "<title>Mine: report</title>" in out.read_text()
    found = []
    for source in (kept[1], str(tmp_path / "runs" / kept[1]), str(tmp_path / "session.npz")):
        assert main(["report", source, "--json", "--book-size", "1000"]) == 0
        found.append(json.loads(capsys.readouterr().out))
    assert found[0] == found[1]
    assert found[0]["all"]["pnl"] == found[2]["all"]["pnl"]
    assert main(["report", kept[0]]) == 0
    said = capsys.readouterr().out
    assert said.isascii()
    assert "maximum drawdown" in said


def test_a_run_need_not_be_kept(recording, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("RINGBOOK_RUNS", str(tmp_path / "runs"))
    assert main([
        "backtest", "--data", recording, "--tick-size", "0.1", "--lot-size", "0.001", "--no-keep",
        "--strategy", "tests.kit.sessions:Clockwork",
    ]) == 0  # fmt: skip
    assert not (tmp_path / "runs").exists()
    assert main(["runs", "list"]) == 0
    assert "no runs in" in capsys.readouterr().out


def test_refusals(kept, tmp_path, capsys):
    for arguments, words in (
        (["report", "nosuch"], "no run 'nosuch'"),
        (["report", "last", "--strategy", "other"], "no strategy 'other'"),
        (["report", "last", "--book-size", "0"], "--book-size"),
        (["report", str(tmp_path)], "no journal"),
        (["runs", "show", "nosuch"], "no run"),
    ):
        assert main(arguments) == 2
        assert words in capsys.readouterr().err


def test_the_demo_leaves_a_run(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("RINGBOOK_RUNS", str(tmp_path / "runs"))
    assert main(["demo", "--headless", "--seconds", "5", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert main(["report", "last", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["kind"] == "market"
    assert said["all"]["execution"]["fills"] == len(told["fills"]) > 0
    assert said["all"]["pnl"]["profit"] == pytest.approx(told["pnl"])
    assert said["all"]["markouts_bps"]["all"][0]["mean"] is not None
    session = load(tmp_path / "runs" / told["run"] / "session.npz")
    fills = session.fills
    place = np.searchsorted(session.mids["ts"], fills["local_ts"])
    assert np.allclose(session.mids["mid"][place], fills["mid_price"], atol=0.06), "the same market twice"


def test_a_report_of_a_journal(tmp_path, capsys):
    run = RunDir(tmp_path / "run")
    run.make()
    run.journal_buffer = str(tmp_path / "buffer")
    loop = kit.make_loop(kit.trader())
    loop.config.journal.dir, loop.config.journal.buffer_mb = str(tmp_path / "journals"), 1
    open_journal(lambda: loop.engine, loop.config, run, quiet_log())
    session = kit.Session(loop, 7)
    session.go()
    session.end()
    journal = loop.engine.inputs.journal
    with Journaller(journal, tmp_path / "journals" / journal.run_id.hex()) as journaller:
        journaller.drain()
    found = session_of(tmp_path / "journals", sample_ns=10_000_000)
    assert len(found.fills) > 0
    assert len(found.samples) > 0
    for account in found.accounts:
        slot = found.strategies.index(account.strategy)
        mine = found.samples[found.samples["strategy"] == slot]
        if len(found.instruments) == 1:
            assert mine["position"][-1] == account.position
            assert mine["fee"][-1] == account.fee
    known = found.mids[found.mids["instrument"] == found.fills["instrument"][0]]
    at = np.searchsorted(known["ts"], found.fills["local_ts"][0])
    assert known["ts"][at] == found.fills["local_ts"][0]
    assert main(["report", str(tmp_path / "journals"), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["all"]["execution"]["fills"] == len(found.fills)
