"""Feeding the kernel one asset's rows and answers; see the header of local.pxd."""

from libc.stdint cimport int64_t

from engine.backtest.bus cimport bus_pop
from engine.backtest.rows cimport rows_advance
from engine.book.l2 cimport L2Change, l2_apply
from engine.core.types cimport Event, Order
from engine.kernel cimport Kernel


cdef void local_passive(Local* local, int64_t bound) noexcept nogil:
    """Applies all rows strictly before ``bound`` to the book; no strategy hears of them."""
    cdef L2Change change
    while local.rows.ts < bound:
        l2_apply(local.book, local.rows.event, &change)
        rows_advance(&local.rows)


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
