"""A client's end of the leash: a Unix connection and, where there is one, a lock that the kernel lets go of.

A process that dies closes its connections late, after all of its memory has been taken down. A robust lock
(:mod:`engine.core.robust`) is the first of what it loses, so the bridge is given one to watch as well.
"""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING

from bridge import protocol as p

if TYPE_CHECKING:
    from engine.core.robust import RobustLock

CONNECT_S = 0.05


def _lock() -> RobustLock | None:
    """A lock held by this thread; None where there is no compiled core, or none of its kind."""
    try:
        from engine.core.robust import RobustLock

        return RobustLock()
    except (ImportError, OSError):
        return None


class Hold:
    """A leash that is held, by the thread that makes it: a client whose thread has ended is lost as well.

    Args:
        base: The bridge's base endpoint.
        session: The session's id.

    Raises:
        OSError: There is no leash: heartbeats find out as well, only later.
    """

    def __init__(self, base: str, session: str) -> None:
        path = p.leash_path(base)
        if not path:
            raise OSError("no leash over tcp")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self._lock = _lock()
        line = f"{session}\n".encode()
        try:
            self._socket.settimeout(CONNECT_S)
            self._socket.connect(path)
            if self._lock is None:
                self._socket.sendall(line)
            else:
                socket.send_fds(self._socket, [line], [self._lock.fd])
        except OSError:
            self._end()
            raise

    def let_go(self) -> None:
        """Says that the process lives, and lets go."""
        with contextlib.suppress(OSError):
            self._socket.sendall(b"goodbye\n")
        self._end()

    def _end(self) -> None:
        if self._lock is not None:
            self._lock.release()
        self._socket.close()
