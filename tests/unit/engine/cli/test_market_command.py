"""``ringbook market``: its parts' exit codes, messages and files."""

import json

import numpy as np
import pytest

from engine.backtest.data import save_events
from engine.cli.main import main
from engine.feeds.simulated import SimulatedMarket
from engine.matching.laws import load_law


def run(capsys, *args) -> tuple[int, str, str]:
    code = main([str(arg) for arg in args])
    out, err = capsys.readouterr()
    return code, out, err


@pytest.fixture
def recording(tmp_path):
    path = tmp_path / "x.npz"
    events = SimulatedMarket("X").generate(20)
    # Decimals as a venue writes them, so that the tick size can be inferred.
    events["px"] = np.round(events["px"], 1)
    events["qty"] = np.round(events["qty"], 3)
    save_events(path, events)
    return path


def test_fit_writes_a_law(capsys, recording, tmp_path):
    code, out, err = run(capsys, "market", "fit", recording, "--out", tmp_path / "x.toml")
    assert (code, err) == (0, "")
    assert "law x of" in out
    law = load_law(tmp_path / "x.toml")
    assert (law.market.tick_size, law.market.lot_size) == (0.1, 0.001)
    code, _, err = run(capsys, "market", "fit", recording, "--out", tmp_path / "x.toml")
    assert code == 2
    assert "exists already; --force" in err


@pytest.mark.parametrize("first", [True, False])
def test_fit_prints_json(capsys, recording, tmp_path, first):
    args = ["fit", recording, "--out", tmp_path / "y.toml", "--name", "mine"]
    args = ["--json", *args] if first else [*args, "--json"]
    code, out, _ = run(capsys, "market", *args)
    assert code == 0
    assert json.loads(out)["name"] == "mine"


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--out", "x.txt"], "something.toml"),
        (["--out", "none/x.toml"], "directory does not exist"),
        (["--out", "x.toml", "--tick-size", "0"], "--tick-size must be above 0"),
    ],
)
def test_fit_refuses_what_it_cannot_do(capsys, recording, tmp_path, monkeypatch, args, words):
    monkeypatch.chdir(tmp_path)
    code, _, err = run(capsys, "market", "fit", recording, *args)
    assert code == 2
    assert words in err
    assert len(err.splitlines()) == 1


def test_a_part_is_needed(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["market"])
    assert stop.value.code == 2
