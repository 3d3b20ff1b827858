"""Market-by-price book: a dense window of ticks around the market, far levels spilled, none lost."""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from engine.core.types cimport Event


# What one update did to the side it touched.
cdef struct L2Change:
    int64_t price_tick
    int64_t prev_best_tick
    int64_t best_tick
    double prev_qty
    double new_qty


cdef struct L2Book:
    double tick_size
    double lot_size
    int64_t best_bid_tick        # INVALID_MIN_TICK when there is no bid
    int64_t best_ask_tick        # INVALID_MAX_TICK when there is no ask
    int64_t ts                   # of the last event applied


cdef int l2_init(L2Book* book, double tick_size, double lot_size, uint32_t window_ticks) noexcept nogil
cdef void l2_free(L2Book* book) noexcept nogil
cdef void l2_update_bid(L2Book* book, double px, double qty, L2Change* change) noexcept nogil
cdef void l2_update_ask(L2Book* book, double px, double qty, L2Change* change) noexcept nogil
cdef void l2_clear(L2Book* book, int side, double upto_px) noexcept nogil
cdef int l2_apply(L2Book* book, const Event* event, L2Change* change) noexcept nogil
cdef double l2_bid_qty(const L2Book* book, int64_t tick) noexcept nogil
cdef double l2_ask_qty(const L2Book* book, int64_t tick) noexcept nogil
cdef uint32_t l2_levels(const L2Book* book, int side, uint32_t n, int64_t* ticks, double* qtys) noexcept nogil
cdef uint64_t l2_hash(const L2Book* book) noexcept nogil
cdef int l2_check(const L2Book* book) noexcept nogil


cdef class L2:
    cdef L2Book book
