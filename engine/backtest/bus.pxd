"""Orders on their way between the two sides: a ring of (order, arrival time).

Arrival times never decrease: a message cannot overtake the one before it. Push and pop cost one copy
of an order (128 bytes); the earliest arrival is a field, so asking for it costs one load. A bus that grows
doubles when it is full, which costs a copy of everything on it.
"""

from libc.stdint cimport INT64_MAX, int64_t, uint32_t, uint64_t

from engine.backtest.order cimport SimOrder
from engine.core.codes cimport OK
from engine.core.image cimport Image


cdef struct OrderBus:
    SimOrder* orders
    int64_t* times
    uint32_t mask
    uint32_t head                # next to take
    uint32_t tail                # next to fill
    uint64_t pushed              # ever
    bint grows                   # makes room instead of refusing: nobody said how many there will be
    int64_t next_ts              # arrival of the first; INT64_MAX when empty


cdef int bus_init(OrderBus* bus, uint32_t capacity, bint grows) noexcept nogil
cdef void bus_free(OrderBus* bus) noexcept nogil
# Makes room for twice as many, if the bus grows. ERR_FULL, ERR_NO_MEMORY.
cdef int bus_grow(OrderBus* bus) noexcept nogil
# Moves what is on its way, out or in.
cdef void bus_image(OrderBus* bus, Image* image) noexcept nogil
# When the first order of that id arrives; INT64_MAX if none is on its way.
cdef int64_t bus_arrival(const OrderBus* bus, uint64_t order_id) noexcept nogil


cdef inline int bus_push(OrderBus* bus, const SimOrder* order, int64_t ts) noexcept nogil:
    """Appends an order; a time before the last one waiting becomes that one's. ERR_FULL, ERR_NO_MEMORY."""
    cdef uint32_t slot
    cdef int code
    if bus.tail - bus.head > bus.mask:
        code = bus_grow(bus)
        if code != OK:
            return code
    if bus.head == bus.tail:
        bus.next_ts = ts
    elif ts < bus.times[(bus.tail - 1) & bus.mask]:
        ts = bus.times[(bus.tail - 1) & bus.mask]
    slot = bus.tail & bus.mask
    bus.orders[slot] = order[0]
    bus.times[slot] = ts
    bus.tail += 1
    bus.pushed += 1
    return OK


cdef inline const SimOrder* bus_first(const OrderBus* bus) noexcept nogil:
    """The first order, where it lies; the bus must not be empty."""
    return &bus.orders[bus.head & bus.mask]


cdef inline void bus_drop(OrderBus* bus) noexcept nogil:
    """Removes the first order; the bus must not be empty."""
    bus.head += 1
    if bus.head == bus.tail:
        # Starting over keeps a quiet bus in the same few cache lines.
        bus.head = bus.tail = 0
        bus.next_ts = INT64_MAX
    else:
        bus.next_ts = bus.times[bus.head & bus.mask]


cdef inline void bus_pop(OrderBus* bus, SimOrder* order) noexcept nogil:
    """Takes the first order; the bus must not be empty."""
    order[0] = bus_first(bus)[0]
    bus_drop(bus)
