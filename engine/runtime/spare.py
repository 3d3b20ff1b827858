"""The engine's standby, as the supervisor has it: started beside the engine, handed over when that dies."""

from __future__ import annotations

import logging
import os
import time

from engine.runtime.children import Child, Spawner, describe_exit

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
        self._word = -1

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

    def _note_end(self, now: float) -> None:
        child = self.child
        code, said = child.process.returncode, self._spawner.last_words(child)
        self._forget()
        child.process = None
        # By its own fault it would end again at the same record; an engine that returns starts afresh.
        child.done = code >= 0
        child.respawn_at = now + BACKOFF_S[min(child.failures, len(BACKOFF_S) - 1)]
        child.failures += 1
        self._log.warning(
            "the standby is gone (%s%s); the engine goes on, its return would take longer",
            describe_exit(code),
            f": {said}" if said else "",
        )

    def hand_over(self, child: Child) -> bool:
        """Has the process take over as the engine.

        Args:
            child: The engine; it is the process that stood by from here on.

        Returns:
            False when there is none.
        """
        spare, self.child = self.child, Child("standby")
        taken = spare.alive
        if taken:
            try:
                os.write(self._word, b"go\n")
            except BrokenPipeError:
                taken = False
                spare.process.wait()
        if taken:
            self._spawner.become(child, spare)
        else:
            self._spawner.close(spare)
        self._forget()
        return taken

    def end(self) -> None:
        """Ends it; there is nothing that it would have to finish."""
        self.child.done = True
        if self.child.alive:
            self.child.process.kill()
        if self.child.process is not None:
            self.child.process.wait()
        self._spawner.close(self.child)
        self._forget()

    def _forget(self) -> None:
        if self._word >= 0:
            os.close(self._word)
            self._word = -1
