"""Strategies with their state and parameters; the cursor says which one commands mean."""

from __future__ import annotations

from bridge.protocol import StrategyStatus, SwitchInfo
from tui.format import value
from tui.store import Store
from tui.widgets.table import Cell, Column, Row, Table

KILLED = "KILLED"
_TONES = {"running": "buy", "paused": "warn", "stopping": "warn", "error": "bad"}


def hold(strategy: StrategyStatus) -> str:
    """What its thrown switches make of a strategy: KILLED, HALTED, REDUCING, or nothing."""
    if any(switch.cause == "kill_switch" for switch in strategy.switches):
        return KILLED
    states = {switch.state for switch in strategy.switches}
    return "HALTED" if "HALTED" in states else min(states, default="")


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
        """How many, and how many of them are held by a switch."""
        held = sum(bool(one.switches) for one in store.strategies.values())
        told = f", {held} held" if held else ""
        return f"{len(store.strategies)}{told}" if store.strategies else ""

    def read(self, store: Store) -> None:
        """Takes in the strategies."""
        names = sorted(store.strategies)

        def row(index: int) -> Row:
            strategy = store.strategies[names[index]]
            params = " ".join(f"{param.name}={value(param.value)}" for param in strategy.params)
            # Where something is wrong, that is what one wants to read.
            message = " ".join(strategy.message.split())
            held = hold(strategy)
            if held:
                said = ", ".join(_switch(switch) for switch in strategy.switches)
                message = f"{strategy.state}, but {said}  {message}".rstrip()
            wrong = strategy.state.lower() == "error" or bool(held)
            details = f"{message}  {params}" if message else params
            return (
                Cell(strategy.strategy_id, "strong"),
                Cell(held or strategy.state, "bad" if held else _TONES.get(strategy.state.lower(), "quiet")),
                strategy.kind,
                " ".join(strategy.symbols),
                Cell(details, "bad" if wrong else "" if message else "quiet"),
            )

        self.set_rows(len(names), row, names)


def _switch(switch: SwitchInfo) -> str:
    place = f"{switch.name} " if switch.scope == "instrument" else ""
    reason = f": {' '.join(switch.reason.split())}" if switch.reason else ""
    return f"{place}{switch.state} by {switch.cause}, set by {switch.who or 'nobody named'}{reason}"
