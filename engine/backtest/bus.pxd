"""Orders on their way between the two sides: a ring of (order, arrival time).

Arrival times never decrease: a message cannot overtake the one before it. Push and pop cost one copy
of an order (128 bytes); the earliest arrival is a field, so asking for it costs one load.
"""

from libc.stdint cimport INT64_MAX, int64_t, uint32_t

from engine.core.codes cimport ERR_FULL, OK
from engine.core.types cimport Order


cdef struct OrderBus:
    Order* orders
    int64_t* times
    uint32_t mask
    uint32_t head                # next to take
    uint32_t tail                # next to fill
    int64_t next_ts              # arrival of the first; INT64_MAX when empty


cdef int bus_init(OrderBus* bus, uint32_t capacity) noexcept nogil
cdef void bus_free(OrderBus* bus) noexcept nogil


cdef inline int bus_push(OrderBus* bus, const Order* order, int64_t ts) noexcept nogil:
    """Appends an order; a time before the last one waiting becomes that one's. ERR_FULL without room."""
    cdef uint32_t slot
    if bus.tail - bus.head > bus.mask:
        return ERR_FULL
    if bus.head == bus.tail:
        bus.next_ts = ts
    elif ts < bus.times[(bus.tail - 1) & bus.mask]:
        ts = bus.times[(bus.tail - 1) & bus.mask]
    slot = bus.tail & bus.mask
    bus.orders[slot] = order[0]
    bus.times[slot] = ts
    bus.tail += 1
    return OK


cdef inline void bus_pop(OrderBus* bus, Order* order) noexcept nogil:
    """Takes the first order; the bus must not be empty."""
    order[0] = bus.orders[bus.head & bus.mask]
    bus.head += 1
    if bus.head == bus.tail:
        # Starting over keeps a quiet bus in the same few cache lines.
        bus.head = bus.tail = 0
        bus.next_ts = INT64_MAX
    else:
        bus.next_ts = bus.times[bus.head & bus.mask]
