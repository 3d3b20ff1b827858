"""The bridge's blocking client; a thread of its own keeps heartbeats, streams and books going.

    with connect("ipc:///run/ringbook", role="trader", strategy_id="mm", symbols=["BTCUSDT"]) as client:
        client.subscribe_depth("BTCUSDT")
        order = client.submit("BTCUSDT", "buy", 42_000.0, 0.001, time_in_force="GTX")
        for execution in client.executions(timeout=1.0):
            print(execution.status)

All methods may be called from any thread. Callbacks run in the client's thread and must not block.
"""

from __future__ import annotations

import contextlib
import os
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager
from typing import Any

import zmq

from bridge import protocol as p
from bridge.base import BaseClient, Journaled, journal_seq, not_yet
from bridge.books import Book
from bridge.errors import ConnectionLost, RequestTimeout
from bridge.iterators import END, Backlog, Messages
from bridge.operator import Operator
from bridge.streams import OrderState
from bridge.transport import GOODBYE_LINGER_MS, ConnectionState, SocketTransport
from bridge.watch import Watch

__all__ = ["Book", "Client", "ConnectionState", "OrderState", "connect"]

_DONTWAIT = int(zmq.DONTWAIT)
REST_S, PUT_OFF_S = 0.0005, 0.002
"""A heartbeat waits until nothing has come for so long, but no longer than that: a trip takes less."""
BATCH = 100
"""Messages taken from one socket before the others have their turn."""


class Client(BaseClient, Operator):
    """A blocking connection; arguments and callbacks are :class:`bridge.base.BaseClient`'s."""

    def __init__(self, endpoint: str = "", **options: Any) -> None:
        super().__init__(endpoint, **options)
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        self._queues: list[queue.SimpleQueue[Any]] = []
        self._executions = Backlog()
        self._thread: threading.Thread | None = None
        self._ident = 0
        self._stopping = self._again = False
        self._goodbye = ""

    def _make_transport(self) -> SocketTransport:
        return SocketTransport(zmq.Context())

    # --- connection ------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begins to connect and returns at once; goes on trying until :meth:`close`."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="ringbook-client", daemon=True)
            self._thread.start()

    def connected(self, timeout: float | None = 5.0) -> p.Welcome:
        """Waits for the connection.

        Args:
            timeout: Seconds; None waits for ever.

        Raises:
            VersionMismatch: Server and client speak different versions.
            CommandRefused: The server refuses this hello for good.
            ConnectionLost: No connection in time; the message has the last reason.
        """
        with self._changed:
            self._changed.wait_for(
                lambda: self.state in (ConnectionState.CONNECTED, ConnectionState.CLOSED), timeout
            )
            if self.state is ConnectionState.CONNECTED and self._session.welcome is not None:
                return self._session.welcome
            if self._session.failure is not None:
                raise self._session.failure
            raise ConnectionLost(f"{self._session.endpoint}: {self.detail or 'no answer'}")

    def close(self, reason: str = "") -> None:
        """Says goodbye, which cancels the strategy's orders, and ends iterators and reconnects."""
        if self._stopping:
            return
        self._stopping, self._goodbye = True, reason
        if self._thread is None:
            self._finish()
        else:
            self._wake()
            self._thread.join()

    def __enter__(self) -> Client:
        self.start()
        try:
            self.connected()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- streams -----------------------------------------------------------------------------------------

    def subscribe(self, *topics: str) -> None:
        """Starts streams; their messages go to ``on_message``, books and iterators. Survives reconnects."""
        self._call(lambda: self._session.subscriptions.subscribe(topics))

    def unsubscribe(self, *topics: str) -> None:
        """Ends streams."""
        self._call(lambda: self._session.subscriptions.unsubscribe(topics))

    def subscribe_depth(self, symbol: str) -> None:
        """Starts a book; :meth:`book` gives its present state."""
        self.subscribe(p.depth_topic(symbol))

    def subscribe_trades(self, symbol: str) -> None:
        """Starts a symbol's public trades."""
        self.subscribe(p.trade_topic(symbol))

    def subscribe_telemetry(self) -> None:
        """Starts all telemetry topics."""
        self.subscribe(*p.TELEMETRY_TOPICS)

    def messages(self, *topics: str, timeout: float | None = None) -> Messages:
        """Iterates over topics: a ``Snapshot`` for each first, and again whenever a gap cannot be healed.

        Args:
            topics: What to listen to; subscribed if it is not yet.
            timeout: Seconds of silence after which the iteration ends (it may be taken up again); None waits.
        """
        return Messages(self._session.subscriptions, topics, timeout, self._call, self._queues)

    def book(self, symbol: str) -> Book:
        """A copy of a subscribed symbol's book; ``stale`` is set while it may lack something.

        Raises:
            KeyError: The symbol's depth is not subscribed.
        """
        with self._lock:
            return self._session.subscriptions.books[symbol].copy()

    def stale(self, topic: str) -> bool:
        """Whether a topic may lack something at the moment."""
        with self._lock:
            return self._session.subscriptions.stale(topic)

    # --- orders ------------------------------------------------------------------------------------------

    def wait_order(self, client_order_id: int, timeout: float = 2.0) -> OrderState:
        """Waits for the engine's first word on an order.

        Raises:
            OrderRejected: It was denied, rejected or refused; ``reason`` says why.
            RequestTimeout: No word in time; what became of the order is unknown: :meth:`query_order`.
            ConnectionLost: The connection broke meanwhile.
        """
        return self._wait(
            client_order_id, lambda future: self._session.executions.wait(client_order_id, future), timeout
        )

    def query_order(self, client_order_id: int, timeout: float = 2.0) -> p.OrderReport:
        """What the server knows of an order of this session: whether it was sent on, and what came of it.

        Raises:
            RequestTimeout: No answer in time.
            ConnectionLost: Not connected, or the connection broke meanwhile.
        """
        return self._control(lambda i: p.QueryOrder(i, client_order_id), timeout, "orders")

    def wait_durable(self, what: Journaled, timeout: float = 2.0) -> int:
        """Waits until what the engine said survives a loss of power.

        Args:
            what: What it said: an order's state (of :meth:`wait_order` or :meth:`order`), an execution or a
                control reply; or the number of a record of the journal.
            timeout: Seconds.

        Returns:
            The journal's last durable record.

        Raises:
            RequestTimeout: Not durable in time. Nothing was refused: it may be later, or after a restart.
            NotDurable: The daemon keeps no journal, or its journal has halted; ``code`` says which.
            ConnectionLost: Not connected, or the connection broke meanwhile.
            CommandRefused: There is no such record, or too many waits are open.
        """
        seq = journal_seq(what)
        channel = self._session.channels[0]
        try:
            return self._control(lambda i: p.WaitDurable(i, seq), timeout, channel).durable_seq
        except RequestTimeout:
            raise not_yet(seq, timeout) from None

    def orders(self, symbol: str = "") -> list[OrderState]:
        """Own orders that may still trade."""
        with self._lock:
            return self._session.orders.live(symbol)

    def order(self, client_order_id: int) -> OrderState | None:
        """An own order, live or ended not too long ago."""
        with self._lock:
            return self._session.orders.states.get(client_order_id)

    def executions(self, timeout: float | None = None) -> Iterator[p.Execution]:
        """Takes the own executions, without gaps, each once; the last 100,000 that nobody has taken are kept.

        Args:
            timeout: Seconds of silence after which the iteration ends; None waits until the client is closed,
                0 takes what is there.

        Raises:
            ExecutionsDropped: Older ones were dropped; iterate again for the rest.
        """
        while True:
            try:
                execution = self._executions.take(timeout)
            except queue.Empty:
                return
            if execution is END:
                self._executions.put(END)
                return
            yield execution

    @property
    def executions_dropped(self) -> int:
        """Executions that were dropped because nobody took them."""
        return self._executions.dropped

    # --- the driver --------------------------------------------------------------------------------------

    def _control(self, make: Callable[[int], Any], timeout: float, channel: str = "control") -> Any:
        request_id = self._session.new_id()
        message = make(request_id)
        return self._wait(request_id, lambda future: self._session.request(channel, message, future), timeout)

    def _wait(self, key: int, begin: Callable[[Future[Any]], None], timeout: float) -> Any:
        future: Future[Any] = Future()
        self._call(lambda: begin(future))
        try:
            return future.result(timeout)
        except TimeoutError:
            raise RequestTimeout(f"no answer in {timeout:g} s") from None
        finally:
            self._call(lambda: self._session.forget(key))

    def locked(self) -> AbstractContextManager[bool]:
        """Keeps the client's thread, and so all callbacks, out while it is entered."""
        return self._lock

    def _send(self, message: Any) -> None:
        with self._lock:
            self._session.send(message)
        self._look_again()

    def _call(self, call: Callable[[], None]) -> None:
        with self._lock:
            call()
        self._look_again()

    def _look_again(self) -> None:
        # Sockets may change threads under a lock. A send may also swallow the wake-up of a socket's
        # descriptor, so the thread is told to look again; a lane swallows nothing.
        if threading.get_ident() == self._ident:
            self._again |= not self._transport.only_lane
        else:
            self._wake()

    def _wake(self) -> None:
        # A full pipe is as good as a byte: the thread will wake up.
        with contextlib.suppress(BlockingIOError, OSError):
            os.write(self._wake_write, b"x")

    def _run(self) -> None:
        interval = p.HEARTBEAT_NS / 1e9
        self._ident = threading.get_ident()
        more, watch = False, Watch(self._wake_read)
        with self._lock:
            self._session.start()
            watch.follow(self._transport.sockets)
        due = next_tick = time.monotonic() + interval
        worked = 0.0
        while not self._stopping:
            ready = watch.wait(0.0 if more else next_tick - time.monotonic())
            woken = self._wake_read in ready
            if woken:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._wake_read, 4096)
            with self._lock:
                if watch.cut:
                    self._session.cut()
                # A call of any kind may have swallowed what a descriptor had to say.
                everything = more or self._again or woken
                self._again = False
                names, now = watch.names(ready, everything), time.monotonic()
                if names:
                    worked = now
                if now >= next_tick:
                    if now < worked + REST_S and now < due + PUT_OFF_S:
                        # What has come may have an answer, which goes first.
                        next_tick = worked + REST_S
                    else:
                        # Before anything is read: whoever was stopped throws some of it away.
                        self._session.tick()
                        due = next_tick = time.monotonic() + interval
                        names = watch.names(ready, True)
                more = self._drain(names)
                more |= self._again
                watch.follow(self._transport.sockets)
        self._finish()

    def _drain(self, names: Iterable[str]) -> bool:
        """Takes what some sockets hold, in turns; True if one of them may hold more."""
        more = False
        for name in names:
            socket = self._transport.sockets.get(name)
            count = 0
            if hasattr(socket, "take"):
                for frames in (taken := socket.take(BATCH)):
                    if self._transport.sockets.get(name) is socket:
                        self._session.receive(name, frames)
                more |= len(taken) == BATCH
                continue
            while socket is not None and self._transport.sockets.get(name) is socket:
                if count == BATCH:
                    more = True
                    break
                try:
                    frames = socket.recv_multipart(_DONTWAIT)
                except zmq.Again:
                    break
                self._session.receive(name, frames)
                count += 1
        return more

    def _finish(self) -> None:
        with self._lock:
            linger = GOODBYE_LINGER_MS if self.state is ConnectionState.CONNECTED else 0
            self._session.close(self._goodbye)
            self._transport.finish(linger)
            for waiting in (self._executions, *self._queues):
                waiting.put(END)
            os.close(self._wake_read)
            os.close(self._wake_write)

    def _state_changed(self, state: ConnectionState, detail: str) -> None:
        with self._changed:
            self._changed.notify_all()
        super()._state_changed(state, detail)

    def _executed(self, execution: p.Execution) -> None:
        self._executions.put(execution)
        super()._executed(execution)


def connect(endpoint: str = "", **options: Any) -> Client:
    """A client to be entered: ``with connect(endpoint) as client``.

    Args:
        endpoint: Base endpoint of the daemon; empty finds the one on this machine.
        **options: As :class:`Client`.
    """
    return Client(endpoint, **options)
