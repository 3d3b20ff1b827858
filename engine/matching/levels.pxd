"""One side's price levels: a slab of levels, a dense window of handles around the best, far levels sorted.

What it is
    A level is 32 bytes under a u32 handle from a slab that both sides share; a resting order knows its
    level, so a cancellation asks no window. To find a level by price there is a window of handles (a power
    of two of ticks) indexed by the low bits of the tick, an occupancy bitmap over it in two levels, and
    below the window a sorted array of the far levels, the one nearest to the window last. Asks are kept
    under the key ~px, which mirrors them: on both sides the best is the greatest key, nothing is above the
    window, and every line of code is shared.

What it costs
    Opening or closing a level inside the window: a handle, a bitmap word, rarely its summary word. The next
    best: one word, or one word, a summary word and another word. The best itself is kept.

The bad case
    The best leaves the upper quarter of its window: the window moves so that the best is an eighth below
    its top, and the levels between the old and the new base go to the end of the far array or come back
    from it. A far level costs a binary search and moving the far levels that lie between it and the window;
    a book of a million far levels, entered from the best outwards, is quadratic. Nothing is allocated.
"""

from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t

from engine.matching.orders cimport match_rare


# Below every key; ~NO_BEST is above every key.
cdef extern from *:
    """
    #define NO_BEST INT64_MIN
    #define levels_top_bit(x) (63 - __builtin_clzll(x))
    #define levels_low_bit(x) (__builtin_ctzll(x))
    """
    const int64_t NO_BEST
    int levels_top_bit(uint64_t x) noexcept nogil
    int levels_low_bit(uint64_t x) noexcept nogil


cdef struct Level:
    int32_t px
    uint32_t count               # orders
    int64_t shown                # lots
    uint32_t head                # of the queue; the next free level when it is none
    uint32_t tail
    uint32_t top                 # the order that made it the best, while it keeps its place
    uint32_t touched             # its place in the command's list of touched levels, if that names it


cdef struct FarLevel:
    int32_t key
    uint32_t level


# One side. Keys are px for bids and ~px for asks.
cdef struct MatchSide:
    int64_t best                 # NO_BEST when empty
    int64_t base                 # lowest key of the window, a multiple of 64
    uint64_t mask                # window - 1
    uint32_t* window             # level handles
    uint64_t* words              # [window / 64]
    uint64_t* summary            # [window / 4096, at least 1]
    FarLevel* far                # by key, all below base
    Level* levels                # the shared slab
    uint64_t summary_mask
    uint32_t best_level
    uint32_t n_far
    int32_t mirror               # 0 or -1: px ^ mirror is the key
    uint32_t n_levels


cdef int side_init(MatchSide* side, Level* levels, uint32_t window, uint32_t capacity, bint ask) noexcept nogil
cdef void side_free(MatchSide* side) noexcept nogil
cdef int side_check(const MatchSide* side) noexcept nogil

# The out-of-line parts of the inline functions below.
cdef uint32_t side_far_find(const MatchSide* side, int64_t key) noexcept nogil
cdef void side_far_open(MatchSide* side, int64_t key, uint32_t level) noexcept nogil
cdef void side_far_close(MatchSide* side, int64_t key) noexcept nogil
cdef uint32_t side_far_below(const MatchSide* side, int64_t key) noexcept nogil
cdef void side_follow(MatchSide* side) noexcept nogil


# The greatest key below `key` in the window, NO_BEST without one; key in (base, base + window].
cdef inline int64_t side_below_dense(const MatchSide* side, int64_t key) noexcept nogil:
    cdef int64_t last = key - 1
    cdef uint64_t word_mask = side.mask >> 6
    cdef uint64_t word = (<uint64_t>last >> 6) & word_mask
    cdef uint64_t bits = side.words[word] & (~(<uint64_t>0) >> (63 - (last & 63)))
    cdef uint64_t row, other, step
    cdef int64_t found
    if bits:
        return (last & ~(<int64_t>63)) | levels_top_bit(bits)
    row = word >> 6
    bits = side.summary[row] & ((<uint64_t>1 << (word & 63)) - 1)
    step = 0
    while not bits:
        if step > side.summary_mask:
            return NO_BEST
        step += 1
        row = (row - 1) & side.summary_mask
        bits = side.summary[row]
    other = (row << 6) | <uint64_t>levels_top_bit(bits)
    if other == word:
        return NO_BEST
    # Words lie in a circle: a word "before" the window's first is really one above `key`.
    found = (((last >> 6) - <int64_t>((word - other) & word_mask)) * 64) + levels_top_bit(side.words[other])
    return found if found >= side.base else NO_BEST


# The level of a key, or 0.
cdef inline uint32_t side_find(const MatchSide* side, int64_t key) noexcept nogil:
    if <uint64_t>(key - side.base) <= side.mask:
        return side.window[<uint64_t>key & side.mask]
    return side_far_find(side, key) if side.n_far else 0


# The next level worse than a key, whether that has a level or not; 0 without one.
cdef inline uint32_t side_below(const MatchSide* side, int64_t key) noexcept nogil:
    cdef int64_t found = NO_BEST
    if key > side.best:
        return side.best_level
    if key > side.base:
        found = side_below_dense(side, key)
    if found != NO_BEST:
        return side.window[<uint64_t>found & side.mask]
    return side_far_below(side, key) if side.n_far else 0


cdef inline void side_mark(MatchSide* side, int64_t key, uint32_t level) noexcept nogil:
    cdef uint64_t slot = <uint64_t>key & side.mask
    cdef uint64_t word = slot >> 6
    if side.words[word] == 0:
        side.summary[word >> 6] |= <uint64_t>1 << (word & 63)
    side.words[word] |= <uint64_t>1 << (slot & 63)
    side.window[slot] = level


cdef inline void side_unmark(MatchSide* side, int64_t key) noexcept nogil:
    cdef uint64_t slot = <uint64_t>key & side.mask
    cdef uint64_t word = slot >> 6
    cdef uint64_t bits = side.words[word] & ~(<uint64_t>1 << (slot & 63))
    side.words[word] = bits
    side.window[slot] = 0
    if bits == 0:
        side.summary[word >> 6] &= ~(<uint64_t>1 << (word & 63))


# Enters an empty level under a key that has none; says whether it became the best.
cdef inline bint side_open(MatchSide* side, int64_t key, uint32_t level) noexcept nogil:
    cdef bint is_best = key > side.best
    side.n_levels += 1
    if is_best:
        side.best = key
        side.best_level = level
        # The window's upper quarter is where the best lives.
        if match_rare(<uint64_t>(key - side.base) - 3 * ((side.mask + 1) >> 2) >= (side.mask + 1) >> 2):
            side_follow(side)
        side_mark(side, key, level)
    elif match_rare(key < side.base):
        side_far_open(side, key, level)
    else:
        side_mark(side, key, level)
    return is_best


# Takes a key's level out; the next best follows.
cdef inline void side_close(MatchSide* side, int64_t key) noexcept nogil:
    side.n_levels -= 1
    if match_rare(key < side.base):
        side_far_close(side, key)
        return
    side_unmark(side, key)
    if key != side.best:
        return
    key = side_below_dense(side, key) if key > side.base else NO_BEST
    side.best = key
    if match_rare(key == NO_BEST and side.n_far != 0):
        side.best = key = side.far[side.n_far - 1].key
    if key == NO_BEST:
        side.best_level = 0
        return
    if match_rare(<uint64_t>(key - side.base) - 3 * ((side.mask + 1) >> 2) >= (side.mask + 1) >> 2):
        side_follow(side)
    side.best_level = side.window[<uint64_t>key & side.mask]
