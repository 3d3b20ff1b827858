"""Own orders resting at a venue; resting.pxd says what each function does, exchange.pxd how they are kept."""

from libc.math cimport round as c_round
from libc.stdint cimport INT64_MAX, INT64_MIN, int64_t, uint32_t
from libc.stdlib cimport realloc
from libc.string cimport memset

from engine.backtest.bus cimport bus_push
from engine.backtest.custom cimport model_code
from engine.backtest.exchange cimport FILL_PARTIAL, OWN_FILTER, Exchange, OwnSide, own_slot
from engine.backtest.fees cimport fee_amount
from engine.backtest.latency cimport latency_response
from engine.backtest.order cimport SimOrder
from engine.backtest.queue cimport queue_depth, queue_filled, queue_trade
from engine.core.codes cimport ERR_FULL, ERR_INVARIANT, ERR_NO_MEMORY, OK
from engine.core.idmap cimport (
    IdTable,
    idmap_check,
    idmap_free,
    idmap_init,
    idmap_insert,
    idmap_remove,
)
from engine.core.ticks cimport INVALID_MAX_TICK, INVALID_MIN_TICK, to_px
from engine.core.types cimport (
    REASON_BEST_CROSSED,
    REASON_QUEUE_FRONT,
    REASON_TRADE_THROUGH,
    STATUS_FILLED,
    STATUS_NEW,
    STATUS_PARTIALLY_FILLED,
    instrument_amount,
)


# --- the lists -----------------------------------------------------------------------------------

cdef inline uint32_t _slot(const OwnSide* own, const SimOrder* order) noexcept nogil:
    return own_slot(order.price_tick if own.sign > 0 else ~order.price_tick)


cdef inline void _own_best(Exchange* ex, OwnSide* own) noexcept nogil:
    if own.head != <uint32_t>NIL:
        own.best_tick = ex.orders[own.head].price_tick
    else:
        own.best_tick = INT64_MIN if own.sign > 0 else INT64_MAX


cdef int _grow(Exchange* ex) noexcept nogil:
    """Twice the slots, and a map for them."""
    cdef IdTable ids
    cdef uint32_t capacity = 2 * ex.capacity
    cdef uint32_t i
    cdef SimOrder* orders = <SimOrder*>realloc(ex.orders, capacity * sizeof(SimOrder))
    if orders == NULL:
        return ERR_NO_MEMORY
    ex.orders = orders
    if idmap_init(&ids, capacity) != OK:
        return ERR_NO_MEMORY
    for i in range(ex.ids.mask + 1):
        if ex.ids.slots[i].value != 0:
            idmap_insert(&ids, ex.ids.slots[i].key, ex.ids.slots[i].value)
    idmap_free(&ex.ids)
    ex.ids = ids
    ex.capacity = capacity
    return OK


cdef int own_insert(Exchange* ex, const SimOrder* order) noexcept nogil:
    cdef OwnSide* own = own_side(ex, order.side)
    cdef uint32_t handle, after, before
    cdef SimOrder* slot
    cdef int code
    if ex.free == <uint32_t>NIL and ex.fresh == ex.capacity:
        code = _grow(ex) if ex.grows else ERR_FULL
        if code != OK:
            return code
    handle = ex.free if ex.free != <uint32_t>NIL else ex.fresh
    # The map's 0 means absent, so it holds handles one up.
    code = idmap_insert(&ex.ids, order.order_id, handle + 1)
    if code != OK:
        return code
    after = NIL
    before = own.head
    while before != <uint32_t>NIL and (ex.orders[before].price_tick - order.price_tick) * own.sign >= 0:
        after = before
        before = ex.orders[before].next_handle
    slot = &ex.orders[handle]
    if handle == ex.fresh:
        ex.fresh += 1
    else:
        ex.free = slot.next_handle
    slot[0] = order[0]
    slot.prev_handle = after
    slot.next_handle = before
    if after == <uint32_t>NIL:
        own.head = handle
    else:
        ex.orders[after].next_handle = handle
    if before != <uint32_t>NIL:
        ex.orders[before].prev_handle = handle
    own.count[_slot(own, order)] += 1
    ex.n_orders += 1
    _own_best(ex, own)
    return OK


cdef void own_remove(Exchange* ex, uint32_t handle) noexcept nogil:
    cdef SimOrder* slot = &ex.orders[handle]
    cdef OwnSide* own = own_side(ex, slot.side)
    if slot.prev_handle == <uint32_t>NIL:
        own.head = slot.next_handle
    else:
        ex.orders[slot.prev_handle].next_handle = slot.next_handle
    if slot.next_handle != <uint32_t>NIL:
        ex.orders[slot.next_handle].prev_handle = slot.prev_handle
    own.count[_slot(own, slot)] -= 1
    ex.n_orders -= 1
    idmap_remove(&ex.ids, slot.order_id)
    slot.next_handle = ex.free
    ex.free = handle
    _own_best(ex, own)


# --- answers and fills ---------------------------------------------------------------------------

cdef int respond(Exchange* ex, const SimOrder* order) noexcept nogil:
    cdef int64_t arrival = order.exch_ts + latency_response(&ex.response, order.exch_ts, order)
    cdef int code = model_code(ex.model_fault)
    return code if code != OK else bus_push(&ex.responses, order, arrival)


cdef void execute(
    Exchange* ex, SimOrder* order, int64_t now, bint is_maker, int64_t tick, double qty, int reason
) noexcept nogil:
    cdef double px = to_px(tick, ex.instrument.tick_size)
    order.exec_price_tick = tick
    order.exec_qty = qty
    order.leaves_qty -= qty
    order.is_maker = is_maker
    order.reason = reason
    order.status = STATUS_FILLED
    if c_round(order.leaves_qty / ex.instrument.lot_size) > 0.0:
        order.status = STATUS_PARTIALLY_FILLED
    order.exch_ts = now
    order.fee = fee_amount(&ex.fees, order, instrument_amount(&ex.instrument, px, qty))


cdef int fill_resting(Exchange* ex, uint32_t handle, int64_t now, double qty, int reason) noexcept nogil:
    cdef SimOrder* order = &ex.orders[handle]
    # Whole fills leave nothing, whatever that is in lots; a partial fill of all the rest does too.
    cdef bint whole = qty >= order.leaves_qty
    cdef int code
    execute(ex, order, now, True, order.price_tick, qty, reason)
    code = respond(ex, order)
    if whole or order.status == STATUS_FILLED:
        own_remove(ex, handle)
    return code


# --- what the market does to own orders ----------------------------------------------------------

cdef int level_changed(Exchange* ex, OwnSide* own, int64_t tick, double prev_qty, double new_qty) noexcept nogil:
    cdef uint32_t handle = own.head
    cdef int64_t away
    while handle != <uint32_t>NIL:
        away = (ex.orders[handle].price_tick - tick) * own.sign
        if away < 0:
            break
        if away == 0:
            queue_depth(&ex.queue, &ex.orders[handle], prev_qty, new_qty)
        handle = ex.orders[handle].next_handle
    return model_code(ex.model_fault)


cdef inline bint _reached(const Exchange* ex, const OwnSide* own, int64_t tick, int64_t from_tick) noexcept nogil:
    """Whether hftbacktest looks at own orders on the market's side of ``from_tick`` as well.

    There are none, unless a one-sided clear has uncovered levels that lay behind the best: then it looks
    at them only where that is cheaper than going through the ticks between ``from_tick`` and ``tick``.
    """
    cdef bint none = from_tick == (INVALID_MAX_TICK if own.sign > 0 else INVALID_MIN_TICK)
    return none or <int64_t>ex.n_orders < (from_tick - tick) * own.sign


cdef int best_moved(Exchange* ex, OwnSide* own, int64_t tick, int64_t prev_tick, int64_t now) noexcept nogil:
    cdef uint32_t handle = own.head
    cdef uint32_t following
    cdef bint all = _reached(ex, own, tick, prev_tick)
    cdef int code
    while handle != <uint32_t>NIL and (ex.orders[handle].price_tick - tick) * own.sign >= 0:
        following = ex.orders[handle].next_handle
        if all or (ex.orders[handle].price_tick - prev_tick) * own.sign < 0:
            code = fill_resting(ex, handle, now, ex.orders[handle].leaves_qty, REASON_BEST_CROSSED)
            if code != OK:
                return code
        handle = following
    return OK


cdef int traded(
    Exchange* ex, OwnSide* own, int64_t tick, int64_t best_tick, double qty, int64_t now
) noexcept nogil:
    cdef uint32_t handle = own.head
    cdef uint32_t following
    cdef bint all = _reached(ex, own, tick, best_tick)
    cdef SimOrder* order
    cdef int64_t away
    cdef double open_qty
    cdef int code
    while handle != <uint32_t>NIL:
        order = &ex.orders[handle]
        following = order.next_handle
        away = (order.price_tick - tick) * own.sign
        if away < 0:
            return OK
        code = OK
        if all or (order.price_tick - best_tick) * own.sign < 0:
            if away > 0:
                code = fill_resting(ex, handle, now, order.leaves_qty, REASON_TRADE_THROUGH)
            else:
                queue_trade(&ex.queue, order, qty)
                open_qty = queue_filled(&ex.queue, order)
                code = model_code(ex.model_fault)
                if open_qty > 0.0:
                    if ex.fill_kind != FILL_PARTIAL or open_qty > order.leaves_qty:
                        open_qty = order.leaves_qty
                    code = fill_resting(ex, handle, now, open_qty, REASON_QUEUE_FRONT)
        if code != OK:
            return code
        handle = following
    return OK


# --- checks --------------------------------------------------------------------------------------

cdef int _check_side(const Exchange* ex, const OwnSide* own, uint32_t* n) noexcept nogil:
    cdef uint32_t count[OWN_FILTER]
    cdef uint32_t handle = own.head
    cdef uint32_t previous = NIL
    cdef const SimOrder* order
    cdef uint32_t i
    memset(count, 0, sizeof(count))
    while handle != <uint32_t>NIL:
        order = &ex.orders[handle]
        if n[0] >= ex.capacity or order.prev_handle != previous:
            return ERR_INVARIANT
        if order.status != STATUS_NEW and (
            order.status != STATUS_PARTIALLY_FILLED or ex.fill_kind != FILL_PARTIAL
        ):
            return ERR_INVARIANT
        if order.side != own.sign or not order.leaves_qty >= 0.0:
            return ERR_INVARIANT
        if previous != <uint32_t>NIL and (ex.orders[previous].price_tick - order.price_tick) * own.sign < 0:
            return ERR_INVARIANT
        count[_slot(own, order)] += 1
        n[0] += 1
        previous = handle
        handle = order.next_handle
    for i in range(<uint32_t>OWN_FILTER):
        if count[i] != own.count[i]:
            return ERR_INVARIANT
    if own.head != <uint32_t>NIL:
        return OK if own.best_tick == ex.orders[own.head].price_tick else ERR_INVARIANT
    return OK if own.best_tick == (INT64_MIN if own.sign > 0 else INT64_MAX) else ERR_INVARIANT


cdef int resting_check(const Exchange* ex) noexcept nogil:
    """ERR_INVARIANT unless lists, counts, bests, map and slab agree."""
    cdef uint32_t n = 0
    cdef uint32_t handle = ex.free
    if _check_side(ex, &ex.own[0], &n) != OK or _check_side(ex, &ex.own[1], &n) != OK or n != ex.n_orders:
        return ERR_INVARIANT
    if idmap_check(&ex.ids) != OK:
        return ERR_INVARIANT
    while handle != <uint32_t>NIL and n <= ex.capacity:
        n += 1
        handle = ex.orders[handle].next_handle
    if n != ex.fresh or ex.fresh > ex.capacity or ex.ids.used != ex.n_orders:
        return ERR_INVARIANT
    return OK
