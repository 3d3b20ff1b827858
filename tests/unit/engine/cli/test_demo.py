"""The headless demo: one JSON object, trades on both sides, the same fills from the same seed."""

from __future__ import annotations

import json
import tomllib

import msgspec
import pytest

from engine.cli import demo, main
from engine.runtime.config import DaemonConfig


def run(capsys, *arguments: str) -> dict:
    assert main.main(["demo", "--headless", "--json", *arguments]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_demo_trades_on_both_sides_and_says_so(capsys):
    report = run(capsys, "--seconds", "20")
    assert {"fills", "positions", "pnl", "events"} <= report.keys()
    assert report["events"] > 1_000
    assert {fill["side"] for fill in report["fills"]} == {"buy", "sell"}
    for fill in report["fills"]:
        assert set(fill) == {"ts", "strategy", "symbol", "side", "px", "qty", "fee", "reason"}
        assert fill["qty"] > 0
        assert fill["px"] > 0
    (row,) = report["positions"]
    signed = sum(fill["qty"] * (1 if fill["side"] == "buy" else -1) for fill in report["fills"])
    assert row["position"] == pytest.approx(signed, abs=1e-9)
    assert row["num_trades"] == len(report["fills"])
    assert report["pnl"] == pytest.approx(row["realized_pnl"] + row["unrealized_pnl"] - row["fee"], abs=1e-6)


def test_a_seed_means_its_fills(capsys):
    once, again = run(capsys, "--seed", "7"), run(capsys, "--seed", "7")
    other = run(capsys, "--seed", "8")
    assert once == again
    assert once["fills"] != other["fills"]


def test_the_demo_leaves_its_market_which_backtests(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("RINGBOOK_STORE", f"parquet://{tmp_path / 'store'}")
    report = run(capsys, "--seconds", "5")
    assert report["store"] == f"parquet://{tmp_path / 'store'}"
    asked = f"SELECT count(*), min(id), max(id) FROM market_data WHERE run_id = '{report['run']}'"
    assert main.main(["query", asked, "--format", "csv"]) == 0
    counted = capsys.readouterr().out.splitlines()[-1]
    assert counted == f"{report['events']},1,{report['events']}"
    more = ["--symbol", "BTCUSDT", "--tick-size", "0.1", "--lot-size", "0.001", "--no-keep", "--json"]
    more += ["--strategy", "engine.strategy.native:MarketMaker"]
    assert main.main(["backtest", "--data", f"store:?run={report['run']}", *more]) == 0
    assert json.loads(capsys.readouterr().out)["events"] == report["events"]


def test_the_summary_is_readable(capsys):
    assert main.main(["demo", "--headless", "--seconds", "5"]) == 0
    output = capsys.readouterr().out
    assert "5 market seconds of BTCUSDT, seed 7" in output
    assert "PnL after fees" in output


@pytest.mark.parametrize(("flag", "value"), [("--seconds", "-1"), ("--seconds", "nan"), ("--seed", "-3")])
def test_a_wrong_argument_is_refused(capsys, flag, value):
    with pytest.raises(SystemExit) as caught:
        main.main(["demo", "--headless", f"{flag}={value}"])
    assert caught.value.code == 2
    assert flag in capsys.readouterr().err


def test_the_interactive_demo_has_a_valid_configuration():
    config = msgspec.convert(tomllib.loads(demo.config_text(7)), DaemonConfig)
    assert config.feed.seed == 7
    assert config.strategies[0].params == demo.PARAMS
