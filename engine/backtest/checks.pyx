"""One pass over an event array that finds the first row a backtest could not use; checks.pxd has the sieves.

Cost: a few nanoseconds a row, most of it reading the row from memory, which is why everything is looked at
in that one pass; it stops at the first fault.
"""

from libc.math cimport fabs, isfinite
from libc.stdint cimport uint64_t

from engine.book.ladder cimport ladder_rare
from engine.core.codes cimport ERR_BAD_QTY, ERR_BAD_TICK, ERR_ORDER_ID_EXIST, ERR_ORDER_NOT_FOUND
from engine.core.ticks cimport round_half_away
from engine.core.types cimport (
    EV_EXCH,
    EV_KIND_MASK,
    EV_LOCAL,
    EVENT_CANCEL_ORDER,
    EVENT_DEPTH_CLEAR,
    EVENT_FILL,
    Event,
)

FAULTS = {
    FAULT_NO_SIDE: ("ev", "neither the EXCH nor the LOCAL flag is set: nobody would see the event"),
    FAULT_NO_KIND: ("ev", "the event has no kind"),
    FAULT_PX: ("px", "not a finite number"),
    FAULT_QTY: ("qty", "not a finite number"),
    FAULT_EXCH_ORDER: ("exch_ts", "earlier than the exchange event before it"),
    FAULT_LOCAL_ORDER: ("local_ts", "earlier than the local event before it"),
    FAULT_EXCH_RANGE: ("exch_ts", "not a time from 1970 to 2116 in nanoseconds"),
    FAULT_LOCAL_RANGE: ("local_ts", "not a time from 1970 to 2116 in nanoseconds"),
    FAULT_OFF_GRID: ("px", "not a multiple of the tick size {0[0]:g}"),
    FAULT_PX_RANGE: ("px", "too many ticks of {0[0]:g}"),
    FAULT_QTY_RANGE: ("qty", "negative, or too many lots of {0[1]:g}"),
}

# What a market-by-order book refuses, by result code.
REFUSALS = {
    ERR_ORDER_NOT_FOUND: ("order_id", "no such order is in the book"),
    ERR_ORDER_ID_EXIST: ("order_id", "such an order is in the book already"),
    ERR_BAD_TICK: ("px", "too many ticks"),
    ERR_BAD_QTY: ("qty", "negative, or too many lots"),
}

cdef double COUNT_LIMIT = 4e18


cdef int row_fault(const Event* event, Clocks* clocks) noexcept nogil:
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
        if <uint64_t>event.exch_ts >= ROW_TIME_LIMIT:
            return FAULT_EXCH_RANGE
        if event.exch_ts < clocks.exch_ts:
            return FAULT_EXCH_ORDER
        clocks.exch_ts = event.exch_ts
    if event.ev & EV_LOCAL:
        if <uint64_t>event.local_ts >= ROW_TIME_LIMIT:
            return FAULT_LOCAL_RANGE
        if event.local_ts < clocks.local_ts:
            return FAULT_LOCAL_ORDER
        clocks.local_ts = event.local_ts
    return FAULT_NONE


cdef int row_misfit(const Event* event, double tick_size, double lot_size) noexcept nogil:
    cdef unsigned long long kind = event.ev & EV_KIND_MASK
    cdef double ticks, lots
    if not row_is_depth(kind):
        return FAULT_NONE
    ticks = event.px / tick_size
    lots = event.qty / lot_size
    if not fabs(ticks) < COUNT_LIMIT:
        return FAULT_PX_RANGE
    if not 0 <= lots < COUNT_LIMIT:
        return FAULT_QTY_RANGE
    # The tolerance grows with the price, as the error of a price that is a rounded decimal does.
    if fabs(ticks - <double>round_half_away(ticks)) > 1e-3 + 1e-12 * fabs(ticks):
        return FAULT_OFF_GRID
    return FAULT_NONE


cdef inline bint _may_misfit(const Event* event, double ticks_per_px, uint64_t most) noexcept nogil:
    cdef double ticks = event.px * ticks_per_px
    return row_is_depth(event.ev & EV_KIND_MASK) & row_off_sieve(ticks, row_whole(ticks), event.qty, most)


def first_fault(const Event[::1] events not None, clocks=None, sizes=None):
    """Finds the first unusable row.

    Args:
        events: Events, of a whole recording or of its next chunk.
        clocks: What the chunk before returned; None at the start.
        sizes: Tick and lot size of the book that depth rows have to fit; None does not look at that.
            Prices have to be multiples of the tick size; quantities of the market need not be whole lots.

    Returns:
        ``(row, fault, clocks)``: row and fault are -1 and 0 when all rows are usable; ``FAULTS[fault]``
        names the field and says what is wrong, to be formatted with ``sizes``; clocks are the newest
        exchange and local time seen.
    """
    cdef Py_ssize_t i = 0
    cdef int fault = FAULT_NONE
    cdef Clocks seen
    cdef double tick_size = 0.0, lot_size = 0.0, ticks_per_px = 0.0
    cdef uint64_t most = 0
    cdef bint fit = sizes is not None
    seen.exch_ts, seen.local_ts = clocks if clocks is not None else (0, 0)
    if fit:
        tick_size, lot_size = sizes
        ticks_per_px, most = 1.0 / tick_size, row_most(lot_size)
    with nogil:
        for i in range(events.shape[0]):
            row_fetch(&events[i])
            if row_doubtful(&events[i], &seen):
                fault = row_fault(&events[i], &seen)
            if fit and fault == FAULT_NONE and ladder_rare(_may_misfit(&events[i], ticks_per_px, most)):
                fault = row_misfit(&events[i], tick_size, lot_size)
            if fault != FAULT_NONE:
                break
    return (i if fault else -1), fault, (seen.exch_ts, seen.local_ts)
