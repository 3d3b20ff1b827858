"""Recordings as event sources: npz and npy files, raw captures, and either of them over and over."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from engine.backtest.data import Recording, iter_events
from engine.backtest.files import CHUNK_ROWS
from engine.core.errors import DataError
from engine.core.types import DEPTH_CLEAR_EVENT, EXCH_EVENT, LOCAL_EVENT, event_dtype
from engine.feeds.base import EventSource, from_row
from engine.feeds.stored import StoredSource, is_stored
from engine.feeds.tabular import MAGIC, TableSource

_ARRAY_MAGIC = (b"PK", b"\x93NUMPY")


class NpzSource(EventSource):
    """An npz or npy recording, mapped where it is not compressed, or an array; rows are checked as read.

    Args:
        symbol: The instrument's symbol.
        source: The file, or an ``event_dtype`` array.

    Raises:
        DataError: The file is missing, truncated or no recording; the message names file and field.
    """

    def __init__(self, symbol: str, source: str | Path | np.ndarray) -> None:
        self.symbol = symbol
        self._source = source
        if isinstance(source, np.ndarray):
            self.name = f"an array for {symbol}"
            self._rows = len(source)
        else:
            self.name = str(source)
            self._rows = Recording(source).rows

    @property
    def rows(self) -> int:
        """Rows in all."""
        return self._rows

    def chunks(self, start: int = 0) -> Iterator[np.ndarray]:
        """Begins a pass; rows before ``start`` are checked too.

        Args:
            start: The first row wanted.

        Raises:
            DataError: A row is unusable; the message names file, row and field.
        """
        return from_row(iter_events(self._source, CHUNK_ROWS), start)


class CaptureSource(EventSource):
    """A raw exchange capture, converted in memory at the first pass.

    Args:
        symbol: The instrument's symbol.
        path: The capture, gzipped or not.
    """

    def __init__(self, symbol: str, path: str | Path) -> None:
        self.symbol = symbol
        self.name = str(path)
        self._events: np.ndarray | None = None

    @property
    def rows(self) -> int:
        """Rows in all; 0 before the first pass."""
        return 0 if self._events is None else len(self._events)

    def chunks(self, start: int = 0) -> Iterator[np.ndarray]:
        """Begins a pass.

        Args:
            start: The first row wanted.

        Raises:
            DataError: The capture is truncated or corrupt; the message names its line or byte.
        """
        if self._events is None:
            from engine.feeds.capture import convert

            self._events = convert(self.name).events
        for first in range(start, len(self._events), CHUNK_ROWS):
            yield self._events[first : first + CHUNK_ROWS]


class ChainedSource(EventSource):
    """Recordings of one instrument one after another, in time order, as one.

    Args:
        sources: At least one, of one symbol.
    """

    def __init__(self, sources: Sequence[EventSource]) -> None:
        self.symbol = sources[0].symbol
        self.name = " + ".join(source.name for source in sources)
        self._sources = tuple(sources)

    @property
    def rows(self) -> int:
        """Rows in all; 0 while some source's are not known yet."""
        counts = [source.rows for source in self._sources]
        return sum(counts) if all(counts) else 0

    def chunks(self, start: int = 0) -> Iterator[np.ndarray]:
        """Begins a pass.

        Args:
            start: The first row wanted.

        Raises:
            DataError: As the sources' own passes.
        """
        return from_row(itertools.chain.from_iterable(source.chunks() for source in self._sources), start)


class LoopedSource(EventSource):
    """A source several times, one after another, with time going on.

    Each repetition begins with a DEPTH_CLEAR of both sides and is shifted by the length of the recording
    plus a gap, so that times never go back; latencies stay as recorded.

    Args:
        source: What to repeat.
        times: How often in all; 0 for ever.
        gap: Nanoseconds between the last time of one repetition and the first of the next.

    Raises:
        ValueError: ``times`` is negative or ``gap`` is not positive.
    """

    def __init__(self, source: EventSource, times: int, *, gap: int = 1_000_000_000) -> None:
        if times < 0 or gap <= 0:
            raise ValueError(f"cannot repeat {times} times with a gap of {gap} ns")
        self.symbol, self.name = source.symbol, source.name
        self._source, self._times, self._gap = source, times, gap

    @property
    def rows(self) -> int:
        """Rows in all, with those at the seams; 0 when unbounded or not known yet."""
        rows = self._source.rows
        return rows * self._times + self._times - 1 if rows and self._times else 0

    def chunks(self, start: int = 0) -> Iterator[np.ndarray]:
        """Begins a pass; repetitions before ``start`` are not read again.

        Args:
            start: The first row wanted.

        Raises:
            DataError: As the source's own passes.
        """
        span = _Span()
        first = 0
        for chunk in self._source.chunks():
            span.add(chunk)
            if first + len(chunk) > start:
                yield chunk[max(0, start - first) :]
            first += len(chunk)
        if not span.rows or self._times == 1:
            return
        if self._times == 0 and not span.both_sides:
            # Whoever waits for the other side's next row would wait for ever.
            raise DataError("rows of one side only cannot be repeated for ever", file=self.name, field="ev")
        # Repetitions have one row more, the clear.
        turn, offset = divmod(max(0, start - span.rows), span.rows + 1)
        turn += 1
        while self._times == 0 or turn < self._times:
            shift = turn * (span.high - span.low + self._gap)
            if offset == 0:
                yield span.seam(shift)
            for chunk in self._source.chunks(max(0, offset - 1)):
                shifted = chunk.copy()
                shifted["exch_ts"] += shift
                shifted["local_ts"] += shift
                yield shifted
            turn, offset = turn + 1, 0


class _Span:
    """What one pass needs to know of the rows before it: their number, and their first and last times."""

    def __init__(self) -> None:
        self.rows = 0
        self.low, self.high = 2**63 - 1, -(2**63)
        self._first: dict[int, int] = {}

    def add(self, chunk: np.ndarray) -> None:
        self.rows += len(chunk)
        for flag, field in ((EXCH_EVENT, "exch_ts"), (LOCAL_EVENT, "local_ts")):
            seen = chunk[field][(chunk["ev"] & np.uint64(flag)) != 0]
            if len(seen):
                self._first.setdefault(flag, int(seen[0]))
                self.low = min(self.low, int(seen[0]))
                self.high = max(self.high, int(seen[-1]))

    @property
    def both_sides(self) -> bool:
        return len(self._first) == 2

    def seam(self, shift: int) -> np.ndarray:
        """The row that empties both sides of both books just before the recording begins again."""
        row = np.zeros(1, event_dtype)
        row["ev"] = DEPTH_CLEAR_EVENT | sum(self._first)
        row["exch_ts"] = self._first.get(EXCH_EVENT, self.low) + shift
        row["local_ts"] = self._first.get(LOCAL_EVENT, self.low) + shift
        return row


def open_source(symbol: str, *paths: str | Path, loop: int = 1) -> EventSource:
    """Opens recordings of any kind; their first bytes tell which.

    Args:
        symbol: The instrument's symbol.
        *paths: Npz, npy, Parquet or Arrow files, raw captures, or recordings in a store, in time order.
        loop: How often to play all of it; 0 for ever.

    Raises:
        DataError: The file is missing or no recording.
    """
    sources = [_open_one(symbol, path) for path in paths]
    source = sources[0] if len(sources) == 1 else ChainedSource(sources)
    return source if loop == 1 else LoopedSource(source, loop)


def _open_one(symbol: str, path: str | Path) -> EventSource:
    if is_stored(path):
        return StoredSource(symbol, str(path))
    try:
        with open(path, "rb") as file:
            start = file.read(6)
    except OSError as error:
        raise DataError(error.strerror or str(error), file=str(path)) from None
    if start.startswith(tuple(MAGIC)):
        return TableSource(symbol, path)
    return NpzSource(symbol, path) if start.startswith(_ARRAY_MAGIC) else CaptureSource(symbol, path)
