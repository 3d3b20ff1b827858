"""One pass over an event array that finds the first row a backtest could not use.

Cost: about four nanoseconds a row, which is reading it from memory; it stops at the first fault. A row is
sieved without a branch; only one that the sieve holds back is looked at field by field.
"""

from libc.stdint cimport INT64_MIN, int64_t, uint64_t
from libc.math cimport isfinite

from engine.backtest.rows cimport rows_fetch
from engine.book.ladder cimport ladder_rare
from engine.core.types cimport (
    EV_EXCH,
    EV_KIND_MASK,
    EV_LOCAL,
    EVENT_CANCEL_ORDER,
    EVENT_DEPTH_CLEAR,
    EVENT_FILL,
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

FAULTS = {
    FAULT_NO_SIDE: ("ev", "neither the EXCH nor the LOCAL flag is set: nobody would see the event"),
    FAULT_NO_KIND: ("ev", "the event has no kind"),
    FAULT_PX: ("px", "not a finite number"),
    FAULT_QTY: ("qty", "not a finite number"),
    FAULT_EXCH_ORDER: ("exch_ts", "earlier than the exchange event before it"),
    FAULT_LOCAL_ORDER: ("local_ts", "earlier than the local event before it"),
}


cdef struct Clocks:
    int64_t exch_ts
    int64_t local_ts


cdef int _fault(const Event* event, Clocks* clocks) noexcept nogil:
    cdef unsigned long long kind = event.ev & EV_KIND_MASK
    if not event.ev & (EV_EXCH | EV_LOCAL):
        return FAULT_NO_SIDE
    if kind == 0:
        return FAULT_NO_KIND
    # Clearing a whole book, cancels and fills need no price or quantity; some converters write NaN.
    if kind != EVENT_DEPTH_CLEAR and kind != EVENT_CANCEL_ORDER and kind != EVENT_FILL:
        if not isfinite(event.px):
            return FAULT_PX
        if not isfinite(event.qty):
            return FAULT_QTY
    if event.ev & EV_EXCH:
        if event.exch_ts < clocks.exch_ts:
            return FAULT_EXCH_ORDER
        clocks.exch_ts = event.exch_ts
    if event.ev & EV_LOCAL:
        if event.local_ts < clocks.local_ts:
            return FAULT_LOCAL_ORDER
        clocks.local_ts = event.local_ts
    return FAULT_NONE


cdef inline bint _doubtful(const Event* event, Clocks* clocks) noexcept nogil:
    """Whether a row has to be looked at closely: without a branch, and never false for a faulty one.

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
    ):
        return True
    clocks.exch_ts = exch_ts
    clocks.local_ts = local_ts
    return False


def first_fault(const Event[::1] events not None, clocks=None):
    """Finds the first unusable row.

    Args:
        events: Events, of a whole recording or of its next chunk.
        clocks: What the chunk before returned; None at the start.

    Returns:
        ``(row, fault, clocks)``: row and fault are -1 and 0 when all rows are usable; ``FAULTS[fault]``
        names the field and says what is wrong; clocks are the newest exchange and local time seen.
    """
    cdef Py_ssize_t i = 0
    cdef int fault = FAULT_NONE
    cdef Clocks seen
    seen.exch_ts, seen.local_ts = clocks if clocks is not None else (INT64_MIN, INT64_MIN)
    with nogil:
        for i in range(events.shape[0]):
            rows_fetch(&events[i])
            if _doubtful(&events[i], &seen):
                fault = _fault(&events[i], &seen)
                if fault != FAULT_NONE:
                    break
    return (i if fault else -1), fault, (seen.exch_ts, seen.local_ts)
