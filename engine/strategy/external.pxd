"""Requests of external strategies, by client_order_id; costs are the desk's plus one id-map probe."""

from libc.stdint cimport uint16_t, uint32_t

from engine.core.types cimport Order
from engine.strategy.desk cimport Desk


# OK where the client has its answer in the outbox; ERR_UNKNOWN_STRATEGY, ERR_UNKNOWN_INSTRUMENT or
# ERR_INVALID_REQUEST for what no client can have sent.
cdef int external_request(Desk* desk, const Order* request) noexcept nogil

# Cancels every order of a strategy that could open or enlarge a position; returns how many those are.
cdef uint32_t external_reduce(Desk* desk, uint16_t strategy) noexcept nogil
