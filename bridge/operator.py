"""The commands of the blocking client: what operators do, and a trader's own kill switch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bridge import protocol as p
from bridge.base import limits_message


class Operator:
    """Commands, answered by a :class:`bridge.protocol.ControlReply`; all raise as :meth:`query_status`."""

    def _control(self, make: Callable[[int], Any], timeout: float, channel: str = "control") -> Any:
        raise NotImplementedError

    def _kill_place(self) -> tuple[str, str]:
        raise NotImplementedError

    def pause(self, strategy_id: str = "", timeout: float = 2.0) -> p.ControlReply:
        """No new orders of a strategy, of all if unnamed. Raises as :meth:`query_status`."""
        return self._control(lambda i: p.Pause(i, strategy_id), timeout)

    def resume(self, strategy_id: str = "", timeout: float = 2.0) -> p.ControlReply:
        """Lets a strategy (all, and a halted engine, if unnamed) trade again."""
        return self._control(lambda i: p.Resume(i, strategy_id), timeout)

    def emergency_stop(
        self, cancel_orders: bool = True, close_position: bool = False, timeout: float = 2.0
    ) -> p.ControlReply:
        """Halts all trading; only cancels are accepted afterwards."""
        return self._control(lambda i: p.EmergencyStop(i, cancel_orders, close_position), timeout)

    def cancel_orders(self, strategy_id: str = "", symbol: str = "", timeout: float = 2.0) -> p.ControlReply:
        """Cancels the live orders of a strategy or of all, in one symbol or in all."""
        return self._control(lambda i: p.CancelOrders(i, strategy_id, symbol), timeout)

    def update_params(self, strategy_id: str, params: dict[str, Any], timeout: float = 2.0) -> p.ControlReply:
        """Changes parameters, all or none of them."""
        return self._control(lambda i: p.UpdateParams(i, strategy_id, params), timeout)

    def update_risk_limits(
        self, strategy_id: str = "", symbol: str = "", *, timeout: float = 2.0, **limits: Any
    ) -> p.ControlReply:
        """Changes limits by their names, such as ``max_position``; infinity lifts one.

        Without a strategy those over all strategies are meant: in the symbol, or over everything.
        """
        return self._control(lambda i: limits_message(i, strategy_id, symbol, limits), timeout)

    def reduce_only(self, timeout: float = 2.0) -> p.ControlReply:
        """Until ``resume``, only orders that reduce a position pass."""
        return self._control(lambda i: p.ReduceOnly(i), timeout)

    def kill(
        self, strategy_id: str = "", symbol: str = "", reason: str = "", timeout: float = 5.0
    ) -> p.ControlReply:
        """Throws the kill switch of a strategy, of an instrument, or of everything; it stays thrown.

        A trader may throw that of its own strategy. Answered once the switch would survive a restart.
        """
        channel, own = self._kill_place()
        return self._control(lambda i: p.Kill(i, strategy_id or own, symbol, reason), timeout, channel)

    def rearm(self, switch: str, token: str = "", timeout: float = 5.0) -> p.ControlReply:
        """Takes a thrown switch back, by the id that ``query_status`` has in ``details["switches"]``."""
        return self._control(lambda i: p.Rearm(i, switch, token), timeout)

    def query_limits(self, strategy_id: str = "", symbol: str = "", timeout: float = 2.0) -> p.ControlReply:
        """The limits of a strategy, or over all of them, by symbol in ``details["limits"]``."""
        return self._control(lambda i: p.QueryLimits(i, strategy_id, symbol), timeout)

    def query_status(self, strategy_id: str = "", timeout: float = 2.0) -> p.ControlReply:
        """The state of a strategy, or of the engine.

        A reply whose ``success`` is false is returned, not raised: its message says why.

        Raises:
            RequestTimeout: No reply in time; what became of the command is unknown.
            ConnectionLost: Not connected, or the connection broke meanwhile.
            CommandRefused: The bridge refused the command, or the client is no admin.
        """
        return self._control(lambda i: p.QueryStatus(i, strategy_id), timeout)
