"""New orders, cancels and modifies as they arrive at a venue, in hftbacktest's rules."""

from libc.math cimport round as c_round
from libc.stdint cimport int64_t, uint8_t, uint32_t

from engine.backtest.exchange cimport FILL_PARTIAL, Exchange
from engine.backtest.exchange_l3 cimport orders_change, orders_join, orders_leave
from engine.backtest.liquidity cimport liquidity_best, liquidity_take
from engine.backtest.order cimport SimOrder
from engine.backtest.queue cimport queue_new
from engine.backtest.resting cimport execute, own_insert, own_remove, respond
from engine.book.l2 cimport l2_ask_qty, l2_bid_qty
from engine.book.ladder cimport Ladder, ladder_any_below, ladder_get
from engine.core.codes cimport ERR_FULL, ERR_INVALID_REQUEST, OK
from engine.core.idmap cimport idmap_find
from engine.core.ticks cimport INVALID_MAX_TICK, INVALID_MIN_TICK
from engine.core.types cimport (
    ORDER_MARKET,
    REASON_BUSY,
    REASON_CANCEL_REQUESTED,
    REASON_NO_MARKET,
    REASON_NONE,
    REASON_ORDER_NOT_FOUND,
    REASON_POST_ONLY_CROSSED,
    REASON_TAKER,
    REASON_UNFILLED_IOC_FOK,
    SIDE_BUY,
    STATUS_CANCELED,
    STATUS_EXPIRED,
    STATUS_FILLED,
    STATUS_NEW,
    STATUS_NONE,
    STATUS_REJECTED,
    STATUS_REPLACED,
    TIF_FOK,
    TIF_GTC,
    TIF_GTX,
    TIF_IOC,
)


cdef inline void _end(SimOrder* order, int status, int reason) noexcept nogil:
    order.status = status
    order.reason = reason


# --- walking the levels --------------------------------------------------------------------------
# The opposite side's ladder has its best as its greatest key; asks are kept under ~tick.

cdef bint _enough(const Ladder* ladder, int64_t last, double qty, double lot_size) noexcept nogil:
    """Whether the levels from the best down to the key ``last`` hold a quantity."""
    cdef int64_t key = ladder.best
    cdef double sum = 0.0
    cdef double wanted = c_round(qty / lot_size)
    while key >= last and key != INVALID_MIN_TICK:
        sum += ladder_get(ladder, key)
        if c_round(sum / lot_size) >= wanted:
            return True
        key = ladder_any_below(ladder, key)
    return False


cdef int _walk(Exchange* ex, SimOrder* order, int64_t now, int64_t last) noexcept nogil:
    """Executes against the levels from the best down to the key ``last`` until filled.

    Each execution but one that fills the order is answered by itself.
    """
    cdef bint buy = order.side == SIDE_BUY
    cdef const Ladder* ladder = &ex.book.ladders[1 if buy else 0]
    cdef int64_t mirror = -<int64_t>buy
    cdef int64_t key = ladder.best
    cdef double level
    cdef int code
    while key >= last and key != INVALID_MIN_TICK:
        level = ladder_get(ladder, key)
        if level > 0.0:
            execute(ex, order, now, False, key ^ mirror, min(level, order.leaves_qty), REASON_TAKER)
            if order.status == STATUS_FILLED:
                return OK
            code = OK if ex.faithful else respond(ex, order)
            if code != OK:
                return code
        key = ladder_any_below(ladder, key)
    return OK


cdef int _take_partial(Exchange* ex, SimOrder* order, int64_t now) noexcept nogil:
    """A crossing order or market order of ``partial_fill_exchange``."""
    cdef bint buy = order.side == SIDE_BUY
    cdef const Ladder* ladder = &ex.book.ladders[1 if buy else 0]
    cdef int64_t limit = ~order.price_tick if buy else order.price_tick
    cdef int code
    if order.order_type == ORDER_MARKET:
        limit = ladder.best - MARKET_REACH
    elif order.time_in_force == TIF_FOK and not _enough(
        ladder, limit, order.qty, ex.instrument.lot_size
    ):
        _end(order, STATUS_EXPIRED, REASON_UNFILLED_IOC_FOK)
        return OK
    elif order.time_in_force == TIF_GTC and (buy or not ex.faithful):
        # What is left fills at the limit whatever the level holds, so that level is not walked.
        limit += 1
    code = _walk(ex, order, now, limit)
    if code != OK or order.status == STATUS_FILLED:
        return code
    if order.order_type != ORDER_MARKET and order.time_in_force == TIF_GTC:
        # It cannot rest in the opposite side of a book that does not know of it.
        execute(ex, order, now, False, order.price_tick, order.leaves_qty, REASON_TAKER)
    else:
        _end(order, STATUS_EXPIRED, REASON_UNFILLED_IOC_FOK)
    return OK


# --- requests ------------------------------------------------------------------------------------

cdef int _rest(Exchange* ex, SimOrder* order) noexcept nogil:
    cdef int code
    order.status = STATUS_NEW
    if order.side == SIDE_BUY:
        queue_new(&ex.queue, order, l2_bid_qty(&ex.book, order.price_tick))
    else:
        queue_new(&ex.queue, order, l2_ask_qty(&ex.book, order.price_tick))
    code = own_insert(ex, order)
    if code == ERR_FULL:
        _end(order, STATUS_EXPIRED, REASON_BUSY)
        return OK
    if code == OK and ex.by_order:
        code = orders_join(ex, order.order_id)
    return code


cdef void _leave(Exchange* ex, uint32_t handle) noexcept nogil:
    if ex.by_order:
        orders_leave(ex, handle)
    own_remove(ex, handle)


cdef inline int64_t _opposite(const Exchange* ex, bint buy) noexcept nogil:
    """The best tick that a buyer, or a seller, can take."""
    if ex.consumes:
        return liquidity_best(ex, buy) ^ -<int64_t>buy
    return ex.book.best_ask_tick if buy else ex.book.best_bid_tick


cdef int _accept(Exchange* ex, SimOrder* order, int64_t now) noexcept nogil:
    """Takes a new order in: fills it, rests it, or ends it."""
    cdef bint buy = order.side == SIDE_BUY
    cdef int64_t opposite = _opposite(ex, buy)
    cdef bint market = opposite != (INVALID_MAX_TICK if buy else INVALID_MIN_TICK)
    cdef bint crosses = market and (order.price_tick >= opposite if buy else order.price_tick <= opposite)
    order.exch_ts = now
    order.reason = REASON_NONE
    order.is_maker = 0
    if order.order_type == ORDER_MARKET and not market:
        _end(order, STATUS_EXPIRED, REASON_NO_MARKET)
    elif order.order_type == ORDER_MARKET or (crosses and order.time_in_force != TIF_GTX):
        if ex.fill_kind == FILL_PARTIAL:
            return liquidity_take(ex, order, now) if ex.consumes else _take_partial(ex, order, now)
        execute(ex, order, now, False, opposite, order.leaves_qty, REASON_TAKER)
    elif crosses:
        _end(order, STATUS_EXPIRED, REASON_POST_ONLY_CROSSED)
    elif order.time_in_force == TIF_FOK or order.time_in_force == TIF_IOC:
        _end(order, STATUS_EXPIRED, REASON_UNFILLED_IOC_FOK)
    elif order.time_in_force == TIF_GTC or order.time_in_force == TIF_GTX:
        return _rest(ex, order)
    else:
        return ERR_INVALID_REQUEST
    return OK


cdef int _cancel(Exchange* ex, SimOrder* request, uint32_t handle, int64_t now) noexcept nogil:
    cdef uint8_t reason = request.reason if request.reason != REASON_NONE else REASON_CANCEL_REQUESTED
    cdef int64_t sent = request.local_ts
    request[0] = ex.orders[handle]
    _leave(ex, handle)
    request.exch_ts = now
    # hftbacktest answers with the time at which the order itself was sent.
    if not ex.faithful:
        request.local_ts = sent
    _end(request, STATUS_CANCELED, reason)
    return OK


cdef int _modify(Exchange* ex, SimOrder* request, uint32_t handle, int64_t now) noexcept nogil:
    """A new price or more quantity loses the place in the queue; less quantity keeps it."""
    cdef SimOrder* resting = &ex.orders[handle]
    cdef SimOrder changed = resting[0]
    cdef double sent_leaves = request.leaves_qty
    changed.local_ts = request.local_ts
    changed.qty = request.qty
    changed.leaves_qty = request.qty
    if request.price_tick != resting.price_tick or request.qty > resting.leaves_qty:
        changed.price_tick = request.price_tick
        if not (ex.faithful and ex.by_order):
            if ex.faithful:
                # hftbacktest goes on with what was open before.
                changed.leaves_qty = sent_leaves
            _leave(ex, handle)
            request[0] = changed
            return _accept(ex, request, now)
        # Market by order, hftbacktest lets it rest whatever it crosses.
    changed.exch_ts = now
    changed.reason = REASON_NONE
    changed.status = STATUS_NEW
    request[0] = changed
    if ex.faithful:
        # hftbacktest's order goes on with the time at which it was first sent.
        changed.local_ts = resting.local_ts
    if ex.by_order:
        return orders_change(ex, handle, &changed)
    resting[0] = changed
    return OK


cdef int arrive(Exchange* ex, SimOrder* order, int64_t now) noexcept nogil:
    cdef uint8_t kind = order.req
    cdef uint32_t handle
    order.req = STATUS_NONE
    if kind == STATUS_NEW:
        order.leaves_qty = order.qty
        return _accept(ex, order, now)
    if kind != STATUS_CANCELED and kind != STATUS_REPLACED:
        return ERR_INVALID_REQUEST
    handle = idmap_find(&ex.ids, order.order_id)
    if handle == 0:
        # It filled or ended while the request was on its way.
        order.req = STATUS_REJECTED
        order.exch_ts = now
        order.reason = REASON_ORDER_NOT_FOUND
        return OK
    if kind == STATUS_CANCELED:
        return _cancel(ex, order, handle - 1, now)
    return _modify(ex, order, handle - 1, now)
