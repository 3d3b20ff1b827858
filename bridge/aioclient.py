"""The bridge's client for asyncio.

    async with connect("ipc:///run/ringbook", role="admin") as client:
        book = client.subscribe_depth("BTCUSDT")
        reply = await client.pause("market_maker")

Everything runs in the loop that started the client; callbacks run in it too and must not block.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING, Any

import zmq
import zmq.asyncio

from bridge import protocol as p
from bridge.base import BaseClient, Journaled, journal_seq, limits_message, not_yet
from bridge.books import Book
from bridge.errors import ConnectionLost, RequestTimeout
from bridge.iterators import AsyncExecutions, AsyncMessages
from bridge.streams import OrderState
from bridge.transport import GOODBYE_LINGER_MS, ConnectionState, SocketTransport

if TYPE_CHECKING:
    from bridge.lane import Lane

__all__ = ["AsyncClient", "Book", "ConnectionState", "OrderState", "connect"]

YIELD_EVERY = 200
"""Messages that a reader takes in a row before the loop's other tasks have their turn."""


class _Transport(SocketTransport):
    """Sockets of asyncio, each read by a task."""

    def __init__(self, receive: Callable[[str, Sequence[bytes]], None], on_cut: Callable[[], None]) -> None:
        super().__init__(zmq.asyncio.Context())
        self.receive = receive
        self.on_cut = on_cut
        self.readers: set[asyncio.Task[None]] = set()

    def _send(self, socket: Any, frame: bytes) -> None:
        sent = socket.send(frame, zmq.DONTWAIT)
        # A lane sends at once.
        if sent is not None and sent.done():
            sent.result()

    def _opened(self, name: str, socket: Any) -> None:
        task = asyncio.get_running_loop().create_task(self._read(name, socket))
        self.readers.add(task)
        task.add_done_callback(self.readers.discard)

    async def _read(self, name: str, socket: Any) -> None:
        count = 0
        while self.sockets.get(name) is socket:
            try:
                frames = await socket.recv_multipart()
            except (zmq.ZMQError, asyncio.CancelledError):
                # The socket was closed under us: that is how a reader ends.
                return
            self.receive(name, frames)
            count += 1
            if count % YIELD_EVERY == 0:
                await asyncio.sleep(0)

    def _lane_opened(self, lane: Lane) -> None:
        asyncio.get_running_loop().add_reader(lane.fd, self._lane_rings, lane)
        self._lane_rings(lane)

    def _lane_rings(self, lane: Lane) -> None:
        """Takes what a lane holds, a turn at a time, until it may be waited for again."""
        loop = asyncio.get_running_loop()
        if lane is not self._lane:
            return
        if not self.disarm():
            self.on_cut()
            return
        for name in lane.ends:
            for _ in range(YIELD_EVERY):
                socket = self.sockets.get(name)
                if socket is None:
                    break
                try:
                    frames = socket.recv_multipart()
                except zmq.Again:
                    break
                self.receive(name, frames)
        if lane is self._lane and not self.arm():
            loop.call_soon(self._lane_rings, lane)

    def _close_lane(self) -> None:
        if self._lane is not None:
            asyncio.get_running_loop().remove_reader(self._lane.fd)
        super()._close_lane()


class AsyncClient(BaseClient):
    """A connection for asyncio; arguments and callbacks are :class:`bridge.base.BaseClient`'s."""

    def __init__(self, endpoint: str = "", **options: Any) -> None:
        super().__init__(endpoint, **options)
        self._changed = asyncio.Event()
        self._ticker: asyncio.Task[None] | None = None
        self._iterators: list[AsyncMessages] = []
        self._executions: list[AsyncExecutions] = []

    def _make_transport(self) -> SocketTransport:
        return _Transport(self._receive, lambda: self._session.cut())

    # --- connection ----------------------------------------------------------------------------------

    def start(self) -> None:
        """Begins to connect and returns at once; goes on trying until :meth:`close`."""
        if self._ticker is None:
            self._session.start()
            self._ticker = asyncio.get_running_loop().create_task(self._tick())

    async def connected(self, timeout: float | None = 5.0) -> p.Welcome:
        """Waits for the connection.

        Args:
            timeout: Seconds; None waits for ever.

        Raises:
            VersionMismatch: Server and client speak different versions.
            CommandRefused: The server refuses this hello for good.
            ConnectionLost: No connection in time; the message has the last reason.
        """
        try:
            async with asyncio.timeout(timeout):
                while self.state is not ConnectionState.CONNECTED:
                    if self._session.failure is not None:
                        raise self._session.failure
                    if self.state is ConnectionState.CLOSED:
                        raise ConnectionLost("the client was closed")
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise ConnectionLost(f"{self._session.endpoint}: {self.detail or 'no answer'}") from None
        assert self._session.welcome is not None
        return self._session.welcome

    async def close(self, reason: str = "") -> None:
        """Says goodbye, which cancels the strategy's orders, and ends iterators and reconnects."""
        if self._ticker is not None:
            self._ticker.cancel()
            self._ticker = None
        linger = GOODBYE_LINGER_MS if self.state is ConnectionState.CONNECTED else 0
        self._session.close(reason)
        for iterator in (*self._iterators, *self._executions):
            iterator.close()
        readers = list(self._transport.readers)
        self._transport.finish(linger)
        await asyncio.gather(*readers, return_exceptions=True)

    async def __aenter__(self) -> AsyncClient:
        return await self._connect()

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __await__(self) -> Generator[Any, None, AsyncClient]:
        return self._connect().__await__()

    async def _connect(self) -> AsyncClient:
        self.start()
        try:
            await self.connected()
        except BaseException:
            await self.close()
            raise
        return self

    # --- streams ---------------------------------------------------------------------------------------

    def subscribe(self, *topics: str) -> None:
        """Starts streams; their messages go to ``on_message``, books and iterators. Survives reconnects."""
        self._session.subscriptions.subscribe(topics)

    def unsubscribe(self, *topics: str) -> None:
        """Ends streams."""
        self._session.subscriptions.unsubscribe(topics)

    def subscribe_depth(self, symbol: str) -> Book:
        """Starts a book; the same object is kept up to date until it is unsubscribed."""
        self._session.subscriptions.subscribe([p.depth_topic(symbol)])
        return self._session.subscriptions.books[symbol]

    def subscribe_trades(self, symbol: str) -> None:
        """Starts a symbol's public trades."""
        self._session.subscriptions.subscribe([p.trade_topic(symbol)])

    def subscribe_telemetry(self) -> None:
        """Starts all telemetry topics."""
        self._session.subscriptions.subscribe(p.TELEMETRY_TOPICS)

    def messages(self, *topics: str) -> AsyncMessages:
        """Iterates over topics: a ``Snapshot`` for each first, and again whenever a gap cannot be healed."""
        return AsyncMessages(self._session.subscriptions, topics, self._iterators)

    def book(self, symbol: str) -> Book:
        """The book of a subscribed symbol.

        Raises:
            KeyError: The symbol's depth is not subscribed.
        """
        return self._session.subscriptions.books[symbol]

    def stale(self, topic: str) -> bool:
        """Whether a topic may lack something at the moment."""
        return self._session.subscriptions.stale(topic)

    # --- orders ------------------------------------------------------------------------------------------

    async def wait_order(self, client_order_id: int, timeout: float = 2.0) -> OrderState:
        """Waits for the engine's first word on an order.

        Raises:
            OrderRejected: It was denied, rejected or refused; ``reason`` says why.
            RequestTimeout: No word in time; what became of the order is unknown: :meth:`query_order`.
            ConnectionLost: The connection broke meanwhile.
        """
        return await self._wait(
            client_order_id, lambda future: self._session.executions.wait(client_order_id, future), timeout
        )

    async def query_order(self, client_order_id: int, timeout: float = 2.0) -> p.OrderReport:
        """What the server knows of an order of this session; raises as :meth:`wait_order`'s last two."""
        return await self._control(p.QueryOrder(self._session.new_id(), client_order_id), timeout, "orders")

    async def wait_durable(self, what: Journaled, timeout: float = 2.0) -> int:
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
        message = p.WaitDurable(self._session.new_id(), seq)
        try:
            return (await self._control(message, timeout, self._session.channels[0])).durable_seq
        except RequestTimeout:
            raise not_yet(seq, timeout) from None

    def orders(self, symbol: str = "") -> list[OrderState]:
        """Own orders that may still trade."""
        return self._session.orders.live(symbol)

    def order(self, client_order_id: int) -> OrderState | None:
        """An own order, live or ended not too long ago."""
        return self._session.orders.states.get(client_order_id)

    def executions(self) -> AsyncExecutions:
        """Iterates over the own executions from now on, without gaps, until the client is closed.

        100,000 wait at most: who takes them too slowly gets :class:`bridge.errors.ExecutionsDropped` once and
        goes on with those that are left.
        """
        return AsyncExecutions(self._executions)

    # --- control -------------------------------------------------------------------------------------------

    async def pause(self, strategy_id: str = "", timeout: float = 2.0) -> p.ControlReply:
        """No new orders of a strategy, of all if unnamed. Raises as :meth:`query_status`."""
        return await self._control(p.Pause(self._session.new_id(), strategy_id), timeout)

    async def resume(self, strategy_id: str = "", timeout: float = 2.0) -> p.ControlReply:
        """Lets a strategy (all, and a halted engine, if unnamed) trade again."""
        return await self._control(p.Resume(self._session.new_id(), strategy_id), timeout)

    async def emergency_stop(
        self, cancel_orders: bool = True, close_position: bool = False, timeout: float = 2.0
    ) -> p.ControlReply:
        """Halts all trading; only cancels are accepted afterwards."""
        return await self._control(
            p.EmergencyStop(self._session.new_id(), cancel_orders, close_position), timeout
        )

    async def cancel_orders(
        self, strategy_id: str = "", symbol: str = "", timeout: float = 2.0
    ) -> p.ControlReply:
        """Cancels the live orders of a strategy or of all, in one symbol or in all."""
        return await self._control(p.CancelOrders(self._session.new_id(), strategy_id, symbol), timeout)

    async def update_params(
        self, strategy_id: str, params: dict[str, Any], timeout: float = 2.0
    ) -> p.ControlReply:
        """Changes parameters, all or none of them."""
        return await self._control(p.UpdateParams(self._session.new_id(), strategy_id, params), timeout)

    async def update_risk_limits(
        self, strategy_id: str = "", symbol: str = "", *, timeout: float = 2.0, **limits: Any
    ) -> p.ControlReply:
        """Changes limits by their names, such as ``max_position``; infinity lifts one.

        Without a strategy those over all strategies are meant: in the symbol, or over everything.
        """
        message = limits_message(self._session.new_id(), strategy_id, symbol, limits)
        return await self._control(message, timeout)

    async def reduce_only(self, timeout: float = 2.0) -> p.ControlReply:
        """Until ``resume``, only orders that reduce a position pass."""
        return await self._control(p.ReduceOnly(self._session.new_id()), timeout)

    async def kill(
        self, strategy_id: str = "", symbol: str = "", reason: str = "", timeout: float = 5.0
    ) -> p.ControlReply:
        """Throws the kill switch of a strategy, of an instrument, or of everything; it stays thrown.

        A trader may throw that of its own strategy. Answered once the switch would survive a restart.
        """
        channel, own = self._kill_place()
        message = p.Kill(self._session.new_id(), strategy_id or own, symbol, reason)
        return await self._control(message, timeout, channel)

    async def rearm(self, switch: str, token: str = "", timeout: float = 5.0) -> p.ControlReply:
        """Takes a thrown switch back, by the id that ``query_status`` has in ``details["switches"]``."""
        return await self._control(p.Rearm(self._session.new_id(), switch, token), timeout)

    async def query_limits(
        self, strategy_id: str = "", symbol: str = "", timeout: float = 2.0
    ) -> p.ControlReply:
        """The limits of a strategy, or over all of them, by symbol in ``details["limits"]``."""
        return await self._control(p.QueryLimits(self._session.new_id(), strategy_id, symbol), timeout)

    async def query_status(self, strategy_id: str = "", timeout: float = 2.0) -> p.ControlReply:
        """The state of a strategy, or of the engine.

        A reply whose ``success`` is false is returned, not raised: its message says why.

        Raises:
            RequestTimeout: No reply in time; what became of the command is unknown.
            ConnectionLost: Not connected, or the connection broke meanwhile.
            CommandRefused: The bridge refused the command, or the client is no admin.
        """
        return await self._control(p.QueryStatus(self._session.new_id(), strategy_id), timeout)

    async def _control(self, message: Any, timeout: float, channel: str = "control") -> Any:
        return await self._wait(
            message.request_id, lambda future: self._session.request(channel, message, future), timeout
        )

    async def _wait(self, key: int, begin: Callable[[asyncio.Future[Any]], None], timeout: float) -> Any:
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        begin(future)
        try:
            async with asyncio.timeout(timeout):
                return await future
        except TimeoutError:
            raise RequestTimeout(f"no answer in {timeout:g} s") from None
        finally:
            self._session.forget(key)

    # --- the driver --------------------------------------------------------------------------------------

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(p.HEARTBEAT_NS / 1e9)
            self._session.tick()

    def _receive(self, channel: str, frames: Sequence[bytes]) -> None:
        self._session.receive(channel, frames)

    def _state_changed(self, state: ConnectionState, detail: str) -> None:
        self._changed.set()
        super()._state_changed(state, detail)

    def _executed(self, execution: p.Execution) -> None:
        for iterator in self._executions:
            iterator.put(execution)
        super()._executed(execution)


def connect(endpoint: str = "", **options: Any) -> AsyncClient:
    """A client to be awaited or entered: ``async with connect(endpoint) as client``.

    Args:
        endpoint: Base endpoint of the daemon; empty finds the one on this machine.
        **options: As :class:`AsyncClient`.

    Raises:
        BridgeError: Upon awaiting, as :meth:`AsyncClient.connected`.
    """
    return AsyncClient(endpoint, **options)
