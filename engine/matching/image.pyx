"""Writing matchers and agents down; image.pxd says what is in one."""

from libc.stdint cimport uint32_t, uint64_t

from engine.core.codes cimport OK
from engine.core.image cimport Image, image_count, image_fault, image_match, image_move, image_same, image_sparse
from engine.core.types cimport Event
from engine.matching.agents cimport AGENTS_PENDING, AGENTS_TIMERS, Agents, Timer
from engine.matching.book cimport Matcher, OwnerState
from engine.matching.crowd cimport Crowd, CrowdOrder, crowd_check
from engine.matching.heap cimport HeapItem, OrderHeap
from engine.matching.levels cimport FarLevel, Level, MatchSide
from engine.matching.orders cimport ORDERS_BASE, ColdPart, MatchOrder, Orders
from engine.matching.records cimport MatchEvent
from engine.matching.state cimport matcher_check

cdef enum:
    SPARE_LEVELS = 3             # book.pyx: levels a command may open before those of its own orders are gone


cdef void _orders_image(Orders* orders, Image* image) noexcept nogil:
    cdef uint64_t room = <uint64_t>orders.places + ORDERS_BASE
    image_match(image, orders.capacity)
    image_match(image, orders.places)
    image_sparse(image, orders.at, room, sizeof(MatchOrder))
    image_sparse(image, orders.cold, room, sizeof(ColdPart))
    image_move(image, &orders.used, sizeof(orders.used))
    image_move(image, &orders.furthest, sizeof(orders.furthest))


cdef void _side_image(MatchSide* side, uint32_t capacity, Image* image) noexcept nogil:
    image_match(image, side.mask)
    image_match(image, <uint32_t>side.mirror)
    image_move(image, &side.best, sizeof(side.best))
    image_move(image, &side.base, sizeof(side.base))
    image_sparse(image, side.window, side.mask + 1, sizeof(uint32_t))
    image_sparse(image, side.words, (side.mask + 1) >> 6, sizeof(uint64_t))
    image_sparse(image, side.summary, side.summary_mask + 1, sizeof(uint64_t))
    image_move(image, &side.best_level, sizeof(side.best_level))
    image_move(image, &side.n_levels, sizeof(side.n_levels))
    side.n_far = <uint32_t>image_count(image, side.n_far, capacity)
    image_move(image, side.far, side.n_far * sizeof(FarLevel))


cdef void _heap_image(OrderHeap* heap, uint32_t capacity, Image* image) noexcept nogil:
    heap.n = <uint32_t>image_count(image, heap.n, capacity)
    image_move(image, heap.items + 1, heap.n * sizeof(HeapItem))


cdef void matcher_image(Matcher* m, Image* image) noexcept nogil:
    cdef uint32_t room = m.config.max_orders + SPARE_LEVELS
    cdef int i
    image_match(image, m.config.max_orders)
    image_match(image, m.config.max_owners)
    image_match(image, m.config.protection_ticks)
    image_match(image, m.config.min_allocation)
    image_match(image, m.config.top_share)
    image_match(image, m.allocation)
    image_match(image, m.wants)
    image_move(image, &m.clock, sizeof(m.clock))
    image_move(image, &m.seq, sizeof(m.seq))
    image_move(image, &m.last_px, sizeof(m.last_px))
    image_move(image, &m.band_low, sizeof(m.band_low))
    image_move(image, &m.band_high, sizeof(m.band_high))
    image_move(image, &m.has_last, sizeof(m.has_last))
    image_move(image, &m.phase, sizeof(m.phase))
    image_move(image, &m.closed, sizeof(m.closed))
    image_move(image, &m.free_level, sizeof(m.free_level))
    image_move(image, &m.n_special, sizeof(m.n_special))
    image_move(image, &m.watch, sizeof(m.watch))
    image_move(image, &m.watch_qty, sizeof(m.watch_qty))
    image_move(image, &m.watch_value, sizeof(m.watch_value))
    image_move(image, &m.entries, sizeof(m.entries))
    m.n_buffer = <uint32_t>image_count(image, m.n_buffer, m.buffer_size)
    image_move(image, m.buffer, m.n_buffer * sizeof(MatchEvent))
    m.n_touched = <uint32_t>image_count(image, m.n_touched, room)
    image_sparse(image, m.touched, room, sizeof(uint64_t))
    image_sparse(image, m.levels, room, sizeof(Level))
    image_sparse(image, m.owners, <uint64_t>m.config.max_owners + 1, sizeof(OwnerState))
    _orders_image(&m.orders, image)
    for i in range(2):
        _side_image(&m.sides[i], room, image)
        _heap_image(&m.stops[i], m.config.max_orders, image)
    _heap_image(&m.expiries, m.config.max_orders, image)
    if image.loading and image.code == OK:
        image_fault(image, matcher_check(m))


cdef void _crowd_image(Crowd* crowd, Image* image) noexcept nogil:
    cdef uint32_t zone
    image_match(image, crowd.capacity)
    image_match(image, crowd.zones)
    image_same(image, crowd.rate, sizeof(crowd.rate))
    image_same(image, crowd.zone_at, sizeof(crowd.zone_at))
    image_sparse(image, crowd.orders, crowd.capacity, sizeof(CrowdOrder))
    for zone in range(crowd.zones):
        crowd.count[zone] = <uint32_t>image_count(image, crowd.count[zone], crowd.capacity)
        image_move(image, crowd.listed + <uint64_t>zone * crowd.capacity, crowd.count[zone] * sizeof(uint32_t))
    crowd.n_free = <uint32_t>image_count(image, crowd.n_free, crowd.capacity)
    image_move(image, crowd.free, crowd.n_free * sizeof(uint32_t))
    image_move(image, &crowd.leaving, sizeof(crowd.leaving))
    if image.loading and image.code == OK:
        image_fault(image, crowd_check(crowd))


cdef void agents_image(Agents* a, Image* image) noexcept nogil:
    image_same(image, &a.law, sizeof(a.law))
    image_match(image, a.n_traders)
    image_move(image, a.rng, sizeof(a.rng))
    # From the first to the last of what has no pointer in it.
    image_move(image, &a.now, <char*>&a.n_traders - <char*>&a.now)
    a.n_timers = <uint32_t>image_count(image, a.n_timers, AGENTS_TIMERS)
    image_move(image, a.timers, a.n_timers * sizeof(Timer))
    image_move(image, &a.refused, sizeof(a.refused))
    image_move(image, &a.open_bin, sizeof(a.open_bin))
    image_move(image, &a.open_left, sizeof(a.open_left))
    a.n_pending = <uint32_t>image_count(image, a.n_pending, AGENTS_PENDING)
    image_move(image, a.pending, a.n_pending * sizeof(Event))
    a.taken = <uint32_t>image_count(image, a.taken, a.n_pending)
    image_move(image, a.regimes, sizeof(a.regimes))
    image_move(image, &a.lost, sizeof(a.lost))
    image_move(image, &a.command, sizeof(a.command))
    image_move(image, &a.result, sizeof(a.result))
    image_move(image, a.position, sizeof(a.position))
    image_move(image, a.open_orders, sizeof(a.open_orders))
    image_move(image, a.traders, sizeof(a.traders))
    _crowd_image(&a.crowd, image)
    matcher_image(a.venue, image)
