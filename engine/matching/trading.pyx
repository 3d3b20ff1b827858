"""Self-trade prevention and reduce-only orders, between an arriving order and a resting one."""

from engine.core.types cimport REASON_REDUCE_ONLY, REASON_SELF_TRADE
from engine.matching.book cimport book_answer, book_end, book_open, book_shrink
from engine.matching.orders cimport BIT_REDUCE_ONLY
from engine.matching.records cimport (
    MATCH_REPLACED,
    STP_CANCEL_BOTH,
    STP_CANCEL_OLDEST,
    STP_DECREMENT,
)


cdef void take_self_trade(Matcher* m, Taker* t, uint32_t handle) noexcept nogil:
    cdef uint32_t resting = book_open(m, handle)
    cdef uint32_t less = min(resting, t.leaves)
    if t.policy == STP_CANCEL_OLDEST or t.policy == STP_CANCEL_BOTH:
        book_end(m, handle, REASON_SELF_TRADE)
    elif t.policy == STP_DECREMENT:
        if less == resting:
            book_end(m, handle, REASON_SELF_TRADE)
        else:
            book_shrink(m, handle, less)
        if less < t.leaves:
            t.leaves -= less
            book_answer(m, MATCH_REPLACED, t.order_id, t.px, t.leaves, t.owner, t.bits, 0)
            return
    if t.policy != STP_CANCEL_OLDEST:
        t.reason = REASON_SELF_TRADE


cdef uint32_t take_special(Matcher* m, Taker* t, uint32_t handle, uint32_t qty) noexcept nogil:
    cdef MatchOrder* order = m.orders.at + handle
    cdef uint64_t room
    if t.bits & BIT_REDUCE_ONLY:
        qty = <uint32_t>min(<uint64_t>qty, take_room(m, t.owner, (t.bits & BIT_ASK) != 0))
    if t.policy and order.owner == t.owner:
        take_self_trade(m, t, handle)
        return 0
    if order.bits & BIT_REDUCE_ONLY:
        room = 0 if order.owner == t.owner else take_room(m, order.owner, (order.bits & BIT_ASK) != 0)
        if room == 0:
            book_end(m, handle, REASON_REDUCE_ONLY)
            return 0
        qty = <uint32_t>min(<uint64_t>qty, room)
    return qty
