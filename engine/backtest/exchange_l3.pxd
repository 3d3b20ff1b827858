"""The exchange side where the recording is market by order: own orders stand in the market's own queues.

Nothing about the place in a queue is estimated. A resting order fills whole when an order of the market
behind it in its queue is filled, when one at a worse price is, or when the opposite best moves to or through
its price (hftbacktest's ``L3FIFOQueueModel`` and ``L3NoPartialFillExchange``); a clear of the market's orders
ends it. Trades fill nothing: a market-by-order feed has a fill for each resting order that one meets.

The structure, requests, answers, fees and times are those of exchange.pxd, which branches to here; own
orders are in its lists as well, and ``SimOrder.place`` is their handle in the book's queues.

The market's orders themselves are the tape's (tape.pxd), which tells what each row did to one. A row costs
its level's total, a look at whether an own order is at the level it leaves, which then is nearer to its turn,
and a look at whether own orders were given out.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from engine.backtest.exchange cimport Exchange
from engine.backtest.order cimport SimOrder
from engine.backtest.source cimport Source
from engine.backtest.tape cimport Cursor
from engine.book.l2 cimport L2Book
from engine.book.l3 cimport l3_follow
from engine.book.ladder cimport ladder_rare
from engine.book.roll cimport ROLL_FILL, ROLL_NONE, RollChange
from engine.core.codes cimport OK
from engine.core.types cimport Event


# Shows the venue its next row. A level's codes; ERR_ORDER_NOT_FOUND for an order that is not there, ...
cdef int orders_row(Exchange* ex) noexcept nogil
# Shows it all rows strictly before `limit`; if `stop`, up to one that makes it answer. Sets `fault` on errors.
cdef int orders_run(Exchange* ex, int64_t limit, bint stop) noexcept nogil
# Puts a resting order into its queue, behind all others. ERR_NO_MEMORY.
cdef int orders_join(Exchange* ex, uint64_t order_id) noexcept nogil
cdef void orders_leave(Exchange* ex, uint32_t handle) noexcept nogil
# Gives a resting order another price or quantity; it keeps its place only at the same price with no more.
cdef int orders_change(Exchange* ex, uint32_t handle, const SimOrder* changed) noexcept nogil
cdef int orders_check(const Exchange* ex) noexcept nogil
# Raises what is wrong with a row, told by where it lies, that a book has refused with that code.
cdef orders_blame(Source source, const Event* event, int code)
# Our own side: applies all rows strictly before `bound` to the levels. On an error the cursor is on its row.
cdef int orders_rows(Cursor* rows, L2Book* book, int64_t bound) noexcept nogil
cdef int orders_rare(L2Book* book, const RollChange* change) noexcept nogil


cdef inline int orders_seen(L2Book* book, const RollChange* change, double qty) noexcept nogil:
    """Applies what a row that we see does to our levels; the book's time is the caller's to set."""
    if ladder_rare(change.op >= ROLL_FILL):
        return orders_rare(book, change)
    return l3_follow(book, change, qty) if change.op != ROLL_NONE else OK


cdef inline bint orders_dates(const RollChange* change) noexcept nogil:
    """Whether the book's time is that of the row."""
    return change.op != ROLL_NONE and change.op != ROLL_FILL
