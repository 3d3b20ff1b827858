"""Control commands: what comes in on ``control_in``, what the engine does, what it answers.

A command is a CONTROL blob ``{"request_id": int, "command": str, "who": str, "at": int, ...}``: ``who`` sent
it, and ``at`` is the wall clock when the bridge took it, so that a journal of commands says so too. Fields
that are not given have their defaults; the rest are those of the bridge protocol's structs:

======================  =================================================================================
``pause``               ``strategy_id``: one strategy, or all if empty
``resume``              ``strategy_id``; empty also ends a halt
``emergency_stop``      ``cancel_orders`` (true), ``close_position`` (false)
``reduce_only``         until ``resume``, only orders that reduce a position pass
``cancel_orders``       ``strategy_id``, ``symbol``: empty means all
``update_params``       ``strategy_id``, ``params``
``update_risk_limits``  ``strategy_id`` (empty: over all), ``symbol``, and limits by their names, or as a
                        table ``limits``: null leaves one as it is
``query_limits``        ``strategy_id`` (empty: over all), ``symbol``: the reply's ``details`` have the limits
                        by symbol, those over everything under ""
``query_status``        ``strategy_id``: the strategy's state, or the engine's if empty
``reconfigure``         what an edited configuration changes, all or nothing: see runtime/reconfigure.py
``kill``                ``strategy_id`` or ``symbol``, both empty for everything; ``reason``: throws the
                        kill switch there: only cancels pass, until it is re-armed
``rearm``               ``switch``: the id of a thrown switch, as ``query_status`` tells it
``register``            ``strategy_id``, ``symbols`` (empty: all), ``params``: seats an external trader
``disconnect``          ``strategy_id``, ``policy``: an external trader has gone, its orders are cancelled
                        (or, by ``keep`` and ``reduce``, all or some of them stay)
``resync``              tells everything again: a STRATEGY record of each, all live orders, positions, and
                        the books as snapshots; the reply comes after all of it
``attempt``             ``what``: what the bridge has refused somebody; does nothing, and is recorded
``stop``                ends the daemon in good order
======================  =================================================================================

The answer is a REPLY blob: ``{"request_id", "success", "message", "strategy_state",
"trading_state", "current_params", "slot", "details", "journal_seq"}``, the last the number of the journal's
record that it follows from. The slot is that of the strategy named, null without
one; the header's ``step`` is the engine step that applied the command, before any other input of that step.
Operators are answered on ``control_out``, so that no flood of orders delays the answer; the bridge's own
commands (:data:`IN_ORDER`) on ``orders_out``, where the answer comes after all that the command has made.
Whoever throws or re-arms a switch is answered when the disk has it, see :mod:`engine.runtime.ledger`.

What a command has changed is told to ``on_change`` with a version, see :mod:`engine.runtime.changes`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from engine.core.errors import ConfigError
from engine.kernel import ControlResult, Kernel, StrategyInfo
from engine.risk.limits import UNLIMITED, RiskLimits
from engine.runtime.audit import Audit, who
from engine.runtime.changes import Change
from engine.runtime.lifting import lifted, limiting
from engine.runtime.reconfigure import Reconfigure
from engine.runtime.switches import as_plain, find
from engine.strategy.status import LatchInfo

LIMITS = RiskLimits.__struct_fields__
LIMITED_SYMBOLS = 64
"""Symbols whose limits one reply has room for."""
MAX_REASON = 500
MAX_SWITCHES = 64
"""Thrown switches that one reply has room for."""

PARAMS_BYTES = 16 * 1024
"""What the texts among a strategy's parameters share in a blob: longer ones are cut."""
MAX_DOC = 200
MAX_MESSAGE = 2000
MAX_STRATEGY_SWITCHES = 16
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
        on_change: Told each change, as it happens.
        on_log_level: Told the log level of an edited configuration.
        version: Of the last change before.
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
        on_change: Callable[[Change], None] = lambda change: None,
        on_log_level: Callable[[str], None] = lambda level: None,
        version: int = 0,
    ) -> None:
        self._kernel = kernel
        self._audit = Audit(kernel, on_change, version)
        self._resync_all, self._stop_all = resync, stop
        self._external, self._limits = external, limits
        self._on_register, self._on_log_level = on_register, on_log_level
        self._handlers: dict[str, Callable[[dict[str, Any]], ControlResult]] = {
            "pause": lambda m: kernel.pause(_text(m, "strategy_id")),
            "resume": lambda m: kernel.resume(_text(m, "strategy_id")),
            "emergency_stop": lambda m: kernel.emergency_stop(
                _flag(m, "cancel_orders", True), _flag(m, "close_position", False)
            ),
            "reduce_only": lambda m: kernel.reduce_only(),
            "cancel_orders": lambda m: kernel.cancel_orders(_text(m, "strategy_id"), _text(m, "symbol")),
            "update_params": lambda m: kernel.update_params(_text(m, "strategy_id"), _table(m, "params")),
            "update_risk_limits": self._limit,
            "query_limits": self._query_limits,
            "reconfigure": self._reconfigure,
            "query_status": self._query_status,
            "kill": self._kill,
            "rearm": self._rearm,
            "register": self._register,
            "disconnect": lambda m: kernel.disconnect_external(
                _text(m, "strategy_id"), _text(m, "policy") or "cancel"
            ),
            "resync": self._resync,
            "attempt": lambda m: self._say(True, _text(m, "what")),
            "stop": self._stop,
        }

    @property
    def version(self) -> int:
        """Of the last change."""
        return self._audit.version

    @version.setter
    def version(self, version: int) -> None:
        self._audit.version = version

    @property
    def external(self) -> tuple[bool, RiskLimits | None]:
        """Whether external traders may register, and the limits that each gets."""
        return self._external, self._limits

    @external.setter
    def external(self, terms: tuple[bool, RiskLimits | None]) -> None:
        self._external, self._limits = terms

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
            who(message)
            before = self._audit.values(message)
            result = self._audit.record(message, before, handler(message))
        except ConfigError as error:
            result = self._say(False, str(error))
        return self._reply(message, result)

    def failed(self, message: Any, error: Exception) -> dict[str, Any]:
        """The reply to a command that ended in a fault of ours.

        Args:
            message: The command.
            error: What it raised.
        """
        return self.answer(message, False, f"internal error: {type(error).__name__}: {error}")

    def answer(self, message: Any, success: bool, text: str) -> dict[str, Any]:
        """The reply to a command that somebody else has dealt with.

        Args:
            message: The command.
            success: Whether it was carried out.
            text: What became of it, for people.
        """
        return self._reply(message, self._say(success, text))

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
            "details": result.details,
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
        limits |= {name: value for name, value in _table(message, "limits").items() if value is not None}
        name, symbol = _text(message, "strategy_id"), _text(message, "symbol")
        return self._kernel.update_limits(name, symbol, **lifted(limits))

    def _query_limits(self, message: dict[str, Any]) -> ControlResult:
        name, symbol = _text(message, "strategy_id"), _text(message, "symbol")
        known = self._kernel.strategy(name).limits if name else over_all(self._kernel, symbol)
        if name and symbol and symbol not in known:
            raise ConfigError(f"{name} does not trade {symbol!r}")
        limits = {symbol: known[symbol]} if symbol else known
        shown = {
            one: {field: value for field in LIMITS if limiting(field, value := getattr(limit, field))}
            for one, limit in list(limits.items())[:LIMITED_SYMBOLS]
        }
        more = len(limits) - len(shown)
        result = self._kernel.query_status(name)
        text = f"{more} more symbols: name one to see its limits" if more else "ok"
        return result._replace(message=text, details={"limits": shown})

    def _reconfigure(self, message: dict[str, Any]) -> ControlResult:
        change = Reconfigure.of(message)
        change.check(self._kernel, self._limits)
        result = change.apply(self._kernel)
        if not result.success:
            return result
        if change.external_limits is not None:
            self._limits = change.external_limits
        if change.external_enabled is not None:
            self._external = change.external_enabled
        if change.log_level:
            self._on_log_level(change.log_level)
        return result

    def _query_status(self, message: dict[str, Any]) -> ControlResult:
        result = self._kernel.query_status(_text(message, "strategy_id"))
        return result._replace(details={"switches": as_plain(self._kernel.latches()[:MAX_SWITCHES])})

    def _kill(self, message: dict[str, Any]) -> ControlResult:
        name, symbol = _text(message, "strategy_id"), _text(message, "symbol")
        reason = _text(message, "reason")[:MAX_REASON]
        return self._kernel.kill(name, symbol, reason=reason, who=who(message))

    def _rearm(self, message: dict[str, Any]) -> ControlResult:
        info = find(self._kernel.latches(), _text(message, "switch"))
        strategy = info.name if info.scope == "strategy" else ""
        symbol = info.name if info.scope == "instrument" else ""
        return self._kernel.rearm(strategy, symbol, cause=info.cause, who=who(message))

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


def over_all(kernel: Kernel, symbol: str) -> dict[str, RiskLimits]:
    """The limits over all strategies: of a symbol, or of everything, as "", and all symbols that have some.

    Raises:
        ConfigError: There is no such symbol.
    """
    if symbol:
        return {symbol: kernel.limits_of("", symbol)}
    found = {one: kernel.limits_of("", one) for one in ("", *kernel.symbols)}
    return {one: limits for one, limits in found.items() if not one or limits != UNLIMITED}


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


def strategy_blob(info: StrategyInfo, thrown: Sequence[LatchInfo] = ()) -> dict[str, Any]:
    """What a STRATEGY blob says of a strategy.

    Args:
        info: The strategy.
        thrown: All switches that are; those of everything are told as the trading state.
    """
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
        "switches": [
            (one.scope, one.name, one.state, one.cause, one.who, one.reason[:MAX_MESSAGE])
            for one in thrown
            if (one.scope == "strategy" and one.name == info.name)
            or (one.scope == "instrument" and one.name in info.symbols)
        ][:MAX_STRATEGY_SWITCHES],
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
