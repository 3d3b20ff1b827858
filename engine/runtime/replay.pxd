"""A journal taken in again: its inputs go through the loop's own functions, in their order and steps.

What the loop needs the interpreter for (commands, signals, start, stop) is returned to the caller, like
from the loop itself. Where the journal says how many outputs there were and what hash they had, the two are
compared, and so is the state: a replay that departs from its run ends there.
"""

from libc.stdint cimport uint64_t

from engine.journal.reader cimport JournalReader
from engine.journal.wal cimport JournalRecord
from engine.runtime.loop cimport LoopCore
from engine.runtime.records cimport Record


cdef class JournalPass:
    cdef LoopCore loop
    cdef JournalReader reader
    cdef Record record               # the last one, as the ring had it
    cdef const JournalRecord* next   # read, not yet taken in, or NULL
    cdef readonly uint64_t records   # taken in
    cdef readonly uint64_t seq       # of the last one taken in
    cdef readonly uint64_t market    # rows of the market among them
    cdef readonly uint64_t compared  # times at which the outputs were the journal's
    cdef readonly uint64_t settled_seq   # of the record before the last input
    cdef readonly uint64_t settled   # order updates of which nothing more will be said: those before the last input
    cdef readonly bint ended         # the run ended in good order

    cdef int take(self, const JournalRecord* kept) except -1
    cdef int note_sent(self, const JournalRecord* kept) except -1
    cdef int compare(self, const JournalRecord* kept) except -1
    cdef int fill(self, const JournalRecord* kept) except -1
    cdef int at_time(self, const JournalRecord* kept) except -1
