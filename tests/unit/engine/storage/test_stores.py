"""The three engines of a store: what goes in comes out, twice is once, and tables outlive a new version."""

from __future__ import annotations

import threading
from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest

from engine.core.errors import StoreError, StoreUnavailable
from engine.storage.schema import DAY_NS, TABLES, VIEWS
from engine.storage.store import open_store
from tests.kit.clickhouse_server import free_port
from tests.kit.stores import NOON, market_rows, store_of


def fill(**more) -> dict:
    return {"id": [1], "time": [NOON + 1], "symbol": "BTCUSDT", "run_id": "run", "strategy": "mm"} | more


def test_market_rows_come_back_bit_by_bit(store):
    rows = market_rows(1000)
    assert store.insert("market_data", rows) == 1000
    found = store.query("SELECT * FROM market_data ORDER BY id")
    assert found.names[:4] == ["symbol", "time", "id", "run_id"]
    for name, given in rows.items():
        if isinstance(given, str):
            assert set(found[name].tolist()) == {given}
        else:
            back = found[name].astype(np.int64) if found[name].dtype.kind == "M" else found[name]
            assert back.tobytes() == np.asarray(given).tobytes(), name


def test_money_is_exact_and_may_be_missing(store):
    given = {"px": 60000.1, "qty": 0.001, "fee": -1e-12, "edge": np.nan, "value": Decimal("60.0001")}
    store.insert("fills", fill(**{name: [value] for name, value in given.items()}, reason="it's \\ mine"))
    row = store.query("SELECT px, qty, fee, edge, value, reason FROM fills").rows()[0]
    assert row == (
        Decimal("60000.1"), Decimal("0.001"), Decimal("-0.000000000001"),
        None, Decimal("60.0001"), "it's \\ mine",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"nothing": [1]}, "no column 'nothing'"),
        ({"px": [1.0, 2.0]}, "2 values for 1 rows"),
        ({"px": [float("inf")]}, "beyond what money may be"),
        ({"px": [float("nan")]}, "missing"),
        ({"symbol": [3]}, "int is no text"),
        ({"order_id": [-1]}, "a negative number"),
        ({"id": 7}, "ids, one each"),
    ],
)
def test_what_is_no_row_is_refused_and_named(given, says, tmp_path):
    with open_store(f"parquet://{tmp_path}") as store:
        with pytest.raises(StoreError, match=says):
            store.insert("fills", fill() | given)


def test_a_repeated_insert_of_one_token_adds_nothing_where_the_engine_can_tell(store):
    for _ in range(3):
        store.insert("market_data", market_rows(10), token="run-market_data-1")
    found = store.query("SELECT count(*) AS n FROM market_data").scalar()
    assert found == (10 if store.dialect.tokens or store.url.startswith("parquet") else 30)


def test_rows_of_two_days_are_told_apart(store):
    rows = market_rows(4) | {"time": np.array([NOON, NOON, NOON + DAY_NS, NOON + 2 * DAY_NS])}
    store.insert("market_data", rows, token="t")
    assert store.present("market_data", "run", 1, 9, NOON, NOON + 3 * DAY_NS).tolist() == [1, 2, 3, 4]
    assert store.present("market_data", "run", 2, 3, NOON, NOON + DAY_NS).tolist() == [2, 3]
    assert store.present("market_data", "other", 1, 9, NOON, NOON + DAY_NS).tolist() == []


def test_every_table_and_view_answers(store):
    for name in [*TABLES, *([] if store.url.startswith("parquet") else VIEWS)]:
        assert len(store.query(f"SELECT * FROM {name}")) == 0, name


def test_views_say_what_fills_and_positions_mean(store):
    if store.url.startswith("parquet"):
        pytest.skip("files have no views")
    fills = {
        "qty": [2.0],
        "px": [99.0],
        "value": [198.0],
        "edge": [2.0],
        "fee": [0.5],
        "slippage_bps": [-100.0],
    }
    store.insert("fills", fill(**fills, reason="taker"))
    store.insert("positions", fill(realized_pnl=[3.0], unrealized_pnl=[4.0]))
    row = store.query("SELECT * FROM pnl_attribution").dicts()[0]
    parts = {name: row[name] for name in ("spread_pnl", "inventory_pnl", "fees", "total_pnl")}
    assert parts == {"spread_pnl": 2.0, "inventory_pnl": 5.0, "fees": -0.5, "total_pnl": 6.5}
    slip = store.query("SELECT mean_bps, weighted_bps, total_qty FROM slippage").rows()
    assert slip == [(-100.0, -100.0, 2.0)]


def test_creating_again_adds_a_column_that_was_lacking_and_keeps_rows(store):
    if store.url.startswith("parquet"):
        pytest.skip("files carry their own columns")
    store.insert("fills", fill(qty=[2.0]))
    store.query("DROP TABLE slippage")
    store.query("DROP TABLE pnl_attribution")
    store.query(f"ALTER TABLE {store.database}.fills DROP COLUMN edge")
    store.create()
    assert store.query("SELECT qty, edge FROM fills").rows() == [(Decimal(2), None)]
    assert len(store.query("SELECT * FROM slippage")) == 1


def test_a_column_of_another_type_is_refused_by_name(store):
    if store.url.startswith("parquet"):
        pytest.skip("files carry their own columns")
    store.query("DROP TABLE recording_gaps")
    store.query(
        f"CREATE TABLE {store.database}.recording_gaps (symbol UInt8) ENGINE = MergeTree ORDER BY symbol"
    )
    with pytest.raises(StoreError, match=r"recording_gaps\.symbol is UInt8, not"):
        store.create()


def test_a_wrong_statement_is_the_engines_own_words_and_the_next_one_works(store):
    with pytest.raises(StoreError, match="nothing_here"):
        store.query("SELECT * FROM nothing_here")
    assert store.query("SELECT 1 AS one").scalar() == 1


def test_threads_share_a_store(store):
    def work(number: int) -> None:
        store.insert("market_data", market_rows(100, 1 + 100 * number))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.query("SELECT count(*) AS n FROM market_data").scalar() == 400


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("postgres://x", "a store is clickhouse"),
        ("chdb://", "names no directory"),
        ("clickhouse://127.0.0.1/a?nonsense=1", "unknown option 'nonsense'"),
        ("clickhouse://127.0.0.1/a-b", "no name of a database"),
        ("clickhouse://127.0.0.1/a?timeout=never", "timeout is"),
        ("clickhouse://127.0.0.1/a?compression=best", "compression is"),
    ],
)
def test_a_url_that_is_none_says_why(url, says):
    with pytest.raises(StoreError, match=says):
        open_store(url)


def test_a_server_that_is_not_there_is_unavailable():
    with pytest.raises(StoreUnavailable):
        open_store(f"clickhouse://127.0.0.1:{free_port()}/ringbook?timeout=1")


def test_a_store_that_is_not_there_is_not_made_by_looking(tmp_path):
    with pytest.raises(StoreError, match="no store is there"):
        open_store(f"chdb://{tmp_path / 'none'}", create=False)
    assert not (tmp_path / "none").exists()


def test_files_of_an_earlier_version_are_read_with_those_of_this_one(tmp_path, monkeypatch):
    orders = TABLES["orders"]
    row = {"time": [NOON], "symbol": "B", "run_id": "r"}
    with store_of("parquet", tmp_path) as store:
        with monkeypatch.context() as earlier:
            earlier.setitem(TABLES, "orders", replace(orders, columns=orders.columns[:-1]))
            store.insert("orders", {**row, "id": [1]})
        assert store.query("SELECT id, tick_to_trade_ns FROM orders").rows() == [(1, 0)]
        store.insert("orders", {**row, "id": [2], "tick_to_trade_ns": [70]})
        assert store.query("SELECT id, tick_to_trade_ns FROM orders ORDER BY id").rows() == [(1, 0), (2, 70)]
        assert store.present("orders", "r", 1, 2, NOON, NOON).tolist() == [1, 2]
