"""Runs as rows of a store: all of them once, and the store's own views say what the report says."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from engine.backtest.config import AssetConfig, BacktestConfig, StrategyConfig
from engine.backtest.runner import BacktestRunner
from engine.cli.main import main
from engine.reports import money
from engine.reports.report import Report
from engine.research import stored
from engine.research.runs import Runs
from engine.research.stored import put
from tests.kit.reported import backtested
from tests.kit.sessions import market
from tests.kit.stores import store_of


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    config = BacktestConfig(
        assets=[AssetConfig(symbol="X", tick_size=0.1, lot_size=0.001, maker_fee=-0.0001, taker_fee=0.0005)],
        strategies=[
            StrategyConfig(id="makes", cls="tests.kit.sessions:Clockwork"),
            StrategyConfig(
                id="takes",
                cls="tests.kit.sessions:Clockwork",
                params={"taking": True, "interval_ns": 400_000_000},
            ),
        ],
        seed=5,
    )
    runs = Runs(tmp_path_factory.mktemp("runs"))
    BacktestRunner(runs=runs).run(config, {"X": market(6.0)})
    return runs.last


def test_the_store_s_views_say_what_the_report_says(run, tmp_path):
    """Its SQL knows nothing of our formulas: an oracle of the attribution and of the orders' fates."""
    session = run.session()
    report = Report(session)
    with store_of("chdb", tmp_path) as store:
        added = put(store, run, name="mine")
        assert set(put(store, run).values()) == {0}
        assert added["fills"] == len(session.fills) > 10
        assert added["orders"] == len(session.orders)
        assert added["backtest_timeseries"] == added["positions"] == len(session.samples)
        found = {row["strategy"]: row for row in store.query("SELECT * FROM pnl_attribution").dicts()}
        # The view takes the last position that there is, ours the last price.
        ends = """SELECT strategy, argMax(equity, id) AS equity FROM positions GROUP BY strategy"""
        last = {row["strategy"]: row for row in store.query(ends).dicts()}
        behaviour = {row["strategy"]: row for row in store.query("SELECT * FROM order_behaviour").dicts()}
        for part in report.cells:
            mine = part.attribution
            row = found[part.strategy]
            assert row["spread_pnl"] == pytest.approx(float(mine.spread), abs=1e-9)
            assert row["fees"] == pytest.approx(float(mine.fees), abs=1e-9)
            end = part.series.equity[-1]
            gross = part.series.gross[-1]
            assert row["total_pnl"] == pytest.approx(gross + float(mine.fees), abs=1e-9)
            assert float(last[part.strategy]["equity"]) == pytest.approx(end, abs=1e-9)
            seen = behaviour[part.strategy]
            assert seen["sent"] == part.orders.sent
            assert seen["filled"] == part.orders.count("filled")
            # A millisecond there, a millisecond back; what takes is filled on arrival and never answered.
            assert seen["worst_latency_ns"] == (2_000_000 if part.strategy == "makes" else 0)
        about = store.query("SELECT * FROM backtest_runs").dicts()
        assert len(about) == 1
        assert (about[0]["run_id"], about[0]["name"], about[0]["seed"]) == (run.id, "mine", 5)
        assert json.loads(about[0]["metrics"]) == run.metrics()
        assert json.loads(about[0]["config"]) == run.config()
        rows = store.query("SELECT * FROM backtest_timeseries ORDER BY id").dicts()
        assert rows[-1]["equity"] == session.samples["equity"][rows[-1]["id"] - 1]


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
    empty = {name: getattr(session, name)[:0] for name in ("fills", "orders", "samples", "mids")}
    monkeypatch.setattr(type(run), "session", lambda self: dataclasses.replace(session, **empty))
    with store_of("parquet", tmp_path) as store:
        added = put(store, run)
    assert {name for name, n in added.items() if n} == {"backtest_runs"}
