"""A run repeated from its journal for what it put out: rows of orders, fills, positions, states and changes.

The engine tells nobody what it has done but those who trade with it; a journal holds inputs only. What they
led to is had by taking them in again, as a standby does, at the same place and with the same numbers every
time. When rows are taken does not change them: positions are looked at each time that the engine's clock
passes a whole interval, strategies and parameters after each input that might have changed them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from engine.backtest.recorder import Recorder
from engine.journal.reader import JournalReader
from engine.runtime.engine import EngineLoop
from engine.runtime.recovery import Beginning, Replay, private_loop, quiet_log
from engine.storage.rows import (
    PositionRows,
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

    Raises:
        JournalError: It does not reach back to the run's beginning.
        ConfigError: Its strategies are not here.
    """

    def __init__(self, directory: Path, begun: Beginning, interval_ns: int) -> None:
        begun.config.engine.result = ""
        loop = private_loop(begun.config, begun.switches, quiet_log())
        loop.version = begun.version
        self._loop, self._run_id, self._interval = loop, begun.run_id, interval_ns
        self._outputs = Recorder()
        loop.record_into(self._outputs)
        self._units = Units(begun.config.instruments)
        self._reader = JournalReader(directory, after=0)
        self._replay = _Watched(loop, self._reader)
        self._positions = PositionRows(loop.kernel, begun.run_id)
        self._boundary = 0
        self._made = dict.fromkeys(("orders", "fills", "strategy_status", "params_log"), 0)

    @property
    def ended(self) -> bool:
        """Whether the run has ended in good order, and all of it has been taken in."""
        return self._replay.reached().ended

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

    def _look(self, ts: int) -> None:
        self._replay.look()
        self._positions.sample(ts)

    @property
    def made(self) -> int:
        """Order updates that wait to be taken."""
        return self._outputs.counts[1]

    def take(self) -> list[tuple[str, Rows]]:
        """What there is since the last time, by table."""
        made, run = self._made, self._run_id
        names = self._loop.kernel.strategy_names
        fills, orders = self._outputs.take()
        taken: list[tuple[str, Rows]] = []
        if len(orders):
            taken.append(("orders", order_rows(orders, self._units, names, run, made["orders"] + 1)))
            made["orders"] += len(orders)
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
