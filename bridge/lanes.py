"""The bridge's end of all lanes: takes what clients on this machine push, and pushes what they are told.

To the rest of the bridge a lane is a client of the order socket with an identity of its own, and a
subscriber. A lane whose client writes nonsense is dropped; the client's heartbeats end with it.
"""

from __future__ import annotations

import logging
import os
import select
import socket
from collections import Counter
from collections.abc import Callable

from bridge import protocol as p
from bridge.lane import ORDERS, SUBSCRIBE, UNSUBSCRIBE, greeting
from bridge.unix import accept, listen, other_end
from engine.core.errors import RingCorrupt
from engine.core.frames import Frames
from engine.core.ring import Bell, Ring

MAX_LANES = 28
"""Lanes at once: a bell serves at most 32 rings, and four are the engine's."""
MAX_PREFIXES = 1024
"""Topics that one lane may subscribe to."""
MESSAGES_A_TURN = 64

Log = logging.Logger | logging.LoggerAdapter[logging.Logger]


class _Lane:
    """One client's rings."""

    def __init__(self, bell: Bell, up: Ring, answers: Ring, streams: Ring) -> None:
        self.bell = bell
        answers.set_bell(bell)
        streams.set_bell(bell)
        self.up, self.answers, self.streams = Frames(up), Frames(answers), Frames(streams)
        self.prefixes: set[str] = set()

    def wants(self, topic: str) -> bool:
        return any(topic.startswith(prefix) for prefix in self.prefixes)

    def close(self) -> None:
        self.bell.close()
        for frames in (self.up, self.answers, self.streams):
            frames.ring.close()


class Lanes:
    """The listening socket and all lanes.

    Args:
        base: The bridge's base endpoint; lanes exist with ipc only, and with none there are none.
        subscribed: Told when the first lane wants the topics of a prefix, and when the last one ceases to.
        wake_by: Told the bell of each new lane, which is to wake who sleeps and is emptied by him.
        log: Says who came and went.

    Attributes:
        rings: What clients push to.
        bells: What they ring then: descriptors.
        ending: Lanes whose client is gone, and whose last words are still to be taken.

    Raises:
        BridgeError: The socket cannot be made.
    """

    def __init__(
        self, base: str, subscribed: Callable[[str, bool], None], wake_by: Callable[[int], None], log: Log
    ) -> None:
        self._subscribed, self._wake_by, self._log = subscribed, wake_by, log
        self._epoll = select.epoll()
        self._lanes: dict[bytes, _Lane] = {}
        self._new: dict[int, socket.socket] = {}
        self._by_fd: dict[int, bytes] = {}
        self._wanted: Counter[str] = Counter()
        self._by_topic: dict[bytes, list[tuple[bytes, _Lane]]] = {}
        self.ending: set[bytes] = set()
        self._number = 0
        self.rings: tuple[Ring, ...] = ()
        self.bells: tuple[int, ...] = ()
        self._busy = False
        self._listener = listen(p.lane_path(base))
        if self._listener is not None:
            self._epoll.register(self._listener, select.EPOLLIN)

    def __len__(self) -> int:
        return len(self._lanes)

    def fileno(self) -> int:
        """A descriptor that is readable when :meth:`look` has something to do."""
        return self._epoll.fileno()

    # --- waking ----------------------------------------------------------------------------------------

    def was_busy(self) -> bool:
        """Whether a lane had something since this was asked last: more may come at once.

        Once for each time, so that a market that never rests keeps nobody from sleeping.
        """
        busy, self._busy = self._busy, False
        return busy

    def look(self) -> None:
        """Takes new lanes and finds those whose client is gone."""
        for descriptor, _ in self._epoll.poll(0):
            if self._listener is not None and descriptor == self._listener.fileno():
                self._accept()
            elif descriptor in self._new:
                self._greet(descriptor)
            else:
                self.ending.add(self._by_fd[descriptor])

    def _accept(self) -> None:
        assert self._listener is not None
        connection = accept(self._listener, room=len(self._lanes) + len(self._new) < MAX_LANES)
        if connection is None:
            return
        if other_end(connection)[1] != os.getuid():
            connection.close()
            return
        self._new[connection.fileno()] = connection
        self._epoll.register(connection, select.EPOLLIN | select.EPOLLRDHUP)

    def _greet(self, descriptor: int) -> None:
        connection = self._new.pop(descriptor)
        rings: list[Ring] = []
        try:
            rings.extend(greeting(connection))
        except (ValueError, OSError, RingCorrupt) as error:
            self._log.warning("refused a lane: %s", error)
            self._epoll.unregister(connection)
            connection.close()
            for ring in rings:
                ring.close()
            return
        self._number += 1
        # No client of a socket can have it: what those choose themselves does not begin with 0.
        identity = b"\0lane" + self._number.to_bytes(8, "big")
        bell = Bell.of_fd(connection.detach())
        self._lanes[identity] = _Lane(bell, *rings)
        self._list_rings()
        # Here it only tells of its end from now on.
        self._epoll.modify(descriptor, select.EPOLLRDHUP)
        self._wake_by(descriptor)
        # Who hears nothing uses the sockets.
        bell.ring()
        self._by_fd[descriptor] = identity

    def _drop(self, identity: bytes, why: str) -> None:
        lane = self._lanes.pop(identity)
        self._list_rings()
        self._by_topic.clear()
        self.ending.discard(identity)
        self._log.info("lane %d ends: %s", int.from_bytes(identity[5:], "big"), why)
        for prefix in lane.prefixes:
            self._forget(prefix)
        del self._by_fd[lane.bell.fd]
        self._epoll.unregister(lane.bell.fd)
        lane.close()

    def _list_rings(self) -> None:
        self.rings = tuple(lane.up.ring for lane in self._lanes.values())
        self.bells = tuple(lane.bell.fd for lane in self._lanes.values())

    # --- messages --------------------------------------------------------------------------------------

    def receive(self, take: Callable[[bytes, bytes], None]) -> bool:
        """Takes a turn's messages of each lane.

        Args:
            take: Called with a lane's identity and each message of the order socket.

        Returns:
            Whether there may be more.
        """
        more = False
        for identity, lane in tuple(self._lanes.items()):
            try:
                if not self.ending and not len(lane.up.ring):
                    continue
                messages = lane.up.take(MESSAGES_A_TURN)
            except RingCorrupt as error:
                self._drop(identity, str(error))
                continue
            self._busy |= bool(messages)
            more |= len(messages) == MESSAGES_A_TURN
            if identity in self.ending and len(messages) < MESSAGES_A_TURN:
                # Only now: its last words may have been a goodbye.
                self._drop(identity, "its client is gone")
            for tag, _, body in messages:
                if tag == ORDERS:
                    take(identity, body)
                elif tag in (SUBSCRIBE, UNSUBSCRIBE):
                    self._subscribe(lane, body.decode("latin-1"), tag == SUBSCRIBE)
        return more

    def _subscribe(self, lane: _Lane, prefix: str, on: bool) -> None:
        if on and prefix not in lane.prefixes and len(lane.prefixes) < MAX_PREFIXES:
            lane.prefixes.add(prefix)
            self._by_topic.clear()
            self._wanted[prefix] += 1
            if self._wanted[prefix] == 1:
                self._subscribed(prefix, True)
        elif not on and prefix in lane.prefixes:
            lane.prefixes.remove(prefix)
            self._by_topic.clear()
            self._forget(prefix)

    def _forget(self, prefix: str) -> None:
        self._wanted[prefix] -= 1
        if not self._wanted[prefix]:
            del self._wanted[prefix]
            self._subscribed(prefix, False)

    def has(self, identity: bytes) -> bool:
        """Whether an identity is a lane's, or was."""
        return identity.startswith(b"\0lane")

    def longest(self, identity: bytes) -> int:
        """Bytes of an answer at most; 0 of a lane that has ended."""
        lane = self._lanes.get(identity)
        return 0 if lane is None else lane.answers.longest

    def send(self, identity: bytes, frame: bytes) -> bool:
        """Sends an answer; False if its client is gone or reads too slowly."""
        lane = self._lanes.get(identity)
        if lane is None or len(frame) > lane.answers.longest:
            return False
        try:
            self._busy = True
            return lane.answers.send(0, frame)
        except RingCorrupt as error:
            self._drop(identity, str(error))
            return False

    def publish(self, topic: bytes, frame: bytes) -> None:
        """Sends a message of a stream to those who want it; who reads too slowly sees a gap."""
        wanting = self._by_topic.get(topic)
        if wanting is None:
            name = topic.decode("latin-1")
            wanting = [one for one in self._lanes.items() if one[1].wants(name)]
            self._by_topic[topic] = wanting
        for identity, lane in tuple(wanting):
            try:
                if len(frame) <= lane.streams.longest:
                    lane.streams.send(0, frame, topic)
            except RingCorrupt as error:
                self._drop(identity, str(error))

    def close(self) -> None:
        """Lets everybody go."""
        for identity in list(self._lanes):
            self._drop(identity, "the bridge stops")
        for connection in self._new.values():
            connection.close()
        if self._listener is not None:
            self._listener.close()
        self._epoll.close()
