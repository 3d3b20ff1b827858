"""Time of a polled backtest: everything up to an instant, or up to the next thing worth waking for.

A polling strategy acts only between two calls, so a call is one question: until when? The answer is known,
or found by letting venues run ahead to their next answer; then each asset is worked off by itself, side by
side with its venue, a block of rows at a time so that both read it while it is near. What a call costs
beyond rows and answers is some twenty compares an asset.

At one instant everything happens before the strategy looks again, so the order in which hftbacktest merges
that instant shows only in which of feed and answer ``wait_next_feed`` names.
"""

from libc.stdint cimport int64_t, uint64_t

from engine.backtest.hbt.market cimport Market


cdef enum:
    ELAPSE_OK = 0                # hftbacktest's results
    ELAPSE_END = 1
    ELAPSE_FEED = 2
    ELAPSE_ANSWER = 3
    CLOCK_PAUSED = 4             # time to look for an interrupt: then call again with the same arguments


cdef struct Clock:
    Market* markets
    int n_markets
    bint started                 # whether there is a time yet
    int64_t now
    int code                     # of what failed; the clock stands still from then on
    int failed                   # in which market
    uint64_t patience            # steps and calls until the next look for an interrupt


# Sets the time to that of the first event; false when there is none.
cdef bint clock_start(Clock* clock) noexcept nogil
# Works off everything up to `until`: ELAPSE_OK, ELAPSE_END when nothing is left, CLOCK_PAUSED, -1 with `code`.
cdef int clock_advance(Clock* clock, int64_t until) noexcept nogil
# Finds when a market gets its next answer to an order; `until` if that is earlier. ELAPSE_OK, CLOCK_PAUSED, -1 with
# `code`.
cdef int clock_find_answer(Clock* clock, int asset, uint64_t order_id, int64_t until, int64_t* at) noexcept nogil
# Works off everything up to the next row that reaches us (or the next answer), at most up to `until`; CLOCK_PAUSED
# with nothing done yet.
cdef int clock_next_feed(Clock* clock, bint answers, int64_t until) noexcept nogil
