"""The example strategies: each runs with the command, trades, and does the same again."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import accumulate
from pathlib import Path

import pytest

from engine.backtest.config import AssetConfig, BacktestConfig, StrategyConfig
from engine.backtest.data import save_events
from engine.backtest.runner import BacktestRunner
from engine.feeds.simulated import SimulatedMarket
from engine.strategy.loader import load
from tests.kit import waves

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = {
    "market_maker:MarketMaker": {},
    "market_maker_jit:MarketMaker": {},
    "mean_reversion:MeanReversion": {},
    "ml:Forecaster": {"train_ns": 20_000_000_000},
    "momentum:Momentum": {},
}
SIZES = {"tick_size": 0.1, "lot_size": 0.001}


def source(name: str) -> str:
    return "examples/strategies/" + name.replace(":", ".py:")


@pytest.fixture(scope="module")
def market():
    return SimulatedMarket("BTCUSDT", seed=7, **SIZES).generate(60)


@pytest.fixture(scope="module")
def recording(market, tmp_path_factory):
    path = tmp_path_factory.mktemp("market") / "market.npz"
    save_events(path, market)
    return path


def command(recording, name):
    arguments = ["--data", recording, "--tick-size", "0.1", "--lot-size", "0.001", "--strategy", source(name)]
    for key, value in EXAMPLES[name].items():
        arguments += ["--param", f"{key}={value}"]
    done = subprocess.run(
        [sys.executable, "-m", "engine.cli.main", "backtest", *map(str, arguments), "--json"],
        cwd=ROOT, capture_output=True, text=True, timeout=100,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    result = json.loads(done.stdout)
    assert result.pop("events_per_second") > 0
    return result


def run(name, events, **params):
    config = BacktestConfig(
        assets=[AssetConfig(symbol="BTCUSDT", **SIZES)],
        strategies=[StrategyConfig(id="s", cls=str(ROOT / source(name)), params=EXAMPLES[name] | params)],
    )
    return BacktestRunner(on_error="raise").run(config, {"BTCUSDT": events})


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_trades_and_does_the_same_again(recording, name):
    result = command(recording, name)
    signed = [fill["qty"] if fill["side"] == "buy" else -fill["qty"] for fill in result["fills"]]
    assert len(signed) >= 12
    assert min(signed) < 0 < max(signed)
    limit = 0.1 if name.startswith("market_maker") else 0.01
    assert max(map(abs, accumulate(signed))) <= limit + 1e-9
    assert command(recording, name) == result


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_short_and_explains_its_parameters(name):
    text = (ROOT / source(name).rpartition(":")[0]).read_text()
    assert len(text.splitlines()) < 100
    specs = load(str(ROOT / source(name))).specs()
    assert specs
    assert all(spec.doc for spec in specs.values())


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_does_not_look_ahead(market, name):
    whole = run(name, market)
    cut = market[0]["exch_ts"] + 45_000_000_000
    part = run(name, market[market["local_ts"] < cut])
    # Half a second before the cut, all that the end of the data changes is still to come.
    before = [r.orders[r.orders["ts"] < cut - 500_000_000] for r in (whole, part)]
    assert len(before[0]) > 20
    assert before[0].tobytes() == before[1].tobytes()


@pytest.mark.parametrize(("name", "half"), [("momentum:Momentum", 250), ("ml:Forecaster", 50)])
def test_a_trend_is_followed(name, half):
    result = run(name, waves.triangle(60, half=half))
    assert result.totals()["equity"] > 0
    assert len(result.fills) > 20


def test_what_goes_away_comes_back():
    result = run("mean_reversion:MeanReversion", waves.triangle(60))
    assert result.totals()["equity"] > 0
    assert len(result.fills) > 20
    assert result.fills["is_maker"].all()


def test_the_model_learns_what_can_be_learned_and_trades_only_then():
    events = waves.triangle(60)
    result = run("ml:Forecaster", events)
    words = result.logs[-1][-1].split()
    right, made = int(words[4]), int(words[6])
    assert made > 500
    assert right > 0.9 * made
    assert result.orders["ts"].min() > events[0]["exch_ts"] + EXAMPLES["ml:Forecaster"]["train_ns"]


def test_the_model_is_not_there_in_the_time_that_it_learns_from(market):
    late = run("ml:Forecaster", market, train_ns=10**15)
    assert len(late.orders) == 0
    assert late.logs == []


def test_the_library_is_loaded_only_by_a_run():
    code = "import sys, examples.strategies.ml; sys.exit('sklearn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_the_example_runs_by_itself():
    done = subprocess.run(
        [sys.executable, "-m", "examples.strategies.ml"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "forecasts came true" in done.stdout
