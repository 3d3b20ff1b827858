"""The bridge's four ZeroMQ sockets."""

from __future__ import annotations

from pathlib import Path

import zmq

from bridge import protocol as p
from bridge.config import private_directory
from bridge.errors import BridgeError

HIGH_WATER = 100_000
"""Messages that wait for one client before more are dropped; its gaps are healed by replays."""
LINGER_MS = 200

Socket = zmq.Socket[bytes]


def bind(context: zmq.Context[Socket], base: str) -> dict[str, Socket]:
    """Binds the sockets under a base endpoint.

    Args:
        context: Theirs; destroying it closes them.
        base: The endpoint.

    Returns:
        The sockets by name.

    Raises:
        BridgeError: The endpoint is taken, or its directory is somebody else's.
    """
    sockets: dict[str, Socket] = {}
    if base.startswith("ipc://"):
        private_directory(Path(base.removeprefix("ipc://")))
    for name in p.SOCKETS:
        # XPUB tells who subscribes: market data that nobody wants is not worth encoding.
        kind = {"market": zmq.XPUB, "telemetry": zmq.PUB}.get(name, zmq.ROUTER)
        socket = sockets[name] = context.socket(kind)
        socket.setsockopt(zmq.LINGER, LINGER_MS)
        socket.setsockopt(zmq.SNDHWM, HIGH_WATER)
        socket.setsockopt(zmq.RCVHWM, HIGH_WATER)
        socket.setsockopt(zmq.MAXMSGSIZE, p.MAX_FRAME)
        endpoint = p.socket_endpoint(base, name)
        try:
            socket.bind(endpoint)
        except zmq.ZMQError as error:
            raise BridgeError(f"{endpoint}: {error.strerror or error}") from None
    return sockets
