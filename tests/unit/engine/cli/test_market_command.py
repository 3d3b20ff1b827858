"""``ringbook market``: its parts' exit codes, messages and files."""

import json

import numpy as np
import pytest

from engine.backtest.data import load_events, save_events
from engine.cli.main import main
from engine.feeds.market import AgentMarket
from engine.feeds.simulated import SimulatedMarket
from engine.matching.laws import law_text, load_law


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


def generate(capsys, path, *args):
    return run(capsys, "market", "generate", "--seconds", "5", "--out", path, *args)


def test_generate_writes_the_same_bytes_for_the_same_seed(capsys, tmp_path):
    code, out, err = generate(capsys, tmp_path / "a.npz")
    assert (code, err) == (0, "")
    assert "5 s of simulated market SIM" in out
    generate(capsys, tmp_path / "b.npz")
    generate(capsys, tmp_path / "c.npz", "--seed", "8")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    assert (tmp_path / "a.npz").read_bytes() != (tmp_path / "c.npz").read_bytes()
    rows = load_events(tmp_path / "a.npz")
    assert rows.tobytes() == AgentMarket("SIM").generate(5).tobytes()


def test_generate_takes_a_law_and_hours_and_prints_json(capsys, tmp_path):
    (tmp_path / "x.toml").write_text(law_text(load_law()))
    args = ["--law", tmp_path / "x.toml", "--hours", "0.001", "--json", "--compress"]
    code, out, _ = run(capsys, "market", "generate", *args, "--out", tmp_path / "d.npz")
    summary = json.loads(out)
    assert code == 0
    assert summary["market_seconds"] == 3.6
    assert summary["rows"] == len(load_events(tmp_path / "d.npz"))


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--seconds", "1", "--out", "x.npy"], "something.npz"),
        (["--seconds", "1", "--out", "x.npz", "--law", "none.toml"], "none.toml: No such file"),
    ],
)
def test_generate_refuses_what_it_cannot_do(capsys, tmp_path, monkeypatch, args, words):
    monkeypatch.chdir(tmp_path)
    code, _, err = run(capsys, "market", "generate", *args)
    assert code == 2
    assert words in err


@pytest.mark.parametrize(
    "args",
    [
        ["--seconds", "0"],
        ["--seconds", "x"],
        ["--hours", "1", "--seconds", "1"],
        ["--seed", "-1"],
        [],
    ],
)
def test_generate_needs_a_length_that_can_be(args):
    with pytest.raises(SystemExit) as stop:
        main(["market", "generate", "--out", "x.npz", *args])
    assert stop.value.code == 2


def test_a_generated_minute_can_be_validated_fitted_plotted_and_backtested(capsys, tmp_path):
    path, law, plot = tmp_path / "m.npz", tmp_path / "m.toml", tmp_path / "m.svg"
    assert run(capsys, "market", "generate", "--seconds", "60", "--out", path)[0] == 0
    code, out, _ = run(capsys, "validate", path)
    assert (code, "nothing wrong" in out) == (0, True)
    assert run(capsys, "market", "fit", path, "--out", law)[0] == 0
    code, out, _ = run(capsys, "market", "plot", path, "--law", law, "--out", plot)
    assert code == 0
    assert "| market orders a second |" in out
    assert plot.read_text().startswith("<svg")
    code, out, _ = run(
        capsys, "backtest", "--data", path, "--symbol", "SIM",
        "--strategy", "engine.strategy.native:MarketMaker",
        "--tick-size", "0.1", "--lot-size", "0.001", "--entry-latency-ns", "1000000", "--response-latency-ns",
        "1000000", "--param", "half_spread=1.0", "--param", "order_qty=0.01", "--param", "max_position=0.1",
        "--json",
    )  # fmt: skip
    assert code == 0
    assert json.loads(out)


def test_plot_prints_json(capsys, tmp_path):
    assert run(capsys, "market", "generate", "--seconds", "20", "--out", tmp_path / "m.npz")[0] == 0
    code, out, _ = run(capsys, "market", "plot", tmp_path / "m.npz", "--out", tmp_path / "m.svg", "--json")
    assert code == 0
    summary = json.loads(out)
    assert summary["recording"]["market_orders_per_second"] > 1
    assert summary["simulated"]["seconds"] == pytest.approx(20, abs=1)
