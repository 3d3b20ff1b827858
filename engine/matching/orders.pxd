"""A matcher's orders: the slab, what is rarely needed beside it, and the index from id to handle.

What it is
    An order is 32 bytes, two to a cache line, reached by a u32 handle (0: none). Icebergs, GTD orders and
    stops have a `ColdPart` under the same handle in a second array, which plain orders never touch. The
    index is a table of buckets, each a cache line of eight slots of a 32-bit tag and the handle; the tag's
    low bits name its home. Four ids in a row have one bucket and a slot of it each, so the ids an exchange
    gives one after another cost one miss in four, while blocks of four scatter: ids counted up from several
    starts do not pile up. What finds its bucket full goes to the next one with room, and its home counts it.

What it costs
    Find: a multiplication, mostly one slot (to know that an id is not there: eight, without a branch), and the
    order's own line to compare the whole id. Remove: that and a store; nothing shifts and there are no
    tombstones, so churn changes nothing. Nothing is allocated after orders_init.

The bad case
    Ids made to collide, as in any hash without a secret: a scan, never a wrong answer. A home that 255 ids had
    to leave at once looks further for good.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t


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
    uint32_t next                # in the level's queue, or in the list of free ones
    uint32_t prev
    uint32_t level               # 0: not in the book
    uint32_t owner
    uint32_t bits


cdef struct ColdPart:
    uint64_t entry
    int64_t expire_ts
    int32_t px                   # of a waiting stop-limit
    int32_t stop_px
    uint32_t hidden
    uint32_t display
    uint32_t expiry_at           # place in the heap of expiries, from 1
    uint32_t stop_at             # place in its side's heap of stops, from 1


cdef struct Orders:
    MatchOrder* at               # [capacity + 1]
    ColdPart* cold               # [capacity + 1]
    uint64_t* slots              # tag << 32 | handle; 0: empty
    uint8_t* strays              # of each bucket: how many of its ids are elsewhere; 255 stays
    uint64_t mask                # slots - 1
    uint32_t free
    uint32_t used
    uint32_t capacity


cdef int orders_init(Orders* orders, uint32_t capacity) noexcept nogil
cdef void orders_free(Orders* orders) noexcept nogil
cdef int orders_check(const Orders* orders) noexcept nogil
# Zeroed memory on huge pages where the machine has them; free() takes it back. NULL without memory.
cdef void* match_memory(uint64_t size) noexcept nogil


cdef inline uint32_t order_tag(uint64_t order_id) noexcept nogil:
    cdef uint64_t x = order_id >> 2
    x ^= x >> 32
    x = (x * <uint64_t>0x9E3779B97F4A7C15) >> 32
    x ^= x >> 15
    return (<uint32_t>x & <uint32_t>0xFFFFFFFC) | <uint32_t>(order_id & 3)


# The parts of find, new and release for ids that are not in their own slot: in another of their bucket, or stray.
cdef uint32_t order_find_stray(const Orders* orders, uint64_t order_id) noexcept nogil
cdef void order_new_elsewhere(Orders* orders, uint32_t handle, uint32_t tag) noexcept nogil
cdef void order_release_elsewhere(Orders* orders, uint32_t handle, uint32_t tag) noexcept nogil


cdef inline bint order_is(const Orders* orders, uint64_t slot, uint32_t tag, uint64_t order_id) noexcept nogil:
    return <uint32_t>(slot >> 32) == tag and orders.at[<uint32_t>slot].id == order_id


# The handle of a live order, or 0.
cdef inline uint32_t order_find(const Orders* orders, uint64_t order_id) noexcept nogil:
    cdef uint32_t tag = order_tag(order_id)
    cdef uint64_t home = tag & orders.mask
    cdef uint64_t slot = orders.slots[home]
    cdef const uint64_t* bucket = orders.slots + (home & ~(<uint64_t>7))
    cdef uint64_t i
    cdef bint alike = False
    if match_likely(slot != 0 and order_is(orders, slot, tag, order_id)):
        return <uint32_t>slot
    for i in range(8):
        alike |= <uint32_t>(bucket[i] >> 32) == tag
    if match_rare(alike):
        for i in range(8):
            if bucket[i] != 0 and order_is(orders, bucket[i], tag, order_id):
                return <uint32_t>bucket[i]
    if match_likely(orders.strays[home >> 3] == 0):
        return 0
    return order_find_stray(orders, order_id)


# Takes a handle for an id that is not live; the caller has seen that there is room.
cdef inline uint32_t order_new(Orders* orders, uint64_t order_id) noexcept nogil:
    cdef uint32_t handle = orders.free
    cdef MatchOrder* order = orders.at + handle
    cdef uint32_t tag = order_tag(order_id)
    cdef uint64_t home = tag & orders.mask
    orders.free = order.next
    orders.used += 1
    order.id = order_id
    if match_likely(orders.slots[home] == 0):
        orders.slots[home] = (<uint64_t>tag << 32) | handle
    else:
        order_new_elsewhere(orders, handle, tag)
    return handle


cdef inline void order_release(Orders* orders, uint32_t handle) noexcept nogil:
    cdef MatchOrder* order = orders.at + handle
    cdef uint32_t tag = order_tag(order.id)
    cdef uint64_t home = tag & orders.mask
    if match_likely(orders.slots[home] == ((<uint64_t>tag << 32) | handle)):
        orders.slots[home] = 0
    else:
        order_release_elsewhere(orders, handle, tag)
    order.id = 0
    order.next = orders.free
    orders.free = handle
    orders.used -= 1


# What a command some places ahead will need: first its bucket, nearer to it its order, then the neighbours.
cdef inline void orders_fetch_slot(const Orders* orders, uint64_t order_id) noexcept nogil:
    match_fetch(orders.slots + (order_tag(order_id) & orders.mask))


# The handle that a tag leads to, right but for strays and one id in millions: enough to fetch by.
cdef inline uint32_t orders_guess(const Orders* orders, uint64_t order_id) noexcept nogil:
    cdef uint32_t tag = order_tag(order_id)
    cdef uint64_t home = tag & orders.mask
    cdef const uint64_t* bucket = orders.slots + (home & ~(<uint64_t>7))
    cdef uint64_t slot = orders.slots[home]
    cdef uint32_t found = 0
    cdef uint64_t i
    if match_likely(<uint32_t>(slot >> 32) == tag):
        return <uint32_t>slot
    for i in range(8):
        found = <uint32_t>bucket[i] if <uint32_t>(bucket[i] >> 32) == tag else found
    return found
