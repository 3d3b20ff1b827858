"""How long requests and answers travel. A call costs one branch on the model's kind."""

from libc.stdint cimport int64_t

from engine.core.types cimport Order


cdef enum LatencyKind:
    LATENCY_CONSTANT = 0


cdef struct LatencyModel:
    int kind
    int64_t entry_ns
    int64_t response_ns


cdef inline int64_t latency_entry(const LatencyModel* model, int64_t now, const Order* order) noexcept nogil:
    """From sending to the venue; a negative one is a refusal that takes that long to come back."""
    return model.entry_ns


cdef inline int64_t latency_response(const LatencyModel* model, int64_t now, const Order* order) noexcept nogil:
    """From the venue to us."""
    return model.response_ns


cdef LatencyModel latency_from_config(object asset)
