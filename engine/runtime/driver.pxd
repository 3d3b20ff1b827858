"""The engine loop's driver: what the kernel puts out goes into the rings, and requests are timed.

A request that an input of the feed has led to is timed from that input's arrival in the feed's process, which is
in the ring's record, to where the venue has it: one look at the clock and one note in the journal a request, and
nothing for an input that leads to none. Bad case: a strategy that sends on every row.
"""

from libc.stdint cimport int64_t, uint16_t

from engine.backtest.recorder cimport Recorder
from engine.core.clock cimport ClockState
from engine.core.types cimport Event, Order
from engine.gateways.venue cimport VenueDriver
from engine.runtime.inputs cimport InputLog
from engine.runtime.publish cimport Publisher
from engine.strategy.desk cimport Output


cdef class LoopDriver(VenueDriver):
    cdef Publisher out
    cdef Recorder recorder       # of the session's fills and order updates, or None
    cdef InputLog inputs
    cdef const ClockState* steady
    cdef bint muted              # nothing goes into the rings: what is replayed has been published
    # Of the feed's input that is being applied: when it arrived, steady clock (0: not known), and its engine time.
    cdef int64_t received
    cdef int64_t input_ts
    cdef int emitted(self, const Output* output) noexcept nogil
    cdef int seen(self, int64_t ts, uint16_t instrument, const Event* event) noexcept nogil
    cdef void sent(self, const Order* request) noexcept nogil
