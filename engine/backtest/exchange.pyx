"""Own orders against a replayed market; see the header of exchange.pxd."""

from libc.stdint cimport INT64_MAX, INT64_MIN, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset

from engine.backtest.assets cimport instrument_from_config
from engine.backtest.bus cimport OrderBus, bus_free, bus_init, bus_pop, bus_push
from engine.backtest.fees cimport fee_amount, fees_from_config
from engine.backtest.latency cimport latency_entry, latency_from_config, latency_response
from engine.backtest.queue cimport queue_depth, queue_filled, queue_from_config, queue_new, queue_trade
from engine.backtest.rows cimport Rows, rows_fetch, rows_move
from engine.book.ladder cimport ladder_rare
from engine.book.l2 cimport L2Change, l2_apply, l2_ask_qty, l2_bid_qty, l2_free, l2_init
from engine.core.codes cimport ERR_FULL, ERR_INVALID_REQUEST, ERR_INVARIANT, ERR_NO_MEMORY, OK
from engine.core.idmap cimport idmap_check, idmap_find, idmap_free, idmap_init, idmap_insert, idmap_remove
from engine.core.ticks cimport INVALID_MAX_TICK, INVALID_MIN_TICK, to_px, to_qty, to_tick
from engine.core.types cimport (
    EV_BUY,
    EV_EXCH,
    EV_KIND_MASK,
    EV_SELL,
    EVENT_DEPTH,
    EVENT_DEPTH_CLEAR,
    EVENT_DEPTH_SNAPSHOT,
    EVENT_TRADE,
    ORDER_MARKET,
    REASON_BEST_CROSSED,
    REASON_BUSY,
    REASON_CANCEL_REQUESTED,
    REASON_NO_MARKET,
    REASON_NONE,
    REASON_ORDER_NOT_FOUND,
    REASON_POST_ONLY_CROSSED,
    REASON_QUEUE_FRONT,
    REASON_TAKER,
    REASON_TRADE_THROUGH,
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
    Event,
    Order,
    instrument_amount,
)
from engine.strategy.desk cimport MAX_STRATEGIES

cdef uint32_t NIL = 0xFFFFFFFF


cdef ExchangeModels models_from_config(object asset):
    """The models of an ``AssetConfig``."""
    cdef ExchangeModels models
    models.instrument = instrument_from_config(asset)
    models.queue = queue_from_config(asset)
    models.fees = fees_from_config(asset)
    models.latency = latency_from_config(asset)
    return models


cdef int exchange_init(Exchange* ex, const ExchangeModels* models, uint32_t max_orders) noexcept nogil:
    """Makes an empty venue with room for the orders of a kernel of ``max_orders``; ``ex`` is overwritten."""
    cdef int code
    memset(ex, 0, sizeof(Exchange))
    # The kernel has room for one closing order a strategy beyond its limit.
    max_orders += MAX_STRATEGIES
    ex.instrument = models.instrument
    ex.queue = models.queue
    ex.fees = models.fees
    ex.latency = models.latency
    ex.rows.ts = INT64_MAX
    ex.own[0].sign, ex.own[0].best_tick, ex.own[0].head = 1, INT64_MIN, NIL
    ex.own[1].sign, ex.own[1].best_tick, ex.own[1].head = -1, INT64_MAX, NIL
    ex.capacity = max_orders
    # Neither cleared nor linked: a slot's memory is first touched when an order needs it.
    ex.orders = <Order*>malloc(max_orders * sizeof(Order))
    if ex.orders == NULL:
        return ERR_NO_MEMORY
    ex.free = NIL
    # An order has at most one request on its way, and an answer to it and a fill on their way back.
    if bus_init(&ex.requests, 2 * max_orders) != OK or bus_init(&ex.responses, 4 * max_orders) != OK:
        return ERR_NO_MEMORY
    code = idmap_init(&ex.ids, max_orders)
    if code != OK:
        return code
    return l2_init(&ex.book, models.instrument.tick_size, models.instrument.lot_size, 0)


cdef void exchange_free(Exchange* ex) noexcept nogil:
    free(ex.orders)
    ex.orders = NULL
    bus_free(&ex.requests)
    bus_free(&ex.responses)
    idmap_free(&ex.ids)
    l2_free(&ex.book)


# --- own orders ----------------------------------------------------------------------------------

cdef inline OwnSide* _own(Exchange* ex, int side) noexcept nogil:
    return &ex.own[0] if side == SIDE_BUY else &ex.own[1]


cdef inline void _own_best(Exchange* ex, OwnSide* own) noexcept nogil:
    if own.head != NIL:
        own.best_tick = ex.orders[own.head].price_tick
    else:
        own.best_tick = INT64_MIN if own.sign > 0 else INT64_MAX


cdef int _own_insert(Exchange* ex, const Order* order) noexcept nogil:
    """Rests a copy of an order behind those of its price. ERR_FULL, ERR_ORDER_ID_EXIST."""
    cdef OwnSide* own = _own(ex, order.side)
    cdef uint32_t handle = ex.free if ex.free != NIL else ex.fresh
    cdef uint32_t after = NIL
    cdef uint32_t before = own.head
    cdef Order* slot
    cdef int code
    if handle == ex.capacity:
        return ERR_FULL
    # The map's 0 means absent, so it holds handles one up.
    code = idmap_insert(&ex.ids, order.order_id, handle + 1)
    if code != OK:
        return code
    while before != NIL and (ex.orders[before].price_tick - order.price_tick) * own.sign >= 0:
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
    if after == NIL:
        own.head = handle
    else:
        ex.orders[after].next_handle = handle
    if before != NIL:
        ex.orders[before].prev_handle = handle
    own.count[<uint64_t>order.price_tick & (OWN_FILTER - 1)] += 1
    ex.n_orders += 1
    _own_best(ex, own)
    return OK


cdef void _own_remove(Exchange* ex, uint32_t handle) noexcept nogil:
    cdef Order* slot = &ex.orders[handle]
    cdef OwnSide* own = _own(ex, slot.side)
    if slot.prev_handle == NIL:
        own.head = slot.next_handle
    else:
        ex.orders[slot.prev_handle].next_handle = slot.next_handle
    if slot.next_handle != NIL:
        ex.orders[slot.next_handle].prev_handle = slot.prev_handle
    own.count[<uint64_t>slot.price_tick & (OWN_FILTER - 1)] -= 1
    ex.n_orders -= 1
    idmap_remove(&ex.ids, slot.order_id)
    slot.next_handle = ex.free
    ex.free = handle
    _own_best(ex, own)


# --- answers -------------------------------------------------------------------------------------

cdef inline int _respond(Exchange* ex, const Order* order) noexcept nogil:
    return bus_push(&ex.responses, order, order.exch_ts + latency_response(&ex.latency, order.exch_ts, order))


cdef void _fill(Exchange* ex, Order* order, int64_t now, bint is_maker, int64_t tick, int reason) noexcept nogil:
    """Executes an order whole at ``tick``."""
    cdef double px = to_px(tick, ex.instrument.tick_size)
    cdef double qty = to_qty(order.leaves_qty, ex.instrument.lot_size)
    order.exec_price_tick = tick
    order.exec_qty = order.leaves_qty
    order.cum_exec_qty += order.leaves_qty
    order.leaves_qty = 0
    order.is_maker = is_maker
    order.reason = reason
    order.status = STATUS_FILLED
    order.exch_ts = now
    order.fee = fee_amount(&ex.fees, is_maker, order.side, qty, instrument_amount(&ex.instrument, px, qty))


cdef int _fill_resting(Exchange* ex, uint32_t handle, int64_t now, int reason) noexcept nogil:
    cdef Order* order = &ex.orders[handle]
    cdef int code
    _fill(ex, order, now, True, order.price_tick, reason)
    code = _respond(ex, order)
    _own_remove(ex, handle)
    return code


# --- what the market does to own orders ----------------------------------------------------------

cdef void _level_changed(Exchange* ex, OwnSide* own, int64_t tick, double prev_qty, double new_qty) noexcept nogil:
    """Moves own orders at ``tick`` in their queue."""
    cdef uint32_t handle = own.head
    cdef int64_t away
    while handle != NIL:
        away = (ex.orders[handle].price_tick - tick) * own.sign
        if away < 0:
            return
        if away == 0:
            queue_depth(&ex.queue, &ex.orders[handle], prev_qty, new_qty)
        handle = ex.orders[handle].next_handle


cdef inline bint _reached(const Exchange* ex, const OwnSide* own, int64_t tick, int64_t from_tick) noexcept nogil:
    """Whether hftbacktest looks at own orders on the market's side of ``from_tick`` as well.

    There are none, unless a one-sided clear has uncovered levels that lay behind the best: then it looks
    at them only where that is cheaper than going through the ticks between ``from_tick`` and ``tick``.
    """
    cdef bint none = from_tick == (INVALID_MAX_TICK if own.sign > 0 else INVALID_MIN_TICK)
    return none or <int64_t>ex.n_orders < (from_tick - tick) * own.sign


cdef int _best_moved(Exchange* ex, OwnSide* own, int64_t tick, int64_t prev_tick, int64_t now) noexcept nogil:
    """Fills own orders that the opposite best, coming from ``prev_tick``, has reached or passed."""
    cdef uint32_t handle = own.head
    cdef uint32_t following
    cdef bint all = _reached(ex, own, tick, prev_tick)
    cdef int code
    while handle != NIL and (ex.orders[handle].price_tick - tick) * own.sign >= 0:
        following = ex.orders[handle].next_handle
        if all or (ex.orders[handle].price_tick - prev_tick) * own.sign < 0:
            code = _fill_resting(ex, handle, now, REASON_BEST_CROSSED)
            if code != OK:
                return code
        handle = following
    return OK


cdef int _traded(Exchange* ex, OwnSide* own, int64_t tick, int64_t best_tick, const Event* event) noexcept nogil:
    """Fills own orders that a trade at ``tick`` against their side reaches; ``best_tick`` is opposite."""
    cdef uint32_t handle = own.head
    cdef uint32_t following
    cdef bint all = _reached(ex, own, tick, best_tick)
    cdef int64_t away
    cdef int code
    while handle != NIL:
        following = ex.orders[handle].next_handle
        away = (ex.orders[handle].price_tick - tick) * own.sign
        if away < 0:
            return OK
        code = OK
        if all or (ex.orders[handle].price_tick - best_tick) * own.sign < 0:
            if away > 0:
                code = _fill_resting(ex, handle, event.exch_ts, REASON_TRADE_THROUGH)
            else:
                queue_trade(&ex.queue, &ex.orders[handle], event.qty)
                if queue_filled(&ex.queue, &ex.orders[handle]):
                    code = _fill_resting(ex, handle, event.exch_ts, REASON_QUEUE_FRONT)
        if code != OK:
            return code
        handle = following
    return OK


cdef int _concerned(Exchange* ex, const Event* event, L2Change change) noexcept nogil:
    """What a depth row that changed an own level or a best does to own orders."""
    if event.ev & EV_BUY:
        if ex.own[0].count[<uint64_t>change.price_tick & (OWN_FILTER - 1)]:
            _level_changed(ex, &ex.own[0], change.price_tick, change.prev_qty, change.new_qty)
        if change.best_tick >= ex.own[1].best_tick and change.best_tick > change.prev_best_tick:
            return _best_moved(ex, &ex.own[1], change.best_tick, change.prev_best_tick, event.exch_ts)
    elif event.ev & EV_SELL:
        if ex.own[1].count[<uint64_t>change.price_tick & (OWN_FILTER - 1)]:
            _level_changed(ex, &ex.own[1], change.price_tick, change.prev_qty, change.new_qty)
        if change.best_tick <= ex.own[0].best_tick and change.best_tick < change.prev_best_tick:
            return _best_moved(ex, &ex.own[0], change.best_tick, change.prev_best_tick, event.exch_ts)
    return OK


cdef inline int _on_depth(Exchange* ex, const Event* event) noexcept nogil:
    cdef L2Change change
    cdef const OwnSide* own = &ex.own[(event.ev & EV_BUY) == 0]
    cdef int code = l2_apply(&ex.book, event, &change)
    if ladder_rare(code != OK):
        return code
    if ladder_rare(
        own.count[<uint64_t>change.price_tick & (OWN_FILTER - 1)] != 0
        or change.best_tick != change.prev_best_tick
    ):
        return _concerned(ex, event, change)
    return OK


cdef int _on_trade(Exchange* ex, const Event* event) noexcept nogil:
    cdef int64_t tick = to_tick(event.px, ex.instrument.tick_size)
    if event.ev & EV_BUY:
        if ex.own[1].best_tick <= tick:
            return _traded(ex, &ex.own[1], tick, ex.book.best_bid_tick, event)
    elif event.ev & EV_SELL:
        if ex.own[0].best_tick >= tick:
            return _traded(ex, &ex.own[0], tick, ex.book.best_ask_tick, event)
    return OK


cdef inline bint _is_depth(const Event* event) noexcept nogil:
    cdef uint64_t kind = event.ev & EV_KIND_MASK
    return kind == EVENT_DEPTH or kind == EVENT_DEPTH_SNAPSHOT


cdef int exchange_event(Exchange* ex, const Event* event) noexcept nogil:
    """Shows the venue one market event."""
    cdef uint64_t kind = event.ev & EV_KIND_MASK
    cdef L2Change change
    if _is_depth(event):
        return _on_depth(ex, event)
    if kind == EVENT_TRADE:
        return _on_trade(ex, event)
    if kind == EVENT_DEPTH_CLEAR:
        return l2_apply(&ex.book, event, &change)
    return OK


# --- requests ------------------------------------------------------------------------------------

cdef inline void _end(Order* order, int status, int reason) noexcept nogil:
    order.status = status
    order.reason = reason


cdef int _accept(Exchange* ex, Order* order, int64_t now) noexcept nogil:
    """Takes a new order in: fills it, rests it, or ends it; ``order`` becomes the answer."""
    cdef bint buy = order.side == SIDE_BUY
    cdef int64_t opposite = ex.book.best_ask_tick if buy else ex.book.best_bid_tick
    cdef bint market = opposite != (INVALID_MAX_TICK if buy else INVALID_MIN_TICK)
    cdef int code
    cdef bint crosses = market and (order.price_tick >= opposite if buy else order.price_tick <= opposite)
    order.exch_ts = now
    order.reason = REASON_NONE
    order.is_maker = 0
    if order.order_type == ORDER_MARKET and not market:
        _end(order, STATUS_EXPIRED, REASON_NO_MARKET)
    elif order.order_type == ORDER_MARKET or (crosses and order.time_in_force != TIF_GTX):
        _fill(ex, order, now, False, opposite, REASON_TAKER)
    elif crosses:
        _end(order, STATUS_EXPIRED, REASON_POST_ONLY_CROSSED)
    elif order.time_in_force == TIF_FOK or order.time_in_force == TIF_IOC:
        _end(order, STATUS_EXPIRED, REASON_UNFILLED_IOC_FOK)
    elif order.time_in_force == TIF_GTC or order.time_in_force == TIF_GTX:
        order.status = STATUS_NEW
        if buy:
            queue_new(&ex.queue, order, l2_bid_qty(&ex.book, order.price_tick))
        else:
            queue_new(&ex.queue, order, l2_ask_qty(&ex.book, order.price_tick))
        code = _own_insert(ex, order)
        if code == ERR_FULL:
            _end(order, STATUS_EXPIRED, REASON_BUSY)
        elif code != OK:
            return code
    else:
        return ERR_INVALID_REQUEST
    return OK


cdef int _cancel(Exchange* ex, Order* request, uint32_t handle, int64_t now) noexcept nogil:
    cdef int reason = request.reason if request.reason != REASON_NONE else REASON_CANCEL_REQUESTED
    cdef int64_t sent = request.local_ts
    request[0] = ex.orders[handle]
    _own_remove(ex, handle)
    request.exch_ts = now
    request.local_ts = sent
    _end(request, STATUS_CANCELED, reason)
    return OK


cdef int _modify(Exchange* ex, Order* request, uint32_t handle, int64_t now) noexcept nogil:
    """A new price or more quantity loses the place in the queue; less quantity keeps it."""
    cdef Order* resting = &ex.orders[handle]
    cdef Order changed = resting[0]
    changed.local_ts = request.local_ts
    changed.qty = request.qty
    changed.leaves_qty = request.qty
    if request.price_tick != resting.price_tick or request.qty > resting.leaves_qty:
        changed.price_tick = request.price_tick
        _own_remove(ex, handle)
        request[0] = changed
        return _accept(ex, request, now)
    changed.exch_ts = now
    changed.reason = REASON_NONE
    resting[0] = changed
    request[0] = changed
    return OK


cdef int _on_request(Exchange* ex, Order* order, int64_t now) noexcept nogil:
    """Carries one request out; ``order`` becomes the answer."""
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


cdef int exchange_requests(Exchange* ex, int64_t now) noexcept nogil:
    """Carries out all requests that arrive at ``now`` and sends the answers on their way."""
    cdef Order order
    cdef int code
    while ex.requests.next_ts == now:
        bus_pop(&ex.requests, &order)
        code = _on_request(ex, &order, now)
        if code != OK:
            return code
        code = _respond(ex, &order)
        if code != OK:
            return code
    return OK


cdef int exchange_send(Exchange* ex, const Order* request, int64_t now) noexcept nogil:
    """Sends a request on its way to the venue, or back at once when the latency model refuses it."""
    cdef Order refused
    cdef int64_t entry = latency_entry(&ex.latency, now, request)
    if entry >= 0:
        return bus_push(&ex.requests, request, now + entry)
    refused = request[0]
    refused.req = STATUS_REJECTED
    refused.reason = REASON_BUSY
    return bus_push(&ex.responses, &refused, now - entry)


cdef int _run_rows(Exchange* ex, int64_t limit) noexcept nogil:
    """Shows the venue all rows strictly before ``limit``, or up to one that makes it answer."""
    cdef const Event* event
    cdef const Event* end
    cdef uint32_t answers = ex.responses.tail
    cdef int code
    while ex.rows.ts < limit:
        event = ex.rows.event
        end = ex.rows.end
        while event < end:
            if event.ev & EV_EXCH:
                if event.exch_ts >= limit:
                    break
                rows_fetch(event)
                code = _on_depth(ex, event) if _is_depth(event) else exchange_event(ex, event)
                if code != OK:
                    return code
                if ex.responses.tail != answers:
                    # Nothing is before that, so the cursor stops at the next row the venue sees.
                    limit = INT64_MIN
            event += 1
        rows_move(&ex.rows, event)
    return OK


cdef int exchange_run(Exchange* ex, int64_t bound) noexcept nogil:
    """Lets the venue work through everything strictly before ``bound``, or before its earliest answer.

    At one instant rows come before requests. Stops where an answer reaches us, because what we do then
    may reach the venue from that moment on.
    """
    cdef int64_t limit
    cdef uint32_t answers
    cdef int code
    while True:
        if ex.responses.next_ts < bound:
            bound = ex.responses.next_ts
        limit = bound
        if ex.requests.next_ts < bound:
            limit = ex.requests.next_ts + 1
        answers = ex.responses.tail
        code = _run_rows(ex, limit)
        if code != OK:
            return code
        if ex.responses.tail != answers:
            continue
        if ex.requests.next_ts >= bound:
            return OK
        code = exchange_requests(ex, ex.requests.next_ts)
        if code != OK:
            return code


# --- checks --------------------------------------------------------------------------------------

cdef int _check_side(const Exchange* ex, const OwnSide* own, uint32_t* n) noexcept nogil:
    cdef uint32_t count[OWN_FILTER]
    cdef uint32_t handle = own.head
    cdef uint32_t previous = NIL
    cdef const Order* order
    cdef uint32_t i
    memset(count, 0, sizeof(count))
    while handle != NIL:
        order = &ex.orders[handle]
        if n[0] >= ex.capacity or order.prev_handle != previous or order.status != STATUS_NEW:
            return ERR_INVARIANT
        if order.side != own.sign or order.leaves_qty <= 0 or order.leaves_qty != order.qty:
            return ERR_INVARIANT
        if previous != NIL and (ex.orders[previous].price_tick - order.price_tick) * own.sign < 0:
            return ERR_INVARIANT
        count[<uint64_t>order.price_tick & (OWN_FILTER - 1)] += 1
        n[0] += 1
        previous = handle
        handle = order.next_handle
    for i in range(<uint32_t>OWN_FILTER):
        if count[i] != own.count[i]:
            return ERR_INVARIANT
    if own.head != NIL:
        return OK if own.best_tick == ex.orders[own.head].price_tick else ERR_INVARIANT
    return OK if own.best_tick == (INT64_MIN if own.sign > 0 else INT64_MAX) else ERR_INVARIANT


cdef int exchange_check(const Exchange* ex) noexcept nogil:
    """ERR_INVARIANT unless lists, counts, bests, map and slab agree."""
    cdef uint32_t n = 0
    cdef uint32_t handle = ex.free
    if _check_side(ex, &ex.own[0], &n) != OK or _check_side(ex, &ex.own[1], &n) != OK or n != ex.n_orders:
        return ERR_INVARIANT
    if idmap_check(&ex.ids) != OK:
        return ERR_INVARIANT
    while handle != NIL and n <= ex.capacity:
        n += 1
        handle = ex.orders[handle].next_handle
    if n != ex.fresh or ex.fresh > ex.capacity or ex.ids.used != ex.n_orders:
        return ERR_INVARIANT
    return OK
