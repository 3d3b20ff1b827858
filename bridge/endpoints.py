"""Which endpoints a bridge may open, and the directories that only its user may enter."""

from __future__ import annotations

import ipaddress
import os
import stat
from pathlib import Path

from bridge import protocol as p
from bridge.errors import BridgeError


def check_endpoint(endpoint: str, keyed: bool = False) -> None:
    """Refuses an endpoint that others could reach without a key.

    Args:
        endpoint: Base endpoint.
        keyed: Whether clients must have keys: then any address will do.

    Raises:
        BridgeError: Neither ipc nor tcp, a wildcard, or not loopback without keys.
    """
    try:
        p.socket_endpoint(endpoint, "orders")
    except ValueError as error:
        raise BridgeError(str(error)) from None
    if endpoint.startswith("ipc://"):
        return
    host = endpoint.removeprefix("tcp://").rpartition(":")[0].strip("[]")
    if host in ("*", "0.0.0.0", "::", ""):
        raise BridgeError(f"{endpoint}: name one address, clients are told it")
    if keyed or host == "localhost":
        return
    try:
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise BridgeError(
            f"{endpoint}: not loopback, and anybody who reaches it could trade: "
            "make keys with 'ringbook keys make' and name their directory as bridge.keys"
        )


def private_directory(path: Path, make: bool = True) -> None:
    """Makes a directory that only its owner can enter.

    Args:
        path: The directory; one that exists must be like that already.
        make: Whether it is made if it is missing.

    Raises:
        BridgeError: It cannot be made, or belongs to somebody else.
    """
    try:
        if make:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        info = path.stat()
        if not stat.S_ISDIR(info.st_mode) or info.st_uid != os.getuid():
            raise BridgeError(f"{path}: not a directory of this user")
        if stat.S_IMODE(info.st_mode) & 0o077:
            mode = stat.S_IMODE(info.st_mode)
            raise BridgeError(
                f"{path}: others may enter it (mode {mode:o}): chmod 700, or name another directory"
            )
    except OSError as error:
        raise BridgeError(f"{path}: {error.strerror}") from None
