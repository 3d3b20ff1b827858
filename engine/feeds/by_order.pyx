"""Live orders and their rows: what grows, and the way to NumPy; see the header of by_order.pxd."""

from cython cimport view
from libc.stdint cimport UINT32_MAX, int64_t, uint32_t
from libc.stdlib cimport free, realloc
from libc.string cimport memset

import numpy as np

from engine.core.codes cimport ERR_NO_MEMORY, OK
from engine.core.idmap cimport IdTable, idmap_free, idmap_init, idmap_insert
from engine.core.types cimport Event

from engine.core.types import event_dtype

cdef enum:
    FIRST_ROWS = 1 << 14
    FIRST_ORDERS = 1 << 12


cdef int by_order_init(ByOrder* b, int64_t latency) noexcept nogil:
    memset(b, 0, sizeof(ByOrder))
    b.latency = latency
    return _grow_orders(b)


cdef void by_order_free(ByOrder* b) noexcept nogil:
    free(b.rows)
    free(b.orders)
    idmap_free(&b.ids)


cdef int _grow_rows(ByOrder* b) noexcept nogil:
    cdef int64_t capacity = 2 * b.capacity if b.capacity else <int64_t>FIRST_ROWS
    cdef Event* rows = <Event*>realloc(b.rows, <size_t>capacity * sizeof(Event))
    if rows == NULL:
        return ERR_NO_MEMORY
    b.rows = rows
    b.capacity = capacity
    return OK


cdef int _grow_orders(ByOrder* b) noexcept nogil:
    """Doubles slab and map when every slot is taken."""
    cdef uint32_t n_slots = 2 * b.n_slots if b.n_slots else <uint32_t>FIRST_ORDERS
    cdef uint32_t i
    cdef LiveOrder* orders
    cdef IdTable ids
    # Seven quarters of the slots' number: a map of twice as many, hence half load at most.
    if n_slots > UINT32_MAX // 8 or idmap_init(&ids, n_slots // 4 * 7) != OK:
        return ERR_NO_MEMORY
    orders = <LiveOrder*>realloc(b.orders, n_slots * sizeof(LiveOrder))
    if orders == NULL:
        idmap_free(&ids)
        return ERR_NO_MEMORY
    b.orders = orders
    if b.n_slots:
        for i in range(b.ids.mask + 1):
            if b.ids.slots[i].value != 0:
                idmap_insert(&ids, b.ids.slots[i].key, b.ids.slots[i].value)
        idmap_free(&b.ids)
    b.ids = ids
    # Handle 0 is nobody's.
    for i in range(max(b.n_slots, <uint32_t>1), n_slots):
        orders[i].next_free = i + 1 if i + 1 < n_slots else 0
    b.free = max(b.n_slots, <uint32_t>1)
    b.n_slots = n_slots
    return OK


cdef object by_order_take(ByOrder* b):
    """Hands over the rows so far, as an array that owns them."""
    cdef view.array owner
    cdef Event* rows = b.rows
    cdef int64_t n = b.n
    if n == 0:
        return np.empty(0, event_dtype)
    b.rows = NULL
    b.n = b.capacity = 0
    owner = <Event[:n]>rows
    owner.callback_free_data = free
    return np.asarray(owner)
