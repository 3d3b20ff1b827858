"""Waiting stops; stops.pxd says what they cost, docs/matching.md has the rules."""

from libc.string cimport memset

from engine.core.types cimport (
    REASON_NO_LIQUIDITY,
    REASON_POST_ONLY_CROSSED,
)
from engine.matching.arrival cimport (
    arrival_behind,
    arrival_market,
    arrival_opposite,
    arrival_reach,
    arrival_settle,
    arrival_take,
)
from engine.matching.book cimport book_answer, scratch_build, scratch_pop
from engine.matching.heap cimport OrderHeap, heap_push, heap_take
from engine.matching.levels cimport NO_BEST
from engine.matching.orders cimport (
    BIT_ASK,
    BIT_GTD,
    BIT_ICEBERG,
    BIT_POST_ONLY,
    BIT_SLIDE,
    BIT_WAITING,
    SHIFT_POLICY,
    SHIFT_TYPE,
    ColdPart,
    MatchOrder,
    order_new,
)
from engine.matching.records cimport MATCH_TRIGGERED, ORDER_STOP


cdef bint stops_reached(const Matcher* m, uint32_t bits, int64_t stop_px) noexcept nogil:
    if not m.has_last:
        return False
    return m.last_px <= stop_px if bits & BIT_ASK else m.last_px >= stop_px


cdef void stops_wait(Matcher* m, Taker* t, int64_t stop_px) noexcept nogil:
    cdef MatchOrder* order
    cdef ColdPart* cold
    t.handle = order_new(&m.orders, t.order_id)
    order = m.orders.at + t.handle
    cold = m.orders.cold + t.handle
    m.owners[t.owner].live += 1
    m.entries += 1
    order.qty = t.leaves
    order.owner = t.owner
    order.bits = t.bits | BIT_WAITING
    order.level = 0
    cold.entry = m.entries
    cold.expire_ts = t.expire_ts
    cold.px = <int>t.px
    cold.stop_px = <int>stop_px
    cold.hidden = 0
    cold.display = t.display
    if t.bits & BIT_ICEBERG:
        m.n_special += 1
    if t.bits & BIT_GTD:
        heap_push(&m.expiries, t.expire_ts, cold.entry, t.handle)
    if t.bits & BIT_ASK:
        heap_push(&m.stops[1], -stop_px, cold.entry, t.handle)
    else:
        heap_push(&m.stops[0], stop_px, cold.entry, t.handle)


cdef void stops_load(const Matcher* m, uint32_t handle, Taker* t) noexcept nogil:
    cdef const MatchOrder* order = m.orders.at + handle
    memset(t, 0, sizeof(Taker))
    t.order_id = order.id
    t.handle = handle
    t.owner = order.owner
    t.leaves = order.qty
    t.bits = order.bits & ~<uint32_t>BIT_WAITING
    t.policy = (order.bits >> SHIFT_POLICY) & 7
    t.px = m.orders.cold[handle].px
    t.display = m.orders.cold[handle].display
    t.expire_ts = m.orders.cold[handle].expire_ts


cdef void stops_activate(Matcher* m, Taker* t) noexcept nogil:
    cdef int64_t best = arrival_opposite(m, t.bits).best
    cdef int64_t slid
    book_answer(m, MATCH_TRIGGERED, t.order_id, t.px, t.leaves, t.owner, t.bits, 0)
    if (t.bits >> SHIFT_TYPE) & 3 == ORDER_STOP:
        if best == NO_BEST:
            t.reason = REASON_NO_LIQUIDITY
        else:
            arrival_market(m, t)
    else:
        t.reach = arrival_reach(t.px, t.bits)
        if t.bits & (BIT_POST_ONLY | BIT_SLIDE) and best >= t.reach:
            slid = arrival_behind(best, t.bits)
            if t.bits & BIT_SLIDE and m.band_low <= slid <= m.band_high:
                t.px = slid
                t.reach = arrival_reach(slid, t.bits)
            else:
                t.reason = REASON_POST_ONLY_CROSSED
    if t.reason == 0:
        arrival_take(m, t)
    arrival_settle(m, t)


# Takes what prices from low to high trigger out of the heaps into the queue from `n` on, by entry.
cdef uint32_t _collect(Matcher* m, int64_t low, int64_t high, uint32_t n) noexcept nogil:
    cdef OrderHeap* heap
    cdef uint32_t count = 0, handle
    cdef int64_t bound
    cdef int i
    for i in range(2):
        heap = &m.stops[i]
        bound = -low if i else high
        while heap.n and heap.items[1].key <= bound:
            handle = heap.items[1].handle
            m.scratch[count].key = heap.items[1].entry
            m.scratch[count].value = handle
            count += 1
            heap_take(heap, 1)
            m.orders.at[handle].bits &= ~<uint32_t>BIT_WAITING
    scratch_build(m.scratch, count)
    while count:
        m.triggered[n] = <uint32_t>scratch_pop(m.scratch, count).value
        count -= 1
        n += 1
    return n


cdef void stops_run(Matcher* m, int64_t low, int64_t high) noexcept nogil:
    cdef uint32_t first = 0
    cdef uint32_t last = _collect(m, low, high, 0)
    cdef Taker t
    while first < last:
        stops_load(m, m.triggered[first], &t)
        first += 1
        stops_activate(m, &t)
        if t.exec_qty and m.stops[0].n + m.stops[1].n:
            last = _collect(m, min(t.first_px, m.last_px), max(t.first_px, m.last_px), last)


cdef uint32_t stops_gather(Matcher* m) noexcept nogil:
    cdef uint32_t count = 0, at
    cdef int i
    for i in range(2):
        for at in range(1, m.stops[i].n + 1):
            m.scratch[count].key = m.stops[i].items[at].entry
            m.scratch[count].value = m.stops[i].items[at].handle
            count += 1
    scratch_build(m.scratch, count)
    return count
