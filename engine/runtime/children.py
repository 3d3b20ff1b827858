"""A process below the supervisor, as the supervisor knows it."""

from __future__ import annotations

import ctypes
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import engine

PR_SET_CHILD_SUBREAPER = 36
POLL_S = 0.005


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
    process: subprocess.Popen[bytes] | Adopted | None = None
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


class Adopted:
    """A child of ours that another process has made; it is waited for as any other.

    Attributes:
        pid: None as long as it is being made.
        returncode: None as long as it runs.
    """

    def __init__(self) -> None:
        self.pid: int | None = None
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """The return code once it has ended."""
        if self.returncode is None and self.pid is not None:
            try:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
            except ChildProcessError:
                # Nobody's child any more: what it ended with is not known.
                pid, status = self.pid, signal.SIGKILL
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Waits for its end.

        Args:
            timeout: Seconds; None for ever.

        Raises:
            subprocess.TimeoutExpired: It still runs.
        """
        end = None if timeout is None else time.monotonic() + timeout
        while (code := self.poll()) is None:
            if end is not None and time.monotonic() >= end:
                raise subprocess.TimeoutExpired("engine", timeout or 0.0)
            time.sleep(POLL_S)
        return code

    def terminate(self) -> None:
        """Asks it to end in good order."""
        self._send(signal.SIGTERM)

    def kill(self) -> None:
        """Ends it at once; one that is only being made is given up."""
        self._send(signal.SIGKILL)

    def give_up(self) -> None:
        """It will not be made."""
        if self.pid is None:
            self.returncode = -signal.SIGKILL

    def _send(self, number: int) -> None:
        if self.pid is None:
            self.give_up()
        elif self.poll() is None:
            os.kill(self.pid, number)


def reap_orphans(below_us: bool) -> None:
    """Has processes whose parent ends become our children, where the system can do that.

    Args:
        below_us: Whether they are to; else they are the system's, as usual.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, int(below_us))


def describe_exit(code: int) -> str:
    """What a process's return code says, for people."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"


class Spawner:
    """Starts processes and hears their first word.

    Args:
        command: What starts a process; role, run directory, our pid and a descriptor are appended.
        run: The run directory.
        selector: Where descriptors to read are registered, each with its child.
    """

    def __init__(self, command: Sequence[str], run: Path, selector: selectors.BaseSelector) -> None:
        self._command, self._run, self._selector = command, run, selector

    def spawn(self, child: Child, role: str = "", *more: int) -> None:
        """Starts a process.

        Args:
            child: What is known of it from here on.
            role: What it is to do, the child's by default.
            *more: Further descriptors that it gets.
        """
        read_fd, write_fd = os.pipe()
        root = str(Path(engine.__file__).resolve().parent.parent)
        paths = [root, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
        words = [role or child.role, str(self._run), str(os.getpid()), str(write_fd), *map(str, more)]
        try:
            child.process = subprocess.Popen(
                [*self._command, *words],
                stdin=subprocess.DEVNULL,
                pass_fds=(write_fd, *more),
                start_new_session=True,
                env=os.environ | {"PYTHONPATH": os.pathsep.join(dict.fromkeys(paths))},
            )
        finally:
            os.close(write_fd)
        os.set_blocking(read_fd, False)
        child.ready_fd, child.text, child.ready = read_fd, b"", False
        child.started, child.respawn_at = time.monotonic(), None
        self._selector.register(read_fd, selectors.EVENT_READ, child)

    def read(self, child: Child) -> None:
        """Takes what a process says; its last word closes the descriptor."""
        data = os.read(child.ready_fd, 65536)
        child.text += data
        if child.text == b"ok\n":
            child.ready, child.text = True, b""
        if not data or child.ready:
            self.close(child)

    def last_words(self, child: Child) -> str:
        """Everything that a process which has ended had said, for people."""
        while child.ready_fd >= 0:
            self.read(child)
        return child.text.decode(errors="replace").strip()

    def close(self, child: Child) -> None:
        """Hears no more of a process."""
        if child.ready_fd >= 0:
            self._selector.unregister(child.ready_fd)
            os.close(child.ready_fd)
            child.ready_fd = -1
