"""States of strategies and of trading: one table of every transition there is, and the reason for any other.

A table's row is an action; it leads from each state that it names to another. What no row has is refused.
An action whose end is the present state already changes nothing: commands may be repeated.
"""

from __future__ import annotations

from engine.core.errors import IllegalTransition
from engine.strategy.status import STATE_NAMES

STRATEGY_MOVES: dict[str, dict[str, str]] = {
    "start": {"Starting": "Running"},
    "pause": {"Running": "Paused"},
    "resume": {"Paused": "Running"},
    "stop": {"Starting": "Stopping", "Running": "Stopping", "Paused": "Stopping"},
    "finish": {"Stopping": "Stopped"},
    "fail": {"Starting": "Error", "Running": "Error", "Paused": "Error", "Stopping": "Error"},
    # Of external strategies: their trader comes, goes, and may come back to its position.
    "connect": {"Starting": "Running", "Stopped": "Running"},
    "disconnect": {"Running": "Stopped", "Paused": "Stopped"},
}
"""What may become of a strategy, by action and present state.

Error is final, and Stopped is for all but external ones.
"""

TRADING_MOVES: dict[str, dict[str, str]] = {
    "halt": {"ACTIVE": "HALTED", "REDUCING": "HALTED"},
    # From a halt too: positions may be closed by hand before trading is resumed.
    "reduce": {"ACTIVE": "REDUCING", "HALTED": "REDUCING"},
    "resume": {"REDUCING": "ACTIVE", "HALTED": "ACTIVE"},
}
"""What may become of trading as a whole, by action and present state."""

TRADING_NAMES = ("ACTIVE", "REDUCING", "HALTED")
"""Names of trading states by ``TradingState``."""


def next_state(moves: dict[str, dict[str, str]], action: str, state: str, who: str) -> str:
    """Where an action leads.

    Args:
        moves: One of the two tables.
        action: A row of it.
        state: The present state.
        who: Whose state it is, for the message.

    Raises:
        IllegalTransition: The table has no such transition; the message says which states it takes.
    """
    row = moves[action]
    if state not in row:
        raise IllegalTransition(f"{who} is {state}: {action} needs {' or '.join(row)}")
    return row[state]


def may(action: str, state: int) -> bool:
    """Whether a strategy in a state (a ``StrategyState``) may take an action."""
    return STATE_NAMES[state] in STRATEGY_MOVES[action]


def next_strategy(action: str, state: int, name: str) -> int:
    """:func:`next_state` of a strategy, with states by ``StrategyState``."""
    return STATE_NAMES.index(next_state(STRATEGY_MOVES, action, STATE_NAMES[state], name))


def next_trading(action: str, state: int) -> int:
    """:func:`next_state` of trading, by ``TradingState``; the present state if it is the end already."""
    present = TRADING_NAMES[state]
    if present in TRADING_MOVES[action].values():
        return state
    return TRADING_NAMES.index(next_state(TRADING_MOVES, action, present, "trading"))
