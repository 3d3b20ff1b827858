"""Keeping a strategy's orders; see the header of table.pxd."""

from libc.stdint cimport uint32_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memset

from engine.backtest.order cimport SimOrder
from engine.core.codes cimport ERR_INVARIANT, ERR_NO_MEMORY, OK
from engine.core.idmap cimport IdTable, idmap_check, idmap_free, idmap_init, idmap_insert, idmap_remove
from engine.core.types cimport STATUS_CANCELED, STATUS_EXPIRED, STATUS_FILLED


cdef int table_init(OrderTable* table) noexcept nogil:
    """Makes an empty table; ERR_NO_MEMORY."""
    memset(table, 0, sizeof(OrderTable))
    table.free = table.first = table.last = NO_ORDER
    return idmap_init(&table.ids, TABLE_BLOCK)


cdef void table_free(OrderTable* table) noexcept nogil:
    cdef uint32_t i
    for i in range(table.n_blocks):
        free(table.blocks[i])
    free(table.blocks)
    idmap_free(&table.ids)
    memset(table, 0, sizeof(OrderTable))


cdef bint _add_block(OrderTable* table) noexcept nogil:
    cdef KnownOrder* block
    cdef KnownOrder** blocks = <KnownOrder**>realloc(table.blocks, (table.n_blocks + 1) * sizeof(KnownOrder*))
    if blocks == NULL:
        return False
    table.blocks = blocks
    block = <KnownOrder*>malloc(TABLE_BLOCK * sizeof(KnownOrder))
    if block == NULL:
        return False
    table.blocks[table.n_blocks] = block
    table.n_blocks += 1
    return True


cdef bint _grow_map(OrderTable* table) noexcept nogil:
    cdef IdTable larger
    cdef uint32_t slot = table.first
    if idmap_init(&larger, 2 * table.ids.limit) != OK:
        return False
    while slot != <uint32_t>NO_ORDER:
        idmap_insert(&larger, table_at(table, slot).order.order_id, slot + 1)
        slot = table_at(table, slot).order.next_handle
    idmap_free(&table.ids)
    table.ids = larger
    return True


cdef KnownOrder* table_add(OrderTable* table, const SimOrder* order) noexcept nogil:
    cdef uint32_t slot = table.free
    cdef KnownOrder* known
    if table.ids.used == table.ids.limit and not _grow_map(table):
        return NULL
    if slot == <uint32_t>NO_ORDER:
        if table.fresh == table.n_blocks * TABLE_BLOCK and not _add_block(table):
            return NULL
        slot = table.fresh
        table.fresh += 1
    else:
        table.free = table_at(table, slot).order.next_handle
    idmap_insert(&table.ids, order.order_id, slot + 1)
    known = table_at(table, slot)
    known.order = order[0]
    known.prev_tick = order.price_tick
    known.prev_qty = order.qty
    known.order.prev_handle = table.last
    known.order.next_handle = NO_ORDER
    if table.last == <uint32_t>NO_ORDER:
        table.first = slot
    else:
        table_at(table, table.last).order.next_handle = slot
    table.last = slot
    table.n += 1
    return known


cdef void _remove(OrderTable* table, uint32_t slot) noexcept nogil:
    cdef SimOrder* order = &table_at(table, slot).order
    if order.prev_handle == <uint32_t>NO_ORDER:
        table.first = order.next_handle
    else:
        table_at(table, order.prev_handle).order.next_handle = order.next_handle
    if order.next_handle == <uint32_t>NO_ORDER:
        table.last = order.prev_handle
    else:
        table_at(table, order.next_handle).order.prev_handle = order.prev_handle
    idmap_remove(&table.ids, order.order_id)
    order.next_handle = table.free
    table.free = slot
    table.n -= 1
    table.removals += 1


cdef void table_clear_inactive(OrderTable* table) noexcept nogil:
    cdef uint32_t slot = table.first
    cdef uint32_t following
    cdef const SimOrder* order
    while slot != <uint32_t>NO_ORDER:
        order = &table_at(table, slot).order
        following = order.next_handle
        if order.status == STATUS_EXPIRED or order.status == STATUS_FILLED or order.status == STATUS_CANCELED:
            _remove(table, slot)
        slot = following


cdef int table_check(const OrderTable* table) noexcept nogil:
    """ERR_INVARIANT unless links, map, free slots and counts agree."""
    cdef uint32_t slot = table.first
    cdef uint32_t before = NO_ORDER
    cdef uint32_t n = 0
    while slot != <uint32_t>NO_ORDER:
        if n == table.n or table_at(table, slot).order.prev_handle != before:
            return ERR_INVARIANT
        if table_find(table, table_at(table, slot).order.order_id) != table_at(table, slot):
            return ERR_INVARIANT
        n += 1
        before = slot
        slot = table_at(table, slot).order.next_handle
    if n != table.n or before != table.last or table.ids.used != n:
        return ERR_INVARIANT
    slot = table.free
    while slot != <uint32_t>NO_ORDER and n <= table.fresh:
        n += 1
        slot = table_at(table, slot).order.next_handle
    if n != table.fresh or idmap_check(&table.ids) != OK:
        return ERR_INVARIANT
    return OK
