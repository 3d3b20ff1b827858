"""Venues as the engine loop sees them, and the driver of a kernel against one; see venue.pxd."""

from libc.stdint cimport INT64_MAX, int64_t, uint16_t, uint32_t, uint64_t

from engine.backtest.local cimport kernel_report, kernel_request
from engine.core.codes cimport ERR_BAD_EVENT, ERR_INVALID_REQUEST, ERR_NO_IMAGE, OK
from engine.core.image cimport Image, ImageBuffer, image_fault
from engine.core.types cimport Event, Fill, Order
from engine.kernel cimport OUTPUT_FILL, OUTPUT_ORDER, OUTPUT_REQUEST, Kernel, Output


cdef inline uint64_t _mixed(uint64_t h, const void* data, size_t size) noexcept nogil:
    """Hashes whole words; the records have no bytes that nobody sets."""
    cdef const uint64_t* words = <const uint64_t*>data
    cdef size_t i
    for i in range(size // sizeof(uint64_t)):
        h = (h ^ words[i]) * <uint64_t>0x9E3779B97F4A7C15
        h ^= h >> 32
    return h


cdef class Venue:
    """What the engine loop trades with; a subclass overrides what it needs of venue.pxd's functions and of these two."""

    cdef int venue_market(self, uint16_t instrument, const Event* event) noexcept nogil:
        return ERR_BAD_EVENT

    cdef int venue_request(self, const Order* request, int64_t now) noexcept nogil:
        return ERR_INVALID_REQUEST

    cdef bint venue_next(self, int64_t* ts, int64_t* key) noexcept nogil:
        ts[0], key[0] = INT64_MAX, 0
        return False

    cdef bint venue_pending(self, int64_t* ts, int64_t* key) noexcept nogil:
        return self.venue_next(ts, key)

    cdef int venue_step(self, VenueStep* step) noexcept nogil:
        step.kind = STEP_NOTHING
        return OK

    cdef void image(self, Image* image) noexcept nogil:
        image_fault(image, ERR_NO_IMAGE)

    def written(self):
        """All its state, as bytes.

        Raises:
            NotKept: It has models of the user's own, or is of a kind that cannot be written down.
        """
        cdef ImageBuffer buffer = ImageBuffer()
        self.image(&buffer.image)
        return buffer.finish("the venue")

    def read_back(self, bytes state not None):
        """Takes a state over that another venue of the same configuration has written.

        Args:
            state: As :meth:`written` gave it.

        Raises:
            ImageError: It is of another configuration, or damaged; this venue is then of no use any more.
        """
        cdef ImageBuffer buffer = ImageBuffer(state)
        self.image(&buffer.image)
        buffer.finish("the venue")

    def check_models(self):
        """Raises what a model of the user's own raised, or what it returned that cannot be."""

    def check_invariants(self):
        """Raises InvariantError unless the venue is consistent."""


cdef class VenueDriver:
    """Drives a kernel against a venue; see venue.pxd.

    Args:
        kernel: The kernel, with the venue's instruments.
        venue: The venue.
    """

    def __init__(self, Kernel kernel not None, Venue venue not None):
        self.kernel = kernel
        self.venue = venue

    cdef int item(
        self, int64_t ts, uint16_t instrument, int kind, const Event* event, bint last
    ) noexcept nogil:
        """Shows one market event to the side that it is for, after everything that is due before it."""
        cdef int code = self.catch_up(ts, item_key(instrument, kind))
        if code != OK:
            return code
        if kind == ITEM_VENUE_MARKET:
            return self.venue.venue_market(instrument, event)
        code = self.kernel.apply_market(instrument, event, last)
        if code == OK:
            # What the event led to goes out before anybody is told of the event.
            code = self.drain()
        return code if code != OK else self.seen(ts, instrument, event)

    cdef int emitted(self, const Output* output) noexcept nogil:
        """Takes an output that is no request; this one forgets it."""
        return OK

    cdef int seen(self, int64_t ts, uint16_t instrument, const Event* event) noexcept nogil:
        """Takes note of a market event that the kernel has been given; this one does not."""
        return OK

    cdef void sent(self, const Order* request) noexcept nogil:
        """Takes note of a request that the venue has been given; this one does not."""

    cdef int catch_up(self, int64_t until, int64_t until_key) noexcept nogil:
        """Does everything that comes before the item (until, until_key): the venue's and timers."""
        cdef int64_t ts = 0
        cdef int64_t key = 0
        cdef VenueStep step
        cdef bint due
        cdef int code
        while True:
            self.venue.venue_next(&ts, &key)
            due = item_before(ts, key, until, until_key)
            if self.kernel.desk.next_timer < (ts if due else until):
                code = self.kernel.apply_timer(self.kernel.desk.next_timer)
            elif not due:
                return OK
            else:
                code = self.venue.venue_step(&step)
                if code == OK and step.kind == STEP_REPORT:
                    code = kernel_report(self.kernel, &step.report, ts)
                elif code == OK and step.kind == STEP_MARKET:
                    code = self.kernel.apply_market(step.instrument, &step.event, step.last)
                    if code == OK:
                        code = self.drain()
                    if code == OK:
                        code = self.seen(ts, step.instrument, &step.event)
            if code == OK:
                code = self.drain()
            if code != OK:
                return code

    cdef int drain(self) noexcept nogil:
        """Sends requests on their way to the venue, all of them first, and then hands everything else on."""
        cdef const Order* request
        cdef uint32_t i
        cdef uint32_t others = 0
        cdef int code
        for i in range(self.kernel.desk.n_outputs):
            request = kernel_request(self.kernel, i)
            if request == NULL:
                others += 1
                continue
            code = self.venue.venue_request(request, request.local_ts)
            if code != OK:
                return code
            self.sent(request)
        for i in range(self.kernel.desk.n_outputs):
            if others == 0:
                break
            if kernel_request(self.kernel, i) == NULL:
                others -= 1
                code = self.emitted(&self.kernel.desk.outbox[i])
                if code != OK:
                    return code
        if self.counting:
            self.count_outputs()
        self.kernel.take_outputs()
        return OK

    cdef void count_outputs(self) noexcept nogil:
        cdef const Output* output
        cdef uint64_t h = self.outputs_hash
        cdef uint32_t i
        for i in range(self.kernel.desk.n_outputs):
            output = &self.kernel.desk.outbox[i]
            h ^= output.kind | <uint64_t>output.prev_status << 8 | <uint64_t>output.strategy << 16
            h = _mixed(h, &output.ts, sizeof(int64_t) + sizeof(uint64_t))
            if output.kind == OUTPUT_FILL:
                h = _mixed(h, &output.fill, sizeof(Fill))
            elif output.kind == OUTPUT_REQUEST or output.kind == OUTPUT_ORDER:
                h = _mixed(h, &output.order, sizeof(Order))
        self.outputs_hash = h
        self.n_outputs += self.kernel.desk.n_outputs
