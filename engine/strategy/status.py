"""What the kernel answers when it is asked or told something: names of states, answers, descriptions."""

from __future__ import annotations

import inspect
import traceback
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Literal, NamedTuple

import msgspec

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
        details: What else was asked for, as plain values.
    """

    success: bool
    message: str
    strategy_state: str
    trading_state: str
    current_params: dict[str, Any]
    details: dict[str, Any] = {}


class LatchInfo(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One latch that is set: what was stopped, by what, since when. Plain values, to be kept and restored.

    Attributes:
        scope: ``global``, ``strategy`` or ``instrument``.
        name: The strategy's name or the symbol; empty for ``global``.
        cause: The reason that its denials give, such as ``kill_switch``.
        state: What it puts the scope into: HALTED or REDUCING.
        ts: Engine time at which it was set, nanoseconds.
        limit: The limit that was passed; 0 of a kill switch.
        actual: The value that passed it; 0 of a kill switch.
        reason: Why, in the words of whoever set it.
        who: Who set it; ``risk`` for a breaker.
    """

    scope: Literal["global", "strategy", "instrument"]
    name: str
    cause: str
    state: Literal["HALTED", "REDUCING"]
    ts: int
    limit: float = 0.0
    actual: float = 0.0
    reason: str = ""
    who: str = ""

    def line(self) -> str:
        """What it says, in one line."""
        what = f"{self.scope} {self.name}" if self.name else self.scope
        value = f" ({self.actual:g}, limit {self.limit:g})" if self.limit or self.actual else ""
        said = f": {self.reason}" if self.reason else ""
        return f"{what} {self.state} by {self.cause}{value}, set by {self.who or 'nobody named'}{said}"


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


class StrategyWarning(RuntimeWarning):
    """A strategy raised in a backtest that went on without it: see ``BacktestResult.failures``."""


class StrategyFailure(NamedTuple):
    """What a strategy raised, which stopped it.

    Attributes:
        strategy: Its name.
        ts: Engine time, nanoseconds.
        callback: The callback that raised, such as ``on_book``.
        message: The exception in one line, as at the end of a traceback.
        where: ``file:line``, the last line of the strategy's own file that was reached.
        traceback: All of it, from the callback on.
    """

    strategy: str
    ts: int
    callback: str
    message: str
    where: str
    traceback: str

    def line(self) -> str:
        """All but the traceback, in one line."""
        when = datetime.fromtimestamp(self.ts // 10**9, UTC)
        return (
            f"strategy {self.strategy} raised {self.message} in {self.callback} "
            f"at {when:%Y-%m-%dT%H:%M:%S}.{self.ts % 10**9:09}Z ({self.where})"
        )


def failure(name: str, ts: int, callback: str, method: Any, error: BaseException) -> StrategyFailure:
    """Describes an exception that came out of a callback.

    Args:
        name: The strategy's name.
        ts: Engine time.
        callback: Name of the callback.
        method: The function that it is in the strategy's class.
        error: What was raised.
    """
    first = _theirs(error.__traceback__)
    frames = traceback.extract_tb(first)
    if frames:
        # An exception out of a library is told by the line that called the library.
        frame = [frame for frame in frames if frame.filename == frames[0].filename][-1]
        where = f"{frame.filename}:{frame.lineno}"
    else:
        code = getattr(inspect.unwrap(method), "__code__", None)
        where = f"{code.co_filename}:{code.co_firstlineno}" if code else ""
    text = "".join(traceback.format_exception(type(error), error, first or error.__traceback__))
    message = " ".join("".join(traceback.format_exception_only(error)).split("\n")).strip()
    return StrategyFailure(name, ts, callback, message, where, text)


def _theirs(trace: TracebackType | None) -> TracebackType | None:
    """The traceback from the callback on, without our compiled frames before it."""
    while trace is not None and trace.tb_frame.f_code.co_filename.endswith(".pyx"):
        trace = trace.tb_next
    return trace
