"""What Python strategies trade through: a context, one a strategy."""

from libc.stdint cimport int64_t, uint16_t

from engine.strategy.desk cimport Desk
from engine.strategy.script cimport Script


cdef class Context:
    cdef Desk* desk
    cdef object owner
    cdef list logs
    cdef Script script
    cdef dict index                  # symbol to instrument
    cdef dict views                  # instrument to BookView
    cdef uint16_t slot
    cdef uint16_t first              # instrument of the first symbol
    cdef readonly str name
    cdef readonly tuple symbols

    cdef int _instrument(self, object symbol) except -1
    cdef int _check(self, object side, int order_type, int time_in_force) except? -2
    cdef int64_t _lots(self, uint16_t instrument, double qty) except -1
    cdef object _submit(self, uint16_t i, int side, int64_t tick, int64_t lots, int order_type, int time_in_force)
    cdef int64_t _tick(self, uint16_t instrument, double px) except? -1


cdef Context make_context(
    object owner, Desk* desk, uint16_t slot, str name, tuple symbols, list instruments, list logs, list views,
    Script script
)
