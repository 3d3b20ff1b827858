"""Prices to ticks and back, quantities to lots and back; rounds half away from zero as hftbacktest does."""

from libc.math cimport round as c_round
from libc.stdint cimport int64_t


# What an empty side's best tick is: hftbacktest's INVALID_MIN and INVALID_MAX.
cdef extern from *:
    """
    #define INVALID_MIN_TICK INT64_MIN
    #define INVALID_MAX_TICK INT64_MAX
    """
    const int64_t INVALID_MIN_TICK
    const int64_t INVALID_MAX_TICK


cdef inline int64_t to_tick(double px, double tick_size) noexcept nogil:
    """The tick nearest to ``px``; division, not multiplication by an inverse, to agree bit by bit."""
    return <int64_t>c_round(px / tick_size)


cdef inline int64_t to_lot(double qty, double lot_size) noexcept nogil:
    return <int64_t>c_round(qty / lot_size)


cdef inline double to_px(int64_t tick, double tick_size) noexcept nogil:
    return <double>tick * tick_size


cdef inline double to_qty(int64_t lots, double lot_size) noexcept nogil:
    return <double>lots * lot_size
