"""The engine's end of the order rings for bench_bridge.py: sleeps on its bell, answers orders with one record.

The engine's own loop is compiled and takes microseconds from a request to its record; one in Python would be
measured with the bridge.
"""

from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy

from engine.core.ring cimport (
    SPSC_OK,
    Bell,
    Ring,
    SpscRing,
    bell_wait,
    ring_notify,
    spsc_claim_one,
    spsc_consume,
    spsc_is_empty,
    spsc_peek,
    spsc_publish,
)
from engine.runtime.records cimport RECORD_ORDER_REQUEST, SLOT_SIZE, Record


def answer(Bell bell, Ring orders, Ring control, Ring out, bytes record not None, int64_t timeout_ns) -> None:
    """Acknowledges orders until a ring holds something else, or none came in time.

    Args:
        bell: The engine's.
        orders: What the bridge sends on.
        control: What it asks.
        out: Where answers go.
        record: An order's record; its number, strategy and instrument become those of each request.
        timeout_ns: Nanoseconds.
    """
    cdef SpscRing* rings[2]
    cdef Record prepared
    cdef int found = 1
    rings[0], rings[1] = &orders.spsc, &control.spsc
    if len(record) != SLOT_SIZE:
        raise ValueError(f"a record of {len(record)} bytes")
    memcpy(&prepared, <const char*>record, SLOT_SIZE)
    with nogil:
        while found:
            found = bell_wait(bell.fd, rings, 2, timeout_ns)
            found = found and _answered(rings[0], out, &prepared) and spsc_is_empty(rings[1])


cdef bint _answered(SpscRing* orders, Ring out, Record* prepared) noexcept nogil:
    cdef void* first = NULL
    cdef void* slot
    cdef uint64_t n = 0, i
    cdef const Record* request
    while spsc_peek(orders, &first, &n) == SPSC_OK:
        for i in range(n):
            request = <const Record*>(<char*>first + i * SLOT_SIZE)
            slot = spsc_claim_one(&out.spsc)
            if request.header.kind != RECORD_ORDER_REQUEST or slot == NULL:
                spsc_consume(orders, i)
                return False
            prepared.header.strategy, prepared.header.instrument = request.header.strategy, request.header.instrument
            prepared.payload.order.order.client_order_id = request.payload.order.order.client_order_id
            memcpy(slot, prepared, SLOT_SIZE)
            spsc_publish(&out.spsc, 1)
        spsc_consume(orders, n)
        ring_notify(out)
    return True
