"""Strategies whose handlers Numba compiled: one kind of native strategy, and the C functions they trade with.

A handler is a C function of a frame, which holds all that it can reach. Costs: a callback is the virtual
call of any native strategy and one call through a pointer; most reads of a book or an order are loads that
Numba inlines by the offsets of `layout()`, requests are one C call on top of the desk's costs. No callback
takes the GIL unless the handler raises or logs.
"""

from libc.stdint cimport int64_t, uint16_t, uint64_t

from engine.strategy.desk cimport Desk
from engine.strategy.native cimport NativeStrategy


# The places of a strategy's handlers; the order is that of HANDLERS in jit_core.pyx.
cdef enum HandlerPlace:
    ON_START = 0
    ON_BOOK = 1
    ON_TRADE = 2
    ON_ORDER = 3
    ON_FILL = 4
    ON_TIMER = 5
    ON_PARAMS = 6
    ON_STOP = 7
    ON_SIGNAL = 8
    N_HANDLERS = 9

cdef struct Frame:
    Desk* desk
    char* params                 # the record of parameters
    char* state                  # the record of the strategy's own values
    uint16_t* instruments        # those it named, in its order
    int64_t n_instruments
    int64_t slot
    uint64_t seed
    int64_t place                # number of the place that is being run, of those of the code
    void* strategy               # the JitStrategy, borrowed

# A walk over live orders: those that were there when it began, oldest first in each instrument.
cdef struct Walk:
    int64_t place                # in the frame's instruments; the next one to walk
    int64_t end
    uint64_t before              # order ids below it were there
    uint64_t handle              # of the next order; 0 when the instrument has no more

# What a Signal of views.pyx is to handlers.
cdef struct JitSignal:
    void* name                   # its str, borrowed
    int64_t instrument           # negative where it is about all
    int64_t ts
    double value

ctypedef void (*Handler)(Frame* frame, const void* first, const void* second) noexcept nogil


cdef class JitStrategy(NativeStrategy):
    cdef Frame frame
    cdef Handler handlers[N_HANDLERS]
    cdef object params_record        # arrays of one record, which the frame points into
    cdef object state_record
    cdef object code                 # keeps the compiled functions alive

    cdef void call(self, int place, const void* first, const void* second) noexcept nogil
