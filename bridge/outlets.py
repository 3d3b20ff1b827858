"""The two sockets that publish, and who may subscribe to what on them.

Market data is for whoever has come in. Subscriptions to telemetry are taken by hand: each is looked at, with
the key of the connection that it came over, before libzmq sends anything for it. libzmq keeps what anybody
has subscribed to, so the bytes of it are counted; who subscribes without end costs all a reconnect, not
memory.
A publishing socket cannot drop a single subscriber: when a key is revoked, both are made anew, the clients
come back within milliseconds, and what they missed meanwhile is replayed as any gap is.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import zmq

from bridge import protocol as p
from bridge.errors import BridgeError
from bridge.roles import OWN_PROCESS, Grant

MAX_TOPIC = 256
"""Longest prefix that anybody may subscribe to."""
MESSAGES_A_TURN = 4096
"""What subscribers send is taken sooner than they can send it: libzmq keeps all that has come, endlessly."""
MAX_UNKNOWN = 128 * 1024
"""Bytes of subscriptions to no topic at which the sockets are made anew: each takes some 50 bytes."""
PREFIX_COST = 4
TOPICS = (p.depth_topic, p.trade_topic, p.feature_topic, p.signal_topic)
REBIND_S = 2.0

Socket = zmq.Socket[Any]
_FIRST, _LAST = int(zmq.DONTWAIT | zmq.SNDMORE), int(zmq.DONTWAIT)


class Outlets:
    """The market and the telemetry socket.

    Args:
        make: Makes a socket of a type and a name, ready to be bound.
        base: The base endpoint.
        grant: What a user id of libzmq stands for; None if nothing any more.
        symbols: The engine's instruments.
        subscribed: Told the first subscriber of a prefix of market data, and the going of the last.

    Raises:
        BridgeError: An endpoint is taken.
    """

    def __init__(
        self,
        make: Callable[[int, str], Socket],
        base: str,
        grant: Callable[[zmq.Frame], Grant | None],
        symbols: Iterable[str],
        subscribed: Callable[[str, bool], None],
    ) -> None:
        self.sockets: dict[str, Socket] = {}
        self.refused = 0
        self._make, self._base, self._grant, self._subscribed = make, base, grant, subscribed
        topics = [make(symbol) for symbol in symbols for make in TOPICS]
        self._known = frozenset(topic.encode() for topic in ("", "md.", "tm.", *p.TELEMETRY_TOPICS, *topics))
        self._prefixes: set[bytes] = set()
        # What anybody has subscribed to of telemetry since its socket was made.
        self._telemetry: set[bytes] = set()
        self._wanted: dict[bytes, bool] = {}
        self._bytes = 0
        self._by_key: Counter[str] = Counter()
        for name in ("market", "telemetry"):
            self._open(name, 0.0)

    def _open(self, name: str, patience_s: float) -> None:
        # XPUB tells what is subscribed to: market data that nobody wants is not worth encoding.
        socket = self._make(zmq.XPUB, name)
        if name == "telemetry":
            socket.setsockopt(zmq.XPUB_MANUAL, 1)
        endpoint = p.socket_endpoint(self._base, name)
        deadline = time.monotonic() + patience_s
        while True:
            try:
                socket.bind(endpoint)
                break
            except zmq.ZMQError as error:
                if time.monotonic() >= deadline:
                    socket.close(0)
                    raise BridgeError(f"{endpoint}: {error.strerror or error}") from None
                time.sleep(0.005)
        self.sockets[name] = socket

    def publish(self, name: str, topic: bytes, frame: bytes) -> bool:
        """Sends to all subscribers of a topic without waiting; False if it is known to have none."""
        wanted = self._wanted.get(topic)
        if wanted is None:
            prefixes = self._prefixes if name == "market" else self._telemetry
            wanted = self._wanted[topic] = topic.startswith(tuple(prefixes))
        if not wanted:
            return False
        socket = self.sockets[name]
        socket.send(topic, _FIRST)
        socket.send(frame, _LAST)
        return True

    def look(self, name: str) -> None:
        """Takes a turn's subscriptions of a socket."""
        socket = self.sockets[name]
        take = self._on_market if name == "market" else self._on_telemetry
        for _ in range(MESSAGES_A_TURN):
            try:
                frame = socket.recv(zmq.DONTWAIT, copy=False)
            except zmq.Again:
                break
            # Subscribers may also send messages of their own, which mean nothing here.
            data = frame.bytes
            if data[:1] in (b"\x00", b"\x01"):
                take(data[1:], data[0] == 1, frame)

    def _on_market(self, prefix: bytes, on: bool, frame: zmq.Frame) -> None:
        # Told of the first subscriber of a prefix and of the going of the last, so this is what libzmq keeps.
        if on == (prefix in self._prefixes):
            return
        self._wanted.clear()
        if on:
            self._prefixes.add(prefix)
        else:
            self._prefixes.discard(prefix)
        if prefix not in self._known:
            self._cost(prefix, 1 if on else -1, self._grant(frame) if on else None)
        if len(prefix) <= MAX_TOPIC:
            self._subscribed(prefix.decode("latin-1"), on)

    def _on_telemetry(self, prefix: bytes, on: bool, frame: zmq.Frame) -> None:
        if not on:
            self.sockets["telemetry"].setsockopt(zmq.UNSUBSCRIBE, prefix)
            return
        grant = self._grant(frame)
        if prefix not in self._known:
            # Never counted down: anybody can unsubscribe from what he has not subscribed to.
            self._cost(prefix, 1, grant)
        if grant is not None and len(prefix) <= MAX_TOPIC and grant.sees(prefix.decode("latin-1")):
            self._wanted.clear()
            self._telemetry.add(prefix)
            self.sockets["telemetry"].setsockopt(zmq.SUBSCRIBE, prefix)
        else:
            self.refused += 1

    def _cost(self, prefix: bytes, sign: int, grant: Grant | None) -> None:
        cost = len(prefix) + PREFIX_COST
        self._bytes += sign * cost
        if grant is not None:
            self._by_key[grant.key] += cost

    def busiest(self) -> str:
        """The key that has subscribed to the most that is no topic; empty if no key has."""
        return self._by_key.most_common(1)[0][0] if self._by_key else ""

    @property
    def flooded(self) -> bool:
        """Whether more is subscribed to than anybody needs."""
        return self._bytes > MAX_UNKNOWN

    def renew(self) -> None:
        """Makes both sockets anew: every subscriber has to come back, and who may not, cannot.

        Raises:
            BridgeError: An endpoint was taken meanwhile.
        """
        for name, socket in list(self.sockets.items()):
            monitor = socket.get_monitor_socket(zmq.EVENT_CLOSED | zmq.EVENT_CLOSE_FAILED)
            socket.unbind(p.socket_endpoint(self._base, name))
            # The listener goes in a thread of libzmq's, and takes the file of an ipc socket along.
            monitor.poll(REBIND_S * 1000)
            socket.disable_monitor()
            monitor.close(0)
            socket.close(0)
            self._open(name, REBIND_S)
        for prefix in self._prefixes:
            self._subscribed(prefix.decode("latin-1"), False)
        self._prefixes.clear()
        self._telemetry.clear()
        self._wanted.clear()
        self._by_key.clear()
        self._bytes = 0


def own_process(_: zmq.Frame) -> Grant:
    """The grant of every connection where there are no keys."""
    return OWN_PROCESS
