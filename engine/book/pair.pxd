"""Two ladders of one window that mostly get the same updates: one market, as it is seen in two places.

What it is
    Beside the ladders, the keys that can be set or removed without a look at either: those within both windows
    that are no new best, no removal of the best and no new bound (ladder.pxd). Their quantity and their bit are
    written to both ladders at once. All others go to each ladder by itself, and then the pair looks again.

What it costs
    Two compares, two quantities and two words of bits an update; ``pair_look`` some twenty instructions.

The bad case
    Ladders whose windows or bests are far apart: most updates are not plain, and the pair is of no use.
"""

from libc.stdint cimport int64_t, uint64_t

from engine.book.ladder cimport Ladder, ladder_rare


cdef extern from *:
    """
    #define pair_prefetch(p) __builtin_prefetch((p), 1)
    """
    void pair_prefetch(const void* pointer) noexcept nogil


# Index 0 of what has two: removals, 1: levels that are set. Of the ladders: whichever.
cdef struct LadderPair:
    int64_t first[2]             # the keys in both windows, without those below a bound or above a best
    uint64_t width[2]            # how many they are
    int64_t near                 # the lower best
    uint64_t span[2]             # keys from there to the other best: they may be removed with care only
    uint64_t mask
    double* qty[2]
    uint64_t* words[2]
    Ladder* ladders[2]


cdef inline void pair_look(LadderPair* pair) noexcept nogil:
    """Finds the keys that are plain, after anything but ``pair_put`` may have changed a ladder."""
    cdef const Ladder* a = pair.ladders[0]
    cdef const Ladder* b = pair.ladders[1]
    cdef int64_t first = a.base if a.base > b.base else b.base
    cdef int64_t last = (a.base if a.base < b.base else b.base) + <int64_t>a.mask
    cdef int64_t near = a.best if a.best < b.best else b.best
    cdef int64_t far = a.best if a.best > b.best else b.best
    pair.near = near
    pair.span[0] = <uint64_t>far - <uint64_t>near + 1
    pair.span[1] = 0
    pair.first[0] = first
    pair.width[0] = <uint64_t>(last - first) + 1 if last >= first else 0
    first = a.bound if a.bound > first else first
    first = b.bound if b.bound > first else first
    last = near if near < last else last
    pair.first[1] = first
    pair.width[1] = <uint64_t>(last - first) + 1 if last >= first else 0


cdef inline void pair_init(LadderPair* pair, Ladder* a, Ladder* b) noexcept nogil:
    """Pairs two ladders of the same window size."""
    pair.ladders[0] = a
    pair.ladders[1] = b
    pair.mask = a.mask
    pair.qty[0] = a.qty
    pair.qty[1] = b.qty
    pair.words[0] = a.words
    pair.words[1] = b.words
    pair_look(pair)


cdef inline bint pair_plain(const LadderPair* pair, int64_t key, bint keep) noexcept nogil:
    """Whether setting, or removing, a level is nothing but a quantity and a bit in both ladders."""
    return (<uint64_t>(key - pair.first[keep]) < pair.width[keep]) & (
        <uint64_t>(key - pair.near) >= pair.span[keep]
    )


cdef inline void _pair_summarise(
    LadderPair* pair, uint64_t word, uint64_t before_a, uint64_t before_b
) noexcept nogil:
    """Notes in the ladders' summaries which words have become empty, or stopped being so."""
    cdef uint64_t bit = <uint64_t>1 << (word & 63)
    if (before_a == 0) != (pair.words[0][word] == 0):
        pair.ladders[0].summary[word >> 6] ^= bit
    if (before_b == 0) != (pair.words[1][word] == 0):
        pair.ladders[1].summary[word >> 6] ^= bit


cdef inline void pair_put(LadderPair* pair, int64_t key, double qty, bint keep) noexcept nogil:
    """Sets a level in both ladders, or removes it; it has to be plain."""
    cdef uint64_t slot = <uint64_t>key & pair.mask
    cdef uint64_t word = slot >> 6
    cdef uint64_t others = ~(<uint64_t>1 << (slot & 63))
    cdef uint64_t bit = <uint64_t>keep << (slot & 63)
    # Masked as an integer: of two doubles gcc makes the choice a branch.
    cdef uint64_t kept = (<uint64_t*>&qty)[0] & -<uint64_t>keep
    cdef uint64_t before_a = pair.words[0][word]
    cdef uint64_t before_b = pair.words[1][word]
    (<uint64_t*>&pair.qty[0][slot])[0] = kept
    (<uint64_t*>&pair.qty[1][slot])[0] = kept
    pair.words[0][word] = (before_a & others) | bit
    pair.words[1][word] = (before_b & others) | bit
    if ladder_rare(((before_a & others) == 0) | ((before_b & others) == 0)):
        _pair_summarise(pair, word, before_a, before_b)


# Asks for the cache lines of a level that is to be updated soon; any key will do.
cdef inline void pair_fetch(const LadderPair* pair, int64_t key) noexcept nogil:
    cdef uint64_t slot = <uint64_t>key & pair.mask
    pair_prefetch(pair.qty[0] + slot)
    pair_prefetch(pair.qty[1] + slot)
