"""How far a recorder is: what the store has of a run, and since when it lacks the rest.

After each step of a recording it is known to which record of the journal the spool has everything, and in how
many batches. Once these are stored, the store has all that the journal had when the step began: the lag is in
records and in seconds. The recorder's process writes it into the run's directory, for ``ringbook status`` and
monitors, and the record's number into the journal's, for the next recorder (:func:`recorded_seq`).
"""

from __future__ import annotations

import contextlib
import json
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine.runtime.rundir import replace_json
from engine.storage.spool import Spool
from engine.storage.writer import Written

RECORDED = "recorded.json"
"""In a journal's directory."""
EVERY_S = 0.5
"""How often it is written."""


def recorded_seq(directory: Path) -> int:
    """The last record of a journal of which, and of all before it, everything is in the store.

    Args:
        directory: The journal's.

    Returns:
        Its number; 0 if nothing is known.
    """
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        return int(json.loads((directory / RECORDED).read_text())["seq"])
    return 0


class Lag:
    """Follows one run's recording.

    Args:
        spool: Where its batches wait.
        written: What the writer has done.
        directory: The run's journal.
        file: Where the lag is written; None writes none.
        wall: Says what time it is, nanoseconds since the epoch.
    """

    def __init__(
        self,
        spool: Spool,
        written: Written,
        directory: Path,
        file: Path | None = None,
        wall: Callable[[], int] = time.time_ns,
    ) -> None:
        self._spool, self._written, self._dir, self._file, self._wall = spool, written, directory, file, wall
        self._marks: deque[tuple[int, int, int]] = deque()
        self.seq = recorded_seq(directory)
        self.until = self._last_until()
        self.left_out = 0
        self._told = 0.0
        self._kept = self.seq

    @property
    def done(self) -> bool:
        """Whether everything that the spool was given is stored."""
        return not self._marks

    def _last_until(self) -> int:
        """What a recorder before this one has said of the same run."""
        if self._file is not None:
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                said = json.loads(self._file.read_text())
                if said["run_id"] == self._dir.name:
                    return int(said["until"])
        return self._wall()

    def stepped(self, seq: int, began: int) -> None:
        """The spool has everything that follows from the records up to a number.

        Args:
            seq: The number.
            began: When all of these records were there, wall clock.
        """
        self._marks.append((self._spool.last_number, seq, began))
        self.look()

    def look(self) -> None:
        """Takes note of what has been stored since, and says so now and then."""
        stored = self._spool.stored_number
        while self._marks and self._marks[0][0] <= stored:
            _, seq, self.until = self._marks.popleft()
            self.seq = max(self.seq, seq)
        if time.monotonic() - self._told >= EVERY_S:
            self.tell()

    def tell(self) -> None:
        """Writes how far it is; a disk that refuses is asked again later."""
        self._told = time.monotonic()
        with contextlib.suppress(OSError):
            if self.seq != self._kept:
                replace_json(self._dir / RECORDED, {"run": self._dir.name, "seq": self.seq})
                self._kept = self.seq
            if self._file is not None:
                replace_json(self._file, self.report())

    def report(self) -> dict[str, Any]:
        """What is written."""
        done = self._written
        return {
            "run_id": self._dir.name,
            "seq": self.seq,
            "until": self.until,
            "batches": len(self._spool),
            "bytes": self._spool.bytes,
            "rows": done.rows + done.found,
            "failures": done.failures,
            "left_out": self.left_out,
            "error": done.error,
        }


def read(file: Path, run_id: str, accepted_seq: int, wall: int) -> dict[str, Any] | None:
    """What a recorder says of itself.

    Args:
        file: Where it does.
        run_id: The run, hex.
        accepted_seq: The journal's last record.
        wall: What time it is.

    Returns:
        What :meth:`Lag.report` made, with ``behind_s`` and ``behind_records``; None if it has said nothing of
        this run.
    """
    try:
        said = json.loads(file.read_text())
        if not isinstance(said, dict) or said.pop("run_id") != run_id:
            return None
        behind = round(max(0.0, (wall - said.pop("until")) / 1e9), 3)
        return {**said, "behind_s": behind, "behind_records": max(0, accepted_seq - said["seq"])}
    except (OSError, ValueError, KeyError, TypeError):
        return None
