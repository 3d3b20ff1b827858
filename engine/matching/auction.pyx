"""Phases, the uncross and ending many orders; docs/matching.md has the rules."""


from libc.stdint cimport uint64_t

from engine.core.codes cimport ERR_INVALID_REQUEST, ERR_PHASE, OK
from engine.core.types cimport REASON_DAY_END, REASON_REDUCE_ONLY
from engine.matching.book cimport (
    WANT_PRIVATE,
    book_emit,
    book_end,
    book_executed,
    book_open,
    scratch_pop,
)
from engine.matching.levels cimport NO_BEST, side_below
from engine.matching.orders cimport BIT_REDUCE_ONLY, SHIFT_LIFE, MatchOrder
from engine.matching.records cimport (
    MATCH_PHASE_CHANGED,
    MATCH_TRADE,
    MATCH_UNCROSSED,
    PHASE_AUCTION,
    PHASE_CLOSED,
    PHASE_CONTINUOUS,
    PHASE_HALTED,
    TIF_DAY,
)
from engine.matching.stops cimport stops_gather, stops_run


# The prices that trade most with the least imbalance, and how much that is.
cdef struct Cross:
    int64_t low
    int64_t high
    uint64_t qty
    uint64_t imbalance


cdef uint64_t _level_open(const Matcher* m, uint32_t name) noexcept nogil:
    cdef uint64_t sum = 0
    cdef uint32_t handle = m.levels[name].head
    if m.n_special == 0:
        return <uint64_t>m.levels[name].shown
    while handle != 0:
        sum += book_open(m, handle)
        handle = m.orders.at[handle].next
    return sum


# The bids at or above a price into scratch, best first; returns how many, and their sum.
cdef uint32_t _list_bids(Matcher* m, int64_t low, uint64_t* sum) noexcept nogil:
    cdef uint32_t name = m.sides[0].best_level
    cdef uint32_t n = 0
    sum[0] = 0
    while name != 0 and m.levels[name].px >= low:
        m.scratch[n].key = <uint64_t><int64_t>m.levels[name].px
        m.scratch[n].value = _level_open(m, name)
        sum[0] += m.scratch[n].value
        n += 1
        name = side_below(&m.sides[0], m.levels[name].px)
    return n


# Demand falls and supply rises with the price, both in steps; between two steps all prices are alike.
cdef Cross _cross(Matcher* m) noexcept nogil:
    cdef Cross best
    cdef int64_t px = ~m.sides[1].best
    cdef int64_t last = m.sides[0].best
    cdef int64_t end
    cdef uint64_t demand, supply = 0, qty, imbalance
    cdef uint32_t n = _list_bids(m, px, &demand)
    cdef uint32_t ask = m.sides[1].best_level
    best.low = best.high = px
    best.qty = best.imbalance = 0
    while px <= last:
        while ask != 0 and m.levels[ask].px <= px:
            supply += _level_open(m, ask)
            ask = side_below(&m.sides[1], ~<int64_t>m.levels[ask].px)
        while n and <int64_t>m.scratch[n - 1].key < px:
            n -= 1
            demand -= m.scratch[n].value
        end = <int64_t>m.scratch[n - 1].key
        if ask != 0 and m.levels[ask].px <= end:
            end = m.levels[ask].px - 1
        qty = min(demand, supply)
        imbalance = max(demand, supply) - qty
        if qty > best.qty or (qty == best.qty and imbalance < best.imbalance):
            best.low = px
            best.high = end
            best.qty = qty
            best.imbalance = imbalance
        elif qty == best.qty and imbalance == best.imbalance:
            best.high = end
        px = end + 1
    return best


cdef void _trade_at(Matcher* m, int64_t px, uint64_t left) noexcept nogil:
    cdef uint32_t bid, ask, qty
    cdef MatchOrder* buyer
    cdef MatchOrder* seller
    while left:
        bid = m.levels[m.sides[0].best_level].head
        ask = m.levels[m.sides[1].best_level].head
        buyer = m.orders.at + bid
        seller = m.orders.at + ask
        qty = min(buyer.qty, seller.qty)
        qty = <uint32_t>min(left, <uint64_t>qty)
        left -= qty
        m.owners[buyer.owner].position += qty
        m.owners[seller.owner].position -= qty
        if m.wants & WANT_PRIVATE:
            book_emit(m, MATCH_TRADE, buyer.id, seller.id, px, qty, buyer.owner, seller.owner, 0, 0)
        book_executed(m, bid, qty)
        book_executed(m, ask, qty)


cdef void _uncross(Matcher* m, MatchResult* result) noexcept nogil:
    cdef Cross cross
    cdef int64_t px
    if m.sides[0].best == NO_BEST or m.sides[1].best == NO_BEST or m.sides[0].best < ~m.sides[1].best:
        return
    cross = _cross(m)
    if m.has_last:
        px = min(max(m.last_px, cross.low), cross.high)
    else:
        px = (cross.low + cross.high) >> 1
    _trade_at(m, px, cross.qty)
    m.last_px = px
    m.has_last = 1
    result.exec_qty = <int64_t>cross.qty
    result.exec_value = <int64_t>(<uint64_t>px * cross.qty)
    if m.wants & WANT_PRIVATE:
        book_emit(m, MATCH_UNCROSSED, 0, 0, px, result.exec_qty, 0, 0, 0, 0)


cdef int auction_phase(Matcher* m, int64_t phase, MatchResult* result) noexcept nogil:
    if phase < PHASE_CONTINUOUS or phase > PHASE_CLOSED or phase == m.phase:
        return ERR_INVALID_REQUEST
    if m.phase == PHASE_AUCTION and phase == PHASE_HALTED:
        return ERR_PHASE
    if m.phase == PHASE_AUCTION:
        _uncross(m, result)
    m.phase = <uint8_t>phase
    if m.wants & WANT_PRIVATE:
        book_emit(m, MATCH_PHASE_CHANGED, 0, 0, 0, phase, 0, 0, 0, 0)
    if phase == PHASE_AUCTION:
        auction_end_many(m, 0, 0, BIT_REDUCE_ONLY, BIT_REDUCE_ONLY, REASON_REDUCE_ONLY)
    elif phase == PHASE_CLOSED:
        auction_end_many(m, 0, 0, 7 << SHIFT_LIFE, TIF_DAY << SHIFT_LIFE, REASON_DAY_END)
    elif phase == PHASE_CONTINUOUS and m.has_last:
        stops_run(m, m.last_px, m.last_px)
    return OK


cdef inline bint _is_meant(const MatchOrder* order, uint32_t owner, uint32_t mask, uint32_t value) noexcept nogil:
    return (owner == 0 or order.owner == owner) and order.bits & mask == value


cdef void auction_end_many(
    Matcher* m, uint32_t owner, int side, uint32_t mask, uint32_t value, uint8_t reason
) noexcept nogil:
    cdef uint32_t name, handle, following, n
    cdef int64_t key
    cdef int i, its_side
    for i in range(2):
        name = 0 if side == (1 if i else -1) else m.sides[i].best_level
        while name != 0 and (owner == 0 or m.owners[owner].live):
            key = m.levels[name].px ^ m.sides[i].mirror
            handle = m.levels[name].head
            while handle != 0:
                following = m.orders.at[handle].next
                if _is_meant(m.orders.at + handle, owner, mask, value):
                    book_end(m, handle, reason)
                handle = following
            name = side_below(&m.sides[i], key)
    n = stops_gather(m)
    while n:
        handle = <uint32_t>scratch_pop(m.scratch, n).value
        n -= 1
        its_side = -1 if m.orders.at[handle].bits >> 11 & 1 else 1
        if side + its_side != 0 and _is_meant(m.orders.at + handle, owner, mask, value):
            book_end(m, handle, reason)
