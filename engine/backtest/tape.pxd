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

Who packs
    Whoever needs a block that is not there packs it. A helper (ahead.h) may have done so before, TAPE_LEAD
    blocks ahead of the side that leads and one chunk of events: then a row costs a side only its bytes from
    the other core's cache. What is packed does not depend on who does it, and what has been found out ahead
    (a faulty row, the end, how far the chunk reaches) nobody is told before a side has come to it.

The bad case
    A side that runs far ahead of the other: every block between them is kept. Prices that are no whole number
    of ticks (trades may have them) cost a division each. A row that cannot be used: everything before it is
    given out, then the tape ends with ``code`` set, and ``fault_row`` says where.
"""

from libc.stdint cimport INT64_MAX, int64_t, uint32_t, uint64_t

from engine.backtest.checks cimport Clocks, row_ahead
from engine.book.roll cimport OrderRoll, RollChange
from engine.core.types cimport Event


cdef extern from "ahead.h" nogil:
    struct Ahead:
        pass
    # Reads what another thread publishes, with all that it has written before.
    TapeBlock* tape_behind "ahead_acquire" (TapeBlock** place)


cdef enum:
    TAPE_BLOCK = 128             # rows in a block
    TAPE_AHEAD = 16              # how far ahead a loop may look at rows' codes, whatever they are
    TAPE_LEAD = 32               # blocks that a helper packs ahead: they fit a core's own cache
    TAPE_OVER = 2
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
    TapeBlock* next              # later in time, or in a list of free ones
    const Event* rows            # the events that were packed
    int64_t number               # from 1
    int64_t chunk                # whose they are
    int64_t chunk_end            # the time of that chunk's last row, if all are in order
    int64_t given                # rows of all chunks up to that one
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


# What packs blocks, changed by whoever holds the helper's lock.
cdef struct Packing:
    const Event* rows            # the chunk that is being packed
    int64_t n_rows
    int64_t at
    int64_t chunk
    int64_t chunk_end
    int64_t given                # rows of all chunks so far
    const Event* next_rows       # the chunk behind it, or NULL
    int64_t next_n
    bint no_more                 # there is none behind that
    int last_code                # OK, or why not
    TapeBlock* newest
    TapeBlock* spare             # free blocks
    Clocks clocks
    int64_t rows_packed
    int fault                    # the Fault of checks.pxd
    int64_t fault_row            # in the chunk
    bint over                    # all blocks are packed
    int code                     # OK, or why there are no more
    bint apart                   # each side has its own roll; else the venue's is that of both
    OrderRoll rolls[2]


cdef struct Tape:
    double tick_size
    double lot_size
    double ticks_per_px
    uint64_t most                # the bits of the greatest quantity that passes the sieve of checks.pxd
    double min_qty               # the least that rounds to a lot
    int64_t latency_offset       # added to all local times
    bint by_order
    Ahead* ahead                 # whose helper packs, or NULL
    # Gives the tape its next chunk (tape_offer), or says that there is none (tape_offer_none).
    void (*more)(Tape* tape) noexcept nogil
    void* owner
    TapeRow mark                 # what a cursor at the end points at
    char gap1[128]               # no cache line of one thread's is another's
    Packing packing
    char gap2[128]
    # Both threads look at these.
    int64_t made                 # blocks packed
    int stuck                    # nothing can be packed: there is no next chunk yet, or it is TAPE_OVER
    int wants                    # a next chunk can be offered
    TapeBlock* returned          # blocks that nobody needs any more
    char gap3[128]
    int64_t reached              # the number of the block that the leading side has come to
    char gap4[128]
    # What the sides have come to.
    Cursor cursors[2]
    int64_t reached_end          # of the chunk there
    int64_t given                # rows of the chunks up to there
    int64_t last_ts              # of the last row that either side has in reach
    bint ended                   # a side has come to the end,
    int code                     # for this reason: OK, or an error


# by_order: keep a roll of the orders. ERR_BAD_SIZE, ERR_NO_MEMORY.
cdef int tape_init(Tape* tape, double tick_size, double lot_size, bint by_order) noexcept nogil
cdef void tape_start(Tape* tape) noexcept nogil
# Gives a tape its next chunk, or says why there is none: OK, or an error. Once it wants one, or cannot go on.
cdef void tape_offer(Tape* tape, const Event* rows, int64_t n) noexcept nogil
cdef void tape_offer_none(Tape* tape, int code) noexcept nogil
# A helper for so many tapes, which is a thread from tape_help's first call on; NULL without memory.
cdef Ahead* helper_new(int tapes) noexcept nogil
# Has the helper pack a tape's blocks ahead, from now on.
cdef void tape_help(Tape* tape, Ahead* ahead) noexcept nogil
# Ends the helper's thread. Its tapes go on without.
cdef void helper_stop(Ahead* ahead) noexcept nogil
cdef bint helper_runs(const Ahead* ahead) noexcept nogil
cdef void helper_free(Ahead* ahead) noexcept nogil
cdef void tape_free(Tape* tape) noexcept nogil
cdef void cursor_next(Cursor* cursor) noexcept nogil
cdef int tape_check(Tape* tape) noexcept nogil


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
        return <uint64_t>cursor.tape.packing.rows_packed << TAPE_PLACE
    return <uint64_t>(cursor.block.first + (cursor.row - cursor.block.packed)) << TAPE_PLACE


cdef inline const Event* cursor_event(const Cursor* cursor) noexcept nogil:
    """The event of the current row."""
    return tape_event(cursor.block, cursor.row)


cdef inline int64_t cursor_horizon(const Cursor* cursor) noexcept nogil:
    """A time up to which a side can run without more than a block being packed for it."""
    return cursor.block.last_ts[cursor.side] if cursor.ts != INT64_MAX else INT64_MAX


# What a loop over rows asks for from memory meanwhile: the events that will be packed next, or what a helper has
# packed of the next block.
cdef struct Fetch:
    const char* place
    size_t step


cdef inline Fetch tape_fetch(const Cursor* cursor, const TapeRow* row) noexcept nogil:
    """Of the row a block behind a row; a row further, a step further."""
    cdef Fetch fetch
    cdef TapeBlock* following
    if cursor.tape.ahead == NULL:
        fetch.place = <const char*>row_ahead(tape_event(cursor.block, row) + TAPE_BLOCK)
        fetch.step = sizeof(Event)
        return fetch
    following = tape_behind(&cursor.block.next)
    fetch.place = <const char*>row
    fetch.step = 0
    if following != NULL:
        fetch.place = <const char*>(&following.packed[0] + (row - cursor.block.packed))
        fetch.step = sizeof(TapeRow)
    return fetch
