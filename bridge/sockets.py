"""The bridge's four ZeroMQ sockets, and whose connection a message came over."""

from __future__ import annotations

import contextlib
import select
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import zmq

from bridge import protocol as p
from bridge import zap
from bridge.endpoints import private_directory
from bridge.errors import BridgeError
from bridge.keyring import Keyring
from bridge.outlets import Outlets, own_process
from bridge.roles import OWN_PROCESS, Grant

PUBLISHED_HIGH_WATER = 16_384
"""Messages that wait for one subscriber before more are dropped; its gaps are healed by replays."""
ANSWERS_HIGH_WATER = 4_096
"""Answers and executions that wait for one client before more are dropped; executions are replayed too."""
REQUESTS_HIGH_WATER = 256
"""Messages that wait of one client before its own sends do: of the longest, some 16 MB."""
SUBSCRIPTIONS_HIGH_WATER = 16
MAX_PARTS = 8
"""Parts of a message that are looked at: a client's has one, and the identity before it."""
BACKLOG = 128
LINGER_MS = 200
MESSAGES_A_TURN = 64

Socket = zmq.Socket[Any]
_EVENTS, _POLLIN = int(zmq.EVENTS), int(zmq.POLLIN)


class Doors:
    """The sockets, open to the user's own processes, or to who has a key.

    Args:
        base: The base endpoint.
        keyring: The keys; None where only the user's own processes can reach the sockets.
        symbols: The engine's instruments.
        subscribed: Told the first subscriber of a prefix of market data, and the going of the last.

    Raises:
        BridgeError: An endpoint is taken, or its directory is somebody else's.
    """

    def __init__(
        self,
        base: str,
        keyring: Keyring | None,
        symbols: Iterable[str],
        subscribed: Callable[[str, bool], None],
    ) -> None:
        self.keyring = keyring
        self.dropped = self.strangers = 0
        self._context: zmq.Context[Socket] = zmq.Context()
        if base.startswith("ipc://"):
            private_directory(Path(base.removeprefix("ipc://")))
        try:
            self.zap = zap.Zap(self._context, keyring) if keyring else None
            self._routers = {name: self._router(base, name) for name in ("orders", "control")}
            grant = self._grant if keyring else own_process
            self._outlets = Outlets(self._make, base, grant, symbols, subscribed)
        except BaseException:
            self._context.destroy(0)
            raise
        self._epoll = select.epoll()
        self._names: dict[int, str] = {}
        self._sockets: dict[str, Socket] = {}
        # Sockets that were used since they were last found empty: their descriptor says nothing of what a
        # call of any kind has taken notice of.
        self._used: set[str] = set()
        self._watch()

    def _make(self, kind: int, name: str) -> Socket:
        socket = self._context.socket(kind)
        publishes = kind == zmq.XPUB
        socket.setsockopt(zmq.LINGER, LINGER_MS)
        socket.setsockopt(zmq.SNDHWM, PUBLISHED_HIGH_WATER if publishes else ANSWERS_HIGH_WATER)
        socket.setsockopt(zmq.RCVHWM, SUBSCRIPTIONS_HIGH_WATER if publishes else REQUESTS_HIGH_WATER)
        socket.setsockopt(zmq.MAXMSGSIZE, p.MAX_SUBSCRIPTION if publishes else p.MAX_FRAME)
        socket.setsockopt(zmq.HANDSHAKE_IVL, zap.HANDSHAKE_MS)
        socket.setsockopt(zmq.BACKLOG, BACKLOG)
        if self.keyring is not None:
            zap.guard(socket, self.keyring)
        return socket

    def _router(self, base: str, name: str) -> Socket:
        socket = self._make(zmq.ROUTER, name)
        endpoint = p.socket_endpoint(base, name)
        try:
            socket.bind(endpoint)
        except zmq.ZMQError as error:
            raise BridgeError(f"{endpoint}: {error.strerror or error}") from None
        return socket

    def wake_by(self, descriptor: int) -> None:
        """Has :meth:`fileno` be readable for a file descriptor as well."""
        self._epoll.register(descriptor, select.EPOLLIN)

    def _watch(self) -> None:
        """Has :meth:`fileno` be readable for all sockets as they are now."""
        for descriptor in self._names:
            # Of a socket that was closed, it is gone already.
            with contextlib.suppress(OSError):
                self._epoll.unregister(descriptor)
        self._sockets = self._routers | self._outlets.sockets
        if self.zap is not None:
            self._sockets["zap"] = self.zap.socket
        self._names = {socket.FD: name for name, socket in self._sockets.items()}
        for descriptor in self._names:
            self._epoll.register(descriptor, select.EPOLLIN)
        self._used = set(self._sockets)

    def fileno(self) -> int:
        """An epoll descriptor that is readable when there may be something to do."""
        return self._epoll.fileno()

    def noticed(self, ready: Iterable[int]) -> None:
        """Some descriptors were found ready, perhaps sockets' among them."""
        for descriptor in ready:
            name = self._names.get(descriptor)
            if name is not None:
                self._used.add(name)

    @property
    def knocks(self) -> bool:
        """Whether it is worth looking at any socket, or at the keys."""
        return bool(self._used) or self.keyring is not None

    def waiting(self, name: str) -> bool:
        """Whether a socket has something to read."""
        if name not in self._used:
            return False
        if self._sockets[name].get(_EVENTS) & _POLLIN:
            return True
        self._used.discard(name)
        return False

    def any_waiting(self) -> bool:
        """Whether any socket has something to read; their descriptors may not tell."""
        return bool(self._used) and any(self.waiting(name) for name in tuple(self._used))

    def send(self, channel: str, identity: bytes, frame: bytes) -> None:
        """Sends to a client without waiting."""
        self._used.add(channel)
        try:
            self._routers[channel].send_multipart((identity, frame), zmq.DONTWAIT)
        except zmq.ZMQError:
            self.dropped += 1

    def look_everywhere(self) -> None:
        """As :meth:`look`, without :meth:`noticed` before it."""
        self._used.update(self._sockets)
        self.look()

    def look(self) -> bool:
        """Answers who asks to come in, and takes a turn's subscriptions; whether there were any."""
        if self.zap is not None and self.waiting("zap"):
            self.zap.answer()
        subscribed = [name for name in self._outlets.sockets if self.waiting(name)]
        for name in subscribed:
            self._outlets.look(name)
        return bool(subscribed)

    def publish(self, topic: bytes, frame: bytes) -> None:
        """Sends to all subscribers without waiting: a slow one loses messages."""
        name = "market" if topic.startswith(b"md.") else "telemetry"
        if self._outlets.publish(name, topic, frame):
            self._used.add(name)

    def receive(self, channel: str) -> Iterator[tuple[list[bytes], Grant]]:
        """A turn's messages of a socket, each with whose it is.

        What comes over a connection whose key was revoked is dropped.
        """
        socket, keyed = self._routers[channel], self.keyring is not None
        for _ in range(MESSAGES_A_TURN):
            try:
                identity = socket.recv(zmq.DONTWAIT)
            except zmq.Again:
                return
            frames, grant = [identity], None if keyed else OWN_PROCESS
            while socket.getsockopt(zmq.RCVMORE):
                part = socket.recv(zmq.DONTWAIT, copy=not keyed)
                # All parts are taken from the socket, but a message of many is not put together.
                if len(frames) < MAX_PARTS:
                    frames.append(part.bytes if keyed else part)
                    grant = self._grant(part) if keyed else grant
            if grant is None:
                self.strangers += 1
            else:
                yield frames, grant

    def _grant(self, frame: zmq.Frame) -> Grant | None:
        """What the connection that a frame came over stands for at this moment."""
        assert self.keyring is not None
        try:
            return self.keyring.grant(str(frame.get("User-Id")))
        except (zmq.ZMQError, UnicodeDecodeError):
            return None

    def revoked(self) -> bool:
        """Whether somebody has lost what his key gave him since this was asked last."""
        if self.keyring is None:
            return False
        self.keyring.refresh()
        lost, self.keyring.lost = self.keyring.lost, False
        return lost

    def renew(self) -> None:
        """Has all subscribers come back, so that those who may not any more are gone.

        Raises:
            BridgeError: An endpoint was taken meanwhile.
        """
        self._outlets.renew()
        self._watch()

    def refused(self) -> Mapping[str, int]:
        """Connections that were refused since this was asked last, by address."""
        if self.zap is None or not self.zap.refused:
            return {}
        refused, self.zap.refused = self.zap.refused, Counter()
        return refused

    def flooded(self) -> bool:
        """Whether the subscribers must come back because of what one of them has subscribed to.

        His key is good for nothing for some time, so that he does not come back with the rest.
        """
        if not self._outlets.flooded:
            return False
        if self.keyring is not None:
            self.keyring.bar(self._outlets.busiest())
        return True

    def close(self, linger_ms: int = LINGER_MS) -> None:
        """Closes all sockets."""
        self._epoll.close()
        self._context.destroy(linger_ms)
