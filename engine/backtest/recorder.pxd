"""What a run leaves behind: every fill, every order update, equity samples, and what was asked for besides:
how long an engine took from a tick to a request, and the market that it was shown.

Each log is one block that doubles when it is full, so an entry costs one copy, and now and then a
realloc of everything so far. A block that has come to its limit is written to a temporary file without
a name and begins anew: a run of any length keeps a few megabytes of each log in memory, and its arrays
are maps of those files. The bad case is a full disk under the temporary directory, which ends the run.
"""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint64_t

from engine.core.types cimport Event, Order
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


# A request that an input of the feed led to, of an engine that has a clock.
cdef struct TickEntry:
    int64_t ts                   # engine time at which it was sent
    int64_t took                 # nanoseconds from the input's arrival to the sending
    uint64_t order_id
    uint16_t instrument
    uint16_t strategy
    uint8_t req
    uint8_t _pad[3]


cdef struct MarketEntry:
    int64_t ts                   # engine time
    Event event
    uint16_t instrument
    uint8_t _pad[6]


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
    cdef Log ticks
    cdef Log market
    cdef readonly bint has_market    # what strategies are shown is kept
    cdef readonly uint64_t n_orders  # order updates ever, taken or not

    cdef int record(self, const Output* output) noexcept nogil
    cdef int tick(self, const TickEntry* entry) noexcept nogil
    cdef int show(self, int64_t ts, uint16_t instrument, const Event* event) noexcept nogil
    cdef int sample(self, const Desk* desk, int64_t ts) noexcept nogil
