"""Feeding the kernel one asset's rows and answers; see the header of local.pxd."""

from libc.stdint cimport int64_t

from engine.backtest.bus cimport bus_pop
from engine.backtest.rows cimport rows_advance, rows_fetch, rows_move
from engine.book.l2 cimport L2Book, L2Change, l2_apply
from engine.core.types cimport EV_LOCAL, Event, Order
from engine.kernel cimport Kernel


cdef void local_passive(Local* local, int64_t bound) noexcept nogil:
    """Applies all rows strictly before ``bound`` to the book; no strategy hears of them."""
    cdef L2Book* book = local.book
    cdef const Event* event
    cdef const Event* end
    cdef L2Change change
    while local.rows.ts < bound:
        event = local.rows.event
        end = local.rows.end
        while event < end:
            if event.ev & EV_LOCAL:
                if event.local_ts >= bound:
                    break
                rows_fetch(event)
                l2_apply(book, event, &change)
            event += 1
        rows_move(&local.rows, event)


cdef int local_row(Local* local, Kernel kernel) noexcept nogil:
    """Gives the kernel one row; rows of one arrival time are one message."""
    cdef const Event* event = local.rows.event
    cdef int64_t ts = local.rows.ts
    rows_advance(&local.rows)
    return kernel.apply_market(local.instrument, event, local.rows.ts != ts)


cdef int local_response(Local* local, Kernel kernel, int64_t now) noexcept nogil:
    """Gives the kernel the first answer that waits."""
    cdef Order report
    bus_pop(&local.venue.responses, &report)
    return kernel_report(kernel, &report, now)
