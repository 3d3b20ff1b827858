"""A matcher's orders: the slab, what is rarely needed beside it, and the index from id to handle.

What it is
    An order is 32 bytes, two to a cache line, reached by a u32 handle (0: none). Icebergs, GTD orders and
    stops have a `ColdPart` under the same handle in a second array, which plain orders never touch. The
    index is open addressing over 8-byte slots, a 32-bit tag and the handle; the tag's low bits are the home
    slot, so a deletion can shift its cluster back without a look at the orders. Eight ids in a row share a
    line of slots: the ids an exchange gives one after another cost one miss in eight, while blocks of eight
    scatter, so that ids counted up from several starts do not pile up.

What it costs
    Find: a multiplication, at half load mostly one line, and the order's own line to compare the whole id.
    Add and remove: that and a store or a shift of the cluster. Nothing is allocated after orders_init.

The bad case
    Ids made to collide, as in any hash without a secret: a scan, never a wrong answer.
"""

from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t


cdef extern from *:
    """
    #define match_likely(x) __builtin_expect(!!(x), 1)
    #define match_rare(x) __builtin_expect(!!(x), 0)
    #define match_fetch(pointer) __builtin_prefetch(pointer)
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
    uint64_t mask
    uint32_t free
    uint32_t used
    uint32_t capacity


cdef int orders_init(Orders* orders, uint32_t capacity) noexcept nogil
cdef void orders_free(Orders* orders) noexcept nogil
cdef int orders_check(const Orders* orders) noexcept nogil
# Zeroed memory on huge pages where the machine has them; free() takes it back. NULL without memory.
cdef void* match_memory(uint64_t size) noexcept nogil


cdef inline uint32_t order_tag(uint64_t order_id) noexcept nogil:
    cdef uint64_t x = order_id >> 3
    x ^= x >> 32
    x = (x * <uint64_t>0x9E3779B97F4A7C15) >> 32
    x ^= x >> 15
    return (<uint32_t>x & <uint32_t>0xFFFFFFF8) | <uint32_t>(order_id & 7)


# The handle of a live order, or 0.
cdef inline uint32_t order_find(const Orders* orders, uint64_t order_id) noexcept nogil:
    cdef uint32_t tag = order_tag(order_id)
    cdef uint64_t i = tag & orders.mask
    cdef uint64_t slot = orders.slots[i]
    while slot != 0:
        if <uint32_t>(slot >> 32) == tag and orders.at[<uint32_t>slot].id == order_id:
            return <uint32_t>slot
        i = (i + 1) & orders.mask
        slot = orders.slots[i]
    return 0


# Takes a handle for an id that is not live; the caller has seen that there is room.
cdef inline uint32_t order_new(Orders* orders, uint64_t order_id) noexcept nogil:
    cdef uint32_t handle = orders.free
    cdef MatchOrder* order = orders.at + handle
    cdef uint32_t tag = order_tag(order_id)
    cdef uint64_t i = tag & orders.mask
    while orders.slots[i] != 0:
        i = (i + 1) & orders.mask
    orders.slots[i] = (<uint64_t>tag << 32) | handle
    orders.free = order.next
    orders.used += 1
    order.id = order_id
    return handle


# Shifts back whatever probed past the hole, so that no tombstones gather.
cdef inline void order_release(Orders* orders, uint32_t handle) noexcept nogil:
    cdef MatchOrder* order = orders.at + handle
    cdef uint32_t tag = order_tag(order.id)
    cdef uint64_t wanted = (<uint64_t>tag << 32) | handle
    cdef uint64_t mask = orders.mask
    cdef uint64_t* slots = orders.slots
    cdef uint64_t hole = tag & mask
    cdef uint64_t i, slot
    while slots[hole] != wanted:
        hole = (hole + 1) & mask
    i = (hole + 1) & mask
    slot = slots[i]
    while slot != 0:
        if ((i - (slot >> 32)) & mask) >= ((i - hole) & mask):
            slots[hole] = slot
            hole = i
        i = (i + 1) & mask
        slot = slots[i]
    slots[hole] = 0
    order.id = 0
    order.next = orders.free
    orders.free = handle
    orders.used -= 1


# What a command some places ahead will need: first its slot, nearer to it its order, then the neighbours.
cdef inline void orders_fetch_slot(const Orders* orders, uint64_t order_id) noexcept nogil:
    match_fetch(orders.slots + (order_tag(order_id) & orders.mask))


cdef inline void orders_fetch_order(const Orders* orders, uint64_t order_id) noexcept nogil:
    match_fetch(orders.at + <uint32_t>orders.slots[order_tag(order_id) & orders.mask])
