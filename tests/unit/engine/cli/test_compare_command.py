"""``ringbook compare``: output, exit codes, and what it refuses."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from engine.cli.main import main
from engine.reports.session import load
from tests.kit.sessions import market, session


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder, events = tmp_path_factory.mktemp("sessions"), market(10.0)
    paths = {}
    for name, changes in {"base": {}, "dear": {"maker_fee": 0.0002}}.items():
        paths[name] = str(folder / f"{name}.npz")
        session(events, **changes).save(paths[name])
    return paths


def test_equal_sessions(files, capsys):
    assert main(["compare", files["base"], files["base"], "--within", "0"]) == 0
    out = capsys.readouterr().out
    assert "missed fills" in out
    assert "funding" not in out
    assert "0 live only, 0 in the backtest only" in out
    assert "within 0 % of the traded value" in out


def test_the_parts_and_what_is_beyond(files, capsys):
    assert main(["compare", files["dear"], files["base"], "--within", "1e-6", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["agree"] is False
    assert found["parts"]["fees"] == found["difference"] < 0
    assert main(["compare", files["dear"], files["base"], "--within", "0.5"]) == 0
    assert main(["compare", files["dear"], files["base"]]) == 0


def test_backtest_keeps_its_session(tmp_path, capsys):
    from engine.backtest.data import save_events

    save_events(tmp_path / "x.npz", market(5.0))
    out = tmp_path / "out.npz"
    assert (
        main(
            [
                *("backtest", "--data", str(tmp_path / "x.npz"), "--symbol", "X"),
                *("--strategy", "engine.strategy.native:MarketMaker", "--param", "half_spread=1.0"),
                *("--tick-size", "0.1", "--lot-size", "0.001", "--out", str(out), "--json"),
            ]
        )
        == 0
    )
    told = json.loads(capsys.readouterr().out)
    kept = load(out)
    assert len(kept.fills) == len(told["fills"]) > 0
    assert kept.accounts[0].equity == told["equity"]
    assert kept.kind == "backtest"


@pytest.mark.parametrize("option", ["--window-ms", "--slack-ms", "--within"])
@pytest.mark.parametrize("value", ["-1", "nan", "inf"])
def test_options_that_mean_nothing_are_refused(files, option, value, capsys):
    assert main(["compare", files["base"], files["base"], f"{option}={value}"]) == 2
    assert "is not 0 or more" in capsys.readouterr().err


def test_what_cannot_be_compared_is_one_line(files, tmp_path, capsys):
    late = tmp_path / "late.npz"
    one = load(files["base"])
    replace(one, last_ts=one.last_ts + 5_000_000_000).save(late)
    assert main(["compare", str(late), files["base"]]) == 2
    assert "not the same period" in capsys.readouterr().err
    assert main(["compare", str(tmp_path / "none.npz"), files["base"], "--json"]) == 2
    captured = capsys.readouterr()
    assert json.loads(captured.out)["error"] == "DataError"
    assert captured.err.count("\n") == 1


def test_one_strategy_of_a_session_is_compared_alone(files, tmp_path, capsys):
    one = load(files["base"])
    fills, orders = one.fills.copy(), one.orders.copy()
    fills["strategy"] = orders["strategy"] = 1
    both = tmp_path / "both.npz"
    replace(
        one,
        strategies=("c", "d"),
        fills=np.concatenate([one.fills, fills]),
        orders=np.concatenate([one.orders, orders]),
        accounts=(*one.accounts, replace(one.accounts[0], strategy="d")),
    ).save(both)
    assert main(["compare", str(both), files["base"]]) == 2
    assert "d trades BTCUSDT in the live session only" in capsys.readouterr().err
    assert main(["compare", str(both), files["base"], "--strategy", "c", "--within", "0"]) == 0
    assert main(["compare", str(both), files["base"], "--strategy", "d"]) == 2
    assert "no strategy 'd' in the backtest session, only ['c']" in capsys.readouterr().err
