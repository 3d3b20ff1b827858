"""A matcher's state as one number, and whether it is sound. Both look at everything: for tests and snapshots."""

from libc.stdint cimport uint64_t

from engine.matching.book cimport Matcher


# The canonical hash of docs/matching.md.
cdef uint64_t matcher_hash(Matcher* matcher) noexcept nogil
# OK or ERR_INVARIANT. A debug build asks after each command.
cdef int matcher_check(Matcher* matcher) noexcept nogil
