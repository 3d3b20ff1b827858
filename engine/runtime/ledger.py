"""What the engine keeps on disk without ever waiting for one: thrown switches and the record of changes.

A thread of its own writes. Whoever threw a switch is answered once it is kept.
"""

from __future__ import annotations

import errno
import logging
import os
import queue
import threading
from collections.abc import Sequence

import msgspec

from engine.runtime.changes import Change, last_version
from engine.runtime.rundir import RunDir
from engine.runtime.switches import write_switches
from engine.strategy.status import LatchInfo

CLOSE_S = 2.0
"""How long the end waits for what is still to be written."""


class Ticket:
    """A promise to keep the switches.

    Attributes:
        done: Whether it was tried.
        error: Why it failed; empty if it did not.
    """

    def __init__(self) -> None:
        self.done = False
        self.error = ""


class Ledger:
    """Writes in the background.

    Args:
        run: The run directory.
        log: Where to say what could not be written.
    """

    def __init__(self, run: RunDir, log: logging.Logger) -> None:
        self.version = last_version(run.changes_file)
        self._switches, self._changes = run.switches_file, run.changes_file
        self._log = log
        self._whole = False
        self._jobs: queue.SimpleQueue[Change | tuple[Ticket, Sequence[LatchInfo]] | None] = (
            queue.SimpleQueue()
        )
        self._thread = threading.Thread(target=self._work, name="ledger", daemon=True)
        self._thread.start()

    def keep(self, switches: Sequence[LatchInfo]) -> Ticket:
        """Has the switches written, all of them as they are now; returns at once."""
        ticket = Ticket()
        self._jobs.put((ticket, switches))
        return ticket

    def note(self, change: Change) -> None:
        """Has a change added to the record; returns at once."""
        self._jobs.put(change)

    def close(self) -> None:
        """Waits for what is still to be written, but not for ever."""
        self._jobs.put(None)
        self._thread.join(CLOSE_S)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            if isinstance(job, Change):
                self._append(job)
            else:
                self._replace(*job)

    def _replace(self, ticket: Ticket, switches: Sequence[LatchInfo]) -> None:
        try:
            write_switches(self._switches, switches)
        except Exception as error:
            ticket.error = str(getattr(error, "strerror", None) or error)
            self._log.error("%s was not written, kill switches are not kept: %s", self._switches, error)
        ticket.done = True

    def _append(self, change: Change) -> None:
        # A line may have been cut off before, by a full disk or a killed engine: go on below it.
        line = (b"" if self._whole else b"\n") + msgspec.json.encode(change) + b"\n"
        self._whole = False
        try:
            fd = os.open(self._changes, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            try:
                self._whole = os.write(fd, line) == len(line)
            finally:
                os.close(fd)
            if not self._whole:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            self._log.error("change %d was not recorded: %s", change.version, error.strerror)
