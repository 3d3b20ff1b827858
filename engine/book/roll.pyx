"""The out-of-line half of the roll of orders, and its Python face; roll.pxd says how it is built."""

cimport cython
from libc.math cimport fabs
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from engine.book.l2 cimport L2_TICK_LIMIT, l2_max_qty
from engine.book.queues cimport L3_MAX_ORDERS, l3_touch_memory
from engine.core.codes cimport (
    ERR_BAD_QTY,
    ERR_BAD_SIZE,
    ERR_BAD_TICK,
    ERR_FULL,
    ERR_INVARIANT,
    ERR_NO_MEMORY,
    ERR_ORDER_ID_EXIST,
    ERR_ORDER_NOT_FOUND,
)

import numpy as np

from engine.core.errors import raise_for_code

cdef enum:
    LINE = 64                    # bytes
    FEWEST_SLOTS = 16
    DEFAULT_ORDERS = 16384


cdef int _allocate(OrderRoll* roll, uint64_t n) noexcept nogil:
    """Gives a roll ``n`` free slots, their memory there in one go, since orders land anywhere in it."""
    cdef size_t size = n * sizeof(RollSlot) + LINE
    roll.memory = calloc(size, 1)
    if roll.memory == NULL:
        return ERR_NO_MEMORY
    l3_touch_memory(roll.memory, size)
    # A slot that lay in two lines would be waited for twice.
    roll.slots = <RollSlot*>((<size_t>roll.memory + LINE - 1) & ~<size_t>(LINE - 1))
    return OK


cdef int roll_init(OrderRoll* roll, double tick_size, double lot_size, uint32_t orders) noexcept nogil:
    cdef uint32_t n = FEWEST_SLOTS
    memset(roll, 0, sizeof(OrderRoll))
    if orders == 0:
        orders = DEFAULT_ORDERS
    if orders > L3_MAX_ORDERS:
        return ERR_BAD_SIZE
    while n < 2 * orders:
        n *= 2
    if _allocate(roll, n) != OK:
        return ERR_NO_MEMORY
    roll.mask = n - 1
    roll.shift = 64
    while n > 1:
        n >>= 1
        roll.shift -= 1
    roll.tick_size = tick_size
    roll.max_qty = l2_max_qty(lot_size)
    return OK


cdef void roll_free(OrderRoll* roll) noexcept nogil:
    free(roll.memory)
    memset(roll, 0, sizeof(OrderRoll))


cdef int roll_copy(OrderRoll* roll, const OrderRoll* other) noexcept nogil:
    roll[0] = other[0]
    if _allocate(roll, <uint64_t>other.mask + 1) != OK:
        return ERR_NO_MEMORY
    memcpy(roll.slots, other.slots, (<size_t>other.mask + 1) * sizeof(RollSlot))
    return OK


cdef int _roll_refuse(const OrderRoll* roll, const Event* event) noexcept nogil:
    """Why an add or a modification is refused."""
    cdef bint adds = event.ev & EV_KIND_MASK == EVENT_ADD_ORDER
    cdef bint held = _roll_find(roll, event.order_id).place != 0
    if not adds and not held:
        return ERR_ORDER_NOT_FOUND
    if not fabs(event.px / roll.tick_size) < L2_TICK_LIMIT:
        return ERR_BAD_TICK
    return ERR_ORDER_ID_EXIST if 0.0 <= event.qty <= roll.max_qty else ERR_BAD_QTY


cdef int _roll_double(OrderRoll* roll) noexcept nogil:
    cdef OrderRoll wide = roll[0]
    cdef uint32_t i
    if roll.mask + 1 >= 2 * L3_MAX_ORDERS:
        return ERR_FULL
    wide.mask = 2 * roll.mask + 1
    wide.shift -= 1
    if _allocate(&wide, <uint64_t>wide.mask + 1) != OK:
        return ERR_NO_MEMORY
    for i in range(roll.mask + 1):
        if roll.slots[i].place != 0:
            _roll_find(&wide, roll.slots[i].order_id)[0] = roll.slots[i]
    free(roll.memory)
    roll[0] = wide
    return OK


cdef void _roll_clear(OrderRoll* roll, int side) noexcept nogil:
    cdef RollSlot* slot
    cdef uint32_t i
    if side == ROLL_BOTH:
        memset(roll.slots, 0, (<size_t>roll.mask + 1) * sizeof(RollSlot))
        roll.n_orders = 0
        return
    for i in range(roll.mask + 1):
        slot = roll.slots + i
        # A removal may bring another one here.
        while slot.place != 0 and slot.place & 1 == <uint64_t>side:
            _roll_remove(roll, slot)


cdef int roll_check(const OrderRoll* roll) noexcept nogil:
    cdef uint32_t i, n_orders = 0
    for i in range(roll.mask + 1):
        if roll.slots[i].place == 0:
            if roll.slots[i].order_id != 0 or roll.slots[i].key != 0 or roll.slots[i].qty != 0.0:
                return ERR_INVARIANT
            continue
        n_orders += 1
        if _roll_find(roll, roll.slots[i].order_id) != roll.slots + i:
            return ERR_INVARIANT
    return OK if n_orders == roll.n_orders and n_orders <= (roll.mask >> 1) + 1 else ERR_INVARIANT


change_dtype = np.dtype(
    [
        ("key", "i8"),
        ("delta", "f8"),
        ("to", "i8"),
        ("place", "u8"),
        ("op", "u1"),
        ("side", "u1"),
        ("_pad", "u2"),
        ("code", "i4"),
    ]
)
"""A ``RollChange`` of roll.pxd."""

if change_dtype.itemsize != sizeof(RollChange):
    raise ImportError("the changes' layout and their dtype differ")


@cython.final
cdef class Roll:
    """A roll of orders; compiled users work on the ``roll`` inside.

    Args:
        tick_size: The price of one tick.
        lot_size: The quantity of one lot.
        orders: How many orders to have room for from the start; more make it double.

    Raises:
        CapacityError: Too many orders, or memory is short.
    """

    def __cinit__(self, double tick_size, double lot_size, *, uint32_t orders=0):
        code = roll_init(&self.roll, tick_size, lot_size, orders)
        if code != OK:
            raise_for_code(code, f"a roll of {orders} orders")

    def __dealloc__(self):
        roll_free(&self.roll)

    def apply(self, const Event[::1] events not None):
        """Applies events; the place of the one numbered i since the beginning, from 0, is ``2 * (i + 1)``.

        Args:
            events: Rows of ``event_dtype``.

        Returns:
            What each of them did, as ``change_dtype``; what does not matter to an event's kind is 0.
        """
        out = np.zeros(events.shape[0], change_dtype)
        cdef RollChange[::1] changes = out
        cdef Py_ssize_t i
        for i in range(events.shape[0]):
            self.n_events += 1
            roll_apply(&self.roll, &events[i], 2 * self.n_events, &changes[i])
        return out

    def orders(self) -> dict:
        """All orders: id to side (0 bids, 1 asks), tick, quantity and place."""
        cdef const RollSlot* slot
        cdef uint32_t i
        cdef int side
        found = {}
        for i in range(self.roll.mask + 1):
            slot = self.roll.slots + i
            if slot.place != 0:
                side = slot.place & 1
                found[slot.order_id] = (side, slot.key ^ -<int64_t>side, slot.qty, slot.place & ~<uint64_t>1)
        return found

    def copy(self) -> Roll:
        """Another roll of the same orders."""
        cdef Roll other = Roll(1.0, 1.0, orders=1)
        roll_free(&other.roll)
        raise_for_code(roll_copy(&other.roll, &self.roll), "a copy of a roll")
        other.n_events = self.n_events
        return other

    def __len__(self) -> int:
        return self.roll.n_orders

    def check_invariants(self) -> None:
        """Looks every order up from its home and counts.

        Raises:
            InvariantError: An order cannot be found, or the count is off.
        """
        raise_for_code(roll_check(&self.roll), "roll")
