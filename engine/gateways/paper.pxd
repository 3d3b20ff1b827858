"""The paper venue: the backtest's own exchange side, pushed event by event by whoever has a live stream.

The driver shows it each market event as the venue saw it, hands it the kernel's requests, and before
each item of its stream lets it do what is due earlier: ``paper_next`` says when and what that is,
``paper_step`` does it. Items and internal events share one order (see ``item_key``), the backtest's, so
the same stream gives the same fills at any speed. Asking costs two compares an instrument; the rest costs
what the exchange side costs (backtest/exchange.pxd).
"""

from libc.stdint cimport int64_t, uint16_t

from engine.backtest.exchange cimport Exchange
from engine.core.types cimport Event, Order
from engine.kernel cimport Kernel, Output


# The kinds of things at one instant, in their order within an instrument.
cdef enum ItemKind:
    ITEM_LOCAL_MARKET = 0
    ITEM_RESPONSE = 1
    ITEM_VENUE_MARKET = 2
    ITEM_REQUEST = 3


cdef inline int64_t item_key(uint16_t instrument, int kind) noexcept nogil:
    """The rank of an item among those of its instant."""
    return <int64_t>instrument * 4 + kind


cdef inline bint item_before(int64_t ts, int64_t key, int64_t other_ts, int64_t other_key) noexcept nogil:
    return ts < other_ts or (ts == other_ts and key < other_key)


cdef class Paper:
    cdef Exchange* venues
    cdef list custom             # models of each instrument that are not built in
    cdef readonly uint16_t n_instruments
    cdef list latencies

    cdef int paper_market(self, uint16_t instrument, const Event* event) noexcept nogil
    cdef int paper_request(self, const Order* request, int64_t now) noexcept nogil
    cdef bint paper_next(self, int64_t* ts, int64_t* key) noexcept nogil
    cdef int paper_step(self, Order* report, bint* has_report) noexcept nogil


# Drives a kernel against a paper venue, item by item; what the kernel puts out besides requests goes to
# `emitted`, which whoever drives overrides: the engine loop into its rings, PaperDriver into a recorder.
cdef class VenueDriver:
    cdef Kernel kernel
    cdef Paper paper

    # One item of the stream, after everything that is due before it.
    cdef int item(
        self, int64_t ts, uint16_t instrument, int kind, const Event* event, bint last
    ) noexcept nogil
    # Everything that comes before (until, until_key): the venue's events and timers.
    cdef int catch_up(self, int64_t until, int64_t until_key) noexcept nogil
    # Requests to the venue, the rest to `emitted`; the outbox is empty afterwards.
    cdef int drain(self) noexcept nogil
    cdef int emitted(self, const Output* output) noexcept nogil
