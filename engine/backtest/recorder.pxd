"""What a run leaves behind: every fill, every order update, and equity samples.

Each log is one block that doubles when it is full, so an entry costs one copy, and now and then a
realloc of everything so far.
"""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint64_t

from engine.core.types cimport Fill, Order
from engine.strategy.desk cimport Desk, Output


cdef struct OrderEntry:
    int64_t ts                   # engine time
    Order order                  # after the change
    uint8_t prev_status
    uint8_t _pad[7]


cdef struct EquitySample:
    int64_t ts
    double mid_price             # NaN without a market
    double position
    double balance
    double fee
    double equity
    uint16_t strategy
    uint16_t instrument
    uint8_t _pad[4]


cdef struct Log:
    char* data
    size_t item                  # bytes an entry
    size_t n
    size_t capacity


cdef class Recorder:
    cdef Log fills
    cdef Log orders
    cdef Log samples

    cdef int record(self, const Output* output) noexcept nogil
    cdef int sample(self, const Desk* desk, int64_t ts) noexcept nogil
