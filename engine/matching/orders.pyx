"""Making, freeing and checking a matcher's slab of orders and its index; orders.pxd says how it is built."""

from libc.stdlib cimport calloc, free

from engine.core.codes cimport ERR_BAD_SIZE, ERR_INVARIANT, ERR_NO_MEMORY, OK


cdef extern from *:
    """
    #include <stdlib.h>
    #include <string.h>
    #ifdef __linux__
    #include <sys/mman.h>
    #endif
    static void *match_zeroed(size_t size) {
        const size_t huge = (size_t)2 << 20;
        void *memory = NULL;
        if (size < huge)
            return calloc(1, size);
        if (posix_memalign(&memory, huge, (size + huge - 1) & ~(huge - 1)) != 0)
            return NULL;
    #ifdef MADV_HUGEPAGE
        madvise(memory, (size + huge - 1) & ~(huge - 1), MADV_HUGEPAGE);
    #endif
        memset(memory, 0, size);
        return memory;
    }
    """
    void* match_zeroed(size_t size) noexcept nogil


cdef enum:
    MOST_ORDERS = 1 << 28
    MANY_STRAYS = 255
    NO_SLOT = 0xffffffffffffffff


cdef void* match_memory(uint64_t size) noexcept nogil:
    return match_zeroed(size)


cdef int orders_init(Orders* orders, uint32_t capacity) noexcept nogil:
    cdef uint64_t slots = 64
    cdef uint32_t handle
    if capacity == 0 or capacity > MOST_ORDERS:
        return ERR_BAD_SIZE
    while slots < <uint64_t>capacity * 2:
        slots *= 2
    orders.capacity = capacity
    orders.mask = slots - 1
    orders.at = <MatchOrder*>match_memory((<uint64_t>capacity + 1) * sizeof(MatchOrder))
    # Pages of it that no special order comes to are never there.
    orders.cold = <ColdPart*>calloc(<size_t>capacity + 1, sizeof(ColdPart))
    orders.slots = <uint64_t*>match_memory(slots * sizeof(uint64_t))
    orders.strays = <uint8_t*>match_memory(slots >> 3)
    if orders.at == NULL or orders.cold == NULL or orders.slots == NULL or orders.strays == NULL:
        return ERR_NO_MEMORY
    for handle in range(1, capacity):
        orders.at[handle].next = handle + 1
    orders.free = 1
    orders.used = 0
    return OK


cdef void orders_free(Orders* orders) noexcept nogil:
    free(orders.at)
    free(orders.cold)
    free(orders.slots)
    free(orders.strays)


# --- ids that are not in their own slot ---------------------------------------------------------------

# The slot of a stray: by its handle if that is not 0, else by its id; NO_SLOT when it is nowhere. A home knows how
# many strays it has (if not too many), so the search ends when it has seen them all.
cdef uint64_t _stray(const Orders* orders, uint32_t tag, uint32_t handle, uint64_t order_id) noexcept nogil:
    cdef uint64_t bucket = (tag & orders.mask) >> 3
    cdef uint64_t buckets = (orders.mask + 1) >> 3
    cdef uint32_t left = orders.strays[bucket]
    cdef bint count = left != MANY_STRAYS
    cdef uint64_t at, slot, step, i
    for step in range(1, buckets):
        at = ((bucket + step) & (buckets - 1)) << 3
        for i in range(at, at + 8):
            slot = orders.slots[i]
            if slot == 0 or ((slot >> 32) & orders.mask) >> 3 != bucket:
                continue
            if <uint32_t>slot == handle or (handle == 0 and order_is(orders, slot, tag, order_id)):
                return i
            left -= count
            if left == 0:
                return NO_SLOT
    return NO_SLOT


cdef uint32_t order_find_stray(const Orders* orders, uint64_t order_id) noexcept nogil:
    cdef uint64_t at = _stray(orders, order_tag(order_id), 0, order_id)
    return 0 if at == NO_SLOT else <uint32_t>orders.slots[at]


cdef void order_new_elsewhere(Orders* orders, uint32_t handle, uint32_t tag) noexcept nogil:
    cdef uint64_t at = tag & orders.mask & ~(<uint64_t>7)
    cdef uint64_t home = at
    cdef uint64_t i
    while True:
        for i in range(at, at + 8):
            if orders.slots[i] == 0:
                orders.slots[i] = (<uint64_t>tag << 32) | handle
                orders.strays[home >> 3] += at != home and orders.strays[home >> 3] != MANY_STRAYS
                return
        at = (at + 8) & orders.mask


cdef void order_release_elsewhere(Orders* orders, uint32_t handle, uint32_t tag) noexcept nogil:
    cdef uint64_t home = tag & orders.mask & ~(<uint64_t>7)
    cdef uint64_t i
    for i in range(home, home + 8):
        if orders.slots[i] == ((<uint64_t>tag << 32) | handle):
            orders.slots[i] = 0
            return
    orders.slots[_stray(orders, tag, handle, 0)] = 0
    orders.strays[home >> 3] -= orders.strays[home >> 3] != MANY_STRAYS


# Every used slot names a live order that a search reaches, and they are as many as the slab gave out.
cdef int orders_check(const Orders* orders) noexcept nogil:
    cdef uint64_t i
    cdef uint32_t handle, count = 0, loose = 0
    for i in range(orders.mask + 1):
        if orders.slots[i] == 0:
            continue
        handle = <uint32_t>orders.slots[i]
        count += 1
        if handle > orders.capacity or orders.at[handle].id == 0:
            return ERR_INVARIANT
        if order_find(orders, orders.at[handle].id) != handle:
            return ERR_INVARIANT
    handle = orders.free
    while handle != 0:
        loose += 1
        if handle > orders.capacity or orders.at[handle].id != 0 or loose > orders.capacity:
            return ERR_INVARIANT
        handle = orders.at[handle].next
    return OK if count == orders.used and count + loose == orders.capacity else ERR_INVARIANT
