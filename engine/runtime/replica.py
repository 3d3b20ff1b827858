"""A run repeated from its journal for what it put out: rows of orders, fills, positions, states and changes.

The engine tells nobody what it has done but those who trade with it; a journal holds inputs only. What they
led to is had by taking them in again, as a standby does, at the same place and with the same numbers every
time; so is the market of an engine that has it within. When rows are taken does not change them: positions
are looked at each time that the engine's clock passes a whole interval, strategies and parameters after each
input that might have changed them, and updates of orders wait for the input behind them, before which the
journal says how long requests took.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from engine.backtest.recorder import Recorder, order_entry_dtype
from engine.journal.reader import JournalReader, market_dtype
from engine.runtime.engine import EngineLoop
from engine.runtime.recovery import Beginning, Replay, private_loop, quiet_log
from engine.storage.rows import (
    PositionRows,
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

    Raises:
        JournalError: It does not reach back to the run's beginning.
        ConfigError: Its strategies are not here.
    """

    def __init__(self, directory: Path, begun: Beginning, interval_ns: int, *, market: bool = True) -> None:
        begun.config.engine.result = ""
        loop = private_loop(begun.config, begun.switches, quiet_log())
        loop.version = begun.version
        self._loop, self._run_id, self._interval = loop, begun.run_id, interval_ns
        self._outputs = Recorder(market=market and begun.config.feed.kind == "market")
        loop.record_into(self._outputs)
        self._units = Units(begun.config.instruments)
        self._reader = JournalReader(directory, after=0)
        self._replay = _Watched(loop, self._reader)
        self._positions = PositionRows(loop.kernel, begun.run_id)
        self._boundary = 0
        self._made = dict.fromkeys(("orders", "fills", "strategy_status", "params_log"), 0)
        self._shown = np.empty(0, market_dtype)
        self._seen = 0
        self._unsettled = np.empty(0, order_entry_dtype)
        self._ticks: dict[Request, int] = {}
        self._finished = False

    @property
    def ended(self) -> bool:
        """Whether the run has ended in good order, and all of it has been taken in."""
        return self._replay.ended

    @property
    def settled_seq(self) -> int:
        """The last record of which, and of all before it, everything may be taken."""
        return self._replay.reached().seq if self._finished else self._replay.settled_seq

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
        count = len(every) if self._finished else max(0, self._replay.settled - self._made["orders"])
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
