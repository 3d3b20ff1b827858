"""The compiled side of Python's matching engine: users work on the `matcher` inside."""

from libc.stdint cimport uint64_t

from engine.matching.book cimport Matcher
from engine.matching.records cimport MatchEvent


# Events that nobody has taken yet.
cdef struct EventLog:
    MatchEvent* events
    uint64_t n
    uint64_t capacity
    uint64_t lost                # for want of memory


cdef class MatchingEngine:
    cdef Matcher matcher
    cdef EventLog log
    cdef readonly object settings
    cdef object _one(self, dict fields)
