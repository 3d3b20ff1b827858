"""Pro-rata and size-weighted allocation, a round at a time; docs/matching.md has the rules.

Cost: pro-rata two passes over the level's queue a round; size-weighted builds a heap of the queue and pops an
order from it a trade. Self-trades cost one more pass, only for owners with live orders. Bad case: a small order
at a level of very many.
"""

from libc.stdint cimport uint32_t, uint64_t

from engine.matching.book cimport scratch_build, scratch_pop
from engine.matching.levels cimport Level
from engine.matching.orders cimport BIT_ASK, BIT_REDUCE_ONLY, MatchOrder
from engine.matching.records cimport ALLOC_PRO_RATA
from engine.matching.trading cimport take_fill, take_room, take_self_trade, take_special


# A round: what is left of it to trade, and of the level what took part in it from the start.
cdef struct Round:
    uint64_t left                # lots
    uint64_t shown               # lots of the orders that take part
    uint32_t n                   # orders that take part


# Trades up to `qty` with an order of the round, or ends it where it is reduce-only and may not.
cdef void _give(Matcher* m, Taker* t, Round* trip, uint32_t handle, uint64_t qty) noexcept nogil:
    cdef MatchOrder* order = m.orders.at + handle
    cdef uint32_t before = order.qty
    cdef uint32_t traded = <uint32_t>qty
    if qty == 0:
        return
    if order.bits & BIT_REDUCE_ONLY:
        traded = take_special(m, t, handle, traded)
        if traded == 0:
            trip.n -= 1
            trip.shown -= before
            return
    take_fill(m, t, handle, traded)
    trip.left -= traded
    trip.shown -= traded
    if traded == before:
        trip.n -= 1


# Lets an order of the round trade until it leaves the round: more than once only if it is reduce-only.
cdef void _exhaust(Matcher* m, Taker* t, Round* trip, uint32_t handle) noexcept nogil:
    cdef uint32_t n = trip.n
    while trip.left and trip.n == n:
        _give(m, t, trip, handle, min(trip.left, <uint64_t>m.orders.at[handle].qty))


cdef void _pro_rata(Matcher* m, Taker* t, Level* level, Round* trip) noexcept nogil:
    cdef uint32_t handle, following, i, n
    cdef uint64_t rest, total, share
    if level.top and m.config.top_share:
        share = trip.left * m.config.top_share // 100
        _give(m, t, trip, level.top, min(share, <uint64_t>m.orders.at[level.top].qty))
    n = trip.n
    if n == 0 or trip.left == 0:
        return
    rest = trip.left
    total = trip.shown
    handle = level.head
    for i in range(n):
        following = m.orders.at[handle].next
        share = m.orders.at[handle].qty
        if rest < total:
            share = rest * share // total
        if share >= m.config.min_allocation:
            _give(m, t, trip, handle, share)
        handle = following
    n = trip.n
    if n == 0 or trip.left == 0:
        return
    handle = level.head
    for i in range(n):
        following = m.orders.at[handle].next
        _exhaust(m, t, trip, handle)
        if trip.left == 0:
            return
        handle = following


# Ascending keys: the larger shown first, then the earlier in the queue.
cdef void _size_weighted(Matcher* m, Taker* t, Level* level, Round* trip) noexcept nogil:
    cdef uint32_t n = trip.n
    cdef uint32_t handle = level.head
    cdef uint32_t i
    for i in range(n):
        m.scratch[i].key = (<uint64_t>(~m.orders.at[handle].qty) << 32) | i
        m.scratch[i].value = handle
        handle = m.orders.at[handle].next
    scratch_build(m.scratch, n)
    while n and trip.left:
        handle = <uint32_t>scratch_pop(m.scratch, n).value
        n -= 1
        _exhaust(m, t, trip, handle)


# First come, first served, before anything trades. False: the level or the arriving order is done.
cdef bint _self_trades(Matcher* m, Taker* t, Level* level) noexcept nogil:
    cdef uint32_t handle = level.head
    cdef uint32_t i, following
    for i in range(level.count):
        following = m.orders.at[handle].next
        if m.orders.at[handle].owner == t.owner:
            take_self_trade(m, t, handle)
            if t.reason:
                return False
        handle = following
    return level.count != 0


cdef void share_round(Matcher* m, Taker* t) noexcept nogil:
    cdef Level* level = m.levels + m.sides[(t.bits & BIT_ASK) == 0].best_level
    cdef Round trip
    if t.policy and m.owners[t.owner].live and not _self_trades(m, t, level):
        return
    trip.left = t.leaves
    if t.bits & BIT_REDUCE_ONLY:
        trip.left = min(trip.left, take_room(m, t.owner, (t.bits & BIT_ASK) != 0))
    trip.shown = <uint64_t>level.shown
    trip.n = level.count
    if m.allocation == ALLOC_PRO_RATA:
        _pro_rata(m, t, level, &trip)
    else:
        _size_weighted(m, t, level, &trip)
