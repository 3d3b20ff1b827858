"""The compiled side of Python's matching engine: users work on the `matcher` inside."""

from libc.stdint cimport uint32_t, uint64_t

from engine.matching.book cimport Matcher
from engine.matching.records cimport MatchEvent


# Events that nobody has taken yet.
cdef struct EventLog:
    MatchEvent* events
    uint64_t n
    uint64_t capacity
    uint64_t lost                # for want of memory


# The sink: keeps events for Python to take. It may allocate, a matcher never does. `context` is an EventLog.
cdef void log_keep(void* context, const MatchEvent* events, uint32_t n) noexcept nogil
# What is kept, as an array of event_dtype; CapacityError if some were lost for want of memory.
cdef object log_take(EventLog* log)


cdef class MatchingEngine:
    cdef Matcher matcher
    cdef EventLog log
    cdef readonly object settings
    cdef object _one(self, dict fields)
