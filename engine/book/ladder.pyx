"""The out-of-line half of a book's side: spill, window moves, clears, listings; ladder.pxd says how it is built."""

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from engine.core.codes cimport ERR_FULL, ERR_INVARIANT, ERR_NO_MEMORY, OK
from engine.core.image cimport Image, image_count, image_fault, image_match, image_move, image_sparse
from engine.core.ticks cimport INVALID_MAX_TICK


cdef extern from *:
    """
    #define ladder_write_again(p) (*(volatile double *)(p) = *(volatile double *)(p))
    """
    void ladder_write_again(double* p) noexcept nogil


cdef enum:
    SPILL_FIRST = 1024


# --- the spill: levels outside the window ---------------------------------------------------------

cdef inline uint64_t _slot_of(const Ladder* ladder, int64_t key) noexcept nogil:
    return ((<uint64_t>key * <uint64_t>0x9E3779B97F4A7C15) >> 32) & ladder.spill_mask


cdef inline uint64_t _find(const Ladder* ladder, int64_t key) noexcept nogil:
    cdef uint64_t slot = _slot_of(ladder, key)
    while ladder.spill[slot].qty != 0.0 and ladder.spill[slot].key != key:
        slot = (slot + 1) & ladder.spill_mask
    return slot


cdef void _insert(Ladder* ladder, int64_t key, double qty) noexcept nogil:
    cdef uint64_t slot = _find(ladder, key)
    ladder.spill[slot].key = key
    ladder.spill[slot].qty = qty
    ladder.spill_count += 1
    if key > ladder.spill_top:
        ladder.spill_top = key


# Shifts back whatever probed past the hole, so that no tombstones gather.
cdef void _delete(Ladder* ladder, uint64_t hole) noexcept nogil:
    cdef uint64_t slot = hole
    cdef uint64_t home
    while True:
        slot = (slot + 1) & ladder.spill_mask
        if ladder.spill[slot].qty == 0.0:
            break
        home = _slot_of(ladder, ladder.spill[slot].key)
        if ((slot - home) & ladder.spill_mask) >= ((slot - hole) & ladder.spill_mask):
            ladder.spill[hole] = ladder.spill[slot]
            hole = slot
    ladder.spill[hole].qty = 0.0
    ladder.spill_count -= 1


# Room for `count` levels at half load.
cdef int _reserve(Ladder* ladder, uint64_t count) noexcept nogil:
    cdef uint64_t capacity = ladder.spill_mask + 1
    cdef uint64_t old_capacity = capacity
    cdef SpilledLevel* old = ladder.spill
    cdef SpilledLevel* fresh
    cdef uint64_t i
    if count * 2 <= capacity:
        return OK
    if count > LADDER_SPILL_MAX:
        return ERR_FULL
    while capacity < count * 2:
        capacity *= 2
    fresh = <SpilledLevel*>calloc(capacity, sizeof(SpilledLevel))
    if fresh == NULL:
        return ERR_NO_MEMORY
    ladder.spill = fresh
    ladder.spill_mask = capacity - 1
    ladder.spill_count = 0
    for i in range(old_capacity):
        if old[i].qty != 0.0:
            _insert(ladder, old[i].key, old[i].qty)
    free(old)
    return OK


cdef double ladder_spill_get(const Ladder* ladder, int64_t key) noexcept nogil:
    return ladder.spill[_find(ladder, key)].qty


cdef int ladder_spill_set(Ladder* ladder, int64_t key, double qty, double* prev_qty) noexcept nogil:
    cdef uint64_t slot = _find(ladder, key)
    cdef int code
    prev_qty[0] = ladder.spill[slot].qty
    if prev_qty[0] != 0.0:
        if qty != 0.0:
            ladder.spill[slot].qty = qty
        else:
            _delete(ladder, slot)
    elif qty != 0.0:
        code = _reserve(ladder, ladder.spill_count + 1)
        if code != OK:
            return code
        _insert(ladder, key, qty)
    return OK


cdef int64_t ladder_below_far(const Ladder* ladder, int64_t key) noexcept nogil:
    cdef int64_t found = INVALID_MIN_TICK
    cdef int64_t end = ladder.base + <int64_t>ladder.mask + 1
    cdef uint64_t i
    if key > end:
        found = ladder_below_dense(ladder, end)
    if ladder.spill_count:
        for i in range(ladder.spill_mask + 1):
            if ladder.spill[i].qty != 0.0 and found < ladder.spill[i].key < key:
                found = ladder.spill[i].key
    return found


# Removes the spilled levels of [first, last]. A slot is looked at again after a deletion moved into it;
# what a deletion moves across the table's end was looked at before.
cdef void _spill_remove(Ladder* ladder, int64_t first, int64_t last) noexcept nogil:
    cdef int64_t top = INVALID_MIN_TICK
    cdef uint64_t i = 0
    if ladder.spill_count == 0 or ladder.spill_top < first:
        return
    while i <= ladder.spill_mask:
        if ladder.spill[i].qty != 0.0:
            if first <= ladder.spill[i].key <= last:
                _delete(ladder, i)
                continue
            if ladder.spill[i].key > top:
                top = ladder.spill[i].key
        i += 1
    ladder.spill_top = top


# --- the window ----------------------------------------------------------------------------------

# Takes the levels of [first, last] out of the window, into the spill or away; both within the window.
cdef void _take_out(Ladder* ladder, int64_t first, int64_t last, bint spill) noexcept nogil:
    cdef int64_t start = first & ~(<int64_t>63)
    cdef int64_t key
    cdef uint64_t word, bits, slot
    while start <= last:
        word = (<uint64_t>start & ladder.mask) >> 6
        bits = ladder.words[word]
        if start < first:
            bits &= ~(<uint64_t>0) << (first & 63)
        if last - start < 63:
            bits &= ~(<uint64_t>0) >> (63 - (last & 63))
        if bits:
            ladder.words[word] ^= bits
            if ladder.words[word] == 0:
                ladder.summary[word >> 6] &= ~(<uint64_t>1 << (word & 63))
        while bits:
            key = start + ladder_low_bit(bits)
            slot = <uint64_t>key & ladder.mask
            if spill:
                _insert(ladder, key, ladder.qty[slot])
            ladder.qty[slot] = 0.0
            bits &= bits - 1
        start += 64


cdef uint64_t _count_dense(const Ladder* ladder, int64_t first, int64_t last) noexcept nogil:
    cdef uint64_t count = 0
    cdef int64_t key = last + 1
    while True:
        key = ladder_below_dense(ladder, key)
        if key < first:
            return count
        count += 1
        if key == ladder.base:
            return count


# Brings the spilled levels that are now inside the window back.
cdef void _bring_in(Ladder* ladder) noexcept nogil:
    cdef uint64_t i = 0
    cdef SpilledLevel level
    while i <= ladder.spill_mask and ladder.spill_count:
        level = ladder.spill[i]
        if level.qty != 0.0 and <uint64_t>(level.key - ladder.base) <= ladder.mask:
            _delete(ladder, i)
            ladder_put_dense(ladder, level.key, level.qty, True)
            continue
        i += 1


# Moves the window so that the best is an eighth below its top. Where the spill cannot take what would
# go out, the window stays: the book is then slow, not wrong.
cdef void ladder_follow(Ladder* ladder) noexcept nogil:
    cdef int64_t window = <int64_t>ladder.mask + 1
    cdef int64_t base = (ladder.best - 7 * (window >> 3)) & ~(<int64_t>63)
    cdef int64_t old = ladder.base
    cdef int64_t low_end = min(old + window, max(old, base))
    cdef int64_t high_start = max(old, min(old + window, base + window))
    cdef uint64_t leaving = 0
    if low_end > old:
        leaving += _count_dense(ladder, old, low_end - 1)
    if high_start < old + window:
        leaving += _count_dense(ladder, high_start, old + window - 1)
    if leaving:
        if _reserve(ladder, ladder.spill_count + leaving) != OK:
            return
        if low_end > old:
            _take_out(ladder, old, low_end - 1, True)
        if high_start < old + window:
            _take_out(ladder, high_start, old + window - 1, True)
    ladder.base = base
    if ladder.spill_count:
        _bring_in(ladder)


# --- whole ladders -------------------------------------------------------------------------------

cdef int ladder_init(Ladder* ladder, uint64_t window) noexcept nogil:
    cdef uint64_t n_summary = max(<uint64_t>1, window >> 12)
    memset(ladder, 0, sizeof(Ladder))
    ladder.mask = window - 1
    ladder.summary_mask = n_summary - 1
    ladder.best = ladder.spill_top = INVALID_MIN_TICK
    ladder.bound = INVALID_MAX_TICK
    # Pages that no level comes to are never touched; ladder_touch is for whoever cannot wait for one.
    ladder.qty = <double*>calloc(window, sizeof(double))
    ladder.words = <uint64_t*>calloc(window >> 6, sizeof(uint64_t))
    ladder.summary = <uint64_t*>calloc(n_summary, sizeof(uint64_t))
    ladder.spill = <SpilledLevel*>calloc(SPILL_FIRST, sizeof(SpilledLevel))
    ladder.spill_mask = SPILL_FIRST - 1
    if ladder.qty == NULL or ladder.words == NULL or ladder.summary == NULL or ladder.spill == NULL:
        return ERR_NO_MEMORY
    return OK


cdef void ladder_touch(Ladder* ladder) noexcept nogil:
    cdef uint64_t slot
    for slot in range(0, ladder.mask + 1, 512):
        ladder_write_again(ladder.qty + slot)


cdef void ladder_free(Ladder* ladder) noexcept nogil:
    free(ladder.qty)
    free(ladder.words)
    free(ladder.summary)
    free(ladder.spill)
    memset(ladder, 0, sizeof(Ladder))


cdef void ladder_clear(Ladder* ladder) noexcept nogil:
    _take_out(ladder, ladder.base, ladder.base + <int64_t>ladder.mask, False)
    if ladder.spill_count:
        memset(ladder.spill, 0, (ladder.spill_mask + 1) * sizeof(SpilledLevel))
    ladder.spill_count = 0
    ladder.spill_top = ladder.best = INVALID_MIN_TICK
    ladder.bound = INVALID_MAX_TICK


cdef void ladder_remove(Ladder* ladder, int64_t first, int64_t last) noexcept nogil:
    cdef int64_t dense_first = max(first, ladder.base)
    cdef int64_t dense_last = min(last, ladder.base + <int64_t>ladder.mask)
    if dense_first <= dense_last:
        _take_out(ladder, dense_first, dense_last, False)
    _spill_remove(ladder, first, last)


# hftbacktest looks for the next best from two ticks beyond the limit, and so do we.
cdef void ladder_clear_upto(Ladder* ladder, int64_t key) noexcept nogil:
    if ladder.best != INVALID_MIN_TICK:
        ladder_remove(ladder, key, ladder.best)
    ladder_set_best(ladder, ladder_below(ladder, key - 1))
    if ladder.best == INVALID_MIN_TICK:
        ladder.bound = INVALID_MAX_TICK


# --- looking at a ladder --------------------------------------------------------------------------

# Keeps the n greatest of the spilled keys in [first, last] in a heap whose root is the least, then sorts it.
cdef uint32_t _spill_top_n(
    const Ladder* ladder, int64_t first, int64_t last, uint32_t n, int64_t* keys, double* qtys
) noexcept nogil:
    cdef uint32_t count = 0
    cdef uint32_t at, child
    cdef uint64_t i
    cdef SpilledLevel level
    if n == 0 or ladder.spill_count == 0:
        return 0
    for i in range(ladder.spill_mask + 1):
        level = ladder.spill[i]
        if level.qty == 0.0 or not first <= level.key <= last:
            continue
        if count < n:
            at = count
            count += 1
            while at and keys[(at - 1) >> 1] > level.key:
                keys[at] = keys[(at - 1) >> 1]
                qtys[at] = qtys[(at - 1) >> 1]
                at = (at - 1) >> 1
            keys[at] = level.key
            qtys[at] = level.qty
        elif level.key > keys[0]:
            _sift_down(keys, qtys, count, level)
    # Taking the least to the end again and again leaves the greatest first.
    child = count
    while child > 1:
        child -= 1
        level.key = keys[child]
        level.qty = qtys[child]
        keys[child] = keys[0]
        qtys[child] = qtys[0]
        _sift_down(keys, qtys, child, level)
    return count


# Puts `level` in the place of the heap's root.
cdef void _sift_down(int64_t* keys, double* qtys, uint32_t count, SpilledLevel level) noexcept nogil:
    cdef uint64_t at = 0
    cdef uint64_t child = 1
    while child < count:
        if child + 1 < count and keys[child + 1] < keys[child]:
            child += 1
        if keys[child] >= level.key:
            break
        keys[at] = keys[child]
        qtys[at] = qtys[child]
        at = child
        child = 2 * at + 1
    keys[at] = level.key
    qtys[at] = level.qty


cdef uint32_t ladder_levels(const Ladder* ladder, uint32_t n, int64_t* keys, double* qtys) noexcept nogil:
    cdef int64_t end = ladder.base + <int64_t>ladder.mask + 1
    cdef int64_t key = min(ladder.best + 1, end)
    cdef uint32_t count
    if ladder.best == INVALID_MIN_TICK:
        return 0
    # A best outside the window is possible only where the spill is full.
    count = _spill_top_n(ladder, end, ladder.best, n, keys, qtys)
    while count < n and key > ladder.base:
        key = ladder_below_dense(ladder, key)
        if key == INVALID_MIN_TICK:
            break
        keys[count] = key
        qtys[count] = ladder.qty[<uint64_t>key & ladder.mask]
        count += 1
    return count + _spill_top_n(
        ladder, INVALID_MIN_TICK, min(ladder.best, ladder.base - 1), n - count, keys + count, qtys + count
    )


cdef inline uint64_t _mix_level(int64_t tick, double qty) noexcept nogil:
    cdef uint64_t bits
    memcpy(&bits, &qty, sizeof(bits))
    return ladder_mix(ladder_mix(<uint64_t>tick + <uint64_t>0x9E3779B97F4A7C15) + bits)


# Hashed by a sum, which needs no order.
cdef uint64_t ladder_visible(const Ladder* ladder, int64_t mirror, uint64_t* hashed) noexcept nogil:
    cdef int64_t key = min(ladder.best, ladder.base + <int64_t>ladder.mask) + 1
    cdef uint64_t count = 0
    cdef uint64_t i
    hashed[0] = 0
    if ladder.best == INVALID_MIN_TICK:
        return 0
    while key > ladder.base:
        key = ladder_below_dense(ladder, key)
        if key == INVALID_MIN_TICK:
            break
        count += 1
        hashed[0] += _mix_level(key ^ mirror, ladder.qty[<uint64_t>key & ladder.mask])
    if ladder.spill_count:
        for i in range(ladder.spill_mask + 1):
            if ladder.spill[i].qty != 0.0 and ladder.spill[i].key <= ladder.best:
                count += 1
                hashed[0] += _mix_level(ladder.spill[i].key ^ mirror, ladder.spill[i].qty)
    return count


cdef int ladder_check(const Ladder* ladder) noexcept nogil:
    cdef uint64_t i, word, bit
    cdef uint64_t n_spilled = 0
    if ladder.base & 63:
        return ERR_INVARIANT
    for i in range(ladder.mask + 1):
        bit = (ladder.words[i >> 6] >> (i & 63)) & 1
        if bit != (ladder.qty[i] > 0.0) or not ladder.qty[i] >= 0.0:
            return ERR_INVARIANT
    for word in range((ladder.mask + 1) >> 6):
        bit = (ladder.summary[word >> 6] >> (word & 63)) & 1
        if bit != (ladder.words[word] != 0):
            return ERR_INVARIANT
    for i in range(ladder.spill_mask + 1):
        if ladder.spill[i].qty == 0.0:
            continue
        n_spilled += 1
        if (
            not ladder.spill[i].qty > 0.0
            or _find(ladder, ladder.spill[i].key) != i
            or ladder.spill[i].key > ladder.spill_top
            or <uint64_t>(ladder.spill[i].key - ladder.base) <= ladder.mask
        ):
            return ERR_INVARIANT
    if n_spilled != ladder.spill_count or n_spilled * 2 > ladder.spill_mask + 1:
        return ERR_INVARIANT
    if ladder.best == INVALID_MIN_TICK:
        return OK
    if not ladder_get(ladder, ladder.best) > 0.0 or ladder.bound > ladder.best:
        return ERR_INVARIANT
    # Outside the upper quarter only where the spill could not take what would have gone out.
    if <uint64_t>(ladder.best - ladder.base) > ladder.mask and n_spilled * 2 < LADDER_SPILL_MAX:
        return ERR_INVARIANT
    return OK


# --- written down ---------------------------------------------------------------------------------

cdef bint _spill_of(Ladder* ladder, uint64_t capacity) noexcept nogil:
    """An empty spill of that many slots."""
    cdef SpilledLevel* fresh
    if capacity < SPILL_FIRST or capacity & (capacity - 1):
        return False
    if capacity != ladder.spill_mask + 1:
        fresh = <SpilledLevel*>calloc(capacity, sizeof(SpilledLevel))
        if fresh == NULL:
            return False
        free(ladder.spill)
        ladder.spill, ladder.spill_mask = fresh, capacity - 1
    return True


cdef void _spill_image(Ladder* ladder, Image* image) noexcept nogil:
    cdef uint64_t capacity = image_count(image, ladder.spill_mask + 1, 4 * LADDER_SPILL_MAX)
    if image.loading and image.code == OK and not _spill_of(ladder, capacity):
        image_fault(image, ERR_NO_MEMORY)
    image_sparse(image, ladder.spill, ladder.spill_mask + 1, sizeof(SpilledLevel))
    image_move(image, &ladder.spill_count, sizeof(uint64_t))
    image_move(image, &ladder.spill_top, sizeof(int64_t))


cdef void ladder_image(Ladder* ladder, Image* image) noexcept nogil:
    image_match(image, ladder.mask)
    image_move(image, &ladder.base, sizeof(int64_t))
    image_move(image, &ladder.best, sizeof(int64_t))
    image_move(image, &ladder.bound, sizeof(int64_t))
    image_sparse(image, ladder.qty, ladder.mask + 1, sizeof(double))
    image_sparse(image, ladder.words, (ladder.mask + 1) >> 6, sizeof(uint64_t))
    image_sparse(image, ladder.summary, ladder.summary_mask + 1, sizeof(uint64_t))
    _spill_image(ladder, image)
