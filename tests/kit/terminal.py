"""A command in a real pseudo-terminal: what it draws is read, keys are typed, its end is awaited."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from pathlib import Path

_ESCAPE = re.compile(r"\x1b(?:\[[0-9;?<>=]*[A-Za-z]|\][^\x07]*\x07|[()][A-Z0-9]|[=>78])")


class Terminal:
    """Runs a command in a pseudo-terminal of its own.

    Args:
        command: The program and its arguments.
        environment: Its environment; ``TERM`` is set.
        cwd: Where it runs.
        columns: Width of the terminal.
        rows: Height of the terminal.
    """

    def __init__(
        self, command: list[str], environment: dict[str, str], cwd: Path, columns: int = 120, rows: int = 36
    ) -> None:
        self.screen = b""
        self._end, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        # Who runs the tests may have told its own size in variables, which count for more than a terminal's.
        told = {name: value for name, value in environment.items() if name not in ("COLUMNS", "LINES")}
        self.process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, cwd=cwd, start_new_session=True,
            env={**told, "TERM": "xterm-256color"},
        )  # fmt: skip
        os.close(slave)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if self._end >= 0:
            os.close(self._end)

    def expect(self, text: str, seconds: float = 30.0) -> None:
        """Reads until the text has been drawn.

        Raises:
            AssertionError: It has not been in time, or the command ended before.
        """
        deadline = time.monotonic() + seconds
        while text not in (drawn := self.drawn()):
            assert time.monotonic() < deadline, f"{text!r} was not drawn; last: {drawn[-2000:]}"
            assert self._read(), f"the command ended without {text!r}; last: {drawn[-2000:]}"

    def drawn(self) -> str:
        """Everything drawn so far, in the order of drawing, without colours and movements of the cursor."""
        return _ESCAPE.sub("", self.screen.decode(errors="replace"))

    def type(self, keys: str) -> None:
        """Types keys."""
        os.write(self._end, keys.encode())

    def rest(self, seconds: float = 0.5) -> None:
        """Reads on for a while, as a person looks before the next key."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self._read()

    def ended(self, seconds: float = 15.0) -> int:
        """Waits for the command's end, reading on, and returns its exit code."""
        deadline = time.monotonic() + seconds
        while self.process.poll() is None and time.monotonic() < deadline:
            self._read()
        return self.process.wait(timeout=1)

    def hang_up(self) -> None:
        """Closes the terminal, as its window's cross does: the other end is gone, and the command is told."""
        os.close(self._end)
        self._end = -1
        self.process.send_signal(signal.SIGHUP)

    def _read(self) -> bool:
        """Reads what is there, waiting a tenth of a second at most; False at the terminal's end."""
        if not select.select([self._end], [], [], 0.1)[0]:
            return True
        try:
            data = os.read(self._end, 1 << 16)
        except OSError:
            # Linux says EIO when the last process on the other end has gone.
            return False
        self.screen += data
        return bool(data)
