"""A matcher's orders: one table that is the slab and the index from id to handle, and what is rarely needed.

What it is
    An order is 32 bytes, two to a cache line, reached by a u32 handle (0: none): its place in a table with twice
    as many places as orders or more. The place is where its id hashes to, so that to find an order is to read it;
    an order never moves. Four ids in a row have four places in a row, so the ids an exchange gives one after
    another cost a miss for two, while blocks of four scatter: ids counted up from several starts do not pile up.
    An order whose place is taken (a stray) goes to one nearby, and its own place counts it. Icebergs, GTD orders and
    stops have a `ColdPart` under the same handle in a second array, which plain orders never touch.

What it costs
    Find, new and release: a multiplication and mostly one line, that of the order. Strays are about as many
    as the table is full, a fifth, and cost a line or two more. There are no tombstones and nothing shifts, so churn
    changes nothing. Nothing is allocated after orders_init.

The bad case
    Ids made to collide, as in any hash without a secret: a scan, never a wrong answer. A place that 255 ids had to
    leave at once looks as far as any order ever went, for good.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t


cdef extern from *:
    """
    #define match_likely(x) __builtin_expect(!!(x), 1)
    #define match_rare(x) __builtin_expect(!!(x), 0)
    // The empty statement keeps gcc from taking a function that only fetches for one that does nothing.
    #define match_fetch(pointer) ({ __builtin_prefetch(pointer); __asm__ volatile(""); })
    """
    bint match_likely(bint x) noexcept nogil
    bint match_rare(bint x) noexcept nogil
    void match_fetch(const void* pointer) noexcept nogil


# MatchOrder.bits: flags as in the command in bits 0 to 2, then the life, the self-trade policy, the type.
cdef enum OrderBits:
    BIT_POST_ONLY = 1
    BIT_SLIDE = 2
    BIT_REDUCE_ONLY = 4
    BITS_FLAGS = 7
    SHIFT_LIFE = 3
    SHIFT_POLICY = 6
    SHIFT_TYPE = 9
    BIT_ASK = 1 << 11
    BIT_ICEBERG = 1 << 12
    BIT_GTD = 1 << 13
    BIT_WAITING = 1 << 14        # a stop that has not become active
    BITS_COLD = BIT_ICEBERG | BIT_GTD | BIT_WAITING


cdef struct MatchOrder:
    uint64_t id                  # 0 when free
    uint32_t qty                 # lots shown; all that is open of a waiting stop
    uint32_t next                # in the level's queue
    uint32_t prev
    uint32_t level               # 0: not in the book
    uint32_t owner
    uint16_t bits
    uint8_t strays               # of the place, free or not: ids that belong here and are elsewhere; 255 stays
    uint8_t _pad


cdef struct ColdPart:
    uint64_t entry
    int64_t expire_ts
    int32_t px                   # of a waiting stop-limit
    int32_t stop_px
    uint32_t hidden
    uint32_t display
    uint32_t expiry_at           # place in the heap of expiries, from 1
    uint32_t stop_at             # place in its side's heap of stops, from 1


cdef enum:
    MANY_STRAYS = 255
    ORDERS_BASE = 8              # the first place: place 0 is nobody's


cdef struct Orders:
    MatchOrder* at               # [places + ORDERS_BASE]
    ColdPart* cold               # [places + ORDERS_BASE]
    uint32_t shift               # 64 - log2(places / 4)
    uint32_t used
    uint32_t capacity
    uint32_t places
    uint32_t furthest            # steps that any order had to go from where it belonged


cdef int orders_init(Orders* orders, uint32_t capacity) noexcept nogil
cdef void orders_free(Orders* orders) noexcept nogil
cdef int orders_check(const Orders* orders) noexcept nogil
# Zeroed memory on huge pages where the machine has them; free() takes it back. NULL without memory.
cdef void* match_memory(uint64_t size) noexcept nogil

# The parts of find, new and release for strays.
cdef uint32_t order_find_stray(const Orders* orders, uint64_t order_id) noexcept nogil
cdef uint32_t order_new_stray(Orders* orders, uint64_t order_id) noexcept nogil
cdef uint32_t order_claim_stray(Orders* orders, uint64_t order_id) noexcept nogil


# Where an id belongs.
cdef inline uint32_t order_home(const Orders* orders, uint64_t order_id) noexcept nogil:
    cdef uint64_t x = order_id >> 2
    x = (x ^ (x >> 32)) * <uint64_t>0x9E3779B97F4A7C15
    return <uint32_t>(((x >> orders.shift) << 2) | (order_id & 3)) + ORDERS_BASE


# The handle of a live order, or 0.
cdef inline uint32_t order_find(const Orders* orders, uint64_t order_id) noexcept nogil:
    cdef uint32_t home = order_home(orders, order_id)
    if match_likely(orders.at[home].id == order_id):
        return home
    return 0 if match_likely(orders.at[home].strays == 0) else order_find_stray(orders, order_id)


# Takes a handle for an id that is not live; the caller has seen that there is room.
cdef inline uint32_t order_new(Orders* orders, uint64_t order_id) noexcept nogil:
    cdef uint32_t home = order_home(orders, order_id)
    orders.used += 1
    if match_rare(orders.at[home].id != 0):
        return order_new_stray(orders, order_id)
    orders.at[home].id = order_id
    return home


# Find and new at once: a handle for an id, or 0 when that is live.
cdef inline uint32_t order_claim(Orders* orders, uint64_t order_id) noexcept nogil:
    cdef uint32_t home = order_home(orders, order_id)
    if match_rare(orders.at[home].id != 0 or orders.at[home].strays != 0):
        return order_claim_stray(orders, order_id)
    orders.at[home].id = order_id
    orders.used += 1
    return home


cdef inline void order_release(Orders* orders, uint32_t handle) noexcept nogil:
    cdef uint32_t home = order_home(orders, orders.at[handle].id)
    orders.at[handle].id = 0
    orders.used -= 1
    if match_rare(home != handle):
        orders.at[home].strays -= orders.at[home].strays != MANY_STRAYS
