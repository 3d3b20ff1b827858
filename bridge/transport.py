"""What lies between a client's session and its driver: the four sockets, futures and queues.

The driver chooses the ZeroMQ context, and so whether the sockets are asyncio's.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

import zmq

from bridge import protocol as p
from bridge.auth import ClientKey
from bridge.hold import Hold

if TYPE_CHECKING:
    from bridge.lane import Lane

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

    def open(self, base: str, channels: Collection[str]) -> None:
        """Connects the order and control sockets that are named."""

    def open_streams(self, market: str, telemetry: str) -> None:
        """Connects the two subscribers."""

    def renew_market(self, market: str) -> None:
        """Throws away what waits of the market; subscriptions to it are gone, those of a lane stay."""

    def hold_leash(self, base: str, session: str) -> None:
        """Lets the server know at once when this process ends."""

    trouble: str
    """Why there is no connection, where that is known."""

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
        lanes: Whether to use a lane of shared memory where the bridge of an ipc endpoint offers one.
    """

    def __init__(self, context: zmq.Context[Any]) -> None:
        self.context = context
        self.key: ClientKey | None = None
        self.sockets: dict[str, Any] = {}
        self.trouble = ""
        self.lanes = False
        self._leash: Hold | None = None
        self._lane: Lane | None = None

    def open(self, base: str, channels: Collection[str]) -> None:
        """Connects the order and control sockets that are named, or a lane in place of the first."""
        self.close()
        self.trouble = ""
        insists = base.startswith("shm://")
        if insists or (self.lanes and self.key is None and "orders" in channels):
            refused = self._open_lane(p.lane_path(base))
            self.trouble = refused if insists else ""
        for channel in channels:
            if channel == "orders" and self._lane is not None:
                self.sockets[channel] = self._lane.ends[channel]
            elif channel != "orders" or not insists:
                self._connect(channel, zmq.DEALER, p.socket_endpoint(base, channel))

    def _open_lane(self, path: str) -> str:
        """Asks for a lane; why there is none, or empty."""
        if not path:
            return "no place on this machine"
        try:
            # Its rings are the engine's, which no other client has to load, or to have.
            from bridge.lane import Lane
        except ImportError as error:
            return f"no lanes without the compiled core: {error}"
        try:
            lane = Lane(path)
        except OSError as error:
            return f"{path}: {error.strerror}"
        if not lane.taken():
            lane.close()
            return f"{path}: the bridge gives no lane"
        self._lane = lane
        self._lane_opened(lane)
        return ""

    def arm(self) -> bool:
        """Before waiting for what is in :attr:`sockets`: False if a lane has something already."""
        return self._lane is None or self._lane.arm()

    def disarm(self) -> bool:
        """After waiting; False if the lane has been cut, and so the connection is gone."""
        if self._lane is None or self._lane.disarm():
            return True
        self._close_lane()
        return False

    @property
    def only_lane(self) -> bool:
        """Whether everything goes over a lane."""
        return self._lane is not None and "control" not in self.sockets

    def _close_lane(self) -> None:
        lane, self._lane = self._lane, None
        if lane is not None:
            for end in lane.ends:
                self.sockets.pop(end, None)
            lane.close()

    def open_streams(self, market: str, telemetry: str) -> None:
        """Connects the two subscribers."""
        if self._lane is not None:
            self.sockets["market"] = self._lane.ends["market"]
            return
        for name, endpoint in (("market", market), ("telemetry", telemetry)):
            self._reconnect(name, endpoint)

    def _reconnect(self, name: str, endpoint: str) -> None:
        old = self.sockets.pop(name, None)
        if old is not None:
            old.close(0)
        self._connect(name, zmq.SUB, endpoint)

    def renew_market(self, market: str) -> None:
        """Throws away what waits of the market; subscriptions to it are gone, those of a lane stay."""
        if self._lane is not None:
            self._lane.ends["market"].skip()
        else:
            self._reconnect("market", market)

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

    def hold_leash(self, base: str, session: str) -> None:
        """Lets the server know at once when this process ends, where both are on one machine."""
        self._let_go()
        with contextlib.suppress(OSError):
            self._leash = Hold(base, session)

    def _let_go(self) -> None:
        leash, self._leash = self._leash, None
        if leash is not None:
            leash.let_go()

    def subscribe(self, topic: str, on: bool) -> None:
        """Subscribes or unsubscribes on the socket that carries the topic."""
        on_market = topic.startswith("md.") or self._lane is not None
        socket = self.sockets.get("market" if on_market else "telemetry")
        if socket is not None:
            socket.setsockopt(zmq.SUBSCRIBE if on else zmq.UNSUBSCRIBE, topic.encode())

    def close(self) -> None:
        """Drops all sockets and whatever is queued in them."""
        self._let_go()
        self._close_lane()
        sockets, self.sockets = self.sockets, {}
        for socket in sockets.values():
            socket.close(0)

    def finish(self, linger_ms: int = 0) -> None:
        """Closes sockets and context; what was sent has ``linger_ms`` to leave."""
        self._let_go()
        self._close_lane()
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

    def _lane_opened(self, lane: Lane) -> None:
        """A lane was made: the driver listens on it from now on."""
