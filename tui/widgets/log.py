"""The log: the engine's lines and our own commands with their answers, newest first."""

from __future__ import annotations

from tui.format import time_of_day
from tui.store import Store
from tui.widgets.table import Cell, Column, Row, Table

_TONES = {"debug": "quiet", "warning": "warn", "error": "bad"}


class LogView(Table):
    """The log table."""

    TITLE, KEY, AGES = "Log", "6", "everything"
    SECTIONS = ("log",)
    COLUMNS = (
        Column("time UTC", leaves=2),
        Column("level", leaves=3),
        Column("source", leaves=1),
        Column("message", stretch=True),
    )

    def read(self, store: Store) -> None:
        """Takes in the log."""
        lines = list(store.log)
        lines.reverse()

        def row(index: int) -> Row:
            line = lines[index]
            tone = _TONES.get(line.level, "")
            return (
                Cell(time_of_day(line.ts, millis=False), "quiet"),
                Cell(line.level.upper(), tone),
                Cell(line.source, "quiet"),
                Cell(" ".join(line.text.split()), tone),
            )

        self.set_rows(len(lines), row)
