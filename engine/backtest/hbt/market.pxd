"""One asset as a polling strategy has it: the venue, and our own side of it.

Our side is a book of the rows that have reached us, the orders as we know them, what fills have made of the
position, and the last trades. Nothing of it is looked at before the strategy looks, so everything that
happened since it last did is worked off in batches: the venue in its loop (exchange.pxd), our book in one
over the same packed rows, and the answers one by one.

A row costs its book's update and two compares; with quantity arrays on (``market_view``), two stores more.
A trade is copied only if trades are kept. Rules and their order are hftbacktest's ``Local``; ``faithful``
venues repeat its faults here as well.
"""

from libc.stdint cimport INT64_MAX, int64_t, uint32_t, uint64_t

from engine.backtest.exchange cimport Exchange, exchange_next_ts
from engine.backtest.hbt.account cimport Account
from engine.backtest.hbt.table cimport OrderTable
from engine.backtest.order cimport SimOrder
from engine.backtest.tape cimport Cursor, TapeRow
from engine.book.l2 cimport L2Book
from engine.core.types cimport Event


# Quantities by tick from `first` to `last`, for strategies that index them; kept up once asked for.
cdef struct LadderView:
    double* qty[2]               # bids, asks; NULL until asked for
    int64_t first
    int64_t last


# Trades since the strategy last cleared them. Outgrown buffers stay until the end: views may be on them.
cdef struct TradeLog:
    Event* rows
    uint64_t n
    uint64_t room
    Event* outgrown[64]
    int n_outgrown
    bint kept                    # whether any are


# A walk through the orders. Strategies hold its number; so many can be under way at once.
cdef enum:
    MAX_WALKS = 16               # a power of two


cdef struct OrderWalk:
    int64_t number
    const SimOrder* current      # NULL before the first
    uint32_t next
    uint64_t removals            # of the table when it began


cdef struct Market:
    L2Book book                  # first: its address is what strategies read
    Account account
    OrderTable orders
    OrderWalk walks[MAX_WALKS]
    int64_t n_walks              # ever begun
    Exchange venue
    Cursor* rows                 # what we see
    const Event* fault           # the row that our book has refused
    LadderView view
    TradeLog trades
    int64_t memory               # what compiled code counts references to all this by; 0 until it asks
    bint fed                     # a row has reached us since somebody cleared this
    bint answered                # so has an answer
    bint has_feed
    bint has_order
    int64_t feed_exch_ts         # of the last row that reached us
    int64_t feed_local_ts
    int64_t order_req_ts         # of the last answer that a venue gave
    int64_t order_exch_ts
    int64_t order_resp_ts


cdef void market_free(Market* market) noexcept nogil
# Applies all rows and answers strictly before `bound` to our side. ERR_NO_MEMORY; a code of the book by order,
# with `fault` set.
cdef int market_rows(Market* market, int64_t bound) noexcept nogil
# Not market by order, without quantity arrays: one row of the block where we are; that we have got up to a row of it;
# all rows strictly before `bound` and before the one where the venue is.
cdef int market_packed(Market* market, const TapeRow* row) noexcept nogil
cdef void market_noted(Market* market, const TapeRow* row) noexcept nogil
cdef int market_follow(Market* market, int64_t bound) noexcept nogil
cdef int market_answers(Market* market, int64_t bound) noexcept nogil
# Makes the funding payment that is due, once all up to its time has been applied; not behind the end of it all.
cdef void market_pay(Market* market) noexcept nogil
# Takes the quantities of the book into the arrays. ERR_NO_MEMORY.
cdef int market_view(Market* market) noexcept nogil
# Requests at `now`. ERR_ORDER_ID_EXIST, ERR_ORDER_NOT_FOUND, ERR_REQUEST_IN_PROCESS, ERR_NO_MEMORY.
cdef int market_submit(Market* market, const SimOrder* order, int64_t now) noexcept nogil
cdef int market_cancel(Market* market, uint64_t order_id, int64_t now) noexcept nogil
cdef int market_modify(Market* market, uint64_t order_id, int64_t tick, double qty, int64_t now) noexcept nogil
cdef int market_check(const Market* market) noexcept nogil


cdef inline bint market_over(const Market* market) noexcept nogil:
    """Whether nothing of a market is left to happen."""
    return (
        market.rows.ts == INT64_MAX
        and exchange_next_ts(&market.venue) == INT64_MAX
        and market.venue.responses.next_ts == INT64_MAX
    )
