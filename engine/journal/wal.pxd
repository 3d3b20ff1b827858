"""The journal's buffer in shared memory, as the engine appends to it and the journaller drains it.

Compiled users work on ``&journal.writer`` with the inline functions of journal.h, without the GIL::

    engine     journal_append(w, JOURNAL_TIMER, &payload, sizeof(payload), t_mono) == OK
               journal_append_tagged(w, kind, flags, instrument, strategy, &header.ts, 8 + length, t_mono)
               journal_append_reserved(...)     cancels and commands: may use the reserve
               journal_flags(w)                 JOURNAL_DISK_FULL: deny new orders; JOURNAL_HALTED: stop
               journal_accepted_seq(w), journal_durable_seq(w)

A record taken from a ring (engine/runtime/records.pxd) is appended with one call: its journal type is its
kind, its payload begins at ``header.ts`` and goes on with what follows in the slot.
"""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t


cdef extern from "journal.h" nogil:
    enum:
        JOURNAL_OK
        JOURNAL_FULL
        JOURNAL_CORRUPT
        JOURNAL_BAD_SIZE
        JOURNAL_DISK_FULL
        JOURNAL_HALTED
        JOURNAL_HEADER_SIZE
        JOURNAL_DATA_OFFSET
        JOURNAL_MAX_PAYLOAD
        JOURNAL_RECORD_VERSION

    ctypedef uint32_t (*JournalCrc)(uint32_t crc, const void* data, size_t size) noexcept nogil

    ctypedef struct JournalRecord:
        uint32_t len
        uint32_t crc
        uint64_t seq
        int64_t t_mono
        uint16_t type
        uint8_t version
        uint8_t flags
        uint16_t instrument
        uint16_t strategy

    ctypedef struct JournalShared:
        uint64_t capacity
        uint64_t first_seq
        uint32_t first_crc

    ctypedef struct JournalWriter:
        JournalShared* shared
        uint64_t capacity
        uint64_t seq
        uint32_t crc
        uint32_t max_payload

    uint64_t journal_size(uint64_t payload) noexcept
    int journal_append(
        JournalWriter* w, uint16_t type, const void* payload, uint32_t len, int64_t t_mono
    ) noexcept
    int journal_append_tagged(
        JournalWriter* w, uint16_t type, uint8_t flags, uint16_t instrument, uint16_t strategy,
        const void* payload, uint32_t len, int64_t t_mono,
    ) noexcept
    int journal_append_reserved(
        JournalWriter* w, uint16_t type, uint8_t flags, uint16_t instrument, uint16_t strategy,
        const void* payload, uint32_t len, int64_t t_mono,
    ) noexcept
    bint journal_has_room(JournalWriter* w, uint64_t bytes) noexcept
    uint32_t journal_flags(const JournalWriter* w) noexcept
    uint64_t journal_accepted_seq(const JournalWriter* w) noexcept
    uint64_t journal_durable_seq(const JournalWriter* w) noexcept
    uint64_t journal_walk(
        JournalCrc crc32c, const unsigned char* data, uint64_t size, uint32_t max_payload,
        uint64_t* seq, uint32_t* crc, uint64_t* count,
    ) noexcept


# What a record is. 1 to 14 are the kinds of engine/runtime/records.pxd, with the ring's payload behind the
# engine time; every payload begins with that time, an int64.
cdef enum JournalType:
    JOURNAL_MARKET = 1           # input: time, Event; flags say as whom it saw it
    JOURNAL_FEED_STATUS = 2      # input: time, FeedStatusRecord: nothing comes before that time
    JOURNAL_ORDER_REQUEST = 3    # input: time, OrderRecord
    JOURNAL_SIGNAL = 4           # input: time, msgpack
    JOURNAL_CONTROL = 5          # input: time, msgpack
    JOURNAL_REPLY = 6            # output: time, msgpack
    JOURNAL_ORDER = 7            # output: time, OrderRecord
    JOURNAL_FILL = 8             # output: time, FillRecord
    JOURNAL_REPORT = 32          # input: time, Order: what a venue said
    JOURNAL_TIMER = 33           # input: time, key
    JOURNAL_META = 34            # time, msgpack: configuration, instruments, build; begins each run
    JOURNAL_STATE_HASH = 35      # time, hash: of the state behind all records before this one
    JOURNAL_OUTPUT = 36          # time, count, hash: of all outputs before this one
    JOURNAL_SNAPSHOT = 37        # time, hash: a snapshot of this state is on disk
    JOURNAL_END = 38             # time: the run ended in good order
    JOURNAL_START = 39           # input: time; the market begins
    JOURNAL_STOP = 40            # input: time; strategies end, all orders are cancelled
    JOURNAL_RESUMED = 41         # time, records taken from the rings of commands, orders and the feed
    JOURNAL_SILENCE = 42         # input: time, nanoseconds for which the feed has said nothing
    JOURNAL_SENT = 43            # SentPayload: a request went out; measured, and not repeated

cdef struct TimerPayload:
    int64_t ts
    int64_t key

cdef struct HashPayload:         # STATE_HASH and SNAPSHOT
    int64_t ts
    uint64_t state_hash

cdef struct OutputPayload:
    int64_t ts
    uint64_t count
    uint64_t outputs_hash


cdef struct SentPayload:
    int64_t ts                   # engine time of the input that led to it
    int64_t local_ts             # engine time at which it was sent
    int64_t received             # when that input arrived, steady clock
    int64_t sent                 # when the venue was given the request, steady clock
    uint64_t order_id
    uint8_t req
    uint8_t _pad[7]


# The CRC function of this machine, for handles and walks.
cdef JournalCrc journal_crc() noexcept nogil


cdef class Journal:
    cdef JournalWriter writer
    cdef void* memory
    cdef uint64_t memory_size
    cdef uint64_t capacity
    cdef bint is_writer
    cdef bint is_watcher           # mapped for reading only
    cdef readonly str path
    cdef readonly bytes run_id     # 16 bytes
    cdef readonly str build        # hex
    cdef readonly str config       # hex

    cdef int _map(self, int fd, uint64_t capacity, bint prefault, int protection) except -1
    cdef int _bind(self, path, bint is_writer) except -1
    cdef int _open(self) except -1
    cdef int _writable(self) except -1
    cdef void _release(self) noexcept
