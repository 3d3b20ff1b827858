"""The orders of one asset as the strategy knows them: found by id, walked in the order they were sent.

Orders live in blocks that never move, so a strategy may hold on to one across calls; a double link through
them keeps their order, and a map finds them. Adding, finding and removing cost a map probe. Nothing limits
their number: a strategy that never clears the ended ones pays for them with memory, 144 bytes each.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from engine.backtest.order cimport SimOrder
from engine.core.idmap cimport IdTable, idmap_find


cdef enum:
    NO_ORDER = 0xFFFFFFFF
    TABLE_BLOCK = 64             # orders in a block, a power of two


cdef struct KnownOrder:
    SimOrder order               # first: its address is what strategies get
    int64_t prev_tick            # before a modification that is on its way
    double prev_qty


cdef struct OrderTable:
    KnownOrder** blocks
    uint32_t n_blocks
    uint32_t fresh               # slots from here on have never been used
    uint32_t free                # the last slot given back, or NO_ORDER; linked through next_handle
    uint32_t first               # sent first
    uint32_t last
    uint32_t n
    uint64_t removals            # ever, so that an iterator knows that its place may be gone
    IdTable ids                  # order_id to slot + 1


cdef int table_init(OrderTable* table) noexcept nogil
cdef void table_free(OrderTable* table) noexcept nogil
# Appends a copy of an order whose id is not in the table; NULL without memory.
cdef KnownOrder* table_add(OrderTable* table, const SimOrder* order) noexcept nogil
# Removes all orders that are expired, filled or canceled.
cdef void table_clear_inactive(OrderTable* table) noexcept nogil
cdef int table_check(const OrderTable* table) noexcept nogil


cdef inline KnownOrder* table_at(const OrderTable* table, uint32_t slot) noexcept nogil:
    return &table.blocks[slot // TABLE_BLOCK][slot % TABLE_BLOCK]


cdef inline KnownOrder* table_find(const OrderTable* table, uint64_t order_id) noexcept nogil:
    """The order of an id, or NULL."""
    cdef uint32_t found = idmap_find(&table.ids, order_id)
    return table_at(table, found - 1) if found else NULL
