"""What the engine tells the outside: outputs of the kernel into the four outgoing rings.

Nothing here waits. ``orders_out`` keeps a reserve: once it is touched the desk is busy, so new orders are
denied while the answers of live ones still find room. Depth conflates in its own sets until
``market_out`` has room; trades and telemetry are dropped and counted. A record that had to be dropped is
announced by ``header.dropped`` of the next one, upon which a bridge asks for a resync.

Orders, fills and the replies among them are numbered, and the ring's cursor is the number of the last that was
published: an engine that repeats the run of a killed one leaves out what is known and publishes the rest.

Costs: an output is one copy into its slot; a depth batch is one lookup a changed level; positions and
status are a pass over strategies times instruments, about ten times a second.
"""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from engine.core.ring cimport Ring, SpscRing
from engine.core.types cimport Event
from engine.journal.wal cimport Journal
from engine.kernel cimport Kernel
from engine.runtime.conflate cimport Conflator
from engine.runtime.records cimport DepthLevel, PositionRecord, Record, StatusRecord
from engine.strategy.desk cimport Desk, Output


cdef enum:
    # Of orders_out: below this many free slots new orders get BUSY. Every live order may still be
    # cancelled and filled, and each of that takes a slot or two.
    ORDERS_RESERVE = 8192
    TRADES_RESERVE = 1024        # of market_out: trades leave this many slots to depth
    NAME_BYTES = 64


# The status page: what `ringbook status` reads without asking anybody. One 256-byte slot each.
cdef struct PageHead:
    uint64_t lock                # odd while the page is being written
    uint64_t step
    uint32_t n_positions
    uint32_t _pad
    StatusRecord status

cdef struct PagePosition:
    uint16_t strategy
    uint16_t instrument
    uint8_t state
    uint8_t _pad[3]
    char name[NAME_BYTES]        # the strategy's, UTF-8, zero-filled
    PositionRecord position


cdef class Publisher:
    cdef Kernel kernel
    cdef Desk* desk
    cdef Ring orders_ring
    cdef Ring market_ring
    cdef Ring telemetry_ring
    cdef Ring control_ring
    cdef SpscRing* orders_out
    cdef SpscRing* market_out
    cdef SpscRing* telemetry_out
    cdef uint16_t n_books
    cdef Conflator* books        # one an instrument
    cdef int64_t* book_sent      # steady time of the last batch
    cdef DepthLevel* levels      # scratch of one batch
    cdef uint8_t* cell_changed   # (strategy, instrument) that has had a fill in this step
    cdef bint any_changed
    cdef uint8_t* strategy_changed
    cdef char* names             # MAX_STRATEGIES of NAME_BYTES
    cdef bint strategies_changed # some strategy's state waits to be told, with the GIL
    cdef bint logs_wait
    cdef bint status_due         # the trading state changed: tell it at once
    cdef object page             # the mapping that page_head points into
    cdef PageHead* page_head
    cdef uint32_t page_capacity
    cdef int64_t depth_interval
    cdef StatusRecord status
    cdef uint64_t orders_seq     # of orders, fills and replies among them, put out so far
    cdef uint64_t orders_known   # of those, up to which an engine before us has published them
    cdef uint32_t orders_dropped # since the last record that went into the ring
    cdef uint32_t trades_dropped
    cdef uint32_t telemetry_dropped
    cdef Journal journal         # None: there is none
    cdef const uint64_t* journal_seq  # number of the input that outputs follow from: one load, journal or not
    cdef uint64_t no_seq         # where it points without a journal

    cdef void output(self, const Output* out) noexcept nogil
    cdef void market(self, uint16_t instrument, const Event* event) noexcept nogil
    cdef void depth(self, int64_t now, bint force) noexcept nogil
    cdef bint waiting(self) noexcept nogil
    cdef void fills(self) noexcept nogil
    cdef void telemetry(self, int64_t wall) noexcept nogil
    cdef void notify(self) noexcept nogil
    cdef uint64_t orders_room(self) noexcept nogil
    cdef void _position(self, uint16_t strategy, uint16_t instrument, PositionRecord* out) noexcept nogil
    cdef void _send_position(self, uint16_t strategy, uint16_t instrument) noexcept nogil
    cdef void _write_page(self) noexcept nogil
    cdef bint _batch(self, uint16_t instrument) noexcept nogil
    cdef size_t _place(self, uint16_t strategy, uint16_t instrument) noexcept nogil
    cdef void _record(self, Record* record, const Output* out) noexcept nogil
    cdef void _drop_telemetry(self) noexcept nogil
    cdef void _journal_status(self) noexcept nogil
    cdef void _send_telemetry(self, Record* record) noexcept nogil
