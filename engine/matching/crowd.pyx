"""The out-of-line half of the crowd's orders; crowd.pxd says how they are kept."""

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free

from engine.core.codes cimport ERR_BAD_SIZE, ERR_INVARIANT, ERR_NO_MEMORY, OK


cdef int crowd_init(Crowd* crowd, uint32_t capacity, uint32_t zones) noexcept nogil:
    cdef uint32_t i
    if not (0 < capacity <= 1 << CROWD_SLOT_BITS and 0 < zones <= CROWD_ZONES):
        return ERR_BAD_SIZE
    crowd.capacity = capacity
    crowd.zones = zones
    crowd.orders = <CrowdOrder*>calloc(capacity, sizeof(CrowdOrder))
    crowd.listed = <uint32_t*>calloc(<uint64_t>zones * capacity, sizeof(uint32_t))
    crowd.free = <uint32_t*>calloc(capacity, sizeof(uint32_t))
    if crowd.orders == NULL or crowd.listed == NULL or crowd.free == NULL:
        crowd_free(crowd)
        return ERR_NO_MEMORY
    crowd.n_free = capacity
    for i in range(capacity):
        crowd.free[i] = capacity - 1 - i
    return OK


cdef void crowd_free(Crowd* crowd) noexcept nogil:
    free(crowd.orders)
    free(crowd.listed)
    free(crowd.free)
    crowd.orders = NULL
    crowd.listed = NULL
    crowd.free = NULL


cdef int crowd_check(const Crowd* crowd) noexcept nogil:
    cdef int64_t leaving = 0
    cdef uint64_t listed = 0
    cdef uint64_t live = 0
    cdef uint64_t crowded = 0
    cdef uint32_t zone, i, slot
    for zone in range(crowd.zones):
        leaving += crowd.count[zone] * crowd.rate[zone]
        listed += crowd.count[zone]
        for i in range(crowd.count[zone]):
            slot = crowd.listed[<uint64_t>zone * crowd.capacity + i]
            if slot >= crowd.capacity or not crowd.orders[slot].live:
                return ERR_INVARIANT
            if crowd.orders[slot].zone != zone or crowd.orders[slot].place != i:
                return ERR_INVARIANT
    for slot in range(crowd.capacity):
        if crowd.orders[slot].live:
            live += 1
            crowded += crowd.orders[slot].zone != CROWD_NOBODY
    if leaving != crowd.leaving or listed != crowded or live + crowd.n_free != crowd.capacity:
        return ERR_INVARIANT
    return OK
