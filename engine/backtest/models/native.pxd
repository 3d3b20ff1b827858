"""The bases of latency, queue and fee models in Cython: ``cdef`` methods, called without the GIL.

A subclass overrides them and takes parameters in its ``__init__``. One that raises (``with gil: raise ...``) ends
the run with that exception. A call costs two calls through pointers.
"""

from libc.stdint cimport int64_t

from engine.backtest.order cimport SimOrder


# What every model knows of its asset once `start` is called.
cdef class NativeModel:
    cdef readonly double tick_size
    cdef readonly double lot_size
    cdef readonly double contract_size


cdef class NativeLatencyModel(NativeModel):
    # Nanoseconds from sending a request at `now` to the venue; negative refuses it, after that long.
    cdef int64_t entry(self, int64_t now, const SimOrder* order) except? -1 nogil
    # Nanoseconds from the venue's answer at `now` to us.
    cdef int64_t response(self, int64_t now, const SimOrder* order) except? -1 nogil


# All but `depth` are those of the built-in models, unless they are overridden. They return 0.
cdef class NativeQueueModel(NativeModel):
    # The order comes to rest at a level of `level_qty`.
    cdef int rest(self, SimOrder* order, double level_qty) except -1 nogil
    # `qty` traded at its price.
    cdef int trade(self, SimOrder* order, double qty) except -1 nogil
    # Its level changed.
    cdef int depth(self, SimOrder* order, double prev_qty, double new_qty) except -1 nogil
    # What trades have eaten beyond everything in front, which is then taken; 0 for nothing.
    cdef double filled(self, SimOrder* order) except? -1 nogil


cdef class NativeFeeModel(NativeModel):
    # The fee of the order's last execution, worth `value`; negative is a rebate.
    cdef double fee(self, const SimOrder* order, double value) except? -1 nogil
