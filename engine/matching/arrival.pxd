"""What an arriving order does: it takes what it reaches, then rests or ends.

Cost: FIFO takes the head of the best level again and again, a trade each. An order that never rests gets no
handle and no place in the index. Bad case: a fill-or-kill order in a book with icebergs or reduce-only orders,
or with a self-trade policy, looks at each order it could trade with before it trades.
"""

from libc.stdint cimport int64_t, uint32_t

from engine.core.types cimport REASON_REDUCE_ONLY, REASON_UNFILLED_IOC_FOK, TIF_FOK, TIF_IOC
from engine.matching.allocation cimport share_round
from engine.matching.book cimport Matcher, book_answer, book_append, book_forget
from engine.matching.levels cimport MatchSide
from engine.matching.orders cimport (
    BIT_ASK,
    BIT_GTD,
    BIT_ICEBERG,
    BIT_REDUCE_ONLY,
    SHIFT_LIFE,
    SHIFT_TYPE,
    MatchOrder,
    match_rare,
    order_new,
)
from engine.matching.records cimport ALLOC_FIFO, MATCH_ENDED, ORDER_STOP
from engine.matching.trading cimport Taker, take_fill, take_room, take_special


# The lots that can certainly trade are at least `t.leaves`.
cdef bint arrival_fills(const Matcher* m, const Taker* t) noexcept nogil
# The limit of a market order, from the opposite best (there is one), the protection and the bands.
cdef void arrival_market(const Matcher* m, Taker* t) noexcept nogil
# What a resting order has besides its line: a heap place, a hidden part.
cdef void arrival_rest_cold(Matcher* m, const Taker* t, uint32_t handle, bint fresh) noexcept nogil


cdef inline const MatchSide* arrival_opposite(const Matcher* m, uint32_t bits) noexcept nogil:
    return &m.sides[(bits & BIT_ASK) == 0]


# Opposite keys from here up are at `px` or better.
cdef inline int64_t arrival_reach(int64_t px, uint32_t bits) noexcept nogil:
    return px if bits & BIT_ASK else ~px


# One tick behind the opposite best, whose key is given: where a post-only order slides to.
cdef inline int64_t arrival_behind(int64_t best, uint32_t bits) noexcept nogil:
    return best + 1 if bits & BIT_ASK else ~best - 1


# Trades until nothing more is in reach, nothing is left, or a rule ends the order (t.reason).
cdef inline void arrival_take(Matcher* m, Taker* t) noexcept nogil:
    cdef const MatchSide* other = arrival_opposite(m, t.bits)
    cdef const MatchOrder* order
    cdef uint32_t handle, qty
    while t.leaves != 0 and other.best >= t.reach:
        if match_rare(t.bits & BIT_REDUCE_ONLY) and take_room(m, t.owner, (t.bits & BIT_ASK) != 0) == 0:
            t.reason = REASON_REDUCE_ONLY
            return
        if match_rare(m.allocation != ALLOC_FIFO):
            share_round(m, t)
        else:
            handle = m.levels[other.best_level].head
            order = m.orders.at + handle
            qty = min(t.leaves, order.qty)
            if match_rare((order.bits | t.bits) & BIT_REDUCE_ONLY or (t.policy and order.owner == t.owner)):
                qty = take_special(m, t, handle, qty)
            if qty:
                take_fill(m, t, handle, qty)
        if match_rare(t.reason):
            return


# Puts what is left into the book.
cdef inline void arrival_rest(Matcher* m, Taker* t) noexcept nogil:
    cdef bint fresh = t.handle == 0
    cdef MatchOrder* order
    if fresh:
        t.handle = order_new(&m.orders, t.order_id)
        m.owners[t.owner].live += 1
    order = m.orders.at + t.handle
    order.qty = t.leaves
    order.owner = t.owner
    order.bits = t.bits
    if match_rare(t.bits & (BIT_ICEBERG | BIT_GTD | BIT_REDUCE_ONLY)):
        arrival_rest_cold(m, t, t.handle, fresh)
    book_append(m, t.handle, t.px, order.qty, (t.bits & BIT_ASK) != 0)


# The end of an arrival: the rest goes into the book or ends.
cdef inline void arrival_settle(Matcher* m, Taker* t) noexcept nogil:
    cdef uint32_t life = (t.bits >> SHIFT_LIFE) & 7
    cdef uint32_t order_type = (t.bits >> SHIFT_TYPE) & 3
    if t.reason == 0 and t.leaves != 0:
        if match_rare(life == TIF_IOC or life == TIF_FOK or order_type == ORDER_STOP):
            t.reason = REASON_UNFILLED_IOC_FOK
        else:
            arrival_rest(m, t)
            return
    if t.reason:
        book_answer(m, MATCH_ENDED, t.order_id, t.px, t.leaves, t.owner, t.bits, t.reason)
    if t.handle:
        book_forget(m, t.handle)
        t.handle = 0
