"""Phases and what they do: the uncross of an auction, and ending many orders at once.

Cost: an uncross looks at the crossed levels once to find its price, then trades; ending many orders looks at each
order of the sides concerned, until none of the owner's is left.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t

from engine.matching.book cimport Matcher
from engine.matching.records cimport MatchResult


# Changes the phase; ERR_INVALID_REQUEST or ERR_PHASE without a change.
cdef int auction_phase(Matcher* m, int64_t phase, MatchResult* result) noexcept nogil
# Ends the orders of an owner (0: all) and a side (0: both) whose bits under `mask` are `value`, waiting stops too.
cdef void auction_end_many(
    Matcher* m, uint32_t owner, int side, uint32_t mask, uint32_t value, uint8_t reason
) noexcept nogil
