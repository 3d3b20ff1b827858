"""How long requests and answers travel. A call costs one branch on the model's kind.

Interpolated latencies follow two places in the recorded rows, one by request times and one by venue times,
that only move forward, as hftbacktest's do: a call costs the rows passed since the last one.
"""

from libc.stdint cimport int64_t

from engine.backtest.custom cimport CustomLatency, custom_entry, custom_response
from engine.backtest.order cimport SimOrder
from engine.core.image cimport Image
from engine.core.types cimport STATUS_CANCELED, STATUS_REPLACED


cdef enum LatencyKind:
    LATENCY_CONSTANT = 0
    LATENCY_INTERPOLATED = 1
    LATENCY_CUSTOM = 2


# hftbacktest's order latency data: an order's times, recorded. exch_ts 0 says that it was refused.
cdef struct LatencyRow:
    int64_t req_ts
    int64_t exch_ts
    int64_t resp_ts
    int64_t _padding


cdef struct LatencyModel:
    int kind
    int64_t entry_ns             # of a new order
    int64_t modify_ns
    int64_t cancel_ns
    int64_t response_ns
    const LatencyRow* rows       # borrowed; at least one when interpolated
    int64_t n_rows
    int64_t entry_at
    int64_t response_at
    CustomLatency custom         # when it is the kind


# Moves where a model is in its rows, out or in; ERR_NO_IMAGE of the user's own.
cdef void latency_image(LatencyModel* model, Image* image) noexcept nogil

cdef int64_t interpolated_entry(LatencyModel* model, int64_t now) noexcept nogil
cdef int64_t interpolated_response(LatencyModel* model, int64_t now) noexcept nogil


cdef inline int64_t latency_entry(LatencyModel* model, int64_t now, const SimOrder* order) noexcept nogil:
    """From sending to the venue; a negative one is a refusal that takes that long to come back."""
    if model.kind != LATENCY_CONSTANT:
        if model.kind == LATENCY_CUSTOM:
            return custom_entry(&model.custom, now, order)
        return interpolated_entry(model, now)
    if order.req == STATUS_CANCELED:
        return model.cancel_ns
    if order.req == STATUS_REPLACED:
        return model.modify_ns
    return model.entry_ns


cdef inline int64_t latency_response(LatencyModel* model, int64_t now, const SimOrder* order) noexcept nogil:
    """From the venue to us."""
    if model.kind != LATENCY_CONSTANT:
        if model.kind == LATENCY_CUSTOM:
            return custom_response(&model.custom, now, order)
        return interpolated_response(model, now)
    return model.response_ns


cdef LatencyModel latency_constant(int64_t entry, int64_t modify, int64_t cancel, int64_t response) noexcept nogil


# A model with what it points to.
cdef class Latencies:
    cdef LatencyModel model
    cdef object rows
    cdef readonly int64_t round_trip     # the longest there is, from a request to its answer
