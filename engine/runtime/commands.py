"""Control commands: what comes in on ``control_in``, what the engine does, what it answers.

A command is a CONTROL blob ``{"request_id": int, "command": str, ...}``. Fields that are not given have
their defaults; the rest are those of the bridge protocol's structs:

======================  =================================================================================
``pause``               ``strategy_id``: one strategy, or all if empty
``resume``              ``strategy_id``; empty also ends a halt
``emergency_stop``      ``cancel_orders`` (true), ``close_position`` (false)
``cancel_orders``       ``strategy_id``, ``symbol``: empty means all
``update_params``       ``strategy_id``, ``params``
``update_risk_limits``  ``strategy_id``, ``symbol``, ``max_position``, ``max_order_qty``, ``max_notional``,
                        ``max_open_orders``: null leaves one as it is
``query_status``        ``strategy_id``: the strategy's state, or the engine's if empty
``register``            ``strategy_id``, ``symbols`` (empty: all), ``params``: seats an external trader
``disconnect``          ``strategy_id``: an external trader has gone, its orders are cancelled
``resync``              tells everything again: a STRATEGY record of each, all live orders, positions, and
                        the books as snapshots; the reply comes after all of it
``stop``                ends the daemon in good order
======================  =================================================================================

The answer is a REPLY blob: ``{"request_id", "success", "message", "strategy_state",
"trading_state", "current_params", "slot"}``. The slot is that of the strategy named, null without one; the
header's ``step`` is the engine step that applied the command, before any other input of that step. Operators
are answered on ``control_out``, so that no flood of orders delays the answer; the bridge's own commands
(:data:`IN_ORDER`) on ``orders_out``, where the answer comes after all that the command has made.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from engine.core.errors import ConfigError
from engine.kernel import ControlResult, Kernel, StrategyInfo
from engine.risk.limits import RiskLimits

LIMITS = ("max_position", "max_order_qty", "max_notional", "max_open_orders")


PARAMS_BYTES = 16 * 1024
"""What the texts among a strategy's parameters share in a blob: longer ones are cut."""
MAX_DOC = 200
MAX_MESSAGE = 2000
IN_ORDER = frozenset({"register", "disconnect", "resync"})
"""Commands whose reply keeps its place among the orders."""


class Commands:
    """Carries commands out on a kernel.

    Args:
        kernel: The kernel, between two inputs.
        resync: Tells everything again; False when there is no room for it.
        stop: Asks for the daemon's end.
        external: Whether external traders may register.
        limits: Risk limits that each of them gets.
        on_register: Told the name and slot of an external trader.
    """

    def __init__(
        self,
        kernel: Kernel,
        *,
        resync: Callable[[], bool],
        stop: Callable[[], None],
        external: bool = True,
        limits: RiskLimits | None = None,
        on_register: Callable[[str, int], None] = lambda name, slot: None,
    ) -> None:
        self._kernel = kernel
        self._resync_all, self._stop_all = resync, stop
        self._external, self._limits = external, limits
        self._on_register = on_register
        self._handlers: dict[str, Callable[[dict[str, Any]], ControlResult]] = {
            "pause": lambda m: kernel.pause(_text(m, "strategy_id")),
            "resume": lambda m: kernel.resume(_text(m, "strategy_id")),
            "emergency_stop": lambda m: kernel.emergency_stop(
                _flag(m, "cancel_orders", True), _flag(m, "close_position", False)
            ),
            "cancel_orders": lambda m: kernel.cancel_orders(_text(m, "strategy_id"), _text(m, "symbol")),
            "update_params": lambda m: kernel.update_params(_text(m, "strategy_id"), _table(m, "params")),
            "update_risk_limits": self._limit,
            "query_status": lambda m: kernel.query_status(_text(m, "strategy_id")),
            "register": self._register,
            "disconnect": lambda m: kernel.disconnect_external(_text(m, "strategy_id")),
            "resync": self._resync,
            "stop": self._stop,
        }

    def handle(self, message: Any) -> dict[str, Any]:
        """Carries one command out.

        Args:
            message: The decoded blob.

        Returns:
            What the REPLY blob holds. A command that is malformed or unknown is answered, never raised.
        """
        try:
            if not isinstance(message, dict):
                raise ConfigError("a command is a table")
            handler = self._handlers.get(str(message.get("command", "")))
            if handler is None:
                raise ConfigError(f"unknown command {message.get('command')!r}")
            result = handler(message)
        except ConfigError as error:
            result = self._say(False, str(error))
        return self._reply(message, result)

    def failed(self, message: Any, error: Exception) -> dict[str, Any]:
        """The reply to a command that ended in a fault of ours.

        Args:
            message: The command.
            error: What it raised.
        """
        return self._reply(message, self._say(False, f"internal error: {type(error).__name__}: {error}"))

    def _reply(self, message: Any, result: ControlResult) -> dict[str, Any]:
        request_id = message.get("request_id") if isinstance(message, dict) else None
        return {
            "request_id": request_id if isinstance(request_id, int) else 0,
            "success": result.success,
            "message": result.message[:MAX_MESSAGE],
            "strategy_state": result.strategy_state,
            "trading_state": result.trading_state,
            "current_params": sendable(result.current_params),
            "slot": self._slot(message),
        }

    def _say(self, success: bool, message: str) -> ControlResult:
        return ControlResult(success, message, "", self._kernel.trading_state.name, {})

    def _slot(self, message: Any) -> int | None:
        name = message.get("strategy_id") if isinstance(message, dict) else None
        if not isinstance(name, str) or name not in self._kernel.strategy_names:
            return None
        return self._kernel.slot(name)

    def _limit(self, message: dict[str, Any]) -> ControlResult:
        limits = {name: message[name] for name in LIMITS if message.get(name) is not None}
        for name, value in limits.items():
            if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
                raise ConfigError(f"{name}: {value!r} is not a number")
        return self._kernel.update_limits(_text(message, "strategy_id"), _text(message, "symbol"), **limits)

    def _register(self, message: dict[str, Any]) -> ControlResult:
        if not self._external:
            raise ConfigError("this daemon takes no external traders (external.enabled = false)")
        symbols = message.get("symbols") or self._kernel.symbols
        if not isinstance(symbols, list | tuple) or not all(isinstance(s, str) for s in symbols):
            raise ConfigError("symbols: expected a list of names")
        name = _text(message, "strategy_id")
        result = self._kernel.register_external(name, tuple(symbols), _table(message, "params"), self._limits)
        if result.success:
            self._on_register(name, self._kernel.slot(name))
        return result

    def _resync(self, message: dict[str, Any]) -> ControlResult:
        if self._resync_all():
            return self._say(True, "told again")
        return self._say(False, "busy: the rings have no room for everything, ask again")

    def _stop(self, message: dict[str, Any]) -> ControlResult:
        self._stop_all()
        return self._say(True, "stopping")


def sendable(params: dict[str, Any]) -> dict[str, Any]:
    """Parameters as plain values of bounded size, whatever a strategy has put into its attributes.

    Args:
        params: Names and present values.

    Returns:
        Truth values, numbers of 64 bits and texts; anything else as the text that Python has for it.
    """
    most = max(16, PARAMS_BYTES // max(1, len(params)))
    return {name: _plain(value, most) for name, value in params.items()}


def _plain(value: Any, most: int) -> bool | int | float | str:
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, int | np.integer) and -(2**63) <= value < 2**63:
        return int(value)
    if isinstance(value, float | np.floating):
        return float(value)
    try:
        text = value if isinstance(value, str) else repr(value)
    except Exception as error:
        text = f"{type(value).__name__} without a text: {type(error).__name__}"
    return text.encode("utf-8", "backslashreplace")[:most].decode(errors="ignore")


def strategy_blob(info: StrategyInfo) -> dict[str, Any]:
    """What a STRATEGY blob says of a strategy."""
    values = sendable(info.params)
    return {
        "strategy_id": info.name,
        "kind": info.kind,
        "state": info.state,
        "message": info.message[:MAX_MESSAGE],
        "symbols": list(info.symbols),
        "params": [
            {
                "name": name,
                "kind": spec.kind,
                "value": values[name],
                "ge": spec.ge,
                "le": spec.le,
                "doc": spec.doc[:MAX_DOC],
            }
            for name, spec in info.specs.items()
        ],
    }


def _text(message: dict[str, Any], name: str) -> str:
    value = message.get(name, "")
    if not isinstance(value, str):
        raise ConfigError(f"{name}: expected text, not {type(value).__name__}")
    return value


def _flag(message: dict[str, Any], name: str, default: bool) -> bool:
    value = message.get(name, default)
    if not isinstance(value, bool):
        raise ConfigError(f"{name}: expected true or false, not {type(value).__name__}")
    return value


def _table(message: dict[str, Any], name: str) -> dict[str, Any]:
    value = message.get(name, {})
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise ConfigError(f"{name}: expected a table")
    return value
