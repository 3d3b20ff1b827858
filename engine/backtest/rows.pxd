"""A cursor over the rows of a recording that one side sees.

The recording is a list of chunks of 64-byte events. A row is seen by a side when it has the side's
flag (EV_EXCH or EV_LOCAL), at that side's timestamp; the cursor skips all others. Reading the current
row costs one load, moving on costs one compare a skipped row.
"""

from libc.stdint cimport INT64_MAX, int64_t, uint64_t

from engine.core.types cimport EV_LOCAL, Event


# A row is a cache line, and the hardware's own read-ahead stops at each page of 64 rows.
cdef extern from *:
    """
    #define ROWS_AHEAD 64
    #define rows_fetch(event) __builtin_prefetch((const char *)(event) + 64 * ROWS_AHEAD)
    """
    void rows_fetch(const Event* event) noexcept nogil


cdef struct Rows:
    const Event** chunks         # borrowed: whoever loads the data keeps it alive
    int64_t* lengths
    int64_t n_chunks
    int64_t chunk                # where the cursor is
    uint64_t flag                # EV_EXCH or EV_LOCAL
    int64_t ts                   # of the current row; INT64_MAX at the end
    const Event* event           # the current row
    const Event* end             # of the current chunk


cdef inline int64_t row_ts(const Event* event, uint64_t flag) noexcept nogil:
    return event.local_ts if flag == <uint64_t>EV_LOCAL else event.exch_ts


cdef void rows_init(Rows* rows, const Event** chunks, int64_t* lengths, int64_t n, uint64_t flag) noexcept nogil
cdef void rows_next_chunk(Rows* rows) noexcept nogil


cdef inline void rows_advance(Rows* rows) noexcept nogil:
    """Moves to the next row that the side sees; at the end ``ts`` becomes INT64_MAX."""
    cdef const Event* event = rows.event + 1
    cdef const Event* end = rows.end
    cdef uint64_t flag = rows.flag
    rows_fetch(event)
    while event < end and not (event.ev & flag):
        event += 1
    rows.event = event
    if event < end:
        rows.ts = row_ts(event, flag)
    else:
        rows_next_chunk(rows)


cdef inline void rows_move(Rows* rows, const Event* event) noexcept nogil:
    """Moves to ``event``, a row of the current chunk that the side sees, or its end."""
    rows.event = event
    if event < rows.end:
        rows.ts = row_ts(event, rows.flag)
    else:
        rows_next_chunk(rows)
