"""The out-of-line half of a side's levels: far levels and the moving window; levels.pxd says how it is built."""

from libc.stdlib cimport free
from libc.string cimport memmove

from engine.core.codes cimport ERR_INVARIANT, ERR_NO_MEMORY, OK
from engine.matching.orders cimport match_memory


# How many far levels have a key below `key`.
cdef uint32_t _far_at(const MatchSide* side, int64_t key) noexcept nogil:
    cdef uint32_t first = 0, last = side.n_far, middle
    while first < last:
        middle = (first + last) >> 1
        if side.far[middle].key < key:
            first = middle + 1
        else:
            last = middle
    return first


cdef uint32_t side_far_find(const MatchSide* side, int64_t key) noexcept nogil:
    cdef uint32_t at = _far_at(side, key)
    if at < side.n_far and side.far[at].key == key:
        return side.far[at].level
    return 0


cdef uint32_t side_far_below(const MatchSide* side, int64_t key) noexcept nogil:
    cdef uint32_t at = _far_at(side, key)
    return side.far[at - 1].level if at else 0


cdef void side_far_open(MatchSide* side, int64_t key, uint32_t level) noexcept nogil:
    cdef uint32_t at = _far_at(side, key)
    memmove(side.far + at + 1, side.far + at, (side.n_far - at) * sizeof(FarLevel))
    side.far[at].key = <int32_t>key
    side.far[at].level = level
    side.n_far += 1


cdef void side_far_close(MatchSide* side, int64_t key) noexcept nogil:
    cdef uint32_t at = _far_at(side, key)
    side.n_far -= 1
    memmove(side.far + at, side.far + at + 1, (side.n_far - at) * sizeof(FarLevel))


# The window's levels from its base up to `end` become the nearest far ones.
cdef void _send_out(MatchSide* side, int64_t end) noexcept nogil:
    cdef int64_t start = side.base
    cdef int64_t key
    cdef uint64_t word, bits, slot
    while start < end:
        word = (<uint64_t>start & side.mask) >> 6
        bits = side.words[word]
        if bits:
            side.words[word] = 0
            side.summary[word >> 6] &= ~(<uint64_t>1 << (word & 63))
        while bits:
            key = start + levels_low_bit(bits)
            slot = <uint64_t>key & side.mask
            side.far[side.n_far].key = <int32_t>key
            side.far[side.n_far].level = side.window[slot]
            side.n_far += 1
            side.window[slot] = 0
            bits &= bits - 1
        start += 64


# Base and end are multiples of 64, so whole words go out.
cdef void side_follow(MatchSide* side) noexcept nogil:
    cdef int64_t window = <int64_t>side.mask + 1
    cdef int64_t base = (side.best - 7 * (window >> 3)) & ~(<int64_t>63)
    if base > side.base:
        _send_out(side, min(base, side.base + window))
    side.base = base
    while side.n_far and side.far[side.n_far - 1].key >= base:
        side.n_far -= 1
        side_mark(side, side.far[side.n_far].key, side.far[side.n_far].level)


cdef int side_init(MatchSide* side, Level* levels, uint32_t window, uint32_t capacity, bint ask) noexcept nogil:
    cdef uint64_t n_summary = max(<uint64_t>1, <uint64_t>window >> 12)
    side.levels = levels
    side.mirror = -<int32_t>ask
    side.best = NO_BEST
    side.mask = window - 1
    side.summary_mask = n_summary - 1
    side.window = <uint32_t*>match_memory(<uint64_t>window * sizeof(uint32_t))
    side.words = <uint64_t*>match_memory((window >> 6) * sizeof(uint64_t))
    side.summary = <uint64_t*>match_memory(n_summary * sizeof(uint64_t))
    side.far = <FarLevel*>match_memory(<uint64_t>capacity * sizeof(FarLevel))
    if side.window == NULL or side.words == NULL or side.summary == NULL or side.far == NULL:
        return ERR_NO_MEMORY
    return OK


cdef void side_free(MatchSide* side) noexcept nogil:
    free(side.window)
    free(side.words)
    free(side.summary)
    free(side.far)


# Bitmaps, window and far levels agree; the best is the greatest and lives in the window's upper quarter.
cdef int side_check(const MatchSide* side) noexcept nogil:
    cdef uint64_t slot, word
    cdef int64_t key, best = NO_BEST
    cdef uint32_t level, i, count = 0
    for slot in range(side.mask + 1):
        level = side.window[slot]
        if ((side.words[slot >> 6] >> (slot & 63)) & 1) != (level != 0):
            return ERR_INVARIANT
        if level == 0:
            continue
        count += 1
        key = side.levels[level].px ^ side.mirror
        best = max(best, key)
        if <uint64_t>(key - side.base) > side.mask or (<uint64_t>key & side.mask) != slot:
            return ERR_INVARIANT
    for word in range((side.mask + 1) >> 6):
        if ((side.summary[word >> 6] >> (word & 63)) & 1) != (side.words[word] != 0):
            return ERR_INVARIANT
    for i in range(side.n_far):
        key = side.far[i].key
        if key >= side.base or (i and key <= side.far[i - 1].key):
            return ERR_INVARIANT
        if key != (side.levels[side.far[i].level].px ^ side.mirror):
            return ERR_INVARIANT
    if best != side.best or count + side.n_far != side.n_levels or (count == 0 and side.n_far != 0):
        return ERR_INVARIANT
    if side.best == NO_BEST:
        return OK if side.best_level == 0 else ERR_INVARIANT
    if side.best_level != side_find(side, best) or side.base & 63:
        return ERR_INVARIANT
    return OK if best - side.base >= 3 * <int64_t>((side.mask + 1) >> 2) else ERR_INVARIANT
