"""The engine loop: rings in, kernel and venue, rings out. One thread, which owns all trading state.

A step takes control commands first, then order requests, then up to FEED_BATCH feed records, and then
publishes. Each input is kept in the journal (runtime/inputs) before it is applied; a replay of the journal
applies them by the same functions. Without Python strategies it runs without the GIL until something needs the interpreter: a
command, a signal, a log line, the start, the end. Nothing in it waits but the sleep on the bell when all
three rings are empty.

Time is the feed's: an item of the feed moves it, so a replay gives the same fills at any speed. Once the
feed has ended, what is still on its way between the kernel and the venue happens at once.

Costs: a feed record is one kernel input, a look at the venue's next time and, with changes, a probe into
a conflation set; publishing is paid once a step. Bad case: a bridge that reads more slowly than the
engine writes orders. Then the feed waits for it, as long as the bridge makes progress; a bridge that
does not read at all is not waited for, and new orders are denied with BUSY while its ring is short. A journal
that is full has the feed wait, and new orders are denied.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from engine.core.histogram cimport Histogram
from engine.core.ring cimport Bell, Ring, SpscRing
from engine.kernel cimport Kernel
from engine.runtime.driver cimport LoopDriver
from engine.runtime.inputs cimport InputLog
from engine.runtime.publish cimport Publisher
from engine.runtime.records cimport Record


cdef enum:
    FEED_BATCH = 256             # feed records a step
    REQUEST_BATCH = 256          # order requests a step
    SETTLE_BATCH = 256           # venue events a step once the feed has ended


# Why the loop wants the interpreter.
cdef enum WantCode:
    WANT_NOTHING = 0
    WANT_CONTROL = 1
    WANT_SIGNAL = 2
    WANT_TELL = 3                # strategies changed, or log lines wait
    WANT_START = 4               # the market begins
    WANT_STOP = 5                # SIGTERM
    WANT_FAULT = 6               # self.code says what
    WANT_ROOM = 7                # the journal is full: the input was not taken


cdef class LoopCore:
    cdef readonly Kernel kernel
    cdef readonly LoopDriver driver
    cdef readonly Publisher out
    cdef readonly Ring feed
    cdef readonly Ring orders_in
    cdef readonly Ring control_in
    cdef readonly Bell bell
    cdef SpscRing* rings[3]      # control, orders, feed: in their order of precedence
    cdef readonly InputLog inputs
    cdef readonly int64_t now    # engine time
    cdef readonly int code       # of WANT_FAULT
    cdef bint started
    cdef uint8_t feed_state
    cdef int64_t status_interval
    # Steady times: a wall clock that is set must stop nothing.
    cdef int64_t next_status
    cdef int64_t last_feed       # when the last record came from the feed
    cdef int64_t last_market     # when the last market record was applied
    cdef int64_t stalled_since   # since when the bridge has made no progress; 0 without a stall
    cdef uint64_t stalled_room
    cdef bint journal_full       # since the last input was taken
    cdef uint64_t rated_events   # at the last status, for the rate
    cdef int64_t rated_at
    cdef double step_ns
    cdef readonly Histogram steps  # times of busy steps, ns

    cdef int spin(self, int64_t deadline, bint skip_control) noexcept nogil
    cdef int keep(self, int source, Record* record, uint32_t length, int64_t steady) noexcept nogil
    cdef int take_requests(self, int64_t steady, uint32_t* done) noexcept nogil
    cdef int take_feed(self, int64_t steady, uint32_t* done) noexcept nogil
    cdef int take_silence(self, int64_t silence, int64_t steady) noexcept nogil
    cdef int take_order(self, Record* record, int64_t steady) noexcept nogil
    cdef int take_record(self, Record* record, int64_t steady) noexcept nogil
    cdef int take_due(self, int64_t ts, int64_t key, int64_t steady) noexcept nogil
    cdef int take_time(self, int64_t ts, int64_t steady) noexcept nogil
    cdef int settle(self, uint32_t most, uint32_t* done) noexcept nogil
    cdef bint orders_fit(self, int64_t steady) noexcept nogil
    cdef void publish(self, int64_t steady, bint force) noexcept nogil
    cdef void report(self, int64_t steady, int64_t wall) noexcept nogil
    cdef void idle(self, int64_t steady, int64_t left) noexcept nogil
