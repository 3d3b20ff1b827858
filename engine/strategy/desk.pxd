"""The desk: what strategies trade through. Books, live orders, positions, limits, timers, outbox.

A C struct and free functions without the GIL; the kernel owns one and calls the strategies, strategies
(Python through ``Context``, compiled ones through ``native``) act on it. Fixed capacities: a request
that finds no room is denied with BUSY; cancels and reports have room of their own.

Costs: a submit, cancel, modify or report is one id-map probe, a few compares and one or two 300-byte
output records; cancelling all is linear in the strategy's live orders. Nothing is allocated after init.
"""

from libc.math cimport NAN
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from engine.book.l2 cimport L2Book
from engine.core.ticks cimport INVALID_MAX_TICK, INVALID_MIN_TICK, to_px
from engine.core.types cimport Event, Fill, Instrument, Order
from engine.risk.position cimport Position
from engine.risk.pretrade cimport LimitSet


cdef enum:
    MAX_STRATEGIES = 64
    DENIED_CAPACITY = 256
    NO_HANDLE = 0xffffffff
    ANY_INSTRUMENT = 0xffff      # in desk_cancel_all and in a cancel request without client_order_id
    ANY_STRATEGY = 0xffff

cdef enum OutputKind:
    OUTPUT_REQUEST = 1           # to the venue: order.req is NEW, CANCELED or REPLACED
    OUTPUT_ORDER = 2             # an order changed: order and prev_status
    OUTPUT_FILL = 3              # order and fill
    OUTPUT_STRATEGY = 4          # a strategy's state, message, limits or parameters changed
    OUTPUT_LOG = 5               # a strategy logged: Kernel.take_logs() has the text

cdef struct Output:
    uint8_t kind
    uint8_t prev_status
    uint16_t strategy
    uint32_t _pad
    int64_t ts
    uint64_t step
    Order order
    Fill fill

cdef enum StrategyKind:
    KIND_PYTHON = 0
    KIND_NATIVE = 1
    KIND_EXTERNAL = 2

# Which callbacks a strategy has; the kernel calls no others.
cdef enum Callback:
    CALL_BOOK = 1
    CALL_TRADE = 2
    CALL_ORDER = 4
    CALL_FILL = 8
    CALL_TIMER = 16

cdef struct StrategySlot:
    int64_t timer_due            # INT64_MAX without a timer
    int64_t timer_interval
    uint8_t state                # StrategyStateCode
    uint8_t kind
    uint8_t calls                # Callback bits
    uint8_t _pad[5]

# One strategy in one instrument.
cdef struct Cell:
    Position position
    LimitSet limits
    int64_t open_buy             # lots that could still be bought by live orders
    int64_t open_sell
    uint32_t n_orders
    uint32_t head                # live orders, oldest first, linked through Order.next_handle
    uint32_t tail
    uint8_t trades               # the strategy named this instrument
    uint8_t close_tries          # closing orders left to send until flat

# What an order's slot needs besides the order itself.
cdef struct OrderMeta:
    int64_t venue_tick           # as the venue last confirmed it: comes back when a modify is rejected
    int64_t venue_qty
    uint8_t cancel_reason        # wanted gone for this reason, as soon as no request is in flight
    uint8_t cancel_tries         # left before the venue's refusals are believed
    uint8_t _pad[6]

cdef struct Desk:
    int64_t now                  # engine time: local_ts of the last input
    uint64_t step                # set by the driver; outputs carry it
    int64_t next_timer           # earliest timer of any strategy; INT64_MAX without one
    uint64_t next_order_id
    Instrument* instruments
    L2Book* books                # local books, one an instrument
    StrategySlot* slots
    Cell* cells                  # MAX_STRATEGIES rows of n_instruments
    Output* outbox               # n_outputs of them wait for the driver
    uint32_t n_outputs
    uint32_t outbox_capacity
    uint32_t outbox_soft         # above it new orders are denied and inputs refused until drained
    uint16_t n_instruments
    uint16_t n_strategies
    uint8_t trading_state        # TradingStateCode


cdef inline Cell* desk_cell(const Desk* desk, uint16_t strategy, uint16_t instrument) noexcept nogil:
    return &desk.cells[<size_t>strategy * desk.n_instruments + instrument]


cdef inline double book_mid(const L2Book* book) noexcept nogil:
    """The middle of the best prices; NaN unless both sides have one."""
    if book.best_bid_tick == INVALID_MIN_TICK or book.best_ask_tick == INVALID_MAX_TICK:
        return NAN
    return (to_px(book.best_bid_tick, book.tick_size) + to_px(book.best_ask_tick, book.tick_size)) / 2.0
