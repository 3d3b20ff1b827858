"""Own orders resting at a venue: their lists, their fills, and what the market does to them (see exchange.pxd)."""

from libc.stdint cimport int64_t, uint32_t

from engine.backtest.exchange cimport Exchange, OwnSide
from engine.backtest.order cimport SimOrder
from engine.core.types cimport SIDE_BUY


cdef enum:
    NIL = 0xFFFFFFFF


cdef inline OwnSide* own_side(Exchange* ex, int side) noexcept nogil:
    return &ex.own[0] if side == SIDE_BUY else &ex.own[1]


# Rests a copy of an order behind those of its price. ERR_FULL, ERR_ORDER_ID_EXIST, ERR_NO_MEMORY.
cdef int own_insert(Exchange* ex, const SimOrder* order) noexcept nogil
cdef void own_remove(Exchange* ex, uint32_t handle) noexcept nogil
# Sends an answer on its way. ERR_FULL, ERR_NO_MEMORY; ERR_MODEL if any model has failed up to here.
cdef int respond(Exchange* ex, const SimOrder* order) noexcept nogil
# Executes `qty` of an order at `tick`; the caller answers.
cdef void execute(
    Exchange* ex, SimOrder* order, int64_t now, bint is_maker, int64_t tick, double qty, int reason
) noexcept nogil
# Executes `qty` of a resting order at its price, answers, and removes it when nothing is left. ERR_FULL, ERR_NO_MEMORY.
cdef int fill_resting(Exchange* ex, uint32_t handle, int64_t now, double qty, int reason) noexcept nogil
# Moves own orders at `tick` in their queue. ERR_MODEL.
cdef int level_changed(Exchange* ex, OwnSide* own, int64_t tick, double prev_qty, double new_qty) noexcept nogil
# Fills own orders that the opposite best, coming from `prev_tick`, has reached or passed.
cdef int best_moved(Exchange* ex, OwnSide* own, int64_t tick, int64_t prev_tick, int64_t now) noexcept nogil
# Fills own orders that a trade of `qty` at `tick` against their side reaches; `best_tick` is opposite.
cdef int traded(
    Exchange* ex, OwnSide* own, int64_t tick, int64_t best_tick, double qty, int64_t now
) noexcept nogil
cdef int resting_check(const Exchange* ex) noexcept nogil
