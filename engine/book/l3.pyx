"""The out-of-line half of the market-by-order book, and its Python face; l3.pxd says how it is built."""

cimport cython
from libc.math cimport INFINITY
from libc.stdint cimport INT64_MAX, int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from engine.book.l2 cimport (
    L2Book,
    l2_ask_qty,
    l2_bid_qty,
    l2_check,
    l2_clear,
    l2_count,
    l2_free,
    l2_hash,
    l2_init,
    l2_levels,
)
from engine.book.ladder cimport ladder_get
from engine.book.queues cimport (
    L3_BUCKETS,
    L3_FREE,
    L3_MAX_ORDERS,
    L3_OWN,
    l3_bucket,
    l3_give,
    l3_is_own,
    l3_map_items,
    l3_own_ahead,
    l3_own_at,
    l3_own_insert,
    l3_own_modify,
    l3_own_remove,
    l3_touch,
)
from engine.book.roll cimport ROLL_ADD, ROLL_MOVE, ROLL_STAY, RollChange
from engine.core.codes cimport ERR_BAD_SIZE, ERR_INVARIANT, ERR_NO_MEMORY, ERR_ORDER_ID_EXIST
from engine.core.idmap cimport idmap_check, idmap_clear, idmap_free, idmap_init
from engine.core.ticks cimport INVALID_MAX_TICK, INVALID_MIN_TICK
from engine.core.types cimport EV_EXCH, EV_LOCAL, EVENT_FILL

import numpy as np

from engine.book.l2 import best_dtype
from engine.core.errors import CapacityError, DataError, OrderNotFound, raise_for_code
from engine.core.types import event_dtype


cdef extern from *:
    """
    #ifdef RINGBOOK_DEBUG
    #define L3_CHECK_ALWAYS 1
    #else
    #define L3_CHECK_ALWAYS 0
    #endif
    """
    const bint L3_CHECK_ALWAYS


cdef enum:
    FEWEST_ORDERS = 64
    DEFAULT_ORDERS = 16384
    LOOK_AHEAD = 8               # rows: as many map probes are on their way


# --- making and growing ----------------------------------------------------------------------------

cdef int l3_init(L3Book* book, L2Book* depth, uint32_t orders, bint queued) noexcept nogil:
    cdef int code, i
    memset(book, 0, sizeof(L3Book))
    if orders == 0:
        orders = DEFAULT_ORDERS
    if orders > L3_MAX_ORDERS:
        return ERR_BAD_SIZE
    book.depth = depth
    book.queued = queued
    book.capacity = FEWEST_ORDERS
    while book.capacity < orders:
        book.capacity *= 2
    book.fresh = 1
    book.orders = <L3Order*>calloc(<size_t>book.capacity + 1, sizeof(L3Order))
    code = idmap_init(&book.ids, l3_map_items(book.capacity))
    for i in range(2):
        book.own[i].best = INVALID_MIN_TICK
        if queued:
            book.buckets[i] = <uint32_t*>calloc(L3_BUCKETS, sizeof(uint32_t))
            if book.buckets[i] == NULL:
                code = ERR_NO_MEMORY
    if code != OK or book.orders == NULL:
        l3_free(book)
        return ERR_NO_MEMORY
    l3_touch(book)
    return OK


cdef void l3_free(L3Book* book) noexcept nogil:
    cdef int i
    for i in range(2):
        free(book.buckets[i])
        free(book.own[i].handles)
    free(book.orders)
    free(book.ahead)
    free(book.given)
    if book.ids.slots != NULL:
        idmap_free(&book.ids)
    memset(book, 0, sizeof(L3Book))


cdef int _l3_follow_far(L2Book* depth, const RollChange* change, double qty) noexcept nogil:
    if change.op == ROLL_ADD:
        return _l3_increase(depth, change.side, change.key, qty)
    if change.op == ROLL_STAY:
        return _l3_change(depth, change.side, change.key, change.delta)
    _l3_reduce(depth, change.side, change.key, -change.delta)
    return _l3_arrive(depth, change, qty) if change.op == ROLL_MOVE else OK


# Puts back what a modification took, when the new level could not be had.
cdef int _l3_undo(L2Book* depth, int side, int64_t key, double qty, int code) noexcept nogil:
    _l3_increase(depth, side, key, qty)
    return code


# --- the rest of the market -------------------------------------------------------------------------

cdef void l3_clear(L3Book* book, int side) noexcept nogil:
    cdef uint32_t handle
    cdef L3Order* order
    cdef int i
    for i in range(2):
        if side == (SIDE_SELL if i == 0 else SIDE_BUY):
            continue
        l3_give(book, i, INVALID_MIN_TICK, INT64_MAX, ~(<uint64_t>0))
        if book.queued:
            memset(book.buckets[i], 0, L3_BUCKETS * sizeof(uint32_t))
    l2_clear(book.depth, side, INFINITY)
    if side == SIDE_NONE:
        if book.ids.slots != NULL:
            idmap_clear(&book.ids)
        book.n_orders = 0
        book.ragged = False
        for handle in range(1, book.fresh):
            book.orders[handle].kind = L3_FREE
        book.free = 0
        book.fresh = 1
        return
    for handle in range(1, book.fresh):
        order = &book.orders[handle]
        if order.kind == L3_MARKET and order.side == (side == SIDE_SELL):
            idmap_remove(&book.ids, order.order_id)
            book.n_orders -= 1
            l3_release(book, handle)


cdef uint32_t l3_first(const L3Book* book, int side, int64_t tick) noexcept nogil:
    cdef int index = side == SIDE_SELL
    cdef int64_t key = tick ^ -<int64_t>index
    cdef uint32_t handle = l3_bucket(book, index, key)[0] if book.queued else 0
    while handle != 0 and book.orders[handle].key != key:
        handle = book.orders[handle].chain
    return handle


# One queue: its links, its order, its total. Adds its orders to `seen`.
cdef int _check_queue(const L3Book* book, int side, uint32_t first, uint32_t* seen) noexcept nogil:
    cdef const L3Order* order = &book.orders[first]
    cdef int64_t key = order.key
    cdef double total = 0.0
    cdef double stored = ladder_get(&book.depth.ladders[side], key)
    cdef uint64_t place = 0
    cdef uint32_t handle = first
    cdef uint32_t last = first
    while handle != 0:
        order = &book.orders[handle]
        if order.side != side or order.key != key or order.place <= place or order.place > book.last_place:
            return ERR_INVARIANT
        if handle != first and order.prev != last:
            return ERR_INVARIANT
        if order.kind == L3_MARKET:
            if idmap_find(&book.ids, order.order_id) != handle:
                return ERR_INVARIANT
            total += order.qty
        elif order.kind != L3_OWN or book.own[side].n == 0:
            return ERR_INVARIANT
        elif book.own[side].handles[l3_own_at(book, side, key, order.place)] != handle:
            return ERR_INVARIANT
        seen[order.kind - 1] += 1
        if seen[0] + seen[1] > book.capacity:
            return ERR_INVARIANT
        place = order.place
        last = handle
        handle = order.next
    if book.orders[first].prev != last:
        return ERR_INVARIANT
    if not book.ragged and not -0.5 * book.depth.lot_size <= total - stored <= 0.5 * book.depth.lot_size:
        return ERR_INVARIANT
    return OK


# All queues, or without any the orders by themselves. Counts them in `seen`.
cdef int _check_orders(const L3Book* book, uint32_t* seen) noexcept nogil:
    cdef uint32_t i, handle
    cdef int side
    if book.ahead != NULL:
        seen[1] = book.own[0].n + book.own[1].n
        return OK
    if not book.queued:
        for handle in range(1, book.fresh):
            if book.orders[handle].kind == L3_MARKET:
                seen[0] += 1
                if idmap_find(&book.ids, book.orders[handle].order_id) != handle:
                    return ERR_INVARIANT
        return OK
    for side in range(2):
        for i in range(L3_BUCKETS):
            handle = book.buckets[side][i]
            while handle != 0:
                if l3_bucket(book, side, book.orders[handle].key) != &book.buckets[side][i]:
                    return ERR_INVARIANT
                if _check_queue(book, side, handle, seen) != OK:
                    return ERR_INVARIANT
                handle = book.orders[handle].chain
    return OK


# The depth's own check, but for a best whose orders were all modified to nothing: it stands until they go.
cdef int l3_check_depth(const L2Book* book) noexcept nogil:
    cdef L2Book depth = book[0]
    if l2_bid_qty(&depth, depth.best_bid_tick) == 0.0:
        depth.ladders[0].best = depth.best_bid_tick = INVALID_MIN_TICK
    if l2_ask_qty(&depth, depth.best_ask_tick) == 0.0:
        depth.ladders[1].best = INVALID_MIN_TICK
        depth.best_ask_tick = INVALID_MAX_TICK
    return l2_check(&depth)


cdef int l3_check(const L3Book* book) noexcept nogil:
    cdef uint32_t seen[2]
    cdef uint32_t handle
    cdef uint32_t n_free = 0
    cdef int side
    seen[0] = seen[1] = 0
    if l3_check_depth(book.depth) != OK or _check_orders(book, seen) != OK:
        return ERR_INVARIANT
    if book.ahead == NULL and idmap_check(&book.ids) != OK:
        return ERR_INVARIANT
    for side in range(2):
        handle = book.own[side].handles[book.own[side].n - 1] if book.own[side].n else 0
        if book.own[side].best != (book.orders[handle].key if handle else INVALID_MIN_TICK):
            return ERR_INVARIANT
    if seen[0] != book.n_orders or seen[0] != book.ids.used or seen[1] != book.own[0].n + book.own[1].n:
        return ERR_INVARIANT
    handle = book.free
    while handle != 0 and n_free <= book.capacity:
        if book.orders[handle].kind != L3_FREE:
            return ERR_INVARIANT
        n_free += 1
        handle = book.orders[handle].next
    if n_free + seen[0] + seen[1] != book.fresh - 1:
        return ERR_INVARIANT
    return OK


# --- Python's face ---------------------------------------------------------------------------------

queue_dtype = np.dtype([("order_id", "u8"), ("qty", "f8"), ("own", "?")], align=True)

cdef struct _Best:
    int64_t bid_tick
    int64_t ask_tick
    double bid_qty
    double ask_qty


cdef int _side(int side, bint both=False) except -1:
    if side not in (SIDE_BUY, SIDE_SELL) and not (both and side == SIDE_NONE):
        raise ValueError(f"side must be 1{', -1 or 0' if both else ' or -1'}, not {side}")
    return side == SIDE_SELL


cdef uint64_t _view_mask(str view) except 0:
    if view not in ("all", "local", "exch"):
        raise ValueError(f"view must be 'all', 'local' or 'exch', not {view!r}")
    return EV_EXCH | EV_LOCAL if view == "all" else EV_LOCAL if view == "local" else EV_EXCH


def _raise_for_event(int code, Py_ssize_t row, const Event[::1] events, L3 self):
    event = events[row]
    if code == ERR_BAD_TICK:
        raise DataError(f"{event.px} is not within 2**62 ticks of {self.book.depth.tick_size}", row=row, field="px")
    if code == ERR_BAD_QTY:
        raise DataError(f"{event.qty} is not between 0 and {self.book.depth.max_qty}", row=row, field="qty")
    if code == ERR_ORDER_NOT_FOUND:
        raise DataError(f"no order {event.order_id} is in the book", row=row, field="order_id")
    if code == ERR_ORDER_ID_EXIST:
        raise DataError(f"order {event.order_id} is in the book already", row=row, field="order_id")
    raise CapacityError(f"row {row}, price {event.px}: no room for the order or its level (code {code})")


@cython.final
cdef class L3:
    """A market-by-order book with hftbacktest's semantics; own orders can stand in its queues.

    Args:
        tick_size: The price of one tick.
        lot_size: The quantity of one lot.
        window: Ticks of the dense window of each side's totals, as in ``L2``.
        orders: How many orders to have room for from the start; more make the book double.
        queues: Whether to keep orders in queues; without, no own orders can be put in.

    Raises:
        CapacityError: A size is not a positive number or too large, or memory is short.
    """

    def __cinit__(
        self, double tick_size, double lot_size, *, uint32_t window=0, uint32_t orders=0, bint queues=True
    ):
        cdef int code = l2_init(&self.depth, tick_size, lot_size, window)
        if code == OK:
            code = l3_init(&self.book, &self.depth, orders, queues)
        if code != OK:
            raise_for_code(code, f"book of tick {tick_size}, lot {lot_size}, window {window}, orders {orders}")

    def __dealloc__(self):
        l3_free(&self.book)
        l2_free(&self.depth)

    def __reduce__(self):
        raise TypeError("an L3 book cannot be pickled; take its snapshot()")

    # --- changing it ---

    def apply(self, const Event[::1] events, str view="all"):
        """Applies adds, modifications, cancels and clears; other kinds are passed over.

        Args:
            events: Rows of ``event_dtype``.
            view: ``"local"`` or ``"exch"`` to apply only the rows that side sees; ``"all"`` for both. Fills
                are looked at unless the view is local: they take own orders out.

        Returns:
            The number of rows that were in the view.

        Raises:
            DataError: A price or quantity that cannot be in a book, an id that is in use or that is not;
                rows before it are applied.
            CapacityError: More than 2**20 levels outside the window of a side, or memory is short.
        """
        return self._apply(events, view, None)

    def replay(self, const Event[::1] events, str view="local"):
        """Applies events as :meth:`apply` does and records the best after each row, in the view or not.

        Args:
            events: Rows of ``event_dtype``.
            view: As for :meth:`apply`.

        Returns:
            As many rows of ``best_dtype``, as ``L2.replay`` gives them.

        Raises:
            DataError, CapacityError: As :meth:`apply`.
        """
        best = np.empty(events.shape[0], best_dtype)
        self._apply(events, view, best)
        return best

    cdef _apply(self, const Event[::1] events, str view, best):
        cdef uint64_t wanted = _view_mask(view)
        cdef bint venue = view != "local"
        cdef bint keeps = best is not None
        cdef _Best[::1] out = best
        cdef Py_ssize_t n = 0
        cdef Py_ssize_t i = 0
        cdef Py_ssize_t end = events.shape[0]
        cdef const Event* event
        cdef int code = OK
        with nogil:
            for i in range(end):
                event = &events[i]
                if i + LOOK_AHEAD < end:
                    l3_fetch(&self.book, event + LOOK_AHEAD)
                if event.ev & wanted:
                    n += 1
                    if venue and event.ev & EV_KIND_MASK == EVENT_FILL:
                        if event.ev & (EV_BUY | EV_SELL):
                            code = l3_fill(&self.book, event.order_id, event.px)
                    else:
                        code = l3_apply(&self.book, event)
                    if code != OK:
                        break
                if keeps:
                    out[i].bid_tick = self.book.depth.best_bid_tick
                    out[i].ask_tick = self.book.depth.best_ask_tick
                    out[i].bid_qty = l2_bid_qty(self.book.depth, self.book.depth.best_bid_tick)
                    out[i].ask_qty = l2_ask_qty(self.book.depth, self.book.depth.best_ask_tick)
        if L3_CHECK_ALWAYS:
            self.check_invariants()
        if code != OK:
            _raise_for_event(code, i, events, self)
        return n

    cdef _done(self, int code, str what):
        if L3_CHECK_ALWAYS:
            self.check_invariants()
        if code != OK:
            raise_for_code(code, what)

    def add(self, uint64_t order_id, int side, double px, double qty):
        """Adds an order of the market.

        Args:
            order_id: An id that is not in the book.
            side: 1 buys, -1 sells.
            px: Its price.
            qty: Its quantity.

        Raises:
            OrderIdExists: An order has that id.
            DataError: The price or quantity cannot be in a book.
        """
        self._done(l3_add(&self.book, _side(side), order_id, px, qty), f"order {order_id}, {qty} at {px}")

    def modify(self, uint64_t order_id, double px, double qty):
        """Changes an order; it keeps its place only at the same price with no more quantity.

        Raises:
            OrderNotFound: No order has that id.
            DataError: The price or quantity cannot be in a book.
        """
        self._done(l3_modify(&self.book, order_id, px, qty), f"order {order_id}, {qty} at {px}")

    def cancel(self, uint64_t order_id):
        """Takes an order out.

        Raises:
            OrderNotFound: No order has that id.
        """
        self._done(l3_cancel(&self.book, order_id), f"order {order_id}")

    def fill(self, uint64_t order_id, double px):
        """Tells of the fill of an order, which stays; own orders that it reaches are taken out.

        Raises:
            OrderNotFound: No order has that id.
            DataError: The price is none.
        """
        self._done(l3_fill(&self.book, order_id, px), f"order {order_id} at {px}")

    def clear(self, int side=0):
        """Takes out all orders, own ones included.

        Args:
            side: 1 for bids, -1 for asks, 0 for both.
        """
        _side(side, True)
        l3_clear(&self.book, side)
        self._done(OK, "")

    # --- own orders ---

    def insert_own(self, int side, int64_t tick, double qty, uint64_t tag):
        """Puts an own order at the end of its queue; it counts in no total.

        Returns:
            Its handle, for the calls below.

        Raises:
            DataError: The tick is beyond 2**62.
        """
        cdef uint32_t handle = 0
        self._done(l3_own_insert(&self.book, _side(side), tick, qty, tag, &handle), f"own order at tick {tick}")
        return handle

    def modify_own(self, uint32_t handle, int64_t tick, double qty):
        """Changes an own order; it keeps its place as :meth:`modify` says. Raises OrderNotFound."""
        self._done(l3_own_modify(&self.book, handle, tick, qty), f"own order of handle {handle}")

    def remove_own(self, uint32_t handle):
        """Takes an own order out. Raises OrderNotFound."""
        self._done(l3_own_remove(&self.book, handle), f"own order of handle {handle}")

    def ahead_of(self, uint32_t handle):
        """The market's quantity ahead of an own order. Raises OrderNotFound."""
        if not l3_is_own(&self.book, handle):
            raise OrderNotFound(f"own order of handle {handle}")
        return l3_own_ahead(&self.book, handle)

    def take_given(self):
        """Tags of the own orders that fills, a better opposite best and clears took out since the last call."""
        given = [self.book.given[i] for i in range(self.book.n_given)]
        self.book.n_given = 0
        return given

    # --- looking at it ---

    def __len__(self):
        """Orders of the market."""
        return self.book.n_orders

    @property
    def capacity(self):
        """Orders, own ones included, before the book doubles."""
        return self.book.capacity

    @property
    def ts(self):
        """``exch_ts`` of the last event applied, in nanoseconds."""
        return self.book.depth.ts

    @property
    def best_bid_tick(self):
        """The best bid's tick, the least int64 without one."""
        return self.book.depth.best_bid_tick

    @property
    def best_ask_tick(self):
        """The best ask's tick, the greatest int64 without one."""
        return self.book.depth.best_ask_tick

    def qty_at_tick(self, int side, int64_t tick):
        """The quantity of a level, 0 without one; ``side`` is 1 for bids, -1 for asks."""
        return l2_ask_qty(self.book.depth, tick) if _side(side) else l2_bid_qty(self.book.depth, tick)

    def levels(self, int side, n=None):
        """The levels at or beyond the best of a side, best first.

        Args:
            side: 1 for bids, -1 for asks.
            n: How many at most; all by default.

        Returns:
            An array of shape (levels, 2): price, quantity.
        """
        _side(side)
        cdef uint32_t room = l2_count(self.book.depth, side)
        if n is not None:
            room = min(room, max(n, 0))
        ticks = np.empty(max(room, 1), np.int64)
        qtys = np.empty(max(room, 1), np.float64)
        cdef int64_t[::1] tick_view = ticks
        cdef double[::1] qty_view = qtys
        cdef uint32_t count = l2_levels(self.book.depth, side, room, &tick_view[0], &qty_view[0])
        return np.column_stack((ticks[:count] * self.book.depth.tick_size, qtys[:count]))

    def queue(self, int side, int64_t tick):
        """The orders of a level, first come first.

        Returns:
            An array of ``queue_dtype``: order_id (an own order's tag), qty, own.
        """
        _side(side)
        cdef uint32_t handle = l3_first(&self.book, side, tick)
        cdef const L3Order* order
        rows = []
        while handle != 0:
            order = &self.book.orders[handle]
            rows.append((order.order_id, order.qty, order.kind == L3_OWN))
            handle = order.next
        return np.array(rows, queue_dtype)

    def order(self, uint64_t order_id):
        """An order of the market as ``(side, tick, qty)``; None when no order has that id."""
        cdef uint32_t handle = idmap_find(&self.book.ids, order_id)
        cdef const L3Order* order = &self.book.orders[handle]
        if handle == 0:
            return None
        return SIDE_SELL if order.side else SIDE_BUY, order.key ^ -<int64_t>order.side, order.qty

    def snapshot(self):
        """The market's orders as ADD_ORDER events of ``event_dtype``, oldest first: applied to an empty
        book they make this one, but for levels that are stale."""
        cdef L3Order* order
        cdef uint32_t handle
        found = []
        for handle in range(1, self.book.fresh):
            order = &self.book.orders[handle]
            if order.kind == L3_MARKET:
                found.append((order.place, order.side, order.key, order.qty, order.order_id))
        rows = np.zeros(len(found), event_dtype)
        flags = EVENT_ADD_ORDER | EV_EXCH | EV_LOCAL
        for row, (_, side, key, qty, order_id) in zip(rows, sorted(found), strict=True):
            row["ev"] = flags | (EV_SELL if side else EV_BUY)
            row["px"] = (~key if side else key) * self.book.depth.tick_size
            row["qty"], row["order_id"] = qty, order_id
        rows["exch_ts"] = rows["local_ts"] = self.book.depth.ts
        return rows

    def hash(self):
        """A 64-bit hash of the visible levels, that of an ``L2`` with the same levels."""
        return l2_hash(self.book.depth)

    def check_invariants(self):
        """Raises InvariantError if the structure contradicts itself."""
        if l3_check(&self.book) != OK:
            raise_for_code(ERR_INVARIANT, f"L3 book of tick {self.book.depth.tick_size}, {len(self)} orders")
