"""Cold paths of the row cursor; see the header of rows.pxd."""

from libc.stdint cimport INT64_MAX, int64_t, uint64_t

from engine.core.types cimport Event


cdef void rows_init(Rows* rows, const Event** chunks, int64_t* lengths, int64_t n, uint64_t flag) noexcept nogil:
    """Points a cursor at the first row that the side sees."""
    rows.chunks = chunks
    rows.lengths = lengths
    rows.n_chunks = n
    rows.flag = flag
    rows.chunk = -1
    rows_next_chunk(rows)


cdef void rows_next_chunk(Rows* rows) noexcept nogil:
    """Moves to the first row that the side sees in a later chunk."""
    cdef const Event* event
    cdef const Event* end
    rows.chunk += 1
    while rows.chunk < rows.n_chunks:
        event = rows.chunks[rows.chunk]
        end = event + rows.lengths[rows.chunk]
        while event < end and not (event.ev & rows.flag):
            event += 1
        if event < end:
            rows.event = event
            rows.end = end
            rows.ts = row_ts(event, rows.flag)
            return
        rows.chunk += 1
    rows.event = NULL
    rows.end = NULL
    rows.ts = INT64_MAX
