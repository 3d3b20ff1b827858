"""Calling models in Python, Cython and Numba; see the header of seat.pxd."""

from cpython.exc cimport PyErr_Occurred
from cpython.number cimport PyIndex_Check, PyNumber_Index
from libc.stdint cimport INT64_MAX, INT64_MIN, int64_t, uintptr_t
from libc.string cimport memset

from engine.backtest.custom cimport (
    CALL_DEPTH,
    CALL_ENTRY,
    CALL_FEE,
    CALL_FILLED,
    CALL_RESPONSE,
    CALL_REST,
    CALL_TRADE,
    CustomFee,
    CustomLatency,
    CustomQueue,
    DepthCall,
    FeeCall,
    FilledCall,
    LatencyCall,
    QueueCall,
)
from engine.backtest.fees cimport FEE_CUSTOM
from engine.backtest.latency cimport LATENCY_CUSTOM
from engine.backtest.models.native cimport (
    NativeFeeModel,
    NativeLatencyModel,
    NativeModel,
    NativeQueueModel,
)
from engine.backtest.order cimport SimOrder
from engine.backtest.order_view cimport ModelOrder, model_order
from engine.backtest.queue cimport QUEUE_CUSTOM
from engine.core.codes cimport ERR_MODEL, OK

import numpy as np

from engine.backtest.models.base import FeeModel, LatencyModel, QueueModel
from engine.core.errors import ConfigError, ModelError
from engine.strategy.loader import create, find

cdef extern from *:
    """
    /* Says that the exception which is set already goes on. */
    static int seat_pending(void) { return -1; }
    """
    int seat_pending() except -1


CALLS = ("entry", "response", "rest", "trade", "depth", "filled", "fee")
"""The methods of models by their places in the venue's."""

BASES = {
    "latency_model": (LatencyModel, NativeLatencyModel),
    "queue_model": (QueueModel, NativeQueueModel),
    "fee_model": (FeeModel, NativeFeeModel),
}
"""What a model has to be, by the key that names it."""


cdef object _order_dtype():
    cdef SimOrder* order = NULL
    fields = {
        "qty": ("f8", <size_t>&order.qty),
        "leaves_qty": ("f8", <size_t>&order.leaves_qty),
        "exec_qty": ("f8", <size_t>&order.exec_qty),
        "exec_price_tick": ("i8", <size_t>&order.exec_price_tick),
        "price_tick": ("i8", <size_t>&order.price_tick),
        "tick_size": ("f8", <size_t>&order.tick_size),
        "exch_timestamp": ("i8", <size_t>&order.exch_ts),
        "local_timestamp": ("i8", <size_t>&order.local_ts),
        "order_id": ("u8", <size_t>&order.order_id),
        "queue_ahead": ("f8", <size_t>&order.queue_ahead),
        "queue_traded": ("f8", <size_t>&order.queue_traded),
        "maker": ("?", <size_t>&order.is_maker),
        "order_type": ("u1", <size_t>&order.order_type),
        "req": ("u1", <size_t>&order.req),
        "status": ("u1", <size_t>&order.status),
        "side": ("i1", <size_t>&order.side),
        "time_in_force": ("u1", <size_t>&order.time_in_force),
    }
    kinds, places = zip(*fields.values())
    layout = {"names": list(fields), "formats": kinds, "offsets": places, "itemsize": sizeof(SimOrder)}
    return np.dtype(layout)


order_dtype = _order_dtype()
"""An order as compiled methods see it: the venue's record."""

cdef dict _IMPOSSIBLE = {
    CALL_ENTRY: "returned {:.0f} ns, which is more than 2**60",
    CALL_RESPONSE: "returned {:.0f} ns: an answer takes from 0 to 2**60 ns",
    CALL_REST: "left {} as the place in the queue",
    CALL_TRADE: "left {} as the place in the queue",
    CALL_DEPTH: "left {} as the place in the queue",
    CALL_FILLED: "returned {}, which is no quantity",
    CALL_FEE: "returned {}, which is no fee",
}


# --- in Python: with the GIL ---------------------------------------------------------------------------

cdef int64_t _whole(Seat seat, int call, object value) except? -1:
    """A latency as it was returned; what does not fit is out of range in any case."""
    if not PyIndex_Check(value):
        seat.wrong(call, value, "a latency is a whole number of nanoseconds")
        return 0
    value = PyNumber_Index(value)
    if not INT64_MIN < value < INT64_MAX:
        return INT64_MAX if value > 0 else INT64_MIN
    return value


cdef int64_t _python_latency(SeatState* state, int call, int64_t now, const SimOrder* order) noexcept with gil:
    cdef Seat seat = <Seat>state.seat
    try:
        if call == CALL_ENTRY:
            return _whole(seat, call, seat.model.entry(now, model_order(order)))
        return _whole(seat, call, seat.model.response(now, model_order(order)))
    except BaseException as error:
        seat.fail(call, error)
        return 0


cdef int64_t _python_entry(void* state, int64_t now, const SimOrder* order) noexcept nogil:
    return _python_latency(<SeatState*>state, CALL_ENTRY, now, order)


cdef int64_t _python_response(void* state, int64_t now, const SimOrder* order) noexcept nogil:
    return _python_latency(<SeatState*>state, CALL_RESPONSE, now, order)


cdef double _python_queue(SeatState* state, int call, SimOrder* order, double first, double second) noexcept with gil:
    cdef Seat seat = <Seat>state.seat
    cdef ModelOrder view = model_order(order)
    cdef double filled = 0.0
    try:
        if call == CALL_DEPTH:
            seat.model.depth(view, first, second)
        elif call == CALL_TRADE:
            seat.model.trade(view, first)
        elif call == CALL_FILLED:
            filled = _number(seat, call, seat.model.filled(view))
        else:
            seat.model.rest(view, first)
    except BaseException as error:
        seat.fail(call, error)
    order.queue_ahead = view.record.queue_ahead
    order.queue_traded = view.record.queue_traded
    return filled


cdef double _number(Seat seat, int call, object value) except? -1:
    try:
        return value
    except TypeError:
        seat.wrong(call, value, "it has to be a number")
        return 0.0


cdef void _python_rest(void* state, SimOrder* order, double qty) noexcept nogil:
    _python_queue(<SeatState*>state, CALL_REST, order, qty, 0.0)


cdef void _python_trade(void* state, SimOrder* order, double qty) noexcept nogil:
    _python_queue(<SeatState*>state, CALL_TRADE, order, qty, 0.0)


cdef void _python_depth(void* state, SimOrder* order, double prev_qty, double new_qty) noexcept nogil:
    _python_queue(<SeatState*>state, CALL_DEPTH, order, prev_qty, new_qty)


cdef double _python_filled(void* state, SimOrder* order) noexcept nogil:
    return _python_queue(<SeatState*>state, CALL_FILLED, order, 0.0, 0.0)


cdef double _python_fee(void* state, const SimOrder* order, double value) noexcept with gil:
    cdef Seat seat = <Seat>(<SeatState*>state).seat
    try:
        return _number(seat, CALL_FEE, seat.model.fee(model_order(order), value))
    except BaseException as error:
        seat.fail(CALL_FEE, error)
        return 0.0


# --- in Cython: an exception is looked for only where the result says that there may be one ---------------
# The methods say by -1 that they may have raised. Called through a pointer that does not know it, they leave the
# exception set, and it is taken from there.

cdef void _take_pending(SeatState* state, int call) noexcept with gil:
    if PyErr_Occurred() == NULL:
        return
    try:
        seat_pending()
    except BaseException as error:
        (<Seat>state.seat).fail(call, error)


cdef int64_t _raw_entry(void* model, int64_t now, const SimOrder* order) except? -1 nogil:
    return (<NativeLatencyModel>model).entry(now, order)


cdef int64_t _raw_response(void* model, int64_t now, const SimOrder* order) except? -1 nogil:
    return (<NativeLatencyModel>model).response(now, order)


cdef double _raw_filled(void* model, SimOrder* order) except? -1 nogil:
    return (<NativeQueueModel>model).filled(order)


cdef double _raw_fee(void* model, const SimOrder* order, double value) except? -1 nogil:
    return (<NativeFeeModel>model).fee(order, value)


ctypedef int (*RawQueueCall)(void* model, SimOrder* order, double first, double second) noexcept nogil


cdef int _raw_rest(void* model, SimOrder* order, double qty, double none) except -1 nogil:
    return (<NativeQueueModel>model).rest(order, qty)


cdef int _raw_trade(void* model, SimOrder* order, double qty, double none) except -1 nogil:
    return (<NativeQueueModel>model).trade(order, qty)


cdef int _raw_depth(void* model, SimOrder* order, double prev_qty, double new_qty) except -1 nogil:
    return (<NativeQueueModel>model).depth(order, prev_qty, new_qty)


cdef int64_t _native_entry(void* state, int64_t now, const SimOrder* order) noexcept nogil:
    cdef int64_t latency = (<LatencyCall>_raw_entry)((<SeatState*>state).model, now, order)
    if latency == -1:
        _take_pending(<SeatState*>state, CALL_ENTRY)
    return latency


cdef int64_t _native_response(void* state, int64_t now, const SimOrder* order) noexcept nogil:
    cdef int64_t latency = (<LatencyCall>_raw_response)((<SeatState*>state).model, now, order)
    if latency == -1:
        _take_pending(<SeatState*>state, CALL_RESPONSE)
    return latency


cdef void _native_rest(void* state, SimOrder* order, double qty) noexcept nogil:
    if (<RawQueueCall>_raw_rest)((<SeatState*>state).model, order, qty, 0.0) == -1:
        _take_pending(<SeatState*>state, CALL_REST)


cdef void _native_trade(void* state, SimOrder* order, double qty) noexcept nogil:
    if (<RawQueueCall>_raw_trade)((<SeatState*>state).model, order, qty, 0.0) == -1:
        _take_pending(<SeatState*>state, CALL_TRADE)


cdef void _native_depth(void* state, SimOrder* order, double prev_qty, double new_qty) noexcept nogil:
    if (<RawQueueCall>_raw_depth)((<SeatState*>state).model, order, prev_qty, new_qty) == -1:
        _take_pending(<SeatState*>state, CALL_DEPTH)


cdef double _native_filled(void* state, SimOrder* order) noexcept nogil:
    cdef double qty = (<FilledCall>_raw_filled)((<SeatState*>state).model, order)
    if qty == -1.0:
        _take_pending(<SeatState*>state, CALL_FILLED)
    return qty


cdef double _native_fee(void* state, const SimOrder* order, double value) noexcept nogil:
    cdef double fee = (<FeeCall>_raw_fee)((<SeatState*>state).model, order, value)
    if fee == -1.0:
        _take_pending(<SeatState*>state, CALL_FEE)
    return fee


# --- compiled by Numba ---------------------------------------------------------------------------------

cdef void compiled_raised(void* record, int64_t call) noexcept:
    """A compiled method raised, and its exception is set; called with the GIL."""
    _take_pending(<SeatState*>(<void**>record)[0], <int>call)


def raised_address() -> int:
    """Where compiled methods find what they call when they raise."""
    return <size_t><void*>compiled_raised


# --- seats -----------------------------------------------------------------------------------------------

cdef class Seat:
    cdef fail(self, int call, object error):
        """Keeps what a model raised."""
        if self.venue.fault.code != OK:
            return
        self.venue.fault.code = ERR_MODEL
        # The command line tells by it whose exception this is; and compiled code has no traceback.
        compiled = "" if self.code is None else ", compiled"
        error.add_note(f"raised by {type(self.model).__name__}.{CALLS[call]}{compiled}")
        self.venue.error = error

    cdef wrong(self, int call, object value, str wanted):
        """Keeps that a model returned what is not even a number."""
        name = f"{type(self.model).__name__}.{CALLS[call]}"
        self.fail(call, ModelError(f"{self.venue.where}: {name} returned {value!r}: {wanted}"))


cdef Seat _make(CustomModels venue, object asset, str role):
    """The seat of an asset's model of a role; None for a built-in one."""
    cdef Seat seat
    named = getattr(asset, role)
    if isinstance(named, str) and ":" not in named:
        return None
    where = f"{venue.where}: {role}"
    bases = BASES[role]
    try:
        cls = find(named, bases, role.replace("_", " ")) if isinstance(named, str) else named
        model = create(cls, getattr(asset, role.replace("_model", "_params")))
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error
    if not isinstance(model, bases):
        raise ConfigError(f"{where}: {cls!r} makes no {bases[0].__name__} and no {bases[1].__name__}")
    seat = Seat.__new__(Seat)
    seat.venue = venue
    seat.model = model
    seat.state.seat = <void*>seat
    seat.state.model = <void*>model
    if isinstance(model, NativeModel):
        (<NativeModel>model).tick_size = asset.tick_size
        (<NativeModel>model).lot_size = asset.lot_size
        (<NativeModel>model).contract_size = asset.contract_size
    else:
        model.tick_size, model.lot_size = asset.tick_size, asset.lot_size
        model.contract_size = asset.contract_size
    model.start()
    if not isinstance(model, NativeModel) and type(model).jit:
        from engine.backtest.models.jit import compile_model

        seat.code = compile_model(model, <size_t>&seat.state)
    return seat


cdef void* _state(Seat seat):
    return &seat.state if seat.code is None else <void*><uintptr_t>seat.code.address


cdef uintptr_t _entry_point(Seat seat, str call) except? 0:
    return seat.code.entries[call].address


cdef CustomLatency _latency(Seat seat, CustomModels venue):
    cdef CustomLatency made
    made.state, made.fault = _state(seat), &venue.fault
    if seat.code is not None:
        made.entry = <LatencyCall>_entry_point(seat, "entry")
        made.response = <LatencyCall>_entry_point(seat, "response")
    elif isinstance(seat.model, NativeModel):
        made.entry, made.response = _native_entry, _native_response
    else:
        made.entry, made.response = _python_entry, _python_response
    return made


cdef CustomQueue _queue(Seat seat, CustomModels venue):
    cdef CustomQueue made
    made.state, made.fault = _state(seat), &venue.fault
    if seat.code is not None:
        made.rest = <QueueCall>_entry_point(seat, "rest")
        made.trade = <QueueCall>_entry_point(seat, "trade")
        made.depth = <DepthCall>_entry_point(seat, "depth")
        made.filled = <FilledCall>_entry_point(seat, "filled")
    elif isinstance(seat.model, NativeModel):
        made.rest, made.trade = _native_rest, _native_trade
        made.depth, made.filled = _native_depth, _native_filled
    else:
        made.rest, made.trade = _python_rest, _python_trade
        made.depth, made.filled = _python_depth, _python_filled
    return made


cdef CustomFee _fee(Seat seat, CustomModels venue):
    cdef CustomFee made
    made.state, made.fault = _state(seat), &venue.fault
    if seat.code is not None:
        made.fee = <FeeCall>_entry_point(seat, "fee")
    elif isinstance(seat.model, NativeModel):
        made.fee = _native_fee
    else:
        made.fee = _python_fee
    return made


cdef class CustomModels:
    def __cinit__(self):
        memset(&self.fault, 0, sizeof(self.fault))

    cdef seat(self, object asset, ExchangeModels* models):
        self.seats = [_make(self, asset, role) for role in BASES]
        latency, queue, fee = self.seats
        if latency is not None:
            models.latency.kind = LATENCY_CUSTOM
            models.latency.custom = _latency(latency, self)
        if queue is not None:
            models.queue.kind = QUEUE_CUSTOM
            models.queue.custom = _queue(queue, self)
        if fee is not None:
            models.fees.kind = FEE_CUSTOM
            models.fees.custom = _fee(fee, self)
        if any(seat is not None for seat in self.seats):
            models.model_fault = &self.fault

    def check(self) -> None:
        """Raises what a model raised, or what it returned that cannot be.

        Raises:
            ModelError: What was returned is no latency, place, quantity or fee; or all this was said before.
        """
        if self.fault.code == OK:
            return
        if self.told:
            raise ModelError(f"{self.where}: a model has failed") from self.error
        self.told = True
        if self.error is None:
            self.error = ModelError(self._impossible())
        raise self.error

    def _impossible(self) -> str:
        cdef int call = self.fault.call
        cdef Seat seat = self.seats[0 if call <= CALL_RESPONSE else 1 if call <= CALL_FILLED else 2]
        name = f"{type(seat.model).__name__}.{CALLS[call]}"
        return f"{self.where}: {name} {_IMPOSSIBLE[call].format(self.fault.value)}"


cdef CustomModels seat_models(object asset, str where, ExchangeModels* models):
    cdef CustomModels venue = CustomModels.__new__(CustomModels)
    venue.where = where
    venue.seat(asset, models)
    return venue
