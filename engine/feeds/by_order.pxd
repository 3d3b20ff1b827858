"""Live orders of one instrument, and the rows that messages about them make.

What it is
    Feeds by order tell an order's price and side once and then only its reference. Here live orders lie in a
    slab, found through an open-addressing map at half load at most; each message appends one to three rows of
    ``event_dtype`` to a growing buffer: an execution is a TRADE of the aggressor's side, the FILL of the resting
    order and the MODIFY or CANCEL that takes it out of the book, as market-by-order recordings have them.

What it costs
    A map operation and 64 bytes a row. Slab and map double when orders exceed them, the buffer when rows do;
    nothing else allocates.

The bad case
    Orders that never leave: slab and map take 64 to 128 bytes each.

Prices are integers of 1/10,000, quantities integers; every function leaves all as it was unless it returns OK.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from engine.core.codes cimport ERR_BAD_QTY, ERR_ORDER_ID_EXIST, ERR_ORDER_NOT_FOUND, OK
from engine.core.idmap cimport IdTable, idmap_find, idmap_insert, idmap_remove
from engine.core.types cimport (
    EV_BUY,
    EV_EXCH,
    EV_LOCAL,
    EV_SELL,
    EVENT_ADD_ORDER,
    EVENT_CANCEL_ORDER,
    EVENT_FILL,
    EVENT_MODIFY_ORDER,
    EVENT_TRADE,
    Event,
)

cdef enum:
    ROWS_A_MESSAGE = 3

cdef struct LiveOrder:
    int64_t price
    int64_t qty
    uint64_t side          # EV_BUY or EV_SELL
    uint32_t next_free
    uint32_t _pad

cdef struct ByOrder:
    Event* rows
    int64_t n
    int64_t capacity
    int64_t latency        # added to exchange times
    LiveOrder* orders      # slot 0 is nobody's
    uint32_t n_slots
    uint32_t free          # first free slot, 0 for none
    IdTable ids


# OK or ERR_NO_MEMORY.
cdef int by_order_init(ByOrder* b, int64_t latency) noexcept nogil
cdef void by_order_free(ByOrder* b) noexcept nogil
cdef object by_order_take(ByOrder* b)

# The out-of-line parts of by_order_room and by_order_add.
cdef int _grow_rows(ByOrder* b) noexcept nogil
cdef int _grow_orders(ByOrder* b) noexcept nogil


# Makes room for the rows of a message; every function below needs it before. ERR_NO_MEMORY.
cdef inline int by_order_room(ByOrder* b) noexcept nogil:
    return OK if b.capacity - b.n >= ROWS_A_MESSAGE else _grow_rows(b)


cdef inline void _row(
    ByOrder* b, uint64_t ev, int64_t ts, uint64_t order_id, int64_t price, int64_t qty
) noexcept nogil:
    cdef Event* row = b.rows + b.n
    row.ev = ev | EV_EXCH | EV_LOCAL
    row.exch_ts = ts
    row.local_ts = ts + b.latency
    row.px = price / 10000.0
    row.qty = <double>qty
    row.order_id = order_id
    row.ival = 0
    row.fval = 0.0
    b.n += 1


cdef inline void _drop(ByOrder* b, uint64_t order_id) noexcept nogil:
    cdef uint32_t handle = idmap_remove(&b.ids, order_id)
    b.orders[handle].next_free = b.free
    b.free = handle


# ERR_ORDER_ID_EXIST, ERR_NO_MEMORY.
cdef inline int by_order_add(
    ByOrder* b, int64_t ts, uint64_t order_id, uint64_t side, int64_t price, int64_t qty
) noexcept nogil:
    cdef uint32_t handle
    cdef LiveOrder* order
    cdef int code
    if b.free == 0:
        code = _grow_orders(b)
        if code != OK:
            return code
    handle = b.free
    code = idmap_insert(&b.ids, order_id, handle)
    if code != OK:
        return code
    order = b.orders + handle
    b.free = order.next_free
    order.price = price
    order.qty = qty
    order.side = side
    _row(b, EVENT_ADD_ORDER | side, ts, order_id, price, qty)
    return OK


# What a quantity less leaves of an order.
cdef inline void _reduce(
    ByOrder* b, LiveOrder* order, int64_t ts, uint64_t order_id, int64_t qty
) noexcept nogil:
    if qty == order.qty:
        _row(b, EVENT_CANCEL_ORDER | order.side, ts, order_id, order.price, qty)
        _drop(b, order_id)
    else:
        order.qty -= qty
        _row(b, EVENT_MODIFY_ORDER | order.side, ts, order_id, order.price, order.qty)


# Takes a part of an order away. ERR_ORDER_NOT_FOUND; ERR_BAD_QTY if there is less.
cdef inline int by_order_cancel(ByOrder* b, int64_t ts, uint64_t order_id, int64_t qty) noexcept nogil:
    cdef uint32_t handle = idmap_find(&b.ids, order_id)
    cdef LiveOrder* order = b.orders + handle
    if handle == 0:
        return ERR_ORDER_NOT_FOUND
    if qty > order.qty:
        return ERR_BAD_QTY
    _reduce(b, order, ts, order_id, qty)
    return OK


# ERR_ORDER_NOT_FOUND.
cdef inline int by_order_delete(ByOrder* b, int64_t ts, uint64_t order_id) noexcept nogil:
    cdef uint32_t handle = idmap_find(&b.ids, order_id)
    cdef LiveOrder* order = b.orders + handle
    if handle == 0:
        return ERR_ORDER_NOT_FOUND
    _reduce(b, order, ts, order_id, order.qty)
    return OK


# price: of the execution, -1 for the order's; printed: whether it is a trade of its own. Codes as for a cancel.
cdef inline int by_order_execute(
    ByOrder* b, int64_t ts, uint64_t order_id, int64_t qty, int64_t price, bint printed
) noexcept nogil:
    cdef uint32_t handle = idmap_find(&b.ids, order_id)
    cdef LiveOrder* order = b.orders + handle
    if handle == 0:
        return ERR_ORDER_NOT_FOUND
    if qty > order.qty:
        return ERR_BAD_QTY
    if price < 0:
        price = order.price
    if printed:
        _row(b, EVENT_TRADE | (EV_SELL if order.side == EV_BUY else EV_BUY), ts, 0, price, qty)
    _row(b, EVENT_FILL | order.side, ts, order_id, price, qty)
    _reduce(b, order, ts, order_id, qty)
    return OK


# The new order stands behind all others at its price. ERR_ORDER_NOT_FOUND, ERR_ORDER_ID_EXIST, ERR_NO_MEMORY.
cdef inline int by_order_replace(
    ByOrder* b, int64_t ts, uint64_t order_id, uint64_t new_id, int64_t price, int64_t qty
) noexcept nogil:
    cdef uint32_t handle = idmap_find(&b.ids, order_id)
    cdef LiveOrder order = b.orders[handle]
    if handle == 0:
        return ERR_ORDER_NOT_FOUND
    if new_id != order_id and idmap_find(&b.ids, new_id) != 0:
        return ERR_ORDER_ID_EXIST
    _row(b, EVENT_CANCEL_ORDER | order.side, ts, order_id, order.price, order.qty)
    _drop(b, order_id)
    return by_order_add(b, ts, new_id, order.side, price, qty)


# A trade that no order of the book had a part in; side: EV_BUY or EV_SELL of the aggressor, 0 if unknown.
cdef inline void by_order_trade(
    ByOrder* b, int64_t ts, uint64_t side, int64_t price, int64_t qty
) noexcept nogil:
    _row(b, EVENT_TRADE | side, ts, 0, price, qty)
