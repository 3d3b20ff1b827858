"""The matching engine: one instrument's exchange. docs/matching.md has its rules.

What it is
    A `Matcher` (book.pxd) with free functions that take commands and give results; events go to the sink of its
    config. Orders queue by price and time in levels that keep their totals; other allocations, stops, icebergs,
    auctions and the rest are in the modules beside this one, off the path of a plain order.

What it costs
    A command touches its 64 bytes, its result's 40, the order's 32 bytes, its level's 32, a neighbour or two in the
    queue and the owner's 16. With more orders than the cache holds, a command on its own that names one waits for
    memory once; matcher_apply_many asks for what the commands ahead will need.

The bad case
    An order that sweeps many levels, a mass cancel and an expiry cost what they end. See levels.pxd, book.pxd and
    arrival.pxd for the rest.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from engine.matching.book cimport (  # re-exported
    Matcher,
    MatcherConfig,
    MatchFlush,
    book_open,
    matcher_flush,
    matcher_free,
    matcher_init,
)
from engine.matching.levels cimport NO_BEST, side_find
from engine.matching.orders cimport MatchOrder, order_find
from engine.matching.records cimport MatchCommand, MatchResult
from engine.matching.state cimport matcher_check, matcher_hash  # re-exported


# Answers a command: the code, which is in the result too.
cdef int matcher_apply(Matcher* matcher, const MatchCommand* command, MatchResult* result) noexcept nogil
# The same for n commands, one after the other, with their memory asked for ahead.
cdef void matcher_apply_many(
    Matcher* matcher, const MatchCommand* commands, MatchResult* results, uint64_t n
) noexcept nogil

# The sides of readers: 0 bids, 1 asks.


cdef inline bint matcher_has(const Matcher* matcher, int side) noexcept nogil:
    return matcher.sides[side].best != NO_BEST


# The best price of a side that has one.
cdef inline int64_t matcher_best(const Matcher* matcher, int side) noexcept nogil:
    return matcher.sides[side].best ^ matcher.sides[side].mirror


# What a level shows, and how many orders; 0 where there is none.
cdef inline int64_t matcher_level(const Matcher* matcher, int side, int64_t px, uint32_t* count) noexcept nogil:
    cdef uint32_t name = side_find(&matcher.sides[side], px ^ matcher.sides[side].mirror)
    count[0] = matcher.levels[name].count if name else 0
    return matcher.levels[name].shown if name else 0


# At most n levels, best first; returns how many.
cdef uint32_t matcher_depth(
    const Matcher* matcher, int side, uint32_t n, int64_t* px, int64_t* qty, uint32_t* counts
) noexcept nogil


# The handle of a live order, 0 without one; it is good until the next command.
cdef inline uint32_t matcher_find(const Matcher* matcher, uint64_t order_id) noexcept nogil:
    return order_find(&matcher.orders, order_id)


# The queue of a level: its first order, and the one behind another; 0 at the end.
cdef inline uint32_t matcher_first(const Matcher* matcher, int side, int64_t px) noexcept nogil:
    cdef uint32_t name = side_find(&matcher.sides[side], px ^ matcher.sides[side].mirror)
    return matcher.levels[name].head if name else 0


cdef inline uint32_t matcher_next(const Matcher* matcher, uint32_t handle) noexcept nogil:
    return matcher.orders.at[handle].next


cdef inline const MatchOrder* matcher_order(const Matcher* matcher, uint32_t handle) noexcept nogil:
    return matcher.orders.at + handle


# The price of a live order; of a waiting stop what it will have.
cdef inline int64_t matcher_px(const Matcher* matcher, uint32_t handle) noexcept nogil:
    cdef uint32_t name = matcher.orders.at[handle].level
    return matcher.levels[name].px if name else matcher.orders.cold[handle].px


cdef inline int64_t matcher_position(const Matcher* matcher, uint32_t owner) noexcept nogil:
    return matcher.owners[owner].position
