"""Merges event sources into one time-ordered stream."""

import numpy as np

cimport cython
from libc.stdint cimport INT64_MAX, INT64_MIN
from libc.stdlib cimport calloc, free

from engine.core.codes cimport END_OF_DATA, ERR_BAD_EVENT, ERR_UNSORTED, OK
from engine.core.types cimport EV_EXCH, EV_LOCAL

from engine.core.errors import CapacityError, DataError
from engine.core.types import event_dtype


cdef MergedEvent _merged
merged_dtype = np.asarray(<MergedEvent[:1]>&_merged).dtype

LAST = int(MERGED_LAST)
EXCH = int(MERGED_EXCH)
LOCAL = int(MERGED_LOCAL)


cdef int64_t merge_next_ts(Merger merger) noexcept nogil:
    cdef int64_t ts = INT64_MAX
    cdef uint32_t side
    for side in range(merger.n_sides):
        ts = min(ts, merger.sides[side].ts)
    return ts


cdef int merge_next_batch(
    Merger merger, MergedEvent* out, uint32_t max, int64_t until, uint32_t* n
) noexcept nogil:
    cdef MergeSide* sides = merger.sides
    cdef MergeSide* side
    cdef MergedEvent* item
    cdef uint32_t done = 0, best, s
    cdef int64_t ts, limit
    while merger.code == OK and done < max:
        best = 0
        ts = limit = INT64_MAX
        # `limit` is the last time at which `best` still goes before every other side.
        for s in range(merger.n_sides):
            if sides[s].ts < ts:
                limit = ts - 1
                ts = sides[s].ts
                best = s
            else:
                limit = min(limit, sides[s].ts)
        if ts == INT64_MAX:
            merger.code = END_OF_DATA
            break
        limit = min(limit, until)
        if ts > limit:
            break
        side = &sides[best]
        while side.ts <= limit and done < max:
            item = &out[done]
            item.event = side.rows[side.i]
            item.ts = ts = side.ts
            item.instrument = <uint16_t>(best >> 1)
            item.flags = MERGED_EXCH if best & 1 else MERGED_LOCAL
            item._pad = 0
            done += 1
            if merger._advance(best) != OK:
                break
            if not best & 1 and side.ts != ts:
                item.flags |= MERGED_LAST
    n[0] = done
    merger.position += done
    return OK if done > 0 else merger.code


@cython.final
cdef class Merger:
    """The merged stream of several sources.

    Args:
        sources: One :class:`engine.feeds.base.EventSource` an instrument, at most 256; an item's
            ``instrument`` is its source's place here.
        start: Items to skip, e.g. ``position`` of the merger that a killed process had. They are
            merged and thrown away, which takes some 10 ns each.

    Raises:
        CapacityError: Too many sources.
        DataError: A source's beginning is unreadable.
    """

    def __init__(self, sources, uint64_t start=0):
        cdef uint32_t side
        if self.sides != NULL:
            raise ValueError("a merger is made once")
        self.sources = tuple(sources)
        if len(self.sources) > MAX_SOURCES:
            raise CapacityError(f"{len(self.sources)} sources; a merger takes at most {MAX_SOURCES}")
        self.n_sides = 2 * len(self.sources)
        self.sides = <MergeSide*>calloc(self.n_sides + 1, sizeof(MergeSide))
        if self.sides == NULL:
            raise MemoryError
        self._chunks = [iter(source.chunks()) for source in self.sources]
        self._held = [[] for _ in self.sources]
        self._first_held = [0 for _ in self.sources]
        self._rows = [0 for _ in self.sources]
        for side in range(self.n_sides):
            # Stands before its first row, in a chunk that does not exist.
            self.sides[side].ts = INT64_MIN
            self.sides[side].i = -1
            self.sides[side].chunk = <uint64_t>-1
            self.sides[side].mask = EV_EXCH if side & 1 else EV_LOCAL
            if self._advance(side) != OK:
                self.raise_error()
        self.skip(start)

    def __dealloc__(self):
        free(self.sides)

    cdef int _advance(self, uint32_t s) noexcept nogil:
        """Moves a side to its next row; OK also at its end."""
        cdef MergeSide* side = &self.sides[s]
        cdef int64_t ts
        cdef int code
        while True:
            side.i += 1
            while side.i >= side.n:
                code = self._next_chunk(s)
                if code == END_OF_DATA:
                    side.ts = INT64_MAX
                    return OK
                if code != OK:
                    self.code = code
                    return code
            if side.rows[side.i].ev & side.mask:
                break
        ts = side.rows[side.i].exch_ts if s & 1 else side.rows[side.i].local_ts
        if ts < side.ts or ts == INT64_MAX:
            self.code = self._unsorted(s)
            return self.code
        side.ts = ts
        return OK

    cdef int _next_chunk(self, uint32_t s) noexcept with gil:
        try:
            return self._load(s)
        except BaseException as error:
            self._error = error
            return ERR_BAD_EVENT

    cdef int _load(self, uint32_t s) except -1:
        cdef MergeSide* side = &self.sides[s]
        cdef uint32_t instrument = s >> 1
        cdef uint64_t wanted = side.chunk + 1, slower
        cdef const Event[::1] rows
        held = self._held[instrument]
        if wanted - <uint64_t>self._first_held[instrument] == <uint64_t>len(held):
            chunk = self._pull(instrument)
            if chunk is None:
                return END_OF_DATA
            held.append((self._rows[instrument], chunk))
            self._rows[instrument] += len(chunk)
        first_row, chunk = held[wanted - <uint64_t>self._first_held[instrument]]
        rows = chunk
        side.rows = &rows[0]
        side.n = rows.shape[0]
        side.i = 0
        side.first_row = first_row
        side.chunk = wanted
        # A side that has not begun stands at chunk -1, which wraps to 0 and keeps everything.
        slower = min(self.sides[s & ~1u].chunk + 1, self.sides[s | 1u].chunk + 1)
        while held and self._first_held[instrument] + 1 < slower:
            held.pop(0)
            self._first_held[instrument] += 1
        return OK

    cdef object _pull(self, uint32_t instrument):
        """The source's next chunk that has rows, aligned and contiguous; None at its end."""
        while self._chunks[instrument] is not None:
            chunk = next(self._chunks[instrument], None)
            if chunk is None:
                self._chunks[instrument] = None
            elif chunk.dtype != event_dtype or chunk.ndim != 1:
                raise DataError(
                    f"chunks of {chunk.dtype}, not of event_dtype", file=self.sources[instrument].name
                )
            elif len(chunk):
                # A mapped file's rows may lie anywhere; C wants its doubles aligned.
                return np.ascontiguousarray(chunk) if chunk.ctypes.data % 8 == 0 else chunk.copy()
        return None

    cdef int _unsorted(self, uint32_t s) noexcept with gil:
        cdef MergeSide* side = &self.sides[s]
        field = "exch_ts" if s & 1 else "local_ts"
        ts = side.rows[side.i].exch_ts if s & 1 else side.rows[side.i].local_ts
        self._error = DataError(
            f"{ts} is earlier than the row before it on the same side, or no time at all",
            file=self.sources[s >> 1].name,
            row=side.first_row + side.i,
            field=field,
        )
        return ERR_UNSORTED

    cdef int raise_error(self) except -1:
        """Raises what broke the stream off, if anything did."""
        if self._error is not None:
            raise self._error
        return 0

    @property
    def next_ts(self):
        """When the next item is due, or None at the end."""
        ts = merge_next_ts(self)
        return None if ts == INT64_MAX else ts

    def read(self, uint32_t max=65536, until=None):
        """The next items.

        Args:
            max: The most to return.
            until: Return only items with ``ts`` up to this time; no limit by default.

        Returns:
            ``merged_dtype`` array, empty at the end of data or when nothing is due.

        Raises:
            DataError: A source broke off, after all items before the fault were returned.
        """
        cdef int64_t limit = INT64_MAX if until is None else until
        cdef uint32_t n = 0
        cdef int code
        out = np.empty(max, merged_dtype)
        if max == 0 or self.n_sides == 0:
            return out[:0]
        cdef MergedEvent[::1] view = out
        with nogil:
            code = merge_next_batch(self, &view[0], max, limit, &n)
        if code != OK and code != END_OF_DATA:
            self.raise_error()
        return out[:n]

    def skip(self, uint64_t items) -> int:
        """Merges items and throws them away.

        Args:
            items: How many.

        Returns:
            How many there were.

        Raises:
            DataError: As :meth:`read`.
        """
        cdef uint64_t done = 0
        while done < items:
            n = len(self.read(min(items - done, 65536)))
            if n == 0:
                break
            done += n
        return done
