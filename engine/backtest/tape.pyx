"""Packing of recordings; see the header of tape.pxd."""

from libc.math cimport fabs
from libc.stdint cimport INT64_MAX, INT64_MIN, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, memset

import numpy as np

from engine.backtest.checks cimport (
    FAULT_NONE,
    ROW_TIME_LIMIT,
    ROW_WHOLE,
    Clocks,
    row_fault,
    row_fetch,
    row_misfit,
    row_off_sieve,
)
from engine.book.l2 cimport l2_min_qty
from engine.book.ladder cimport ladder_rare
from engine.book.roll cimport (
    ROLL_NONE,
    ROLL_REFUSED,
    OrderRoll,
    RollChange,
    roll_apply,
    roll_check,
    roll_copy,
    roll_fetch,
    roll_free,
    roll_init,
)
from engine.core.codes cimport ERR_BAD_ROW, ERR_INVARIANT, ERR_NO_MEMORY, OK
from engine.core.ticks cimport round_half_away
from engine.core.types cimport (
    EV_BUY,
    EV_EXCH,
    EV_KIND_MASK,
    EV_LOCAL,
    EV_SELL,
    EVENT_ADD_ORDER,
    EVENT_DEPTH,
    EVENT_DEPTH_CLEAR,
    EVENT_DEPTH_SNAPSHOT,
    EVENT_FILL,
    EVENT_TRADE,
    Event,
)

from engine.backtest.checks import FAULTS
from engine.core.errors import DataError, raise_for_code

cdef extern from *:
    """
    /* Beyond these a tick does not fit a row's code. */
    #define TAPE_TICK_LIMIT 1.8e16
    """
    const double TAPE_TICK_LIMIT

# What the kind and the flags of an event make of its row; index: the low byte and the four flags above it.
cdef enum:
    DOUBTFUL = 1 << 7            # to be looked at closely
    ROLL_AHEAD = 16              # rows ahead: an order's slot in the roll is asked for
cdef uint8_t _KINDS[4096]


cdef void _fill_kinds() noexcept nogil:
    cdef uint64_t i, kind
    cdef bint bid, sided
    for i in range(4096):
        kind = i & EV_KIND_MASK
        bid = ((i << 20) & EV_BUY) != 0
        sided = ((i << 20) & (EV_BUY | EV_SELL)) != 0
        _KINDS[i] = 0 if bid else TAPE_ASK
        if not (i << 20) & EV_EXCH:
            _KINDS[i] |= TAPE_UNSEEN << VENUE
        if not (i << 20) & EV_LOCAL:
            _KINDS[i] |= TAPE_UNSEEN << LOCAL
        if sided and kind == EVENT_TRADE:
            _KINDS[i] |= TAPE_TRADE
        elif sided and EVENT_ADD_ORDER <= kind <= EVENT_FILL:
            _KINDS[i] |= TAPE_OTHER
        elif not sided or (kind != EVENT_DEPTH and kind != EVENT_DEPTH_SNAPSHOT):
            _KINDS[i] |= TAPE_OTHER | DOUBTFUL
        if kind == 0 or not (i << 20) & (EV_EXCH | EV_LOCAL):
            _KINDS[i] |= DOUBTFUL


_fill_kinds()


cdef int tape_init(Tape* tape, double tick_size, double lot_size, bint by_order) noexcept nogil:
    """Makes a tape without data; set ``more`` and ``owner``, then call ``tape_start``."""
    cdef int side, code
    memset(tape, 0, sizeof(Tape))
    if by_order:
        code = roll_init(&tape.rolls[VENUE], tick_size, lot_size, 0)
        if code != OK:
            return code
        tape.by_order = True
    tape.tick_size = tick_size
    tape.lot_size = lot_size
    tape.ticks_per_px = 1.0 / tick_size
    tape.lots_per_qty = 1.0 / lot_size
    tape.min_qty = l2_min_qty(lot_size)
    tape.mark.ts[VENUE] = tape.mark.ts[LOCAL] = INT64_MAX
    # An empty block is where both sides begin.
    tape.newest = _new_block(tape)
    if tape.newest == NULL:
        return ERR_NO_MEMORY
    for side in range(2):
        tape.newest.last_ts[side] = INT64_MIN
        tape.newest.packed[0] = tape.mark
        tape.cursors[side].tape = tape
        tape.cursors[side].side = side
        tape.cursors[side].block = tape.newest
        tape.cursors[side].row = &tape.mark
        tape.cursors[side].ts = INT64_MAX
    return OK


cdef void tape_start(Tape* tape) noexcept nogil:
    """Points both sides at their first row."""
    cursor_next(&tape.cursors[VENUE])
    cursor_next(&tape.cursors[LOCAL])


cdef void tape_free(Tape* tape) noexcept nogil:
    cdef TapeBlock* oldest = tape.cursors[LOCAL].block
    # What the venue has not passed, it is on or behind.
    if oldest != NULL and not oldest.passed & (1 << VENUE):
        oldest = tape.cursors[VENUE].block
    _free_list(oldest)
    _free_list(tape.free)
    roll_free(&tape.rolls[VENUE])
    roll_free(&tape.rolls[LOCAL])
    memset(tape, 0, sizeof(Tape))


cdef void _free_list(TapeBlock* block) noexcept nogil:
    cdef TapeBlock* following
    while block != NULL:
        following = block.next
        if block.changes[LOCAL] != block.changes[VENUE]:
            free(block.changes[LOCAL])
        free(block.changes[VENUE])
        free(block)
        block = following


cdef TapeBlock* _new_block(Tape* tape) noexcept nogil:
    """A free block, or a new one; NULL without memory."""
    cdef TapeBlock* block = tape.free
    if block != NULL:
        tape.free = block.next
    else:
        block = <TapeBlock*>malloc(sizeof(TapeBlock))
        if block == NULL:
            return NULL
        block.changes[VENUE] = block.changes[LOCAL] = NULL
        if tape.by_order:
            block.changes[VENUE] = block.changes[LOCAL] = _new_changes()
            if block.changes[VENUE] == NULL:
                free(block)
                return NULL
    block.next = NULL
    block.n = 0
    block.passed = 0
    block.chunk = 0
    block.first = tape.packed
    return block


cdef RollChange* _new_changes() noexcept nogil:
    """Room for what the rows of a block do; cleared, so that a loop may look ahead."""
    return <RollChange*>calloc(TAPE_BLOCK + TAPE_AHEAD, sizeof(RollChange))


# --- packing ---------------------------------------------------------------------------------------

cdef inline int64_t _code(int64_t tick, bint keep, uint8_t kinds) noexcept nogil:
    cdef int64_t key = tick ^ -<int64_t>(kinds & TAPE_ASK)
    return <int64_t>(<uint64_t>key << TAPE_SHIFT) | (keep * TAPE_KEEP) | kinds


cdef int _look(const Tape* tape, const Event* event, uint8_t kinds, int64_t* code) noexcept nogil:
    """Checks a row that the sieve held back, but for its times, and gives its code; else its fault."""
    cdef double ticks = event.px / tape.tick_size
    # A clock at 0 and the row's own times are always in order.
    cdef Clocks clocks
    cdef int fault
    clocks.exch_ts = event.exch_ts
    clocks.local_ts = event.local_ts
    fault = row_fault(event, &clocks)
    if fault == FAULT_NONE:
        fault = row_misfit(event, tape.tick_size, tape.lot_size)
    if kinds & TAPE_OTHER or not fabs(ticks) < TAPE_TICK_LIMIT:
        code[0] = (kinds & ~DOUBTFUL) | TAPE_OTHER
    else:
        code[0] = _code(round_half_away(ticks), event.qty >= tape.min_qty, kinds)
    return fault


cdef int64_t _first_disorder(const Tape* tape, const Event* events, int64_t n, int* fault) noexcept nogil:
    """The first row whose times are wrong, and how."""
    cdef Clocks clocks = tape.clocks
    cdef int64_t i
    for i in range(n):
        fault[0] = row_fault(&events[i], &clocks)
        if fault[0] != FAULT_NONE:
            return i
    return n


cdef int _pack(Tape* tape, TapeBlock* block, int64_t end) noexcept nogil:
    """Packs rows up to ``end`` of the current chunk, or up to a fault, which it returns."""
    cdef const Event* events = tape.rows + tape.at
    cdef const Event* event
    cdef TapeRow* row = block.packed
    cdef double ticks_per_px = tape.ticks_per_px
    cdef double lots_per_qty = tape.lots_per_qty
    cdef double min_qty = tape.min_qty
    cdef int64_t offset = tape.latency_offset
    cdef int64_t n = end - tape.at
    cdef int64_t i
    cdef int64_t exch_ts, local_ts, code
    cdef int64_t last_exch = tape.clocks.exch_ts
    cdef int64_t last_local = tape.clocks.local_ts
    # Negative once a time has been earlier than the one before it; looked at when the block is done.
    cdef int64_t disorder = 0
    cdef uint8_t kinds
    cdef double ticks, whole
    cdef int fault = FAULT_NONE
    for i in range(n):
        event = events + i
        kinds = _KINDS[(event.ev & EV_KIND_MASK) | ((event.ev >> 20) & 0xF00)]
        exch_ts = last_exch if kinds & (TAPE_UNSEEN << VENUE) else event.exch_ts
        local_ts = last_local if kinds & (TAPE_UNSEEN << LOCAL) else event.local_ts
        disorder |= (exch_ts - last_exch) | (local_ts - last_local)
        last_exch = exch_ts
        last_local = local_ts
        ticks = event.px * ticks_per_px
        whole = (ticks + ROW_WHOLE) - ROW_WHOLE
        if ladder_rare(row_off_sieve(ticks, whole, event.qty * lots_per_qty) | (kinds >= DOUBTFUL)):
            fault = _look(tape, event, kinds, &code)
            if fault != FAULT_NONE:
                n = i
                break
        else:
            code = _code(<int64_t>whole, event.qty >= min_qty, kinds)
        row.ts[VENUE] = exch_ts
        row.ts[LOCAL] = local_ts + offset
        row.qty = event.qty
        row.code = code
        row += 1
    if disorder < 0 or (<uint64_t>last_exch | <uint64_t>last_local) >= ROW_TIME_LIMIT:
        # A fault found above is later than one found here, or the same.
        n = _first_disorder(tape, events, min(n + 1, end - tape.at), &fault)
        last_exch = block.packed[n - 1].ts[VENUE] if n else tape.clocks.exch_ts
        last_local = block.packed[n - 1].ts[LOCAL] - offset if n else tape.clocks.local_ts
    tape.clocks.exch_ts = last_exch
    tape.clocks.local_ts = last_local
    tape.at += n
    block.rows = events
    block.n = n
    block.last_ts[VENUE] = last_exch
    block.last_ts[LOCAL] = last_local + offset
    block.packed[n] = tape.mark
    return fault


cdef int _part(Tape* tape) noexcept nogil:
    """Gives each side a roll of its own."""
    cdef int code = roll_copy(&tape.rolls[LOCAL], &tape.rolls[VENUE])
    tape.apart = code == OK
    return code


cdef int _own_changes(TapeBlock* block, uint32_t n) noexcept nogil:
    """Gives each side its own changes from the row ``n`` of a block on."""
    cdef RollChange* changes
    if block.changes[LOCAL] == block.changes[VENUE]:
        changes = _new_changes()
        if changes == NULL:
            return ERR_NO_MEMORY
        memcpy(changes, block.changes[VENUE], n * sizeof(RollChange))
        block.changes[LOCAL] = changes
    return OK


cdef void _enrol_apart(Tape* tape, TapeBlock* block, uint32_t i, uint64_t place) noexcept nogil:
    """As _enrol for one row, where the sides have different orders, or have them from this row on."""
    cdef const Event* event = block.rows + i
    cdef uint64_t kind = event.ev & EV_KIND_MASK
    cdef int code = OK
    cdef int side
    if not tape.apart:
        # What moves no order leaves the sides the same.
        if kind == EVENT_FILL or not (EVENT_ADD_ORDER <= kind < EVENT_FILL or kind == EVENT_DEPTH_CLEAR):
            roll_apply(&tape.rolls[VENUE], event, place, block.changes[VENUE] + i)
            return
        code = _part(tape)
    if code == OK:
        code = _own_changes(block, i)
    for side in range(2):
        block.changes[side][i].op = ROLL_NONE
        if event.ev & (EV_EXCH if side == VENUE else EV_LOCAL):
            if code == OK:
                roll_apply(&tape.rolls[side], event, place, block.changes[side] + i)
            else:
                block.changes[side][i].op = ROLL_REFUSED
                block.changes[side][i].code = code


cdef void _enrol(Tape* tape, TapeBlock* block) noexcept nogil:
    """Has the rows of a block move the orders, and notes what they do."""
    cdef const Event* events = block.rows
    cdef RollChange* changes = block.changes[VENUE]
    cdef OrderRoll* roll = &tape.rolls[VENUE]
    cdef uint64_t place = <uint64_t>block.first << TAPE_PLACE
    cdef uint64_t both = EV_EXCH | EV_LOCAL
    # Rows of the chunk from here on, be they of this block or not.
    cdef int64_t left = tape.rows + tape.n_rows - events
    cdef int64_t i
    for i in range(block.n):
        # What is packed next comes from memory meanwhile.
        row_fetch(events + i + TAPE_BLOCK)
        if i + ROLL_AHEAD < left:
            roll_fetch(roll, events + i + ROLL_AHEAD)
            if tape.apart:
                roll_fetch(&tape.rolls[LOCAL], events + i + ROLL_AHEAD)
        place += <uint64_t>1 << TAPE_PLACE
        if ladder_rare(tape.apart | (events[i].ev & both != both)):
            _enrol_apart(tape, block, i, place)
        else:
            roll_apply(roll, events + i, place, changes + i)


cdef bint _pull(Tape* tape) noexcept nogil:
    """Packs one more block behind the newest; false when there is nothing more."""
    cdef TapeBlock* block
    if tape.ended:
        return False
    while tape.at == tape.n_rows:
        if tape.fault != FAULT_NONE or not tape.more(tape):
            tape.ended = True
            return False
    if tape.fault != FAULT_NONE:
        tape.code = ERR_BAD_ROW
        tape.ended = True
        return False
    block = _new_block(tape)
    if block == NULL:
        tape.code = ERR_NO_MEMORY
        tape.ended = True
        return False
    block.chunk = tape.chunk
    tape.fault = _pack(tape, block, min(tape.at + TAPE_BLOCK, tape.n_rows))
    if tape.fault != FAULT_NONE:
        tape.fault_row = tape.at
    if tape.by_order:
        _enrol(tape, block)
    tape.packed += block.n
    tape.newest.next = block
    tape.newest = block
    return True


cdef void _pass(Tape* tape, TapeBlock* block, int side) noexcept nogil:
    """A side needs a block no more; the second to say so frees it."""
    block.passed |= 1 << side
    if block.passed == 3:
        block.next = tape.free
        tape.free = block


cdef void cursor_next(Cursor* cursor) noexcept nogil:
    """Moves over the end of the current block to the next row there is."""
    cdef Tape* tape = cursor.tape
    cdef TapeBlock* following
    cdef const TapeRow* row
    while True:
        if cursor.block.next == NULL and not _pull(tape):
            cursor.row = &tape.mark
            cursor.ts = INT64_MAX
            return
        following = cursor.block.next
        _pass(tape, cursor.block, cursor.side)
        cursor.block = following
        row = following.packed
        while row.code & (TAPE_UNSEEN << cursor.side):
            row += 1
        if row.ts[cursor.side] != INT64_MAX:
            cursor.row = row
            cursor.ts = row.ts[cursor.side]
            return


cdef int tape_check(const Tape* tape) noexcept nogil:
    """ERR_INVARIANT unless both cursors are on blocks that lead to the newest, in order of time."""
    cdef const TapeBlock* block
    cdef uint32_t i
    cdef int side
    for side in range(2):
        block = tape.cursors[side].block
        if block == NULL or block.passed & (1 << side):
            return ERR_INVARIANT
        if tape.cursors[side].ts != tape.cursors[side].row.ts[side]:
            return ERR_INVARIANT
        while True:
            for i in range(1, block.n):
                if block.packed[i].ts[side] < block.packed[i - 1].ts[side]:
                    return ERR_INVARIANT
            if block.n and block.packed[block.n].ts[side] != INT64_MAX:
                return ERR_INVARIANT
            if block.next == NULL:
                break
            block = block.next
        if block != tape.newest:
            return ERR_INVARIANT
        if (tape.apart if side == LOCAL else tape.by_order) and roll_check(&tape.rolls[side]) != OK:
            return ERR_INVARIANT
    return OK


# --- from Python -------------------------------------------------------------------------------------

cdef bint _give(Tape* tape) noexcept nogil:
    with gil:
        (<Source>tape.owner).give()
    return tape.at < tape.n_rows


cdef inline int64_t _plausible(int64_t ts) noexcept nogil:
    return min(max(ts, 0), <int64_t>ROW_TIME_LIMIT)


cdef int64_t _end(const Tape* tape) noexcept nogil:
    """The later of the times at which the sides see the last row that they see of a chunk that is to be packed."""
    cdef int64_t end = max(tape.clocks.exch_ts, tape.clocks.local_ts + tape.latency_offset)
    cdef int64_t i = tape.n_rows
    cdef uint64_t missing = EV_EXCH | EV_LOCAL
    while i > 0 and missing:
        i -= 1
        if tape.rows[i].ev & missing & EV_EXCH:
            end = max(end, _plausible(tape.rows[i].exch_ts))
        if tape.rows[i].ev & missing & EV_LOCAL:
            end = max(end, _plausible(tape.rows[i].local_ts) + tape.latency_offset)
        missing &= ~tape.rows[i].ev
    return end


cdef class Source:
    """A recording on its way into a tape.

    Args:
        chunks: Iterable of ``(events, name, first_row)``: ``event_dtype`` arrays in order of time, what errors
            call the file (None for none), and the number of the array's first row in that file. The next one
            is asked for when the one before is used up, and let go when both sides have passed it.
        tick_size: Of the book that the rows have to fit.
        lot_size: Of the book.
        latency_offset: Nanoseconds added to all local times.
        by_order: Whether the recording is market by order.
    """

    def __cinit__(
        self, chunks, double tick_size, double lot_size, int64_t latency_offset=0, bint by_order=False
    ):
        self.chunks = iter(chunks)
        self.held = []
        self.error = None
        self.rows = 0
        self.chunk_end = INT64_MIN
        raise_for_code(tape_init(&self.tape, tick_size, lot_size, by_order))
        self.tape.latency_offset = latency_offset
        self.tape.more = _give
        self.tape.owner = <void*>self

    def __dealloc__(self):
        tape_free(&self.tape)

    cdef void give(self) noexcept:
        """Makes the next chunk that has rows the tape's current one; an error ends the tape."""
        cdef const Event[::1] view
        cdef int64_t needed = min(self.tape.cursors[VENUE].block.chunk, self.tape.cursors[LOCAL].block.chunk)
        try:
            while self.held and self.held[0][0] < needed:
                del self.held[0]
            for events, name, first in self.chunks:
                if len(events):
                    view = events
                    self.tape.chunk += 1
                    self.held.append((self.tape.chunk, view, name, first))
                    self.tape.rows = &view[0]
                    self.tape.n_rows = view.shape[0]
                    self.tape.at = 0
                    self.rows += view.shape[0]
                    self.chunk_end = _end(&self.tape)
                    return
        except BaseException as error:
            self.error = error
            self.tape.code = ERR_BAD_ROW

    cdef int64_t horizon(self) noexcept:
        """A time up to which no side needs more than the chunks given so far; INT64_MAX when there are no more.

        Running beyond it gets another chunk, and so a later horizon, unless the rows are not in order.
        """
        return INT64_MAX if self.tape.ended else self.chunk_end

    @property
    def last_ts(self):
        """The time of the last row that has been packed, on either side."""
        return max(self.tape.clocks.exch_ts, self.tape.clocks.local_ts + self.tape.latency_offset)

    def start(self):
        """Reads up to the first row of either side."""
        with nogil:
            tape_start(&self.tape)

    def check(self):
        """Raises what ended the tape before its time, DataError with file, row and field for a row."""
        if self.tape.code == OK:
            return
        if self.error is not None:
            raise self.error
        if self.tape.fault == FAULT_NONE:
            raise_for_code(self.tape.code)
        _, view, name, first = self.held[len(self.held) - 1]
        row = self.tape.fault_row
        field, message = FAULTS[self.tape.fault]
        value = np.asarray(view)[row][field]
        shown = hex(value) if field == "ev" else value
        sizes = (self.tape.tick_size, self.tape.lot_size)
        raise DataError(f"{shown}: {message.format(sizes)}", file=name, row=first + row, field=field)

    def check_invariants(self):
        """Raises InvariantError unless the tape's blocks are in order."""
        raise_for_code(tape_check(&self.tape), "tape")
