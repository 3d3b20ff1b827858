"""A matcher's state as one number or as bytes, and whether it is sound. All look at everything: for tests and snapshots."""

from libc.stdint cimport uint64_t

from engine.core.image cimport Image
from engine.matching.book cimport Matcher


# The canonical hash of docs/matching.md.
cdef uint64_t matcher_hash(Matcher* matcher) noexcept nogil
# OK or ERR_INVARIANT. A debug build asks after each command.
cdef int matcher_check(Matcher* matcher) noexcept nogil
# Moves everything between two commands, out or in.
cdef void matcher_image(Matcher* matcher, Image* image) noexcept nogil
