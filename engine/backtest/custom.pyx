"""Calling models that somebody else wrote, and looking at what they return; see the header of custom.pxd."""

from libc.math cimport isfinite, isnan
from libc.stdint cimport int64_t

from engine.backtest.order cimport SimOrder
from engine.core.codes cimport ERR_MODEL, OK

# As hbt's limit: leaves room for a latency to be added to any time.
cdef int64_t MAX_LATENCY = <int64_t>1 << 60


cdef void _fault(ModelFault* fault, int call, double value) noexcept nogil:
    # A model that raised has said so already.
    if fault.code == OK:
        fault.code = ERR_MODEL
        fault.call = call
        fault.value = value


cdef int64_t custom_entry(const CustomLatency* model, int64_t now, const SimOrder* order) noexcept nogil:
    cdef int64_t latency
    if model.fault.code != OK:
        return 0
    latency = model.entry(model.state, now, order)
    if not -MAX_LATENCY <= latency <= MAX_LATENCY:
        _fault(model.fault, CALL_ENTRY, <double>latency)
        return 0
    return latency


cdef int64_t custom_response(const CustomLatency* model, int64_t now, const SimOrder* order) noexcept nogil:
    cdef int64_t latency
    if model.fault.code != OK:
        return 0
    latency = model.response(model.state, now, order)
    if not 0 <= latency <= MAX_LATENCY:
        _fault(model.fault, CALL_RESPONSE, <double>latency)
        return 0
    return latency


cdef inline void _placed(const CustomQueue* model, SimOrder* order, int call) noexcept nogil:
    """An infinite queue never moves; what is no number would never be noticed."""
    if isnan(order.queue_ahead):
        _fault(model.fault, call, order.queue_ahead)
    elif isnan(order.queue_traded):
        _fault(model.fault, call, order.queue_traded)


cdef void custom_rest(const CustomQueue* model, SimOrder* order, double level_qty) noexcept nogil:
    if model.fault.code == OK:
        model.rest(model.state, order, level_qty)
        _placed(model, order, CALL_REST)


cdef void custom_trade(const CustomQueue* model, SimOrder* order, double qty) noexcept nogil:
    if model.fault.code == OK:
        model.trade(model.state, order, qty)
        _placed(model, order, CALL_TRADE)


cdef void custom_depth(const CustomQueue* model, SimOrder* order, double prev_qty, double new_qty) noexcept nogil:
    if model.fault.code == OK:
        model.depth(model.state, order, prev_qty, new_qty)
        _placed(model, order, CALL_DEPTH)


cdef double custom_filled(const CustomQueue* model, SimOrder* order) noexcept nogil:
    cdef double qty
    if model.fault.code != OK:
        return 0.0
    qty = model.filled(model.state, order)
    if not isfinite(qty):
        _fault(model.fault, CALL_FILLED, qty)
        return 0.0
    _placed(model, order, CALL_FILLED)
    return qty if model.fault.code == OK else 0.0


cdef double custom_fee(const CustomFee* model, const SimOrder* order, double value) noexcept nogil:
    cdef double fee
    if model.fault.code != OK:
        return 0.0
    fee = model.fee(model.state, order, value)
    if not isfinite(fee):
        _fault(model.fault, CALL_FEE, fee)
        return 0.0
    return fee
