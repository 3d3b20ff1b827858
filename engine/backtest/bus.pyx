"""Allocation of order buses, and looking into them."""

from libc.stdint cimport INT64_MAX, int64_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc

from engine.backtest.order cimport SimOrder
from engine.core.codes cimport ERR_FULL, ERR_IMAGE_OTHER, ERR_NO_MEMORY, OK
from engine.core.image cimport Image, image_count, image_fault, image_match, image_move


cdef int bus_init(OrderBus* bus, uint32_t capacity, bint grows) noexcept nogil:
    """Makes room for at least ``capacity`` orders (the next power of two)."""
    cdef uint32_t size = 1
    while size < capacity:
        size <<= 1
    bus.orders = <SimOrder*>malloc(size * sizeof(SimOrder))
    bus.times = <int64_t*>malloc(size * sizeof(int64_t))
    bus.mask = size - 1
    bus.head = 0
    bus.tail = 0
    bus.pushed = 0
    bus.grows = grows
    bus.next_ts = INT64_MAX
    if bus.orders == NULL or bus.times == NULL:
        bus_free(bus)
        return ERR_NO_MEMORY
    return OK


cdef void bus_free(OrderBus* bus) noexcept nogil:
    free(bus.orders)
    free(bus.times)
    bus.orders = NULL
    bus.times = NULL


cdef int bus_grow(OrderBus* bus) noexcept nogil:
    cdef OrderBus larger
    cdef uint32_t i
    if not bus.grows:
        return ERR_FULL
    if bus_init(&larger, 2 * (bus.mask + 1), True) != OK:
        return ERR_NO_MEMORY
    for i in range(bus.tail - bus.head):
        larger.orders[i] = bus.orders[(bus.head + i) & bus.mask]
        larger.times[i] = bus.times[(bus.head + i) & bus.mask]
    larger.tail = bus.tail - bus.head
    larger.pushed = bus.pushed
    larger.next_ts = bus.next_ts
    bus_free(bus)
    bus[0] = larger
    return OK


cdef int64_t bus_arrival(const OrderBus* bus, uint64_t order_id) noexcept nogil:
    cdef uint32_t i
    for i in range(bus.head, bus.tail):
        if bus.orders[i & bus.mask].order_id == order_id:
            return bus.times[i & bus.mask]
    return INT64_MAX


cdef void bus_image(OrderBus* bus, Image* image) noexcept nogil:
    cdef uint64_t size = image_count(image, <uint64_t>bus.mask + 1, <uint64_t>1 << 31)
    cdef uint32_t i
    image_match(image, bus.grows)
    while image.code == OK and bus.mask + 1 < size:
        image_fault(image, bus_grow(bus))
    if image.code == OK and bus.mask + 1 != size:
        image_fault(image, ERR_IMAGE_OTHER)
    image_move(image, &bus.head, sizeof(uint32_t))
    image_move(image, &bus.tail, sizeof(uint32_t))
    image_move(image, &bus.pushed, sizeof(uint64_t))
    image_move(image, &bus.next_ts, sizeof(int64_t))
    if image.code == OK and bus.tail - bus.head > bus.mask + 1:
        image_fault(image, ERR_IMAGE_OTHER)
    if image.code != OK:
        return
    for i in range(bus.tail - bus.head):
        image_move(image, &bus.orders[(bus.head + i) & bus.mask], sizeof(SimOrder))
        image_move(image, &bus.times[(bus.head + i) & bus.mask], sizeof(int64_t))
