"""The desk's state as one number, and the proof that it is consistent."""

from libc.stdint cimport uint64_t

from engine.strategy.desk cimport Desk


cdef uint64_t desk_hash(const Desk* desk) noexcept nogil
cdef int desk_audit(const Desk* desk) except -1
