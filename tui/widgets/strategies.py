"""Strategies with their state and parameters; the cursor says which one commands mean."""

from __future__ import annotations

from tui.format import value
from tui.store import Store
from tui.widgets.table import Cell, Column, Row, Table

_TONES = {"running": "buy", "paused": "warn", "stopping": "warn", "error": "bad"}


class Strategies(Table):
    """The strategies table; Enter opens the parameters of the selected one."""

    TITLE, KEY = "Strategies", "5"
    SECTIONS = ("strategies",)
    CURSOR = True
    EMPTY = "no strategies yet"
    COLUMNS = (
        Column("strategy"),
        Column("state"),
        Column("kind", leaves=4),
        Column("symbols", leaves=3),
        Column("message, parameters", leaves=1, stretch=True),
    )

    def detail(self, store: Store) -> str:
        """How many."""
        return str(len(store.strategies)) if store.strategies else ""

    def read(self, store: Store) -> None:
        """Takes in the strategies."""
        names = sorted(store.strategies)

        def row(index: int) -> Row:
            strategy = store.strategies[names[index]]
            params = " ".join(f"{param.name}={value(param.value)}" for param in strategy.params)
            # Where something is wrong, that is what one wants to read.
            message = " ".join(strategy.message.split())
            wrong = strategy.state.lower() == "error"
            details = f"{message}  {params}" if message else params
            return (
                Cell(strategy.strategy_id, "strong"),
                Cell(strategy.state, _TONES.get(strategy.state.lower(), "quiet")),
                strategy.kind,
                " ".join(strategy.symbols),
                Cell(details, "bad" if wrong else "" if message else "quiet"),
            )

        self.set_rows(len(names), row, names)
