"""One run's journal on its way into a spool: the market as it is there, outputs as a replica makes them.

Everything that is added follows from the journal and has its number, so whatever is lost between here and
the store is made again the same. Where a run's rows have come to is the spool's ``place``.

So that a recorder which is started again need not repeat the whole run, it writes down now and then where it
stands. Such a file gets its name when the store has everything from before it: then no row needs what the
journal had before it any more, and old segments may go.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from engine.core.errors import ImageError, JournalError, NotKept, RecordsRemoved, RingbookError
from engine.core.types import EXCH_EVENT, LOCAL_EVENT
from engine.journal.export import AS_EXCH, AS_LOCAL
from engine.journal.files import Files
from engine.journal.reader import JournalReader, market_chunks
from engine.journal.snapshots import RECORDER, Snapshot, adopt_snapshot, list_snapshots, read_snapshot
from engine.runtime.recovery import Beginning, beginning
from engine.runtime.replica import Replica
from engine.storage.columns import Columns, length, prepare, taken
from engine.storage.rows import Rows, named
from engine.storage.schema import TABLES
from engine.storage.spool import Spool

MARKET_ROWS = 1 << 17
"""The most that a batch of market data has."""
OUTPUT_ROWS = 1 << 16
"""Order updates that are made rows of at once."""
SLICE_S = 0.5
"""How long a step makes outputs before it looks at the market again."""
MARKET, GAPS = "market_data", "recording_gaps"
BOTH = AS_EXCH | AS_LOCAL
FULL = "the spool was full"


def market_rows(chunk: np.ndarray, symbols: list[str], run_id: str, two_sided: bool) -> Rows:
    """Market records of a journal as rows of ``market_data``, each with the number of its record.

    Args:
        chunk: ``market_dtype``.
        symbols: By number of instrument.
        run_id: The run.
        two_sided: Whether the journal has each row twice, as the venue and as we saw it: each then keeps the
            flag of its side alone.
    """
    events = chunk["event"]
    ev = events["ev"]
    if two_sided:
        seen = chunk["flags"] & BOTH
        ev = np.where(seen == AS_EXCH, ev & ~np.uint64(LOCAL_EVENT), ev)
        ev = np.where(seen == AS_LOCAL, ev & ~np.uint64(EXCH_EVENT), ev)
    of = chunk["instrument"]
    one = len(of) and np.all(of == of[0]) and of[0] < len(symbols)
    names = ("exch_ts", "local_ts", "px", "qty", "order_id", "ival", "fval")
    return {
        "symbol": symbols[of[0]] if one else named(symbols, of),
        "time": chunk["ts"],
        "id": chunk["seq"],
        "run_id": run_id,
        "ev": ev,
        **{name: np.ascontiguousarray(events[name]) for name in names},
    }


class Recording:
    """One run.

    Args:
        spool: Where rows go.
        directory: The run's journal.
        log: Told what cannot be recorded.
        market: Whether market data are recorded.
        interval_ns: Engine time between two looks at positions.
        every: Records after which it writes down where it stands; 0 never.

    Attributes:
        left_out: Market rows for which there was no room.

    Raises:
        JournalError: There is no journal, or it does not begin with its configuration.
    """

    def __init__(
        self,
        spool: Spool,
        directory: Path,
        log: logging.Logger,
        *,
        market: bool = True,
        interval_ns: int = 10**9,
        every: int = 0,
    ) -> None:
        self._spool, self._dir, self._log = spool, directory, log
        self._market_wanted, self._interval, self._every = market, interval_ns, every
        self._draft: tuple[int, str] | None = None
        begun: Beginning = beginning(directory)
        self.run_id = begun.run_id
        self._symbols = [instrument.symbol for instrument in begun.instruments]
        self._two_sided = begun.config.feed.kind in ("simulated", "replay")
        self._place = spool.place(self.run_id)
        self._waiting: list[tuple[str, Columns]] = []
        self._gap: dict[str, list[int]] = {}
        self.left_out = 0
        self._reason = ""
        self._replica: Replica | None = None
        try:
            self._replica = self._begin()
        except RingbookError as error:
            self._cannot(error)
        self._written_at = 0 if self._replica is None else self._replica.records
        self._reader: JournalReader | None = None
        if market and begun.config.feed.kind != "market":
            self._reader = self._read_market(0 if self._replica is None else self._replica.began)

    def _begin(self, *, snapshots: bool = True) -> Replica:
        """The run's replica, from its newest snapshot on if there is one.

        Args:
            snapshots: Whether it may begin with one.
        """
        files, path = Files(), str(self._dir)
        # That the run itself has one is what shows that its strategies can be written down.
        if snapshots and list_snapshots(files, path):
            for one in reversed(list_snapshots(files, path, RECORDER)):
                try:
                    return self._made_of(read_snapshot(one.path))
                except (ImageError, JournalError, OSError, msgspec.MsgspecError) as error:
                    self._log.warning("a snapshot of the recorder is of no use: %s", error)
        return self._made_of(None)

    def _made_of(self, start: Snapshot | None) -> Replica:
        begun = beginning(self._dir)
        return Replica(self._dir, begun, self._interval, market=self._market_wanted, start=start)

    def _read_market(self, stored: int) -> JournalReader:
        """The journal, behind what the spool has had of it.

        Args:
            stored: The store has everything up to this record.
        """
        after = max(self._place.get(MARKET, 0), stored)
        try:
            return JournalReader(self._dir, after=after)
        except RecordsRemoved as error:
            self._log.error("market data of run %s are recorded from there on: %s", self.run_id, error)
            return JournalReader(self._dir)

    @property
    def ended(self) -> bool:
        """Whether the run has ended in good order, and everything of it has been added."""
        return self._replica is not None and self._replica.ended and not self._waiting

    @property
    def seq(self) -> int:
        """The last record of which, and of all before it, the spool has everything, after a whole step."""
        if self._waiting or self._gap:
            return 0
        if self._replica is not None:
            # The journal's market data are read further than the run is repeated.
            return self._replica.settled_seq
        return 0 if self._reader is None else self._reader.seq

    @property
    def lost(self) -> bool:
        """Whether the run's outputs cannot be had."""
        return self._replica is None

    def step(self, limit: int) -> bool:
        """Adds what has come to the journal, or some of it if it is much.

        Args:
            limit: Number of the last record that may be read.

        Returns:
            Whether that was all of it.

        Raises:
            JournalDamaged: The journal is broken.
            OSError: The spool's disk refuses; the next step goes on there.
        """
        self.flush()
        for chunk in self._market(limit):
            self._add_market(chunk)
        self._end_gap()
        more, until = self._replica is not None, time.monotonic() + SLICE_S
        while more and self._replica is not None and time.monotonic() < until:
            try:
                more = self._replica.advance(limit)
            except RingbookError as error:
                more = self._gone(self._replica, error)
                break
            if self._replica.made > OUTPUT_ROWS:
                self._take(self._replica)
        if self._replica is not None:
            self._take(self._replica)
        self.flush()
        self._write_down()
        return not more

    def _gone(self, replica: Replica, error: RingbookError) -> bool:
        """A replica has come to something else than the run; whether another goes on in its place."""
        if replica.began:
            self._log.warning("the recorder's snapshot led to something else: %s", error)
            try:
                self._replica, self._draft = self._begin(snapshots=False), None
                return True
            except RingbookError:
                self._replica = replica
        replica.settle()
        self._take(replica)
        self._cannot(error)
        return False

    def _write_down(self) -> None:
        """Writes down where it stands if it is time, and names what was written once all before is stored."""
        try:
            if self._draft is not None:
                number, draft = self._draft
                if self._spool.stored_number >= number:
                    self._draft = None
                    adopt_snapshot(draft, lambda found: None)
                return
            replica = self._replica
            if replica is None or not self._every or self._waiting or self._gap:
                return
            if replica.records - self._written_at >= self._every:
                self._written_at = replica.records
                self._draft = self._spool.last_number, replica.write_draft()
        except NotKept as error:
            self._every = 0
            self._log.info("a recorder that is started again repeats the whole run: %s", error)
        except (JournalError, OSError) as error:
            # As well as none: the next one may succeed.
            self._log.warning("no snapshot of the recorder: %s", error)

    def finish(self) -> None:
        """The journal goes no further: adds what is left.

        Raises:
            OSError: The spool's disk refuses.
        """
        if self._replica is not None:
            self._replica.finish()
            self._take(self._replica)
        self.flush()
        self._end_gap(force=True)

    def flush(self) -> None:
        """Adds outputs that have been made.

        Raises:
            OSError: The spool's disk refuses; what is left waits.
        """
        while self._waiting:
            table, columns = self._waiting[0]
            known = self._spool.place(self.run_id).get(table, 0)
            if known:
                columns = taken(columns, columns["id"] > known)
            if length(columns):
                self._spool.add(table, self.run_id, columns)
            self._waiting.pop(0)

    def _take(self, replica: Replica) -> None:
        for table, rows in replica.take():
            # What an earlier recorder of this run has added is made again and left out.
            if int(rows["id"][-1]) > self._place.get(table, 0):
                self._waiting.append((table, prepare(TABLES[table], rows)))
        self._add_shown(replica)

    def _cannot(self, error: RingbookError) -> None:
        self._replica = None
        self._log.error(
            "orders, fills and positions of run %s are not recorded from here on, market data are: %s",
            self.run_id,
            error,
        )

    # --- market data ----------------------------------------------------------------------------

    def _market(self, limit: int) -> Iterator[np.ndarray]:
        if self._reader is None:
            return
        self._reader.limit = limit
        yield from market_chunks(self._reader, MARKET_ROWS)

    def _add_market(self, chunk: np.ndarray) -> None:
        rows = market_rows(chunk, self._symbols, self.run_id, self._two_sided)
        why = FULL
        if self._spool.has_room():
            try:
                self._end_gap()
                self._spool.add(MARKET, self.run_id, prepare(TABLES[MARKET], rows))
                return
            except OSError as error:
                why = error.strerror or str(error)
                chunk = chunk[chunk["seq"] > self._spool.place(self.run_id).get(MARKET, 0)]
        self._leave_out(chunk, why)

    def _add_shown(self, replica: Replica) -> None:
        """Adds what the market within has shown, where the run had one."""
        rows = replica.take_market()
        rows = rows[rows["seq"] > self._spool.place(self.run_id).get(MARKET, 0)]
        for first in range(0, len(rows), MARKET_ROWS):
            self._add_market(rows[first : first + MARKET_ROWS])

    def _leave_out(self, chunk: np.ndarray, why: str) -> None:
        if not self._gap:
            self._reason = why
            self._log.warning("market data of run %s are left out: %s", self.run_id, why)
        for number in np.unique(chunk["instrument"]):
            symbol = self._symbols[number] if number < len(self._symbols) else ""
            of = chunk[chunk["instrument"] == number]
            first, last = int(of["seq"][0]), int(of["seq"][-1])
            ts, until = int(of["ts"][0]), int(of["ts"][-1])
            gap = self._gap.setdefault(symbol, [first, last, 0, ts, until])
            gap[1], gap[4] = last, until
            gap[2] += len(of)
        self.left_out += len(chunk)

    def _end_gap(self, *, force: bool = False) -> None:
        """Records what was left out, once market data are taken again."""
        if not self._gap or not (force or self._spool.has_room()):
            return
        first = self._spool.place(self.run_id).get(GAPS, 0) + 1
        gaps = sorted(self._gap.items(), key=lambda item: item[1][3])
        values: dict[str, Any] = {
            "symbol": [symbol for symbol, _ in gaps],
            "time": [gap[3] for _, gap in gaps],
            "id": np.arange(first, first + len(gaps), dtype=np.uint64),
            "run_id": self.run_id,
            "table_name": MARKET,
            "first_id": [gap[0] for _, gap in gaps],
            "last_id": [gap[1] for _, gap in gaps],
            "rows": [gap[2] for _, gap in gaps],
            "until": [gap[4] for _, gap in gaps],
            "reason": self._reason,
        }
        last = max(gap[1] for _, gap in gaps)
        self._spool.add(GAPS, self.run_id, prepare(TABLES[GAPS], values), {MARKET: last})
        self._gap.clear()
