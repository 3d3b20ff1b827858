"""The journal's files: what a segment and a batch begin with, and a reader that walks their records.

A segment is a header in its first block, then batches, each from a block's beginning on: 64 bytes of header
and records as they lay in shared memory, padded with zeros to a whole block. A batch is what one fdatasync
made durable, so a valid batch proves that every batch before it was durable, and no block that holds
durable records is ever written again.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from engine.journal.wal cimport JournalRecord


cdef enum:
    SEGMENT_VERSION = 1
    BATCH_SEAL = 1               # the journal ended in good order here

cdef struct SegmentHeader:
    uint64_t magic
    uint32_t version
    uint32_t block               # bytes; batches begin at multiples of it
    uint64_t index               # of this segment, from 1
    uint64_t size                # bytes of the file when it was made
    uint64_t first_seq
    uint64_t first_batch
    uint32_t first_crc           # of the record before the first
    uint32_t max_payload
    int64_t created              # wall clock
    uint8_t run_id[16]
    uint8_t build[32]
    uint8_t config[32]
    uint8_t _pad[44]
    uint32_t crc                 # of everything above

cdef struct BatchHeader:
    uint64_t magic
    uint64_t run                 # the beginning of the run's id
    uint64_t batch               # counts through the whole journal, from 1
    uint64_t first_seq
    uint32_t count               # of records
    uint32_t size                # bytes of records
    uint32_t crc_before
    uint32_t crc_after
    uint32_t segment
    uint32_t flags
    uint32_t _pad
    uint32_t crc                 # of everything above


# Records of a segment in order, batch by batch; each batch is checked before its first record is given.
cdef class SegmentReader:
    cdef const unsigned char[::1] data
    cdef SegmentHeader header
    cdef readonly str name
    cdef readonly uint64_t seq          # of the last record given
    cdef readonly uint64_t batch_end    # offset behind the last batch that was read
    cdef readonly bint sealed
    cdef readonly bint torn             # something that is no whole batch lies behind its last one
    cdef uint64_t checked_seq
    cdef uint32_t crc
    cdef uint64_t batch
    cdef uint64_t at                    # of the next record
    cdef uint64_t end                   # of the batch's records

    # 1 and the record; 0 at the end of what was written.
    cdef int next_record(self, const JournalRecord** record) except -1
    cdef int _next_batch(self) except -1


# A record as Python sees it.
cdef object record_of(const JournalRecord* record)
