"""The desk's order table, outbox and requests: submit, modify, cancel, close, and the venue's reports.

Costs and capacities are in desk.pxd. The rules for reports are hftbacktest's (`Local::process_recv_order`
and `Order::update`), with three faults put right: partial fills reach the position, a rejected modify
gives the order its old price and quantity back, and a partial fill does not end a request in flight.
"""

from libc.stdint cimport INT64_MAX
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memset

from engine.core.codes cimport (
    ERR_BAD_SIZE,
    ERR_DENIED,
    ERR_EMPTY,
    ERR_INVALID_REQUEST,
    ERR_NO_MEMORY,
    ERR_ORDER_NOT_FOUND,
    ERR_REQUEST_IN_PROCESS,
    ERR_UNKNOWN_INSTRUMENT,
    ERR_UNKNOWN_STRATEGY,
    OK,
)
from engine.core.idmap cimport idmap_free, idmap_init, idmap_insert, idmap_prefetch, idmap_remove
from engine.core.pool cimport pool_alloc, pool_free_all, pool_init, pool_release
from engine.core.types cimport *
from engine.risk.position cimport position_apply
from engine.risk.latch cimport LATCH_CAUSES, latch_cause, latch_reason
from engine.risk.pretrade cimport LIMIT_SELF_TRADE, deny
from engine.strategy.admission cimport (
    admission_count,
    admission_executed,
    admission_quotes,
    admission_rejected,
    admission_sent,
    admit,
    admit_latched,
    market_tick,
    open_lots,
)


# --- life ----------------------------------------------------------------------------------------


cdef int desk_init(
    Desk* desk, uint16_t n_instruments, uint32_t max_orders, uint32_t outbox_size
) noexcept nogil:
    cdef uint32_t closers = <uint32_t>MAX_STRATEGIES * n_instruments
    cdef uint32_t i
    memset(desk, 0, sizeof(Desk))
    if n_instruments == 0 or n_instruments == ANY_INSTRUMENT or max_orders == 0 or outbox_size < 2:
        return ERR_BAD_SIZE
    desk.n_instruments = n_instruments
    desk.max_orders = max_orders
    desk.next_order_id = 1
    desk.next_timer = INT64_MAX
    # One input may cancel every live order, close every position and stop every strategy.
    desk.outbox_soft = outbox_size
    desk.outbox_capacity = outbox_size + 2 * (max_orders + closers) + 4 * MAX_STRATEGIES + 16
    # And trip every breaker of every scope.
    desk.outbox_capacity += LATCH_CAUSES * (SCOPE_STRATEGIES + MAX_STRATEGIES + n_instruments)
    desk.instruments = <Instrument*>calloc(n_instruments, sizeof(Instrument))
    desk.books = <L2Book*>calloc(n_instruments, sizeof(L2Book))
    desk.slots = <StrategySlot*>calloc(MAX_STRATEGIES, sizeof(StrategySlot))
    desk.cells = <Cell*>calloc(closers, sizeof(Cell))
    desk.active = <ActiveCell*>calloc(closers, sizeof(ActiveCell))
    desk.scopes = <Scope*>calloc(<size_t>SCOPE_STRATEGIES + MAX_STRATEGIES + n_instruments, sizeof(Scope))
    # Megabytes that desk_emit writes whole, field by field: clearing them would be most of a short run's start.
    desk.outbox = <Output*>malloc(desk.outbox_capacity * sizeof(Output))
    desk.client_ids = <IdTable*>calloc(MAX_STRATEGIES, sizeof(IdTable))
    desk.denied = <Order*>calloc(DENIED_CAPACITY, sizeof(Order))
    if (
        desk.instruments == NULL or desk.books == NULL or desk.slots == NULL or desk.cells == NULL
        or desk.scopes == NULL or desk.active == NULL or desk.outbox == NULL or desk.client_ids == NULL or desk.denied == NULL
        or pool_init(&desk.orders, max_orders + closers, sizeof(LiveOrder)) != OK
        or idmap_init(&desk.ids, max_orders + closers) != OK
    ):
        return ERR_NO_MEMORY
    for i in range(MAX_STRATEGIES):
        desk.slots[i].timer_due = INT64_MAX
    return OK


cdef void desk_free(Desk* desk) noexcept nogil:
    cdef int i
    if desk.client_ids != NULL:
        for i in range(MAX_STRATEGIES):
            idmap_free(&desk.client_ids[i])
    pool_free_all(&desk.orders)
    idmap_free(&desk.ids)
    free(desk.instruments)
    free(desk.books)
    free(desk.slots)
    free(desk.cells)
    free(desk.scopes)
    free(desk.active)
    free(desk.outbox)
    free(desk.client_ids)
    free(desk.denied)
    memset(desk, 0, sizeof(Desk))


# --- outputs -------------------------------------------------------------------------------------


cdef bint desk_emit(
    Desk* desk, uint8_t kind, uint16_t strategy, const Order* order, uint8_t prev_status, const Fill* fill,
    bint reserved
) noexcept nogil:
    """Puts one output into the outbox; false, and counted, where its kind of output has no room."""
    cdef Output* out
    if desk.n_outputs >= (desk.outbox_capacity if reserved else desk.outbox_soft):
        desk.dropped += 1
        return False
    out = &desk.outbox[desk.n_outputs]
    desk.n_outputs += 1
    out.kind = kind
    out.prev_status = prev_status
    out.strategy = strategy
    out._pad = 0
    out.ts = desk.now
    out.step = desk.step
    if order != NULL:
        out.order = order[0]
        # Links mean nothing outside, and would make equal runs differ.
        out.order.next_handle = 0
        out.order.prev_handle = 0
    else:
        memset(&out.order, 0, sizeof(Order))
    if fill != NULL:
        out.fill = fill[0]
    else:
        memset(&out.fill, 0, sizeof(Fill))
    return True


cdef void _emit_request(Desk* desk, const Order* order, uint8_t prev_status) noexcept nogil:
    desk.requests += 1
    if desk.counting:
        admission_sent(desk, order)
    desk_emit(desk, OUTPUT_REQUEST, order.strategy, order, prev_status, NULL, True)
    desk_emit(desk, OUTPUT_ORDER, order.strategy, order, prev_status, NULL, True)


cdef void desk_deny(Desk* desk, Order* order, uint8_t prev_status, uint8_t reason) noexcept nogil:
    cdef Denial why
    why.scope = 0
    deny(&why, reason, 0.0, 0.0)
    desk_refuse(desk, order, prev_status, &why)


cdef void desk_refuse(Desk* desk, Order* order, uint8_t prev_status, const Denial* why) noexcept nogil:
    """Says no to a request: DENIED with prev_status NONE never lived, with another the order goes on."""
    order.status = STATUS_DENIED
    order.reason = why.reason
    order.flags = why.scope
    order.queue_ahead = why.limit
    order.queue_traded = why.actual
    desk.denials += 1
    desk_emit(desk, OUTPUT_ORDER, order.strategy, order, prev_status, NULL, False)
    if desk.slots[order.strategy].calls & CALL_ORDER and desk.n_denied < DENIED_CAPACITY:
        desk.denied[desk.n_denied] = order[0]
        desk.n_denied += 1


# --- the order table -----------------------------------------------------------------------------


cdef inline void _count(Desk* desk, const LiveOrder* live, int sign) noexcept nogil:
    cdef const Order* order = &live.order
    cdef Cell* cell = desk_cell(desk, order.strategy, order.instrument)
    if order.side > 0:
        cell.open_buy += sign * open_lots(order)
    else:
        cell.open_sell += sign * open_lots(order)
    if desk.counting:
        admission_count(desk, live, sign)


cdef void _insert(Desk* desk, const Order* order) noexcept nogil:
    """Takes a new order into the table; the caller has made sure of room."""
    cdef uint32_t handle = pool_alloc(&desk.orders)
    cdef LiveOrder* live = desk_live(desk, handle)
    cdef Cell* cell = desk_cell(desk, order.strategy, order.instrument)
    live.order = order[0]
    live.venue_tick = order.price_tick
    live.venue_qty = order.qty
    live.value_tick = market_tick(desk, order) if order.order_type == ORDER_MARKET else 0
    live.order.next_handle = 0
    live.order.prev_handle = cell.tail
    if cell.tail != 0:
        desk_live(desk, cell.tail).order.next_handle = handle
    else:
        cell.head = handle
    cell.tail = handle
    cell.n_orders += 1
    desk_activate(desk, order.strategy, order.instrument)
    _count(desk, live, 1)
    if desk.limits_mask & LIMIT_SELF_TRADE:
        admission_quotes(cell, order)
    idmap_insert(&desk.ids, order.order_id, handle)
    # A pair of later orders finds its places in the cache: a miss here was half of the time to a rare order.
    idmap_prefetch(&desk.ids, desk.next_order_id + 1)
    if order.client_order_id != 0:
        idmap_insert(&desk.client_ids[order.strategy], order.client_order_id, handle)


cdef void _unlink(Desk* desk, Order* order) noexcept nogil:
    cdef Cell* cell = desk_cell(desk, order.strategy, order.instrument)
    if order.prev_handle != 0:
        desk_live(desk, order.prev_handle).order.next_handle = order.next_handle
    else:
        cell.head = order.next_handle
    if order.next_handle != 0:
        desk_live(desk, order.next_handle).order.prev_handle = order.prev_handle
    else:
        cell.tail = order.prev_handle
    order.next_handle = 0
    order.prev_handle = 0
    cell.n_orders -= 1


cdef void desk_retire(Desk* desk, const ReportEffect* effect) noexcept nogil:
    """Forgets an order that has ended, once its callbacks have seen it."""
    if not effect.ended or effect.live == 0:
        return
    idmap_remove(&desk.ids, effect.order.order_id)
    if effect.order.client_order_id != 0:
        idmap_remove(&desk.client_ids[effect.order.strategy], effect.order.client_order_id)
    pool_release(&desk.orders, effect.live)


# --- requests ------------------------------------------------------------------------------------


cdef void _draft(
    Desk* desk, Order* order, uint16_t strategy, uint16_t instrument, int side, int64_t price_tick,
    int64_t qty, int order_type, int time_in_force
) noexcept nogil:
    memset(order, 0, sizeof(Order))
    order.order_id = desk.next_order_id
    desk.next_order_id += 1
    order.strategy = strategy
    order.instrument = instrument
    order.side = <int8_t>side
    order.price_tick = price_tick
    order.qty = qty
    order.leaves_qty = qty
    order.order_type = <uint8_t>order_type
    order.time_in_force = <uint8_t>time_in_force
    order.local_ts = desk.now
    order.req = STATUS_NEW


cdef uint64_t desk_submit(
    Desk* desk, uint16_t strategy, uint16_t instrument, int side, int64_t price_tick, int64_t qty,
    int order_type, int time_in_force, uint64_t client_order_id
) noexcept nogil:
    cdef Order order
    cdef Denial why
    cdef uint8_t reason
    _draft(desk, &order, strategy, instrument, side, price_tick, qty, order_type, time_in_force)
    order.client_order_id = client_order_id
    reason = admit(desk, &order, NULL, qty, &why)
    if desk.n_tripped != 0:
        _after_trips(desk)
    if reason != REASON_NONE:
        desk_refuse(desk, &order, STATUS_NONE, &why)
        return 0
    _insert(desk, &order)
    _emit_request(desk, &order, STATUS_NONE)
    return order.order_id


cdef int desk_close(Desk* desk, uint16_t strategy, uint16_t instrument) noexcept nogil:
    cdef Cell* cell = desk_cell(desk, strategy, instrument)
    cdef const L2Book* book = &desk.books[instrument]
    cdef int side = SIDE_SELL if cell.position.lots > 0 else SIDE_BUY
    cdef int64_t tick = book.best_ask_tick if side > 0 else book.best_bid_tick
    cdef Order order
    if tick == INVALID_MAX_TICK or tick == INVALID_MIN_TICK or cell.position.lots == 0:
        return ERR_EMPTY
    _draft(
        desk, &order, strategy, instrument, side, tick, -side * cell.position.lots, ORDER_MARKET, TIF_IOC
    )
    cell.close_tries -= 1
    _insert(desk, &order)
    _emit_request(desk, &order, STATUS_NONE)
    return OK


cdef int desk_modify(
    Desk* desk, uint16_t strategy, uint64_t order_id, int64_t price_tick, int64_t qty
) noexcept nogil:
    cdef LiveOrder* live = desk_order(desk, strategy, order_id)
    cdef Order asked
    cdef uint8_t reason = REASON_NONE
    cdef uint8_t state = desk.slots[strategy].state
    cdef Denial why
    if live == NULL or order_ended(&live.order):
        return ERR_ORDER_NOT_FOUND
    if live.order.req != STATUS_NONE:
        return ERR_REQUEST_IN_PROCESS
    if qty <= 0 or price_tick <= 0 or live.order.order_type == ORDER_MARKET:
        return ERR_INVALID_REQUEST
    asked = live.order
    asked.price_tick = price_tick
    asked.qty = qty
    asked.req = STATUS_REPLACED
    if price_tick == live.order.price_tick and qty <= live.order.leaves_qty and state == STRATEGY_PAUSED:
        # A smaller quantity at the same price only reduces: a paused strategy may still do that.
        why.scope = 0
        if desk.n_latched != 0:
            reason = admit_latched(desk, &asked, True, &why)
        if reason == REASON_NONE and desk.trading_state == TRADING_HALTED:
            reason = deny(&why, REASON_TRADING_HALTED, 0.0, 0.0)
        elif reason == REASON_NONE and desk.n_outputs + 2 > desk.outbox_soft:
            reason = deny(&why, REASON_BUSY, <double>desk.outbox_soft, <double>desk.n_outputs)
    else:
        reason = admit(desk, &asked, live, open_lots(&asked) - live.order.leaves_qty, &why)
    if desk.n_tripped != 0:
        # The breaker has had this order cancelled as well.
        _after_trips(desk)
        reason = admit_latched(desk, &asked, False, &why)
    if reason != REASON_NONE:
        desk_refuse(desk, &asked, live.order.status, &why)
        return ERR_DENIED
    _count(desk, live, -1)
    live.venue_tick = live.order.price_tick
    live.venue_qty = live.order.qty
    asked.local_ts = desk.now
    live.order = asked
    _count(desk, live, 1)
    if desk.limits_mask & LIMIT_SELF_TRADE:
        admission_quotes(desk_cell(desk, strategy, asked.instrument), &asked)
    _emit_request(desk, &live.order, live.order.status)
    return OK


cdef void _send_cancel(Desk* desk, LiveOrder* live) noexcept nogil:
    live.order.req = STATUS_CANCELED
    live.order.local_ts = desk.now
    _emit_request(desk, &live.order, live.order.status)


cdef int desk_cancel(Desk* desk, uint16_t strategy, uint64_t order_id, uint8_t reason) noexcept nogil:
    cdef LiveOrder* live = desk_order(desk, strategy, order_id)
    if live == NULL or order_ended(&live.order):
        return ERR_ORDER_NOT_FOUND
    if live.order.req != STATUS_NONE:
        return ERR_REQUEST_IN_PROCESS
    live.cancel_reason = reason
    _send_cancel(desk, live)
    return OK


cdef void desk_want_cancel(Desk* desk, LiveOrder* live, uint8_t reason) noexcept nogil:
    live.cancel_reason = reason
    live.cancel_tries = CANCEL_TRIES
    if live.order.req == STATUS_NONE:
        live.cancel_tries -= 1
        _send_cancel(desk, live)


cdef uint32_t desk_cancel_all(Desk* desk, uint16_t strategy, uint16_t instrument, uint8_t reason) noexcept nogil:
    cdef uint16_t first = 0 if strategy == ANY_STRATEGY else strategy
    cdef uint16_t end = desk.n_strategies if strategy == ANY_STRATEGY else strategy + 1
    cdef uint16_t s, i
    cdef uint32_t handle, found = 0
    for s in range(first, end):
        for i in range(desk.n_instruments):
            if instrument != ANY_INSTRUMENT and instrument != i:
                continue
            handle = desk_cell(desk, s, i).head
            while handle != 0:
                desk_want_cancel(desk, desk_live(desk, handle), reason)
                handle = desk_live(desk, handle).order.next_handle
                found += 1
    return found


cdef void _after_trips(Desk* desk) noexcept nogil:
    """Cancels the orders of scopes that a breaker has just latched, and tells of it."""
    cdef uint32_t n
    cdef size_t scope
    cdef uint16_t strategy, instrument
    cdef uint8_t reason
    for n in range(desk.n_tripped):
        scope = desk.tripped[n]
        strategy = ANY_STRATEGY
        instrument = ANY_INSTRUMENT
        if scope >= SCOPE_STRATEGIES + MAX_STRATEGIES:
            instrument = <uint16_t>(scope - SCOPE_STRATEGIES - MAX_STRATEGIES)
        elif scope >= SCOPE_STRATEGIES:
            strategy = <uint16_t>(scope - SCOPE_STRATEGIES)
        reason = latch_reason(latch_cause(&desk.scopes[scope].latch))
        desk_emit(desk, OUTPUT_STRATEGY, strategy, NULL, 0, NULL, True)
        desk_cancel_all(desk, strategy, instrument, reason)
    desk.n_tripped = 0


# --- timers --------------------------------------------------------------------------------------


cdef void desk_set_timer(Desk* desk, uint16_t strategy, int64_t interval, int64_t first) noexcept nogil:
    """Arms a strategy's only timer at `first` and every `interval` after it; no interval disarms it."""
    desk.slots[strategy].timer_due = first if interval > 0 else INT64_MAX
    desk.slots[strategy].timer_interval = interval if interval > 0 else 0
    desk_find_next_timer(desk)


cdef void desk_find_next_timer(Desk* desk) noexcept nogil:
    cdef uint16_t i
    cdef int64_t earliest = INT64_MAX
    for i in range(desk.n_strategies):
        if desk.slots[i].timer_due < earliest:
            earliest = desk.slots[i].timer_due
    desk.next_timer = earliest


# --- reports -------------------------------------------------------------------------------------


cdef inline bint _executes(const Order* report) noexcept nogil:
    return (
        report.req != STATUS_REJECTED and report.exec_qty > 0
        and (report.status == STATUS_FILLED or report.status == STATUS_PARTIALLY_FILLED)
    )


cdef void _execute(Desk* desk, const Order* report, ReportEffect* effect) noexcept nogil:
    """Books an execution and describes it as a fill; `effect.order` is the order after it."""
    cdef const Order* order = &effect.order
    cdef const Instrument* inst = &desk.instruments[order.instrument]
    cdef Fill* fill = &effect.fill
    position_apply(
        &desk_cell(desk, order.strategy, order.instrument).position, inst, order.side,
        report.exec_price_tick, report.exec_qty, report.fee,
    )
    desk_activate(desk, order.strategy, order.instrument)
    if desk.counting:
        admission_executed(desk, order, report.exec_qty)
    memset(fill, 0, sizeof(Fill))
    fill.exch_ts = report.exch_ts
    fill.local_ts = desk.now
    fill.order_id = order.order_id
    fill.client_order_id = order.client_order_id
    fill.price_tick = report.exec_price_tick
    fill.qty = report.exec_qty
    fill.px = to_px(report.exec_price_tick, inst.tick_size)
    fill.fee = report.fee
    fill.mid_price = book_mid(&desk.books[order.instrument])
    fill.instrument = order.instrument
    fill.strategy = order.strategy
    fill.side = order.side
    fill.is_maker = report.is_maker
    fill.reason = report.reason
    desk.fills += 1
    effect.executed = True


cdef void _reject(LiveOrder* live) noexcept nogil:
    """The venue refused the request in flight: a new order ends, any other stays as it was."""
    cdef Order* order = &live.order
    if order.req == STATUS_NEW:
        order.status = STATUS_REJECTED
    elif order.req == STATUS_REPLACED:
        order.price_tick = live.venue_tick
        order.qty = live.venue_qty
    order.req = STATUS_NONE


cdef void _update(LiveOrder* live, const Order* report) noexcept nogil:
    """hftbacktest's Order::update; a partial fill leaves a request that it does not answer in flight."""
    cdef Order* order = &live.order
    cdef bint unasked = (
        report.status == STATUS_PARTIALLY_FILLED
        and order.req != STATUS_NONE
        and report.local_ts != order.local_ts
    )
    live.venue_tick = report.price_tick
    live.venue_qty = report.qty
    if not unasked:
        order.req = report.req
    if order.req != STATUS_REPLACED:
        order.price_tick = report.price_tick
        order.qty = report.qty
    order.leaves_qty = report.leaves_qty
    order.status = report.status
    order.exec_qty = report.exec_qty
    order.exec_price_tick = report.exec_price_tick
    order.fee = report.fee
    order.is_maker = report.is_maker
    order.queue_ahead = report.queue_ahead
    order.queue_traded = report.queue_traded
    order.time_in_force = report.time_in_force
    order.order_type = report.order_type


cdef void _follow_up(Desk* desk, ReportEffect* effect) noexcept nogil:
    """Sends the cancel that waited for this answer, or the next order of a position to be closed."""
    cdef LiveOrder* live = desk_live(desk, effect.live)
    cdef Cell* cell = desk_cell(desk, effect.order.strategy, effect.order.instrument)
    if not effect.ended:
        if live.cancel_tries > 0 and live.order.req == STATUS_NONE:
            live.cancel_tries -= 1
            _send_cancel(desk, live)
    elif cell.close_tries > 0 and cell.n_orders == 0:
        if cell.position.lots == 0 or desk.trading_state != TRADING_HALTED:
            cell.close_tries = 0
        else:
            desk_close(desk, effect.order.strategy, effect.order.instrument)


cdef int _stray(Desk* desk, const Order* report, ReportEffect* effect) noexcept nogil:
    """A report on an order that the table does not hold: money moves all the same, as in hftbacktest."""
    if report.req == STATUS_REJECTED:
        # Our request met the order's end on its way: there is nothing left that could be refused.
        return OK
    if not _executes(report):
        return ERR_ORDER_NOT_FOUND
    effect.order = report[0]
    effect.changed = True
    effect.ended = True
    _execute(desk, report, effect)
    desk_emit(desk, OUTPUT_ORDER, report.strategy, report, STATUS_NONE, NULL, True)
    desk_emit(desk, OUTPUT_FILL, report.strategy, report, STATUS_NONE, &effect.fill, True)
    if desk.n_tripped != 0:
        _after_trips(desk)
    return OK


cdef int desk_report(Desk* desk, const Order* report, ReportEffect* effect) noexcept nogil:
    cdef LiveOrder* live
    memset(effect, 0, sizeof(ReportEffect))
    if report.instrument >= desk.n_instruments:
        return ERR_UNKNOWN_INSTRUMENT
    if report.strategy >= desk.n_strategies:
        return ERR_UNKNOWN_STRATEGY
    # Money at such a price would be nonsense, infinite for an inverse asset.
    if _executes(report) and report.exec_price_tick <= 0:
        return ERR_INVALID_REQUEST
    live = desk_order(desk, report.strategy, report.order_id)
    if live == NULL:
        return _stray(desk, report, effect)
    if report.req == STATUS_REJECTED and report.local_ts != live.order.local_ts:
        return OK
    effect.live = idmap_find(&desk.ids, report.order_id)
    effect.prev_status = live.order.status
    effect.changed = True
    _count(desk, live, -1)
    if report.req == STATUS_REJECTED:
        if desk.counting and live.order.req != STATUS_CANCELED:
            admission_rejected(desk, &live.order)
        _reject(live)
    else:
        _update(live, report)
    if report.exch_ts > 0:
        live.order.exch_ts = report.exch_ts
    live.order.reason = report.reason
    if live.order.status == STATUS_CANCELED and live.cancel_reason != REASON_NONE:
        live.order.reason = live.cancel_reason
    if _executes(report):
        live.order.cum_exec_qty += report.exec_qty
        effect.order = live.order
        _execute(desk, report, effect)
    effect.ended = order_ended(&live.order)
    if effect.ended:
        live.order.req = STATUS_NONE
        _unlink(desk, &live.order)
    else:
        _count(desk, live, 1)
        if desk.limits_mask & LIMIT_SELF_TRADE:
            admission_quotes(desk_cell(desk, live.order.strategy, live.order.instrument), &live.order)
    effect.order = live.order
    desk_emit(desk, OUTPUT_ORDER, report.strategy, &live.order, effect.prev_status, NULL, True)
    if effect.executed:
        desk_emit(desk, OUTPUT_FILL, report.strategy, &live.order, effect.prev_status, &effect.fill, True)
    if desk.n_tripped != 0:
        _after_trips(desk)
    _follow_up(desk, effect)
    return OK
