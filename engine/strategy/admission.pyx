"""Admission of orders, and the counters that limits are held against; order and costs are in admission.pxd."""

from libc.math cimport NAN
from libc.stdint cimport INT64_MAX, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memset

from engine.book.l2 cimport L2Book
from engine.book.ladder cimport Ladder, ladder_below_dense
from engine.core.ticks cimport INVALID_MAX_TICK, INVALID_MIN_TICK, to_px, to_qty
from engine.core.types cimport *
from engine.risk.latch cimport (
    LATCH_DAILY_LOSS,
    LATCH_DRAWDOWN,
    LATCH_REJECTS,
    LATCH_REPEATS,
    latch_cause,
    latch_reason,
    latch_set,
)
from engine.risk.position cimport position_equity
from engine.risk.pretrade cimport *
from engine.risk.scope cimport (
    SCOPE_GLOBAL,
    SCOPE_OF_ALL,
    SCOPE_OF_INSTRUMENT,
    SCOPE_OF_ORDER,
    SCOPE_OF_STRATEGY,
    SCOPE_STRATEGIES,
    Scope,
)
from engine.strategy.desk cimport (
    MAX_STRATEGIES,
    book_mid,
    desk_activate,
    desk_cell,
    desk_instrument_scope,
    desk_live,
    desk_strategy_scope,
)


cdef inline Scope* _scope(const Desk* desk, const Order* order, int kind) noexcept nogil:
    """A scope that an order belongs to, by SCOPE_OF_STRATEGY and wider."""
    if kind == SCOPE_OF_STRATEGY:
        return desk_strategy_scope(desk, order.strategy)
    if kind == SCOPE_OF_INSTRUMENT:
        return desk_instrument_scope(desk, order.instrument)
    return &desk.scopes[SCOPE_GLOBAL]


# --- what orders amount to -----------------------------------------------------------------------


cdef int64_t market_tick(const Desk* desk, const Order* order) noexcept nogil:
    cdef const L2Book* book = &desk.books[order.instrument]
    cdef int64_t tick = book.best_ask_tick if order.side > 0 else book.best_bid_tick
    return 0 if tick == INVALID_MAX_TICK or tick == INVALID_MIN_TICK else tick


cdef double _open_value(const Desk* desk, const LiveOrder* live) noexcept nogil:
    """What a live order could still execute, at the dearer of its prices while it is being changed."""
    cdef const Order* order = &live.order
    cdef const Instrument* inst = &desk.instruments[order.instrument]
    cdef int64_t tick = live.value_tick if order.order_type == ORDER_MARKET else order.price_tick
    if order.req == STATUS_REPLACED and (live.venue_tick > tick) == (inst.asset_kind == ASSET_LINEAR):
        tick = live.venue_tick
    if tick <= 0:
        return 0.0
    return instrument_amount(inst, to_px(tick, inst.tick_size), to_qty(open_lots(order), inst.lot_size))


cdef inline uint64_t _content_rest(const Order* order) noexcept nogil:
    return (
        <uint64_t>order.instrument | (<uint64_t><uint8_t>order.side << 16) | (<uint64_t>order.order_type << 24)
        | (<uint64_t>order.time_in_force << 32)
    )


cdef double _mark(const Desk* desk, uint16_t instrument, const Cell* cell, double other) noexcept nogil:
    """The price a cell is valued at: mid, else its last execution, else its first order's, else `other`."""
    cdef double mid = book_mid(&desk.books[instrument])
    if mid == mid:
        return mid
    if cell.position.num_trades > 0:
        return cell.position.last_px
    if cell.head != 0 and desk_live(desk, cell.head).order.price_tick > 0:
        return to_px(desk_live(desk, cell.head).order.price_tick, desk.instruments[instrument].tick_size)
    return other


cdef void _measure(
    const Desk* desk, const Order* order, int64_t added, double px, Exposure* held
) noexcept nogil:
    """Gross value, with the order, and equity of the order's strategy, instrument and of all: held[1..3]."""
    cdef const Cell* own = desk_cell(desk, order.strategy, order.instrument)
    cdef const Cell* cell
    cdef const Instrument* inst
    cdef int64_t buy, sell
    cdef double mark, gross, equity
    cdef uint16_t s, i
    cdef uint32_t n
    for n in range(desk.n_active):
        s, i = desk.active[n].strategy, desk.active[n].instrument
        cell = desk_cell(desk, s, i)
        inst = &desk.instruments[i]
        mark = _mark(desk, i, cell, px)
        buy = cell.position.lots + cell.open_buy
        sell = cell.open_sell - cell.position.lots
        if cell == own and added > 0:
            if order.side > 0:
                buy += added
            else:
                sell += added
        gross = instrument_amount(inst, mark, to_qty(buy if buy > sell else sell, inst.lot_size))
        equity = position_equity(&cell.position, inst, mark)
        if s == order.strategy:
            held[SCOPE_OF_STRATEGY].gross += gross
            held[SCOPE_OF_STRATEGY].equity += equity
        if i == order.instrument:
            held[SCOPE_OF_INSTRUMENT].gross += gross
            held[SCOPE_OF_INSTRUMENT].equity += equity
        held[SCOPE_OF_ALL].gross += gross
        held[SCOPE_OF_ALL].equity += equity


cdef double admission_equity(const Desk* desk, size_t scope) noexcept nogil:
    cdef const Cell* cell
    cdef double equity = 0.0
    cdef uint16_t s, i
    cdef uint32_t n
    for n in range(desk.n_active):
        s, i = desk.active[n].strategy, desk.active[n].instrument
        if scope == SCOPE_GLOBAL or scope == <size_t>SCOPE_STRATEGIES + s or (
            scope == <size_t>SCOPE_STRATEGIES + MAX_STRATEGIES + i
        ):
            cell = desk_cell(desk, s, i)
            equity += position_equity(&cell.position, &desk.instruments[i], _mark(desk, i, cell, 0.0))
    return equity


# --- latches, losses, breakers -------------------------------------------------------------------


cdef uint8_t admit_latched(const Desk* desk, const Order* order, bint reduces, Denial* why) noexcept nogil:
    cdef const Scope* scope
    cdef int kind, cause
    for kind in range(SCOPE_OF_ALL, SCOPE_OF_ORDER, -1):
        scope = _scope(desk, order, kind)
        if scope.latch.state == TRADING_HALTED or (scope.latch.state == TRADING_REDUCING and not reduces):
            cause = latch_cause(&scope.latch)
            why.scope = <uint8_t>kind
            return deny(why, latch_reason(cause), scope.latch.limit[cause], scope.latch.actual[cause])
    return REASON_NONE


cdef void _trip(
    Desk* desk, Scope* scope, int cause, uint8_t state, double limit, double actual
) noexcept nogil:
    """Latches a scope; the desk cancels its orders and tells of it before it goes on."""
    cdef bint first = scope.latch.state == TRADING_ACTIVE
    if not latch_set(&scope.latch, cause, state, desk.now, limit, actual):
        return
    desk.n_latched += first
    if scope == &desk.scopes[SCOPE_GLOBAL] and scope.latch.state > desk.trading_state:
        desk.trading_state = scope.latch.state
    # One call trips at most three causes of three scopes, and the desk empties this after each.
    desk.tripped[desk.n_tripped] = <uint32_t>(scope - desk.scopes)
    desk.n_tripped += 1


cdef void _break(
    Desk* desk, Scope* scope, int cause, int64_t* due, int64_t interval, int64_t burst
) noexcept nogil:
    """Takes a token of a breaker's bucket; one that is missing trips it."""
    if bucket_has(due[0], desk.now, burst):
        bucket_take(due, desk.now, interval)
    else:
        _trip(
            desk, scope, cause, TRADING_HALTED, <double>(burst // interval + 1),
            bucket_missing(due[0], desk.now, interval) + 1,
        )


cdef inline void _roll(ScopeState* state, int64_t now) noexcept nogil:
    """A new UTC day begins with the equity that was last seen."""
    cdef int64_t day = now // NS_PER_DAY
    if day != state.day:
        state.day = day
        state.messages = 0
        state.trades = 0
        state.day_equity = state.last_equity


cdef void _judge(Desk* desk, Scope* scope, double equity) noexcept nogil:
    cdef ScopeState* state = &scope.state
    cdef const LimitSet* limits = &scope.limits
    _roll(state, desk.now)
    state.last_equity = equity
    if equity > state.peak_equity:
        state.peak_equity = equity
    if limits.mask & LIMIT_DAILY_LOSS and state.day_equity - equity > limits.max_daily_loss:
        _trip(
            desk, scope, LATCH_DAILY_LOSS, <uint8_t>limits.loss_state, limits.max_daily_loss,
            state.day_equity - equity,
        )
    if limits.mask & LIMIT_DRAWDOWN and state.peak_equity - equity > limits.max_drawdown:
        _trip(
            desk, scope, LATCH_DRAWDOWN, <uint8_t>limits.loss_state, limits.max_drawdown,
            state.peak_equity - equity,
        )


cdef void _judge_all(Desk* desk, const Order* order, const Exposure* held) noexcept nogil:
    cdef Scope* scope
    cdef int kind
    for kind in range(SCOPE_OF_STRATEGY, SCOPE_OF_ALL + 1):
        scope = _scope(desk, order, kind)
        if scope.limits.mask & LIMITS_LOSS:
            _judge(desk, scope, held[kind].equity)


# --- self-trades ---------------------------------------------------------------------------------


cdef void admission_quotes(Cell* cell, const Order* order) noexcept nogil:
    if order.order_type == ORDER_MARKET:
        return
    if order.side > 0:
        if order.price_tick > cell.own_bid:
            cell.own_bid = order.price_tick
    elif cell.own_ask == 0 or order.price_tick < cell.own_ask:
        cell.own_ask = order.price_tick


cdef void _find_quotes(const Desk* desk, Cell* cell) noexcept nogil:
    """The best own prices of a cell exactly, both prices of an order that is being changed included."""
    cdef const LiveOrder* live
    cdef Order at_venue
    cdef uint32_t handle = cell.head
    cell.own_bid = 0
    cell.own_ask = 0
    while handle != 0:
        live = desk_live(desk, handle)
        admission_quotes(cell, &live.order)
        if live.venue_tick != live.order.price_tick and live.venue_tick > 0:
            at_venue = live.order
            at_venue.price_tick = live.venue_tick
            admission_quotes(cell, &at_venue)
        handle = live.order.next_handle


cdef bint _meets_own(Desk* desk, const Order* order, int64_t tick, bint anybody, int64_t* own) noexcept nogil:
    """Whether an order could trade with a live one of the same strategy, or of any."""
    cdef Cell* cell
    cdef uint16_t s
    cdef int tries
    for s in range(0 if anybody else order.strategy, desk.n_strategies if anybody else order.strategy + 1):
        cell = desk_cell(desk, s, order.instrument)
        # The bounds never lie on the safe side of the truth; only where they object is it looked up.
        for tries in range(2):
            if order.side > 0:
                if cell.own_ask == 0 or cell.own_ask > tick:
                    break
                own[0] = cell.own_ask
            else:
                if cell.own_bid == 0 or cell.own_bid < tick:
                    break
                own[0] = cell.own_bid
            if tries == 1:
                return True
            _find_quotes(desk, cell)
    return False


cdef uint8_t _check_self_trade(
    Desk* desk, const Order* order, int64_t tick, double px, Denial* why
) noexcept nogil:
    cdef const Cell* cell = desk_cell(desk, order.strategy, order.instrument)
    cdef int64_t own = 0
    cdef bint anybody
    if order.order_type == ORDER_MARKET:
        tick = INT64_MAX if order.side > 0 else 0
    anybody = (
        (desk_instrument_scope(desk, order.instrument).limits.mask | desk.scopes[SCOPE_GLOBAL].limits.mask)
        & LIMIT_SELF_TRADE
    ) != 0
    if not anybody and not cell.limits.mask & LIMIT_SELF_TRADE:
        return REASON_NONE
    if not _meets_own(desk, order, tick, anybody, &own):
        return REASON_NONE
    why.scope = SCOPE_OF_ALL if anybody else SCOPE_OF_ORDER
    return deny(
        why, REASON_SELF_TRADE_PREVENTION, to_px(own, desk.instruments[order.instrument].tick_size), px
    )


# --- the check -----------------------------------------------------------------------------------


cdef void _look_at_book(const L2Book* book, int64_t silence, bint crossed, Intent* intent) noexcept nogil:
    """What checks of the market want to know of it."""
    cdef const Ladder* ladder
    cdef int side
    cdef int64_t top
    intent.bid = NAN if book.best_bid_tick == INVALID_MIN_TICK else to_px(book.best_bid_tick, book.tick_size)
    intent.ask = NAN if book.best_ask_tick == INVALID_MAX_TICK else to_px(book.best_ask_tick, book.tick_size)
    intent.reference = (intent.bid + intent.ask) / 2.0
    # Engine time stands still while the feed is silent: what is known grows older all the same.
    intent.book_ts = book.ts - silence
    intent.hidden = NAN
    for side in range(2 if crossed else 0):
        ladder = &book.ladders[side]
        # A level above the best of its side is one that a quote of the other side has passed.
        top = ladder_below_dense(ladder, ladder.base + <int64_t>ladder.mask + 1)
        if top > ladder.best:
            intent.hidden = to_px(~top if side else top, book.tick_size)


cdef uint8_t _check_numbers(const Desk* desk, const Order* order, int64_t* tick, Denial* why) noexcept nogil:
    """What holds for every order, limits or not."""
    if desk.slots[order.strategy].state != STRATEGY_RUNNING:
        return deny(why, REASON_STRATEGY_NOT_RUNNING, 0.0, 0.0)
    if not desk_cell(desk, order.strategy, order.instrument).trades:
        return deny(why, REASON_UNKNOWN_INSTRUMENT, 0.0, <double>order.instrument)
    if order.qty <= 0 or order.qty > RISK_MAX_LOTS:
        return deny(why, REASON_INVALID_QTY, <double>RISK_MAX_LOTS, <double>order.qty)
    if order.order_type == ORDER_MARKET:
        tick[0] = market_tick(desk, order)
        if tick[0] == 0:
            return deny(why, REASON_NO_MARKET, 0.0, 0.0)
    elif tick[0] <= 0 or tick[0] > RISK_MAX_TICK:
        return deny(why, REASON_INVALID_PRICE, <double>RISK_MAX_TICK, <double>tick[0])
    return REASON_NONE


cdef uint8_t _check_limits(
    Desk* desk, const Order* order, const LiveOrder* live, int64_t tick, Intent* intent, Exposure* held,
    Denial* why
) noexcept nogil:
    """The limits of each scope, from the narrowest; quantities are told in quantity units."""
    cdef const Instrument* inst = &desk.instruments[order.instrument]
    cdef Scope* scope
    cdef ScopeState* state
    cdef uint8_t reason
    cdef int kind
    cdef LiveOrder asked
    if desk.limits_mask & LIMITS_MARKET:
        _look_at_book(
            &desk.books[order.instrument], desk.silence, (desk.limits_mask & LIMIT_CROSSED) != 0, intent
        )
    if desk.counting:
        intent.content.price_tick = order.price_tick
        intent.content.qty = order.qty
        intent.content.rest = _content_rest(order)
        if live == NULL:
            intent.added_value = intent.notional
        else:
            asked.order = order[0]
            asked.venue_tick = live.order.price_tick
            asked.value_tick = live.value_tick
            intent.added_value = _open_value(desk, &asked) - _open_value(desk, live)
    reason = pretrade_check(
        &desk_cell(desk, order.strategy, order.instrument).limits, NULL, intent, &held[SCOPE_OF_ORDER], why
    )
    why.scope = SCOPE_OF_ORDER
    if reason == REASON_NONE and desk.counting:
        for kind in range(SCOPE_OF_STRATEGY, SCOPE_OF_ALL + 1):
            scope = _scope(desk, order, kind)
            if scope.limits.mask == 0:
                continue
            state = &scope.state
            _roll(state, intent.now)
            held[kind].position = state.position
            held[kind].open_side = state.open_buy if order.side > 0 else state.open_sell
            held[kind].open_orders = state.open_orders
            held[kind].open_value = money(&state.open_value)
            reason = pretrade_check(&scope.limits, state, intent, &held[kind], why)
            if reason != REASON_NONE:
                why.scope = <uint8_t>kind
                break
    if reason == REASON_MAX_ORDER_QTY or reason == REASON_MAX_POSITION:
        why.limit *= inst.lot_size
        why.actual *= inst.lot_size
    if reason == REASON_NONE and desk.limits_mask & LIMIT_SELF_TRADE:
        reason = _check_self_trade(desk, order, tick, intent.px, why)
    return reason


cdef uint8_t admit(
    Desk* desk, const Order* order, const LiveOrder* live, int64_t added, Denial* why
) noexcept nogil:
    cdef const Instrument* inst = &desk.instruments[order.instrument]
    cdef Cell* cell = desk_cell(desk, order.strategy, order.instrument)
    cdef int64_t tick = order.price_tick
    cdef int64_t worst
    cdef Intent intent
    cdef Exposure held[4]
    cdef uint8_t reason
    why.scope = SCOPE_OF_ORDER
    reason = _check_numbers(desk, order, &tick, why)
    if reason != REASON_NONE:
        return reason
    held[SCOPE_OF_ORDER].position = cell.position.lots
    held[SCOPE_OF_ORDER].open_side = cell.open_buy if order.side > 0 else cell.open_sell
    held[SCOPE_OF_ORDER].open_orders = cell.n_orders
    worst = held[SCOPE_OF_ORDER].open_side + added
    intent.reduces = order_reduces(order.side, cell.position.lots, worst)
    worst += cell.position.lots if order.side > 0 else -cell.position.lots
    intent.px = to_px(tick, inst.tick_size)
    if desk.limits_mask & LIMITS_MARKED:
        desk_activate(desk, order.strategy, order.instrument)
        memset(&held[1], 0, 3 * sizeof(Exposure))
        _measure(desk, order, added, intent.px, held)
        if desk.limits_mask & LIMITS_LOSS:
            _judge_all(desk, order, held)
    if desk.n_latched != 0:
        reason = admit_latched(desk, order, intent.reduces, why)
        if reason != REASON_NONE:
            return reason
    if desk.trading_state == TRADING_HALTED:
        return deny(why, REASON_TRADING_HALTED, 0.0, 0.0)
    if desk.trading_state == TRADING_REDUCING and not intent.reduces:
        return deny(why, REASON_REDUCE_ONLY, 0.0, to_qty(worst, inst.lot_size))
    if added > 0 and worst > RISK_MAX_WORST:
        return deny(why, REASON_MAX_POSITION, <double>RISK_MAX_WORST, <double>worst)
    intent.notional = instrument_amount(inst, intent.px, to_qty(order.qty, inst.lot_size))
    if not intent.notional <= RISK_MAX_VALUE:
        return deny(why, REASON_MAX_NOTIONAL, RISK_MAX_VALUE, intent.notional)
    if desk.limits_mask != 0:
        intent.now = desk.now
        intent.qty = order.qty
        intent.added = added
        intent.new_orders = live == NULL
        intent.side = order.side
        # What the cell could hold at worst on either side is raised only by what exceeds the other side.
        intent.raises = added > 0 and worst > (
            cell.open_sell - cell.position.lots if order.side > 0 else cell.open_buy + cell.position.lots
        )
        reason = _check_limits(desk, order, live, tick, &intent, held, why)
        if reason != REASON_NONE:
            return reason
    if desk.busy or desk.n_outputs + 2 > desk.outbox_soft:
        return deny(why, REASON_BUSY, <double>desk.outbox_soft, <double>desk.n_outputs)
    if live == NULL and desk.orders.used >= desk.max_orders:
        return deny(why, REASON_BUSY, <double>desk.max_orders, <double>desk.orders.used)
    return REASON_NONE


# --- counters ------------------------------------------------------------------------------------


cdef void admission_count(Desk* desk, const LiveOrder* live, int sign) noexcept nogil:
    cdef const Order* order = &live.order
    cdef int64_t lots = sign * open_lots(order)
    cdef double value = sign * _open_value(desk, live)
    cdef ScopeState* state
    cdef Scope* scope
    cdef int kind
    for kind in range(SCOPE_OF_STRATEGY, SCOPE_OF_ALL + 1):
        scope = _scope(desk, order, kind)
        if scope.limits.mask == 0:
            continue
        state = &scope.state
        state.open_orders += sign
        money_add(&state.open_value, value)
        if order.side > 0:
            state.open_buy += lots
        else:
            state.open_sell += lots


cdef void admission_sent(Desk* desk, const Order* order) noexcept nogil:
    cdef const LimitSet* limits
    cdef ScopeState* state
    cdef Scope* scope
    cdef Content* content
    cdef int64_t empty
    cdef int kind
    for kind in range(SCOPE_OF_STRATEGY, SCOPE_OF_ALL + 1):
        scope = _scope(desk, order, kind)
        limits = &scope.limits
        if limits.mask == 0:
            continue
        state = &scope.state
        _roll(state, desk.now)
        state.messages += 1
        if limits.mask & LIMIT_ORDER_RATE and order.req == STATUS_NEW:
            bucket_take(&state.order_due, desk.now, limits.order_interval)
        if limits.mask & LIMIT_MESSAGE_RATE:
            bucket_take(&state.message_due, desk.now, limits.message_interval)
            # Cancels pass an empty bucket; they do not make a debt of it.
            empty = desk.now + limits.message_burst + limits.message_interval
            if state.message_due > empty:
                state.message_due = empty
        if limits.mask & LIMIT_DUPLICATES and order.req == STATUS_NEW:
            content = &state.recent[state.recent_next]
            content.ts = desk.now
            content.price_tick = order.price_tick
            content.qty = order.qty
            content.rest = _content_rest(order)
            state.recent_next = (state.recent_next + 1) % RECENT_ORDERS


cdef void admission_executed(Desk* desk, const Order* order, int64_t lots) noexcept nogil:
    cdef const LimitSet* limits
    cdef ScopeState* state
    cdef Scope* scope
    cdef Exposure held[4]
    cdef int kind
    for kind in range(SCOPE_OF_STRATEGY, SCOPE_OF_ALL + 1):
        scope = _scope(desk, order, kind)
        limits = &scope.limits
        if limits.mask == 0:
            continue
        state = &scope.state
        _roll(state, desk.now)
        state.position += lots if order.side > 0 else -lots
        state.trades += 1
        if limits.mask & LIMIT_REPEATS:
            _break(
                desk, scope, LATCH_REPEATS, &state.repeat_due, limits.repeat_interval, limits.repeat_burst
            )
    if desk.limits_mask & LIMITS_LOSS:
        memset(held, 0, sizeof(held))
        _measure(desk, order, 0, 0.0, held)
        _judge_all(desk, order, held)


cdef void admission_rejected(Desk* desk, const Order* order) noexcept nogil:
    cdef const LimitSet* limits
    cdef Scope* scope
    cdef int kind
    for kind in range(SCOPE_OF_STRATEGY, SCOPE_OF_ALL + 1):
        scope = _scope(desk, order, kind)
        limits = &scope.limits
        if not limits.mask & LIMIT_REJECTS:
            continue
        _break(
            desk, scope, LATCH_REJECTS, &scope.state.reject_due, limits.reject_interval, limits.reject_burst
        )


cdef void _recount_cell(Desk* desk, uint16_t s, uint16_t i) noexcept nogil:
    cdef Cell* cell = desk_cell(desk, s, i)
    cdef Scope* scope
    cdef Order of
    cdef uint32_t handle = cell.head
    cdef int kind
    memset(&of, 0, sizeof(Order))
    of.strategy, of.instrument = s, i
    for kind in range(SCOPE_OF_STRATEGY, SCOPE_OF_ALL + 1):
        scope = _scope(desk, &of, kind)
        if scope.limits.mask != 0:
            scope.state.position += cell.position.lots
    _find_quotes(desk, cell)
    while handle != 0:
        admission_count(desk, desk_live(desk, handle), 1)
        handle = desk_live(desk, handle).order.next_handle


cdef void admission_recount(Desk* desk) noexcept nogil:
    cdef size_t n, scopes = <size_t>SCOPE_STRATEGIES + MAX_STRATEGIES + desk.n_instruments
    cdef ScopeState* state
    cdef uint64_t mask = 0
    cdef uint16_t s, i
    for n in range(scopes):
        mask |= desk.scopes[n].limits.mask
        state = &desk.scopes[n].state
        state.position = state.open_buy = state.open_sell = 0
        state.open_orders = 0
        state.open_value.high = state.open_value.low = 0.0
    desk.counting = mask != 0
    for s in range(desk.n_strategies):
        for i in range(desk.n_instruments):
            mask |= desk_cell(desk, s, i).limits.mask
    desk.limits_mask = mask
    for s in range(desk.n_strategies):
        for i in range(desk.n_instruments):
            _recount_cell(desk, s, i)
