"""What a row of a recording has to be; first_fault in checks.pyx looks at a whole array, the tape at each block.

A row is sieved without a branch and without a division (``row_doubtful``, ``row_off_sieve``); only one that
a sieve holds back is looked at field by field (``row_fault``, ``row_misfit``, out of line).
"""

from libc.float cimport DBL_MAX
from libc.math cimport fabs
from libc.stdint cimport int64_t, uint64_t

from engine.book.ladder cimport ladder_rare
from engine.core.types cimport (
    EV_EXCH,
    EV_KIND_MASK,
    EV_LOCAL,
    EVENT_DEPTH,
    EVENT_DEPTH_BBO,
    EVENT_DEPTH_SNAPSHOT,
    Event,
)


cdef enum Fault:
    FAULT_NONE = 0
    FAULT_NO_SIDE = 1
    FAULT_NO_KIND = 2
    FAULT_PX = 3
    FAULT_QTY = 4
    FAULT_EXCH_ORDER = 5
    FAULT_LOCAL_ORDER = 6
    FAULT_EXCH_RANGE = 7
    FAULT_LOCAL_RANGE = 8
    FAULT_OFF_GRID = 9
    FAULT_PX_RANGE = 10
    FAULT_QTY_RANGE = 11


cdef extern from *:
    """
    /* Times leave room for latencies and timers to be added to them, ticks and lots for sums of them. */
    #define ROW_TIME_LIMIT ((uint64_t)1 << 62)
    /* Adding and taking away 1.5 * 2**52 rounds a double below 2**51 to a whole number. */
    #define ROW_WHOLE 6755399441055744.0
    #define ROW_SIEVED (int64_t)1000000000000000
    /* A row is a cache line, and the hardware's own read-ahead stops at each page of 64 rows. */
    #define row_ahead(event) ((const void *)((const char *)(event) + 64 * 64))
    #define row_fetch(event) __builtin_prefetch(row_ahead(event))
    """
    const uint64_t ROW_TIME_LIMIT
    const double ROW_WHOLE
    const int64_t ROW_SIEVED     # ticks, and a tenth more than lots
    const void* row_ahead(const Event* event) noexcept nogil
    void row_fetch(const Event* event) noexcept nogil


# The newest time seen on either side.
cdef struct Clocks:
    int64_t exch_ts
    int64_t local_ts


cdef int row_fault(const Event* event, Clocks* clocks) noexcept nogil
cdef int row_misfit(const Event* event, double tick_size, double lot_size) noexcept nogil


cdef inline bint row_doubtful(const Event* event, Clocks* clocks) noexcept nogil:
    """Whether a row has to be looked at closely: never false for a faulty one.

    The clocks have moved on only if not.
    """
    cdef uint64_t ev = event.ev
    cdef int64_t exch_ts = event.exch_ts
    cdef int64_t local_ts = event.local_ts
    if not ev & EV_EXCH:
        exch_ts = clocks.exch_ts
    if not ev & EV_LOCAL:
        local_ts = clocks.local_ts
    # Times 0 a finite number is 0 and any other NaN.
    if ladder_rare(
        (not ev & (EV_EXCH | EV_LOCAL))
        | (not ev & EV_KIND_MASK)
        | (not event.px * 0.0 + event.qty * 0.0 == 0.0)
        | (exch_ts < clocks.exch_ts)
        | (local_ts < clocks.local_ts)
        | ((<uint64_t>exch_ts | <uint64_t>local_ts) >= ROW_TIME_LIMIT)
    ):
        return True
    clocks.exch_ts = exch_ts
    clocks.local_ts = local_ts
    return False


cdef inline bint row_is_depth(uint64_t kind) noexcept nogil:
    return (kind == EVENT_DEPTH) | (kind == EVENT_DEPTH_SNAPSHOT) | (kind == EVENT_DEPTH_BBO)


cdef inline uint64_t row_bits(double x) noexcept nogil:
    """The bits of a number, which are in the order of the numbers where those are not negative."""
    return (<uint64_t*>&x)[0]


cdef inline uint64_t row_most(double lot_size) noexcept nogil:
    """The bits of the greatest quantity that passes the sieve."""
    return row_bits(min(0.9 * ROW_SIEVED * lot_size, DBL_MAX))


cdef inline int64_t row_whole(double ticks) noexcept nogil:
    """Ticks rounded to a whole number; of those that are too many for the sieve, another that is too many."""
    return <int64_t>(row_bits(ticks + ROW_WHOLE) - row_bits(ROW_WHOLE))


cdef inline bint row_off_sieve(double ticks, int64_t whole, double qty, uint64_t most) noexcept nogil:
    """Whether a price and a quantity have to be looked at closely; ``whole`` is ``row_whole`` of the ticks.

    Closer to a whole number than row_misfit asks, by more than an inverse instead of a division can be wrong.
    """
    return not (
        (fabs(ticks - ((ticks + ROW_WHOLE) - ROW_WHOLE)) < 0.9e-3)
        & (<uint64_t>(whole + ROW_SIEVED) < <uint64_t>(2 * ROW_SIEVED))
        & (row_bits(qty) <= most)
    )
