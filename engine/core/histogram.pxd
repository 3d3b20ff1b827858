"""Counts of times by their size, for percentiles of something that happens a million times a second.

A bucket is a thirty-second of a power of two wide, so that any percentile is known to three per cent, up to
2**36 ns, some 69 s; what took longer counts there. The counts only grow, and lie in a page that other
processes may read while they do: each is one aligned word, and who wants a time between two looks subtracts.

Costs: an addition to one of a thousand words and one to the sum, 2 ns. Bad case: none.
"""

from libc.stdint cimport uint64_t


cdef extern from *:
    """
    #define rb_highest_bit(value) (63 - __builtin_clzll(value))
    """
    int rb_highest_bit(uint64_t value) noexcept nogil


cdef enum:
    SUB_BITS = 5
    TOP_BIT = 36
    BUCKETS = (TOP_BIT - SUB_BITS + 1) << SUB_BITS


cdef inline int histogram_bucket(uint64_t value) noexcept nogil:
    cdef int shift
    if value < (1 << SUB_BITS):
        return <int>value
    if value >> TOP_BIT:
        return BUCKETS - 1
    shift = rb_highest_bit(value) - SUB_BITS
    return (shift << SUB_BITS) + <int>(value >> shift)


cdef inline void histogram_add(uint64_t* counts, uint64_t value) noexcept nogil:
    """Counts a value; ``counts`` has BUCKETS words and, behind them, the sum of all values."""
    counts[histogram_bucket(value)] += 1
    counts[BUCKETS] += value


cdef class Histogram:
    cdef uint64_t* counts
    cdef object buffer           # the memory that counts points into
