"""Market-by-price book: two ladders (ladder.pxd: a dense window of ticks each, far levels spilled), none lost.

The semantics are those of hftbacktest's HashMapMarketDepth, with its quirks; naive.py spells them out.
An update costs a division, a few loads and one branch that is taken when the best moves; its bad cases
are the ladder's: the window following the market, and a side whose window is empty. l2_init allocates,
and a spill that doubles; nothing else does. Values that cannot be in a book (NaN, infinities, negative
quantities, ticks beyond 2**62) get a result code from l2_apply and change nothing.
"""

from libc.math cimport fabs
from libc.stdint cimport int64_t, uint32_t, uint64_t

from engine.book.ladder cimport (
    Ladder,
    ladder_get,
    ladder_put_dense,
    ladder_rare,
    ladder_spill_set,
)
from engine.core.codes cimport ERR_BAD_QTY, ERR_BAD_TICK, OK
from engine.core.image cimport Image
from engine.core.ticks cimport INVALID_MAX_TICK, INVALID_MIN_TICK, round_half_away
from engine.core.types cimport (
    EV_BUY,
    EV_KIND_MASK,
    EV_SELL,
    EVENT_DEPTH,
    EVENT_DEPTH_SNAPSHOT,
    Event,
)


cdef extern from *:
    """
    #define L2_DEFAULT_WINDOW 32768u
    #define L2_MIN_WINDOW 512u
    #define L2_MAX_WINDOW (1u << 24)
    /* Ticks stay below 2**62, so that window arithmetic cannot overflow. */
    #define L2_TICK_LIMIT 4611686018427387904.0
    /* Quantities stay below 2**63 lots and finite. */
    #define L2_LOT_LIMIT 9.2e18
    #define L2_QTY_LIMIT 1e300
    #define l2_fetch(pointer) __builtin_prefetch(pointer)
    """
    const uint32_t L2_DEFAULT_WINDOW
    const uint32_t L2_MIN_WINDOW
    const uint32_t L2_MAX_WINDOW
    const double L2_TICK_LIMIT
    const double L2_LOT_LIMIT
    const double L2_QTY_LIMIT
    # Asks for a cache line that will be read soon; any address will do.
    void l2_fetch(const void* pointer) noexcept nogil


# What one update did to the side it touched. Events that set no single level (clears, trades) leave
# price_tick at INVALID_MIN_TICK and the quantities at 0; new_qty is the raw quantity of the event.
cdef struct L2Change:
    int64_t price_tick
    int64_t prev_best_tick
    int64_t best_tick
    double prev_qty
    double new_qty


# A result of _l2_put; result codes are not negative.
cdef enum:
    L2_MOVED = -1


cdef struct L2Book:
    double tick_size
    double lot_size
    int64_t best_bid_tick        # INVALID_MIN_TICK when there is no bid
    int64_t best_ask_tick        # INVALID_MAX_TICK when there is no ask
    int64_t ts                   # exch_ts of the last event applied
    double min_qty               # the least quantity that rounds to a lot; less removes the level
    double max_qty               # the greatest that fits int64 lots
    Ladder ladders[2]          # bids, asks


# window_ticks is rounded up to a power of two; 0 takes the default. ERR_BAD_SIZE, ERR_NO_MEMORY.
cdef int l2_init(L2Book* book, double tick_size, double lot_size, uint32_t window_ticks) noexcept nogil
cdef void l2_free(L2Book* book) noexcept nogil
# side: SIDE_BUY, SIDE_SELL, or SIDE_NONE for both; a price that is not finite clears the whole side.
cdef void l2_clear(L2Book* book, int side, double upto_px) noexcept nogil
# At most n levels at or beyond the best, best first; returns how many.
cdef uint32_t l2_levels(const L2Book* book, int side, uint32_t n, int64_t* ticks, double* qtys) noexcept nogil
# How many levels l2_levels could list.
cdef uint32_t l2_count(const L2Book* book, int side) noexcept nogil
# Of the levels at or beyond the best; the same wherever the windows are.
cdef uint64_t l2_hash(const L2Book* book) noexcept nogil
cdef int l2_check(const L2Book* book) noexcept nogil
# Moves the book, out or in.
cdef void l2_image(L2Book* book, Image* image) noexcept nogil
# The least quantity that rounds to a lot, and the greatest that a book takes.
cdef double l2_min_qty(double lot_size) noexcept nogil
cdef double l2_max_qty(double lot_size) noexcept nogil

# The out-of-line parts of the inline functions below: a best or a bound that may move; clears, BBO and what
# changes nothing.
cdef int64_t _l2_move_best(L2Book* book, int side, int64_t key, bint keep) noexcept nogil
cdef int _l2_apply_rest(L2Book* book, const Event* event, L2Change* change) noexcept nogil


# Sets or removes one level of valid values; side 0 is bids, 1 asks; `key` is the tick, of asks ~tick; `keep`
# whether the quantity rounds to a lot. L2_MOVED when that side's best is another now, ERR_FULL or ERR_NO_MEMORY
# from a far level, OK otherwise: whoever asks once whether it is OK has asked for all that is rare.
cdef inline int _l2_put(
    L2Book* book, int side, int64_t key, double qty, bint keep, double* prev_qty
) noexcept nogil:
    cdef Ladder* ladder = &book.ladders[side]
    cdef int64_t best = ladder.best
    cdef int code
    if ladder_rare(<uint64_t>(key - ladder.base) > ladder.mask):
        code = ladder_spill_set(ladder, key, qty if keep else 0.0, prev_qty)
        if code != OK:
            return code
    else:
        prev_qty[0] = ladder_put_dense(ladder, key, qty, keep)
    # One branch for all that is rare: a new best, the best removed, a level beyond all others. Removing
    # counts one tick further, so that at the best only a removal is rare.
    if ladder_rare((key + (not keep) > best) | (key < ladder.bound)):
        return L2_MOVED if _l2_move_best(book, side, key, keep) != best else OK
    return OK


# As _l2_put, by tick, and says what it did.
cdef inline int _l2_update(L2Book* book, int side, int64_t tick, double qty, L2Change* change) noexcept nogil:
    cdef int64_t mirror = -<int64_t>side
    cdef int code
    change.price_tick = tick
    change.prev_best_tick = book.ladders[side].best ^ mirror
    change.new_qty = qty
    code = _l2_put(book, side, tick ^ mirror, qty, qty >= book.min_qty, &change.prev_qty)
    change.best_tick = book.ladders[side].best ^ mirror
    return OK if code == L2_MOVED else code


# Asks for the cache line of a level that is to be updated soon; any side 0 or 1 and any key will do.
cdef inline void _l2_fetch(const L2Book* book, int side, int64_t key) noexcept nogil:
    cdef const Ladder* ladder = &book.ladders[side]
    l2_fetch(ladder.qty + (<uint64_t>key & ladder.mask))


cdef inline double l2_bid_qty(const L2Book* book, int64_t tick) noexcept nogil:
    return ladder_get(&book.ladders[0], tick)


cdef inline double l2_ask_qty(const L2Book* book, int64_t tick) noexcept nogil:
    return ladder_get(&book.ladders[1], ~tick)


# Applies a depth, snapshot, clear or BBO event whatever its EXCH/LOCAL flags; others change nothing.
# ERR_BAD_TICK, ERR_BAD_QTY, ERR_FULL, ERR_NO_MEMORY: the book is as it was.
cdef inline int l2_apply(L2Book* book, const Event* event, L2Change* change) noexcept nogil:
    cdef uint64_t kind = event.ev & EV_KIND_MASK
    cdef double ratio
    cdef L2Change rest
    cdef int code
    if (kind != EVENT_DEPTH and kind != EVENT_DEPTH_SNAPSHOT) or not event.ev & (EV_BUY | EV_SELL):
        # No call is given the caller's `change`, so that a compiler keeps it in registers or drops it.
        code = _l2_apply_rest(book, event, &rest)
        change[0] = rest
        return code
    ratio = event.px / book.tick_size
    # Written so that NaN fails.
    if ladder_rare(not fabs(ratio) < L2_TICK_LIMIT):
        return ERR_BAD_TICK
    if ladder_rare(not (0.0 <= event.qty <= book.max_qty)):
        return ERR_BAD_QTY
    book.ts = event.exch_ts
    return _l2_update(book, (event.ev & EV_BUY) == 0, round_half_away(ratio), event.qty, change)


cdef class L2:
    cdef L2Book book
    cdef _update(self, uint64_t side, double px, double qty)
    cdef _levels(self, int side, n)
