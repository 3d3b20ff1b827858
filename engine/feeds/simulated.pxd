"""A seeded zero-intelligence market by price.

What it is
    A fair price that jumps and drifts, and around it a book of integer lots in one circular array of
    ticks (bids below, asks above: it never crosses), churned by limit orders, cancels and market orders
    at random distances. Orders the fair price has passed are pulled by their makers or taken by somebody
    better informed; a gap at the touch is closed at the fair price.

What it costs
    A step is one action of one participant: a few random draws and one to some twenty rows. The bad case
    is a jump, each level of which is an action of its own.

Only integer arithmetic and single IEEE operations decide anything, so a seed gives the same bytes on
every machine.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from engine.core.types cimport Event


cdef enum:
    MARKET_WIDTH = 16384         # ticks of the circular array, a power of two
    MARKET_PENDING = 256         # rows of one step at most
    MARKET_SWEEP = 16            # levels one market order takes at most


cdef struct Market:
    uint64_t rng[4]
    double tick_size
    double lot_size
    double mean_gap              # nanoseconds between actions in quiet times
    double mean_jump             # nanoseconds between jumps of the fair price in quiet times
    double rate
    int64_t now                  # exch_ts of the last action
    int64_t local                # local_ts of the last row
    int64_t end                  # no row at or after it
    int64_t next_jump
    int64_t next_burst
    int64_t burst_end
    int64_t drift                # of the fair price's jumps: out of 2**16, so many more go up than down
    int64_t fair                 # the greatest tick a bid is worth
    int64_t bid                  # best ticks
    int64_t ask
    int64_t low                  # no bid below, no ask above
    int64_t high
    uint32_t n_bids              # levels
    uint32_t n_asks
    uint32_t reach_bits          # orders are placed less than 2**reach_bits ticks from the best
    uint32_t jump_bits           # the fair price jumps less than 2**jump_bits ticks
    int burst                    # 0, or the direction of the burst
    uint32_t snapshot_row        # of the opening: the clear, then the bids, then the asks, by distance
    uint32_t n_pending
    uint32_t taken
    int64_t lots[MARKET_WIDTH]
    Event pending[MARKET_PENDING]


# Writes at most n rows; less only at the end of the time.
cdef Py_ssize_t market_fill(Market* market, Event* rows, Py_ssize_t n) noexcept nogil
