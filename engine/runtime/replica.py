"""A run repeated from its journal for what it put out: rows of orders, fills, positions, states and changes.

The engine tells nobody what it has done but those who trade with it; a journal holds inputs only. What they
led to is had by taking them in again, as a standby does, at the same place and with the same numbers every
time; so is the market of an engine that has it within. When rows are taken does not change them: positions
are looked at each time that the engine's clock passes a whole interval, strategies and parameters after each
input that might have changed them, and updates of orders wait for the input behind them, before which the
journal says how long requests took.

A replica can be written down, as a snapshot of its own, and begin there: its rows go on with the next one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from engine.backtest.recorder import Recorder, order_entry_dtype
from engine.journal.reader import JournalReader, market_dtype
from engine.journal.snapshots import RECORDER, Snapshot
from engine.runtime.engine import EngineLoop
from engine.runtime.images import own_build, stand, write_draft
from engine.runtime.recovery import Beginning, Replay, private_loop, quiet_log
from engine.storage.rows import (
    PositionRows,
    PositionsStanding,
    Request,
    Rows,
    Units,
    change_rows,
    columns_of,
    fill_rows,
    order_rows,
    status_row,
)

CHUNK = 1 << 14
"""Records that are taken in at once."""


class ReplicaStanding(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a replica goes on from, beside the run itself.

    Attributes:
        boundary: Engine time of the next look at positions.
        made: Rows made, by table.
        positions: How far positions are.
        states: State and message of strategies, as they were noted last.
        known: Version of the last change that was noted.
        seen: Rows of a market within.
        orders: Order updates so far.
        settled: Those of which the journal says no more.
        settled_seq: The record before the last input.
        unsettled: The rest, as bytes of ``order_entry_dtype``.
        ticks: How long requests took, by strategy, order, kind and time.
    """

    boundary: int
    made: dict[str, int]
    positions: PositionsStanding
    states: dict[str, tuple[str, str]]
    known: int
    seen: int
    orders: int
    settled: int
    settled_seq: int
    unsettled: bytes
    ticks: list[tuple[Request, int]]


class _Watched(Replay):
    """Looks at strategies and changes where these may be others."""

    def __init__(self, loop: EngineLoop, reader: JournalReader) -> None:
        super().__init__(loop, reader)
        self._engine, self._known = loop, loop.version
        self._states: dict[str, tuple[str, str]] = {}
        self.states: list[dict[str, Any]] = []
        self.changes: list[dict[str, Any]] = []

    def after_call(self) -> None:
        """Notes what is other than before."""
        self.look()
        if self._engine.version == self._known:
            return
        for change in self._engine.last_changes:
            if change.version > self._known:
                self.changes += change_rows(change, self._now)
        self._known = self._engine.version

    def look(self) -> None:
        """Notes strategies whose state is another."""
        kernel = self._engine.kernel
        for name in kernel.strategy_names:
            info = kernel.strategy(name)
            if self._states.get(name) != (info.state, info.message):
                self._states[name] = info.state, info.message
                self.states.append(status_row(info, self._now))

    @property
    def standing(self) -> tuple[dict[str, tuple[str, str]], int]:
        """What it knows of strategies, and of changes."""
        return self._states, self._known

    @standing.setter
    def standing(self, was: tuple[dict[str, tuple[str, str]], int]) -> None:
        self._states, self._known = dict(was[0]), was[1]

    @property
    def _now(self) -> int:
        """Engine time, of a start too, which comes before the clock has gone on."""
        return max(self._engine.now, self._pass.ts)


class Replica:
    """A run's outputs.

    Args:
        directory: Its journal's.
        begun: What it began with.
        interval_ns: Engine time between two looks at positions.
        market: Whether the market within, if that is what there is, is wanted.
        start: The snapshot of a replica to begin with; the run's beginning if None.

    Raises:
        JournalError: It does not reach back so far.
        ImageError: The snapshot is not for here.
        ConfigError: Its strategies are not here.
    """

    def __init__(
        self,
        directory: Path,
        begun: Beginning,
        interval_ns: int,
        *,
        market: bool = True,
        start: Snapshot | None = None,
    ) -> None:
        begun.config.engine.result = ""
        loop = private_loop(begun.config, begun.switches, quiet_log())
        loop.version = begun.version
        self._loop, self._run_id, self._interval = loop, begun.run_id, interval_ns
        self._outputs = Recorder(market=market and begun.config.feed.kind == "market")
        loop.record_into(self._outputs)
        self._units = Units(begun.config.instruments)
        self._dir, self._begun = directory, begun
        self._reader = JournalReader(directory, after=0 if start is None else start.seq)
        self._replay = _Watched(loop, self._reader)
        self._positions = PositionRows(loop.kernel, begun.run_id)
        self._boundary = 0
        self._made = dict.fromkeys(("orders", "fills", "strategy_status", "params_log"), 0)
        self._shown = np.empty(0, market_dtype)
        self._seen = 0
        self._unsettled = np.empty(0, order_entry_dtype)
        self._ticks: dict[Request, int] = {}
        self._finished = False
        self._base = self._settled_before = self._settled_seq_before = 0
        self.began = 0
        if start is not None:
            written = stand(loop, self._replay, start, begun, own_build(begun))
            self._go_on(msgspec.msgpack.decode(written.more, type=ReplicaStanding))
            self.began = start.seq

    def _go_on(self, was: ReplicaStanding) -> None:
        self._boundary, self._made, self._seen = was.boundary, dict(was.made), was.seen
        self._positions.standing = was.positions
        self._replay.standing = was.states, was.known
        self._unsettled = np.frombuffer(was.unsettled, order_entry_dtype).copy()
        self._ticks = dict(was.ticks)
        self._base, self._settled_before = was.orders, was.settled
        self._settled_seq_before = was.settled_seq

    def write_draft(self) -> str:
        """Writes where it stands down; everything that was made has been taken.

        Returns:
            The draft of a snapshot of its kind.

        Raises:
            NotKept: Something of it cannot be written down.
            OSError: The system refuses.
        """
        states, known = self._replay.standing
        standing = ReplicaStanding(
            self._boundary,
            self._made,
            self._positions.standing,
            states,
            known,
            self._seen,
            self._base + self._outputs.n_orders,
            self._settled_orders,
            self.settled_seq,
            self._unsettled.tobytes(),
            list(self._ticks.items()),
        )
        more = msgspec.msgpack.encode(standing)
        return write_draft(self._dir, self._replay, self._begun, kind=RECORDER, more=more)

    @property
    def records(self) -> int:
        """Records of the journal that have been taken in."""
        return self._replay.records

    @property
    def _settled_orders(self) -> int:
        """Order updates of which the journal will not say more."""
        if not self._replay.settled_seq:
            # Nothing has been taken in yet.
            return self._settled_before
        return self._base + self._replay.settled

    @property
    def ended(self) -> bool:
        """Whether the run has ended in good order, and all of it has been taken in."""
        return self._replay.ended

    @property
    def settled_seq(self) -> int:
        """The last record of which, and of all before it, everything may be taken."""
        if self._finished:
            return self._replay.reached().seq
        return self._replay.settled_seq or self._settled_seq_before

    def advance(self, limit: int) -> bool:
        """Takes in some more of the journal.

        Args:
            limit: Number of the last record that may be read.

        Returns:
            Whether there was anything.

        Raises:
            ReplayDiverged: The run did something else.
            JournalDamaged: The journal is broken.
        """
        self._reader.limit = limit
        before = self._replay.records
        ts = self._replay.next_ts
        if ts is None:
            return False
        if ts > self._boundary:
            if self._boundary:
                self._look(self._boundary)
            self._boundary = -(-ts // self._interval) * self._interval
        self._replay.run(self._boundary, CHUNK)
        return self._replay.records != before

    def finish(self) -> None:
        """The journal goes no further: looks a last time."""
        self._look(self._loop.now)
        self.settle()

    def settle(self) -> None:
        """No more of the journal will be taken in: everything that was made may be taken."""
        self._finished = True

    def _look(self, ts: int) -> None:
        self._replay.look()
        self._positions.sample(ts)

    @property
    def made(self) -> int:
        """Order updates, or rows of a market within, that wait to be taken."""
        return self._outputs.waiting

    def take(self) -> list[tuple[str, Rows]]:
        """What there is since the last time, by table."""
        made, run = self._made, self._run_id
        names = self._loop.kernel.strategy_names
        fills, orders, ticks, market = self._outputs.take()
        self._show(market)
        taken: list[tuple[str, Rows]] = []
        if len(orders := self._settled(orders, ticks)):
            rows = order_rows(orders, self._units, names, run, made["orders"] + 1, self._ticks)
            taken.append(("orders", rows))
            made["orders"] += len(orders)
            last = int(orders["ts"][-1])
            self._ticks = {key: value for key, value in self._ticks.items() if key[3] > last}
        if len(fills):
            taken.append(("fills", fill_rows(fills, self._units, names, run, made["fills"] + 1)))
            made["fills"] += len(fills)
        if (positions := self._positions.take()) is not None:
            taken.append(("positions", positions))
        for table, rows in (("strategy_status", self._replay.states), ("params_log", self._replay.changes)):
            if rows:
                taken.append((table, columns_of(rows, run, made[table] + 1)))
                made[table] += len(rows)
                rows.clear()
        return taken

    def _settled(self, orders: np.ndarray, ticks: np.ndarray) -> np.ndarray:
        """Those order updates of which the journal will not say more, with what it has said noted."""
        for entry in ticks:
            key = tuple(int(entry[name]) for name in ("strategy", "order_id", "req", "ts"))
            self._ticks[key] = int(entry["took"])
        every = np.concatenate([self._unsettled, orders])
        count = len(every) if self._finished else max(0, self._settled_orders - self._made["orders"])
        self._unsettled = every[count:]
        return every[:count]

    # --- a market within ------------------------------------------------------------------------

    def _show(self, entries: np.ndarray) -> None:
        if len(entries) == 0:
            return
        rows = np.zeros(len(entries), market_dtype)
        for name in ("ts", "instrument", "event"):
            rows[name] = entries[name]
        rows["seq"] = np.arange(self._seen + 1, self._seen + 1 + len(rows))
        self._seen += len(rows)
        self._shown = np.concatenate([self._shown, rows])

    def take_market(self) -> np.ndarray:
        """What the market within has shown since the last time: ``market_dtype``, counted from 1."""
        shown, self._shown = self._shown, np.empty(0, market_dtype)
        return shown
