"""Many instruments: which matcher a command goes to, and what goes to all of them.

Cost: an index by the command's instrument. `ROUTE_ALL` in its place sends `MASS_CANCEL`, `PHASE`, `BANDS` and `TIME`
to every matcher, by instrument. Bad case: none.
"""

from libc.stdint cimport uint32_t

from engine.matching.book cimport Matcher
from engine.matching.engine cimport EventLog
from engine.matching.records cimport MatchCommand, MatchResult


cdef enum:
    ROUTE_ALL = 0xffff


cdef struct MatchRouter:
    Matcher** matchers           # by instrument
    uint32_t n


# The code is the matcher's, ERR_UNKNOWN_INSTRUMENT, or ERR_INVALID_REQUEST for an order sent to all. What goes to all
# has the first code that is not OK, and sums of what was executed and of the events.
cdef int router_apply(MatchRouter* router, const MatchCommand* command, MatchResult* result) noexcept nogil


cdef class MatchingRouter:
    cdef MatchRouter router
    cdef EventLog log
    cdef readonly tuple engines
    cdef void _gather(self, list engines)
