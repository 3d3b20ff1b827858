"""A recording as the two sides of an asset read it: checked and packed once, block by block, when first needed.

What it is
    The recording is a sequence of chunks of 64-byte events. A block of it is looked at once: each row is
    checked (checks.pxd), its price becomes a tick, and both times, quantity, tick and kind are packed into 32
    bytes. A row that a side does not see (no EXCH or LOCAL flag) says so, and has the time of the one before
    it there, so that times never decrease; behind the last row of a block stands a mark later than any time.
    A side's loop over a block is a compare of times and a look at the kind.

    Market by order, a roll (book/roll.pxd) of the orders is kept as well, which tells for each row what its
    order was before it: neither side needs the orders themselves, nor looks one up. The sides have one roll
    for both, up to the first row of an order that only one of them sees; then each has its own.

What it costs
    A row costs its reading from memory and some forty instructions without a division. Both sides then read
    it from a near cache, as long as they are not many thousand rows apart; whoever runs them far in one go
    does that in steps (``cursor_horizon``). A block that both sides have passed is used again.

The bad case
    A side that runs far ahead of the other: every block between them is kept. Prices that are no whole number
    of ticks (trades may have them) cost a division each. A row that cannot be used: everything before it is
    given out, then the tape ends with ``code`` set, and ``fault_row`` says where.
"""

from libc.stdint cimport INT64_MAX, int64_t, uint32_t, uint64_t

from engine.backtest.checks cimport Clocks
from engine.book.roll cimport OrderRoll, RollChange
from engine.core.types cimport Event


cdef enum:
    TAPE_BLOCK = 128             # rows in a block
    TAPE_AHEAD = 8               # how far ahead a loop may look at rows' codes, whatever they are
    VENUE = 0                    # the sides
    LOCAL = 1


# The low byte of a row's code; the rest is its key: its tick, or ~tick with TAPE_ASK.
cdef enum:
    TAPE_ASK = 1                 # asks, or a trade that a seller started
    TAPE_TRADE = 2
    TAPE_OTHER = 4               # neither a level's new quantity nor a trade with a side: see the event itself
    TAPE_UNSEEN = 8              # by the venue; shifted by the side
    TAPE_KEEP = 32               # the quantity rounds to a lot
    TAPE_SHIFT = 8
    TAPE_PLACE = 24              # a row's number is shifted so far to be a place: own orders may join between


cdef struct TapeRow:
    int64_t ts[2]                # when each side sees it; INT64_MAX behind the last row of a block
    double qty
    int64_t code                 # key << TAPE_SHIFT | TAPE_ASK ...


cdef struct TapeBlock:
    TapeBlock* next              # later in time, or in the list of free ones
    const Event* rows            # the events that were packed
    int64_t chunk                # whose they are
    int64_t last_ts[2]           # nothing in it is later
    uint32_t n
    uint32_t passed              # bits of the sides that need it no more
    TapeRow packed[TAPE_BLOCK + 1 + TAPE_AHEAD]
    int64_t first                # the number of its first row in the tape
    RollChange* changes[2]       # of each row, by side, often the same; NULL without a roll


# A side's place. After its last row `ts` is INT64_MAX and `block` stays the last.
cdef struct Cursor:
    const TapeRow* row
    int64_t ts                   # of the row
    TapeBlock* block
    Tape* tape
    int side                     # VENUE or LOCAL


cdef struct Tape:
    const Event* rows            # the chunk that is being packed
    int64_t n_rows
    int64_t at
    int64_t chunk
    TapeBlock* newest
    TapeBlock* free
    Clocks clocks
    double tick_size
    double lot_size
    double ticks_per_px
    double lots_per_qty
    double min_qty               # the least that rounds to a lot
    int64_t latency_offset       # added to all local times
    int code                     # OK, or why there are no more rows
    int fault                    # the Fault of checks.pxd
    int64_t fault_row            # in the chunk
    bint ended                   # all rows have been packed
    int64_t packed               # how many have been
    bint by_order
    bint apart                   # each side has its own roll; else the venue's is that of both
    OrderRoll rolls[2]
    # Makes the next chunk the current one; false at the end or after an error, which it sets as code.
    bint (*more)(Tape* tape) noexcept nogil
    void* owner
    Cursor cursors[2]
    TapeRow mark                 # what a cursor at the end points at


# by_order: keep a roll of the orders. ERR_BAD_SIZE, ERR_NO_MEMORY.
cdef int tape_init(Tape* tape, double tick_size, double lot_size, bint by_order) noexcept nogil
cdef void tape_start(Tape* tape) noexcept nogil
cdef void tape_free(Tape* tape) noexcept nogil
cdef void cursor_next(Cursor* cursor) noexcept nogil
cdef int tape_check(const Tape* tape) noexcept nogil


cdef inline void cursor_move(Cursor* cursor, const TapeRow* row) noexcept nogil:
    """Moves to a row of the current block, or over its end to the next row there is."""
    while row.code & (TAPE_UNSEEN << cursor.side):
        row += 1
    cursor.row = row
    cursor.ts = row.ts[cursor.side]
    if cursor.ts == INT64_MAX:
        cursor_next(cursor)


cdef inline const Event* tape_event(const TapeBlock* block, const TapeRow* row) noexcept nogil:
    """The event that a row of a block was made of."""
    return block.rows + (row - block.packed)


cdef inline const RollChange* tape_change(const TapeBlock* block, const TapeRow* row, int side) noexcept nogil:
    """What a row of a block does to the orders that a side has."""
    return block.changes[side] + (row - block.packed)


cdef inline uint64_t cursor_place(const Cursor* cursor) noexcept nogil:
    """The place of what joins a queue now: behind all that the rows before the current one put there."""
    if cursor.ts == INT64_MAX:
        return <uint64_t>cursor.tape.packed << TAPE_PLACE
    return <uint64_t>(cursor.block.first + (cursor.row - cursor.block.packed)) << TAPE_PLACE


cdef inline const Event* cursor_event(const Cursor* cursor) noexcept nogil:
    """The event of the current row."""
    return tape_event(cursor.block, cursor.row)


cdef inline int64_t cursor_horizon(const Cursor* cursor) noexcept nogil:
    """A time up to which a side can run without more than a block being packed for it."""
    return cursor.block.last_ts[cursor.side] if cursor.ts != INT64_MAX else INT64_MAX


# What feeds a tape from Python: arrays, or whatever gives one after the other.
cdef class Source:
    cdef Tape tape
    cdef object chunks           # iterator of (events, name, first row)
    cdef list held               # (number, view, name, first row) of the chunks still needed
    cdef object error            # what the iterator raised
    cdef readonly int64_t rows   # given to the tape so far
    cdef int64_t chunk_end       # the time of the last row given, if all are in order
    cdef bint has_sizes
    cdef void give(self) noexcept
    cdef int64_t horizon(self) noexcept
