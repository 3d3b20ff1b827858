"""Strategies whose handlers Numba compiled; jit.py makes their classes, jit_types.py what handlers see."""

from cpython.ref cimport PyObject
from libc.math cimport fabs, isfinite, round as c_round
from libc.stdint cimport INT64_MIN, int64_t, uint8_t, uint16_t, uint32_t, uint64_t, uintptr_t

from engine.book.l2 cimport L2Book, l2_ask_qty, l2_bid_qty, l2_levels
from engine.core.codes cimport ERR_DENIED, ERR_INVALID_REQUEST, ERR_ORDER_NOT_FOUND
from engine.core.image cimport Image, image_move
from engine.core.ticks cimport to_tick
from engine.core.types cimport *
from engine.risk.position cimport (
    Position,
    position_avg_px,
    position_equity,
    position_qty,
    position_unrealized,
)
from engine.strategy.desk cimport (
    ANY_INSTRUMENT,
    CALL_BOOK,
    CALL_FILL,
    CALL_ORDER,
    CALL_SIGNAL,
    CALL_TIMER,
    CALL_TRADE,
    Cell,
    Desk,
    LiveOrder,
    OUTPUT_LOG,
    book_mid,
    desk_cancel,
    desk_cancel_all,
    desk_cell,
    desk_emit,
    desk_live,
    desk_modify,
    desk_order,
    desk_set_timer,
    desk_submit,
    desk_trading,
)
from engine.strategy.native cimport NativeStrategy
from engine.strategy.roster cimport Roster

from engine.core.errors import ConfigError, StrategyError
from engine.strategy.context import MAX_LOGS

cdef extern from *:
    """
    /* Says that the exception which is set already goes on. */
    static int jit_pending(void) { return -1; }
    """
    int jit_pending() except -1

HANDLERS = (
    "on_start", "on_book", "on_trade", "on_order", "on_fill", "on_timer", "on_params", "on_stop", "on_signal",
)
"""The callbacks that can be compiled, by their places."""

cdef uint8_t[N_HANDLERS] _CALLS
_CALLS[:] = [0, CALL_BOOK, CALL_TRADE, CALL_ORDER, CALL_FILL, CALL_TIMER, 0, 0, CALL_SIGNAL]


cdef class JitStrategy(NativeStrategy):
    """The base of the classes that ``engine.strategy.jit.compiled`` makes; parameters as those of ``Strategy``.

    A strategy's parameters and its own values can be read as attributes, as they are at that moment.

    Args:
        **params: Values that differ from the defaults.

    Raises:
        ConfigError: A name is unknown, or a value has the wrong type or is out of range.
        StrategyError: A handler cannot be compiled; the message names it, and the line.
    """

    program = None

    def __init__(self, **params):
        program = type(self).program
        if program is None:
            raise StrategyError(f"{type(self).__name__} has no handlers: a class gets them from @compiled")
        if "program" not in vars(type(self)):
            raise StrategyError(
                f"{type(self).__name__} cannot extend a compiled class, whose methods are fixed: "
                f"extend {program.name}.plain, and decorate the result"
            )
        self.params_record, self.state_record = program.records()
        self.frame.params = <char*><uintptr_t>self.params_record.ctypes.data
        self.frame.state = <char*><uintptr_t>self.state_record.ctypes.data
        self.frame.strategy = <void*>self
        NativeStrategy.__init__(self, **params)
        self.code = program.code()
        for name, address in self.code.addresses.items():
            place = HANDLERS.index(name)
            self.handlers[<Py_ssize_t>place] = <Handler><uintptr_t>address
            self.calls |= _CALLS[<Py_ssize_t>place]

    @classmethod
    def specs(cls):
        """The declared parameters by name."""
        return {} if cls.program is None else cls.program.specs

    def __getattr__(self, name):
        for record in (self.params_record, self.state_record):
            if record is not None and name in (record.dtype.names or ()):
                value = record[name][0]
                return value.copy() if value.ndim else value.item()
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    cdef int take_params(self, dict values) except -1:
        names = self.params_record.dtype.names or ()
        for name in names:
            if type(values[name]) is int and not -(1 << 63) <= values[name] < 1 << 63:
                raise ConfigError(f"{type(self).__name__}.{name}: {values[name]} does not fit 64 bits")
        for name in names:
            self.params_record[name] = values[name]
        return 0

    cdef void image(self, Image* image) noexcept:
        image_move(image, self.frame.params, self.params_record.nbytes)
        image_move(image, self.frame.state, self.state_record.nbytes)

    cdef int attach(self, object owner, Desk* desk, uint16_t slot, list instruments) except -1:
        NativeStrategy.attach(self, owner, desk, slot, instruments)
        self.frame.desk = desk
        self.frame.slot = slot
        self.frame.instruments = self.instruments
        self.frame.n_instruments = self.n_instruments
        self.frame.seed = (<Roster>owner).seed
        return 0

    cdef void call(self, int place, const void* first, const void* second) noexcept nogil:
        if self.handlers[place] != NULL:
            self.frame.place = -1
            self.handlers[place](&self.frame, first, second)

    cdef void on_start(self) noexcept nogil:
        self.call(ON_START, NULL, NULL)

    cdef void on_book(self, uint16_t instrument) noexcept nogil:
        self.call(ON_BOOK, &instrument, NULL)

    cdef void on_trade(self, uint16_t instrument, const Event* event) noexcept nogil:
        self.call(ON_TRADE, event, &instrument)

    cdef void on_order(self, const Order* order) noexcept nogil:
        self.call(ON_ORDER, order, NULL)

    cdef void on_fill(self, const Order* order, const Fill* fill) noexcept nogil:
        self.call(ON_FILL, fill, NULL)

    cdef void on_timer(self, int64_t now) noexcept nogil:
        self.call(ON_TIMER, NULL, NULL)

    cdef void on_params(self) noexcept nogil:
        self.call(ON_PARAMS, NULL, NULL)

    cdef void on_stop(self) noexcept nogil:
        self.call(ON_STOP, NULL, NULL)

    cdef void on_signal(self, object signal) noexcept:
        cdef JitSignal given
        given.name = <void*>signal.name
        given.instrument = (<Roster>self.owner).symbols.index(signal.symbol) if signal.symbol else -1
        given.ts, given.value = signal.ts, signal.value
        self.call(ON_SIGNAL, &given, NULL)


# --- what handlers call: without the GIL, unless it is said ------------------------------------------


cdef void jit_raised(Frame* frame, int64_t place) noexcept:
    """A handler raised, and its exception is set; called with the GIL."""
    cdef JitStrategy strategy = <JitStrategy>frame.strategy
    callback = HANDLERS[place]
    try:
        jit_pending()
    except BaseException as error:
        (<Roster>strategy.owner).fail(
            strategy.slot, callback, strategy.code.located(error, callback, frame.place)
        )


cdef void jit_log(Frame* frame, PyObject* text) noexcept:
    """Called with the GIL."""
    cdef JitStrategy strategy = <JitStrategy>frame.strategy
    cdef Roster roster = <Roster>strategy.owner
    if desk_emit(frame.desk, OUTPUT_LOG, strategy.slot, NULL, 0, NULL, False) and len(roster.logs) < MAX_LOGS:
        line = (frame.desk.now, frame.desk.step, roster.names[strategy.slot], "info", <str>text)
        roster.logs.append(line)


cdef enum Refusal:
    BAD_SIDE = -1
    BAD_TYPE = -2
    BAD_TIF = -3
    BAD_PX = -4
    BAD_QTY = -5

REFUSALS = {BAD_SIDE: "side", BAD_TYPE: "order_type", BAD_TIF: "time_in_force", BAD_PX: "px", BAD_QTY: "qty"}
"""What is wrong with a request that cannot be an order, by the negative result that says so."""
DENIED = ERR_DENIED


cdef inline int64_t _lots(const Frame* frame, int64_t instrument, double qty) noexcept nogil:
    """As Context takes a quantity; BAD_QTY where it raises."""
    cdef double lots = qty / frame.desk.instruments[instrument].lot_size
    cdef double whole = c_round(lots)
    if not isfinite(qty) or whole < 1.0 or whole > 9e15 or fabs(lots - whole) > 1e-6:
        return BAD_QTY
    return <int64_t>whole


cdef inline int64_t _tick(const Frame* frame, int64_t instrument, double px) noexcept nogil:
    """As Context takes a price; INT64_MIN where it raises."""
    cdef double tick_size = frame.desk.instruments[instrument].tick_size
    if not isfinite(px) or fabs(px / tick_size) > 9e15:
        return INT64_MIN
    return to_tick(px, tick_size)


cdef int64_t jit_submit_ticks(
    Frame* frame, int64_t instrument, int64_t side, int64_t tick, int64_t lots, int64_t order_type, int64_t tif
) noexcept nogil:
    if side != SIDE_BUY and side != SIDE_SELL:
        return BAD_SIDE
    if not ORDER_LIMIT <= order_type <= ORDER_MARKET:
        return BAD_TYPE
    if not TIF_GTC <= tif <= TIF_IOC:
        return BAD_TIF
    return <int64_t>desk_submit(
        frame.desk, <uint16_t>frame.slot, <uint16_t>instrument, <int>side, tick, lots, <int>order_type,
        <int>tif, 0
    )


cdef int64_t jit_submit(
    Frame* frame, int64_t instrument, int64_t side, double px, double qty, int64_t order_type, int64_t tif
) noexcept nogil:
    cdef int64_t lots = _lots(frame, instrument, qty)
    cdef int64_t tick = 0 if order_type == ORDER_MARKET else _tick(frame, instrument, px)
    if lots < 0:
        return lots
    if tick == INT64_MIN:
        return BAD_PX
    return jit_submit_ticks(frame, instrument, side, tick, lots, order_type, tif)


cdef int64_t jit_modify_ticks(Frame* frame, int64_t order_id, int64_t tick, int64_t lots) noexcept nogil:
    return desk_modify(frame.desk, <uint16_t>frame.slot, <uint64_t>order_id, tick, lots)


cdef int64_t jit_modify(Frame* frame, int64_t order_id, double px, double qty) noexcept nogil:
    cdef LiveOrder* live = desk_order(frame.desk, <uint16_t>frame.slot, <uint64_t>order_id)
    cdef int64_t tick, lots
    if live == NULL:
        return ERR_ORDER_NOT_FOUND
    tick = _tick(frame, live.order.instrument, px)
    lots = _lots(frame, live.order.instrument, qty)
    if tick == INT64_MIN:
        return BAD_PX
    return lots if lots < 0 else jit_modify_ticks(frame, order_id, tick, lots)


cdef int64_t jit_cancel(Frame* frame, int64_t order_id) noexcept nogil:
    return desk_cancel(frame.desk, <uint16_t>frame.slot, <uint64_t>order_id, REASON_CANCEL_REQUESTED)


cdef int64_t jit_cancel_all(Frame* frame, int64_t instrument) noexcept nogil:
    """Of one instrument, or of all for a negative one."""
    return desk_cancel_all(
        frame.desk, <uint16_t>frame.slot, <uint16_t>(ANY_INSTRUMENT if instrument < 0 else instrument),
        REASON_CANCEL_REQUESTED,
    )


cdef int64_t jit_set_timer(Frame* frame, int64_t interval, int64_t first) noexcept nogil:
    if not 0 <= interval < <int64_t>1 << 62 or not 0 <= first < <int64_t>1 << 62:
        return ERR_INVALID_REQUEST
    desk_set_timer(frame.desk, <uint16_t>frame.slot, interval, first)
    return 0


cdef int64_t jit_trading(Frame* frame) noexcept nogil:
    return desk_trading(frame.desk, <uint16_t>frame.slot)


cdef const Order* jit_order(Frame* frame, int64_t order_id) noexcept nogil:
    cdef LiveOrder* live = desk_order(frame.desk, <uint16_t>frame.slot, <uint64_t>order_id)
    return NULL if live == NULL else &live.order


cdef int64_t jit_count(Frame* frame, int64_t place, int64_t end) noexcept nogil:
    """The live orders in a range of the strategy's instruments."""
    cdef int64_t i, found = 0
    for i in range(place, end):
        found += desk_cell(frame.desk, <uint16_t>frame.slot, frame.instruments[i]).n_orders
    return found


cdef const Order* jit_walk(Frame* frame, Walk* walk) noexcept nogil:
    """The next order of a walk, or NULL."""
    cdef const Order* order
    while True:
        while walk.handle == 0:
            if walk.place >= walk.end:
                return NULL
            walk.handle = desk_cell(frame.desk, <uint16_t>frame.slot, frame.instruments[walk.place]).head
            walk.place += 1
        order = &desk_live(frame.desk, <uint32_t>walk.handle).order
        # An order sent during the walk is behind all that were there: the instrument has no more.
        walk.handle = order.next_handle if order.order_id < walk.before else 0
        if order.order_id < walk.before:
            return order


cdef double jit_bid_qty(const L2Book* book, int64_t tick) noexcept nogil:
    return l2_bid_qty(book, tick)


cdef double jit_ask_qty(const L2Book* book, int64_t tick) noexcept nogil:
    return l2_ask_qty(book, tick)


cdef int64_t jit_levels(
    const L2Book* book, int64_t side, int64_t n, int64_t* ticks, double* qtys
) noexcept nogil:
    return l2_levels(book, <int>side, <uint32_t>n, ticks, qtys)


cdef void jit_state(Frame* frame, int64_t instrument, double* values) noexcept nogil:
    """The fields of StateValues, in their order."""
    cdef const Position* p = &desk_cell(frame.desk, <uint16_t>frame.slot, <uint16_t>instrument).position
    cdef const Instrument* inst = &frame.desk.instruments[instrument]
    cdef double mid = book_mid(&frame.desk.books[instrument])
    values[0] = position_qty(p, inst)
    values[1] = p.balance
    values[2] = p.fee
    values[3] = <double>p.num_trades
    values[4] = p.trading_volume
    values[5] = p.trading_value
    values[6] = position_avg_px(p, inst)
    values[7] = p.realized_pnl
    values[8] = position_unrealized(p, inst, mid)
    values[9] = position_equity(p, inst, mid)
    values[10] = p.funding


def symbols():
    """The addresses of the functions above, by the names under which compiled handlers find them."""
    return {
        "ringbook_jit_raised": <uintptr_t>&jit_raised,
        "ringbook_jit_log": <uintptr_t>&jit_log,
        "ringbook_jit_submit": <uintptr_t>&jit_submit,
        "ringbook_jit_submit_ticks": <uintptr_t>&jit_submit_ticks,
        "ringbook_jit_modify": <uintptr_t>&jit_modify,
        "ringbook_jit_modify_ticks": <uintptr_t>&jit_modify_ticks,
        "ringbook_jit_cancel": <uintptr_t>&jit_cancel,
        "ringbook_jit_cancel_all": <uintptr_t>&jit_cancel_all,
        "ringbook_jit_set_timer": <uintptr_t>&jit_set_timer,
        "ringbook_jit_trading": <uintptr_t>&jit_trading,
        "ringbook_jit_order": <uintptr_t>&jit_order,
        "ringbook_jit_count": <uintptr_t>&jit_count,
        "ringbook_jit_walk": <uintptr_t>&jit_walk,
        "ringbook_jit_bid_qty": <uintptr_t>&jit_bid_qty,
        "ringbook_jit_ask_qty": <uintptr_t>&jit_ask_qty,
        "ringbook_jit_levels": <uintptr_t>&jit_levels,
        "ringbook_jit_state": <uintptr_t>&jit_state,
    }


def layout():
    """Where handlers find what they read: offsets of fields as ``struct.field``, sizes as ``struct``."""
    cdef Frame frame
    cdef Desk desk
    cdef L2Book book
    cdef Cell cell
    cdef Instrument instrument
    cdef JitSignal signal
    return {
        "frame.desk": <char*>&frame.desk - <char*>&frame,
        "frame.params": <char*>&frame.params - <char*>&frame,
        "frame.state": <char*>&frame.state - <char*>&frame,
        "frame.instruments": <char*>&frame.instruments - <char*>&frame,
        "frame.n_instruments": <char*>&frame.n_instruments - <char*>&frame,
        "frame.slot": <char*>&frame.slot - <char*>&frame,
        "frame.place": <char*>&frame.place - <char*>&frame,
        "frame.seed": <char*>&frame.seed - <char*>&frame,
        "desk.now": <char*>&desk.now - <char*>&desk,
        "desk.next_order_id": <char*>&desk.next_order_id - <char*>&desk,
        "desk.orders.records": <char*>&desk.orders.records - <char*>&desk,
        "desk.books": <char*>&desk.books - <char*>&desk,
        "desk.instruments": <char*>&desk.instruments - <char*>&desk,
        "desk.cells": <char*>&desk.cells - <char*>&desk,
        "desk.n_instruments": <char*>&desk.n_instruments - <char*>&desk,
        "book.best_bid_tick": <char*>&book.best_bid_tick - <char*>&book,
        "book.best_ask_tick": <char*>&book.best_ask_tick - <char*>&book,
        "cell.lots": <char*>&cell.position.lots - <char*>&cell,
        "book": sizeof(L2Book),
        "cell": sizeof(Cell),
        "instrument": sizeof(Instrument),
        "live_order": sizeof(LiveOrder),
        "instrument.tick_size": <char*>&instrument.tick_size - <char*>&instrument,
        "instrument.lot_size": <char*>&instrument.lot_size - <char*>&instrument,
        "instrument.contract_size": <char*>&instrument.contract_size - <char*>&instrument,
        "signal.name": <char*>&signal.name - <char*>&signal,
        "signal.instrument": <char*>&signal.instrument - <char*>&signal,
        "signal.ts": <char*>&signal.ts - <char*>&signal,
        "signal.value": <char*>&signal.value - <char*>&signal,
    }
