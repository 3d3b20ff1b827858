"""What the engine takes in, kept in the journal before it is applied.

Everything that changes trading state goes through ``take`` first: records of the three incoming rings, the
start, what becomes due once the feed has ended, the ordered stop. With a journal it is appended to the
shared buffer, some tens of nanoseconds; an input that finds no room is not applied and stays where it is.
A replay takes the same way without a journal, so that steps are counted alike.

A record's flags are the ring's and two of our own: whether new orders were denied with BUSY just then, which
no input says, and whether it begins a step.
"""

from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t

from engine.core.types cimport Order
from engine.journal.wal cimport Journal, JournalWriter
from engine.strategy.desk cimport Desk


# Where an input comes from; the first three are the loop's rings, in its order.
cdef enum:
    FROM_CONTROL = 0
    FROM_ORDERS = 1
    FROM_FEED = 2
    FROM_US = 3

cdef enum InputFlags:
    INPUT_RING = 63              # those of runtime/records
    INPUT_BUSY = 64
    INPUT_STEP = 128

# How many records had been taken from each incoming ring when an engine went on from its journal.
cdef struct ResumedPayload:
    int64_t ts
    uint64_t control
    uint64_t orders
    uint64_t feed


cdef class InputLog:
    cdef Desk* desk
    cdef readonly Journal journal    # None: nothing is kept
    cdef JournalWriter* writer       # NULL: nothing is kept
    cdef bint fresh                  # the next input begins a step
    cdef readonly uint64_t step
    cdef uint64_t outputs_noted
    cdef uint64_t taken[4]           # by source, since the beginning or the last RESUMED

    # OK; ERR_FULL: no room, nothing was taken; ERR_HALTED: the disk has failed, nothing may be taken any more.
    cdef int take(
        self, int source, uint16_t type, uint16_t flags, uint16_t instrument, uint16_t strategy,
        const void* payload, uint32_t length, int64_t steady,
    ) noexcept nogil
    # Whether new orders have to be denied: the journal has no room for so many bytes, or its disk none.
    cdef bint is_short(self, uint64_t size) noexcept nogil
    # That a request went out, which an input of the feed has led to; a measurement, which a replay does not repeat.
    cdef void note_sent(self, int64_t ts, int64_t received, int64_t sent, const Order* request) noexcept nogil
    # How many outputs there have been, and their hash, for a replay to be held against; nothing if none are new.
    cdef void note_outputs(self, int64_t ts, uint64_t count, uint64_t outputs_hash, int64_t steady) noexcept nogil
