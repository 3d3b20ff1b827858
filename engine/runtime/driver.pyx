"""The driver of the engine loop; see driver.pxd."""

cimport cython
from libc.stdint cimport int64_t, uint16_t
from libc.string cimport memset

from engine.backtest.recorder cimport TickEntry
from engine.core.clock cimport clock_now
from engine.core.codes cimport OK
from engine.core.types cimport Event, Order
from engine.gateways.venue cimport Venue, VenueDriver
from engine.kernel cimport Kernel
from engine.runtime.inputs cimport InputLog
from engine.runtime.publish cimport Publisher
from engine.strategy.desk cimport OUTPUT_FILL, OUTPUT_ORDER, Output


@cython.final
cdef class LoopDriver(VenueDriver):
    """The driver whose outputs go into the rings.

    Args:
        kernel: The kernel.
        venue: What it trades with.
        out: The producer side of the outgoing rings.
        inputs: Where it is noted how long requests took.
    """

    def __init__(
        self, Kernel kernel not None, Venue venue not None, Publisher out not None, InputLog inputs not None
    ):
        VenueDriver.__init__(self, kernel, venue)
        self.out, self.inputs = out, inputs

    cdef int emitted(self, const Output* output) noexcept nogil:
        # Orders and fills are numbered, so that each is published once whichever engine does it.
        if not self.muted or output.kind == OUTPUT_ORDER or output.kind == OUTPUT_FILL:
            self.out.output(output)
        return OK if self.recorder is None else self.recorder.record(output)

    cdef int seen(self, int64_t ts, uint16_t instrument, const Event* event) noexcept nogil:
        if not self.muted:
            self.out.market(instrument, event)
        self.out.status.events += 1
        self.out.status.market_ts = ts
        return OK if self.recorder is None else self.recorder.show(ts, instrument, event)

    cdef void sent(self, const Order* request) noexcept nogil:
        cdef TickEntry tick
        cdef int64_t now
        if self.received == 0:
            return
        now = clock_now(self.steady)
        self.inputs.note_sent(self.input_ts, self.received, now, request)
        if self.recorder is not None:
            memset(&tick, 0, sizeof(tick))
            tick.ts, tick.took, tick.order_id = request.local_ts, now - self.received, request.order_id
            tick.instrument, tick.strategy, tick.req = request.instrument, request.strategy, request.req
            # A measurement: without room for it there is one less.
            self.recorder.tick(&tick)
