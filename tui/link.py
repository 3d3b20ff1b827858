"""The connection to the bridge: feeds the store, reports its state, carries commands out and answers back.

The client heals gaps and reconnects; this keeps a client alive even where the server refused one for
good, because the daemon behind the endpoint may be replaced.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from bridge.aioclient import AsyncClient, ConnectionState
from bridge.errors import BridgeError, CommandRefused, ConnectionLost, RequestTimeout
from bridge.protocol import (
    CancelOrders,
    ControlReply,
    EmergencyStop,
    Pause,
    Resume,
    Snapshot,
    UpdateParams,
    depth_topic,
    trade_topic,
)
from tui.actions import Order
from tui.model import Answer, Outcome
from tui.store import Store

ANSWER_S = 2.0
"""How long an answer may take before the outcome counts as unknown."""
HEARTBEAT_MISSES = 8
"""A screen may be busy for longer than a trader may: 0.8 s of silence end the connection."""
AGAIN_S = 3.0
"""Pause before a new client is tried after a refusal that the old one took for final."""
UNANSWERED = "engine_timeout"
"""The bridge's code for a command that the engine did not answer."""

_METHODS: dict[type, str] = {
    Pause: "pause",
    Resume: "resume",
    EmergencyStop: "emergency_stop",
    CancelOrders: "cancel_orders",
    UpdateParams: "update_params",
}


class Link:
    """A client of the bridge in the service of a store.

    Args:
        store: What messages and states go to.
        endpoint: Base endpoint of the daemon.
        make_client: Makes the client; tests pass their own.
    """

    def __init__(
        self, store: Store, endpoint: str, make_client: Callable[..., AsyncClient] = AsyncClient
    ) -> None:
        self.store = store
        self.endpoint = endpoint
        self._make_client = make_client
        self._client: AsyncClient | None = None
        self._symbol = ""
        self._closed = asyncio.Event()

    async def run(self) -> None:
        """Stays connected until cancelled."""
        while True:
            self._closed.clear()
            client = self._make_client(
                self.endpoint, role="admin", name="tui", heartbeat_misses=HEARTBEAT_MISSES
            )
            client.on_state, client.on_message = self._state, self._message
            self._client = client
            try:
                client.subscribe_telemetry()
                self._subscribe(client, self._symbol)
                client.start()
                await self._closed.wait()
            finally:
                self._client = None
                client.on_state = lambda state, detail: None
                await client.close("leaving")
            await asyncio.sleep(AGAIN_S)

    def watch(self, symbol: str) -> None:
        """Subscribes to a symbol's depth and trades, and ends the one before."""
        if symbol == self._symbol:
            return
        old, self._symbol = self._symbol, symbol
        if self._client is not None:
            if old:
                self._client.unsubscribe(depth_topic(old), trade_topic(old))
            self._subscribe(self._client, symbol)

    @staticmethod
    def _subscribe(client: AsyncClient, symbol: str) -> None:
        if symbol:
            client.subscribe(depth_topic(symbol), trade_topic(symbol))

    def _state(self, state: ConnectionState, detail: str) -> None:
        if state is ConnectionState.CONNECTED:
            client = self._client
            if client is not None and client.welcome is not None:
                self.store.connected(client.welcome)
            return
        self.store.disconnected(detail or "no answer")
        if state is ConnectionState.CLOSED:
            self._closed.set()

    def _message(self, topic: str, message: Any) -> None:
        if type(message) is Snapshot:
            self.store.apply_snapshot(message)
        else:
            self.store.apply(message)

    async def execute(self, order: Order) -> Answer:
        """Carries a command out and says what became of it; never raises for what a server may do.

        Args:
            order: The command.

        Returns:
            The engine's answer; ``UNKNOWN`` where the command went out and no answer came back.
        """
        client = self._client
        if client is None or client.state is not ConnectionState.CONNECTED:
            return Answer(Outcome.NOT_SENT, "not sent: no connection to the engine")
        try:
            method = getattr(client, _METHODS[order.kind])
            reply: ControlReply = await method(**order.fields, timeout=ANSWER_S)
        except (RequestTimeout, ConnectionLost) as error:
            return _unknown(str(error))
        except CommandRefused as error:
            return (
                _unknown(str(error))
                if str(error).startswith(UNANSWERED)
                else Answer(Outcome.REFUSED, str(error))
            )
        except BridgeError as error:
            return Answer(Outcome.REFUSED, str(error))
        state = reply.strategy_state or reply.trading_state
        trading = f", trading {reply.trading_state}" if reply.strategy_state and reply.trading_state else ""
        said = reply.message or ("done" if reply.success else "refused")
        text = f"{said} ({state}{trading}, step {reply.step})"
        return Answer(Outcome.DONE if reply.success else Outcome.REFUSED, text)


def _unknown(why: str) -> Answer:
    return Answer(Outcome.UNKNOWN, f"outcome unknown: {why}; look before you repeat it")
