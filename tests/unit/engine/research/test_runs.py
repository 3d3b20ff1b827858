"""Runs that are kept: the same again is the same run, and what differs is found."""

from __future__ import annotations

import json

import msgspec
import numpy as np
import pytest

from engine.backtest.config import AssetConfig, BacktestConfig, StrategyConfig
from engine.backtest.runner import BacktestRunner
from engine.core.errors import ConfigError, DataError
from engine.reports.report import Report
from engine.research.provenance import digest, strategy_digests
from engine.research.runs import Runs, default_directory, difference
from tests.kit.sessions import market

CONFIG = BacktestConfig(
    assets=[AssetConfig(symbol="BTCUSDT", tick_size=0.1, lot_size=0.001, maker_fee=-0.00005)],
    strategies=[StrategyConfig(id="c", cls="tests.kit.sessions:Clockwork")],
    seed=3,
)


@pytest.fixture(scope="module")
def events():
    return market(3.0)


def _files(run):
    return {one.name: one.read_bytes() for one in run.path.iterdir()}


def _kept(folder, events, config=CONFIG, **options):
    runs = Runs(folder)
    result = BacktestRunner(runs=runs, **options).run(config, {"BTCUSDT": events})
    return runs.last, result


def test_the_same_again_is_the_same_run(tmp_path, events):
    first, result = _kept(tmp_path / "a", events)
    again, _ = _kept(tmp_path / "a", events, chunk_rows=999)
    other, _ = _kept(tmp_path / "b", events)
    assert first.id == again.id == other.id
    assert [one.name for one in (tmp_path / "a").iterdir()] == [first.id]
    mine, theirs = _files(first), _files(other)
    assert set(mine) == {"config.json", "session.npz", "metrics.json", "run.json"}
    for name in ("config.json", "session.npz", "metrics.json"):
        assert mine[name] == theirs[name]
    told = [json.loads(files["run.json"]) for files in (mine, theirs)]
    for one in told:
        del one["made"], one["seconds"]
    assert told[0] == told[1]
    assert told[0]["seed"] == 3
    assert told[0]["config_hash"] == result.config_hash
    assert told[0]["versions"]["numpy"] == np.__version__


def test_a_kept_run_is_what_was_run(tmp_path, events):
    run, result = _kept(tmp_path, events)
    session = run.session()
    assert len(session.fills) == len(result.fills) > 10
    assert np.array_equal(session.fills["px"], result.fills["px"])
    assert len(session.samples) == 3, "samples are taken though the configuration takes none"
    assert len(session.mids) > 100
    metrics = run.metrics()
    assert metrics == json.loads(json.dumps(Report(session).to_json()))
    assert metrics["all"]["execution"]["fills"] == len(result.fills)
    assert metrics["all"]["pnl"]["profit"] == pytest.approx(result.totals()["equity"], rel=1e-9)
    assert msgspec.convert(run.config(), BacktestConfig) == CONFIG


def test_keeping_changes_no_result(tmp_path, events):
    _, kept = _kept(tmp_path, events)
    plain = BacktestRunner().run(CONFIG, {"BTCUSDT": events})
    assert kept.fills.tobytes() == plain.fills.tobytes()
    assert kept.orders.tobytes() == plain.orders.tobytes()


@pytest.mark.parametrize("change", ["seed", "data", "params"])
def test_what_differs_is_another_run(change, tmp_path, events):
    first, _ = _kept(tmp_path, events)
    config = msgspec.convert(msgspec.to_builtins(CONFIG), BacktestConfig)
    if change == "seed":
        config.seed = 4
    elif change == "params":
        config.strategies[0].params = {"interval_ns": 80_000_000}
    else:
        events = events[:-50]
    second, _ = _kept(tmp_path, events, config)
    assert first.id != second.id
    found = difference(first, second)
    paths = {path for rows in found.values() for path, _, _ in rows}
    assert {"seed": "seed", "params": "strategies[0].params.interval_ns", "data": "data[0].digest"}[
        change
    ] in paths
    assert difference(first, first) == {"made with": [], "config": [], "metrics": []}


def test_runs_are_found_by_the_beginning_of_a_name(tmp_path, events):
    first, _ = _kept(tmp_path, events)
    config = msgspec.convert(msgspec.to_builtins(CONFIG), BacktestConfig)
    config.seed = 9
    second, _ = _kept(tmp_path, events, config)
    runs = Runs(tmp_path)
    assert runs.find(first.id[:6]).id == first.id
    assert runs.find("last").id in (first.id, second.id)
    assert {run.id for run in runs.all()} == {first.id, second.id}
    for name in ("", "zz"):
        with pytest.raises(ConfigError, match="no run"):
            runs.find(name)
    clone = tmp_path / (first.id[:6] + "ffffff")
    clone.mkdir()
    (clone / "run.json").write_text(json.dumps({**first.about, "id": clone.name}))
    with pytest.raises(ConfigError, match="could be any of"):
        runs.find(first.id[:6])


def test_a_damaged_run_names_its_file(tmp_path, events):
    run, _ = _kept(tmp_path, events)
    (run.path / "run.json").write_text("{")
    with pytest.raises(DataError, match=r"run\.json"):
        Runs(tmp_path).all()


def test_a_run_that_cannot_be_kept_leaves_nothing(tmp_path, events, monkeypatch):
    def fails(self, path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("engine.reports.session.Session.save", fails)
    with pytest.raises(OSError):
        _kept(tmp_path, events)
    assert list(tmp_path.iterdir()) == []


def test_where_runs_go(monkeypatch, tmp_path):
    monkeypatch.setenv("RINGBOOK_RUNS", str(tmp_path))
    assert default_directory() == tmp_path
    monkeypatch.delenv("RINGBOOK_RUNS")
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert str(default_directory()) == "/data/ringbook/runs"


def test_a_strategy_s_file_is_part_of_the_name(tmp_path):
    file = tmp_path / "s.py"
    file.write_text("one")
    first = strategy_digests({"s": f"{file}:S"})
    file.write_text("two")
    assert strategy_digests({"s": f"{file}:S"}) != first
    assert strategy_digests({"s": "a.b:S"}) == {"s": "a.b:S"}


def test_digests(tmp_path, events):
    np.save(tmp_path / "a.npy", events)
    assert digest(tmp_path / "a.npy") == digest(tmp_path / "a.npy")
    assert digest(events) == digest(events.copy())
    changed = events.copy()
    changed["px"][-1] += 1
    assert digest(changed) != digest(events)
    with pytest.raises(DataError):
        digest(tmp_path / "none")
