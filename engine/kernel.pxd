"""The one state machine: books, strategies, limits, positions. Inputs in, outputs in an outbox.

Whoever drives it (the backtest's scheduler, the engine loop, a test) applies one input, then takes the
outbox: order requests for a venue, order updates, fills and state changes for whoever listens.
"""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from engine.book.l2 cimport L2Book
from engine.core.types cimport Event, Fill, Instrument, Order


cdef enum OutputKind:
    OUTPUT_REQUEST = 1       # to the venue: order.req is NEW, CANCELED or REPLACED
    OUTPUT_ORDER = 2         # an order changed: order and prev_status
    OUTPUT_FILL = 3          # order and fill
    OUTPUT_STRATEGY = 4      # a strategy's state, message or parameters changed
    OUTPUT_LOG = 5           # a strategy logged: Kernel.take_logs() has the text


cdef struct Output:
    uint8_t kind
    uint8_t prev_status
    uint16_t strategy
    uint32_t _pad
    int64_t ts
    Order order
    Fill fill


cdef class Kernel:
    cdef readonly int64_t now            # engine time: local_ts of the last input
    cdef readonly uint64_t step          # set by the driver; outputs of one step carry it
    cdef int64_t next_timer              # earliest timer any strategy waits for; INT64_MAX without one
    cdef readonly uint8_t trading_state
    cdef Output* outbox                  # n_outputs of them wait
    cdef readonly uint32_t n_outputs
    cdef readonly uint32_t outbox_capacity
    cdef readonly uint16_t n_instruments
    cdef readonly uint16_t n_strategies
    cdef Instrument* instruments
    cdef L2Book* books                   # the local books, one an instrument

    # Inputs. Each returns OK or a ResultCode; a strategy that raises is stopped, not propagated.
    cdef int apply_market(self, uint16_t instrument, const Event* event, bint last) noexcept nogil
    cdef int apply_report(self, const Order* report, int64_t now) noexcept nogil
    cdef int apply_timer(self, int64_t now) noexcept nogil
    cdef int apply_request(self, const Order* request, int64_t now) noexcept nogil
    cdef void take_outputs(self) noexcept nogil
