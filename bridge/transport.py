"""What lies between a client's session and its driver: the four sockets, futures and queues.

The driver chooses the ZeroMQ context, and so whether the sockets are asyncio's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

import zmq

from bridge import protocol as p
from bridge.auth import ClientKey

HIGH_WATER = 100_000
"""Messages that a socket queues in either direction before it drops or refuses."""
GOODBYE_LINGER_MS = 200
"""How long closing waits for a goodbye to leave."""


class ConnectionState(StrEnum):
    """Where a client stands with its server."""

    CONNECTING = "connecting"
    CONNECTED = "connected"
    RECONNECTING = "reconnecting"
    CLOSED = "closed"


class Transport(Protocol):
    """The four sockets, as far as a session needs them."""

    def open(self, base: str, channels: Iterable[str]) -> None:
        """Connects the order and control sockets that are named."""

    def open_streams(self, market: str, telemetry: str) -> None:
        """Connects the two subscribers."""

    def send(self, channel: str, frame: bytes) -> bool:
        """Sends without waiting; False if the socket is full."""

    def subscribe(self, topic: str, on: bool) -> None:
        """Subscribes or unsubscribes on the socket that carries the topic."""

    def close(self) -> None:
        """Drops all sockets and whatever is queued in them."""


class Waiter(Protocol):
    """An asyncio or a concurrent future."""

    def done(self) -> bool: ...
    def set_result(self, result: Any) -> None: ...
    def set_exception(self, error: BaseException) -> None: ...


@dataclass(eq=False)
class Sink:
    """A queue of a consumer: ``put`` says whether there was room, ``clear`` empties it."""

    topics: frozenset[str]
    put: Callable[[Any], bool]
    clear: Callable[[], None]


class SocketTransport:
    """Sockets by name (``orders``, ``control``, ``market``, ``telemetry``), made anew by every connect.

    Args:
        context: A ``zmq.Context`` or ``zmq.asyncio.Context`` of this client alone.

    Attributes:
        key: What the sockets prove to the server; None where it has no keys.
    """

    def __init__(self, context: zmq.Context[Any]) -> None:
        self.context = context
        self.key: ClientKey | None = None
        self.sockets: dict[str, Any] = {}

    def open(self, base: str, channels: Iterable[str]) -> None:
        """Connects the order and control sockets that are named."""
        self.close()
        for channel in channels:
            self._connect(channel, zmq.DEALER, p.socket_endpoint(base, channel))

    def open_streams(self, market: str, telemetry: str) -> None:
        """Connects the two subscribers."""
        for name, endpoint in (("market", market), ("telemetry", telemetry)):
            old = self.sockets.pop(name, None)
            if old is not None:
                old.close(0)
            self._connect(name, zmq.SUB, endpoint)

    def send(self, channel: str, frame: bytes) -> bool:
        """Sends without waiting; False if the socket is full or gone."""
        socket = self.sockets.get(channel)
        if socket is None:
            return False
        try:
            self._send(socket, frame)
        except zmq.Again:
            return False
        return True

    def subscribe(self, topic: str, on: bool) -> None:
        """Subscribes or unsubscribes on the socket that carries the topic."""
        socket = self.sockets.get("market" if topic.startswith("md.") else "telemetry")
        if socket is not None:
            socket.setsockopt(zmq.SUBSCRIBE if on else zmq.UNSUBSCRIBE, topic.encode())

    def close(self) -> None:
        """Drops all sockets and whatever is queued in them."""
        sockets, self.sockets = self.sockets, {}
        for socket in sockets.values():
            socket.close(0)

    def finish(self, linger_ms: int = 0) -> None:
        """Closes sockets and context; what was sent has ``linger_ms`` to leave."""
        sockets, self.sockets = self.sockets, {}
        for socket in sockets.values():
            socket.close(linger_ms)
        self.context.term()

    def _send(self, socket: Any, frame: bytes) -> None:
        socket.send(frame, zmq.DONTWAIT)

    def _connect(self, name: str, kind: int, endpoint: str) -> None:
        socket = self.context.socket(kind)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.SNDHWM, HIGH_WATER)
        socket.setsockopt(zmq.RCVHWM, HIGH_WATER)
        socket.setsockopt(zmq.MAXMSGSIZE, p.MAX_SERVER_FRAME)
        socket.setsockopt(zmq.RECONNECT_IVL, 20)
        socket.setsockopt(zmq.RECONNECT_IVL_MAX, 500)
        if self.key is not None:
            self.key.use(socket)
        socket.connect(endpoint)
        self.sockets[name] = socket
        self._opened(name, socket)

    def _opened(self, name: str, socket: Any) -> None:
        """A socket was made: the driver listens on it from now on."""
