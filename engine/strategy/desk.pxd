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
from engine.core.idmap cimport IdTable, idmap_find
from engine.core.pool cimport Slab, pool_get
from engine.core.types cimport (
    STATUS_CANCELED,
    STATUS_EXPIRED,
    STATUS_FILLED,
    STATUS_REJECTED,
    STRATEGY_RUNNING,
    TRADING_ACTIVE,
    TRADING_HALTED,
    Fill,
    Instrument,
    Order,
)
from engine.risk.position cimport Position
from engine.risk.pretrade cimport Denial, LimitSet
from engine.risk.scope cimport SCOPE_GLOBAL, SCOPE_STRATEGIES, Scope


cdef enum:
    MAX_STRATEGIES = 64
    DENIED_CAPACITY = 256
    TRIPPED_CAPACITY = 16
    CANCEL_TRIES = 3             # how often a cancel of our own is repeated when the venue refuses it
    CLOSE_TRIES = 5              # how often a closing order is repeated until the position is flat
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
    CALL_SIGNAL = 32

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
    uint32_t head                # live orders, oldest first, linked through Order.next_handle; 0 ends
    uint32_t tail
    uint8_t trades               # the strategy named this instrument
    uint8_t close_tries          # closing orders left to send until flat
    uint8_t active               # in desk.active
    int64_t own_bid              # no live buy is priced above it, no sell below own_ask; 0 without one
    int64_t own_ask

# A record of the order table: the order, and what only the desk needs to know of it.
cdef struct LiveOrder:
    Order order
    int64_t venue_tick           # as the venue last confirmed it: comes back when a modify is rejected
    int64_t venue_qty
    int64_t value_tick           # what a market order is valued at
    uint8_t cancel_reason        # why its cancel was asked for
    uint8_t cancel_tries         # to be cancelled, as soon as no request is in flight
    uint8_t _pad[6]

# A cell that has had an order or a fill.
cdef struct ActiveCell:
    uint16_t strategy
    uint16_t instrument

# What a report did, for the callbacks; `live` is 0 for an order that the table did not hold.
cdef struct ReportEffect:
    Order order
    Fill fill
    uint32_t live
    uint8_t prev_status
    bint changed
    bint executed
    bint ended

cdef struct Desk:
    int64_t now                  # engine time: local_ts of the last input
    uint64_t step                # set by the driver; outputs carry it
    int64_t next_timer           # earliest timer of any strategy; INT64_MAX without one
    uint64_t next_order_id
    Instrument* instruments
    L2Book* books                # local books, one an instrument
    StrategySlot* slots
    Cell* cells                  # MAX_STRATEGIES rows of n_instruments
    Scope* scopes                # the engine, MAX_STRATEGIES strategies, the instruments
    Output* outbox               # n_outputs of them wait for the driver
    uint32_t n_outputs
    uint32_t outbox_capacity
    uint32_t outbox_soft         # above it new orders are denied and inputs refused until drained
    uint32_t max_orders          # live orders; closing orders have room beyond it
    uint32_t n_denied            # wait for their on_order
    uint32_t n_latched           # scopes with a latch set: 0 spares every order the look at three of them
    uint32_t n_active
    uint32_t n_tripped           # breakers that want the orders of their scope cancelled
    uint32_t tripped[TRIPPED_CAPACITY]   # scopes by number
    ActiveCell* active
    uint64_t limits_mask         # LimitBit of all limits that are set anywhere
    bint counting                # some scope has a limit, so scopes count
    Slab orders                  # LiveOrder records
    IdTable ids                  # order_id to handle
    IdTable* client_ids          # an external strategy's client_order_id to handle
    Order* denied
    uint64_t requests            # sent to the venue so far
    uint64_t fills
    uint64_t denials
    uint64_t dropped             # outputs that found no room: logs and denials only
    uint16_t n_instruments
    uint16_t n_strategies
    uint8_t trading_state        # TradingStateCode
    int64_t silence              # set by the driver: for how long its feed has said nothing; 0 while it speaks
    uint8_t busy                 # set by the driver while its own outputs are short of room: new orders get BUSY


cdef inline Cell* desk_cell(const Desk* desk, uint16_t strategy, uint16_t instrument) noexcept nogil:
    return &desk.cells[<size_t>strategy * desk.n_instruments + instrument]


cdef inline Scope* desk_strategy_scope(const Desk* desk, uint16_t strategy) noexcept nogil:
    return &desk.scopes[SCOPE_STRATEGIES + strategy]


cdef inline Scope* desk_instrument_scope(const Desk* desk, uint16_t instrument) noexcept nogil:
    return &desk.scopes[<size_t>SCOPE_STRATEGIES + MAX_STRATEGIES + instrument]


cdef inline void desk_activate(Desk* desk, uint16_t strategy, uint16_t instrument) noexcept nogil:
    """Lists a cell among those that sums of values and losses go through."""
    cdef Cell* cell = desk_cell(desk, strategy, instrument)
    if not cell.active:
        cell.active = True
        desk.active[desk.n_active].strategy = strategy
        desk.active[desk.n_active].instrument = instrument
        desk.n_active += 1


cdef inline double book_mid(const L2Book* book) noexcept nogil:
    """The middle of the best prices; NaN unless both sides have one."""
    if book.best_bid_tick == INVALID_MIN_TICK or book.best_ask_tick == INVALID_MAX_TICK:
        return NAN
    return (to_px(book.best_bid_tick, book.tick_size) + to_px(book.best_ask_tick, book.tick_size)) / 2.0


cdef inline LiveOrder* desk_live(const Desk* desk, uint32_t handle) noexcept nogil:
    return <LiveOrder*>pool_get(&desk.orders, handle)


cdef inline bint order_ended(const Order* order) noexcept nogil:
    return (
        order.status == STATUS_FILLED
        or order.status == STATUS_CANCELED
        or order.status == STATUS_EXPIRED
        or order.status == STATUS_REJECTED
    )


cdef inline LiveOrder* desk_order(const Desk* desk, uint16_t strategy, uint64_t order_id) noexcept nogil:
    """A strategy's order, or NULL; one that has just ended is still there during its callbacks."""
    cdef uint32_t handle = idmap_find(&desk.ids, order_id)
    if handle == 0 or desk_live(desk, handle).order.strategy != strategy:
        return NULL
    return desk_live(desk, handle)


cdef inline bint desk_trading(const Desk* desk, uint16_t strategy) noexcept nogil:
    """Whether new orders of a strategy can pass at all."""
    return (
        desk.slots[strategy].state == STRATEGY_RUNNING
        and desk.trading_state == TRADING_ACTIVE
        and desk_strategy_scope(desk, strategy).latch.state != TRADING_HALTED
        and desk.scopes[SCOPE_GLOBAL].latch.state != TRADING_HALTED
    )


cdef int desk_init(
    Desk* desk, uint16_t n_instruments, uint32_t max_orders, uint32_t outbox_size
) noexcept nogil
cdef void desk_free(Desk* desk) noexcept nogil
cdef bint desk_emit(
    Desk* desk, uint8_t kind, uint16_t strategy, const Order* order, uint8_t prev_status, const Fill* fill,
    bint reserved
) noexcept nogil

# The new order's id, or 0: it was denied, and an order update says why.
cdef uint64_t desk_submit(
    Desk* desk, uint16_t strategy, uint16_t instrument, int side, int64_t price_tick, int64_t qty,
    int order_type, int time_in_force, uint64_t client_order_id
) noexcept nogil
# OK, ERR_ORDER_NOT_FOUND, ERR_REQUEST_IN_PROCESS, ERR_INVALID_REQUEST, or ERR_DENIED (an update says why).
cdef int desk_modify(
    Desk* desk, uint16_t strategy, uint64_t order_id, int64_t price_tick, int64_t qty
) noexcept nogil
cdef int desk_cancel(Desk* desk, uint16_t strategy, uint64_t order_id, uint8_t reason) noexcept nogil
# The number of orders that are or will be cancelled; those with a request in flight follow its answer.
cdef uint32_t desk_cancel_all(Desk* desk, uint16_t strategy, uint16_t instrument, uint8_t reason) noexcept nogil
# Sends an order that flattens a cell, past all checks. OK, or ERR_EMPTY without a market to close on.
cdef int desk_close(Desk* desk, uint16_t strategy, uint16_t instrument) noexcept nogil
cdef void desk_set_timer(Desk* desk, uint16_t strategy, int64_t interval, int64_t first) noexcept nogil
cdef void desk_find_next_timer(Desk* desk) noexcept nogil
cdef void desk_deny(Desk* desk, Order* order, uint8_t prev_status, uint8_t reason) noexcept nogil
# The same, with the limit and the value that passed it.
cdef void desk_refuse(Desk* desk, Order* order, uint8_t prev_status, const Denial* why) noexcept nogil
# Cancels an order now, or as soon as its request in flight is answered.
cdef void desk_want_cancel(Desk* desk, LiveOrder* live, uint8_t reason) noexcept nogil
# After the callbacks: desk_retire(desk, effect).
cdef int desk_report(Desk* desk, const Order* report, ReportEffect* effect) noexcept nogil
cdef void desk_retire(Desk* desk, const ReportEffect* effect) noexcept nogil
