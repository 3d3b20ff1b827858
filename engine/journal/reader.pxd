"""Reads a whole journal: the records of all its segments in order, from any record on."""

from libc.stdint cimport uint64_t

from engine.journal.disk cimport SegmentReader
from engine.journal.wal cimport JournalRecord


cdef class JournalReader:
    cdef object files
    cdef readonly str directory
    cdef readonly uint64_t first_seq  # of the records that are still there
    cdef list names               # segments that are still to be opened, next one last
    cdef SegmentReader current
    cdef uint64_t after
    cdef readonly uint64_t seq    # of the last record given
    cdef public uint64_t limit    # no record of a later number is given
    cdef str opened               # segment that was opened last

    # 1 and the record, valid until the next call; 0 at the end. The payload is at record + 1.
    cdef int next_record(self, const JournalRecord** record) except -1
    cdef int _next_segment(self) except -1
