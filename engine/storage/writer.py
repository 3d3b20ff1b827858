"""Brings a spool's batches into a store, each exactly once, one after the other, until it succeeds.

A batch whose insert was answered is stored. After any error, and for the first batch after a start, that is
not known: first no insert of that name may run any more, then the store is asked which of its ids it has, and
only the others are inserted. No batch is begun before the one before it is stored, so what is stored of a run
is always its beginning.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from engine.core.errors import StoreError
from engine.storage.base import Store, table_named
from engine.storage.columns import Columns, Values, by_day, length, prepare, taken
from engine.storage.schema import Table
from engine.storage.spool import Batch, Spool

BACKOFF_S = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
GIVE_UP_S = 0.5
"""How long a statement that runs may still take when the time is up."""
WAIT_S = 0.1
"""How long it waits for a batch before it lets others have the store."""


def insert_missing(store: Store, table: Table, run_id: str, columns: Columns, token: str) -> int:
    """Inserts the rows that are not there, of some that may be.

    Args:
        store: Where.
        table: Which.
        run_id: Whose rows.
        columns: Prepared, of one day.
        token: Names them all.

    Returns:
        How many were not there.

    Raises:
        StoreError: As :meth:`engine.storage.base.Store.insert`.
    """
    store.settle(token)
    ids, times = columns["id"], columns["time"]
    span = int(times.min()), int(times.max())
    # Captures count each symbol's rows for themselves.
    symbol = columns["symbol"].item() if columns["symbol"].ndim == 0 else None
    there = store.present(table.name, run_id, int(ids.min()), int(ids.max()), *span, symbol)
    missing = ~np.isin(ids, there)
    count = int(missing.sum())
    if count == len(ids):
        store.insert_prepared(table, columns, token=token)
    elif count:
        # An engine that knows tokens would leave out a rest that has the name of the whole.
        store.insert_prepared(table, taken(columns, missing), token=f"{token}-{count}")
    return count


def insert_once(store: Store, table: str, run_id: str, columns: Mapping[str, Values]) -> int:
    """Inserts those of a run's rows that are not there: what is repeated changes nothing.

    Args:
        store: Where.
        table: Which.
        run_id: Whose rows.
        columns: As for :meth:`engine.storage.base.Store.insert`.

    Returns:
        How many were not there.

    Raises:
        StoreError: As :meth:`engine.storage.base.Store.insert`.
    """
    known, done = table_named(table), 0
    for _, day in by_day(prepare(known, dict(columns) | {"run_id": run_id})):
        whose = day["symbol"].item() if day["symbol"].ndim == 0 else ""
        token = f"{run_id}-{whose}-{table}-{day['id'][0]}-{day['id'][-1]}-{length(day)}"
        done += insert_missing(store, known, run_id, day, token)
    return done


@dataclass
class Written:
    """What a writer has done.

    Attributes:
        batches: Stored.
        rows: Stored by us.
        found: Rows that were there already when their fate was looked up.
        failures: Tries that failed.
        error: Why the last try failed; empty after one that did not.
    """

    batches: int = 0
    rows: int = 0
    found: int = 0
    failures: int = 0
    error: str = ""


class Writer:
    """One thread that empties a spool.

    Args:
        spool: Where batches come from.
        opened: Opens the store; called again after it failed.
        log: Told when the store goes away and when it is back.
        sleep: How to wait, for tests.
        doubtful: Whether rows of any batch may be stored already, from another spool.
    """

    def __init__(
        self,
        spool: Spool,
        opened: Callable[[], Store],
        log: logging.Logger,
        *,
        sleep: Callable[[float], object] | None = None,
        doubtful: bool = False,
    ) -> None:
        self._spool, self._opened, self._log = spool, opened, log
        self._store: Store | None = None
        self._doubtful = doubtful
        self._doubt = True
        self._stop = threading.Event()
        self._sleep = self._stop.wait if sleep is None else sleep
        self._thread: threading.Thread | None = None
        self.written = Written()

    def step(self, timeout: float = WAIT_S) -> bool:
        """Stores the next batch, or tries to.

        Args:
            timeout: Seconds to wait for one.

        Returns:
            Whether a batch was stored.
        """
        try:
            batch = self._spool.first(timeout)
            if batch is None:
                if self._store is not None:
                    self._store.idle()
                return False
            if self._store is None:
                self._store = self._opened()
            if self._doubt:
                self._settle(self._store, batch)
            else:
                self._doubt = True
                self._store.insert_prepared(batch.table, batch.columns, token=batch.token)
                self.written.rows += len(batch.ids)
        except StoreError as error:
            self._failed(error)
            return False
        self._doubt = self._doubtful
        self._spool.stored(batch)
        self.written.batches += 1
        if self.written.error:
            self._log.info("the store is back: %d batches wait", len(self._spool))
            self.written.error = ""
            self._tries = 0
        return True

    _tries = 0

    def _failed(self, error: StoreError) -> None:
        done = self.written
        done.failures += 1
        if not done.error:
            self._log.warning("the store does not take what is recorded, which stays on disk: %s", error)
        done.error = str(error)
        self._sleep(BACKOFF_S[min(self._tries, len(BACKOFF_S) - 1)])
        self._tries += 1

    def _settle(self, store: Store, batch: Batch) -> None:
        """Inserts what is not there of a batch that may be there."""
        count = insert_missing(store, batch.table, batch.run_id, batch.columns, batch.token)
        self.written.rows += count
        self.written.found += len(batch.ids) - count

    # --- in the background ----------------------------------------------------------------------

    def start(self) -> None:
        """Empties the spool in a thread of its own, until :meth:`stop`."""
        self._thread = threading.Thread(target=self._run, name="ringbook-store", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self.step()
            except Exception as error:
                # The spool's own disk, or a fault of ours: nothing is lost by trying again.
                self._log.exception("%s", error)
                self._doubt = True
                self._sleep(BACKOFF_S[-1])

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread is not None and self._thread.is_alive()

    def stop(self, patience: float = 0.0) -> bool:
        """Ends the thread and closes the store; what is not stored stays in the spool.

        Args:
            patience: Seconds that it may still try to store everything.

        Returns:
            Whether everything is stored.
        """
        deadline = time.monotonic() + patience
        empty = self._spool.wait_empty(patience)
        self._stop.set()
        if self._thread is not None:
            self._thread.join(max(GIVE_UP_S, deadline - time.monotonic()))
        if self._store is not None and (self._thread is None or not self._thread.is_alive()):
            self._store.close()
            self._store = None
        return empty
