"""The matching engine's commands; matcher.pxd says what it is, docs/matching.md has the rules."""

from libc.stdint cimport uint8_t
from libc.string cimport memset

from engine.core.codes cimport (
    ERR_BAD_QTY,
    ERR_BAD_TICK,
    ERR_FOK,
    ERR_INVALID_REQUEST,
    ERR_NO_LIQUIDITY,
    ERR_NOT_OWNER,
    ERR_ORDER_ID_EXIST,
    ERR_ORDER_NOT_FOUND,
    ERR_PHASE,
    ERR_POST_ONLY,
    ERR_PRICE_BAND,
    ERR_UNSORTED,
    OK,
)
from engine.core.types cimport (
    ORDER_MARKET,
    REASON_CANCEL_BY_OPERATOR,
    REASON_CANCEL_REQUESTED,
    REASON_EXPIRED_TIME,
    REASON_MASS_CANCEL,
    TIF_FOK,
)
from engine.matching.admission cimport MOST_SLICES, check_add, is_post_only, px_fits, px_in_bands, qty_fits
from engine.matching.arrival cimport (
    arrival_behind,
    arrival_fills,
    arrival_market,
    arrival_opposite,
    arrival_reach,
    arrival_settle,
    arrival_take,
)
from engine.matching.auction cimport auction_end_many, auction_phase
from engine.matching.book cimport (
    book_answer,
    book_append,
    book_end,
    book_shrink,
    book_touched,
    book_unlink,
)
from engine.matching.heap cimport heap_push, heap_take
from engine.matching.levels cimport side_below
from engine.matching.orders cimport (
    BIT_ASK,
    BIT_GTD,
    BIT_ICEBERG,
    BIT_SLIDE,
    BIT_WAITING,
    SHIFT_LIFE,
    SHIFT_POLICY,
    SHIFT_TYPE,
    ColdPart,
    match_fetch,
    match_likely,
    match_rare,
    order_claim,
    order_home,
)
from engine.matching.records cimport (
    MATCH_ACCEPTED,
    MATCH_ADD,
    MATCH_BANDS,
    MATCH_CANCEL,
    MATCH_MASS_CANCEL,
    MATCH_MODIFY,
    MATCH_PHASE,
    MATCH_REDUCE,
    MATCH_REPLACED,
    MATCH_TIME,
    ORDER_STOP,
    ORDER_STOP_LIMIT,
    PHASE_CLOSED,
    PHASE_CONTINUOUS,
    PHASE_HALTED,
    TIF_GTD,
)
from engine.matching.stops cimport stops_activate, stops_load, stops_reached, stops_run, stops_wait
from engine.matching.trading cimport Taker, take_policy


cdef extern from *:
    """
    #include <stdlib.h>
    #ifdef RINGBOOK_DEBUG
    #define MATCH_CHECK_ALWAYS 1
    #else
    #define MATCH_CHECK_ALWAYS 0
    #endif
    """
    const bint MATCH_CHECK_ALWAYS
    void abort() noexcept nogil


cdef enum:
    LOOK_AHEAD = 24              # commands ahead: the order
    LOOK_NEXT = 10               # its neighbours


# --- what depends on the book's prices ----------------------------------------------------------------

# A post-only order that would trade slides or is refused.
cdef int _post_only(const Matcher* m, Taker* t) noexcept nogil:
    cdef int64_t best = arrival_opposite(m, t.bits).best
    cdef int64_t slid
    if best < t.reach:
        return OK
    if not t.bits & BIT_SLIDE:
        return ERR_POST_ONLY
    slid = arrival_behind(best, t.bits)
    if not px_in_bands(m, slid):
        return ERR_PRICE_BAND
    t.px = slid
    t.reach = arrival_reach(slid, t.bits)
    return OK


cdef int _check_book(const Matcher* m, const MatchCommand* c, Taker* t) noexcept nogil:
    cdef bint empty = arrival_opposite(m, t.bits).best == NO_BEST
    if c.order_type >= ORDER_STOP:
        return OK
    if is_post_only(t.bits):
        return _post_only(m, t)
    if c.order_type == ORDER_MARKET and not empty:
        arrival_market(m, t)
    if c.time_in_force == TIF_FOK and not arrival_fills(m, t):
        return ERR_FOK
    return ERR_NO_LIQUIDITY if c.order_type == ORDER_MARKET and empty else OK


# --- commands with an order of their own --------------------------------------------------------------

cdef inline void _load(const MatchCommand* c, Taker* t) noexcept nogil:
    t.order_id = c.order_id
    t.px = c.px
    t.exec_qty = 0
    t.exec_value = 0
    t.leaves = <uint32_t>c.qty
    t.handle = 0
    t.owner = c.owner
    t.display = 0
    t.policy = c.self_trade
    t.reason = 0
    t.bits = (
        c.flags
        | (<uint32_t>c.time_in_force << SHIFT_LIFE)
        | (<uint32_t>c.self_trade << SHIFT_POLICY)
        | (<uint32_t>c.order_type << SHIFT_TYPE)
        | (BIT_ASK if c.side < 0 else 0)
    )
    t.reach = arrival_reach(c.px, t.bits)


# The rest of it, for orders that are not plain; the price of a market order and of a stop is none.
cdef void _load_special(const MatchCommand* c, Taker* t) noexcept nogil:
    if c.order_type == ORDER_MARKET or c.order_type == ORDER_STOP:
        t.px = 0
    if c.time_in_force == TIF_GTD:
        t.bits |= BIT_GTD
        t.expire_ts = c.expire_ts
    if c.display_qty and c.display_qty < c.qty:
        t.bits |= BIT_ICEBERG
        t.display = c.display_qty
    t.policy = take_policy(t.bits)


# Fills the result after the command's order has finished; stops that it triggered run first.
cdef inline void _finish(Matcher* m, const Taker* t, MatchResult* result) noexcept nogil:
    if match_rare(t.exec_qty != 0 and m.stops[0].n + m.stops[1].n != 0):
        _finish_with_stops(m, t, result)
        return
    result.exec_qty = t.exec_qty
    result.exec_value = <int64_t>t.exec_value
    if t.handle:
        result.leaves_qty = t.leaves
        result.px = t.px


cdef void _finish_with_stops(Matcher* m, const Taker* t, MatchResult* result) noexcept nogil:
    m.watch = t.handle
    m.watch_qty = 0
    m.watch_value = 0
    stops_run(m, min(t.first_px, m.last_px), max(t.first_px, m.last_px))
    m.watch = 0
    result.exec_qty = t.exec_qty + m.watch_qty
    result.exec_value = <int64_t>(t.exec_value + m.watch_value)
    # A command takes handles before its stops run, so this one is the same order or free.
    if t.handle and m.orders.at[t.handle].id:
        result.leaves_qty = book_open(m, t.handle)
        result.px = matcher_px(m, t.handle)


# Nothing but a limit order, with nothing wrong except perhaps its id, that trades with nobody: most are.
cdef inline bint _rests_plainly(const Matcher* m, const MatchCommand* c) noexcept nogil:
    cdef uint32_t ask = c.side < 0
    if (c.order_type | c.time_in_force | c.flags | c.self_trade | c.display_qty | m.phase) != 0:
        return False
    if c.owner - 1 >= m.config.max_owners or c.order_id == 0 or c.side * c.side != 1 or not qty_fits(c.qty):
        return False
    if not px_in_bands(m, c.px) or m.orders.used == m.orders.capacity:
        return False
    return m.sides[1 - ask].best < arrival_reach(c.px, BIT_ASK if ask else 0)


cdef inline int _rest_plainly(Matcher* m, const MatchCommand* c, MatchResult* result) noexcept nogil:
    cdef uint32_t ask = c.side < 0
    cdef uint32_t bits = BIT_ASK if ask else 0
    cdef uint32_t handle = order_claim(&m.orders, c.order_id)
    cdef MatchOrder* order = m.orders.at + handle
    if match_rare(handle == 0):
        return ERR_ORDER_ID_EXIST
    m.owners[c.owner].live += 1
    order.qty = <uint32_t>c.qty
    order.owner = c.owner
    order.bits = bits
    book_answer(m, MATCH_ACCEPTED, c.order_id, c.px, c.qty, c.owner, bits, 0)
    book_append(m, handle, c.px, <uint32_t>c.qty, ask)
    result.leaves_qty = c.qty
    result.px = c.px
    return OK


cdef int _add(Matcher* m, const MatchCommand* c, MatchResult* result) noexcept nogil:
    cdef bint plain = (c.order_type | c.time_in_force | c.flags | c.display_qty) == 0
    cdef int code = check_add(m, c)
    cdef Taker t
    if match_rare(code != OK):
        return code
    _load(c, &t)
    if not plain:
        _load_special(c, &t)
        code = _check_book(m, c, &t)
        if code != OK:
            return code
    book_answer(m, MATCH_ACCEPTED, t.order_id, t.px, t.leaves, t.owner, t.bits, 0)
    if match_rare(c.order_type >= ORDER_STOP):
        if m.phase == PHASE_CONTINUOUS and stops_reached(m, t.bits, c.stop_px):
            stops_activate(m, &t)
        else:
            stops_wait(m, &t, c.stop_px)
    else:
        if match_likely(m.phase == PHASE_CONTINUOUS):
            arrival_take(m, &t)
        arrival_settle(m, &t)
    _finish(m, &t, result)
    return OK


# The order a command names, for its owner or (where allowed) the operator.
cdef inline int _whose(
    const Matcher* m, const MatchCommand* c, bint operator_may, uint32_t* handle
) noexcept nogil:
    if match_rare(c.owner > m.config.max_owners or c.order_id == 0 or (c.owner == 0 and not operator_may)):
        return ERR_INVALID_REQUEST
    handle[0] = matcher_find(m, c.order_id)
    if match_rare(handle[0] == 0):
        return ERR_ORDER_NOT_FOUND
    if match_rare(c.owner != 0 and m.orders.at[handle[0]].owner != c.owner):
        return ERR_NOT_OWNER
    return OK


cdef inline uint8_t _cancel_reason(const MatchCommand* c) noexcept nogil:
    return REASON_CANCEL_REQUESTED if c.owner else REASON_CANCEL_BY_OPERATOR


cdef inline int _cancel(Matcher* m, const MatchCommand* c) noexcept nogil:
    cdef uint32_t handle = 0
    cdef int code = _whose(m, c, True, &handle)
    if match_likely(code == OK):
        book_end(m, handle, _cancel_reason(c))
    return code


# Takes lots off in place; a display quantity larger than what is open becomes it.
cdef void _shrink(Matcher* m, uint32_t handle, uint32_t lots, MatchResult* result) noexcept nogil:
    cdef uint32_t open_qty
    book_shrink(m, handle, lots)
    open_qty = book_open(m, handle)
    if m.orders.at[handle].bits & BIT_ICEBERG:
        m.orders.cold[handle].display = min(m.orders.cold[handle].display, open_qty)
    result.leaves_qty = open_qty
    result.px = matcher_px(m, handle)


cdef int _reduce(Matcher* m, const MatchCommand* c, MatchResult* result) noexcept nogil:
    cdef uint32_t handle = 0
    cdef int code = _whose(m, c, True, &handle)
    if code != OK:
        return code
    if not qty_fits(c.qty):
        return ERR_BAD_QTY
    if c.qty >= book_open(m, handle):
        book_end(m, handle, _cancel_reason(c))
    else:
        _shrink(m, handle, <uint32_t>c.qty, result)
    return OK


# --- modify -------------------------------------------------------------------------------------------

cdef int _modify_waiting(Matcher* m, const MatchCommand* c, uint32_t handle, MatchResult* result) noexcept nogil:
    cdef MatchOrder* order = m.orders.at + handle
    cdef ColdPart* cold = m.orders.cold + handle
    cdef int side = (order.bits & BIT_ASK) != 0
    cdef bint priced = (order.bits >> SHIFT_TYPE) & 3 == ORDER_STOP_LIMIT
    cdef Taker t
    if (priced and not px_fits(c.px)) or not px_fits(c.stop_px):
        return ERR_BAD_TICK
    if m.phase == PHASE_CLOSED:
        return ERR_PHASE
    if (priced and not px_in_bands(m, c.px)) or not px_in_bands(m, c.stop_px):
        return ERR_PRICE_BAND
    if priced:
        cold.px = <int>c.px
    cold.stop_px = <int>c.stop_px
    order.qty = <uint32_t>c.qty
    if order.bits & BIT_ICEBERG:
        cold.display = min(cold.display, order.qty)
    book_answer(m, MATCH_REPLACED, order.id, cold.px, order.qty, order.owner, order.bits, 0)
    heap_take(&m.stops[side], cold.stop_at)
    if m.phase == PHASE_CONTINUOUS and stops_reached(m, order.bits, c.stop_px):
        order.bits &= ~<uint32_t>BIT_WAITING
        stops_load(m, handle, &t)
        stops_activate(m, &t)
        _finish(m, &t, result)
        return OK
    heap_push(&m.stops[side], -c.stop_px if side else c.stop_px, cold.entry, handle)
    result.leaves_qty = order.qty
    result.px = cold.px
    return OK


# Takes a resting order out and lets it arrive anew.
cdef int _replace(Matcher* m, const MatchCommand* c, uint32_t handle, MatchResult* result) noexcept nogil:
    cdef MatchOrder* order = m.orders.at + handle
    cdef ColdPart* cold
    cdef int code
    cdef Taker t
    t.order_id = order.id
    t.px = c.px
    t.exec_qty = 0
    t.exec_value = 0
    t.leaves = <uint32_t>c.qty
    t.handle = handle
    t.owner = order.owner
    t.bits = order.bits
    t.display = 0
    t.policy = take_policy(t.bits)
    t.reason = 0
    t.reach = arrival_reach(c.px, t.bits)
    if m.phase == PHASE_CONTINUOUS and is_post_only(t.bits):
        code = _post_only(m, &t)
        if code != OK:
            return code
    if match_rare(t.bits & (BIT_ICEBERG | BIT_GTD)):
        cold = m.orders.cold + handle
        t.display = min(cold.display, t.leaves)
        if t.bits & BIT_GTD:
            m.entries += 1
            cold.entry = m.entries
            heap_take(&m.expiries, cold.expiry_at)
            heap_push(&m.expiries, cold.expire_ts, cold.entry, handle)
    book_answer(m, MATCH_REPLACED, t.order_id, t.px, t.leaves, t.owner, t.bits, 0)
    book_unlink(m, handle)
    if m.phase == PHASE_CONTINUOUS:
        arrival_take(m, &t)
    arrival_settle(m, &t)
    _finish(m, &t, result)
    return OK


cdef int _modify(Matcher* m, const MatchCommand* c, MatchResult* result) noexcept nogil:
    cdef uint32_t handle = 0
    cdef int code = _whose(m, c, False, &handle)
    cdef uint32_t open_qty
    cdef bint stays
    if match_rare(code != OK):
        return code
    if match_rare(not qty_fits(c.qty)):
        return ERR_BAD_QTY
    if match_rare(m.orders.at[handle].bits & BIT_ICEBERG):
        if c.qty > <int64_t>MOST_SLICES * m.orders.cold[handle].display:
            return ERR_BAD_QTY
    if match_rare(m.orders.at[handle].level == 0):
        return _modify_waiting(m, c, handle, result)
    if match_rare(not px_fits(c.px)):
        return ERR_BAD_TICK
    open_qty = book_open(m, handle)
    stays = c.px == matcher_px(m, handle) and c.qty <= open_qty
    if match_rare(m.phase != PHASE_CONTINUOUS):
        if m.phase == PHASE_CLOSED or (m.phase == PHASE_HALTED and not stays):
            return ERR_PHASE
        if not stays and is_post_only(m.orders.at[handle].bits):
            return ERR_PHASE
    if match_rare(not px_in_bands(m, c.px)):
        return ERR_PRICE_BAND
    if not stays:
        return _replace(m, c, handle, result)
    _shrink(m, handle, open_qty - <uint32_t>c.qty, result)
    return OK


# --- everything else ----------------------------------------------------------------------------------

cdef int _mass_cancel(Matcher* m, const MatchCommand* c) noexcept nogil:
    if c.owner > m.config.max_owners or c.side < -1 or c.side > 1:
        return ERR_INVALID_REQUEST
    auction_end_many(m, c.owner, c.side, 0, 0, REASON_MASS_CANCEL)
    return OK


cdef int _bands(Matcher* m, const MatchCommand* c) noexcept nogil:
    if c.px > c.stop_px or not px_fits(c.px) or not px_fits(c.stop_px):
        return ERR_BAD_TICK
    m.band_low = c.px
    m.band_high = c.stop_px
    return OK


cdef int _other(Matcher* m, const MatchCommand* c, MatchResult* result) noexcept nogil:
    if c.kind == MATCH_REDUCE:
        return _reduce(m, c, result)
    if c.kind == MATCH_MASS_CANCEL:
        return _mass_cancel(m, c)
    if c.kind == MATCH_PHASE:
        return auction_phase(m, c.qty, result)
    if c.kind == MATCH_BANDS:
        return _bands(m, c)
    return OK if c.kind == MATCH_TIME else ERR_INVALID_REQUEST


cdef void _expire(Matcher* m) noexcept nogil:
    while m.expiries.n and m.expiries.items[1].key <= m.clock:
        book_end(m, m.expiries.items[1].handle, REASON_EXPIRED_TIME)


cdef inline int _apply(Matcher* m, const MatchCommand* c, MatchResult* result) noexcept nogil:
    cdef uint64_t seq = m.seq
    cdef int code
    memset(result, 0, sizeof(MatchResult))
    if match_rare(c.ts < m.clock):
        result.code = ERR_UNSORTED
        return ERR_UNSORTED
    m.clock = c.ts
    if match_rare(m.expiries.n != 0):
        _expire(m)
    if c.kind == MATCH_ADD:
        code = _rest_plainly(m, c, result) if match_likely(_rests_plainly(m, c)) else _add(m, c, result)
    elif c.kind == MATCH_CANCEL:
        code = _cancel(m, c)
    elif c.kind == MATCH_MODIFY:
        code = _modify(m, c, result)
    else:
        code = _other(m, c, result)
    if m.n_touched:
        book_touched(m)
    result.code = code
    result.n_events = <uint32_t>(m.seq - seq)
    if MATCH_CHECK_ALWAYS and matcher_check(m) != OK:
        abort()
    return code


cdef int matcher_apply(Matcher* matcher, const MatchCommand* command, MatchResult* result) noexcept nogil:
    cdef int code = _apply(matcher, command, result)
    # Ids mostly count up: by the time the fourth from here comes, its place will be near.
    if command.kind == MATCH_ADD:
        match_fetch(matcher.orders.at + order_home(&matcher.orders, command.order_id + 4))
    return code


# Two steps ahead of a command: its order's place, then the order's neighbours. What another command changes in
# between costs a useless fetch.
cdef inline void _fetch(const Matcher* m, const MatchCommand* commands, uint64_t i, uint64_t last) noexcept nogil:
    cdef uint64_t order_id = commands[min(i + LOOK_AHEAD, last)].order_id
    cdef const MatchOrder* order = m.orders.at + order_home(&m.orders, order_id)
    cdef uint32_t prev, next
    match_fetch(order)
    order_id = commands[min(i + LOOK_NEXT, last)].order_id
    order = m.orders.at + order_home(&m.orders, order_id)
    # Of another order, or of none, they are not wanted.
    prev = order.prev if order.id == order_id else 0
    next = order.next if order.id == order_id else 0
    match_fetch(m.orders.at + prev)
    match_fetch(m.orders.at + next)


cdef void matcher_apply_many(
    Matcher* matcher, const MatchCommand* commands, MatchResult* results, uint64_t n
) noexcept nogil:
    cdef uint64_t i
    for i in range(n):
        _fetch(matcher, commands, i, n - 1)
        _apply(matcher, commands + i, results + i)


# --- readers ------------------------------------------------------------------------------------------

cdef uint32_t matcher_depth(
    const Matcher* matcher, int side, uint32_t n, int64_t* px, int64_t* qty, uint32_t* counts
) noexcept nogil:
    cdef uint32_t name = matcher.sides[side].best_level
    cdef uint32_t count = 0
    while name != 0 and count < n:
        px[count] = matcher.levels[name].px
        qty[count] = matcher.levels[name].shown
        counts[count] = matcher.levels[name].count
        count += 1
        name = side_below(&matcher.sides[side], matcher.levels[name].px ^ matcher.sides[side].mirror)
    return count
