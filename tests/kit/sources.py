"""Event sources for tests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from engine.feeds.base import EventSource, from_row


class ChunkedSource(EventSource):
    """An array cut where a test says; it remembers how many of its chunks were asked for.

    Args:
        events: The rows.
        cuts: Row numbers at which a new chunk begins; equal ones make empty chunks.
    """

    def __init__(self, events: np.ndarray, cuts: Sequence[int] = ()) -> None:
        self.symbol, self.name = "TEST", "a test's array"
        self._events = events
        self._edges = [0, *sorted(cuts), len(events)]
        self.taken = 0

    @property
    def rows(self) -> int:
        """Rows in all."""
        return len(self._events)

    def chunks(self, start: int = 0) -> Iterator[np.ndarray]:
        """Begins a pass.

        Args:
            start: The first row wanted.
        """
        return from_row(self._chunks(), start)

    def _chunks(self) -> Iterator[np.ndarray]:
        for i, first in enumerate(self._edges[:-1]):
            self.taken += 1
            yield self._events[first : self._edges[i + 1]]
