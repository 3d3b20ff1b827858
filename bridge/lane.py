"""A lane: three rings of shared memory between a client and the bridge of its machine, in place of sockets.

The client makes the memory, so that nothing is left behind when it dies: two files of no name, handed over
a Unix socket, which afterwards is the bell of both ends: a byte on it wakes who sleeps, its end says that
the other one is gone. What goes over a lane is what goes over the order, the market and the telemetry socket,
byte by byte; the control socket stays what it is.

The ends of a lane look like the sockets that they stand for, as far as :mod:`bridge.transport` uses them.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import socket
from collections import deque
from collections.abc import Iterator, Sequence

import zmq

from engine.core.errors import CapacityError
from engine.core.frames import Frames
from engine.core.ring import Bell, Ring
from engine.core.sleeper import Lookout, Sleeper

GREETING = b"ringbook lane 1\n"
SLOT = 64
UP_SLOTS, ANSWER_SLOTS, STREAM_SLOTS = 1 << 13, 1 << 16, 1 << 16
"""Slots of the rings: half a megabyte to the bridge, four of answers and four of streams back."""
SPIN_NS = 60_000
"""How long an end that has just had something to do looks for more before it sleeps."""
BOTH = 3
NAMES = ((), ("orders",), ("market",), ("orders", "market"))
"""Ends of a lane by the bits of their rings."""
TAKEN_S = 0.1
"""How long the bridge has to take a lane that it is offered."""
SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL
"""Of the memory: nobody can take it away under the other end."""
ORDERS, SUBSCRIBE, UNSUBSCRIBE = 1, 2, 3
"""Tags of what a client sends; what it gets is told apart by the ring."""


def memory(name: str, slots: int) -> tuple[int, Ring]:
    """Makes a ring in a file of no name, which cannot shrink.

    Args:
        name: What the system shows of it.
        slots: Of 64 bytes.

    Returns:
        The file's descriptor, and the ring.

    Raises:
        OSError: There is no memory for it.
    """
    fd = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        ring = Ring.create_in(fd, slots, SLOT)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, SEALS)
    except CapacityError as error:
        os.close(fd)
        # Who connects tries again after an OSError, and another time there may be memory.
        raise OSError(errno.ENOMEM, f"no room for a ring: {error}") from None
    except BaseException:
        os.close(fd)
        raise
    return fd, ring


class Lane:
    """A client's end.

    Args:
        path: The bridge's Unix socket for lanes.

    Raises:
        OSError: Nobody listens there, or there is no memory for the rings.
    """

    def __init__(self, path: str) -> None:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        files: list[int] = []
        rings: list[Ring] = []
        try:
            connection.connect(path)
            for name, slots in (("up", UP_SLOTS), ("answers", ANSWER_SLOTS), ("streams", STREAM_SLOTS)):
                fd, ring = memory(f"ringbook-{name}", slots)
                files.append(fd)
                rings.append(ring)
            socket.send_fds(connection, [GREETING], files)
            self.bell = Bell.of_fd(connection.detach())
        finally:
            connection.close()
            for fd in files:
                os.close(fd)
        self._watch = select.poll()
        self._watch.register(self.bell.fd, select.POLLRDHUP)
        up, answers, streams = rings
        up.set_bell(self.bell)
        self._rings: tuple[Ring, ...] = (answers, streams)
        self.up: Frames | None = Frames(up)
        self.ends = {
            "orders": LaneEnd(self, Frames(answers)),
            "market": LaneEnd(self, Frames(streams)),
        }
        self._lookout = Lookout(SPIN_NS)
        self._busy = self._armed = False

    @property
    def fd(self) -> int:
        """Readable when the bridge has rung; -1 once closed."""
        return self.bell.fd

    def taken(self) -> bool:
        """Waits for the bridge's word that it has the lane; False if it refuses, or says nothing."""
        answer = select.poll()
        answer.register(self.bell.fd, select.POLLIN)
        if not answer.poll(TAKEN_S * 1000):
            return False
        try:
            return bool(os.read(self.bell.fd, 1))
        except OSError:
            return False

    def send(self, tag: int, body: bytes) -> bool:
        """Sends without waiting; False if the ring is full."""
        up = self.up
        return up is not None and up.send(tag, body)

    def sleeper(self, epoll: int) -> Sleeper:
        """What :meth:`sleep` sleeps by.

        Args:
            epoll: An epoll descriptor in which :attr:`fd` is registered, and whatever else is to wake.
        """
        return Sleeper(epoll, self.bell, self._lookout)

    def sleep(self, sleeper: Sleeper, timeout_s: float) -> Sequence[int]:
        """Looks for a while if something came lately, then sleeps until there is something.

        Args:
            sleeper: Of :meth:`sleeper`; its ``filled`` is for :meth:`names` afterwards.
            timeout_s: The longest wait, seconds.

        Returns:
            Descriptors that are ready, without :attr:`fd`.
        """
        look, self._busy = self._busy, False
        return sleeper.sleep(self._rings, BOTH, (), (), timeout_s, look)

    def names(self, filled: int) -> Sequence[str]:
        """The ends that have something to take."""
        return NAMES[filled]

    def arm(self) -> bool:
        """Looks for a while if something came lately, then asks to be rung; False if a ring has something."""
        if self._busy and self._lookout.look(self._rings):
            return False
        self._busy = False
        self._armed = self.bell.arm(self._rings)
        return self._armed

    def disarm(self) -> bool:
        """No ringing is needed any more; False if the bridge has let go and nothing is left to read."""
        if not self._armed:
            return True
        self._armed = False
        self.bell.disarm(self._rings)
        return any(len(ring) for ring in self._rings) or not self.is_cut()

    def has_more(self) -> None:
        """Something came: more may follow at once."""
        self._busy = True

    def is_cut(self) -> bool:
        """Whether the bridge has let go."""
        return bool(self._watch.poll(0))

    def close(self) -> None:
        """Lets go; the memory goes with its last user, perhaps a thread that just looks at it."""
        if self.bell.fd >= 0:
            self.bell.close()
            self.up, self._rings = None, ()
            for end in self.ends.values():
                end.drop()


class LaneEnd:
    """One ring of a lane, in the place of a socket."""

    def __init__(self, lane: Lane, frames: Frames) -> None:
        self.lane = lane
        self._frames: Frames | None = frames
        self._taken: deque[list[bytes]] = deque()

    @property
    def FD(self) -> int:
        """As a socket's: readable when there may be something."""
        return self.lane.fd

    def send(self, frame: bytes, flags: int = 0) -> None:
        """Sends a message of the order socket.

        Raises:
            zmq.Again: The ring is full, or the lane closed.
        """
        up = self.lane.up
        if up is None or not up.send(ORDERS, frame):
            raise zmq.Again

    def setsockopt(self, option: int, value: bytes) -> None:
        """Subscribes or unsubscribes."""
        if option in (zmq.SUBSCRIBE, zmq.UNSUBSCRIBE):
            self.lane.send(SUBSCRIBE if option == zmq.SUBSCRIBE else UNSUBSCRIBE, value)

    def take(self, most: int) -> list[list[bytes]]:
        """Takes messages, at most so many, each as :meth:`recv_multipart` does."""
        messages: list[list[bytes]] = []
        if self._taken:
            messages += self._taken
            self._taken.clear()
        if self._frames is not None:
            messages += self._frames.take_parts(most - len(messages))
        if messages:
            self.lane.has_more()
        return messages

    def skip(self) -> None:
        """Throws away what waits."""
        self._taken.clear()
        if self._frames is not None:
            for _ in range(len(self._frames.ring) + 1):
                if not self._frames.take():
                    break

    def recv_multipart(self, flags: int = 0) -> list[bytes]:
        """Takes a message; one of a stream has its topic in front.

        Raises:
            zmq.Again: There is none.
        """
        if not self._taken:
            frames = self._frames
            if frames is not None:
                self._taken.extend(frames.take_parts())
            if not self._taken:
                raise zmq.Again
            self.lane.has_more()
        return self._taken.popleft()

    def close(self, linger: int = 0) -> None:
        """Lets go of the whole lane: a client has all of it or none."""
        self.lane.close()

    def drop(self) -> None:
        """The lane is closed: there is nothing to take any more."""
        self._taken.clear()
        self._frames = None


def greeting(connection: socket.socket) -> Iterator[Ring]:
    """The three rings that a client hands over, each looked at before it is mapped.

    Args:
        connection: From which the greeting can be read.

    Raises:
        ValueError: It is no greeting, or the memory is not of the kind that may be trusted.
        RingCorrupt: A file holds no ring.
        OSError: The connection is gone.
    """
    text, files, _, _ = socket.recv_fds(connection, len(GREETING), 8)
    try:
        if text != GREETING or len(files) != 3:
            raise ValueError(f"no greeting: {text[:32]!r} with {len(files)} files")
        for fd, slots in zip(files, (UP_SLOTS, ANSWER_SLOTS, STREAM_SLOTS), strict=True):
            seals = 0
            with contextlib.suppress(OSError):
                seals = fcntl.fcntl(fd, fcntl.F_GET_SEALS)
            if not seals & fcntl.F_SEAL_SHRINK:
                raise ValueError("the memory could be taken away: it is not sealed against shrinking")
            if os.fstat(fd).st_blocks * 512 < slots * SLOT:
                raise ValueError("the memory is not there yet")
            ring = Ring.attach_in(fd)
            if (ring.capacity, ring.slot_size) != (slots, SLOT):
                raise ValueError(f"a ring of {ring.capacity} slots of {ring.slot_size} bytes")
            yield ring
    finally:
        for fd in files:
            os.close(fd)
