"""The connection to the bridge: a thread with a loop of its own, an inbox, and commands with their answers.

The thread keeps heartbeats going while the screen is busy with a dialog. It only collects: the store is
written by the screen's own thread, in :meth:`Link.drain`, so nothing here needs a lock. The client heals
gaps and reconnects; this makes a new one even where the server refused the old one for good, because the
daemon behind the endpoint may be replaced.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from bridge.aioclient import AsyncClient, ConnectionState
from bridge.errors import BridgeError, CommandRefused, ConnectionLost, NotDurable, RequestTimeout
from bridge.protocol import (
    TELEMETRY_TOPICS,
    CancelOrders,
    ControlReply,
    EmergencyStop,
    Kill,
    Pause,
    QueryLimits,
    QueryStatus,
    Rearm,
    Resume,
    Snapshot,
    UpdateParams,
    UpdateRiskLimits,
    Welcome,
    depth_topic,
    trade_topic,
)
from tui.actions import Order
from tui.model import Answer, Outcome
from tui.store import Store

ANSWER_S = 2.0
"""How long an answer may take before the outcome counts as unknown."""
HEARTBEAT_MISSES = 15
"""A screen may be busy for longer than a trader may: 1.5 s of silence end the connection."""
AGAIN_S = 3.0
"""Pause before a new client is tried after a refusal that the old one took for final."""
DRAIN_S = 0.05
"""Time that the screen's thread gives to messages ten times a second."""
INBOX = 100_000
"""Messages that may wait for the screen; beyond, streams begin again with snapshots."""
LEAVE_S = 2.0
"""How long leaving waits for the goodbye to be sent."""
NO_CONNECTION = Answer(Outcome.NOT_SENT, "not sent: no connection to the engine")
UNANSWERED = "engine_timeout"
"""The bridge's code for a command that the engine did not answer."""

_METHODS: dict[type, str] = {
    Pause: "pause",
    Resume: "resume",
    EmergencyStop: "emergency_stop",
    CancelOrders: "cancel_orders",
    UpdateParams: "update_params",
    UpdateRiskLimits: "update_risk_limits",
    QueryLimits: "query_limits",
    QueryStatus: "query_status",
    Kill: "kill",
    Rearm: "rearm",
}


class Link:
    """A client of the bridge in the service of a store.

    Args:
        store: What messages and states go to.
        endpoint: Base endpoint of the daemon.
        make_client: Makes the client; tests pass their own.
        role: The role to ask for: ``observer`` watches only.
        key_file: Our key, where the daemon has keys.
    """

    def __init__(
        self,
        store: Store,
        endpoint: str,
        make_client: Callable[..., AsyncClient] = AsyncClient,
        *,
        role: str = "admin",
        key_file: Any = "",
    ) -> None:
        self.store = store
        self.endpoint = endpoint
        self._make_client = make_client
        self._who = {"role": role, "name": "tui", "key_file": key_file}
        self._inbox: deque[Any] = deque()
        self._symbol = ""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._left = False
        # Only the link's thread touches the rest.
        self._client: AsyncClient | None = None
        self._watched = ""
        self._starting_over = False
        self._closed = asyncio.Event()
        self._leaving = asyncio.Event()

    # --- the screen's side ---------------------------------------------------------------------

    async def run(self) -> None:
        """Keeps the link's thread until cancelled; says goodbye then."""
        thread = threading.Thread(target=self._run_thread, name="ringbook-link", daemon=True)
        thread.start()
        try:
            await asyncio.Event().wait()
        finally:
            self._left = True
            self._tell(self._leaving.set)
            await asyncio.to_thread(thread.join, LEAVE_S)

    def drain(self) -> None:
        """Gives the store what has come in; what takes longer than DRAIN_S waits for the next time."""
        end = time.perf_counter() + DRAIN_S
        inbox = self._inbox
        while time.perf_counter() < end:
            try:
                item = inbox.popleft()
            except IndexError:
                return
            if type(item) is Snapshot:
                self.store.apply_snapshot(item)
            elif type(item) is Welcome:
                self.store.connected(item)
            elif type(item) is str:
                self.store.disconnected(item)
            elif isinstance(item, BaseException):
                raise item
            else:
                self.store.apply(item)

    def watch(self, symbol: str) -> None:
        """Subscribes to a symbol's depth and trades, and ends the one before."""
        if symbol != self._symbol:
            self._symbol = symbol
            self._tell(self._rewatch)

    def _tell(self, what: Callable[[], Any]) -> None:
        loop = self._loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(what)

    async def execute(self, order: Order) -> Answer:
        """Carries a command out and says what became of it; never raises for what a server may do.

        Args:
            order: The command.

        Returns:
            The engine's answer; ``UNKNOWN`` where the command went out and no answer came back.
        """
        loop = self._loop
        if loop is None or loop.is_closed():
            return NO_CONNECTION
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._execute(order), loop))

    # --- the thread's side ---------------------------------------------------------------------

    def _run_thread(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            self._inbox.append(error)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        while not (self._left or self._leaving.is_set()):
            self._closed.clear()
            client = self._make_client(self.endpoint, heartbeat_misses=HEARTBEAT_MISSES, **self._who)
            client.on_state, client.on_message = self._state, self._message
            self._client, self._watched = client, ""
            try:
                client.subscribe_telemetry()
                self._rewatch()
                client.start()
                await self._either(self._closed)
            finally:
                self._client = None
                client.on_state = lambda state, detail: None
                await client.close("leaving")
            await self._either(asyncio.Event(), AGAIN_S)

    async def _either(self, event: asyncio.Event, seconds: float | None = None) -> None:
        """Waits for an event, for the time to be over, or for the end."""
        waits = [asyncio.ensure_future(one.wait()) for one in (event, self._leaving)]
        await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()

    def _rewatch(self) -> None:
        client, old, new = self._client, self._watched, self._symbol
        if client is None or old == new:
            return
        self._watched = new
        if old:
            client.unsubscribe(depth_topic(old), trade_topic(old))
        if new:
            client.subscribe(depth_topic(new), trade_topic(new))

    def _state(self, state: ConnectionState, detail: str) -> None:
        client = self._client
        if state is not ConnectionState.CONNECTED:
            self._inbox.append(detail or "no answer")
        elif client is not None and client.welcome is not None:
            self._inbox.append(client.welcome)
        if state is ConnectionState.CLOSED:
            self._closed.set()

    def _message(self, topic: str, message: Any) -> None:
        self._inbox.append(message)
        if len(self._inbox) > INBOX and not self._starting_over:
            # Not here, in the middle of the client's delivery.
            self._starting_over = True
            asyncio.get_running_loop().call_soon(self._start_over)

    def _start_over(self) -> None:
        """The screen does not keep up: forgets what waits and begins again with snapshots."""
        self._starting_over = False
        kept = []
        with contextlib.suppress(IndexError):
            while True:
                item = self._inbox.popleft()
                if type(item) in (Welcome, str):
                    kept.append(item)
        self._inbox.extend(kept)
        client = self._client
        if client is None:
            return
        symbol, self._watched = self._watched, ""
        topics = (*TELEMETRY_TOPICS, *((depth_topic(symbol), trade_topic(symbol)) if symbol else ()))
        client.unsubscribe(*topics)
        client.subscribe_telemetry()
        self._rewatch()

    async def _execute(self, order: Order) -> Answer:
        client = self._client
        if client is None or client.state is not ConnectionState.CONNECTED:
            return NO_CONNECTION
        try:
            method = getattr(client, _METHODS[order.kind])
            reply: ControlReply = await method(**order.fields, timeout=ANSWER_S)
        except (RequestTimeout, ConnectionLost, NotDurable) as error:
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
        return Answer(Outcome.DONE if reply.success else Outcome.REFUSED, text, reply.details)


def _unknown(why: str) -> Answer:
    return Answer(Outcome.UNKNOWN, f"outcome unknown: {why}; look before you repeat it")
