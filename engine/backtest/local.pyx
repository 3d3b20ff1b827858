"""Feeding the kernel one asset's rows and answers; see the header of local.pxd."""

from libc.stdint cimport int64_t, uint16_t, uint64_t

from engine.backtest.bus cimport bus_drop, bus_first
from engine.backtest.exchange_l3 cimport orders_dates, orders_rows, orders_seen
from engine.backtest.funding cimport funding_due, funding_pass
from engine.backtest.order cimport order_to_kernel
from engine.backtest.tape cimport (
    LOCAL,
    TAPE_ASK,
    TAPE_KEEP,
    TAPE_OTHER,
    TAPE_SHIFT,
    TAPE_TRADE,
    TAPE_UNSEEN,
    Cursor,
    TapeRow,
    cursor_event,
    cursor_move,
    tape_change,
    tape_event,
)
from engine.book.l2 cimport L2Book, L2Change, _l2_put, l2_apply
from engine.book.roll cimport RollChange
from engine.core.codes cimport OK
from engine.core.types cimport EV_KIND_MASK, EVENT_TRADE, Event, Instrument, Order
from engine.kernel cimport Kernel
from engine.risk.position cimport Position, position_qty
from engine.strategy.desk cimport book_mid, desk_cell


cdef void book_rows(Cursor* rows, L2Book* book, int64_t bound) noexcept nogil:
    """Applies all rows strictly before ``bound`` to a book."""
    cdef const TapeRow* row
    cdef const TapeRow* level
    cdef L2Change change
    cdef double prev_qty
    while rows.ts < bound:
        row = rows.row
        level = NULL
        while row.ts[LOCAL] < bound:
            if not row.code & (TAPE_TRADE | TAPE_OTHER | TAPE_UNSEEN << LOCAL):
                _l2_put(
                    book, row.code & TAPE_ASK, row.code >> TAPE_SHIFT, row.qty, (row.code & TAPE_KEEP) != 0,
                    &prev_qty,
                )
                level = row
            elif not row.code & (TAPE_TRADE | TAPE_UNSEEN << LOCAL):
                l2_apply(book, tape_event(rows.block, row), &change)
            row += 1
        if level != NULL:
            book.ts = max(book.ts, tape_event(rows.block, level).exch_ts)
        cursor_move(rows, row)


cdef int local_passive(Local* local, int64_t bound) noexcept nogil:
    """Applies all rows strictly before ``bound`` to the kernel's book; no strategy hears of them."""
    cdef int code
    if local.venue.by_order:
        code = orders_rows(local.rows, local.book, bound)
        if code != OK:
            local.fault = cursor_event(local.rows)
        return code
    book_rows(local.rows, local.book, bound)
    return OK


cdef int local_row(Local* local, Kernel kernel) noexcept nogil:
    """Gives the kernel one row; rows of one arrival time are one message."""
    cdef int64_t ts = local.rows.ts
    # A copy, because moving on may let the chunk go; and its time may have an offset.
    cdef Event event = cursor_event(local.rows)[0]
    cdef const RollChange* change
    cdef int code
    event.local_ts = ts
    if local.venue.by_order:
        change = tape_change(local.rows.block, local.rows.row, LOCAL)
        code = orders_seen(local.book, change, event.qty)
        if code != OK:
            local.fault = cursor_event(local.rows)
            return code
        if orders_dates(change):
            local.book.ts = event.exch_ts
        # The book has changed already: the kernel is only to tell strategies.
        if event.ev & EV_KIND_MASK != EVENT_TRADE:
            event.ev &= ~<uint64_t>EV_KIND_MASK
    cursor_move(local.rows, local.rows.row + 1)
    return kernel.apply_market(local.instrument, &event, local.rows.ts != ts)


cdef int local_response(Local* local, Kernel kernel, int64_t now) noexcept nogil:
    """Gives the kernel the first answer that waits."""
    cdef Order report
    order_to_kernel(bus_first(&local.venue.responses), &local.venue.instrument, &report)
    bus_drop(&local.venue.responses)
    return kernel_report(kernel, &report, now)


cdef void local_pay(Local* local, Kernel kernel) noexcept nogil:
    cdef double mid = book_mid(local.book)
    cdef Instrument* instrument = &kernel.desk.instruments[local.instrument]
    cdef Position* position
    cdef uint16_t strategy
    if not local_over(local):
        for strategy in range(kernel.desk.n_strategies):
            position = &desk_cell(&kernel.desk, strategy, local.instrument).position
            if position.lots != 0:
                position.funding += funding_due(
                    &local.funding, instrument, position_qty(position, instrument), mid, position.last_px
                )
    funding_pass(&local.funding)
