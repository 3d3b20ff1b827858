"""The spool and its writer: what was added is stored once, whatever is lost in between."""

from __future__ import annotations

import logging
import os
import random
from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest

from engine.core.errors import StoreError, StoreUnavailable
from engine.storage.base import Result, Store
from engine.storage.columns import prepare, taken
from engine.storage.schema import DAY_NS, TABLES, dialect
from engine.storage.spool import Spool
from engine.storage.writer import Writer
from tests.kit.stores import NOON, market_rows

LOG = logging.getLogger("test")


def batch(n: int = 10, first: int = 1):
    return prepare(TABLES["market_data"], market_rows(n, first))


class Shelf(Store):
    """A store in memory that fails as it is told to: before, in the middle of, or after an insert."""

    url, database, dialect = "shelf", "", dialect((18, 16))

    def __init__(self, rng: random.Random | None = None) -> None:
        self.ids: list[int] = []
        self.rng = rng
        self.tokens: list[str] = []

    def create(self, *, ttl_days: int = 0) -> None: ...

    def insert_prepared(self, table, columns, *, token="") -> None:
        ids = columns["id"].tolist()
        self.tokens.append(token)
        draw = self.rng.random() if self.rng else 1.0
        if draw < 0.2:
            raise StoreUnavailable("before")
        if draw < 0.4:
            self.ids += ids[: self.rng.randrange(len(ids))]
            raise StoreUnavailable("in the middle")
        self.ids += ids
        if draw < 0.6:
            raise StoreUnavailable("after")

    def query(self, sql: str) -> Result:
        raise AssertionError(sql)

    def settle(self, token: str) -> None:
        if self.rng and self.rng.random() < 0.2:
            raise StoreUnavailable("still runs")

    def present(self, table, run_id, first, last, begin, end, symbol=None):
        return np.array(sorted(i for i in self.ids if first <= i <= last), np.uint64)

    def close(self) -> None: ...


def test_rows_of_every_kind_come_back_as_they_were(tmp_path):
    given = {
        "id": [1, 2],
        "time": [NOON, NOON + 1],
        "symbol": ["A", "B"],
        "run_id": "r",
        "reason": ["taker", "it's ünïcode"],
        "px": [Decimal("1.5"), Decimal("-0.000000000001")],
        "edge": [None, 2.5],
        "slippage_bps": [np.nan, 1.0],
        "is_maker": [0, 1],
    }
    rows = prepare(TABLES["fills"], given)
    spool = Spool(tmp_path)
    spool.add("fills", "r", rows)
    found = spool.first()
    assert list(found.columns) == list(rows)
    for name, column in rows.items():
        if column.dtype == object:
            assert found.columns[name].tolist() == column.tolist()
        else:
            assert found.columns[name].tobytes() == column.tobytes()
    assert found.token == "r-fills-1-2-2"


def test_after_a_restart_batches_and_places_are_what_they_were(tmp_path):
    spool = Spool(tmp_path)
    spool.add("market_data", "r", batch(10, 1))
    spool.add("market_data", "r", batch(5, 11), {"orders": 3})
    spool.add("market_data", "q", batch(1, 7))
    spool.stored(spool.first())
    spool.close()
    again = Spool(tmp_path)
    assert again.place("r") == {"market_data": 15, "orders": 3}
    assert again.place("q") == {"market_data": 7}
    assert len(again) == 2
    assert again.first().ids.tolist() == list(range(11, 16))
    again.stored(again.first())
    again.stored(again.first())
    again.forget("q")
    again.add("market_data", "r", batch(1, 16))
    again.stored(again.first())
    again.close()
    last = Spool(tmp_path)
    assert (len(last), last.place("r"), last.place("q")) == (0, {"market_data": 16, "orders": 3}, {})


def test_a_day_is_a_batch_and_each_says_how_far_it_goes(tmp_path):
    rows = batch(4)
    rows["time"] = np.array([NOON, NOON, NOON + DAY_NS, NOON + 2 * DAY_NS])
    spool = Spool(tmp_path)
    assert spool.add("market_data", "r", rows) == 3
    places = []
    while (found := spool.first()) is not None:
        places.append(found.place["r"]["market_data"])
        spool.stored(found)
    assert places == [2, 3, 4]


@pytest.mark.parametrize("cut", [0, 5, 20, 200, -1])
def test_a_file_that_a_loss_of_power_cut_ends_the_spool_there(tmp_path, cut):
    spool = Spool(tmp_path)
    for first in (1, 11, 21):
        spool.add("market_data", "r", batch(10, first))
    spool.close()
    second = sorted(tmp_path.glob("batch-*"))[1]
    os.truncate(second, cut % second.stat().st_size)
    again = Spool(tmp_path)
    assert (len(again), again.place("r")) == (1, {"market_data": 10})
    again.add("market_data", "r", batch(10, 11))
    again.stored(again.first())
    assert again.first().ids.tolist() == list(range(11, 21))


def test_a_file_that_the_disk_changed_is_refused(tmp_path):
    spool = Spool(tmp_path)
    spool.add("market_data", "r", batch())
    path = next(tmp_path.glob("batch-*"))
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(StoreError, match="the disk has changed it"):
        spool.first()


def test_a_spool_is_one_recorders(tmp_path):
    spool = Spool(tmp_path)
    with pytest.raises(StoreError, match="another recorder"):
        Spool(tmp_path)
    spool.close()
    Spool(tmp_path).close()


def test_room_ends_where_the_limit_is(tmp_path):
    spool = Spool(tmp_path, limit=1000)
    assert spool.has_room()
    spool.add("market_data", "r", batch(100))
    assert not spool.has_room()
    spool.stored(spool.first())
    assert spool.has_room()
    assert spool.bytes == 0


@pytest.mark.parametrize("seed", range(20))
def test_a_store_that_fails_at_random_has_every_row_once(tmp_path, seed):
    """And the recorder is killed at random, between any two of its doings."""
    rng = random.Random(seed)
    shelf = Shelf(rng)
    spool = Spool(tmp_path)
    writer = Writer(spool, lambda: shelf, LOG, sleep=lambda seconds: None)
    made = 0
    while made < 300 or len(spool):
        if made < 300 and rng.random() < 0.5:
            n = rng.randrange(1, 20)
            spool.add("market_data", "run", batch(n, made + 1))
            made += n
        elif rng.random() < 0.1:
            # Killed after an insert, before it was noted.
            found = spool.first()
            if found is not None and rng.random() < 0.5 and not set(found.ids.tolist()) & set(shelf.ids):
                shelf.ids += found.ids.tolist()
            spool.close()
            spool = Spool(tmp_path)
            assert spool.place("run").get("market_data", 0) == made
            writer = Writer(spool, lambda: shelf, LOG, sleep=lambda seconds: None)
        else:
            writer.step(0)
    assert shelf.ids == sorted(shelf.ids)
    assert shelf.ids == list(range(1, made + 1))


def test_a_rest_has_a_name_of_its_own(tmp_path):
    shelf = Shelf()
    shelf.ids = [1, 2, 3]
    spool = Spool(tmp_path)
    spool.add("market_data", "run", batch(10))
    writer = Writer(spool, lambda: shelf, LOG)
    assert writer.step()
    assert shelf.tokens == ["run-market_data-1-10-10-7"]
    assert (writer.written.rows, writer.written.found) == (7, 3)
    spool.add("market_data", "run", taken(batch(20), np.arange(10, 20)))
    assert writer.step()
    assert shelf.tokens[1:] == ["run-market_data-11-20-10"]


def test_a_store_that_cannot_be_opened_is_tried_again_and_said_once(tmp_path, caplog):
    tries = []

    def opened():
        tries.append(1)
        if len(tries) < 4:
            raise StoreUnavailable("not there")
        return Shelf()

    spool = Spool(tmp_path)
    spool.add("market_data", "run", batch())
    waits = []
    writer = Writer(spool, opened, LOG, sleep=waits.append)
    with caplog.at_level(logging.INFO):
        assert [writer.step() for _ in range(4)] == [False, False, False, True]
    assert waits == [0.1, 0.2, 0.5]
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


def test_a_batch_of_an_earlier_ringbook_gets_the_columns_that_were_added_since(tmp_path, monkeypatch):
    orders = TABLES["orders"]
    assert orders.columns[-1].name == "tick_to_trade_ns"
    values = {"id": [1, 2], "time": [NOON, NOON + 1], "symbol": "B", "run_id": "r", "latency_ns": [5, 6]}
    with monkeypatch.context() as earlier:
        earlier.setitem(TABLES, "orders", replace(orders, columns=orders.columns[:-1]))
        spool = Spool(tmp_path)
        spool.add("orders", "r", prepare(TABLES["orders"], values))
        spool.close()
    found = Spool(tmp_path).first().columns
    wanted = prepare(orders, values)
    assert found.keys() == wanted.keys()
    for name, column in wanted.items():
        assert found[name].tolist() == column.tolist(), name
