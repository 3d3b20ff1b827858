"""The venue in time: rows, requests and answers in order; exchange.pxd says how it is built."""

from libc.stdint cimport INT64_MAX, INT64_MIN, int64_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset

from engine.backtest.arrival cimport arrive
from engine.backtest.assets cimport instrument_from_config
from engine.backtest.bus cimport bus_free, bus_image, bus_init, bus_pop, bus_push
from engine.backtest.custom cimport model_code
from engine.backtest.exchange_l3 cimport orders_check, orders_row, orders_run
from engine.backtest.fees cimport fees_from_config
from engine.backtest.latency cimport latency_constant, latency_entry, latency_image
from engine.backtest.liquidity cimport (
    liquidity_check,
    liquidity_event,
    liquidity_free,
    liquidity_init,
    liquidity_run,
)
from engine.backtest.order cimport SimOrder, order_from_kernel
from engine.backtest.queue cimport QUEUE_L3_FIFO, queue_from_config
from engine.backtest.resting cimport NIL, best_moved, level_changed, respond, resting_check, traded
from engine.backtest.tape cimport (
    TAPE_AHEAD,
    TAPE_ASK,
    TAPE_KEEP,
    TAPE_OTHER,
    TAPE_SHIFT,
    TAPE_TRADE,
    TAPE_UNSEEN,
    VENUE,
    Fetch,
    TapeRow,
    cursor_event,
    cursor_move,
    tape_event,
    tape_fetch,
)
from engine.book.l2 cimport L2Change, _l2_fetch, _l2_put, l2_apply, l2_fetch, l2_free, l2_image, l2_init
from engine.book.l3 cimport l3_free
from engine.book.ladder cimport ladder_image, ladder_rare
from engine.book.queues cimport l3_own_init
from engine.core.codes cimport ERR_NO_IMAGE, ERR_NO_MEMORY, OK
from engine.core.idmap cimport idmap_free, idmap_image, idmap_init
from engine.core.image cimport Image, image_count, image_fault, image_match, image_move, image_same
from engine.core.ticks cimport to_tick
from engine.core.types cimport (
    EV_BUY,
    EV_KIND_MASK,
    EV_SELL,
    EVENT_DEPTH,
    EVENT_DEPTH_CLEAR,
    EVENT_DEPTH_SNAPSHOT,
    EVENT_TRADE,
    REASON_BUSY,
    STATUS_REJECTED,
    Event,
    Order,
)
from engine.strategy.desk cimport MAX_STRATEGIES

cdef dict _FILL_KINDS = {"no_partial_fill_exchange": FILL_WHOLE, "partial_fill_exchange": FILL_PARTIAL}


cdef ExchangeModels models_from_config(object asset):
    """The built-in models of an ``AssetConfig``, but without latency: what that follows has to be kept by somebody.

    So do models that are not built in, which are seated on top of these (models/seat.pxd).
    """
    cdef ExchangeModels models
    models.instrument = instrument_from_config(asset)
    models.queue = queue_from_config(asset)
    models.fees = fees_from_config(asset)
    models.latency = latency_constant(0, 0, 0, 0)
    models.model_fault = NULL
    models.fill_kind = _FILL_KINDS[asset.exchange]
    models.faithful = False
    models.grows = False
    models.consumes = asset.liquidity_consumption
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
    ex.entry = models.latency
    ex.response = models.latency
    ex.model_fault = models.model_fault
    ex.fill_kind = models.fill_kind
    ex.faithful = models.faithful
    ex.grows = models.grows
    ex.own[0].sign, ex.own[0].best_tick, ex.own[0].head = 1, INT64_MIN, NIL
    ex.own[1].sign, ex.own[1].best_tick, ex.own[1].head = -1, INT64_MAX, NIL
    ex.capacity = max_orders
    # Neither cleared nor linked: a slot's memory is first touched when an order needs it.
    ex.orders = <SimOrder*>malloc(max_orders * sizeof(SimOrder))
    if ex.orders == NULL:
        return ERR_NO_MEMORY
    ex.free = NIL
    # An order has at most one request on its way, and an answer to it and a fill on their way back.
    if bus_init(&ex.requests, 2 * max_orders, ex.grows) != OK:
        return ERR_NO_MEMORY
    if bus_init(&ex.responses, 4 * max_orders, ex.grows) != OK:
        return ERR_NO_MEMORY
    ex.by_order = models.queue.kind == QUEUE_L3_FIFO
    code = idmap_init(&ex.ids, max_orders)
    if code == OK:
        code = l2_init(&ex.book, models.instrument.tick_size, models.instrument.lot_size, book_window(ex.by_order))
    if code == OK and ex.by_order:
        code = l3_own_init(&ex.queues, &ex.book)
    if code == OK and models.consumes:
        code = liquidity_init(ex)
    return code


cdef void exchange_free(Exchange* ex) noexcept nogil:
    free(ex.orders)
    ex.orders = NULL
    bus_free(&ex.requests)
    bus_free(&ex.responses)
    idmap_free(&ex.ids)
    liquidity_free(ex)
    l3_free(&ex.queues)
    l2_free(&ex.book)


# --- rows ------------------------------------------------------------------------------------------

cdef int _concerned(
    Exchange* ex, int ask, int64_t key, int64_t prev_best, double prev_qty, double new_qty, int64_t now
) noexcept nogil:
    """What a depth row that changed an own level, or from ``prev_best`` (a key) the best, does to own orders."""
    cdef int64_t mirror = -<int64_t>ask
    cdef int64_t best = ex.book.ladders[ask].best
    cdef int code
    if ex.own[ask].count[own_slot(key)]:
        code = level_changed(ex, &ex.own[ask], key ^ mirror, prev_qty, new_qty)
        if code != OK:
            return code
    # Opposite own orders are reached from above by keys: theirs are the mirrored ones.
    if best > prev_best and best >= ex.own[1 - ask].best_tick ^ mirror:
        return best_moved(ex, &ex.own[1 - ask], best ^ mirror, prev_best ^ mirror, now)
    return OK


cdef inline int _on_level(Exchange* ex, int ask, int64_t key, double qty, bint keep, int64_t now) noexcept nogil:
    """A depth row: one branch tells the many that are nothing to own orders."""
    cdef int64_t prev_best = ex.book.ladders[ask].best
    cdef double prev_qty
    cdef int code = _l2_put(&ex.book, ask, key, qty, keep, &prev_qty)
    if ladder_rare((code != OK) | (ex.own[ask].count[own_slot(key)] != 0)):
        if code > OK:
            return code
        return _concerned(ex, ask, key, prev_best, prev_qty, qty, now)
    return OK


cdef inline int _on_trade(Exchange* ex, bint sold, int64_t tick, double qty, int64_t now) noexcept nogil:
    if sold:
        if ex.own[0].best_tick >= tick:
            return traded(ex, &ex.own[0], tick, ex.book.best_ask_tick, qty, now)
    elif ex.own[1].best_tick <= tick:
        return traded(ex, &ex.own[1], tick, ex.book.best_bid_tick, qty, now)
    return OK


cdef int exchange_event(Exchange* ex, const Event* event) noexcept nogil:
    """Shows a venue that is not by order one market event, as somebody has it who has no tape."""
    cdef uint64_t kind = event.ev & EV_KIND_MASK
    cdef int ask = (event.ev & EV_BUY) == 0
    cdef int64_t mirror
    cdef L2Change change
    cdef int code
    if ex.consumes:
        return liquidity_event(ex, event)
    if kind == EVENT_DEPTH or kind == EVENT_DEPTH_SNAPSHOT:
        mirror = -<int64_t>ask
        code = l2_apply(&ex.book, event, &change)
        if code == OK and event.ev & (EV_BUY | EV_SELL):
            return _concerned(
                ex, ask, change.price_tick ^ mirror, change.prev_best_tick ^ mirror, change.prev_qty, event.qty,
                event.exch_ts,
            )
        return code
    if kind == EVENT_TRADE and event.ev & (EV_BUY | EV_SELL):
        return _on_trade(ex, ask, to_tick(event.px, ex.instrument.tick_size), event.qty, event.exch_ts)
    if kind == EVENT_DEPTH_CLEAR:
        return l2_apply(&ex.book, event, &change)
    return OK


cdef int exchange_row(Exchange* ex) noexcept nogil:
    """Shows the venue its next row."""
    cdef const Event* event
    cdef int code
    if ex.by_order:
        return orders_row(ex)
    event = cursor_event(ex.rows)
    code = exchange_event(ex, event)
    if code != OK:
        ex.fault = event
        return code
    cursor_move(ex.rows, ex.rows.row + 1)
    return OK


cdef inline int _packed(Exchange* ex, const TapeRow* row) noexcept nogil:
    cdef int ask = row.code & TAPE_ASK
    if not row.code & (TAPE_TRADE | TAPE_OTHER | TAPE_UNSEEN << VENUE):
        return _on_level(ex, ask, row.code >> TAPE_SHIFT, row.qty, (row.code & TAPE_KEEP) != 0, row.ts[VENUE])
    if row.code & TAPE_UNSEEN << VENUE:
        return OK
    if row.code & TAPE_TRADE:
        return _on_trade(ex, ask, (row.code >> TAPE_SHIFT) ^ -<int64_t>ask, row.qty, row.ts[VENUE])
    return exchange_event(ex, tape_event(ex.rows.block, row))


cdef int exchange_packed(Exchange* ex, const TapeRow* row) noexcept nogil:
    return _packed(ex, row)


cdef int _run_rows(Exchange* ex, int64_t limit, bint stop) noexcept nogil:
    """Shows the venue all rows strictly before ``limit``; if ``stop``, up to one that makes it answer."""
    cdef const TapeRow* row
    cdef Fetch fetch
    cdef uint64_t answers = ex.responses.pushed
    cdef int code
    if ex.by_order:
        return orders_run(ex, limit, stop)
    if ex.consumes:
        return liquidity_run(ex, limit, stop)
    while ex.rows.ts < limit:
        row = ex.rows.row
        # What is needed next comes from memory while this block is worked through.
        fetch = tape_fetch(ex.rows, row)
        # The mark behind a block's last row is later than any limit.
        while row.ts[VENUE] < limit:
            l2_fetch(fetch.place)
            fetch.place += fetch.step
            _l2_fetch(&ex.book, row[TAPE_AHEAD].code & TAPE_ASK, row[TAPE_AHEAD].code >> TAPE_SHIFT)
            code = _packed(ex, row)
            if ladder_rare(code != OK):
                return code
            row += 1
            if stop and ex.responses.pushed != answers:
                # Nothing is before that.
                limit = INT64_MIN
        cursor_move(ex.rows, row)
    return OK


cdef int exchange_rows(Exchange* ex, int64_t limit) noexcept nogil:
    return _run_rows(ex, limit, False)


# --- requests --------------------------------------------------------------------------------------

cdef int exchange_requests(Exchange* ex, int64_t now) noexcept nogil:
    """Carries out all requests that arrive at ``now`` and sends the answers on their way."""
    cdef SimOrder order
    cdef int code
    while ex.requests.next_ts == now:
        bus_pop(&ex.requests, &order)
        code = arrive(ex, &order, now)
        if code != OK:
            return code
        code = respond(ex, &order)
        if code != OK:
            return code
    return OK


cdef int exchange_send(Exchange* ex, const SimOrder* request, int64_t now) noexcept nogil:
    """Sends a request on its way to the venue, or back at once when the latency model refuses it."""
    cdef SimOrder refused
    cdef int64_t entry = latency_entry(&ex.entry, now, request)
    cdef int code = model_code(ex.model_fault)
    if code != OK:
        return code
    if entry >= 0:
        return bus_push(&ex.requests, request, now + entry)
    refused = request[0]
    refused.req = STATUS_REJECTED
    refused.reason = REASON_BUSY
    return bus_push(&ex.responses, &refused, now - entry)


cdef int exchange_take(Exchange* ex, const Order* request, int64_t now) noexcept nogil:
    """Sends a request of the kernel on its way."""
    cdef SimOrder order
    order_from_kernel(request, &ex.instrument, &order)
    return exchange_send(ex, &order, now)


# --- running ---------------------------------------------------------------------------------------

cdef int exchange_run(Exchange* ex, int64_t bound) noexcept nogil:
    """Lets the venue work through everything strictly before ``bound``, or before its earliest answer.

    At one instant rows come before requests. Stops where an answer reaches us, because what we do then
    may reach the venue from that moment on.
    """
    cdef int64_t limit
    cdef uint64_t answers
    cdef int code
    while True:
        if ex.responses.next_ts < bound:
            bound = ex.responses.next_ts
        limit = bound
        if ex.requests.next_ts < bound:
            limit = ex.requests.next_ts + 1
        answers = ex.responses.pushed
        code = _run_rows(ex, limit, True)
        if code != OK:
            return code
        if ex.responses.pushed != answers:
            continue
        if ex.requests.next_ts >= bound:
            return OK
        code = exchange_requests(ex, ex.requests.next_ts)
        if code != OK:
            return code


cdef int venues_run(Exchange* first, size_t stride, int n, int64_t* bound, int* failed) noexcept nogil:
    cdef Exchange* venue
    cdef int64_t ts, earliest, limit
    cdef int i, leader, second, code
    while True:
        leader, second = -1, -1
        earliest = limit = bound[0]
        for i in range(n):
            venue = <Exchange*>(<char*>first + i * stride)
            bound[0] = min(bound[0], venue.responses.next_ts)
            if exchange_silent(venue):
                continue
            ts = exchange_next_ts(venue)
            if ts < earliest:
                second, limit = leader, earliest
                leader, earliest = i, ts
            elif ts < limit:
                second, limit = i, ts
        if leader < 0 or earliest >= bound[0]:
            return OK
        # At one instant assets come in order, so one before the second may run through that instant.
        if second > leader and limit < bound[0]:
            limit += 1
        code = exchange_run(<Exchange*>(<char*>first + leader * stride), min(bound[0], limit))
        if code != OK:
            failed[0] = leader
            return code


cdef int exchange_work(Exchange* ex, int64_t bound) noexcept nogil:
    """Lets the venue work through everything strictly before ``bound``, whatever it answers.

    For a strategy that polls: until it looks, nothing it does can reach the venue.
    """
    cdef int code
    while ex.requests.next_ts < bound:
        code = _run_rows(ex, ex.requests.next_ts + 1, False)
        if code == OK:
            code = exchange_requests(ex, ex.requests.next_ts)
        if code != OK:
            return code
    return _run_rows(ex, bound, False)


cdef int exchange_check(const Exchange* ex) noexcept nogil:
    """ERR_INVARIANT unless lists, counts, bests, map, slab and queues agree."""
    cdef int code = resting_check(ex)
    if code == OK and ex.by_order:
        code = orders_check(ex)
    if code == OK and ex.consumes:
        code = liquidity_check(ex)
    return code


cdef void exchange_image(Exchange* ex, Image* image) noexcept nogil:
    cdef int side
    if ex.by_order or ex.model_fault != NULL:
        image_fault(image, ERR_NO_IMAGE)
    image_same(image, &ex.instrument.tick_size, sizeof(double))
    image_same(image, &ex.instrument.lot_size, sizeof(double))
    image_same(image, &ex.instrument.contract_size, sizeof(double))
    image_match(image, ex.instrument.asset_kind)
    image_match(image, ex.queue.kind)
    image_match(image, ex.fees.kind)
    image_match(image, ex.fill_kind)
    image_match(image, ex.consumes)
    image_match(image, ex.capacity)
    latency_image(&ex.entry, image)
    latency_image(&ex.response, image)
    image_move(image, &ex.free, sizeof(uint32_t))
    ex.fresh = <uint32_t>image_count(image, ex.fresh, ex.capacity)
    image_move(image, ex.orders, ex.fresh * sizeof(SimOrder))
    image_move(image, &ex.n_orders, sizeof(uint32_t))
    idmap_image(&ex.ids, image)
    for side in range(2):
        image_match(image, ex.own[side].sign)
        image_move(image, &ex.own[side], sizeof(ex.own[side]))
    bus_image(&ex.requests, image)
    bus_image(&ex.responses, image)
    l2_image(&ex.book, image)
    for side in range(2):
        if ex.consumes:
            ladder_image(&ex.taken[side], image)
    if image.loading and image.code == OK:
        image_fault(image, exchange_check(ex))
