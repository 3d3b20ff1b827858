"""How a process waits for rings and descriptors at once: looks for a while where that pays, then sleeps.

Cost of a sleep: one fence, one system call, and another to empty the bell if it has rung. Bad case: looking in
vain, which takes a core for as long as it lasts; :class:`Lookout` leaves it out more and more then.
"""

from libc.stdint cimport int64_t, uint32_t

from engine.core.ring cimport Bell, SpscRing


cdef class Lookout:
    cdef readonly uint32_t looked     # times that it has really looked
    cdef int64_t spin_ns
    cdef uint32_t left_out, leave_out, in_vain

    cdef bint pays(self, SpscRing** rings, uint32_t n) noexcept nogil


cdef class Sleeper:
    cdef readonly uint32_t filled     # bits of the first rings that held something after the last sleep
    cdef readonly bint more_filled    # whether one of the others did
    cdef readonly bint rung           # whether the bell of the first rings was readable
    cdef int epoll
    cdef Bell bell
    cdef Lookout lookout
