"""Both sides of a polled market in one loop, as long as they are at the same row.

Most rows of a recording reach both sides before the strategy looks again. So the venue does not run ahead of
our side: what both may see goes into both books at once (engine/book/pair.pxd), in one loop that reads each
row once. Where only one side sees a row, or our side may not see it yet, each goes on by itself until ours has
caught up. A row that is more than a quantity in both books (a new best, a level that is far away or has an
order of ours, a trade, a clear) is shown to each side by itself, in its own function.

Neither side reads what the other has seen before the strategy looks, so what comes out is the same.
"""

from libc.stdint cimport int64_t

from engine.backtest.hbt.market cimport Market


cdef inline bint together_can(const Market* market) noexcept nogil:
    """Whether that is to be had: not market by order, nor with quantity arrays, nor where levels are consumed."""
    return not market.venue.by_order and not market.venue.consumes and market.view.qty[0] == NULL


# Lets the venue work through everything strictly before `step`, and our side follow, but not to rows of `bound` or
# later. Codes of either.
cdef int together_work(Market* market, int64_t step, int64_t bound) noexcept nogil
