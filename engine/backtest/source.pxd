"""Recordings from Python on their way into tapes, and the helper that packs them ahead.

A recording is asked for its next chunk by the thread that runs the backtest, which may need the interpreter for it:
when the chunk before is used up, or, where a helper packs, as soon as that has begun with the chunk before. Nobody
is told of a chunk before a side has come to it.
"""

from libc.stdint cimport int64_t

from engine.backtest.tape cimport Ahead, Tape


# Who packs the tapes of a run: whoever needs them, or a helper ahead of them.
cdef class Packer:
    cdef Ahead* ahead            # NULL: no helper
    cdef void help(self, Tape* tape)
    cpdef close(self)


# What feeds a tape from Python: arrays, or whatever gives one after the other.
cdef class Source:
    cdef Tape tape
    cdef Packer packer
    cdef object chunks           # iterator of (events, name, first row)
    cdef list held               # (number, view, name, first row) of the chunks still needed
    cdef object error            # what the iterator raised
    cdef int64_t asked           # the number of the last chunk given to the tape
    cdef void give(self) noexcept
    cdef int64_t horizon(self) noexcept
