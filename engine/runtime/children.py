"""A process below the supervisor, as the supervisor knows it."""

from __future__ import annotations

import signal
import subprocess
from dataclasses import dataclass


@dataclass
class Child:
    """A process of the daemon.

    Attributes:
        role: What it does.
        process: The last one of that role.
        ready_fd: Where it says that it is ready, or why it cannot start; -1 once it has.
        text: What it has said.
        ready: Whether it has said that it is ready.
        done: It has ended in good order and is not wanted again.
        failures: In a row.
        restarts: Since the daemon began.
        started: When, steady clock, seconds.
        respawn_at: When it is to be started again.
    """

    role: str
    process: subprocess.Popen[bytes] | None = None
    ready_fd: int = -1
    text: bytes = b""
    ready: bool = False
    done: bool = False
    failures: int = 0
    restarts: int = 0
    started: float = 0.0
    respawn_at: float | None = None

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self.process is not None and self.process.poll() is None


def describe_exit(code: int) -> str:
    """What a process's return code says, for people."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"
