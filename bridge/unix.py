"""Unix sockets beside the bridge's own: they listen in its private directory and know who connects."""

from __future__ import annotations

import socket
import struct
from pathlib import Path

from bridge.errors import BridgeError

BACKLOG = 128


def listen(path: str) -> socket.socket | None:
    """A stream socket that listens and does not block; None without a path.

    Args:
        path: Where; what a bridge before us left there is replaced.

    Raises:
        BridgeError: It cannot be made.
    """
    if not path:
        return None
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        Path(path).unlink(missing_ok=True)
        listener.bind(path)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise BridgeError(f"{path}: {error.strerror}") from None
    return listener


def accept(listener: socket.socket, *, room: bool) -> socket.socket | None:
    """Takes a connection that does not block; None if there is none, or no room for it.

    Args:
        listener: Of :func:`listen`.
        room: Whether there is room for another.
    """
    try:
        connection, _ = listener.accept()
    except OSError:
        return None
    if not room:
        connection.close()
        return None
    connection.setblocking(False)
    return connection


def other_end(connection: socket.socket) -> tuple[int, int]:
    """The process and the user that a connection came from.

    Raises:
        OSError: The system does not say.
    """
    pid, uid, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return pid, uid
