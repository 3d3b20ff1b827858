"""Runs as rows of a store: all of them once; tests/integration/test_monitoring.py asks its views."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from engine.backtest.config import AssetConfig, BacktestConfig, StrategyConfig
from engine.cli.main import main
from engine.reports import money
from engine.research import stored
from engine.research.stored import put, put_market
from engine.runtime.session import MarketRunner
from tests.kit.reported import backtested, two_strategies
from tests.kit.stores import store_of


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return two_strategies(tmp_path_factory.mktemp("runs"))


def test_what_was_cut_off_is_finished(run, tmp_path, monkeypatch):
    whole = {"orders": len(run.session().orders), "fills": len(run.session().fills)}

    def broken(session):
        raise OSError("cut off")

    with store_of("parquet", tmp_path) as store:
        store.create()
        half = stored._fills(run.session())
        half = {k: v[:7] if isinstance(v, np.ndarray) else v for k, v in half.items()}
        order = np.argsort(half["time"], kind="stable")
        ids = np.arange(1, 8, dtype=np.uint64)
        store.insert("fills", {k: v[order] for k, v in half.items()} | {"id": ids, "run_id": run.id})
        added = put(store, run)
        assert added["orders"] == whole["orders"]
        assert added["fills"] == whole["fills"] - 7
        n, distinct = store.query("SELECT count(*), count(DISTINCT id) FROM fills").rows()[0]
        assert n == distinct == whole["fills"]


def test_realized_profit_is_the_engine_s():
    """By average cost, from the fills, as the engine's own books have it."""
    session = backtested()
    cost, realized = stored._books(session, session.samples)
    for account in session.accounts:
        number = [one.symbol for one in session.instruments].index(account.symbol)
        slot = session.strategies.index(account.strategy)
        mine = (session.samples["strategy"] == slot) & (session.samples["instrument"] == number)
        rows = session.samples[mine]
        open_part = rows["position"] * (rows["mid_price"] - np.nan_to_num(cost[mine]))
        gross = rows["equity"] + rows["fee"] + rows["funding"]
        assert realized[mine] + np.where(rows["position"] == 0, 0.0, open_part) == pytest.approx(
            gross, abs=1e-8
        )
        assert (np.isnan(cost[mine]) == (rows["position"] == 0)).all()


def test_inverse_edges_are_the_report_s():
    session = backtested(20.0, "inverse")
    columns = stored._fills(session)
    for account in session.accounts:
        mine = (columns["strategy"] == account.strategy) & (columns["symbol"] == account.symbol)
        exact = money.attribution(session, account.strategy, account.symbol)
        assert columns["edge"][mine].sum() == pytest.approx(float(exact.spread), rel=1e-9, abs=1e-15)


def test_market_data_are_put_once_and_finished_where_they_were_cut_off(tmp_path, monkeypatch):
    config = BacktestConfig(
        assets=[AssetConfig(symbol=symbol, tick_size=0.1, lot_size=0.001) for symbol in ("A", "B")],
        strategies=[StrategyConfig(id="s", cls="tests.kit.sessions:Clockwork")],
    )
    runner = MarketRunner(keep_market=True)
    result = runner.run(config, 3.0)
    rows = runner.market
    assert len(rows) == result.events > 1_000
    assert set(rows["instrument"].tolist()) == {0, 1}
    monkeypatch.setattr(stored, "MARKET_ROWS", 400)
    with store_of("parquet", tmp_path) as store:
        store.create()
        assert put_market(store, "r", ["A", "B"], rows[:700]) == 700
        assert put_market(store, "r", ["A", "B"], rows) == len(rows) - 700
        assert put_market(store, "r", ["A", "B"], rows) == 0
        found = store.query("SELECT id, symbol, local_ts, px, ev FROM market_data ORDER BY id")
    assert found["id"].tolist() == list(range(1, len(rows) + 1))
    assert found["symbol"].tolist() == ["AB"[number] for number in rows["instrument"].tolist()]
    for name in ("local_ts", "px", "ev"):
        assert found[name].tolist() == rows["event"][name].tolist()
    assert len(MarketRunner().market) == 0


def test_the_command_pushes_a_run_once(run, tmp_path, capsys):
    arguments = [
        "runs",
        "push",
        run.id[:6],
        "--runs",
        str(run.path.parent),
        "--store",
        f"parquet://{tmp_path}/s",
    ]
    assert main([*arguments, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["runs"][run.id]["fills"] > 0
    assert main(arguments) == 0
    assert "is there already" in capsys.readouterr().out


def test_an_empty_session_is_a_run_too(run, tmp_path, monkeypatch):
    session = run.session()
    empty = {name: getattr(session, name)[:0] for name in ("fills", "orders", "samples", "mids", "ticks")}
    monkeypatch.setattr(type(run), "session", lambda self: dataclasses.replace(session, **empty))
    with store_of("parquet", tmp_path) as store:
        added = put(store, run)
    assert {name for name, n in added.items() if n} == {"backtest_runs"}
