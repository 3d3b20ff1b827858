"""The heap of orders; heap.pxd says what it is."""

from engine.core.codes cimport ERR_INVARIANT, OK


cdef inline bint _before(const HeapItem* a, const HeapItem* b) noexcept nogil:
    return a.key < b.key or (a.key == b.key and a.entry < b.entry)


cdef inline void _put(OrderHeap* heap, uint32_t at, const HeapItem* item) noexcept nogil:
    heap.items[at] = item[0]
    heap_place(heap, item.handle)[0] = at


# Puts the item where it belongs on the way from `at` to the root.
cdef void _up(OrderHeap* heap, uint32_t at, HeapItem item) noexcept nogil:
    while at > 1 and _before(&item, heap.items + (at >> 1)):
        _put(heap, at, heap.items + (at >> 1))
        at >>= 1
    _put(heap, at, &item)


# Puts the item where it belongs below `at`.
cdef void _down(OrderHeap* heap, uint32_t at, HeapItem item) noexcept nogil:
    cdef uint64_t child = <uint64_t>at * 2
    while child <= heap.n:
        if child < heap.n and _before(heap.items + child + 1, heap.items + child):
            child += 1
        if not _before(heap.items + child, &item):
            break
        _put(heap, at, heap.items + child)
        at = <uint32_t>child
        child = <uint64_t>at * 2
    _put(heap, at, &item)


cdef void heap_push(OrderHeap* heap, int64_t key, uint64_t entry, uint32_t handle) noexcept nogil:
    cdef HeapItem item
    item.key = key
    item.entry = entry
    item.handle = handle
    item._pad = 0
    heap.n += 1
    _up(heap, heap.n, item)


cdef void heap_take(OrderHeap* heap, uint32_t at) noexcept nogil:
    cdef HeapItem last = heap.items[heap.n]
    heap_place(heap, heap.items[at].handle)[0] = 0
    heap.n -= 1
    if at > heap.n:
        return
    if at > 1 and _before(&last, heap.items + (at >> 1)):
        _up(heap, at, last)
    else:
        _down(heap, at, last)


cdef int heap_check(const OrderHeap* heap) noexcept nogil:
    cdef uint32_t at
    for at in range(1, heap.n + 1):
        if heap_place(heap, heap.items[at].handle)[0] != at:
            return ERR_INVARIANT
        if at > 1 and _before(heap.items + at, heap.items + (at >> 1)):
            return ERR_INVARIANT
    return OK
