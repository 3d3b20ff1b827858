"""The stopwatch of bench_latency.py: one feed record at a time through the engine loop, timed on its thread.

It starts when the record is in the feed ring and stops when the first new order that follows from it is in
the venue's queue, and again when the last request is (a reaction may cancel some orders and send others).
Between lies one whole step of ``LoopCore``: the look at commands and requests, the ring, what is due earlier,
the book, the strategy, the checks before the order, and the way to the venue. What the step tells the outside
comes after the requests and is not in the figure. The clock is the processor's counter where it is constant,
read with fences so that nothing moves past it; its own cost is measured and left in.
"""

cimport cython
from libc.stdint cimport int64_t, uint16_t, uint64_t
from libc.string cimport memcpy
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

from engine.core.ring cimport (
    SPSC_OK,
    Ring,
    spsc_claim_one,
    spsc_consume,
    spsc_peek,
    spsc_publish,
)
from engine.core.types cimport ORDER_LIMIT, SIDE_BUY, STATUS_NEW, TIF_GTX, Order
from engine.core.ticks cimport INVALID_MIN_TICK
from engine.gateways.paper cimport Paper
from engine.runtime.loop cimport WANT_NOTHING, WANT_TELL, LoopCore
from engine.runtime.records cimport SLOT_SIZE
from engine.strategy.desk cimport CALL_BOOK
from engine.strategy.native cimport (
    NativeStrategy,
    native_book,
    native_cancel_all,
    native_position,
    native_submit,
)

cdef extern from *:
    """
    #if defined(__x86_64__)
    #include <x86intrin.h>
    #define RB_HAS_COUNTER 1
    static inline uint64_t rb_counter(void) {
        unsigned aux;
        /* waits for what is before it; the fence keeps what comes after it there */
        uint64_t t = __rdtscp(&aux);
        _mm_lfence();
        return t;
    }
    #else
    #define RB_HAS_COUNTER 0
    static inline uint64_t rb_counter(void) { return 0; }
    #endif
    """
    bint RB_HAS_COUNTER
    uint64_t rb_counter() noexcept nogil

cdef bint _counter = False


cdef inline uint64_t steady() noexcept nogil:
    cdef timespec t
    clock_gettime(CLOCK_MONOTONIC, &t)
    return <uint64_t>t.tv_sec * 1000000000 + t.tv_nsec


cdef inline uint64_t stamp() noexcept nogil:
    return rb_counter() if _counter else steady()


def choose(bint counter):
    """Chooses the processor's counter, where there is one, or ``clock_gettime``; returns the clock's name."""
    global _counter
    _counter = counter and RB_HAS_COUNTER
    return "rdtscp" if _counter else "clock_gettime"


def calibrate(int64_t nanoseconds=50_000_000):
    """Measures the clock.

    Args:
        nanoseconds: How long.

    Returns:
        Nanoseconds a unit of the clock, and the median nanoseconds of reading it twice, which every sample has.
    """
    cdef uint64_t a, b, began, ended, first, last
    cdef Py_ssize_t i
    cdef list costs = []
    for i in range(1001):
        a = stamp()
        b = stamp()
        costs.append(b - a)
    first, began = stamp(), steady()
    ended = began
    while ended - began < <uint64_t>nanoseconds:
        ended = steady()
    last = stamp()
    unit = (ended - began) / <double>(last - first)
    return unit, sorted(costs)[500] * unit


cdef class TimedPaper(Paper):
    """A paper venue that knows when the first new order and the last request were in its queue."""

    cdef uint64_t ordered
    cdef uint64_t stamped
    cdef uint64_t requests
    cdef bint wanted

    cdef int venue_request(self, const Order* request, int64_t now) noexcept nogil:
        cdef int code = Paper.venue_request(self, request, now)
        self.requests += 1
        # Cancels before it are not timed: reading the clock once more would be in the figure of the order.
        if not self.wanted:
            self.stamped = stamp()
        elif request.req == STATUS_NEW:
            self.ordered = self.stamped = stamp()
            self.wanted = False
        return code


cdef inline void empty(Ring ring) noexcept nogil:
    cdef void* slot = NULL
    cdef uint64_t n = 0
    while spsc_peek(&ring.spsc, &slot, &n) == SPSC_OK:
        spsc_consume(&ring.spsc, n)


def drive(LoopCore core not None, TimedPaper venue not None, list outgoing, const unsigned char[:, ::1] records,
          uint64_t[:, ::1] samples):
    """Runs records through the loop, each alone, and times those that lead to a new order.

    Args:
        core: The loop; its kernel has been started.
        venue: What it trades with.
        outgoing: Its four outgoing rings, which are emptied after each step and outside of the figure.
        records: Slots of the feed ring, one a row.
        samples: Where the times go, in units of the clock: to the first new order, and to the last request.

    Returns:
        Number of samples, and number of requests.
    """
    cdef Ring orders_out, market_out, telemetry_out, control_out
    cdef Py_ssize_t i = 0, n = 0
    cdef uint64_t began
    cdef int want
    orders_out, market_out, telemetry_out, control_out = outgoing
    venue.requests = 0
    while i < records.shape[0]:
        memcpy(spsc_claim_one(&core.feed.spsc), &records[i, 0], SLOT_SIZE)
        spsc_publish(&core.feed.spsc, 1)
        with nogil:
            venue.wanted = True
            began = stamp()
            want = core.spin(0, False)
            empty(orders_out)
            empty(market_out)
            empty(telemetry_out)
            empty(control_out)
        if want == WANT_TELL:
            # A strategy's state has changed before the record was taken; the next turn takes both, untimed.
            core.out.changed_strategies()
            core.out.take_logs()
        elif want != WANT_NOTHING:
            raise RuntimeError(f"the loop stopped for {want}, code {core.code}")
        elif not venue.wanted:
            samples[n, 0] = venue.ordered - began
            samples[n, 1] = venue.stamped - began
            n += 1
        i += 1
    return n, venue.requests


@cython.final
cdef class Quoter(NativeStrategy):
    """Keeps a bid at the best price: when that changes, cancels the old one and sends a new one."""

    cdef int64_t quoted

    def __cinit__(self):
        self.calls = CALL_BOOK

    cdef void on_book(self, uint16_t instrument) noexcept nogil:
        cdef int64_t best = native_book(self, instrument).best_bid_tick
        if best == self.quoted or best == INVALID_MIN_TICK:
            return
        self.quoted = best
        native_cancel_all(self)
        if native_position(self, instrument) < 1000:
            native_submit(self, instrument, SIDE_BUY, best, 1, ORDER_LIMIT, TIF_GTX)
