"""Own orders among the market's orders; exchange_l3.pxd says what each function does."""

from libc.math cimport INFINITY
from libc.stdint cimport INT64_MIN, int64_t, uint32_t, uint64_t

from engine.backtest.exchange cimport Exchange, own_slot
from engine.backtest.order cimport SimOrder
from engine.backtest.resting cimport execute, own_insert, own_remove, respond
from engine.backtest.source cimport Source
from engine.backtest.tape cimport (
    LOCAL,
    TAPE_UNSEEN,
    VENUE,
    Cursor,
    TapeBlock,
    TapeRow,
    cursor_event,
    cursor_move,
    cursor_place,
    tape_change,
    tape_event,
)
from engine.book.l2 cimport L2Book, l2_clear
from engine.book.l3 cimport _l3_after, l3_check, l3_clear, l3_follow
from engine.book.ladder cimport ladder_rare
from engine.book.queues cimport (
    L3Book,
    l3_fill_own,
    l3_is_own,
    l3_own_closer,
    l3_own_insert,
    l3_own_modify,
    l3_own_remove,
)
from engine.book.roll cimport ROLL_ADD, ROLL_CLEAR, ROLL_FILL, ROLL_NONE, RollChange
from engine.core.codes cimport ERR_INVARIANT, OK
from engine.core.idmap cimport idmap_find
from engine.core.ticks cimport to_tick
from engine.core.types cimport (
    EV_KIND_MASK,
    EVENT_DEPTH_CLEAR,
    EVENT_FILL,
    REASON_BEST_CROSSED,
    REASON_MARKET_CLEARED,
    REASON_QUEUE_FRONT,
    REASON_TRADE_THROUGH,
    SIDE_BUY,
    SIDE_NONE,
    SIDE_SELL,
    STATUS_EXPIRED,
    Event,
)

import numpy as np

from engine.backtest.checks import REFUSALS
from engine.core.errors import DataError, raise_for_code


# The sides that a clear can be of, as books call them.
cdef int[3] _SIDES
_SIDES[0], _SIDES[1], _SIDES[2] = SIDE_BUY, SIDE_SELL, SIDE_NONE


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


cdef inline int _row(Exchange* ex, const TapeBlock* block, const TapeRow* row) noexcept nogil:
    cdef const RollChange* change = tape_change(block, row, VENUE)
    cdef int side = change.side
    cdef int64_t prev
    cdef int code = OK
    if ladder_rare(change.op >= ROLL_FILL):
        code = _uncommon(&ex.queues, change)
    elif change.op != ROLL_NONE:
        if ladder_rare((change.op != ROLL_ADD) & (ex.own[side].count[own_slot(change.key)] != 0)):
            _closer(&ex.queues, change, row.qty)
        prev = ex.book.ladders[side].best
        code = l3_follow(&ex.book, change, row.qty)
        _l3_after(&ex.queues, side, prev)
    if ladder_rare(ex.queues.n_given != 0) and code == OK:
        code = _give(ex, tape_event(block, row))
    return code


cdef void _closer(L3Book* own, const RollChange* change, double qty) noexcept nogil:
    """What left a place of a level is no more ahead of the own orders behind it."""
    # An order that becomes more leaves its place with what it was before.
    cdef double gone = -change.delta if change.delta <= 0.0 else qty - change.delta
    l3_own_closer(own, change.side, change.key, change.place, gone)


cdef int _uncommon(L3Book* own, const RollChange* change) noexcept nogil:
    if change.op == ROLL_CLEAR:
        l3_clear(own, _SIDES[change.side])
    elif change.code == OK and own.own[change.side].n != 0:
        l3_fill_own(own, change.side, change.key, change.place, change.to)
    return change.code


cdef int orders_row(Exchange* ex) noexcept nogil:
    cdef int code = _row(ex, ex.rows.block, ex.rows.row)
    if code != OK:
        ex.fault = cursor_event(ex.rows)
        return code
    ex.book.ts = ex.rows.ts
    cursor_move(ex.rows, ex.rows.row + 1)
    return OK


cdef int orders_run(Exchange* ex, int64_t limit, bint stop) noexcept nogil:
    cdef const TapeRow* row
    cdef uint64_t answers = ex.responses.pushed
    cdef int code
    while ex.rows.ts < limit:
        row = ex.rows.row
        # The mark behind a block's last row is later than any limit.
        while row.ts[VENUE] < limit:
            if not row.code & TAPE_UNSEEN << VENUE:
                code = _row(ex, ex.rows.block, row)
                if ladder_rare(code != OK):
                    ex.fault = tape_event(ex.rows.block, row)
                    return code
                if stop and ladder_rare(ex.responses.pushed != answers):
                    # Nothing is before that.
                    limit = INT64_MIN
            row += 1
        ex.book.ts = (row - 1).ts[VENUE]
        cursor_move(ex.rows, row)
    return OK


cdef int orders_rare(L2Book* book, const RollChange* change) noexcept nogil:
    if change.op == ROLL_FILL:
        # Not for us to look at.
        return OK
    if change.op == ROLL_CLEAR:
        l2_clear(book, _SIDES[change.side], INFINITY)
    return change.code


cdef int orders_rows(Cursor* rows, L2Book* book, int64_t bound) noexcept nogil:
    cdef const TapeRow* row
    cdef const TapeRow* last
    cdef const RollChange* change
    cdef int code
    while rows.ts < bound:
        row = rows.row
        last = NULL
        while row.ts[LOCAL] < bound:
            if not row.code & TAPE_UNSEEN << LOCAL:
                change = tape_change(rows.block, row, LOCAL)
                code = orders_seen(book, change, row.qty)
                if ladder_rare(code != OK):
                    cursor_move(rows, row)
                    return code
                if orders_dates(change):
                    last = row
            row += 1
        if last != NULL:
            book.ts = tape_event(rows.block, last).exch_ts
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

cdef inline void _date(Exchange* ex) noexcept nogil:
    """Own orders that join a queue now go behind what the rows so far put there."""
    ex.queues.last_place = max(ex.queues.last_place, cursor_place(ex.rows))


cdef int orders_join(Exchange* ex, uint64_t order_id) noexcept nogil:
    cdef uint32_t handle = idmap_find(&ex.ids, order_id) - 1
    cdef SimOrder* order = &ex.orders[handle]
    _date(ex)
    return l3_own_insert(
        &ex.queues, order.side != SIDE_BUY, order.price_tick, order.leaves_qty, handle, &order.place
    )


cdef void orders_leave(Exchange* ex, uint32_t handle) noexcept nogil:
    l3_own_remove(&ex.queues, ex.orders[handle].place)


cdef int orders_change(Exchange* ex, uint32_t handle, const SimOrder* changed) noexcept nogil:
    cdef SimOrder order = changed[0]
    cdef int code
    _date(ex)
    code = l3_own_modify(&ex.queues, order.place, order.price_tick, order.leaves_qty)
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
