"""Prices to ticks and back, quantities to lots and back; rounds half away from zero as hftbacktest does."""

from libc.stdint cimport int64_t


# What an empty side's best tick is: hftbacktest's INVALID_MIN and INVALID_MAX.
cdef extern from *:
    """
    #define INVALID_MIN_TICK INT64_MIN
    #define INVALID_MAX_TICK INT64_MAX
    """
    const int64_t INVALID_MIN_TICK
    const int64_t INVALID_MAX_TICK


# C's round() in a few instructions, without the call that a baseline x86-64 build makes of it: the
# fraction is exact, so no double rounding. |x| must be below 2**63.
cdef inline int64_t round_half_away(double x) noexcept nogil:
    cdef int64_t whole = <int64_t>x
    cdef double fraction = x - <double>whole
    return whole + (fraction >= 0.5) - (fraction <= -0.5)


cdef inline int64_t to_tick(double px, double tick_size) noexcept nogil:
    """The tick nearest to ``px``; division, not multiplication by an inverse, to agree bit by bit."""
    return round_half_away(px / tick_size)


cdef inline int64_t to_lot(double qty, double lot_size) noexcept nogil:
    return round_half_away(qty / lot_size)


cdef inline double to_px(int64_t tick, double tick_size) noexcept nogil:
    return <double>tick * tick_size


cdef inline double to_qty(int64_t lots, double lot_size) noexcept nogil:
    return <double>lots * lot_size
