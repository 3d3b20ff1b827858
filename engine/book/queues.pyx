"""The out-of-line half of the queues of a market-by-order book; queues.pxd and l3.pxd say how they are built."""

from libc.math cimport NAN, fabs, rint
from libc.stdint cimport INT64_MAX, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, realloc
from libc.string cimport memmove, memset

from engine.book.ladder cimport ladder_get
from engine.core.codes cimport (
    ERR_BAD_TICK,
    ERR_FULL,
    ERR_INVALID_REQUEST,
    ERR_NO_MEMORY,
    ERR_ORDER_NOT_FOUND,
    OK,
)
from engine.core.idmap cimport IdSlot, idmap_free, idmap_init, idmap_insert
from engine.core.ticks cimport INVALID_MAX_TICK, INVALID_MIN_TICK


cdef extern from *:
    """
    #include <stdint.h>
    #include <sys/mman.h>
    /* Where a kernel does not know how, the faults come one by one. */
    static void touch_pages(void *start, size_t size) {
    #ifdef __linux__
        const uintptr_t page = 4096;
        uintptr_t first = ((uintptr_t)start + page - 1) & ~(page - 1);
        uintptr_t last = ((uintptr_t)start + size) & ~(page - 1);
        if (last > first)
            (void)madvise((void *)first, last - first, 23 /* MADV_POPULATE_WRITE */);
    #else
        (void)start;
        (void)size;
    #endif
    }
    """
    void touch_pages(void* start, size_t size) noexcept nogil


cdef enum:
    OWN_FIRST = 16
    BATCH = 64                   # slots linked at once, so that unused memory stays untouched


# --- the slab --------------------------------------------------------------------------------------

cdef int l3_own_init(L3Book* book, L2Book* depth) noexcept nogil:
    memset(book, 0, sizeof(L3Book))
    book.depth = depth
    book.capacity = OWN_FIRST
    book.fresh = 1
    book.own[0].best = book.own[1].best = INVALID_MIN_TICK
    # Who frees the book frees what there is of it.
    book.orders = <L3Order*>calloc(<size_t>book.capacity + 1, sizeof(L3Order))
    book.ahead = <double*>calloc(<size_t>book.capacity + 1, sizeof(double))
    return OK if book.orders != NULL and book.ahead != NULL else ERR_NO_MEMORY


cdef uint32_t l3_map_items(uint32_t capacity) noexcept nogil:
    return capacity + capacity // 4 * 3


cdef int _double_own(L3Book* book) noexcept nogil:
    """As _double, where there are only own orders."""
    cdef uint32_t capacity = 2 * book.capacity
    cdef L3Order* orders
    cdef double* ahead
    if capacity > L3_MAX_ORDERS:
        return ERR_FULL
    ahead = <double*>realloc(book.ahead, (<size_t>capacity + 1) * sizeof(double))
    if ahead == NULL:
        return ERR_NO_MEMORY
    book.ahead = ahead
    orders = <L3Order*>realloc(book.orders, (<size_t>capacity + 1) * sizeof(L3Order))
    if orders == NULL:
        return ERR_NO_MEMORY
    book.orders = orders
    memset(orders + book.capacity + 1, 0, <size_t>book.capacity * sizeof(L3Order))
    book.capacity = capacity
    return OK


cdef int _double(L3Book* book) noexcept nogil:
    cdef IdTable ids
    cdef L3Order* orders
    cdef uint32_t handle
    cdef uint32_t capacity = 2 * book.capacity
    cdef int code
    if capacity > L3_MAX_ORDERS:
        return ERR_FULL
    code = idmap_init(&ids, l3_map_items(capacity))
    if code != OK:
        return code
    orders = <L3Order*>realloc(book.orders, (<size_t>capacity + 1) * sizeof(L3Order))
    if orders == NULL:
        idmap_free(&ids)
        return ERR_NO_MEMORY
    book.orders = orders
    memset(orders + book.capacity + 1, 0, <size_t>book.capacity * sizeof(L3Order))
    for handle in range(1, book.capacity + 1):
        if orders[handle].kind == L3_MARKET:
            idmap_insert(&ids, orders[handle].order_id, handle)
    idmap_free(&book.ids)
    book.ids = ids
    book.capacity = capacity
    return OK


cdef void l3_touch_memory(void* start, size_t size) noexcept nogil:
    touch_pages(start, size)


cdef void l3_touch(L3Book* book) noexcept nogil:
    touch_pages(book.orders, book.capacity * sizeof(L3Order))
    touch_pages(book.ids.slots, (<size_t>book.ids.mask + 1) * sizeof(IdSlot))


# Links the next unused slots when there is no free one, doubling where all are used.
cdef int l3_more(L3Book* book) noexcept nogil:
    cdef uint32_t handle, end
    cdef int code
    if book.fresh > book.capacity:
        code = _double(book) if book.ahead == NULL else _double_own(book)
        if code != OK:
            return code
    end = min(book.fresh + BATCH, book.capacity + 1)
    for handle in range(book.fresh, end):
        book.orders[handle].next = handle + 1 if handle + 1 < end else 0
    book.free = book.fresh
    book.fresh = end
    return OK


# --- own orders ------------------------------------------------------------------------------------

# Where an order of that key and place is, or goes, among the own orders of its side.
cdef uint32_t l3_own_at(const L3Book* book, int side, int64_t key, uint64_t place) noexcept nogil:
    cdef const L3OwnSide* own = &book.own[side]
    cdef const L3Order* order
    cdef uint32_t low = 0
    cdef uint32_t high = own.n
    cdef uint32_t middle
    while low < high:
        middle = (low + high) >> 1
        order = &book.orders[own.handles[middle]]
        if order.key < key or (order.key == key and order.place > place):
            low = middle + 1
        else:
            high = middle
    return low


cdef inline void _own_best(L3Book* book, int side) noexcept nogil:
    cdef L3OwnSide* own = &book.own[side]
    own.best = book.orders[own.handles[own.n - 1]].key if own.n else INVALID_MIN_TICK


cdef void _own_list(L3Book* book, uint32_t handle) noexcept nogil:
    cdef L3Order* order = &book.orders[handle]
    cdef L3OwnSide* own = &book.own[order.side]
    cdef uint32_t at = l3_own_at(book, order.side, order.key, order.place)
    memmove(own.handles + at + 1, own.handles + at, (own.n - at) * sizeof(uint32_t))
    own.handles[at] = handle
    own.n += 1
    _own_best(book, order.side)


cdef void _own_unlist(L3Book* book, uint32_t handle) noexcept nogil:
    cdef L3Order* order = &book.orders[handle]
    cdef L3OwnSide* own = &book.own[order.side]
    cdef uint32_t at = l3_own_at(book, order.side, order.key, order.place)
    own.n -= 1
    memmove(own.handles + at, own.handles + at + 1, (own.n - at) * sizeof(uint32_t))
    _own_best(book, order.side)


# Room for one more own order of a side, and for giving all of them out.
cdef int _own_room(L3Book* book, int side) noexcept nogil:
    cdef L3OwnSide* own = &book.own[side]
    cdef uint32_t all = book.own[0].n + book.own[1].n + book.n_given + 1
    cdef uint32_t room
    cdef void* memory
    if own.n == own.room:
        room = 2 * own.room if own.room else OWN_FIRST
        memory = realloc(own.handles, <size_t>room * sizeof(uint32_t))
        if memory == NULL:
            return ERR_NO_MEMORY
        own.handles = <uint32_t*>memory
        own.room = room
    if all > book.given_room:
        room = max(2 * book.given_room, all + OWN_FIRST)
        memory = realloc(book.given, <size_t>room * sizeof(uint64_t))
        if memory == NULL:
            return ERR_NO_MEMORY
        book.given = <uint64_t*>memory
        book.given_room = room
    return OK


cdef inline bint _is_tick(int64_t tick) noexcept nogil:
    return -(<int64_t>1 << 62) < tick < (<int64_t>1 << 62)


cdef int l3_own_insert(
    L3Book* book, int side, int64_t tick, double qty, uint64_t tag, uint32_t* handle
) noexcept nogil:
    cdef L3Order* order
    cdef int code = _own_room(book, side) if book.queued or book.ahead != NULL else ERR_INVALID_REQUEST
    if code == OK and not _is_tick(tick):
        return ERR_BAD_TICK
    if code == OK and book.free == 0:
        code = l3_more(book)
    if code != OK:
        return code
    handle[0] = book.free
    order = &book.orders[book.free]
    book.free = order.next
    order.order_id = tag
    order.key = tick ^ -<int64_t>side
    order.qty = qty
    order.side = <uint8_t>side
    order.kind = L3_OWN
    l3_append(book, handle[0])
    if book.ahead != NULL:
        book.ahead[handle[0]] = ladder_get(&book.depth.ladders[side], order.key)
    _own_list(book, handle[0])
    return OK


cdef int l3_own_remove(L3Book* book, uint32_t handle) noexcept nogil:
    if not l3_is_own(book, handle):
        return ERR_ORDER_NOT_FOUND
    _own_unlist(book, handle)
    l3_unlink(book, handle)
    l3_release(book, handle)
    return OK


cdef int l3_own_modify(L3Book* book, uint32_t handle, int64_t tick, double qty) noexcept nogil:
    cdef L3Order* order = &book.orders[handle]
    cdef int64_t key
    if not l3_is_own(book, handle):
        return ERR_ORDER_NOT_FOUND
    if not _is_tick(tick):
        return ERR_BAD_TICK
    key = tick ^ -<int64_t>order.side
    if key != order.key or qty > order.qty:
        _own_unlist(book, handle)
        l3_unlink(book, handle)
        order.key = key
        l3_append(book, handle)
        if book.ahead != NULL:
            book.ahead[handle] = ladder_get(&book.depth.ladders[order.side], key)
        _own_list(book, handle)
    order.qty = qty
    return OK


cdef void l3_own_closer(L3Book* book, int side, int64_t key, uint64_t place, double qty) noexcept nogil:
    cdef const L3OwnSide* own = &book.own[side]
    cdef uint32_t i
    # The youngest of a price come first.
    for i in range(l3_own_at(book, side, key, ~(<uint64_t>0)), own.n):
        if book.orders[own.handles[i]].key != key or book.orders[own.handles[i]].place <= place:
            return
        book.ahead[own.handles[i]] -= qty


cdef inline double _tidy(double qty, double lot_size) noexcept nogil:
    """A quantity without the noise of the sum that it comes from."""
    cdef double whole = rint(qty / lot_size)
    if fabs(qty / lot_size - whole) < 1e-6:
        qty = whole * lot_size
    return qty if qty > 0.0 else 0.0


cdef double l3_own_ahead(const L3Book* book, uint32_t handle) noexcept nogil:
    cdef const L3Order* order
    cdef double ahead = 0.0
    if not l3_is_own(book, handle):
        return NAN
    if book.ahead != NULL:
        return _tidy(book.ahead[handle], book.depth.lot_size)
    order = &book.orders[book.orders[handle].prev]
    # Only the last of a queue has nothing behind it, and the first has the last before it.
    while order.next != 0:
        if order.kind == L3_MARKET:
            ahead += order.qty
        order = &book.orders[order.prev]
    return ahead


# Takes out the own orders of a side with first <= key <= last that stand before `place` in their queue.
cdef void l3_give(L3Book* book, int side, int64_t first, int64_t last, uint64_t place) noexcept nogil:
    cdef L3OwnSide* own = &book.own[side]
    cdef uint32_t end = own.n
    cdef uint32_t start, handle
    if last < INT64_MAX:
        end = l3_own_at(book, side, last + 1, ~(<uint64_t>0))
    start = end
    while start and book.orders[own.handles[start - 1]].key >= first:
        handle = own.handles[start - 1]
        if book.orders[handle].place >= place:
            break
        book.given[book.n_given] = book.orders[handle].order_id
        book.n_given += 1
        l3_unlink(book, handle)
        l3_release(book, handle)
        start -= 1
    if start != end:
        memmove(own.handles + start, own.handles + end, (own.n - end) * sizeof(uint32_t))
        own.n -= end - start
        _own_best(book, side)


# hftbacktest looks beyond the ticks between the bests where that is cheaper than looking at each of them:
# it then also finds own orders that one-sided clears and modifications left there.
cdef inline int64_t _reach(const L3Book* book, int64_t first, int64_t last) noexcept nogil:
    return INT64_MAX if <int64_t>(book.own[0].n + book.own[1].n) < last - first else last


cdef void l3_cross(L3Book* book, int own_side, int64_t prev_tick, int64_t tick) noexcept nogil:
    cdef int64_t mirror = -<int64_t>own_side
    cdef int64_t first = tick ^ mirror
    cdef int64_t last = INT64_MAX
    if prev_tick != INVALID_MIN_TICK and prev_tick != INVALID_MAX_TICK:
        last = _reach(book, first, (prev_tick ^ mirror) - 1)
    l3_give(book, own_side, first, last, ~(<uint64_t>0))


cdef void l3_fill_own(L3Book* book, int side, int64_t key, uint64_t place, int64_t exec_key) noexcept nogil:
    cdef int64_t best = book.depth.ladders[side].best
    if exec_key < best:
        l3_give(book, side, exec_key + 1, _reach(book, exec_key + 1, best), ~(<uint64_t>0))
    l3_give(book, side, key, key, place)
