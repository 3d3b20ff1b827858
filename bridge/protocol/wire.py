"""What all messages share: version, limits, types of fields, sockets."""

from __future__ import annotations

from math import isfinite
from typing import Annotated, Any, Literal

import msgspec

VERSION = 1
"""The protocol's version; hello is refused when it differs."""

HEARTBEAT_NS = 100_000_000
"""How often both ends send a heartbeat."""
HEARTBEAT_MISSES = 3
"""After how many silent intervals, counted by its own clock's ticks, an end takes the other for gone."""
MAX_SUBSCRIPTION = 1024
"""Bytes of the longest frame that a subscriber may send."""
MAX_FRAME = 64 * 1024
"""Longest frame in bytes that the server accepts."""
MAX_SERVER_FRAME = 16 * 1024 * 1024
"""Longest frame in bytes that a client accepts; snapshots and replays are long."""

MAX_NAME = 64
"""Longest name of a strategy, symbol, signal or client."""
MAX_COLUMNS = 256
"""Columns of a batch of features."""
MAX_PARAMS = 256
MAX_PARAMS_BYTES = 16 * 1024
"""Parameters in one message, and the bytes that their texts have in all."""

Side = Literal["buy", "sell"]
OrderType = Literal["limit", "market"]
TimeInForce = Literal["GTC", "GTX", "FOK", "IOC"]
Role = Literal["observer", "trader", "risk", "admin"]
Mode = Literal["PAPER", "LIVE", "REPLAY"]
OnLoss = Literal["cancel", "keep", "reduce"]

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_NAME, pattern=r"^[A-Za-z0-9_.:/-]+$")]
Text = Annotated[str, msgspec.Meta(max_length=4096)]
PositiveId = Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]
Seq = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class Message(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=True):
    """Base of all messages; the tag is the class's name."""


def wrong_params(params: dict[str, Any]) -> str:
    """What is wrong with parameters on the wire; empty if nothing is.

    Args:
        params: Finite numbers that fit 64 bits, truth values and texts of at most ``MAX_PARAMS_BYTES``.
    """
    if len(params) > MAX_PARAMS:
        return f"{len(params)} parameters are more than {MAX_PARAMS}"
    for name, value in params.items():
        if not 0 < len(name) <= MAX_NAME:
            return f"a parameter's name must have 1 to {MAX_NAME} characters"
        if isinstance(value, float):
            if not isfinite(value):
                return f"{name} {value!r} must be finite"
        elif isinstance(value, int):
            if not -(2**63) <= value < 2**63:
                return f"{name} {value!r} does not fit 64 bits"
        elif not isinstance(value, str) or len(value) > 4096:
            return f"{name} must be a number, a truth value or a text of at most 4096 characters"
    size = sum(len(value.encode()) for value in params.values() if isinstance(value, str))
    return f"texts of {size} bytes are above {MAX_PARAMS_BYTES}" if size > MAX_PARAMS_BYTES else ""


# One base endpoint names all four sockets: a directory for ipc, a first port for tcp.

SOCKETS = ("orders", "control", "market", "telemetry")


def _path(base: str, name: str) -> str:
    scheme, _, directory = base.partition("://")
    return f"{directory.rstrip('/')}/{name}.sock" if scheme in ("ipc", "shm") else ""


def leash_path(base: str) -> str:
    """The Unix socket of the leash under an ipc or shm base endpoint; empty for tcp.

    Args:
        base: As of :func:`socket_endpoint`.
    """
    return _path(base, "leash")


def lane_path(base: str) -> str:
    """The Unix socket for lanes of shared memory under an ipc or shm base endpoint; empty for tcp.

    Args:
        base: As of :func:`socket_endpoint`.
    """
    return _path(base, "lane")


def socket_endpoint(base: str, socket: str) -> str:
    """The address of one of the four sockets under a base endpoint.

    Args:
        base: ``ipc:///run/ringbook`` or ``tcp://127.0.0.1:7400``; ``shm:///run/ringbook`` has the sockets of
            ipc, though orders and streams do without.
        socket: One of :data:`SOCKETS`.

    Returns:
        ``ipc:///run/ringbook/orders.sock``, or ``tcp://127.0.0.1:7400`` plus the socket's place.

    Raises:
        ValueError: The base is neither.
    """
    place = SOCKETS.index(socket)
    if base.startswith("shm://"):
        base = f"ipc://{base.removeprefix('shm://')}"
    if base.startswith("ipc://"):
        return f"{base.rstrip('/')}/{socket}.sock"
    if base.startswith("tcp://"):
        host, _, port = base.removeprefix("tcp://").rpartition(":")
        if not host or not port.isdigit() or int(port) + len(SOCKETS) > 65536:
            raise ValueError(f"{base}: expected tcp://HOST:PORT")
        return f"tcp://{host}:{int(port) + place}"
    raise ValueError(f"{base}: expected ipc://DIRECTORY, shm://DIRECTORY or tcp://HOST:PORT")
