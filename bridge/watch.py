"""What the thread of the blocking client sleeps on, and which sockets it looks at when it wakes."""

from __future__ import annotations

import select
from typing import Any


class Watch:
    """What the client's thread sleeps on: a pipe that wakes it, and the sockets there are.

    Args:
        wake: The pipe's descriptor.
    """

    def __init__(self, wake: int) -> None:
        self._wake = wake
        self._poll = select.poll()
        self._poll.register(wake, select.POLLIN)
        self._sockets: dict[str, Any] = {}
        self._descriptors: dict[str, int] = {}
        self._fresh = False

    def follow(self, sockets: dict[str, Any]) -> None:
        """Sees to it that these are watched, and no others."""
        if sockets == self._sockets:
            return
        self._poll = select.poll()
        self._poll.register(self._wake, select.POLLIN)
        self._sockets = dict(sockets)
        self._descriptors = {name: socket.FD for name, socket in sockets.items()}
        for descriptor in self._descriptors.values():
            self._poll.register(descriptor, select.POLLIN)
        # What came before they were watched is looked for once.
        self._fresh = True

    def wait(self, timeout_s: float) -> set[int]:
        """Waits for something to read; the descriptors that have something."""
        if self._fresh:
            timeout_s = 0.0
        return {descriptor for descriptor, _ in self._poll.poll(timeout_s * 1000)}

    def names(self, ready: set[int], everything: bool) -> list[str]:
        """The sockets to look at: all of them, or those that are ready, and lanes in any case."""
        if everything or self._fresh:
            self._fresh = False
            return list(self._descriptors)
        return [
            name
            for name, descriptor in self._descriptors.items()
            if descriptor in ready or getattr(self._sockets[name], "waiting", False)
        ]
