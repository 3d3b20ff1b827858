"""Sees what a command changes, gives it a version and tells it on: see :mod:`engine.runtime.changes`."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

from msgspec.structs import asdict

from engine.core.errors import ConfigError
from engine.kernel import ControlResult, Kernel
from engine.risk.limits import RiskLimits
from engine.runtime.changes import Change, differences, moment
from engine.runtime.lifting import limiting

MAX_TEXT = 2000
MAX_WHO = 128
RECORDED = frozenset(
    {"pause", "resume", "emergency_stop", "reduce_only", "cancel_orders", "kill", "rearm", "attempt"}
)
"""Commands that are recorded as such when they were done; others by the values that they changed."""

EVERYTHING = "everything"
"""What stands for a symbol in the record where limits are over all of them."""

Values = dict[tuple[str, str], dict[str, Any]]
"""By kind of value and strategy: parameters by name, limits by symbol; of no strategy, limits over all."""


class Audit:
    """Compares a kernel before and after a command.

    Args:
        kernel: The kernel, between two inputs.
        on_change: Told each change, as it happens.
        version: Of the last change before.
    """

    def __init__(self, kernel: Kernel, on_change: Callable[[Change], None], version: int) -> None:
        self.version = version
        self._kernel, self._on_change = kernel, on_change

    def values(self, message: dict[str, Any]) -> Values:
        """The present values of all that a command might change.

        Args:
            message: The command.
        """
        command, name = message["command"], message.get("strategy_id")
        params: list[Any] = [name] if command == "update_params" else []
        limits: list[Any] = [name] if command == "update_risk_limits" else []
        known = self._kernel.strategy_names
        over_all = [message.get("symbol", "")] if command == "update_risk_limits" and not name else []
        if command == "reconfigure":
            params, limits = _keys(message.get("params")), _keys(message.get("limits"))
            if message.get("external_limits") is not None:
                limits = list(known)
            over_all = _keys(message.get("risk"))
        found: Values = {("params", one): dict(self._kernel.params(one)) for one in known if one in params}
        found |= {("limits", one): self._kernel.strategy(one).limits for one in known if one in limits}
        places = [one for one in ("", *self._kernel.symbols) if one in over_all]
        if places:
            found["limits", ""] = {one or EVERYTHING: self._kernel.limits_of("", one) for one in places}
        return found

    def record(self, message: dict[str, Any], before: Values, result: ControlResult) -> ControlResult:
        """Records what has changed.

        Args:
            message: The command, which has been carried out.
            before: What :meth:`values` said before it.
            result: Its result.

        Returns:
            The result; its message says the versions of what was recorded.
        """
        first = self.version + 1
        for (kind, name), now in self.values(message).items():
            values = _changed(kind, before[kind, name], now)
            if values:
                self._change(message, kind, name, values, result.message)
        command = message["command"]
        if command in RECORDED and result.success:
            self._change(message, command, message.get("strategy_id", ""), {}, result.message)
        if self.version < first:
            return result
        versions = f"version {first}" if self.version == first else f"versions {first} to {self.version}"
        return result._replace(message=f"{result.message} ({versions})")

    def _change(
        self, message: dict[str, Any], kind: str, name: str, values: dict[str, tuple[Any, Any]], text: str
    ) -> None:
        at = message.get("at")
        self.version += 1
        self._on_change(
            Change(
                version=self.version,
                ts=moment(at if isinstance(at, int) and 0 < at < 2**63 else time.time_ns()),
                step=self._kernel.step,
                who=who(message),
                kind=kind,
                strategy=name,
                values={key: (_json(old), _json(new)) for key, (old, new) in values.items()},
                message=text[:MAX_TEXT],
            )
        )


def who(message: dict[str, Any]) -> str:
    """Who sent a command.

    Raises:
        ConfigError: It is no text.
    """
    value = message.get("who", "")
    if not isinstance(value, str):
        raise ConfigError(f"who: expected text, not {type(value).__name__}")
    return value[:MAX_WHO] or "unknown"


def _keys(table: Any) -> list[Any]:
    """A table's keys; whether it is one is checked elsewhere."""
    return list(table) if isinstance(table, dict) else []


def _changed(kind: str, before: dict[str, Any], now: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Old and new values by name; of limits by symbol and name."""
    if kind == "params":
        return differences(before, now)
    return {
        f"{symbol}.{name}": change
        for symbol, limits in now.items()
        if limits != before[symbol]
        for name, change in differences(_set(before[symbol]), _set(limits)).items()
    }


def _set(limits: RiskLimits) -> dict[str, Any]:
    """The limits that limit anything; the others are None."""
    return {name: value if limiting(name, value) else None for name, value in asdict(limits).items()}


def _json(value: Any) -> Any:
    """A value as the record has it: whatever a strategy has put into its attributes."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, bool | float | str):
        return value
    if isinstance(value, int):
        return value if -(2**63) <= value < 2**64 else str(value)
    if isinstance(value, list | tuple):
        return [_json(item) for item in value]
    try:
        return str(value)[:MAX_TEXT]
    except Exception as error:
        return f"{type(value).__name__} without a text: {type(error).__name__}"
