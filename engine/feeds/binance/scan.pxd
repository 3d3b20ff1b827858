"""Scanner of raw Binance messages: the state it fills and what it offers; see scan.pyx."""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from engine.core.types cimport Event


# Kinds of rows beyond hftbacktest's own, as its converter numbers them.
cdef enum:
    ROW_INDEX_PRICE = 100
    ROW_MARK_PRICE = 101
    ROW_FUNDING_RATE = 102
    ROW_BEST_BID = 103
    ROW_BEST_ASK = 104

# What a message is; the order of MESSAGE_KINDS.
cdef enum MessageKind:
    MSG_NONE = 0
    MSG_TRADE = 1
    MSG_DEPTH = 2
    MSG_BOOK_TICKER = 3
    MSG_MARK_PRICE = 4
    MSG_SNAPSHOT = 5
    MSG_OTHER = 6

cdef enum:
    SCAN_OK = 0
    SCAN_UNUSUAL = 1      # the slow path decides
    SCAN_NO_MEMORY = 2

cdef enum:
    RECENT = 1024         # depth messages remembered, for a snapshot that is older than they are
    OPT_MARK = 1
    OPT_TICKER = 2

# Where a message's rows are and what its sequence numbers were; -1 where it has none.
cdef struct Mark:
    int64_t row
    int64_t rows
    int64_t line
    int64_t kind
    int64_t first_id      # U
    int64_t last_id       # u, or lastUpdateId of a snapshot
    int64_t prev_id       # pu
    int64_t exch_ts
    int64_t timed         # 1 when the message has the time T; spot's depth and snapshots have none

cdef struct Rows:
    Event* data
    int64_t n
    int64_t capacity

cdef struct Parser:
    Rows rows
    int64_t local_ts
    int64_t clock         # the newest exchange time seen; what messages without one get
    uint32_t opt
    int64_t counts[7]     # messages by MessageKind
    char symbol[32]
    Py_ssize_t symbol_n
    int64_t snapshot_id   # lastUpdateId of the last untimed snapshot
    int64_t untimed_rows  # rows at the start whose exchange time is not known yet
    int64_t stale         # untimed depth messages dropped because a snapshot had included them
    int64_t replayed      # rows repeated after an untimed snapshot
    Mark recent[RECENT]   # a ring of the last untimed depth messages
    int64_t recent_n


cdef int scan_push(Parser* s, uint64_t ev, int64_t exch_ts, double px, double qty) noexcept nogil
cdef int scan_line(Parser* s, const char** cursor, const char* end, Mark* mark) noexcept nogil
cdef void scan_finish(Parser* s, Mark* mark) noexcept nogil
cdef int64_t scan_snapshot_time(Parser* s, int64_t snapshot_id) noexcept nogil
cdef int scan_replay_recent(Parser* s, int64_t snapshot_id) noexcept nogil
