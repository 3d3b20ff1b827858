"""Merges the event sources of several instruments into one time-ordered stream, each row once per side.

A row with both flags appears twice: when the venue saw it (EXCH, at exch_ts) and when we saw it (LOCAL,
at local_ts). The order is hftbacktest's EventSet order: by time, then instrument * 4 + kind with kind 0
for LOCAL and 2 for EXCH, then row.

Cost: one comparison an item while one side runs, a scan of 2 * instruments times when the side changes;
no copies but the one into the caller's batch. The GIL is taken once a chunk to ask the source for the
next. Memory: the chunks between an instrument's slower and faster side, i.e. rate times latency.
Bad case: many instruments taking turns row by row, where each item costs the scan; and a source whose
rows carry one side's flag only, which is read to its end in search of the other.
"""

from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t

from engine.core.types cimport Event


cdef enum:
    MAX_SOURCES = 256


# The numbers of runtime's RecordFlags, so that they copy straight into a MARKET record.
cdef enum MergedFlags:
    MERGED_LAST = 2        # LOCAL: the instrument's next LOCAL row has another local_ts, or there is none
    MERGED_EXCH = 16       # as the venue saw it, ts = exch_ts
    MERGED_LOCAL = 32      # as we saw it, ts = local_ts


cdef struct MergedEvent:
    Event event
    int64_t ts
    uint16_t instrument    # the source's place in the list
    uint16_t flags         # MergedFlags
    uint32_t _pad


# One side of one instrument: where it stands in which chunk.
cdef struct MergeSide:
    int64_t ts             # of its next row; INT64_MAX when there is none
    const Event* rows
    int64_t n
    int64_t i
    uint64_t first_row     # the chunk's first row, counted from the source's start
    uint64_t chunk         # the chunk's number
    uint64_t mask          # EV_LOCAL or EV_EXCH


cdef class Merger:
    cdef MergeSide* sides              # 2 an instrument: LOCAL, then EXCH
    cdef uint32_t n_sides
    cdef readonly uint64_t position    # items given out so far, and skipped ones
    cdef int code                      # OK, or why the stream broke off
    cdef readonly tuple sources
    cdef list _chunks                  # per source: iterator, or None when it ended
    cdef list _held                    # per source: chunks that a side still needs
    cdef list _first_held              # per source: number of the first of them
    cdef list _rows                    # per source: rows taken from it
    cdef object _error

    cdef int _advance(self, uint32_t side) noexcept nogil
    cdef int _next_chunk(self, uint32_t side) noexcept with gil
    cdef int _load(self, uint32_t side) except -1
    cdef object _pull(self, uint32_t instrument)
    cdef int _unsorted(self, uint32_t side) noexcept with gil
    cdef int raise_error(self) except -1


# Up to `max` items with ts <= until. OK with *n of them (0: nothing until then), END_OF_DATA with *n = 0,
# or an error code with *n = 0, which Merger.raise_error() turns into the exception.
cdef int merge_next_batch(
    Merger merger, MergedEvent* out, uint32_t max, int64_t until, uint32_t* n
) noexcept nogil

# When the next item is due; INT64_MAX at the end.
cdef int64_t merge_next_ts(Merger merger) noexcept nogil
