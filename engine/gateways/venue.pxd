"""What the engine loop trades with, and how it drives a kernel against it.

A venue is pushed: it is shown each market event of the feed, handed the kernel's requests, and before each item of
the stream it does what is due earlier. ``venue_next`` says when and what that is, ``venue_step`` does it. Items of
the feed and what venues do share one order (see ``item_key``), the backtest's, so the same stream gives the same
fills at any speed. Asking costs one virtual call an item; everything else is the venue's.
"""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint64_t

from engine.core.image cimport Image
from engine.core.types cimport Event, Order
from engine.kernel cimport Kernel, Output


# The kinds of things at one instant, in their order within an instrument.
cdef enum ItemKind:
    ITEM_LOCAL_MARKET = 0
    ITEM_RESPONSE = 1
    ITEM_VENUE_MARKET = 2
    ITEM_REQUEST = 3


# What a venue has for us after a step.
cdef enum StepKind:
    STEP_NOTHING = 0
    STEP_REPORT = 1              # an answer has come back
    STEP_MARKET = 2              # market data of the venue's own has reached us


cdef struct VenueStep:
    uint8_t kind                 # StepKind
    bint last                    # of a market event: the last one of its message
    uint16_t instrument          # of a market event
    Order report
    Event event


cdef inline int64_t item_key(uint16_t instrument, int kind) noexcept nogil:
    """The rank of an item among those of its instant."""
    return <int64_t>instrument * 4 + kind


cdef inline bint item_before(int64_t ts, int64_t key, int64_t other_ts, int64_t other_key) noexcept nogil:
    return ts < other_ts or (ts == other_ts and key < other_key)


cdef class Venue:
    cdef readonly bint has_market    # of its own, for which time is enough: no feed brings it

    # Shows the venue an event of the feed as it saw it (an item of kind ITEM_VENUE_MARKET).
    cdef int venue_market(self, uint16_t instrument, const Event* event) noexcept nogil
    # Sends a request on its way.
    cdef int venue_request(self, const Order* request, int64_t now) noexcept nogil
    # When the venue has something due next, and its rank at that instant; false if nothing is.
    cdef bint venue_next(self, int64_t* ts, int64_t* key) noexcept nogil
    # The same of what is on its way between us and the venue only.
    cdef bint venue_pending(self, int64_t* ts, int64_t* key) noexcept nogil
    # Does what `venue_next` said.
    cdef int venue_step(self, VenueStep* step) noexcept nogil
    # Moves all its state between two steps, out or in; ERR_NO_IMAGE of one that cannot.
    cdef void image(self, Image* image) noexcept nogil


# What the kernel puts out besides requests goes to `emitted`, market data that it has been given to `seen`, and `sent`
# is told of each request on its way; whoever drives overrides them: the engine loop into its rings, PaperDriver into a
# recorder.
cdef class VenueDriver:
    cdef Kernel kernel
    cdef readonly Venue venue
    cdef bint counting               # outputs are counted and hashed
    cdef readonly uint64_t n_outputs
    cdef readonly uint64_t outputs_hash

    # One item of the stream, after everything that is due before it.
    cdef int item(
        self, int64_t ts, uint16_t instrument, int kind, const Event* event, bint last
    ) noexcept nogil
    # Everything that comes before (until, until_key): the venue's events and timers.
    cdef int catch_up(self, int64_t until, int64_t until_key) noexcept nogil
    # Requests to the venue, the rest to `emitted`; the outbox is empty afterwards.
    cdef int drain(self) noexcept nogil
    # Counts and hashes what is in the outbox, so that a replay can be held against the run it repeats.
    cdef void count_outputs(self) noexcept nogil
    cdef int emitted(self, const Output* output) noexcept nogil
    cdef void sent(self, const Order* request) noexcept nogil
    cdef int seen(self, int64_t ts, uint16_t instrument, const Event* event) noexcept nogil
