"""``ringbook query``, ``record`` and ``store``, as their users type them."""

from __future__ import annotations

import csv
import io
import json

import pytest

from engine.backtest.data import load_events, save_events
from engine.cli.main import main
from engine.storage.store import open_store
from tests.kit.journals import crossing_events
from tests.kit.stores import NOON

CONFIG = """
[feed]
kind = "simulated"
seed = 3

[[instruments]]
symbol = "BTCUSDT"
tick_size = 0.1
lot_size = 0.001
"""


@pytest.fixture(params=["chdb", "parquet"])
def url(request, tmp_path, monkeypatch):
    if request.param == "chdb":
        pytest.importorskip("chdb", reason="the extra 'embedded' is not installed")
    found = f"{request.param}://{tmp_path}/store"
    monkeypatch.setenv("RINGBOOK_STORE", found)
    return found


def said(capsys, *words: str) -> str:
    assert main(list(words)) == 0
    return capsys.readouterr().out


def test_a_query_that_would_change_the_store_is_refused(url, capsys):
    with open_store(url) as store:
        store.insert("fills", {"id": [1], "time": [NOON], "symbol": "B", "run_id": "r", "strategy": "s"})
    for sql in ("DROP TABLE fills", "SELECT 1; DROP TABLE fills", " ; "):
        assert main(["query", sql]) == 2
        assert len(capsys.readouterr().err.splitlines()) == 1
    assert said(capsys, "query", "SELECT count(*) AS n FROM fills", "--format", "csv").splitlines()[-1] == "1"


def test_a_query_may_change_the_store_where_it_is_told_to(tmp_path, monkeypatch, capsys):
    pytest.importorskip("chdb", reason="the extra 'embedded' is not installed")
    monkeypatch.setenv("RINGBOOK_STORE", f"chdb://{tmp_path}/store")
    with open_store() as store:
        store.insert("fills", {"id": [1], "time": [NOON], "symbol": "B", "run_id": "r", "strategy": "s"})
    said(capsys, "query", "TRUNCATE TABLE fills", "--write")
    assert said(capsys, "query", "SELECT count(*) AS n FROM fills", "--format", "csv").splitlines()[-1] == "0"


def test_a_server_that_is_away_is_one_line(capfd):
    pytest.importorskip("clickhouse_driver", reason="the extra 'clickhouse' is not installed")
    assert main(["query", "SELECT 1", "--store", "clickhouse://127.0.0.1:1/x"]) == 2
    assert len(capfd.readouterr().err.splitlines()) == 1


def test_a_table_csv_and_json_say_the_same(url, capsys):
    with open_store(url) as store:
        fills = {"id": [1, 2], "time": [NOON, NOON + 1], "symbol": "BTC", "run_id": "r", "strategy": "mm"}
        store.insert(
            "fills", fills | {"px": [60000.1, 0.5], "edge": [None, 1e-12], "mid_price": [1.5, float("nan")]}
        )
    sql = "SELECT id, time, px, edge, mid_price FROM fills ORDER BY id"
    table = said(capsys, "query", sql).splitlines()
    assert table[0].split() == ["id", "time", "px", "edge", "mid_price"]
    assert table[1].split() == ["1", "2023-11-15T12:00:00.000000000Z", "60000.1", "1.5"]
    assert table[-1] == "(2 rows)"
    rows = list(csv.DictReader(io.StringIO(said(capsys, "query", sql, "--format", "csv"))))
    assert rows[1]["edge"] == "0.000000000001"
    found = json.loads(said(capsys, "query", sql, "--json"))
    first, second = ("2023-11-15T12:00:00.000000000Z", "2023-11-15T12:00:00.000000001Z")
    assert found == [
        {"id": 1, "time": first, "px": 60000.1, "edge": None, "mid_price": 1.5},
        {"id": 2, "time": second, "px": 0.5, "edge": 1e-12, "mid_price": None},
    ]


def test_a_recording_goes_in_and_out_and_into_a_backtest(url, tmp_path, capsys):
    rows = crossing_events(400)
    save_events(tmp_path / "in.npz", rows)
    words = ("import", str(tmp_path / "in.npz"), "--symbol", "BTCUSDT", "--run", "monday")
    assert f"{len(rows)} of {len(rows)} rows stored" in said(capsys, "store", *words)
    assert json.loads(said(capsys, "store", *words, "--json"))["stored"] == 0
    assert "monday" in said(capsys, "store", "list")
    for name in ("out.npz", "out.parquet", "out.arrow"):
        pytest.importorskip("pyarrow", reason="pyarrow is not installed")
        out = str(tmp_path / name)
        said(capsys, "store", "export", out, "--symbol", "BTCUSDT", "--run", "monday")
        assert main(["store", "export", out, "--symbol", "BTCUSDT"]) == 2
        assert "exists already" in capsys.readouterr().err
    assert load_events(tmp_path / "out.npz").tobytes() == rows.tobytes()
    terms = ("--tick-size", "0.1", "--lot-size", "0.001", "--strategy", "engine.strategy.native:MarketMaker")
    results = []
    for data in ("in.npz", "out.parquet", "store:?run=monday"):
        where = data if data.startswith("store") else str(tmp_path / data)
        words = ("--data", where, "--symbol", "BTCUSDT", *terms, "--json", "--runs", str(tmp_path / "runs"))
        results.append(json.loads(said(capsys, "backtest", *words)))
    for result in results:
        result.pop("events_per_second")
        result.pop("run", None)
        result.pop("config_hash")
    assert results[0] == results[1] == results[2]


def test_a_feed_is_captured_without_trading(url, tmp_path, capsys):
    config = tmp_path / "c.toml"
    config.write_text(CONFIG)
    assert main(["record", "--config", str(config)]) == 2
    assert "has no end" in capsys.readouterr().err
    words = ("record", "--config", str(config), "--seconds", "2", "--run", "monday", "--json")
    summary = json.loads(said(capsys, *words))
    assert summary["rows"] == summary["stored"] > 1000
    assert json.loads(said(capsys, *words))["stored"] == 0
    n = json.loads(
        said(capsys, "query", "SELECT count(*) AS n FROM market_data WHERE run_id = 'monday'", "--json")
    )
    assert n == [{"n": summary["rows"]}]
    assert json.loads(said(capsys, "query", "SELECT count(*) AS n FROM orders", "--json")) == [{"n": 0}]


def test_a_store_that_is_not_there_is_one_line_and_exit_2(tmp_path, capsys):
    assert main(["query", "SELECT 1", "--store", f"parquet://{tmp_path}/none"]) == 2
    assert capsys.readouterr().err == f"ringbook: {tmp_path}/none: no store is there\n"


def test_the_headless_demo_leaves_a_store_that_is_asked(url, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("RINGBOOK_RUNS", str(tmp_path / "runs"))
    told = said(capsys, "demo", "--headless", "--seconds", "10")
    assert f"Its orders, fills, positions and market data: {url}" in told
    counts = {
        table: json.loads(said(capsys, "query", f"SELECT count(*) AS n FROM {table}", "--json"))[0]["n"]
        for table in ("fills", "orders", "backtest_runs", "backtest_timeseries", "market_data")
    }
    assert counts["market_data"] == int(told.split(" events")[0].rsplit(" ", 1)[-1].replace(",", ""))
    assert counts["fills"] == int(told.split(" fills:")[0].rsplit("\n", 1)[-1])
    assert counts["backtest_runs"] == 1
    assert counts["orders"] > counts["fills"] > 0
    assert counts["backtest_timeseries"] > 50
    again = json.loads(said(capsys, "demo", "--headless", "--seconds", "10", "--json"))
    assert again["store"] == url
    assert (
        json.loads(said(capsys, "query", "SELECT count(*) AS n FROM fills", "--json"))[0]["n"]
        == counts["fills"]
    )
