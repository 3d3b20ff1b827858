"""The warden: the kill switch and the latches of a desk, limits while it runs, and the answers to commands.

All of it is cold and holds the GIL; what orders are checked against are the C structs of engine/risk, which
this fills in. A latch that was set by name keeps its text here and finds its strategy again when that
comes back, in whatever slot.
"""

from libc.stdint cimport uint16_t

from engine.strategy.roster cimport Roster


cdef class Warden(Roster):
    cdef object _answer(self, bint success, str message, int slot)
    cdef object place_of(self, size_t scope)
    cdef object message_of(self, uint16_t slot)
    cdef uint16_t strategy_at(self, size_t scope)
    cdef int unlatch(self, size_t scope, int cause) except -1
