"""What a run leaves behind: every fill, every order update, and equity samples.

Each log is one block that doubles when it is full, so an entry costs one copy, and now and then a
realloc of everything so far. A block that has come to its limit is written to a temporary file without
a name and begins anew: a run of any length keeps a few megabytes of each log in memory, and its arrays
are maps of those files. The bad case is a full disk under the temporary directory, which ends the run.
"""

from libc.stdint cimport int64_t, uint8_t, uint16_t

from engine.core.types cimport Order
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
    double funding               # paid so far; negative was received
    double equity
    uint16_t strategy
    uint16_t instrument
    uint8_t _pad[4]


cdef struct Log:
    char* data
    size_t item                  # bytes an entry
    size_t n                     # entries in the block
    size_t capacity
    size_t limit                 # what capacity may grow to
    size_t written               # entries in the file, all before those in the block
    int file                     # -1 while there is none


cdef class Recorder:
    cdef Log fills
    cdef Log orders
    cdef Log samples

    cdef int record(self, const Output* output) noexcept nogil
    cdef int sample(self, const Desk* desk, int64_t ts) noexcept nogil
