"""What both clients share: hello, heartbeats, streams, orders and requests, without sockets or a clock.

A driver (client.py with a thread, aioclient.py with asyncio) owns a transport, calls :meth:`Session.tick`
every HEARTBEAT_NS and :meth:`Session.receive` for every message; timeouts are counted in ticks, so a
process that was stopped does not take its server for dead. The clock only tells that it was.
"""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from bridge import codec
from bridge import protocol as p
from bridge.errors import (
    BridgeError,
    CommandRefused,
    ConnectionLost,
    OrderRejected,
    ProtocolError,
    VersionMismatch,
    refusal,
)
from bridge.executions import Executions
from bridge.stamps import Stamper
from bridge.streams import OrderState
from bridge.subscriptions import Subscriptions
from bridge.transport import ConnectionState, Transport, Waiter

log = logging.getLogger("ringbook.bridge")
BACKOFF_TICKS = (5, 10, 20, 40, 80)
"""0.5, 1, 2, 4, 8 s between attempts to reconnect; the last one repeats."""
HELLO_TICKS = 20
"""Ticks that a server has to answer hello."""
STALLED_S = 1.0
"""A client whose ticks have been so far apart has been stopped: what waits for it is no market any more."""
NO_ANSWER = "no answer to hello"
FATAL = frozenset({"version_mismatch", "bad_hello", "forbidden", "unknown_symbol", "refused"})
"""Refusals of hello that asking again does not change."""


def _ignore(*_: Any) -> None:
    pass


class Session:
    """The protocol's client side as a state machine.

    Args:
        transport: Where messages go.
        endpoint: Base endpoint of the daemon.
        hello: Who the client is; its role decides which sockets it uses.
        heartbeat_misses: Silent ticks after which the server counts as gone.

    Raises:
        ValueError: The endpoint is neither ipc nor tcp, a trader has no ``strategy_id``, or hello is long.
    """

    def __init__(self, transport: Transport, endpoint: str, hello: p.Hello, heartbeat_misses: int) -> None:
        p.socket_endpoint(endpoint, "orders")
        if len(codec.encode(hello)) > p.MAX_FRAME:
            raise ValueError(f"a hello of more than {p.MAX_FRAME} bytes: parameters or symbols are too long")
        if hello.role == "trader" and not hello.strategy_id:
            raise ValueError("a trader needs a strategy_id")
        self.transport = transport
        self.endpoint = endpoint
        self.hello = hello
        self.strategy_id = hello.strategy_id
        if hello.role not in ("risk", "admin"):
            self.channels: tuple[str, ...] = ("orders",)
        else:
            self.channels = ("orders", "control") if hello.strategy_id else ("control",)
        self.heartbeat_misses = heartbeat_misses
        self.state = ConnectionState.CONNECTING
        self.detail = ""
        self.failure: BridgeError | None = None
        self.welcome: p.Welcome | None = None
        self.rtt_ns = 0
        self.sent = 0
        self._beaten = p.Heartbeat(0)
        self.bad_messages = 0
        self.subscriptions = Subscriptions(self)
        self.executions = Executions(
            hello.strategy_id, self._send_order, self.new_id, lambda state: self.notify(self.on_order, state)
        )
        self.orders = self.executions.orders
        # What the owner of the session listens with; all run in the driver's thread or loop.
        self.on_state: Callable[[ConnectionState, str], Any] = _ignore
        self.on_message: Callable[[str, Any], Any] = _ignore
        self.on_execution: Callable[[p.Execution], Any] = _ignore
        self.on_order: Callable[[OrderState], Any] = _ignore
        self.on_error: Callable[[p.Error], Any] = _ignore
        self._welcomed: dict[str, p.Welcome] = {}
        self._stampers = {channel: Stamper() for channel in self.channels}
        self._misses: dict[str, int] = {}
        self._pending: dict[int, Waiter] = {}
        # Counted by the interpreter itself: any thread may take one.
        self._ids = itertools.count(time.time_ns() // 1000 + 1)
        self._attempt = self._wait = self._hello_age = 0
        self._ticked = time.monotonic()

    # --- the driver's side -----------------------------------------------------------------------

    def start(self) -> None:
        """Opens the sockets and says hello."""
        self._welcomed.clear()
        self._misses = dict.fromkeys(self.channels, 0)
        self._hello_age = self._wait = 0
        self.transport.open(self.endpoint, self.channels)
        if self.transport.trouble:
            self._lost(self.transport.trouble)
            return
        for channel in self.channels:
            # Each socket has its own session; only the order socket's may own the strategy.
            if channel == "orders":
                if self.welcome is not None and self.strategy_id:
                    self.hello = msgspec.structs.replace(self.hello, resume=self.welcome.session)
                hello = self.hello
            else:
                hello = msgspec.structs.replace(self.hello, strategy_id="", symbols=[], params={}, resume="")
            self.transport.send(channel, codec.encode(hello))

    def tick(self) -> None:
        """One heartbeat interval has passed: beat, count misses, repeat what was not answered."""
        before, self._ticked = self._ticked, time.monotonic()
        if self.state is ConnectionState.CLOSED:
            return
        if self._wait > 0:
            self._wait -= 1
            if self._wait == 0:
                self.start()
            return
        if len(self._welcomed) < len(self.channels):
            self._hello_age += 1
            if self._hello_age > HELLO_TICKS:
                self._lost(NO_ANSWER)
            return
        self._beaten = p.Heartbeat(time.monotonic_ns(), self.sent, self.executions.seq)
        beat = codec.encode(self._beaten)
        for channel in self.channels:
            self.transport.send(channel, beat)
            self._misses[channel] += 1
            if self._misses[channel] > self.heartbeat_misses:
                self._lost(f"no heartbeat on the {channel} socket")
                return
        if self._ticked - before > STALLED_S and self.welcome is not None:
            # To read all that would take long, and most of it is lost in the middle.
            self.transport.renew_market(self.welcome.market_endpoint)
            self.subscriptions.renewed(self.welcome.epoch)
        self.subscriptions.tick()
        self.executions.tick()

    def receive(self, channel: str, frames: Sequence[bytes]) -> None:
        """Takes a message of one of the sockets; a malformed one is dropped and counted."""
        try:
            if channel in ("orders", "control"):
                self._misses[channel] = 0
                self._on_server(channel, codec.decode_server(frames))
            else:
                topic, message = codec.decode_stream(frames)
                self.subscriptions.message(topic, message)
        except ProtocolError:
            self.bad_messages += 1

    def cut(self) -> None:
        """The transport has found the other end gone."""
        if self.state is not ConnectionState.CLOSED and self._wait == 0:
            self._lost("the bridge is gone")

    def close(self, reason: str = "") -> None:
        """Says goodbye; the owner closes the transport once that is sent."""
        if self.state is ConnectionState.CONNECTED:
            for channel in self.channels:
                self.transport.send(channel, codec.encode(p.Goodbye(reason[:4096])))
        self._fail_waiters(ConnectionLost("the client was closed"))
        self._set_state(ConnectionState.CLOSED, reason)

    # --- the user's side: all in the driver's thread -----------------------------------------------

    def new_id(self) -> int:
        """A request or client order id that this client has not used, nor one before it."""
        return next(self._ids)

    def request(self, channel: str, message: Any, waiter: Waiter) -> None:
        """Sends a message that has a ``request_id`` and lets the waiter have its answer."""
        if channel not in self.channels:
            waiter.set_exception(
                CommandRefused(f"role {self.hello.role} has no {channel} socket: connect as risk or admin")
            )
        elif self.state is not ConnectionState.CONNECTED:
            waiter.set_exception(ConnectionLost(self.detail or "not connected"))
        else:
            try:
                stamped = self._stampers[channel].stamp(message)
                if self.transport.send(channel, codec.encode_for(channel, stamped)):
                    self._pending[message.request_id] = waiter
                else:
                    waiter.set_exception(CommandRefused("the socket is full"))
            except ProtocolError as error:
                waiter.set_exception(CommandRefused(str(error)))

    def forget(self, request_id: int) -> None:
        """Gives up on a request: its answer will be ignored."""
        self._pending.pop(request_id, None)
        self.executions.forget(request_id)

    def send(self, message: Any) -> None:
        """Sends a message of the order socket; a submit is remembered.

        Raises:
            ConnectionLost: There is no connection now.
            OrderRejected: The socket is full, or a field has a wrong type or value.
            CommandRefused: The client has no strategy.
        """
        if not self.strategy_id:
            raise CommandRefused("this client has no strategy_id: it cannot trade")
        if self.state is not ConnectionState.CONNECTED:
            raise ConnectionLost(self.detail or "not connected")
        # It was made for us alone.
        msgspec.structs.force_setattr(message, "seq", self.sent + 1)
        try:
            sent = self.transport.send("orders", codec.encode_for("orders", message))
        except ProtocolError as error:
            raise OrderRejected(str(error), "bad_message") from None
        if not sent:
            raise OrderRejected("the socket is full", "busy")
        self.sent += 1
        if type(message) is p.Submit:
            self.orders.submitted(message)

    # --- messages ----------------------------------------------------------------------------------

    def _on_server(self, channel: str, message: Any) -> None:
        kind = type(message)
        if kind is p.Heartbeat:
            self.rtt_ns = max(0, time.monotonic_ns() - message.ts)
            if channel == "orders" and self.strategy_id:
                self.executions.told_up_to(message.sent)
                if message.ts == self._beaten.ts and message.received < self._beaten.sent:
                    self._lost(f"the server has {message.received} messages of {self._beaten.sent}")
        elif kind is p.Execution:
            if self.executions.take(message):
                self.notify(self.on_execution, message)
        elif kind is p.Welcome:
            self._on_welcome(channel, message)
        elif kind is p.Error:
            self._on_error(channel, message)
        elif kind is p.Goodbye:
            self._lost(f"the server says goodbye: {message.reason}" if message.reason else "the server left")
        elif kind is p.ControlReply or kind is p.Durable:
            self._resolve(message.request_id, message)
        elif kind is p.OrderReport:
            self.executions.reported(message)
            self._resolve(message.request_id, message)
        else:
            self._on_stream_answer(message)

    def _on_stream_answer(self, answer: p.Snapshot | p.Replay) -> None:
        self.subscriptions.answered(answer)

    def _on_welcome(self, channel: str, welcome: p.Welcome) -> None:
        if welcome.version != p.VERSION:
            self._fatal(VersionMismatch(f"client speaks version {p.VERSION}, server {welcome.version}"))
            return
        self._welcomed[channel] = welcome
        self._stampers[channel].welcome(welcome)
        if len(self._welcomed) < len(self.channels) or self.state is ConnectionState.CONNECTED:
            return
        self.welcome = self._welcomed[self.channels[0]]
        self._attempt = 0
        self.transport.open_streams(welcome.market_endpoint, welcome.telemetry_endpoint)
        self._set_state(ConnectionState.CONNECTED, welcome.engine)
        self.subscriptions.welcomed(welcome.epoch)
        if self.strategy_id:
            self._take_up(self.welcome)
        self.executions.welcomed(self.welcome)

    def _take_up(self, welcome: p.Welcome) -> None:
        """Goes on with the session where the server is, or with a new one from the start."""
        self.transport.hold_leash(self.endpoint, welcome.session)
        resumed = welcome.session == self.hello.resume
        self.sent = welcome.received if resumed else 0
        self.executions.received(welcome.received, resumed)

    def _on_error(self, channel: str, error: p.Error) -> None:
        if len(self._welcomed) < len(self.channels):
            text = f"{error.code}: {error.message}"
            if error.code == "version_mismatch":
                self._fatal(VersionMismatch(error.message))
            elif error.code in FATAL:
                self._fatal(CommandRefused(text))
            else:
                self._lost(text)
            return
        if error.code == "hello_first":
            self._lost("the server does not know this session")
            # It is there, and has only given us up.
            self._wait = 1
            return
        if error.request_id and not self.subscriptions.refused(error.request_id):
            waiter = self._pending.pop(error.request_id, None)
            if waiter is not None and not waiter.done():
                waiter.set_exception(refusal(error.code, error.message))
        self.executions.refused(error)
        if error.code == "out_of_sequence":
            self._lost(error.message)
        self.notify(self.on_error, error)

    # --- parts -------------------------------------------------------------------------------------

    def notify(self, callback: Callable[..., Any], *values: Any) -> None:
        """Calls a listener; what it raises is logged."""
        try:
            callback(*values)
        except Exception:
            log.exception("a callback of the client raised")

    def _send_order(self, message: Any) -> bool:
        return self.transport.send("orders", codec.encode(message))

    def _resolve(self, request_id: int, result: Any) -> None:
        waiter = self._pending.pop(request_id, None)
        if waiter is not None and not waiter.done():
            waiter.set_result(result)

    def _fail_waiters(self, error: BridgeError) -> None:
        self.executions.fail(error)
        waiters, self._pending = self._pending, {}
        for waiter in waiters.values():
            if not waiter.done():
                waiter.set_exception(error)

    def _lost(self, why: str) -> None:
        self.transport.close()
        self._fail_waiters(ConnectionLost(why))
        self.subscriptions.lost()
        self._wait = BACKOFF_TICKS[min(self._attempt, len(BACKOFF_TICKS) - 1)]
        self._attempt += 1
        self._welcomed.clear()
        first = self.welcome is None
        self._set_state(ConnectionState.CONNECTING if first else ConnectionState.RECONNECTING, why)

    def _fatal(self, error: BridgeError) -> None:
        self.failure = error
        self.transport.close()
        self._fail_waiters(error)
        self._set_state(ConnectionState.CLOSED, str(error))

    def _set_state(self, state: ConnectionState, detail: str) -> None:
        changed = (state, detail) != (self.state, self.detail)
        self.state, self.detail = state, detail
        if changed:
            self.notify(self.on_state, state, detail)
