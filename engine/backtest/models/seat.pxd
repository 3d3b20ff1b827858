"""Where the models of one venue that are not built in sit: makes them, calls them, and says what one did wrong.

A model in Python is called with the GIL and a copy of the order, one in Cython through its own table, one that Numba
compiled directly. Whatever it raises is kept, and raised by ``check`` once the venue has stopped.
"""

from engine.backtest.custom cimport ModelFault
from engine.backtest.exchange cimport ExchangeModels


# What the C functions get as their state. A compiled model's own record begins with the same seat.
cdef struct SeatState:
    void* seat                   # borrowed
    void* model                  # in Python or Cython, borrowed


cdef class Seat:
    cdef SeatState state
    cdef CustomModels venue
    cdef object model
    cdef object code             # what keeps compiled methods and their record in memory

    cdef fail(self, int call, object error)
    cdef wrong(self, int call, object value, str wanted)


cdef class CustomModels:
    cdef ModelFault fault
    cdef str where               # what errors call the asset
    cdef list seats              # by role; None for a built-in model
    cdef object error            # what a model raised
    cdef bint told

    cdef seat(self, object asset, ExchangeModels* models)


# Makes the models of an asset that are not built in and puts them among the others; whoever runs the venue keeps the
# result as long as that. ConfigError.
cdef CustomModels seat_models(object asset, str where, ExchangeModels* models)
