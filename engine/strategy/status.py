"""What the kernel answers when it is asked or told something: names of states, answers, descriptions."""

from __future__ import annotations

from typing import Any, NamedTuple

from engine.risk.limits import RiskLimits
from engine.strategy.params import ParamSpec

STATE_NAMES = ("Starting", "Running", "Paused", "Stopping", "Stopped", "Error")
"""Names of strategy states on the wire, by ``StrategyState``."""
KIND_NAMES = ("python", "native", "external")
"""Names of kinds of strategies on the wire, by ``StrategyKind``."""


class ControlResult(NamedTuple):
    """The answer to a control command.

    Attributes:
        success: Whether it was done.
        message: What was done, or why not.
        strategy_state: The state of the strategy that it named; empty if it named none.
        trading_state: ACTIVE, REDUCING or HALTED.
        current_params: The strategy's parameters after it.
    """

    success: bool
    message: str
    strategy_state: str
    trading_state: str
    current_params: dict[str, Any]


class StrategyInfo(NamedTuple):
    """A strategy as it is now.

    Attributes:
        name: Its name.
        slot: Its number in outputs and records.
        kind: ``python``, ``native`` or ``external``.
        state: A name of ``STATE_NAMES``.
        message: What its last change of state said.
        symbols: What it trades.
        params: Present values.
        specs: Declared parameters; of an external strategy, made from what it registered.
        limits: ``RiskLimits`` by symbol.
        traceback: Of the exception that put it into Error; empty without one.
    """

    name: str
    slot: int
    kind: str
    state: str
    message: str
    symbols: tuple[str, ...]
    params: dict[str, Any]
    specs: dict[str, ParamSpec]
    limits: dict[str, RiskLimits]
    traceback: str
