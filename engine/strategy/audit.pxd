"""The desk's state as one number, and the proof that it is consistent."""

from libc.stdint cimport uint64_t

from engine.strategy.desk cimport Desk


cdef uint64_t desk_hash(const Desk* desk) noexcept nogil
cdef int desk_audit(const Desk* desk) except -1

# In a debug build every input is followed by an audit; a broken desk ends the process there and then.
cdef extern from *:
    """
    #ifdef RINGBOOK_DEBUG
    #define DESK_AUDITS 1
    #else
    #define DESK_AUDITS 0
    #endif
    """
    const bint DESK_AUDITS

cdef void desk_must_hold(const Desk* desk) noexcept nogil
