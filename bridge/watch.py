"""What the thread of the blocking client sleeps on, and which sockets it looks at when it wakes."""

from __future__ import annotations

import select
from collections.abc import Collection
from typing import Any


class Watch:
    """What the client's thread sleeps on: a pipe that wakes it, and the sockets there are, or a lane's rings.

    Args:
        wake: The pipe's descriptor.

    Attributes:
        cut: Whether the last wait has found the lane cut, and nothing left in it.
    """

    def __init__(self, wake: int) -> None:
        self._wake = wake
        self._poll: Any = None
        self._lane: Any = None
        self._sleeper: Any = None
        self._sockets: dict[str, Any] = {}
        self._descriptors: dict[str, int] = {}
        self._fresh = False
        self._register()

    def follow(self, sockets: dict[str, Any]) -> None:
        """Sees to it that these are watched, and no others."""
        if sockets == self._sockets:
            return
        self._sockets = dict(sockets)
        self._register()
        # What came before they were watched is looked for once.
        self._fresh = True

    def _register(self) -> None:
        sockets = self._sockets.values()
        self._lane = next((socket.lane for socket in sockets if hasattr(socket, "lane")), None)
        self._poll = select.poll() if self._lane is None else select.epoll()
        self.cut = False
        self._sleeper = None if self._lane is None else self._lane.sleeper(self._poll.fileno())
        self._descriptors = {name: socket.FD for name, socket in self._sockets.items()}
        # Both ends of a lane have the same one. POLLIN and EPOLLIN are one number.
        for descriptor in {self._wake, *self._descriptors.values()}:
            self._poll.register(descriptor, select.POLLIN)

    def wait(self, timeout_s: float) -> Collection[int]:
        """Waits for something to read; the descriptors that have something, but not a lane's."""
        if self._fresh:
            timeout_s = 0.0
        if self._lane is None:
            return [descriptor for descriptor, _ in self._poll.poll(max(0.0, timeout_s) * 1000)]
        sleeper = self._sleeper
        ready: Collection[int] = self._lane.sleep(sleeper, timeout_s)
        self.cut = sleeper.rung and not sleeper.filled and self._lane.is_cut()
        return ready

    def names(self, ready: Collection[int], everything: bool) -> Collection[str]:
        """The sockets to look at: all of them, or those that have something."""
        if everything or self._fresh:
            self._fresh = False
            return list(self._descriptors)
        held: Collection[str] = () if self._lane is None else self._lane.names(self._sleeper.filled)
        if not ready:
            return held
        return [*held, *(name for name, descriptor in self._descriptors.items() if descriptor in ready)]
