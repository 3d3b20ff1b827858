"""What systemd is told of the daemon: ready, stopping, and that it is alive, over ``$NOTIFY_SOCKET``.

The protocol is a datagram of ``NAME=value`` lines to a Unix socket. Without the variable nothing is sent.
"""

from __future__ import annotations

import os
import socket
from collections.abc import MutableMapping

WATCHDOG_SHARE = 0.4
"""Of the watchdog's time, after which the next word is due: two may be late before it bites."""


class Notifier:
    """Says how the daemon is, and never waits or fails for it.

    The variables are taken out of the environment, so that no child speaks for the daemon.

    Args:
        environ: The environment; ``os.environ`` by default.
        pid: Whose watchdog it would be.
    """

    def __init__(self, environ: MutableMapping[str, str] | None = None, pid: int | None = None) -> None:
        environ = os.environ if environ is None else environ
        address = environ.pop("NOTIFY_SOCKET", "")
        usec = environ.pop("WATCHDOG_USEC", "")
        owner = environ.pop("WATCHDOG_PID", "")
        self._socket: socket.socket | None = None
        # A name that begins with @ is in the abstract namespace.
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self.interval: float | None = None
        """Seconds between two signs of life; None if nobody waits for them."""
        if not address:
            return
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._socket.setblocking(False)
        mine = str(os.getpid() if pid is None else pid)
        if usec.isdecimal() and int(usec) > 0 and owner in ("", mine):
            self.interval = int(usec) / 1e6 * WATCHDOG_SHARE

    def ready(self, status: str) -> None:
        """The daemon takes orders."""
        self._send(f"READY=1\nSTATUS={_line(status)}\nMAINPID={os.getpid()}\n")

    def starting(self, status: str, seconds: float) -> None:
        """The start takes its time: the system waits for so many seconds more."""
        self._send(f"EXTEND_TIMEOUT_USEC={int(seconds * 1e6)}\nSTATUS={_line(status)}\n")

    def alive(self) -> None:
        """The daemon is alive: the watchdog begins anew."""
        if self.interval is not None:
            self._send("WATCHDOG=1\n")

    def status(self, text: str) -> None:
        """What ``systemctl status`` shows."""
        self._send(f"STATUS={_line(text)}\n")

    def stopping(self, why: str) -> None:
        """The daemon ends."""
        self._send(f"STOPPING=1\nSTATUS={_line(why)}\n")

    def close(self) -> None:
        """Closes the socket."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, text: str) -> None:
        if self._socket is None:
            return
        try:
            self._socket.sendto(text.encode("utf-8", "replace"), self._address)
        except OSError:
            # Nobody listens, or not fast enough: the daemon trades on, and the watchdog's word is its own.
            return


def _line(text: str) -> str:
    return " ".join(text.split())
