"""Market data out of a store and into it: in the order of their ids, in chunks, whatever their number.

A recording is one symbol of one run. Its seconds are counted first (one pass over the time column), and are
then read some at a time, so that a chunk touches its own part of the table only; memory is that of one chunk.
A second with more rows than a chunk is read in parts. Bad case: all rows at one time, which each part sorts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from engine.core.errors import StoreError
from engine.core.types import LOCAL_EVENT, event_dtype
from engine.storage.base import Result, Store, quote
from engine.storage.writer import insert_once

SECOND = 1_000_000_000
CHUNK_ROWS = 1 << 18
FIELDS = event_dtype.names
TABLE = "market_data"
LAST_TS = 2**63 - 1


@dataclass(frozen=True)
class Recorded:
    """One symbol of one run, as a store has it."""

    symbol: str
    run_id: str
    rows: int
    first_ts: int
    last_ts: int


def recorded(store: Store) -> list[Recorded]:
    """What market data a store has.

    Args:
        store: Any.
    """
    found = store.query(
        f"SELECT symbol, run_id, count(*) AS n, min(time) AS first, max(time) AS last FROM {TABLE} "
        "GROUP BY symbol, run_id ORDER BY symbol, run_id"
    )
    return [Recorded(*row) for row in found.rows()]


class MarketReader:
    """One recording in a store.

    Args:
        store: Where; used by one thread at a time.
        symbol: Which.
        run_id: Of which run; by default of the only one that has it.
        begin: Earliest engine time, nanoseconds.
        end: Engine time before which it ends.
        rows: The most that a chunk has.

    Attributes:
        rows: How many there are.

    Raises:
        StoreError: There are none, or of several runs and none was named.
    """

    def __init__(
        self,
        store: Store,
        symbol: str,
        run_id: str = "",
        *,
        begin: int = 0,
        end: int = LAST_TS,
        rows: int = CHUNK_ROWS,
    ) -> None:
        self._store, self._most = store, rows
        if not run_id:
            runs = [item.run_id for item in recorded(store) if item.symbol == symbol]
            if len(runs) != 1:
                many = f"of several runs: name one of {', '.join(runs)}" if runs else "of no run"
                raise StoreError(f"{store.url} has {symbol} {many}")
            run_id = runs[0]
        whose = f"symbol = {quote(symbol)} AND run_id = {quote(run_id)}"
        self._whose, self._begin, self._end = whose, begin, end
        second = store.epoch_second("time")
        counted = store.query(
            f"SELECT {second} AS second, count(*) AS n FROM {TABLE} "
            f"WHERE {whose} AND {store.time_within(begin, end)} GROUP BY {second} ORDER BY second"
        )
        self._seconds = counted["second"].astype(np.int64) if len(counted) else np.empty(0, np.int64)
        self._counts = counted["n"].astype(np.int64) if len(counted) else np.empty(0, np.int64)
        self.rows = int(self._counts.sum())
        if not self.rows:
            raise StoreError(f"{store.url}: no rows of {symbol} in run {run_id} at that time")

    def chunks(self, start: int = 0) -> Iterator[np.ndarray]:
        """Reads it once.

        Args:
            start: The first row wanted; whole seconds before it are not read.

        Yields:
            ``event_dtype`` arrays.

        Raises:
            StoreError: The store refuses.
            StoreUnavailable: It does not answer.
        """
        ends = np.cumsum(self._counts)
        at = int(np.searchsorted(ends, start, side="right"))
        skip = start - (int(ends[at - 1]) if at else 0)
        while at < len(ends):
            before = int(ends[at - 1]) if at else 0
            # As many whole seconds as fit into a chunk, at least one.
            until = max(at + 1, int(np.searchsorted(ends, before + self._most, side="right")))
            for part in self._span(int(self._seconds[at]), int(self._seconds[until - 1]) + 1):
                if skip < len(part):
                    yield part[skip:]
                skip = max(0, skip - len(part))
            at = until

    def _span(self, first: int, end: int) -> Iterator[np.ndarray]:
        after = 0
        span = self._store.time_within(max(self._begin, first * SECOND), min(self._end, end * SECOND))
        while True:
            found = self._store.query(
                f"SELECT id, {', '.join(FIELDS)} FROM {TABLE} WHERE {self._whose} "
                f"AND {span} AND id > {after} ORDER BY id LIMIT {self._most}"
            )
            if not len(found):
                return
            yield _events(found)
            if len(found) < self._most:
                return
            after = int(found["id"][-1])


def _events(found: Result) -> np.ndarray:
    rows = np.empty(len(found), event_dtype)
    for name in FIELDS:
        rows[name] = found[name]
    return rows


def write_market(
    store: Store, symbol: str, run_id: str, chunks: Iterable[np.ndarray], *, rows: int = CHUNK_ROWS
) -> tuple[int, int]:
    """Stores a recording; rows that are stored already are left alone, so it may be repeated.

    Args:
        store: Where.
        symbol: Whose.
        run_id: What the recording is to be called.
        chunks: ``event_dtype`` arrays, in order.
        rows: The most that go in one insert.

    Returns:
        Rows given, and how many of them were stored now.

    Raises:
        StoreError: It refuses.
        StoreUnavailable: It does not answer; the same again stores the rest.
    """
    given = stored = 0
    latest = 0
    for chunk in chunks:
        for at in range(0, len(chunk), rows):
            part = chunk[at : at + rows]
            seen = np.where(part["ev"] & np.uint64(LOCAL_EVENT) != 0, part["local_ts"], part["exch_ts"])
            # Neither clock alone goes up from row to row; the later of both so far does.
            times = np.maximum(np.maximum.accumulate(seen), latest)
            latest = int(times[-1])
            columns = {name: np.ascontiguousarray(part[name]) for name in FIELDS}
            ids = np.arange(given + 1, given + 1 + len(part), dtype=np.uint64)
            columns |= {"symbol": symbol, "time": times, "id": ids}
            given += len(part)
            stored += insert_once(store, TABLE, run_id, columns)
    return given, stored
