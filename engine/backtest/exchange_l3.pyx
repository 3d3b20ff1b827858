"""Own orders among the market's orders; exchange_l3.pxd says what each function does."""

from libc.stdint cimport INT64_MIN, int64_t, uint32_t, uint64_t

from engine.backtest.exchange cimport Exchange
from engine.backtest.order cimport SimOrder
from engine.backtest.resting cimport execute, own_insert, own_remove, respond
from engine.backtest.tape cimport (
    LOCAL,
    TAPE_UNSEEN,
    VENUE,
    Cursor,
    Source,
    TapeBlock,
    TapeRow,
    cursor_move,
    tape_event,
)
from engine.book.l3 cimport l3_apply, l3_check, l3_fetch, l3_fetch_order, l3_fill
from engine.book.ladder cimport ladder_rare
from engine.book.queues cimport L3Book, l3_is_own, l3_own_insert, l3_own_modify, l3_own_remove
from engine.core.codes cimport ERR_INVARIANT, OK
from engine.core.idmap cimport idmap_find
from engine.core.ticks cimport to_tick
from engine.core.types cimport (
    EV_BUY,
    EV_KIND_MASK,
    EV_SELL,
    EVENT_DEPTH_CLEAR,
    EVENT_FILL,
    REASON_BEST_CROSSED,
    REASON_MARKET_CLEARED,
    REASON_QUEUE_FRONT,
    REASON_TRADE_THROUGH,
    SIDE_BUY,
    STATUS_EXPIRED,
    Event,
)

import numpy as np

from engine.backtest.checks import REFUSALS
from engine.core.errors import DataError, raise_for_code


cdef enum:
    FAR = 12                     # rows ahead: the order's slot in the map is asked for
    NEAR = 6                     # and here the order


# --- the market's rows -----------------------------------------------------------------------------

cdef int _reason(const Exchange* ex, const SimOrder* order, const Event* event) noexcept nogil:
    """Why the event fills the order."""
    cdef int64_t tick
    if event.ev & EV_KIND_MASK != EVENT_FILL:
        return REASON_BEST_CROSSED
    tick = to_tick(event.px, ex.instrument.tick_size)
    if order.price_tick > tick if order.side == SIDE_BUY else order.price_tick < tick:
        return REASON_TRADE_THROUGH
    return REASON_QUEUE_FRONT


cdef int _give(Exchange* ex, const Event* event) noexcept nogil:
    """Fills the own orders that the event has taken out of their queues, or ends them if it cleared those."""
    cdef uint32_t i, handle
    cdef SimOrder* order
    cdef int code = OK
    for i in range(ex.queues.n_given):
        handle = <uint32_t>ex.queues.given[i]
        order = &ex.orders[handle]
        if event.ev & EV_KIND_MASK == EVENT_DEPTH_CLEAR:
            order.exec_qty = order.leaves_qty = 0.0
            order.status = STATUS_EXPIRED
            order.reason = REASON_MARKET_CLEARED
            order.exch_ts = event.exch_ts
        else:
            execute(
                ex, order, event.exch_ts, True, order.price_tick, order.leaves_qty, _reason(ex, order, event)
            )
        code = respond(ex, order)
        if code != OK:
            break
        own_remove(ex, handle)
    ex.queues.n_given = 0
    return code


cdef inline int _event(Exchange* ex, const Event* event) noexcept nogil:
    cdef int code
    if event.ev & EV_KIND_MASK == EVENT_FILL:
        # Fills of no side belong to auctions, whose queue nobody knows.
        if not event.ev & (EV_BUY | EV_SELL):
            return OK
        code = l3_fill(&ex.queues, event.order_id, event.px)
    else:
        code = l3_apply(&ex.queues, event)
    if ladder_rare(ex.queues.n_given != 0) and code == OK:
        code = _give(ex, event)
    return code


cdef inline void _fetch(const L3Book* book, const TapeBlock* block, const TapeRow* row) noexcept nogil:
    cdef const TapeRow* end = block.packed + block.n
    if row + FAR < end:
        l3_fetch(book, tape_event(block, row + FAR))
    if row + NEAR < end:
        l3_fetch_order(book, tape_event(block, row + NEAR))


cdef int orders_event(Exchange* ex, const Event* event) noexcept nogil:
    return _event(ex, event)


cdef int orders_run(Exchange* ex, int64_t limit, bint stop) noexcept nogil:
    cdef const TapeRow* row
    cdef const Event* event
    cdef uint64_t answers = ex.responses.pushed
    cdef int code
    while ex.rows.ts < limit:
        row = ex.rows.row
        # The mark behind a block's last row is later than any limit.
        while row.ts[VENUE] < limit:
            if not row.code & TAPE_UNSEEN << VENUE:
                event = tape_event(ex.rows.block, row)
                _fetch(&ex.queues, ex.rows.block, row)
                code = _event(ex, event)
                if ladder_rare(code != OK):
                    ex.fault = event
                    return code
                if stop and ladder_rare(ex.responses.pushed != answers):
                    # Nothing is before that.
                    limit = INT64_MIN
            row += 1
        cursor_move(ex.rows, row)
    return OK


cdef int orders_rows(Cursor* rows, L3Book* book, int64_t bound) noexcept nogil:
    cdef const TapeRow* row
    cdef int code
    while rows.ts < bound:
        row = rows.row
        while row.ts[LOCAL] < bound:
            if not row.code & TAPE_UNSEEN << LOCAL:
                _fetch(book, rows.block, row)
                code = l3_apply(book, tape_event(rows.block, row))
                if ladder_rare(code != OK):
                    cursor_move(rows, row)
                    return code
            row += 1
        cursor_move(rows, row)
    return OK


cdef orders_blame(Source source, const Event* event, int code):
    cdef const Event[::1] view
    cdef Py_ssize_t row
    for _, held, name, first in source.held:
        view = held
        row = event - &view[0]
        if 0 <= row < view.shape[0]:
            field, message = REFUSALS.get(code, ("ev", "the book has no room for it"))
            raise DataError(f"{np.asarray(view)[row][field]}: {message}", file=name, row=first + row, field=field)
    raise_for_code(code)


# --- own orders ------------------------------------------------------------------------------------

cdef int orders_join(Exchange* ex, uint64_t order_id) noexcept nogil:
    cdef uint32_t handle = idmap_find(&ex.ids, order_id) - 1
    cdef SimOrder* order = &ex.orders[handle]
    return l3_own_insert(
        &ex.queues, order.side != SIDE_BUY, order.price_tick, order.leaves_qty, handle, &order.place
    )


cdef void orders_leave(Exchange* ex, uint32_t handle) noexcept nogil:
    l3_own_remove(&ex.queues, ex.orders[handle].place)


cdef int orders_change(Exchange* ex, uint32_t handle, const SimOrder* changed) noexcept nogil:
    cdef SimOrder order = changed[0]
    cdef int code = l3_own_modify(&ex.queues, order.place, order.price_tick, order.leaves_qty)
    if code != OK:
        return code
    if order.price_tick == ex.orders[handle].price_tick:
        ex.orders[handle] = order
        return OK
    own_remove(ex, handle)
    code = own_insert(ex, &order)
    if code == OK:
        ex.queues.orders[order.place].order_id = idmap_find(&ex.ids, order.order_id) - 1
    return code


cdef int orders_check(const Exchange* ex) noexcept nogil:
    cdef uint32_t i, handle
    cdef int side
    cdef const SimOrder* order
    if l3_check(&ex.queues) != OK or ex.queues.n_given != 0:
        return ERR_INVARIANT
    if ex.queues.own[0].n + ex.queues.own[1].n != ex.n_orders:
        return ERR_INVARIANT
    for side in range(2):
        for i in range(ex.queues.own[side].n):
            handle = ex.queues.own[side].handles[i]
            order = &ex.orders[ex.queues.orders[handle].order_id]
            if not l3_is_own(&ex.queues, handle) or order.place != handle:
                return ERR_INVARIANT
            if (order.side != SIDE_BUY) != side or order.leaves_qty != ex.queues.orders[handle].qty:
                return ERR_INVARIANT
            if order.price_tick != ex.queues.orders[handle].key ^ -<int64_t>side:
                return ERR_INVARIANT
    return OK
