"""One side of a market-by-price book: a dense window of ticks around the best, far levels spilled.

What it is
    A window of quantities (a power of two of ticks), indexed by the low bits of the tick, so that moving
    the window copies nothing that stays inside; an occupancy bitmap over it in two levels (64 ticks a
    word, 64 words a summary word); and an open-addressing hash of the levels outside the window (linear
    probing, backward-shift deletion). Asks are kept under the key ~tick, which mirrors them: on both
    sides the best is the greatest key, every line of code is shared, and INVALID_MAX_TICK, the best of an
    empty ask side, becomes INVALID_MIN_TICK.

What it costs
    An update inside the window: a bitmap word, rarely its summary word, no loop. The next best: one word,
    or one word, a summary word and another word, and a loop over window/4096 summary words where the
    market is that thin. A level outside the window: one hash probe. Memory: 8 bytes and 1/8 byte a tick.

The bad case
    The best leaves the upper quarter of its window: the window follows it, at the cost of the levels that
    go out plus, where any are spilled, one pass over the spill. The best then sits an eighth of a window
    from either edge of that quarter, so the market travels that far before it happens again. A side with
    no level left in its window costs one pass over the spill to find the next best. Memory is allocated
    by ladder_init and when the spill doubles, up to LADDER_SPILL_MAX levels; beyond that a far level is
    refused with ERR_FULL. Nothing else allocates.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from engine.core.image cimport Image
from engine.core.ticks cimport INVALID_MIN_TICK


cdef extern from *:
    """
    #define LADDER_SPILL_MAX (1ull << 20)
    #define ladder_top_bit(x) (63 - __builtin_clzll(x))
    #define ladder_low_bit(x) (__builtin_ctzll(x))
    #define ladder_rare(x) __builtin_expect(!!(x), 0)
    """
    const uint64_t LADDER_SPILL_MAX
    int ladder_top_bit(uint64_t x) noexcept nogil
    int ladder_low_bit(uint64_t x) noexcept nogil
    bint ladder_rare(bint x) noexcept nogil


# A level outside the window; qty 0 marks a free slot.
cdef struct SpilledLevel:
    int64_t key
    double qty


# One side. Keys are ticks for bids and ~ticks for asks.
cdef struct Ladder:
    int64_t base                 # lowest key of the window, a multiple of 64
    uint64_t mask                # window_ticks - 1
    int64_t best                 # INVALID_MIN_TICK when empty
    int64_t bound                # hftbacktest's low_bid/high_ask: no best is looked for below it
    double* qty                  # [window_ticks], 0 where there is no level
    uint64_t* words              # [window_ticks / 64]
    uint64_t* summary            # [window_ticks / 4096, at least 1]
    uint64_t summary_mask
    SpilledLevel* spill
    uint64_t spill_mask
    uint64_t spill_count
    int64_t spill_top            # no spilled key is greater


cdef int ladder_init(Ladder* ladder, uint64_t window) noexcept nogil
cdef void ladder_free(Ladder* ladder) noexcept nogil
# Has the window's memory there before it is needed, so that no update meets a page fault.
cdef void ladder_touch(Ladder* ladder) noexcept nogil
cdef void ladder_clear(Ladder* ladder) noexcept nogil
cdef void ladder_clear_upto(Ladder* ladder, int64_t key) noexcept nogil
# Removes the levels of [first, last]; the best is the caller's to move.
cdef void ladder_remove(Ladder* ladder, int64_t first, int64_t last) noexcept nogil
# At most n levels at or below the best, best first; returns how many.
cdef uint32_t ladder_levels(const Ladder* ladder, uint32_t n, int64_t* keys, double* qtys) noexcept nogil
# How many levels are at or below the best, and a hash of them under `key ^ mirror`.
cdef uint64_t ladder_visible(const Ladder* ladder, int64_t mirror, uint64_t* hashed) noexcept nogil
cdef int ladder_check(const Ladder* ladder) noexcept nogil
# Moves all levels, where they lie, out or in.
cdef void ladder_image(Ladder* ladder, Image* image) noexcept nogil

# The out-of-line parts of the inline functions below.
cdef double ladder_spill_get(const Ladder* ladder, int64_t key) noexcept nogil
cdef int ladder_spill_set(Ladder* ladder, int64_t key, double qty, double* prev_qty) noexcept nogil
cdef int64_t ladder_below_far(const Ladder* ladder, int64_t key) noexcept nogil
cdef void ladder_follow(Ladder* ladder) noexcept nogil


# The greatest level below `key` within the window, INVALID_MIN_TICK without one; key in (base, base + window].
cdef inline int64_t ladder_below_dense(const Ladder* ladder, int64_t key) noexcept nogil:
    cdef int64_t last = key - 1
    cdef uint64_t word_mask = ladder.mask >> 6
    cdef uint64_t word = (<uint64_t>last >> 6) & word_mask
    cdef uint64_t bits = ladder.words[word] & (~(<uint64_t>0) >> (63 - (last & 63)))
    cdef uint64_t row, other, step
    cdef int64_t found
    if bits:
        return (last & ~(<int64_t>63)) | ladder_top_bit(bits)
    row = word >> 6
    bits = ladder.summary[row] & ((<uint64_t>1 << (word & 63)) - 1)
    step = 0
    while not bits:
        if step > ladder.summary_mask:
            return INVALID_MIN_TICK
        step += 1
        row = (row - 1) & ladder.summary_mask
        bits = ladder.summary[row]
    other = (row << 6) | <uint64_t>ladder_top_bit(bits)
    if other == word:
        return INVALID_MIN_TICK
    # Words lie in a circle: a word "before" the window's first is really one above `key`.
    found = (((last >> 6) - <int64_t>((word - other) & word_mask)) << 6) | ladder_top_bit(ladder.words[other])
    return found if found >= ladder.base else INVALID_MIN_TICK


# The greatest level below `key`, wherever it is kept.
cdef inline int64_t ladder_any_below(const Ladder* ladder, int64_t key) noexcept nogil:
    cdef int64_t found = INVALID_MIN_TICK
    if <uint64_t>(key - 1 - ladder.base) <= ladder.mask:
        found = ladder_below_dense(ladder, key)
    if found == INVALID_MIN_TICK and (
        ladder.spill_count or <uint64_t>(key - 1 - ladder.base) > ladder.mask
    ):
        found = ladder_below_far(ladder, key)
    return found


# As ladder_any_below, but not below the ladder's bound.
cdef inline int64_t ladder_below(const Ladder* ladder, int64_t key) noexcept nogil:
    cdef int64_t found = ladder_any_below(ladder, key)
    return found if found >= ladder.bound else INVALID_MIN_TICK


cdef inline double ladder_get(const Ladder* ladder, int64_t key) noexcept nogil:
    if <uint64_t>(key - ladder.base) <= ladder.mask:
        return ladder.qty[<uint64_t>key & ladder.mask]
    if ladder.spill_count == 0:
        return 0.0
    return ladder_spill_get(ladder, key)


# Sets a quantity inside the window (0 removes); returns what was there. All loads come first: a store could
# otherwise alias the pointers and have them loaded again. The only branch is for a word of 64 ticks that
# becomes empty or stops being so. The quantity is masked as an integer, because gcc makes a choice between
# two doubles a branch, and removals cannot be predicted.
cdef inline double ladder_put_dense(Ladder* ladder, int64_t key, double qty, bint keep) noexcept nogil:
    cdef uint64_t slot = <uint64_t>key & ladder.mask
    cdef uint64_t word = slot >> 6
    cdef double* qty_at = ladder.qty + slot
    cdef uint64_t* bits_at = ladder.words + word
    cdef uint64_t* row_at = ladder.summary + (word >> 6)
    cdef double prev = qty_at[0]
    cdef uint64_t kept = (<uint64_t*>&qty)[0] & -<uint64_t>keep
    cdef uint64_t old = bits_at[0]
    cdef uint64_t bits = (old & ~(<uint64_t>1 << (slot & 63))) | (<uint64_t>keep << (slot & 63))
    (<uint64_t*>qty_at)[0] = kept
    bits_at[0] = bits
    if ladder_rare((bits == 0) != (old == 0)):
        row_at[0] ^= <uint64_t>1 << (word & 63)
    return prev


# The window follows the best when that leaves the window's upper quarter.
cdef inline void ladder_set_best(Ladder* ladder, int64_t best) noexcept nogil:
    cdef uint64_t quarter = (ladder.mask + 1) >> 2
    ladder.best = best
    if best != INVALID_MIN_TICK and <uint64_t>(best - ladder.base) - 3 * quarter >= quarter:
        ladder_follow(ladder)


# The finaliser of splitmix64.
cdef inline uint64_t ladder_mix(uint64_t x) noexcept nogil:
    x ^= x >> 30
    x *= <uint64_t>0xBF58476D1CE4E5B9
    x ^= x >> 27
    x *= <uint64_t>0x94D049BB133111EB
    return x ^ (x >> 31)
