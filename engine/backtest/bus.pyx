"""Allocation of order buses."""

from libc.stdint cimport INT64_MAX, uint32_t
from libc.stdlib cimport free, malloc

from engine.core.codes cimport ERR_NO_MEMORY, OK
from engine.core.types cimport Order


cdef int bus_init(OrderBus* bus, uint32_t capacity) noexcept nogil:
    """Makes room for at least ``capacity`` orders (the next power of two)."""
    cdef uint32_t size = 1
    while size < capacity:
        size <<= 1
    bus.orders = <Order*>malloc(size * sizeof(Order))
    bus.times = <int64_t*>malloc(size * sizeof(int64_t))
    bus.mask = size - 1
    bus.head = 0
    bus.tail = 0
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
