"""An order's way in: its units, its slot in the table of what was sent, and its request in the engine's ring.

What :mod:`bridge.requests` and :mod:`bridge.intake` decide in Python is written down here, from a few numbers
straight to memory.
"""

cimport cython
from cpython.buffer cimport PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.math cimport fabs, floor, isfinite
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint64_t
from libc.string cimport memcpy, memset

from engine.core.ring cimport SPSC_FULL, SPSC_OK, Ring, ring_notify, spsc_claim, spsc_publish, spsc_slot
from engine.core.types cimport Order
from engine.runtime.records cimport PAYLOAD_SIZE, RECORD_ORDER_REQUEST, SLOT_SIZE, Record


cdef extern from *:
    """
    /* What was written before is there before what is written after: for who maps the file when we are dead. */
    #define ringbook_before() __atomic_thread_fence(__ATOMIC_RELEASE)
    """
    void ringbook_before() noexcept nogil


cdef enum:
    DIGEST = 16

MAX_UNITS = 2**53
"""Most ticks or lots in an order: beyond it floats do not count."""

cdef double _MAX_UNITS = MAX_UNITS


def units(double value, double unit) -> int:
    """How many ticks or lots a price or quantity is; 0 if it is no such number of them.

    Args:
        value: In price or quantity units.
        unit: The tick or lot size.
    """
    cdef double many, whole
    if not isfinite(value) or value <= 0:
        return 0
    many = value / unit
    if many > _MAX_UNITS:
        return 0
    whole = floor(many + 0.5)
    # A float's own error grows with the number of units; beyond that it is the user's.
    if whole < 1 or fabs(many - whole) > 1e-6 + many * 4e-16:
        return 0
    return <int64_t>whole


def request(
    Ring ring not None, uint8_t req, uint16_t slot, uint16_t instrument, uint64_t client_order_id, int side,
    int64_t price_tick, int64_t lots, uint8_t order_type, uint8_t time_in_force,
) -> bool:
    """Sends an ORDER_REQUEST to the engine; False if its ring is full.

    Args:
        ring: ``orders_in``.
        req: NEW, REPLACED or CANCELED.
        slot: The strategy's.
        instrument: Its number.
        client_order_id: The order's.
        side: 1, -1, or 0 of all orders.
        price_tick: Price in ticks.
        lots: Quantity in lots.
        order_type: As ``engine.core.types.OrdType``.
        time_in_force: As ``engine.core.types.TimeInForce``.

    Raises:
        RingCorrupt: The ring's indices cannot be right.
    """
    cdef Record* record
    cdef Order* order
    cdef int code
    ring._open()
    if ring.spsc.slot_size != SLOT_SIZE:
        raise ValueError(f"a ring of slots of {ring.spsc.slot_size} bytes")
    code = spsc_claim(&ring.spsc, 1)
    if code == SPSC_FULL:
        return False
    if code != SPSC_OK:
        ring._corrupt()
    record = <Record*>spsc_slot(&ring.spsc, 0)
    memset(record, 0, SLOT_SIZE)
    record.header.kind, record.header.instrument = RECORD_ORDER_REQUEST, instrument
    record.header.strategy, record.header.length = slot, PAYLOAD_SIZE
    order = &record.payload.order.order
    order.client_order_id, order.price_tick, order.qty, order.leaves_qty = client_order_id, price_tick, lots, lots
    order.instrument, order.strategy, order.side, order.req = instrument, slot, side, req
    order.order_type, order.time_in_force = order_type, time_in_force
    spsc_publish(&ring.spsc, 1)
    ring_notify(ring)
    return True


@cython.final
cdef class Slots:
    """The memory of a table of orders, written so that a process killed at any instant leaves nothing half right.

    Args:
        memory: Of the table; it stays as it is until :meth:`release`.
    """

    cdef Py_buffer view
    cdef bint held

    def __init__(self, memory):
        if self.held:
            raise ValueError("it has its memory")
        PyObject_GetBuffer(memory, &self.view, PyBUF_WRITABLE)
        self.held = True

    cdef unsigned char* _at(self, Py_ssize_t place, Py_ssize_t size) except NULL:
        if not self.held or place < 0 or place + size > self.view.len:
            raise IndexError(f"{size} bytes at {place} of {self.view.len if self.held else 0}")
        return <unsigned char*>self.view.buf + place

    def number(self, Py_ssize_t place, uint64_t value) -> None:
        """Writes a number of eight bytes, whose place is a multiple of eight: all of it or nothing."""
        (<uint64_t*>self._at(place, 8))[0] = value

    def order(
        self, Py_ssize_t place, Py_ssize_t first, Py_ssize_t last, uint64_t serial, uint64_t number,
        bytes digest not None,
    ) -> None:
        """Writes an order; its serial comes last: until then the slot is nobody's.

        Args:
            place: The slot's: serial, number, digest.
            first: Of the length of its first execution, which becomes 0.
            last: Of the length of its last one, likewise.
            serial: Of its session.
            number: The order's.
            digest: 16 bytes that tell its content.
        """
        cdef unsigned char* at = self._at(place, 16 + DIGEST)
        if PyBytes_GET_SIZE(digest) != DIGEST:
            raise ValueError(f"a digest of {len(digest)} bytes")
        self._at(first, 2)
        self._at(last, 2)
        (<uint64_t*>at)[0] = 0
        ringbook_before()
        memset(<unsigned char*>self.view.buf + first, 0, 2)
        memset(<unsigned char*>self.view.buf + last, 0, 2)
        memcpy(at + 8, &number, 8)
        memcpy(at + 16, PyBytes_AS_STRING(digest), DIGEST)
        ringbook_before()
        (<uint64_t*>at)[0] = serial

    def frame(self, Py_ssize_t place, bytes frame not None) -> None:
        """Writes a frame of less than 64 KiB after its length, which is 0 meanwhile: never half of two."""
        cdef Py_ssize_t size = PyBytes_GET_SIZE(frame)
        cdef unsigned char* at = self._at(place, 2 + size)
        cdef uint16_t length = <uint16_t>size
        if size > 0xffff:
            raise ValueError(f"a frame of {size} bytes")
        memset(at, 0, 2)
        ringbook_before()
        memcpy(at + 2, PyBytes_AS_STRING(frame), size)
        ringbook_before()
        memcpy(at, &length, 2)

    def release(self) -> None:
        """Lets the memory go."""
        if self.held:
            self.held = False
            PyBuffer_Release(&self.view)

    def __dealloc__(self):
        self.release()
