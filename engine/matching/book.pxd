"""A matcher's state, and what every part of it does to the book: queues, events, levels touched, order ends.

What it is
    Both sides' levels (levels.pxd), the orders (orders.pxd) in intrusive FIFO queues, the owners' positions,
    heaps of expiries and waiting stops (heap.pxd), and a buffer of events that goes to `flush` when it is full.
    All of it is allocated by matcher_init, nothing later. docs/matching.md has the rules.

What it costs
    To append or unlink an order: its own line, a neighbour's or two, its level's; plus an event each. The levels
    a command touches are kept in a list; a level knows its place there, and because the entry names the level,
    nothing has to be cleared between commands.

The bad case
    A level that is emptied and opened again by the same command is looked for in the list of touched ones, so
    that it is reported once: a scan, where a command empties and reopens many levels of one side.
"""

from libc.stdint cimport int8_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from engine.matching.heap cimport OrderHeap
from engine.matching.levels cimport Level, MatchSide, side_close, side_find, side_open
from engine.matching.orders cimport (
    BIT_ASK,
    BIT_ICEBERG,
    BIT_REDUCE_ONLY,
    BITS_COLD,
    MatchOrder,
    Orders,
    match_likely,
    match_rare,
    order_release,
)
from engine.matching.records cimport (
    MATCH_ADDED,
    MATCH_CHANGED,
    MATCH_ENDED,
    MATCH_REMOVED,
    MatchEvent,
)


# Where events go: called with a full buffer, and by matcher_flush with what is there.
ctypedef void (*MatchFlush)(void* context, const MatchEvent* events, uint32_t n) noexcept nogil

cdef enum MatchOutput:
    OUTPUT_NONE = 0
    OUTPUT_TRADES = 1            # all but ADDED, CHANGED and REMOVED
    OUTPUT_ALL = 2

cdef enum:
    MATCH_PX_LIMIT = 0x7fffffff  # |px| is at most this
    MATCH_QTY_LIMIT = 0xffffffff


# Zeroed fields have a default where one is named.
cdef struct MatcherConfig:
    uint32_t max_orders          # live at a time, waiting stops included
    uint32_t max_owners          # owners are 1 to this
    uint32_t window              # ticks a side kept dense, a power of two from 1024; 0: 16384
    uint32_t buffer              # events kept before flush is called; 0: 1024
    uint32_t protection_ticks    # of market orders; 0: none
    uint32_t min_allocation      # lots, with ALLOC_PRO_RATA
    uint16_t instrument          # in every event
    uint8_t allocation
    uint8_t top_share            # percent, with ALLOC_PRO_RATA
    uint8_t output               # MatchOutput
    uint8_t levels               # LEVEL events: yes or no
    MatchFlush flush             # may be NULL only without any output
    void* context


cdef struct OwnerState:
    int64_t position             # bought less sold
    uint32_t live                # orders
    uint32_t _pad


# Room for whatever a command has to sort.
cdef struct Scratch:
    uint64_t key
    uint64_t value


cdef struct Matcher:
    int64_t clock
    uint64_t seq                 # of the last event
    int64_t last_px              # 0 while has_last is 0
    int64_t band_low
    int64_t band_high
    uint8_t has_last
    uint8_t phase
    uint8_t allocation
    uint8_t wants                # bits WANT_*
    uint32_t n_buffer
    uint32_t buffer_size
    uint32_t n_touched
    uint32_t closed              # bit 0 or 1: the command has emptied a level of that side
    uint32_t free_level
    uint32_t n_special           # live icebergs and reduce-only orders
    uint32_t watch               # resting order of the command whose fills by stops count as its own; 0 none
    int64_t watch_qty
    uint64_t watch_value
    MatchEvent* buffer
    Level* levels                # [max_orders + 3]
    OwnerState* owners           # [max_owners + 1]
    uint64_t* touched            # px << 32 | side << 31 | level
    Orders orders
    MatchSide[2] sides           # bids, asks
    OrderHeap expiries
    OrderHeap[2] stops           # buys by stop_px, sells by -stop_px
    uint64_t entries
    uint32_t* triggered          # stops that become active one after the other
    Scratch* scratch             # [max_orders + 3]
    MatcherConfig config


cdef enum:
    WANT_PRIVATE = 1             # and trades
    WANT_BOOK = 2
    WANT_LEVELS = 4


cdef int matcher_init(Matcher* matcher, const MatcherConfig* config) noexcept nogil
cdef void matcher_free(Matcher* matcher) noexcept nogil
cdef void matcher_flush(Matcher* matcher) noexcept nogil

# An iceberg whose slice is gone shows the next one at the end of its queue.
cdef void book_refresh(Matcher* m, uint32_t handle) noexcept nogil
# Takes lots off an order's open quantity, hidden ones first; fewer than it has. Its place is kept.
cdef void book_shrink(Matcher* m, uint32_t handle, uint32_t lots) noexcept nogil
cdef void book_touched(Matcher* m) noexcept nogil
cdef void book_reopened(Matcher* m, uint32_t side, uint32_t level) noexcept nogil
cdef void book_forget_cold(Matcher* m, uint32_t handle) noexcept nogil
# A binary heap over scratch: built once, then popped from the least key on; n is one less after each pop.
cdef void scratch_build(Scratch* items, uint32_t n) noexcept nogil
cdef Scratch scratch_pop(Scratch* items, uint32_t n) noexcept nogil


# --- events ---------------------------------------------------------------------------------------

cdef inline void book_emit(
    Matcher* m, uint8_t kind, uint64_t order_id, uint64_t other_id, int64_t px, int64_t qty,
    uint32_t owner, uint32_t other_owner, int8_t side, uint8_t reason
) noexcept nogil:
    cdef MatchEvent* event
    if match_rare(m.n_buffer == m.buffer_size):
        matcher_flush(m)
    event = m.buffer + m.n_buffer
    m.n_buffer += 1
    m.seq += 1
    event.seq = m.seq
    event.ts = m.clock
    event.order_id = order_id
    event.other_id = other_id
    event.px = px
    event.qty = qty
    event.owner = owner
    event.other_owner = other_owner
    event.instrument = m.config.instrument
    event._pad = 0
    event.kind = kind
    event.side = side
    event.reason = reason
    event.flags = 0


cdef inline int8_t bits_side(uint32_t bits) noexcept nogil:
    return -1 if bits & BIT_ASK else 1


# ADDED, CHANGED and REMOVED.
cdef inline void book_tell(
    Matcher* m, uint8_t kind, const MatchOrder* order, int64_t px, int64_t qty
) noexcept nogil:
    if m.wants & WANT_BOOK:
        book_emit(m, kind, order.id, 0, px, qty, order.owner, 0, bits_side(order.bits), 0)


# ACCEPTED, REPLACED, TRIGGERED and ENDED.
cdef inline void book_answer(
    Matcher* m, uint8_t kind, uint64_t order_id, int64_t px, int64_t qty, uint32_t owner, uint32_t bits,
    uint8_t reason
) noexcept nogil:
    if m.wants & WANT_PRIVATE:
        book_emit(m, kind, order_id, 0, px, qty, owner, 0, bits_side(bits), reason)


# A level is in the list once: its `touched` names an entry, which counts only if it names the level.
cdef inline void book_touch(Matcher* m, uint32_t side, uint32_t handle) noexcept nogil:
    cdef Level* level
    cdef uint64_t name
    if not m.wants & WANT_LEVELS:
        return
    level = m.levels + handle
    name = (<uint64_t>(<uint32_t>level.px) << 32) | (side << 31) | handle
    if level.touched < m.n_touched and m.touched[level.touched] == name:
        return
    level.touched = m.n_touched
    m.touched[m.n_touched] = name
    m.n_touched += 1


# --- queues ---------------------------------------------------------------------------------------

# A level for a key that has none.
cdef inline uint32_t book_open_level(Matcher* m, uint32_t index, int64_t key, uint32_t first) noexcept nogil:
    cdef MatchSide* side = &m.sides[index]
    cdef uint32_t name = m.free_level
    cdef Level* level = m.levels + name
    m.free_level = level.head
    level.px = <int32_t>(key ^ side.mirror)
    level.count = 0
    level.shown = 0
    level.head = first
    level.tail = 0
    level.top = first if side_open(side, key, name) else 0
    if match_rare(m.closed & (1 << index)):
        book_reopened(m, index, name)
    return name


# Puts an order at the end of its level's queue, whose level is opened if there is none.
cdef inline void book_append(
    Matcher* m, uint32_t handle, int64_t px, uint32_t qty, uint32_t index
) noexcept nogil:
    cdef MatchOrder* order = m.orders.at + handle
    cdef int64_t key = px ^ m.sides[index].mirror
    cdef uint32_t name = side_find(&m.sides[index], key)
    cdef uint32_t tail
    cdef Level* level
    if match_rare(name == 0):
        name = book_open_level(m, index, key, handle)
    level = m.levels + name
    tail = level.tail
    level.tail = handle
    level.count += 1
    level.shown += qty
    order.level = name
    order.prev = tail
    order.next = 0
    # Order 0 is nobody's, as when unlinking.
    m.orders.at[tail].next = handle
    book_touch(m, index, name)
    book_tell(m, MATCH_ADDED, order, px, qty)


# Takes an order out of its queue; an empty level goes.
cdef inline void book_unlink(Matcher* m, uint32_t handle) noexcept nogil:
    cdef MatchOrder* order = m.orders.at + handle
    cdef uint32_t index = (order.bits & BIT_ASK) != 0
    cdef uint32_t name = order.level
    cdef Level* level = m.levels + name
    book_touch(m, index, name)
    # Order 0 is nobody's: writing its links is cheaper than a branch that cannot be foreseen.
    m.orders.at[order.prev].next = order.next
    m.orders.at[order.next].prev = order.prev
    level.head = level.head if order.prev else order.next
    level.tail = level.tail if order.next else order.prev
    level.top = 0 if level.top == handle else level.top
    level.shown -= order.qty
    level.count -= 1
    order.level = 0
    book_tell(m, MATCH_REMOVED, order, level.px, 0)
    if level.count == 0:
        side_close(&m.sides[index], level.px ^ m.sides[index].mirror)
        level.head = m.free_level
        m.free_level = name
        m.closed |= <uint32_t>((m.wants & WANT_LEVELS) != 0) << index


# An order that is out of the book and of its queue dies.
cdef inline void book_forget(Matcher* m, uint32_t handle) noexcept nogil:
    cdef MatchOrder* order = m.orders.at + handle
    m.owners[order.owner].live -= 1
    if match_rare(order.bits & (BITS_COLD | BIT_REDUCE_ONLY)):
        book_forget_cold(m, handle)
    order_release(&m.orders, handle)


# A resting order has executed `qty`, at most what it shows.
cdef inline void book_executed(Matcher* m, uint32_t handle, uint32_t qty) noexcept nogil:
    cdef MatchOrder* order = m.orders.at + handle
    cdef Level* level = m.levels + order.level
    if qty < order.qty:
        order.qty -= qty
        level.shown -= qty
        book_touch(m, (order.bits & BIT_ASK) != 0, order.level)
        book_tell(m, MATCH_CHANGED, order, level.px, order.qty)
    elif match_rare(order.bits & BIT_ICEBERG) and m.orders.cold[handle].hidden:
        book_refresh(m, handle)
    else:
        book_unlink(m, handle)
        book_forget(m, handle)


# What is open of a live order, hidden quantity included.
cdef inline uint32_t book_open(const Matcher* m, uint32_t handle) noexcept nogil:
    cdef const MatchOrder* order = m.orders.at + handle
    return order.qty + (m.orders.cold[handle].hidden if order.bits & BIT_ICEBERG else 0)


# Ends a live order wherever it is.
cdef inline void book_end(Matcher* m, uint32_t handle, uint8_t reason) noexcept nogil:
    cdef MatchOrder* order = m.orders.at + handle
    cdef int64_t qty = book_open(m, handle)
    cdef int64_t px
    if match_likely(order.level != 0):
        px = m.levels[order.level].px
        book_unlink(m, handle)
    else:
        px = m.orders.cold[handle].px
    book_answer(m, MATCH_ENDED, order.id, px, qty, order.owner, order.bits, reason)
    book_forget(m, handle)
