"""A binary heap of orders by a signed key, then by entry, that knows where each of them lies.

Of expiries (key: the time) and of each side's waiting stops (key: the stop price, mirrored for sells). Cost:
O(log n) to push, pop and take one out of the middle. Bad case: none. Fixed capacity, nothing is allocated.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t


cdef struct HeapItem:
    int64_t key
    uint64_t entry
    uint32_t handle
    uint32_t _pad


# The place of an order is kept in its cold part: `place` is the offset of the field there, `stride` the
# distance from one order's to the next.
cdef struct OrderHeap:
    HeapItem* items              # [capacity + 1], from 1
    char* places
    uint64_t stride
    uint32_t n


cdef void heap_push(OrderHeap* heap, int64_t key, uint64_t entry, uint32_t handle) noexcept nogil
# Takes the item at a place (from 1) out.
cdef void heap_take(OrderHeap* heap, uint32_t at) noexcept nogil
cdef int heap_check(const OrderHeap* heap) noexcept nogil


cdef inline uint32_t* heap_place(const OrderHeap* heap, uint32_t handle) noexcept nogil:
    return <uint32_t*>(heap.places + heap.stride * handle)
