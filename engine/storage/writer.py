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
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from engine.core.errors import StoreError
from engine.storage.columns import taken
from engine.storage.spool import Batch, Spool
from engine.storage.store import Store

BACKOFF_S = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
WAIT_S = 0.1
"""How long it waits for a batch before it lets others have the store."""


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
    """

    def __init__(
        self,
        spool: Spool,
        opened: Callable[[], Store],
        log: logging.Logger,
        *,
        sleep: Callable[[float], object] | None = None,
    ) -> None:
        self._spool, self._opened, self._log = spool, opened, log
        self._store: Store | None = None
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
        self._doubt = False
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
        store.settle(batch.token)
        ids, times = batch.ids, batch.columns["time"]
        there = store.present(
            batch.table.name,
            batch.run_id,
            int(ids.min()),
            int(ids.max()),
            int(times.min()),
            int(times.max()),
        )
        missing = ~np.isin(ids, there)
        count = int(missing.sum())
        if count:
            # An engine that knows tokens would leave out a rest that has the name of the whole.
            token = batch.token if count == len(ids) else f"{batch.token}-{count}"
            rest = batch.columns if count == len(ids) else taken(batch.columns, missing)
            store.insert_prepared(batch.table, rest, token=token)
        self.written.rows += count
        self.written.found += len(ids) - count

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
            self._thread.join(max(1.0, deadline - time.monotonic()))
        if self._store is not None and (self._thread is None or not self._thread.is_alive()):
            self._store.close()
            self._store = None
        return empty
