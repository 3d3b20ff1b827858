"""The calls of a strategy, checked; see the header of calls.pxd."""

from cpython.exc cimport PyErr_CheckSignals
from libc.math cimport NAN, fabs
from libc.stdint cimport INT64_MAX, int64_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset

from engine.backtest.hbt.clock cimport (
    CLOCK_PAUSED,
    ELAPSE_END,
    ELAPSE_OK,
    clock_advance,
    clock_find_answer,
    clock_next_feed,
    clock_start,
)
from engine.backtest.hbt.market cimport (
    MAX_WALKS,
    Market,
    OrderWalk,
    market_cancel,
    market_modify,
    market_submit,
    market_view,
)
from engine.backtest.hbt.table cimport NO_ORDER, table_at, table_clear_inactive, table_find
from engine.backtest.order cimport SimOrder
from engine.book.l2 cimport L2_TICK_LIMIT, l2_ask_qty, l2_bid_qty, l2_count, l2_levels
from engine.book.queues cimport l3_own_ahead
from engine.core.codes cimport (
    ERR_MODEL,
    ERR_NO_MEMORY,
    ERR_ORDER_ID_EXIST,
    ERR_ORDER_NOT_FOUND,
    ERR_REQUEST_IN_PROCESS,
    OK,
)
from engine.core.idmap cimport idmap_find
from engine.core.ticks cimport to_px, to_tick
from engine.core.types cimport (
    EV_BUY,
    EV_EXCH,
    EV_LOCAL,
    EV_SELL,
    EVENT_DEPTH_SNAPSHOT,
    ORDER_LIMIT,
    ORDER_MARKET,
    SIDE_BUY,
    SIDE_SELL,
    TIF_GTC,
    TIF_IOC,
    Event,
)

from engine.core.errors import InvalidOrder, RingbookError, raise_for_code


# --- guards --------------------------------------------------------------------------------------------

cdef int _not_closed(const Session* session) except -1 nogil:
    if session.closed:
        with gil:
            raise RingbookError("this backtest has been closed")
    return 0


cdef int _open(const Session* session) except -1 nogil:
    """What has failed can still be looked at, but time does not go on."""
    _not_closed(session)
    if session.clock.code != OK:
        with gil:
            _raise_failure(session)
    return 0


cdef _raise_failure(const Session* session):
    """Raises what stopped the clock."""
    if session.clock.code == ERR_MODEL:
        (<object>session.owner).check_models()
    (<object>session.owner).check_data()
    raise_for_code(session.clock.code, f"asset {session.clock.failed}")


cdef int _asset(const Session* session, int64_t asset) except -1 nogil:
    _open(session)
    return _in_range(session, asset)


cdef int _in_range(const Session* session, int64_t asset) except -1 nogil:
    if not 0 <= asset < session.clock.n_markets:
        with gil:
            raise IndexError(f"asset number {asset}: this backtest has {session.clock.n_markets} (from 0)")
    return 0


cdef int _begun(const Session* session) except -1 nogil:
    if not session.clock.started:
        with gil:
            raise InvalidOrder("an order before the first event has no time: elapse first")
    return 0


cdef int64_t _until(const Session* session, int64_t duration) except? -1 nogil:
    """The time ``duration`` from now."""
    if duration < 0:
        with gil:
            raise ValueError(f"a duration of {duration} ns: time does not go back")
    return INT64_MAX if duration > INT64_MAX - session.clock.now else session.clock.now + duration


cdef int64_t _tick(const Market* market, double px, bint any_price) except? -1 nogil:
    cdef double ticks = px / market.book.tick_size
    if not fabs(ticks) < L2_TICK_LIMIT:
        if any_price:
            return 0
        with gil:
            raise InvalidOrder(f"a price of {px} is not within 2**62 ticks of {market.book.tick_size}")
    return to_tick(px, market.book.tick_size)


cdef int _qty(const Market* market, double qty) except -1 nogil:
    if not 0.0 < qty <= market.book.max_qty:
        with gil:
            raise InvalidOrder(
                f"a quantity of {qty} is not above 0 and at most 2**63 lots of {market.book.lot_size}"
            )
    return 0


# --- time ----------------------------------------------------------------------------------------------

cdef int64_t call_now(const Session* session) noexcept nogil:
    """hftbacktest's time before the first event is the end of time."""
    return session.clock.now if session.clock.started else INT64_MAX


cdef int _settle(const Session* session, int result) except -1 nogil:
    """The clock's result; a pause is used to look for an interrupt, which is raised, as is what failed."""
    if result == CLOCK_PAUSED or result < 0:
        with gil:
            if result < 0:
                _raise_failure(session)
            PyErr_CheckSignals()
    return result


cdef int64_t _advance(Session* session, int64_t until) except -1 nogil:
    cdef int result = CLOCK_PAUSED
    while result == CLOCK_PAUSED:
        result = _settle(session, clock_advance(&session.clock, until))
    return result


cdef int64_t _wait(Session* session, int64_t asset, uint64_t order_id, int64_t until) except -1 nogil:
    cdef int64_t at
    cdef int result = CLOCK_PAUSED
    while result == CLOCK_PAUSED:
        result = _settle(session, clock_find_answer(&session.clock, asset, order_id, until, &at))
    return _advance(session, at)


cdef int64_t call_elapse(Session* session, int64_t duration) except -1 nogil:
    cdef int64_t until
    _open(session)
    if not session.clock.started and not clock_start(&session.clock):
        return ELAPSE_END
    until = _until(session, duration)
    return _advance(session, until)


cdef int64_t call_goto_end(Session* session) except -1 nogil:
    _open(session)
    if not session.clock.started and not clock_start(&session.clock):
        return ELAPSE_END
    return _advance(session, INT64_MAX)


cdef int64_t call_wait_order_response(
    Session* session, int64_t asset, uint64_t order_id, int64_t timeout
) except -1 nogil:
    cdef int64_t until
    _asset(session, asset)
    if not session.clock.started:
        return ELAPSE_END
    until = _until(session, timeout)
    return _wait(session, asset, order_id, until)


cdef int64_t call_wait_next_feed(Session* session, bint answers, int64_t timeout) except -1 nogil:
    cdef int64_t until
    cdef int result = CLOCK_PAUSED
    _open(session)
    if not session.clock.started and not clock_start(&session.clock):
        return ELAPSE_END
    until = _until(session, timeout)
    while result == CLOCK_PAUSED:
        result = _settle(session, clock_next_feed(&session.clock, answers, until))
    return result


# --- orders --------------------------------------------------------------------------------------------

cdef int64_t _sent(Session* session, int64_t asset, uint64_t order_id, int code, bint wait) except -1 nogil:
    """The result of a request; hftbacktest's codes are results, anything else is raised."""
    if code == OK:
        return _wait(session, asset, order_id, INT64_MAX) if wait else ELAPSE_OK
    if code == ERR_ORDER_ID_EXIST or code == ERR_REQUEST_IN_PROCESS or code == ERR_ORDER_NOT_FOUND:
        return code
    if code == ERR_MODEL:
        # The venue stands still from here on, and so does the clock.
        session.clock.code = code
        session.clock.failed = <int>asset
    with gil:
        if code == ERR_MODEL:
            _raise_failure(session)
        raise_for_code(code, f"asset {asset}, order {order_id}")


cdef int64_t call_submit(
    Session* session, int64_t asset, uint64_t order_id, int64_t side, double px, double qty,
    int64_t time_in_force, int64_t order_type, bint wait
) except -1 nogil:
    cdef SimOrder order
    cdef Market* market
    _asset(session, asset)
    _begun(session)
    market = &session.clock.markets[asset]
    if side != SIDE_BUY and side != SIDE_SELL:
        with gil:
            raise InvalidOrder(f"side {side}: neither BUY (1) nor SELL (-1)")
    if not TIF_GTC <= time_in_force <= TIF_IOC:
        with gil:
            raise InvalidOrder(f"time in force {time_in_force}: none of GTC (0), GTX (1), FOK (2), IOC (3)")
    if order_type != ORDER_LIMIT and order_type != ORDER_MARKET:
        with gil:
            raise InvalidOrder(f"order type {order_type}: neither LIMIT (0) nor MARKET (1)")
    _qty(market, qty)
    memset(&order, 0, sizeof(SimOrder))
    order.price_tick = _tick(market, px, order_type == ORDER_MARKET)
    order.order_id = order_id
    order.qty = order.leaves_qty = qty
    order.tick_size = market.book.tick_size
    order.side = side
    order.time_in_force = time_in_force
    order.order_type = order_type
    return _sent(session, asset, order_id, market_submit(market, &order, session.clock.now), wait)


cdef int64_t call_cancel(Session* session, int64_t asset, uint64_t order_id, bint wait) except -1 nogil:
    _asset(session, asset)
    _begun(session)
    return _sent(
        session, asset, order_id,
        market_cancel(&session.clock.markets[asset], order_id, session.clock.now), wait,
    )


cdef int64_t call_modify(
    Session* session, int64_t asset, uint64_t order_id, double px, double qty, bint wait
) except -1 nogil:
    cdef Market* market
    cdef int64_t tick
    _asset(session, asset)
    _begun(session)
    market = &session.clock.markets[asset]
    _qty(market, qty)
    tick = _tick(market, px, False)
    return _sent(
        session, asset, order_id, market_modify(market, order_id, tick, qty, session.clock.now), wait
    )


cdef int64_t call_clear_inactive_orders(Session* session, int64_t asset) except -1 nogil:
    cdef int i
    if asset == ALL_MARKETS:
        _open(session)
        for i in range(session.clock.n_markets):
            table_clear_inactive(&session.clock.markets[i].orders)
        return 0
    _asset(session, asset)
    table_clear_inactive(&session.clock.markets[asset].orders)
    return 0


cdef int64_t call_clear_last_trades(Session* session, int64_t asset) except -1 nogil:
    cdef int i
    if asset == ALL_MARKETS:
        _open(session)
        for i in range(session.clock.n_markets):
            session.clock.markets[i].trades.n = 0
        return 0
    _asset(session, asset)
    session.clock.markets[asset].trades.n = 0
    return 0


cdef int64_t call_market(Session* session, int64_t asset) except -1 nogil:
    _not_closed(session)
    _in_range(session, asset)
    return <int64_t>&session.clock.markets[asset]


cdef int64_t call_close(Session* session) except -1 nogil:
    _not_closed(session)
    session.closed = True
    with gil:
        (<object>session.owner).release()
    return 0


# --- reading a market ----------------------------------------------------------------------------------

cdef double market_bid_qty(const Market* market, int64_t tick) noexcept nogil:
    return l2_bid_qty(&market.book, tick)


cdef double market_ask_qty(const Market* market, int64_t tick) noexcept nogil:
    return l2_ask_qty(&market.book, tick)


cdef int64_t market_ladder(Market* market, int64_t side) except -1 nogil:
    cdef int code = market_view(market)
    if code != OK:
        with gil:
            raise_for_code(code, "the range of interest")
    return <int64_t>market.view.qty[1 if side == SIDE_SELL else 0]


cdef void _levels(const Market* market, int side, uint32_t n, int64_t* ticks, double* qtys, Event* out) noexcept nogil:
    cdef uint32_t i
    n = l2_levels(&market.book, side, n, ticks, qtys)
    for i in range(n):
        memset(&out[i], 0, sizeof(Event))
        out[i].ev = EV_EXCH | EV_LOCAL | EVENT_DEPTH_SNAPSHOT | (EV_BUY if side == SIDE_BUY else EV_SELL)
        out[i].px = to_px(ticks[i], market.book.tick_size)
        out[i].qty = qtys[i]


cdef int64_t market_snapshot(const Market* market, int64_t* n) except -1 nogil:
    cdef uint32_t bids = l2_count(&market.book, SIDE_BUY)
    cdef uint32_t asks = l2_count(&market.book, SIDE_SELL)
    cdef uint32_t most = max(bids, asks)
    # One block: the events, and behind them room for the levels of a side.
    cdef size_t size = (bids + asks) * sizeof(Event) + most * (sizeof(int64_t) + sizeof(double)) + 1
    cdef Event* events = <Event*>malloc(size)
    cdef int64_t* ticks
    if events == NULL:
        with gil:
            raise_for_code(ERR_NO_MEMORY, "a snapshot")
    ticks = <int64_t*>&events[bids + asks]
    _levels(market, SIDE_BUY, bids, ticks, <double*>&ticks[most], events)
    _levels(market, SIDE_SELL, asks, ticks, <double*>&ticks[most], &events[bids])
    n[0] = bids + asks
    return <int64_t>events


cdef int64_t market_snapshot_free(Event* events) noexcept nogil:
    free(events)
    return 0


cdef const SimOrder* market_order(const Market* market, uint64_t order_id) noexcept nogil:
    """The order of an id, or NULL."""
    return <const SimOrder*>table_find(&market.orders, order_id)


cdef inline const SimOrder* _resting(const Market* market, uint64_t order_id) noexcept nogil:
    """The order of an id as it rests at the venue, or NULL."""
    cdef uint32_t found = idmap_find(&market.venue.ids, order_id)
    return &market.venue.orders[found - 1] if found else NULL


cdef double market_queue_ahead(const Market* market, uint64_t order_id) noexcept nogil:
    cdef const SimOrder* order = _resting(market, order_id)
    if order == NULL:
        return NAN
    if market.venue.by_order:
        return l3_own_ahead(&market.venue.queues, order.place)
    # Estimates go below nothing until a trade fills the order.
    return 0.0 if order.queue_ahead < 0.0 else order.queue_ahead


cdef double market_queue_total(const Market* market, uint64_t order_id) noexcept nogil:
    cdef const SimOrder* order = _resting(market, order_id)
    if order == NULL:
        return NAN
    if order.side == SIDE_BUY:
        return l2_bid_qty(&market.venue.book, order.price_tick)
    return l2_ask_qty(&market.venue.book, order.price_tick)


cdef int64_t walk_start(Market* market) noexcept nogil:
    """Begins before the first order."""
    cdef int64_t number = market.n_walks
    cdef OrderWalk* walk = &market.walks[number % MAX_WALKS]
    market.n_walks += 1
    walk.number = number
    walk.current = NULL
    walk.next = market.orders.first
    walk.removals = market.orders.removals
    return number


cdef OrderWalk* _walk(Market* market, int64_t number) except NULL nogil:
    cdef OrderWalk* walk = &market.walks[<uint64_t>number % MAX_WALKS]
    if walk.number != number or walk.removals != market.orders.removals:
        with gil:
            if walk.number != number:
                raise RingbookError(f"more than {MAX_WALKS} walks through orders at once")
            raise RingbookError("orders were cleared while they were being walked through")
    return walk


cdef int64_t walk_next(Market* market, int64_t number) except -1 nogil:
    cdef OrderWalk* walk = _walk(market, number)
    if walk.next == <uint32_t>NO_ORDER:
        walk.current = NULL
        return 0
    walk.current = &table_at(&market.orders, walk.next).order
    walk.next = walk.current.next_handle
    return <int64_t>walk.current


cdef int64_t walk_current(Market* market, int64_t number) except -1 nogil:
    cdef OrderWalk* walk = _walk(market, number)
    if walk.current == NULL:
        with gil:
            raise RingbookError("has_next() has not found an order")
    return <int64_t>walk.current
