"""The live orders of a market's agents: a slab of slots, and the crowd's slots listed by zone of distance.

What it is
    An order of 20 bytes a slot. Ids lead to slots without a map: the low 20 bits are the slot, the rest how
    often it was used, so an id is never given twice. The crowd's orders are listed in the zone of their
    distance from the best; a zone knows how many it has and at which rate one of them is cancelled, in whole
    units of 2**-20 a second, so that the sum of all rates is exact however long it runs.

What it costs
    Put, take out and move: a few stores and one swap in a list. Choosing whom to cancel: a look at each zone.
    Nothing is allocated after crowd_init.

Who moves with the market changes zone only when chosen: then the zone is looked at again.
"""

from libc.stdint cimport int8_t, int32_t, int64_t, uint8_t, uint32_t, uint64_t


cdef enum:
    CROWD_ZONES = 32
    CROWD_SLOT_BITS = 20
    CROWD_REACH = 4096           # laws.MAX_REACH
    CROWD_NOBODY = 255           # the zone of an order that is not the crowd's


cdef struct CrowdOrder:
    int32_t px
    uint32_t place               # in its zone's list
    uint32_t uses
    uint32_t lots                # still open
    int8_t side
    uint8_t zone
    uint8_t live
    uint8_t who                  # the trader, of an order that is not the crowd's


cdef struct Crowd:
    CrowdOrder* orders           # [capacity]
    uint32_t* listed             # [zones][capacity]
    uint32_t* free               # [capacity]
    uint32_t n_free
    uint32_t capacity
    uint32_t zones
    uint32_t count[CROWD_ZONES]
    int64_t rate[CROWD_ZONES]    # of one order's cancellation
    int64_t leaving              # sum of count * rate
    uint8_t zone_at[CROWD_REACH] # by distance


cdef int crowd_init(Crowd* crowd, uint32_t capacity, uint32_t zones) noexcept nogil
cdef void crowd_free(Crowd* crowd) noexcept nogil
cdef int crowd_check(const Crowd* crowd) noexcept nogil


cdef inline uint8_t crowd_zone(const Crowd* crowd, int64_t distance) noexcept nogil:
    return crowd.zone_at[min(max(distance, 0), CROWD_REACH - 1)]


cdef inline uint64_t crowd_id(const Crowd* crowd, uint32_t slot) noexcept nogil:
    return (<uint64_t>crowd.orders[slot].uses << CROWD_SLOT_BITS) | slot


# The slot of an id, or the capacity when it is of no live order.
cdef inline uint32_t crowd_slot(const Crowd* crowd, uint64_t order_id) noexcept nogil:
    cdef uint32_t slot = <uint32_t>order_id & ((1 << CROWD_SLOT_BITS) - 1)
    if slot < crowd.capacity and crowd.orders[slot].live and crowd_id(crowd, slot) == order_id:
        return slot
    return crowd.capacity


cdef inline void crowd_list(Crowd* crowd, uint32_t slot, uint8_t zone) noexcept nogil:
    cdef uint32_t n = crowd.count[zone]
    crowd.orders[slot].zone = zone
    crowd.orders[slot].place = n
    crowd.listed[<uint64_t>zone * crowd.capacity + n] = slot
    crowd.count[zone] = n + 1
    crowd.leaving += crowd.rate[zone]


cdef inline void crowd_unlist(Crowd* crowd, uint32_t slot) noexcept nogil:
    cdef uint8_t zone = crowd.orders[slot].zone
    cdef uint32_t n = crowd.count[zone] - 1
    cdef uint32_t* listed = crowd.listed + <uint64_t>zone * crowd.capacity
    cdef uint32_t last = listed[n]
    listed[crowd.orders[slot].place] = last
    crowd.orders[last].place = crowd.orders[slot].place
    crowd.count[zone] = n
    crowd.leaving -= crowd.rate[zone]


# A slot for a new order; there has to be one. zone: CROWD_NOBODY for a trader's.
cdef inline uint32_t crowd_put(
    Crowd* crowd, int side, int64_t px, int64_t lots, uint8_t zone, uint8_t who
) noexcept nogil:
    cdef uint32_t slot
    cdef CrowdOrder* order
    crowd.n_free -= 1
    slot = crowd.free[crowd.n_free]
    order = crowd.orders + slot
    order.px = <int32_t>px
    order.uses += 1
    order.lots = <uint32_t>lots
    order.side = <int8_t>side
    order.live = 1
    order.who = who
    order.zone = CROWD_NOBODY
    if zone != CROWD_NOBODY:
        crowd_list(crowd, slot, zone)
    return slot


cdef inline void crowd_drop(Crowd* crowd, uint32_t slot) noexcept nogil:
    if crowd.orders[slot].zone != CROWD_NOBODY:
        crowd_unlist(crowd, slot)
    crowd.orders[slot].live = 0
    crowd.free[crowd.n_free] = slot
    crowd.n_free += 1


# Whose turn it is to be cancelled, `pick` being uniform in [0, leaving).
cdef inline uint32_t crowd_choose(const Crowd* crowd, int64_t pick) noexcept nogil:
    cdef uint32_t zone = crowd.zones
    cdef int64_t weight
    while zone:
        zone -= 1
        weight = crowd.count[zone] * crowd.rate[zone]
        if pick < weight:
            return crowd.listed[<uint64_t>zone * crowd.capacity + <uint32_t>(pick / crowd.rate[zone])]
        pick -= weight
    return crowd.capacity
