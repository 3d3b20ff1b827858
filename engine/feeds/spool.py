"""Rows of a conversion on their way to a file: in memory while they are few, then in a temporary file."""

from __future__ import annotations

import tempfile
from typing import BinaryIO

import numpy as np

from engine.core.errors import DataError
from engine.core.types import event_dtype

MEMORY = 32 << 20
"""Bytes of rows that stay in memory."""


class Spool:
    """Collects arrays of events in the order in which they come.

    The temporary file has no name (it lies under ``TMPDIR``) and goes with the last array that maps it.

    Args:
        memory: Bytes that stay in memory; what is more goes to the file, with what was there before.
    """

    def __init__(self, memory: int = MEMORY) -> None:
        self._memory = memory
        self._parts: list[np.ndarray] = []
        self._held = 0
        self._file: BinaryIO | None = None
        self.rows = 0

    def add(self, events: np.ndarray) -> None:
        """Appends events.

        Args:
            events: ``event_dtype`` array, which is kept or written.

        Raises:
            DataError: The temporary file cannot be made or written.
        """
        self.rows += len(events)
        self._held += events.nbytes
        self._parts.append(events)
        if self._file is not None or self._held > self._memory:
            self._write()

    def _write(self) -> None:
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the spool
            for part in self._parts:
                self._file.write(part.view(np.uint8))
        except OSError as error:
            where = tempfile.gettempdir()
            raise DataError(f"cannot write the rows: {error.strerror or error}", file=where) from None
        self._parts = []
        self._held = 0

    def events(self) -> np.ndarray:
        """All events: an array in memory, or a map of the temporary file; the spool is empty then."""
        parts, file = self._parts, self._file
        self._parts, self._file, self._held = [], None, 0
        if file is None:
            return np.concatenate(parts) if parts else np.empty(0, event_dtype)
        with file:
            file.flush()
            # A private map, which can be written to like any other array.
            return np.memmap(file, event_dtype, "c", 0, self.rows).view(np.ndarray)
