"""A process that is killed in the middle of changing a directory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from engine.journal.files import Buffer, Files


class Killed(BaseException):
    """The process is gone."""


class Dying(Files):
    """Files of a process that dies at its so manyth system call which changes anything.

    Args:
        left: Which.
        after: Whether the call is done.
    """

    def __init__(self, left: int, after: bool) -> None:
        self.left, self.after = left, after

    def die(self, call: Callable[..., Any], *args: Any) -> Any:
        """Makes a call, if it is not the one.

        Args:
            call: A method of ``Files``.
            args: What it takes.
        """
        self.left -= 1
        if self.left == 0 and not self.after:
            raise Killed
        done = call(*args)
        if self.left == 0:
            raise Killed
        return done

    def create(self, path: str) -> int:
        """As ``Files``."""
        return self.die(super().create, path)

    def pwritev(self, fd: int, pieces: Sequence[Buffer], offset: int) -> int:
        """As ``Files``."""
        return self.die(super().pwritev, fd, pieces, offset)

    def rename(self, old: str, new: str) -> None:
        """As ``Files``."""
        return self.die(super().rename, old, new)

    def unlink(self, path: str) -> None:
        """As ``Files``."""
        return self.die(super().unlink, path)
