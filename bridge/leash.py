"""The leash: a Unix socket that a client on this machine holds, and the kernel drops with its process.

Heartbeats need three of their intervals to find that somebody is gone; the kernel knows at once. A client
connects after its welcome, writes its session's id and a line's end, and keeps the connection. It lets go in
good order with another line ``goodbye``; an end without it means that the process is dead.

The kernel closes a dead process's connections last, milliseconds later if the process was large. With its
line a client may hand over a robust lock (:mod:`engine.core.robust`), which is lost first.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
from collections.abc import Callable
from dataclasses import dataclass

from bridge import protocol as p
from bridge.unix import accept, listen, other_end
from engine.core import robust
from engine.core.errors import CapacityError

MAX_LEASHES = 1024
MAX_LINE = 80
MAX_FILES = 4
"""Descriptors that one read takes; what a client sends beyond its lock is closed."""
PATIENCE = 100
"""Ticks that a connection has to name its session."""


@dataclass(eq=False)
class Leash:
    """One connection: its process's descriptor and its lock, where there are such, and what it has said."""

    socket: socket.socket
    process: int = -1
    lock: int = -1
    session: str = ""
    text: bytes = b""
    age: int = 0


class Leashes:
    """The listening socket and all leashes.

    Args:
        base: The bridge's base endpoint; leashes exist with ipc only.
        known: Whether a session may be held by a leash now.
        lost: Called with a session whose process is dead.

    Raises:
        BridgeError: The socket cannot be made.
    """

    def __init__(self, base: str, known: Callable[[str], bool], lost: Callable[[str], None]) -> None:
        self._known, self._lost = known, lost
        self._epoll = select.epoll()
        self._leashes: dict[int, Leash] = {}
        self._by_session: dict[str, Leash] = {}
        self._by_lock: dict[int, Leash] = {}
        self._watch = robust.RobustWatch() if robust.available() else None
        self._listener = listen(p.leash_path(base))
        if self._listener is not None:
            self._epoll.register(self._listener, select.EPOLLIN)

    @property
    def descriptors(self) -> frozenset[int]:
        """One of them is readable when :meth:`look` has something to do."""
        watch = () if self._watch is None else (self._watch.fileno(),)
        return frozenset((self._epoll.fileno(), *watch))

    def look(self) -> None:
        """Takes new leashes and finds those whose process is dead."""
        if self._watch is not None:
            self._look_at_locks(self._watch)
        for descriptor, _ in self._epoll.poll(0):
            if self._listener is not None and descriptor == self._listener.fileno():
                self._accept()
            elif (leash := self._leashes.get(descriptor)) is not None:
                if descriptor == leash.process:
                    self._dead(leash)
                else:
                    self._read(leash)

    def tick(self) -> None:
        """One tick: who has not named a session in time is let go."""
        for leash in list(self._leashes.values()):
            if not leash.session:
                leash.age += 1
                if leash.age > PATIENCE:
                    self._drop(leash)

    def _accept(self) -> None:
        assert self._listener is not None
        connection = accept(self._listener, room=len(self._leashes) < MAX_LEASHES)
        if connection is None:
            return
        leash = Leash(connection)
        self._leashes[connection.fileno()] = leash
        self._epoll.register(connection, select.EPOLLIN)
        # A fork that the client made keeps the connection open; its own descriptor tells of it alone.
        with contextlib.suppress(OSError, AttributeError):
            pid, _ = other_end(connection)
            if pid > 0 and pid != os.getpid():
                leash.process = os.pidfd_open(pid)
                self._leashes[leash.process] = leash
                self._epoll.register(leash.process, select.EPOLLIN)

    def _look_at_locks(self, watch: robust.RobustWatch) -> None:
        for place in watch.dead():
            leash = self._by_lock[place]
            # Its last words first.
            self._read(leash)
            if leash.lock == place:
                self._dead(leash)

    def _lock(self, leash: Leash, files: list[int]) -> None:
        """Watches the lock that came with a line."""
        try:
            if files and leash.lock < 0 and self._watch is not None:
                # Without it the connection tells, only later.
                with contextlib.suppress(ValueError, OSError, CapacityError):
                    leash.lock = self._watch.add(files[0])
                    self._by_lock[leash.lock] = leash
        finally:
            for file in files:
                os.close(file)

    def _read(self, leash: Leash) -> None:
        files: list[int] = []
        try:
            if leash.session:
                data = leash.socket.recv(MAX_LINE)
            else:
                data, files, _, _ = socket.recv_fds(leash.socket, MAX_LINE, MAX_FILES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self._lock(leash, files)
        if not data:
            self._dead(leash)
            return
        leash.text += data
        while b"\n" in leash.text:
            line, leash.text = leash.text.split(b"\n", 1)
            if leash.session or not self._name(leash, line.decode("latin-1")):
                self._drop(leash)
                return
        if len(leash.text) > MAX_LINE:
            self._drop(leash)

    def _name(self, leash: Leash, session: str) -> bool:
        if not self._known(session):
            return False
        # A session that was resumed elsewhere is held there from now on.
        before = self._by_session.get(session)
        if before is not None:
            self._drop(before)
        leash.session = session
        self._by_session[session] = leash
        return True

    def _dead(self, leash: Leash) -> None:
        session, leash.session = leash.session, ""
        if self._by_session.get(session) is leash:
            del self._by_session[session]
            # Before anything else that costs a moment: there are orders to be cancelled.
            self._lost(session)
        self._drop(leash)

    def _drop(self, leash: Leash) -> None:
        if self._by_session.get(leash.session) is leash:
            del self._by_session[leash.session]
        for descriptor in (leash.socket.fileno(), leash.process):
            if self._leashes.pop(descriptor, None) is not None:
                self._epoll.unregister(descriptor)
        if leash.lock >= 0 and self._watch is not None:
            del self._by_lock[leash.lock]
            self._watch.remove(leash.lock)
            leash.lock = -1
        leash.socket.close()
        if leash.process >= 0:
            os.close(leash.process)
            leash.process = -1

    def close(self) -> None:
        """Lets everybody go."""
        for leash in list(self._leashes.values()):
            self._drop(leash)
        if self._listener is not None:
            self._listener.close()
        if self._watch is not None:
            self._watch.close()
        self._epoll.close()
