"""The engine's standby, as the supervisor has it.

One process follows the engine for as long as the daemon runs. When the engine dies it makes a copy of
itself, which takes over, and follows that: the next return is as quick as the last, however soon it comes. It
says what it does in lines: ``by`` when it has caught up, ``pid N`` for the copy it has made, ``ok`` when that
takes inputs, or why one of them ends.
"""

from __future__ import annotations

import logging
import os
import sys
import time

from engine.runtime.children import Adopted, Child, Spawner, describe_exit

BACKOFF_S = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)


class Spare:
    """At most one process that stands by; that it ends harms nothing but the time of a return.

    Args:
        spawner: Starts it.
        log: Says what becomes of it.
    """

    def __init__(self, spawner: Spawner, log: logging.Logger) -> None:
        self.child = Child("standby")
        self._spawner, self._log = spawner, log
        self._word, self._said = -1, ""
        self._engine: Child | None = None

    @staticmethod
    def possible() -> bool:
        """Whether this system lets a process adopt the children of another."""
        return sys.platform == "linux"

    def keep(self) -> bool:
        """Starts one if there is none and its time has come; whether anything has changed."""
        child, now = self.child, time.monotonic()
        if child.process is not None and not child.alive:
            self._note_end(now)
            return True
        if child.alive or child.done or (child.respawn_at is not None and now < child.respawn_at):
            return False
        read_fd, self._word = os.pipe()
        try:
            self._spawner.spawn(child, "engine", read_fd)
        finally:
            os.close(read_fd)
        return True

    def hand_over(self, engine: Child) -> bool:
        """Has a copy of the process take over as the engine.

        Args:
            engine: The engine; it is that copy from here on.

        Returns:
            False when there is no process.
        """
        if not self.child.alive:
            return False
        try:
            os.write(self._word, b"go\n")
        except BrokenPipeError:
            return False
        engine.process, engine.ready, engine.text = Adopted(), False, b""
        engine.started, engine.respawn_at = time.monotonic(), None
        self._engine = engine
        return True

    def hear(self) -> None:
        """Takes what it, or the copy it has made, says."""
        child = self.child
        data = os.read(child.ready_fd, 65536)
        child.text += data
        while b"\n" in child.text:
            line, _, child.text = child.text.partition(b"\n")
            self._on_line(line)
        if not data:
            self._spawner.close(child)

    def end(self) -> None:
        """Ends it; there is nothing that it would have to finish."""
        self.child.done = True
        if self.child.alive:
            self.child.process.kill()
        if self.child.process is not None:
            self.child.process.wait()
        self._spawner.close(self.child)
        self._forget()

    def _on_line(self, line: bytes) -> None:
        engine = self._engine
        if line == b"by":
            self.child.ready, self.child.failures = True, 0
            return
        if engine is not None and isinstance(engine.process, Adopted):
            if line.startswith(b"pid "):
                engine.process.pid = int(line[4:])
                return
            if line == b"ok":
                engine.ready = True
                return
            engine.text = line
        self._said = line.decode(errors="replace").strip()

    def _note_end(self, now: float) -> None:
        child = self.child
        code = child.process.returncode
        # The copy that it has made may hold the other end, so nothing is read but what is there.
        while child.ready_fd >= 0:
            try:
                self.hear()
            except BlockingIOError:
                self._spawner.close(child)
        said, self._said = self._said, ""
        self._forget()
        child.process, child.ready = None, False
        # By its own fault it would end again at the same record.
        child.done = code >= 0
        child.respawn_at = now + BACKOFF_S[min(child.failures, len(BACKOFF_S) - 1)]
        child.failures += 1
        self._log.warning(
            "the standby is gone (%s%s); the engine goes on, its return would take longer",
            describe_exit(code),
            f": {said}" if said else "",
        )

    def _forget(self) -> None:
        if self._word >= 0:
            os.close(self._word)
            self._word = -1
        if self._engine is not None and isinstance(self._engine.process, Adopted):
            self._engine.process.give_up()
        self._engine = None
