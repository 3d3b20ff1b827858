"""An order that arrives, and what happens between it and one resting order: a trade, or no trade.

Cost: a trade touches the resting order's line, its level's and the two owners'. Reduce-only orders, self-trade
policies and icebergs leave the straight path by one test of the order's bits.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from engine.matching.book cimport (
    WANT_PRIVATE,
    Matcher,
    book_emit,
    book_executed,
    bits_side,
)
from engine.matching.orders cimport BIT_ASK, BIT_REDUCE_ONLY, SHIFT_POLICY, MatchOrder, match_rare
from engine.matching.records cimport MATCH_TRADE, STP_CANCEL_NEWEST, STP_NONE


# The arriving order.
cdef struct Taker:
    uint64_t order_id
    int64_t px                   # its price, 0 of a market order
    int64_t reach                # it trades with opposite levels from this key up
    int64_t exec_qty
    uint64_t exec_value
    int64_t first_px             # of its first trade
    int64_t expire_ts
    uint32_t leaves
    uint32_t handle              # 0: it has none yet
    uint32_t owner
    uint32_t bits
    uint32_t display
    uint8_t policy
    uint8_t reason               # why it ends before its quantity does


# What an owner may still buy (side 0) or sell (side 1) to bring the position to zero.
cdef inline uint64_t take_room(const Matcher* m, uint32_t owner, bint sells) noexcept nogil:
    cdef int64_t position = m.owners[owner].position
    if not sells:
        position = -position
    return <uint64_t>position if position > 0 else 0


# The self-trade policy an order arrives with: a trade with oneself reduces nothing, so reduce-only has one.
cdef inline uint8_t take_policy(uint32_t bits) noexcept nogil:
    cdef uint8_t policy = (bits >> SHIFT_POLICY) & 7
    return STP_CANCEL_NEWEST if policy == STP_NONE and bits & BIT_REDUCE_ONLY else policy


# Self-trade and reduce-only between the arriving order and a resting one: the lots they may trade of `qty`,
# or 0 when there is no trade because one of them ended or shrank.
cdef uint32_t take_special(Matcher* m, Taker* t, uint32_t handle, uint32_t qty) noexcept nogil
# The policy of the arriving order against a resting one of its owner.
cdef void take_self_trade(Matcher* m, Taker* t, uint32_t handle) noexcept nogil


# A trade at the resting order's price.
cdef inline void take_fill(Matcher* m, Taker* t, uint32_t handle, uint32_t qty) noexcept nogil:
    cdef MatchOrder* order = m.orders.at + handle
    cdef int64_t px = m.levels[order.level].px
    cdef int64_t bought = -<int64_t>qty if t.bits & BIT_ASK else <int64_t>qty
    if t.exec_qty == 0:
        t.first_px = px
    t.leaves -= qty
    t.exec_qty += qty
    t.exec_value += <uint64_t>px * qty
    m.last_px = px
    m.has_last = 1
    m.owners[t.owner].position += bought
    m.owners[order.owner].position -= bought
    if match_rare(handle == m.watch):
        m.watch_qty += qty
        m.watch_value += <uint64_t>px * qty
    if m.wants & WANT_PRIVATE:
        book_emit(
            m, MATCH_TRADE, order.id, t.order_id, px, qty, order.owner, t.owner, bits_side(t.bits), 0
        )
    book_executed(m, handle, qty)
