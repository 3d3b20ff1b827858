"""Sweeps: in order or not, with a stop or without, by one process or several, the results are the same."""

from __future__ import annotations

import json
import os
import signal

import numpy as np
import pytest

from engine.cli.main import main
from engine.core.errors import ConfigError, DataError
from engine.research.plan import Plan
from engine.research.runs import Runs
from engine.research.sweep import Sweep, on_cores, ranked, run_task
from tests.kit.sessions import market


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    path = tmp_path_factory.mktemp("sweep") / "X_1.npz"
    np.savez(path, data=market(2.0))
    return path


@pytest.fixture
def plan(recording):
    base = {
        "assets": [{"symbol": "X", "tick_size": 0.1, "lot_size": 0.001, "data": [str(recording)]}],
        "strategies": [{"id": "c", "class": "tests.kit.sessions:Clockwork"}],
    }
    intervals = [40_000_000, 60_000_000, 90_000_000]
    return Plan(base, {"interval_ns": intervals, "assets[0].maker_fee": [0.0, 0.0001]})


def _one_by_one(tasks):
    for task in tasks:
        yield run_task(task)


def _backwards(tasks):
    yield from _one_by_one(list(reversed(tasks)))


def test_the_order_of_runs_is_nobody_s_business(plan, tmp_path):
    rows = Sweep(plan, tmp_path / "a").run(_one_by_one)
    assert [row["number"] for row in rows] == list(range(6))
    assert rows == Sweep(plan, tmp_path / "b").run(_backwards)
    assert len({row["result_hash"] for row in rows}) == 6
    assert all(row["metrics"]["fills"] > 0 for row in rows)
    free, dear = (row["metrics"] for row in rows[:2])
    assert free["spread"] == dear["spread"]
    assert free["profit"] > dear["profit"]


def test_a_point_is_the_run_that_is_kept(plan, tmp_path):
    rows = Sweep(plan, tmp_path, keep=True).run(_one_by_one)
    runs = Runs(tmp_path / "runs")
    assert len(runs.all()) == 6
    for row in rows:
        run = runs.find(row["run"])
        assert run.about["result_hash"] == row["result_hash"]
        assert run.metrics()["all"]["pnl"]["profit"] == row["metrics"]["profit"]


@pytest.mark.parametrize("cut", [0, 7])
def test_a_stopped_sweep_goes_on(plan, tmp_path, cut):
    """Stopped after two runs, perhaps in the middle of writing the next one's line."""
    whole = Sweep(plan, tmp_path / "whole").run(_one_by_one)

    def stopped(tasks):
        for done, row in enumerate(_backwards(tasks)):
            if done == 2:
                raise KeyboardInterrupt
            yield row

    with pytest.raises(KeyboardInterrupt):
        Sweep(plan, tmp_path / "s").run(stopped)
    with open(tmp_path / "s" / "results.jsonl", "ab") as file:
        file.write(b'{"number": 0, "point"'[: cut * 3])
    with pytest.raises(ConfigError, match="--resume"):
        Sweep(plan, tmp_path / "s")
    again = Sweep(plan, tmp_path / "s", resume=True)
    assert len(again.results) == 2
    ran = []

    def watched(tasks):
        ran.extend(task.number for task in tasks)
        yield from _one_by_one(tasks)

    assert again.run(watched) == whole
    assert len(ran) == 4
    assert Sweep(plan, tmp_path / "s", resume=True).run(_one_by_one) == whole


def test_recordings_in_a_store_give_the_same(plan, recording, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("RINGBOOK_STORE", f"parquet://{tmp_path}/store")
    assert main(["store", "import", str(recording), "--symbol", "X", "--run", "monday"]) == 0
    capsys.readouterr()
    grid = {"interval_ns": [40_000_000], "assets[0].data": [[str(recording)], ["store:?run=monday"]]}
    rows = Sweep(Plan(plan.base, grid), tmp_path / "s").run(_one_by_one)
    assert [row.get("error") for row in rows] == [None, None]
    assert rows[0]["metrics"] == rows[1]["metrics"]


def test_another_plan_does_not_go_on(plan, tmp_path):
    Sweep(plan, tmp_path / "s")
    other = Plan(plan.base, {"interval_ns": [1]})
    with pytest.raises(ConfigError, match="another sweep"):
        Sweep(other, tmp_path / "s", resume=True)
    with pytest.raises(ConfigError, match="no sweep is there"):
        Sweep(plan, tmp_path / "none", resume=True)


def test_wrong_points_are_found_before_anything_runs(plan, tmp_path):
    wrong = Plan(plan.base, {"assets[0].queue_n": [3.0, -1.0]})
    with pytest.raises(ConfigError, match=r"assets\[0\].queue_n=-1"):
        Sweep(wrong, tmp_path / "a").run(_one_by_one)
    missing = Plan(plan.base, {"assets[0].data": [["nosuch.npz"]]})
    with pytest.raises(DataError, match=r"nosuch\.npz"):
        Sweep(missing, tmp_path / "b").run(_one_by_one)


def test_a_run_that_fails_is_a_line_of_its_own(plan, tmp_path):
    some = Plan(plan.base, {"strategies[0].params": [{"interval_ns": 60_000_000}, {"nosuch": 1}]})
    rows = Sweep(some, tmp_path).run(_one_by_one)
    assert "error" not in rows[0]
    assert "nosuch" in rows[1]["error"]
    best = ranked(rows, "profit")
    assert best[0]["number"] == 0
    with pytest.raises(ConfigError, match="cannot rank"):
        ranked(rows, "beauty")


def test_ranks():
    rows = [{"number": n, "metrics": {"x": x}} for n, x in enumerate([1.0, None, 3.0, 1.0])]
    assert [row["number"] for row in ranked(rows, "x")] == [2, 0, 3, 1]
    assert [row["number"] for row in ranked(rows, "x", ascending=True)] == [0, 3, 2, 1]


def kill_once(task):
    """A worker that the system kills the first time that it has the second point."""
    flag = os.environ["RINGBOOK_TEST_KILLED"]
    if task.number == 1 and not os.path.exists(flag):
        open(flag, "w").close()
        os.kill(os.getpid(), signal.SIGKILL)
    return run_task(task)


def test_processes_give_the_same_and_may_die(plan, tmp_path, monkeypatch):
    whole = Sweep(plan, tmp_path / "a").run(_one_by_one)
    monkeypatch.setenv("RINGBOOK_TEST_KILLED", str(tmp_path / "killed"))
    assert Sweep(plan, tmp_path / "b").run(on_cores(2, run=kill_once)) == whole
    assert (tmp_path / "killed").exists()


def test_the_command(plan, tmp_path, capsys):
    config = tmp_path / "c.json"
    config.write_text(json.dumps(plan.base))
    arguments = ["sweep", "--config", str(config), "--param", "interval_ns=40000000,90000000"]
    arguments += ["--workers", "1", "--out", str(tmp_path / "s")]
    assert main([*arguments, "--rank", "fills"]) == 0
    said = capsys.readouterr().out
    assert said.splitlines()[0].split()[:3] == ["rank", "interval_ns", "fills"]
    lines = (tmp_path / "s" / "results.csv").read_text().splitlines()
    assert len(lines) == 3
    assert main([*arguments, "--resume", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["runs"], told["resumed"], told["failed"]) == (2, 2, 0)
    for wrong in (
        ["--samples", "-1"],
        ["--workers", "0"],
        ["--param", "interval_ns=1"],
        ["--rank", "beauty"],
    ):
        assert main([*arguments, "--resume", *wrong]) == 2
