"""What becomes of a request when it arrives at a venue (see exchange.pxd)."""

from libc.stdint cimport int64_t

from engine.backtest.exchange cimport Exchange
from engine.backtest.order cimport SimOrder


# How far beyond the best a market order walks the levels; hftbacktest's.
cdef enum:
    MARKET_REACH = 100


# Carries one request out; `order` becomes the answer to it. Executions before the last one are answered here.
cdef int arrive(Exchange* ex, SimOrder* order, int64_t now) noexcept nogil
