"""Market data into a store and out again: the same rows, whatever the chunks, and twice is once."""

from __future__ import annotations

import numpy as np
import pytest

from engine.backtest.data import save_events
from engine.core.errors import DataError, StoreError
from engine.core.types import event_dtype
from engine.feeds.replay import open_source
from engine.feeds.stored import StoredSource, is_stored
from engine.feeds.tabular import write_table
from engine.storage.reader import SECOND, MarketReader, recorded, write_market
from engine.storage.store import open_store
from tests.kit.journals import crossing_events
from tests.kit.stores import NOON


def market(n: int = 3000) -> np.ndarray:
    """Rows of seconds that hold one, many, and more than a chunk; some of one side only; around midnight."""
    rng = np.random.default_rng(3)
    rows = np.zeros(n, event_dtype)
    steps = rng.choice([0, 1000, 400_000_000, 3 * SECOND], n, p=[0.3, 0.6, 0.09, 0.01])
    rows["exch_ts"] = NOON + 12 * 3600 * SECOND - 40 * SECOND + np.cumsum(steps)
    rows["local_ts"] = rows["exch_ts"] + 5_000_000
    rows["ev"] = rng.choice(np.array([0xE0000001, 0xA0000001, 0x60000001, 0xD0000002], np.uint64), n)
    rows["px"], rows["qty"] = rng.normal(size=n), rng.normal(size=n)
    rows["order_id"], rows["ival"] = rng.integers(0, 2**64 - 1, n, np.uint64), rng.integers(-9, 9, n)
    rows["fval"][::3] = np.nan
    return rows


def test_rows_come_back_bit_by_bit_whatever_the_chunks(store):
    rows = market()
    assert write_market(store, "A", "r", np.array_split(rows, 7), rows=700) == (3000, 3000)
    assert write_market(store, "B", "r", [rows[:5]]) == (5, 5)
    for most in (64, 1000, 10_000):
        reader = MarketReader(store, "A", "r", rows=most)
        chunks = list(reader.chunks())
        assert reader.rows == 3000
        assert max(map(len, chunks)) <= most
        assert np.concatenate(chunks).tobytes() == rows.tobytes()
    for start in (1, 999, 2999):
        assert np.concatenate(list(reader.chunks(start))).tobytes() == rows[start:].tobytes()
    assert list(reader.chunks(3000)) == []


def test_a_repeated_import_adds_nothing_and_a_broken_one_is_completed(store):
    rows = market(500)
    assert write_market(store, "A", "r", [rows[:200]], rows=100) == (200, 200)
    assert write_market(store, "A", "r", [rows[:130], rows[130:]], rows=150) == (500, 300)
    assert write_market(store, "A", "r", [rows]) == (500, 0)
    assert np.concatenate(list(MarketReader(store, "A").chunks())).tobytes() == rows.tobytes()


def test_a_span_of_time_is_cut_to_the_nanosecond(store):
    rows = market(500)
    rows["ev"] |= np.uint64(0xC0000000)
    write_market(store, "A", "r", [rows])
    begin, end = int(rows["local_ts"][100]), int(rows["local_ts"][400])
    found = np.concatenate(list(MarketReader(store, "A", begin=begin, end=end, rows=50).chunks()))
    inside = (rows["local_ts"] >= begin) & (rows["local_ts"] < end)
    assert found.tobytes() == rows[inside].tobytes()


def test_which_run_is_meant_has_to_be_said_where_there_are_several(store):
    write_market(store, "A", "one", [market(3)])
    assert MarketReader(store, "A").rows == 3
    write_market(store, "A", "two", [market(4)])
    with pytest.raises(StoreError, match="of several runs: name one of one, two"):
        MarketReader(store, "A")
    with pytest.raises(StoreError, match="B of no run"):
        MarketReader(store, "B")
    with pytest.raises(StoreError, match="no rows of A in run three"):
        MarketReader(store, "A", "three")
    assert [(item.symbol, item.run_id, item.rows) for item in recorded(store)] == [
        ("A", "one", 3),
        ("A", "two", 4),
    ]


def test_a_recording_in_a_store_goes_where_a_file_goes(tmp_path):
    url, rows = f"parquet://{tmp_path}/store", crossing_events(300)
    with open_store(url) as store:
        write_market(store, "BTC", "monday", [rows])
    source = open_source("BTC", f"{url}?run=monday")
    assert isinstance(source, StoredSource)
    assert source.rows == len(rows)
    assert np.concatenate(list(source.chunks(7))).tobytes() == rows[7:].tobytes()
    looped = open_source("BTC", f"{url}?run=monday", loop=2)
    assert sum(map(len, looped.chunks())) == 2 * len(rows) + 1
    for query, says in (("run=none", "no rows of BTC"), ("run=monday&from=noon", "'noon' is no time")):
        with pytest.raises(DataError, match=says):
            open_source("BTC", f"{url}?{query}")
    assert is_stored("store:?run=x")
    assert not is_stored("store.npz")


@pytest.mark.parametrize("name", ["rows.parquet", "rows.arrow", "rows.npz"])
def test_files_of_other_programs_hold_the_same_rows(tmp_path, name):
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    rows, path = market(), tmp_path / name
    if name.endswith(".npz"):
        save_events(path, rows)
    else:
        assert write_table(path, np.array_split(rows, 3)) == 3000
    source = open_source("A", path)
    assert source.rows == 3000
    assert np.concatenate(list(source.chunks(10))).tobytes() == rows[10:].tobytes()
    assert [item.name for item in tmp_path.iterdir()] == [name]


def test_a_table_without_an_events_columns_is_refused_by_name(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    import pyarrow

    path = tmp_path / "other.parquet"
    parquet.write_table(pyarrow.table({"ev": [1], "exch_ts": [2]}), path)
    with pytest.raises(DataError, match=r"other\.parquet, field local_ts: is not there"):
        open_source("A", path)
    path.write_bytes(b"PAR1 and then nothing")
    with pytest.raises(DataError, match=r"other\.parquet"):
        open_source("A", path)
