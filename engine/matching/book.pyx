"""Making and freeing a matcher, and the out-of-line half of what its parts do to the book; see book.pxd."""

from libc.stdlib cimport free
from libc.string cimport memset

from engine.core.codes cimport ERR_BAD_SIZE, ERR_INVALID_REQUEST, ERR_NO_MEMORY, OK
from engine.matching.heap cimport HeapItem, heap_take
from engine.matching.levels cimport side_free, side_init
from engine.matching.orders cimport (
    BIT_GTD,
    BIT_WAITING,
    ColdPart,
    match_memory,
    orders_free,
    orders_init,
)
from engine.matching.records cimport ALLOC_SIZE_WEIGHTED, MATCH_LEVEL, MATCH_REPLACED


cdef enum:
    DEFAULT_WINDOW = 16384
    DEFAULT_BUFFER = 1024
    MOST_OWNERS = 1 << 24
    MOST_WINDOW = 1 << 28
    SPARE = 3                    # levels a command may open before those of its own orders are gone


# --- making and freeing -----------------------------------------------------------------------------

cdef int _check_config(const MatcherConfig* config) noexcept nogil:
    if config.max_owners == 0 or config.max_owners > MOST_OWNERS:
        return ERR_BAD_SIZE
    if config.window and (config.window < 1024 or config.window > MOST_WINDOW or config.window & (config.window - 1)):
        return ERR_BAD_SIZE
    if config.allocation > ALLOC_SIZE_WEIGHTED or config.top_share > 100 or config.output > OUTPUT_ALL:
        return ERR_INVALID_REQUEST
    if config.flush == NULL and (config.output != OUTPUT_NONE or config.levels):
        return ERR_INVALID_REQUEST
    return OK


cdef int _heap_init(Matcher* m, OrderHeap* heap, bint stops) noexcept nogil:
    heap.items = <HeapItem*>match_memory((<uint64_t>m.config.max_orders + 1) * sizeof(HeapItem))
    heap.places = <char*>(&m.orders.cold.stop_at if stops else &m.orders.cold.expiry_at)
    heap.stride = sizeof(ColdPart)
    return OK if heap.items != NULL else ERR_NO_MEMORY


cdef int _init(Matcher* m) noexcept nogil:
    cdef uint32_t room = m.config.max_orders + SPARE
    cdef uint32_t i
    cdef int code = orders_init(&m.orders, m.config.max_orders)
    if code != OK:
        return code
    m.levels = <Level*>match_memory(<uint64_t>room * sizeof(Level))
    m.owners = <OwnerState*>match_memory((<uint64_t>m.config.max_owners + 1) * sizeof(OwnerState))
    m.touched = <uint64_t*>match_memory(<uint64_t>room * sizeof(uint64_t))
    m.triggered = <uint32_t*>match_memory(<uint64_t>room * sizeof(uint32_t))
    m.scratch = <Scratch*>match_memory(<uint64_t>room * sizeof(Scratch))
    m.buffer = <MatchEvent*>match_memory(<uint64_t>m.buffer_size * sizeof(MatchEvent))
    if m.levels == NULL or m.owners == NULL or m.touched == NULL or m.triggered == NULL:
        return ERR_NO_MEMORY
    if m.scratch == NULL or m.buffer == NULL:
        return ERR_NO_MEMORY
    for i in range(1, room - 1):
        m.levels[i].head = i + 1
    m.free_level = 1
    for i in range(2):
        code = side_init(&m.sides[i], m.levels, m.config.window, room, i == 1)
        if code == OK:
            code = _heap_init(m, &m.stops[i], True)
        if code != OK:
            return code
    return _heap_init(m, &m.expiries, False)


cdef int matcher_init(Matcher* matcher, const MatcherConfig* config) noexcept nogil:
    cdef int code = _check_config(config)
    memset(matcher, 0, sizeof(Matcher))
    if code != OK:
        return code
    matcher.config = config[0]
    if matcher.config.window == 0:
        matcher.config.window = DEFAULT_WINDOW
    matcher.buffer_size = config.buffer if config.buffer else DEFAULT_BUFFER
    matcher.allocation = config.allocation
    matcher.band_low = -<int64_t>MATCH_PX_LIMIT
    matcher.band_high = <int64_t>MATCH_PX_LIMIT
    if config.output != OUTPUT_NONE:
        matcher.wants |= WANT_PRIVATE
    if config.output == OUTPUT_ALL:
        matcher.wants |= WANT_BOOK
    if config.levels:
        matcher.wants |= WANT_LEVELS
    code = _init(matcher)
    if code != OK:
        matcher_free(matcher)
    return code


cdef void matcher_free(Matcher* matcher) noexcept nogil:
    cdef int i
    orders_free(&matcher.orders)
    for i in range(2):
        side_free(&matcher.sides[i])
        free(matcher.stops[i].items)
    free(matcher.expiries.items)
    free(matcher.levels)
    free(matcher.owners)
    free(matcher.touched)
    free(matcher.triggered)
    free(matcher.scratch)
    free(matcher.buffer)
    memset(matcher, 0, sizeof(Matcher))


cdef void matcher_flush(Matcher* matcher) noexcept nogil:
    if matcher.n_buffer:
        matcher.config.flush(matcher.config.context, matcher.buffer, matcher.n_buffer)
        matcher.n_buffer = 0


# --- levels touched -----------------------------------------------------------------------------------

cdef void book_touched(Matcher* m) noexcept nogil:
    cdef uint32_t i, index, name
    cdef int64_t px, shown
    cdef uint32_t count
    for i in range(m.n_touched):
        index = <uint32_t>(m.touched[i] >> 31) & 1
        px = <int32_t><uint32_t>(m.touched[i] >> 32)
        name = side_find(&m.sides[index], px ^ m.sides[index].mirror)
        shown = m.levels[name].shown if name else 0
        count = m.levels[name].count if name else 0
        book_emit(m, MATCH_LEVEL, 0, count, px, shown, 0, 0, -1 if index else 1, 0)
    m.n_touched = 0
    m.closed = 0


cdef void book_reopened(Matcher* m, uint32_t side, uint32_t level) noexcept nogil:
    cdef uint64_t name = (<uint64_t>(<uint32_t>m.levels[level].px) << 32) | (side << 31) | level
    cdef uint32_t i
    for i in range(m.n_touched):
        if (m.touched[i] ^ name) >> 31 == 0:
            m.touched[i] = name
            m.levels[level].touched = i
            return


# --- orders -------------------------------------------------------------------------------------------

cdef void book_forget_cold(Matcher* m, uint32_t handle) noexcept nogil:
    cdef MatchOrder* order = m.orders.at + handle
    cdef ColdPart* cold = m.orders.cold + handle
    if order.bits & BIT_GTD:
        heap_take(&m.expiries, cold.expiry_at)
    if order.bits & BIT_WAITING:
        heap_take(&m.stops[(order.bits & BIT_ASK) != 0], cold.stop_at)
    if order.bits & (BIT_ICEBERG | BIT_REDUCE_ONLY):
        m.n_special -= 1


cdef void book_refresh(Matcher* m, uint32_t handle) noexcept nogil:
    cdef MatchOrder* order = m.orders.at + handle
    cdef ColdPart* cold = m.orders.cold + handle
    cdef Level* level = m.levels + order.level
    cdef uint32_t slice = min(cold.display, cold.hidden)
    book_touch(m, (order.bits & BIT_ASK) != 0, order.level)
    book_tell(m, MATCH_REMOVED, order, level.px, 0)
    if level.tail != handle:
        m.orders.at[order.next].prev = order.prev
        if order.prev:
            m.orders.at[order.prev].next = order.next
        else:
            level.head = order.next
        m.orders.at[level.tail].next = handle
        order.prev = level.tail
        order.next = 0
        level.tail = handle
    if level.top == handle:
        level.top = 0
    level.shown += <int64_t>slice - order.qty
    order.qty = slice
    cold.hidden -= slice
    book_tell(m, MATCH_ADDED, order, level.px, slice)


cdef void book_shrink(Matcher* m, uint32_t handle, uint32_t lots) noexcept nogil:
    cdef MatchOrder* order = m.orders.at + handle
    cdef ColdPart* cold = m.orders.cold + handle
    cdef int64_t px = m.levels[order.level].px if order.level else cold.px
    cdef uint32_t hidden
    book_answer(
        m, MATCH_REPLACED, order.id, px, <int64_t>book_open(m, handle) - lots, order.owner, order.bits, 0
    )
    if order.bits & BIT_ICEBERG:
        hidden = min(lots, cold.hidden)
        cold.hidden -= hidden
        lots -= hidden
    if lots == 0:
        return
    order.qty -= lots
    if order.level:
        m.levels[order.level].shown -= lots
        book_touch(m, (order.bits & BIT_ASK) != 0, order.level)
        book_tell(m, MATCH_CHANGED, order, px, order.qty)


# --- sorting ------------------------------------------------------------------------------------------

cdef void _sift(Scratch* items, uint32_t n, uint32_t at, Scratch item) noexcept nogil:
    cdef uint64_t child = <uint64_t>at * 2 + 1
    while child < n:
        if child + 1 < n and items[child + 1].key < items[child].key:
            child += 1
        if items[child].key >= item.key:
            break
        items[at] = items[child]
        at = <uint32_t>child
        child = <uint64_t>at * 2 + 1
    items[at] = item


cdef void scratch_build(Scratch* items, uint32_t n) noexcept nogil:
    cdef uint32_t at = n >> 1
    while at:
        at -= 1
        _sift(items, n, at, items[at])


cdef Scratch scratch_pop(Scratch* items, uint32_t n) noexcept nogil:
    cdef Scratch least = items[0]
    if n > 1:
        _sift(items, n - 1, 0, items[n - 1])
    return least
