"""What a strategy can call, as C functions: one set for Python and for compiled code.

Each looks at its arguments first, so that nothing a strategy passes can do more than raise. A function that
returns an ``int64_t`` returns -1 with a Python exception set; those that say ``noexcept`` take a market from
``call_market`` and cannot fail. They take the GIL only to raise and to look for an interrupt.
"""

from libc.stdint cimport int64_t, uint64_t

from engine.backtest.hbt.clock cimport Clock
from engine.backtest.hbt.market cimport Market
from engine.backtest.order cimport SimOrder
from engine.core.types cimport Event


cdef enum:
    ALL_MARKETS = -1


# The clock, and whose it is.
cdef struct Session:
    Clock clock
    void* owner                  # the object that knows the recordings, borrowed
    bint closed


cdef int64_t call_now(const Session* session) noexcept nogil
cdef int64_t call_elapse(Session* session, int64_t duration) except -1 nogil
cdef int64_t call_goto_end(Session* session) except -1 nogil
cdef int64_t call_wait_order_response(
    Session* session, int64_t asset, uint64_t order_id, int64_t timeout
) except -1 nogil
cdef int64_t call_wait_next_feed(Session* session, bint answers, int64_t timeout) except -1 nogil
cdef int64_t call_submit(
    Session* session, int64_t asset, uint64_t order_id, int64_t side, double px, double qty,
    int64_t time_in_force, int64_t order_type, bint wait
) except -1 nogil
cdef int64_t call_cancel(Session* session, int64_t asset, uint64_t order_id, bint wait) except -1 nogil
cdef int64_t call_modify(
    Session* session, int64_t asset, uint64_t order_id, double px, double qty, bint wait
) except -1 nogil
cdef int64_t call_clear_inactive_orders(Session* session, int64_t asset) except -1 nogil
cdef int64_t call_clear_last_trades(Session* session, int64_t asset) except -1 nogil
# The market of an asset, as a number.
cdef int64_t call_market(Session* session, int64_t asset) except -1 nogil
cdef int64_t call_close(Session* session) except -1 nogil

cdef double market_bid_qty(const Market* market, int64_t tick) noexcept nogil
cdef double market_ask_qty(const Market* market, int64_t tick) noexcept nogil
# The quantity arrays, as a number.
cdef int64_t market_ladder(Market* market, int64_t side) except -1 nogil
# The levels of the book as events, bids first, best first: an array that market_snapshot_free frees.
cdef int64_t market_snapshot(const Market* market, int64_t* n) except -1 nogil
cdef int64_t market_snapshot_free(Event* events) noexcept nogil
cdef const SimOrder* market_order(const Market* market, uint64_t order_id) noexcept nogil
# What the venue knows of a resting order's place now, which we do not: the quantity in front of it, and that of
# its level without own orders. NaN unless it rests there.
cdef double market_queue_ahead(const Market* market, uint64_t order_id) noexcept nogil
cdef double market_queue_total(const Market* market, uint64_t order_id) noexcept nogil

# A walk through a market's orders: its number; the next order, as a number, 0 at the end; where it is.
cdef int64_t walk_start(Market* market) noexcept nogil
cdef int64_t walk_next(Market* market, int64_t number) except -1 nogil
cdef int64_t walk_current(Market* market, int64_t number) except -1 nogil
