"""What our own orders have left of the replayed levels: the venue's side of the option ``liquidity_consumption``.

Without it every order finds the levels as they were recorded, whatever we took from them before. With it the venue
remembers, level by level, how much of its quantity is consumed. Orders that cross find what is left, and go on to
the next level; the rest of one that may rest does so at its price, across levels that it has emptied; and a resting
order that a level of the other side comes to fills with no more than that level has left.

A consumed quantity is given back as its level shrinks: what leaves a level in the recording is first what we took,
because that stood in front. A level that grows has as much more left as was added. So between two changes of a level
we never get more of it than it showed, and over its life no more than all that was ever put there.

After each row no own order stands across from a level that has something left: such a level fills it.

A row costs what it costs without (exchange.pxd), and one probe of a hash while anything of its side is consumed. An
order that crosses walks the levels from the best one, emptied ones too, and so does each row while an order of ours
stands beyond the opposite best: the bad case is a strategy that has emptied hundreds of levels which the market does
not touch.
"""

from libc.stdint cimport int64_t

from engine.backtest.exchange cimport Exchange
from engine.backtest.order cimport SimOrder
from engine.core.types cimport Event


# Makes a venue remember; ERR_NO_MEMORY.
cdef int liquidity_init(Exchange* ex) noexcept nogil
cdef void liquidity_free(Exchange* ex) noexcept nogil
# Shows the venue one event. The book's codes, ERR_FULL, ERR_NO_MEMORY, ERR_MODEL.
cdef int liquidity_event(Exchange* ex, const Event* event) noexcept nogil
# Shows it all rows strictly before `limit`; if `stop`, up to one that makes it answer.
cdef int liquidity_run(Exchange* ex, int64_t limit, bint stop) noexcept nogil
# The key of a side's best level with something left; INVALID_MIN_TICK without one.
cdef int64_t liquidity_best(const Exchange* ex, int side) noexcept nogil
# Executes an order that crosses or a market order, and rests or ends it; executions before the last are answered.
cdef int liquidity_take(Exchange* ex, SimOrder* order, int64_t now) noexcept nogil
cdef int liquidity_check(const Exchange* ex) noexcept nogil
