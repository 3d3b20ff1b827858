"""Making, freeing and checking a matcher's table of orders, and its strays; orders.pxd says how it is built."""

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
    LEAST_BITS = 6               # of places


cdef void* match_memory(uint64_t size) noexcept nogil:
    return match_zeroed(size)


cdef int orders_init(Orders* orders, uint32_t capacity) noexcept nogil:
    cdef uint32_t bits = LEAST_BITS
    cdef uint64_t room
    if capacity == 0 or capacity > MOST_ORDERS:
        return ERR_BAD_SIZE
    while <uint64_t>1 << bits < <uint64_t>capacity * 2:
        bits += 1
    orders.places = <uint32_t>1 << bits
    orders.shift = 64 - (bits - 2)
    orders.capacity = capacity
    orders.used = 0
    orders.furthest = 0
    room = <uint64_t>orders.places + ORDERS_BASE
    orders.at = <MatchOrder*>match_memory(room * sizeof(MatchOrder))
    # Pages of it that no special order comes to are never there.
    orders.cold = <ColdPart*>calloc(room, sizeof(ColdPart))
    return OK if orders.at != NULL and orders.cold != NULL else ERR_NO_MEMORY


cdef void orders_free(Orders* orders) noexcept nogil:
    free(orders.at)
    free(orders.cold)


# --- strays ---------------------------------------------------------------------------------------------

# The place to look at in the n-th step away from a home: the others of its eight, then the eights that follow.
cdef inline uint32_t _place(const Orders* orders, uint32_t home, uint32_t n) noexcept nogil:
    return (((home - ORDERS_BASE + (n & ~<uint32_t>7)) ^ (n & 7)) & (orders.places - 1)) + ORDERS_BASE


# A place knows how many strays it has (if not too many), so the search ends when it has seen them all.
cdef uint32_t order_find_stray(const Orders* orders, uint64_t order_id) noexcept nogil:
    cdef uint32_t home = order_home(orders, order_id)
    cdef uint32_t left = orders.at[home].strays
    cdef bint counts = left != MANY_STRAYS
    cdef uint32_t n, handle
    for n in range(1, orders.furthest + 1):
        handle = _place(orders, home, n)
        if orders.at[handle].id == order_id:
            return handle
        if counts and orders.at[handle].id != 0 and order_home(orders, orders.at[handle].id) == home:
            left -= 1
            if left == 0:
                return 0
    return 0


cdef uint32_t order_new_stray(Orders* orders, uint64_t order_id) noexcept nogil:
    cdef uint32_t home = order_home(orders, order_id)
    cdef uint32_t n = 1
    while orders.at[_place(orders, home, n)].id != 0:
        n += 1
    orders.furthest = max(orders.furthest, n)
    orders.at[home].strays += orders.at[home].strays != MANY_STRAYS
    orders.at[_place(orders, home, n)].id = order_id
    return _place(orders, home, n)


cdef uint32_t order_claim_stray(Orders* orders, uint64_t order_id) noexcept nogil:
    return 0 if order_find(orders, order_id) else order_new(orders, order_id)


# Every live order is found where it is, they are as many as were given out, and places count their strays.
cdef int orders_check(const Orders* orders) noexcept nogil:
    cdef uint64_t live = 0, strays = 0, counted = 0
    cdef bint many = False
    cdef uint32_t handle
    for handle in range(ORDERS_BASE, orders.places + ORDERS_BASE):
        counted += orders.at[handle].strays
        many |= orders.at[handle].strays == MANY_STRAYS
        if orders.at[handle].id == 0:
            continue
        live += 1
        strays += order_home(orders, orders.at[handle].id) != handle
        if order_find(orders, orders.at[handle].id) != handle:
            return ERR_INVARIANT
    if orders.at[0].id != 0 or live != orders.used or live > orders.capacity:
        return ERR_INVARIANT
    return OK if many or strays == counted else ERR_INVARIANT
