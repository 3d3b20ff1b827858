"""The state hash and the invariants of a matcher; state.pxd says what they are for."""

from libc.stdint cimport int64_t, uint32_t

from engine.core.codes cimport ERR_INVARIANT, OK
from engine.matching.book cimport scratch_pop
from engine.matching.heap cimport heap_check
from engine.matching.levels cimport NO_BEST, Level, side_below, side_check
from engine.matching.orders cimport (
    BIT_ASK,
    BIT_GTD,
    BIT_ICEBERG,
    BIT_REDUCE_ONLY,
    BIT_WAITING,
    BITS_FLAGS,
    SHIFT_LIFE,
    SHIFT_POLICY,
    SHIFT_TYPE,
    MatchOrder,
    orders_check,
)
from engine.matching.records cimport ALLOC_PRO_RATA, PHASE_AUCTION
from engine.matching.stops cimport stops_gather


# --- the hash -----------------------------------------------------------------------------------------

cdef inline void _word(uint64_t* hashed, uint64_t word) noexcept nogil:
    cdef uint64_t h = (hashed[0] ^ word) * <uint64_t>0x9E3779B97F4A7C15
    hashed[0] = h ^ (h >> 32)


cdef inline void _form(uint64_t* hashed, const Matcher* m, uint32_t handle) noexcept nogil:
    cdef uint32_t bits = m.orders.at[handle].bits
    _word(hashed, m.orders.cold[handle].display if bits & BIT_ICEBERG else 0)
    _word(hashed, (bits >> SHIFT_LIFE) & 7)
    _word(hashed, bits & BITS_FLAGS)
    _word(hashed, (bits >> SHIFT_POLICY) & 7)
    _word(hashed, <uint64_t>m.orders.cold[handle].expire_ts if bits & BIT_GTD else 0)


cdef void _hash_side(uint64_t* hashed, const Matcher* m, int side) noexcept nogil:
    cdef uint32_t name = m.sides[side].best_level
    cdef uint32_t handle
    cdef const Level* level
    cdef const MatchOrder* order
    while name != 0:
        level = m.levels + name
        handle = level.head
        while handle != 0:
            order = m.orders.at + handle
            _word(hashed, order.id)
            _word(hashed, order.owner)
            _word(hashed, <uint64_t><int64_t>level.px)
            _word(hashed, order.qty)
            _word(hashed, m.orders.cold[handle].hidden if order.bits & BIT_ICEBERG else 0)
            _form(hashed, m, handle)
            _word(hashed, m.allocation == ALLOC_PRO_RATA and level.top == handle)
            handle = order.next
        name = side_below(&m.sides[side], level.px ^ m.sides[side].mirror)


cdef void _hash_stops(uint64_t* hashed, Matcher* m) noexcept nogil:
    cdef uint32_t n = stops_gather(m)
    cdef uint32_t handle
    cdef const MatchOrder* order
    while n:
        handle = <uint32_t>scratch_pop(m.scratch, n).value
        n -= 1
        order = m.orders.at + handle
        _word(hashed, order.id)
        _word(hashed, order.owner)
        _word(hashed, <uint64_t>(<int64_t>-1 if order.bits & BIT_ASK else <int64_t>1))
        _word(hashed, (order.bits >> SHIFT_TYPE) & 3)
        _word(hashed, <uint64_t><int64_t>m.orders.cold[handle].stop_px)
        _word(hashed, <uint64_t><int64_t>m.orders.cold[handle].px)
        _word(hashed, order.qty)
        _form(hashed, m, handle)


cdef uint64_t matcher_hash(Matcher* matcher) noexcept nogil:
    cdef uint64_t hashed = <uint64_t>0xCBF29CE484222325
    cdef uint32_t owner
    _word(&hashed, <uint64_t>matcher.clock)
    _word(&hashed, matcher.phase)
    _word(&hashed, <uint64_t>matcher.last_px)
    _word(&hashed, matcher.has_last)
    _word(&hashed, <uint64_t>matcher.band_low)
    _word(&hashed, <uint64_t>matcher.band_high)
    _word(&hashed, matcher.seq)
    _hash_side(&hashed, matcher, 0)
    _hash_side(&hashed, matcher, 1)
    _hash_stops(&hashed, matcher)
    for owner in range(1, matcher.config.max_owners + 1):
        if matcher.owners[owner].position:
            _word(&hashed, owner)
            _word(&hashed, <uint64_t>matcher.owners[owner].position)
    return hashed


# --- invariants ---------------------------------------------------------------------------------------

# One queue: its links, its orders, its totals. Adds its special and its GTD orders to the counts.
cdef int _check_level(const Matcher* m, int side, uint32_t name, uint64_t* special, uint64_t* dated) noexcept nogil:
    cdef const Level* level = m.levels + name
    cdef const MatchOrder* order
    cdef uint32_t handle = level.head, last = 0, count = 0
    cdef int64_t shown = 0
    cdef bint has_top = level.top == 0
    while handle != 0:
        order = m.orders.at + handle
        if order.level != name or order.prev != last or order.id == 0 or order.qty == 0:
            return ERR_INVARIANT
        if (order.bits & BIT_ASK != 0) != side or order.bits & BIT_WAITING:
            return ERR_INVARIANT
        if order.bits & BIT_ICEBERG and order.qty > m.orders.cold[handle].display:
            return ERR_INVARIANT
        special[0] += order.bits & (BIT_ICEBERG | BIT_REDUCE_ONLY) != 0
        dated[0] += order.bits & BIT_GTD != 0
        has_top |= level.top == handle
        shown += order.qty
        count += 1
        if count > level.count:
            return ERR_INVARIANT
        last = handle
        handle = order.next
    if count == 0 or count != level.count or shown != level.shown or last != level.tail or not has_top:
        return ERR_INVARIANT
    return OK


cdef int _check_stops(const Matcher* m, uint64_t* special, uint64_t* dated) noexcept nogil:
    cdef uint32_t at, handle
    cdef int64_t key
    cdef int i
    for i in range(2):
        if heap_check(&m.stops[i]) != OK:
            return ERR_INVARIANT
        for at in range(1, m.stops[i].n + 1):
            handle = m.stops[i].items[at].handle
            key = m.orders.cold[handle].stop_px
            if not m.orders.at[handle].bits & BIT_WAITING or m.orders.at[handle].level != 0:
                return ERR_INVARIANT
            if m.stops[i].items[at].key != (-key if i else key):
                return ERR_INVARIANT
            special[0] += m.orders.at[handle].bits & BIT_ICEBERG != 0
            dated[0] += m.orders.at[handle].bits & BIT_GTD != 0
    return OK


cdef int matcher_check(Matcher* matcher) noexcept nogil:
    cdef uint64_t live = matcher.stops[0].n + matcher.stops[1].n
    cdef uint64_t special = 0, dated = 0, owned = 0, n_levels
    cdef int64_t position = 0
    cdef uint32_t name, owner
    cdef int i
    if orders_check(&matcher.orders) != OK or heap_check(&matcher.expiries) != OK:
        return ERR_INVARIANT
    if _check_stops(matcher, &special, &dated) != OK:
        return ERR_INVARIANT
    for i in range(2):
        if side_check(&matcher.sides[i]) != OK:
            return ERR_INVARIANT
        n_levels = 0
        name = matcher.sides[i].best_level
        while name != 0:
            if _check_level(matcher, i, name, &special, &dated) != OK:
                return ERR_INVARIANT
            live += matcher.levels[name].count
            n_levels += 1
            name = side_below(&matcher.sides[i], matcher.levels[name].px ^ matcher.sides[i].mirror)
        if n_levels != matcher.sides[i].n_levels:
            return ERR_INVARIANT
    for owner in range(1, matcher.config.max_owners + 1):
        position += matcher.owners[owner].position
        owned += matcher.owners[owner].live
    if live != matcher.orders.used or owned != live or position != 0 or matcher.n_touched != 0:
        return ERR_INVARIANT
    if special != matcher.n_special or dated != matcher.expiries.n:
        return ERR_INVARIANT
    if matcher.phase != PHASE_AUCTION and matcher.sides[0].best != NO_BEST:
        if matcher.sides[1].best >= ~matcher.sides[0].best:
            return ERR_INVARIANT
    return OK
