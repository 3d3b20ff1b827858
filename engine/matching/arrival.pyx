"""The out-of-line half of an order's arrival: fill-or-kill, market limits, resting with more than a line."""

from libc.stdint cimport uint64_t

from engine.matching.book cimport book_open
from engine.matching.heap cimport heap_push
from engine.matching.levels cimport side_below
from engine.matching.orders cimport ColdPart
from engine.matching.records cimport STP_CANCEL_OLDEST, STP_NONE


cdef bint arrival_fills(const Matcher* m, const Taker* t) noexcept nogil:
    cdef const MatchSide* other = arrival_opposite(m, t.bits)
    cdef bint totals_do = m.n_special == 0 and (t.policy == STP_NONE or m.owners[t.owner].live == 0)
    cdef uint32_t name = other.best_level
    cdef uint32_t handle
    cdef uint64_t sum = 0, here
    cdef int64_t key
    cdef bint own
    while name != 0 and sum < t.leaves:
        key = m.levels[name].px ^ other.mirror
        if key < t.reach:
            break
        here = 0
        own = False
        handle = 0 if totals_do else m.levels[name].head
        while handle != 0:
            if t.policy != STP_NONE and m.orders.at[handle].owner == t.owner:
                own = True
            elif not m.orders.at[handle].bits & BIT_REDUCE_ONLY:
                here += book_open(m, handle)
            handle = m.orders.at[handle].next
        if own and t.policy != STP_CANCEL_OLDEST:
            break
        sum += <uint64_t>m.levels[name].shown if totals_do else here
        name = side_below(other, key)
    return sum >= t.leaves


cdef void arrival_market(const Matcher* m, Taker* t) noexcept nogil:
    cdef const MatchSide* other = arrival_opposite(m, t.bits)
    cdef int64_t best = m.levels[other.best_level].px
    cdef int64_t away = m.config.protection_ticks
    cdef int64_t limit
    if t.bits & BIT_ASK:
        limit = max(m.band_low, best - away) if away else m.band_low
    else:
        limit = min(m.band_high, best + away) if away else m.band_high
    t.reach = arrival_reach(limit, t.bits)


cdef void arrival_rest_cold(Matcher* m, const Taker* t, uint32_t handle, bint fresh) noexcept nogil:
    cdef MatchOrder* order = m.orders.at + handle
    cdef ColdPart* cold = m.orders.cold + handle
    cold.hidden = 0
    cold.display = t.display
    if t.bits & BIT_ICEBERG and t.leaves > t.display:
        order.qty = t.display
        cold.hidden = t.leaves - t.display
    if not fresh:
        return
    if t.bits & (BIT_ICEBERG | BIT_REDUCE_ONLY):
        m.n_special += 1
    if t.bits & BIT_GTD:
        m.entries += 1
        cold.entry = m.entries
        cold.expire_ts = t.expire_ts
        heap_push(&m.expiries, t.expire_ts, cold.entry, handle)
