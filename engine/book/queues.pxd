"""Orders in their queues: the slab, the lists and the own orders of a market-by-order book; l3.pxd says it all.

Own orders stand in the queues of the market's, count in no total, and are listed for each side best price
first, older first. Those that the market fills or clears are taken out, and their tags appended to `given`.
"""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from engine.book.l2 cimport L2Book
from engine.core.idmap cimport IdTable


cdef extern from *:
    """
    #define L3_BUCKETS 65536u
    #define L3_BUCKET_BITS 16
    #define L3_MAX_ORDERS (1u << 28)
    """
    const uint32_t L3_BUCKETS
    const int L3_BUCKET_BITS
    const uint32_t L3_MAX_ORDERS


cdef enum L3Kind:
    L3_FREE = 0
    L3_MARKET = 1
    L3_OWN = 2


cdef struct L3Order:
    uint64_t order_id            # the market's, or the tag of an own order
    int64_t key                  # tick of a bid, ~tick of an ask
    double qty
    uint64_t place               # of two orders in a queue, the lesser is ahead
    uint32_t prev                # ahead of it; the first of a queue has the last here
    uint32_t next                # behind it, 0 for the last; links the free ones
    uint32_t chain               # the first of a queue: of the bucket's next queue, or 0
    uint8_t side                 # 0 bids, 1 asks
    uint8_t kind                 # L3Kind
    uint16_t _pad


# The own orders of a side, worst price first and youngest first, so that the best are taken off the end.
cdef struct L3OwnSide:
    int64_t best                 # key of the last, INVALID_MIN_TICK without any
    uint32_t* handles
    uint32_t n
    uint32_t room


cdef struct L3Book:
    L2Book* depth                # totals and bests of the market's orders; somebody else's
    L3Order* orders              # [capacity + 1], the one at 0 is never used
    bint queued                  # orders stand in queues
    double* ahead                # [capacity + 1] without orders of the market: its quantity ahead of own ones
    uint32_t* buckets[2]         # [L3_BUCKETS], bids and asks: the first order of the first queue
    uint64_t last_place
    uint32_t capacity
    uint32_t fresh               # slots from here on were never used
    uint32_t free                # the slot given back last, or 0
    uint32_t n_orders            # of the market
    bint ragged                  # an order of less than a lot was seen: totals may be short of it
    IdTable ids                  # of the market's orders; no slots without any
    L3OwnSide own[2]             # bids, asks
    uint64_t* given              # tags of own orders taken out by the market
    uint32_t n_given
    uint32_t given_room


# As l3_init of l3.pxd, for own orders alone: totals follow a roll that somebody else keeps (l3_follow).
cdef int l3_own_init(L3Book* book, L2Book* depth) noexcept nogil
# Has memory there in one go, for tables in which orders land anywhere.
cdef void l3_touch_memory(void* start, size_t size) noexcept nogil
cdef void l3_touch(L3Book* book) noexcept nogil
# Links the next unused slots when none is free, doubling slab and map where all are used.
cdef int l3_more(L3Book* book) noexcept nogil
# The ids that a map of a book of that many orders is made for, so that it is at most half full.
cdef uint32_t l3_map_items(uint32_t capacity) noexcept nogil
# Where an own order of that key and place is, or would go, in the list of its side.
cdef uint32_t l3_own_at(const L3Book* book, int side, int64_t key, uint64_t place) noexcept nogil
# Gives out the own orders of a side with first <= key <= last and a lesser place.
cdef void l3_give(L3Book* book, int side, int64_t first, int64_t last, uint64_t place) noexcept nogil
# Gives out the own orders that a new best of the opposite side reaches, as hftbacktest chooses them.
cdef void l3_cross(L3Book* book, int own_side, int64_t prev_tick, int64_t tick) noexcept nogil
# Gives out the own orders that the fill at exec_key of a market order of that key and place reaches.
cdef void l3_fill_own(L3Book* book, int side, int64_t key, uint64_t place, int64_t exec_key) noexcept nogil
# Without orders of the market: quantity ahead of a place of a queue has gone.
cdef void l3_own_closer(L3Book* book, int side, int64_t key, uint64_t place, double qty) noexcept nogil

# Own orders; side 0 is bids, 1 asks, `tag` is the caller's. ERR_BAD_TICK, ERR_FULL, ERR_NO_MEMORY, or
# ERR_INVALID_REQUEST for a book of the market's orders without queues.
cdef int l3_own_insert(
    L3Book* book, int side, int64_t tick, double qty, uint64_t tag, uint32_t* handle
) noexcept nogil
# ERR_ORDER_NOT_FOUND when the handle is not that of an own order.
cdef int l3_own_remove(L3Book* book, uint32_t handle) noexcept nogil
# Keeps its place only at the same price with no more quantity. ERR_ORDER_NOT_FOUND, ERR_BAD_TICK.
cdef int l3_own_modify(L3Book* book, uint32_t handle, int64_t tick, double qty) noexcept nogil
# The market's quantity ahead of an own order; NaN for another handle. With queues it is summed up there; else it
# is as exact as levels' totals are, but whole lots and nothing are exactly that.
cdef double l3_own_ahead(const L3Book* book, uint32_t handle) noexcept nogil


# Levels side by side lie side by side; what is a multiple of the table away lies elsewhere.
cdef inline uint32_t* l3_bucket(const L3Book* book, int side, int64_t key) noexcept nogil:
    cdef uint64_t fold = (<uint64_t>(key >> L3_BUCKET_BITS) * <uint64_t>0x9E3779B97F4A7C15) >> 40
    return book.buckets[side] + ((<uint64_t>key + fold) & (L3_BUCKETS - 1))


# Puts an order, its side and key set, at the end of its queue.
cdef inline void l3_append(L3Book* book, uint32_t handle) noexcept nogil:
    cdef L3Order* orders = book.orders
    cdef L3Order* order = orders + handle
    cdef uint32_t* bucket
    cdef uint32_t first, last
    book.last_place += 1
    order.place = book.last_place
    if not book.queued:
        return
    bucket = l3_bucket(book, order.side, order.key)
    first = bucket[0]
    while first != 0 and orders[first].key != order.key:
        first = orders[first].chain
    order.next = 0
    if first == 0:
        order.prev = handle
        order.chain = bucket[0]
        bucket[0] = handle
        return
    last = orders[first].prev
    order.prev = last
    orders[last].next = handle
    orders[first].prev = handle


# Takes an order out of its queue.
cdef inline void l3_unlink(L3Book* book, uint32_t handle) noexcept nogil:
    cdef L3Order* orders = book.orders
    cdef L3Order* order = orders + handle
    cdef uint32_t* link
    cdef uint32_t first
    if not book.queued:
        return
    if orders[order.prev].next != 0:
        orders[order.prev].next = order.next
        if order.next != 0:
            orders[order.next].prev = order.prev
            return
        first = l3_bucket(book, order.side, order.key)[0]
        while orders[first].key != order.key:
            first = orders[first].chain
        orders[first].prev = order.prev
        return
    # The first: its successor takes over its chain, or the queue ends.
    link = l3_bucket(book, order.side, order.key)
    while link[0] != handle:
        link = &orders[link[0]].chain
    if order.next != 0:
        link[0] = order.next
        orders[order.next].prev = order.prev
        orders[order.next].chain = order.chain
    else:
        link[0] = order.chain


cdef inline void l3_release(L3Book* book, uint32_t handle) noexcept nogil:
    book.orders[handle].kind = L3_FREE
    book.orders[handle].next = book.free
    book.free = handle


cdef inline bint l3_is_own(const L3Book* book, uint32_t handle) noexcept nogil:
    return 0 < handle < book.fresh and book.orders[handle].kind == L3_OWN
