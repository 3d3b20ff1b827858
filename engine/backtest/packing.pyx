"""Packing of rows; packing.pxd says what each function does, tape.pxd what a packed row is."""

from libc.math cimport fabs
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc
from libc.string cimport memcpy

from engine.backtest.checks cimport (
    FAULT_NONE,
    ROW_TIME_LIMIT,
    Clocks,
    row_bits,
    row_fault,
    row_fetch,
    row_misfit,
    row_off_sieve,
    row_whole,
)
from engine.backtest.tape cimport (
    LOCAL,
    TAPE_AHEAD,
    TAPE_ASK,
    TAPE_BLOCK,
    TAPE_KEEP,
    TAPE_OTHER,
    TAPE_PLACE,
    TAPE_SHIFT,
    TAPE_TRADE,
    TAPE_UNSEEN,
    VENUE,
    Packing,
    Tape,
    TapeBlock,
    TapeRow,
)
from engine.book.ladder cimport ladder_rare
from engine.book.roll cimport (
    ROLL_NONE,
    ROLL_REFUSED,
    OrderRoll,
    RollChange,
    roll_apply,
    roll_copy,
    roll_fetch,
)
from engine.core.codes cimport ERR_NO_MEMORY, OK
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


# --- rows --------------------------------------------------------------------------------------------

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
    cdef Clocks clocks = tape.packing.clocks
    cdef int64_t i
    for i in range(n):
        fault[0] = row_fault(&events[i], &clocks)
        if fault[0] != FAULT_NONE:
            return i
    return n


# `fetch` is a constant where it is called.
cdef inline int _pack(Tape* tape, TapeBlock* block, int64_t end, bint fetch) noexcept nogil:
    """Packs rows up to ``end`` of the current chunk, or up to a fault, which it returns.

    Asks for the rows behind them if ``fetch``: who works through packed rows does so where there is no helper.
    """
    cdef Packing* packing = &tape.packing
    cdef const Event* events = packing.rows + packing.at
    cdef const Event* event
    cdef TapeRow* row = block.packed
    cdef double ticks_per_px = tape.ticks_per_px
    cdef uint64_t most = tape.most
    cdef uint64_t least = row_bits(tape.min_qty)
    cdef int64_t offset = tape.latency_offset
    cdef int64_t n = end - packing.at
    cdef int64_t i
    cdef int64_t exch_ts, local_ts, code
    cdef int64_t last_exch = packing.clocks.exch_ts
    cdef int64_t last_local = packing.clocks.local_ts
    # Negative once a time has been earlier than the one before it; looked at when the block is done.
    cdef int64_t disorder = 0
    cdef uint8_t kinds
    cdef double ticks
    cdef int64_t whole
    cdef int fault = FAULT_NONE
    for i in range(n):
        event = events + i
        if fetch:
            row_fetch(event)
        kinds = _KINDS[(event.ev & EV_KIND_MASK) | ((event.ev >> 20) & 0xF00)]
        exch_ts = last_exch if kinds & (TAPE_UNSEEN << VENUE) else event.exch_ts
        local_ts = last_local if kinds & (TAPE_UNSEEN << LOCAL) else event.local_ts
        disorder |= (exch_ts - last_exch) | (local_ts - last_local)
        last_exch = exch_ts
        last_local = local_ts
        ticks = event.px * ticks_per_px
        whole = row_whole(ticks)
        if ladder_rare(row_off_sieve(ticks, whole, event.qty, most) | (kinds >= DOUBTFUL)):
            fault = _look(tape, event, kinds, &code)
            if fault != FAULT_NONE:
                n = i
                break
        else:
            code = _code(whole, row_bits(event.qty) >= least, kinds)
        row.ts[VENUE] = exch_ts
        row.ts[LOCAL] = local_ts + offset
        row.qty = event.qty
        row.code = code
        row += 1
    if disorder < 0 or (<uint64_t>last_exch | <uint64_t>last_local) >= ROW_TIME_LIMIT:
        # A fault found above is later than one found here, or the same.
        n = _first_disorder(tape, events, min(n + 1, end - packing.at), &fault)
        last_exch = block.packed[n - 1].ts[VENUE] if n else packing.clocks.exch_ts
        last_local = block.packed[n - 1].ts[LOCAL] - offset if n else packing.clocks.local_ts
    packing.clocks.exch_ts = last_exch
    packing.clocks.local_ts = last_local
    packing.at += n
    block.rows = events
    block.n = n
    block.last_ts[VENUE] = last_exch
    block.last_ts[LOCAL] = last_local + offset
    block.packed[n] = tape.mark
    return fault


cdef int pack_rows(Tape* tape, TapeBlock* block, int64_t end) noexcept nogil:
    if tape.ahead != NULL:
        return _pack(tape, block, end, True)
    return _pack(tape, block, end, False)


# --- orders ------------------------------------------------------------------------------------------

cdef RollChange* pack_room() noexcept nogil:
    """Room for what the rows of a block do; cleared, so that a loop may look ahead."""
    return <RollChange*>calloc(TAPE_BLOCK + TAPE_AHEAD, sizeof(RollChange))


cdef int _part(Tape* tape) noexcept nogil:
    """Gives each side a roll of its own."""
    cdef int code = roll_copy(&tape.packing.rolls[LOCAL], &tape.packing.rolls[VENUE])
    tape.packing.apart = code == OK
    return code


cdef int _own_changes(TapeBlock* block, uint32_t n) noexcept nogil:
    """Gives each side its own changes from the row ``n`` of a block on."""
    cdef RollChange* changes
    if block.changes[LOCAL] == block.changes[VENUE]:
        changes = pack_room()
        if changes == NULL:
            return ERR_NO_MEMORY
        memcpy(changes, block.changes[VENUE], n * sizeof(RollChange))
        block.changes[LOCAL] = changes
    return OK


cdef void _enrol_apart(Tape* tape, TapeBlock* block, uint32_t i, uint64_t place) noexcept nogil:
    """As pack_orders for one row, where the sides have different orders, or have them from this row on."""
    cdef const Event* event = block.rows + i
    cdef uint64_t kind = event.ev & EV_KIND_MASK
    cdef int code = OK
    cdef int side
    if not tape.packing.apart:
        # What moves no order leaves the sides the same.
        if kind == EVENT_FILL or not (EVENT_ADD_ORDER <= kind < EVENT_FILL or kind == EVENT_DEPTH_CLEAR):
            roll_apply(&tape.packing.rolls[VENUE], event, place, block.changes[VENUE] + i)
            return
        code = _part(tape)
    if code == OK:
        code = _own_changes(block, i)
    for side in range(2):
        block.changes[side][i].op = ROLL_NONE
        if event.ev & (EV_EXCH if side == VENUE else EV_LOCAL):
            if code == OK:
                roll_apply(&tape.packing.rolls[side], event, place, block.changes[side] + i)
            else:
                block.changes[side][i].op = ROLL_REFUSED
                block.changes[side][i].code = code


cdef void pack_orders(Tape* tape, TapeBlock* block) noexcept nogil:
    """Has the rows of a block move the orders, and notes what they do."""
    cdef const Event* events = block.rows
    cdef RollChange* changes = block.changes[VENUE]
    cdef OrderRoll* roll = &tape.packing.rolls[VENUE]
    cdef uint64_t place = <uint64_t>block.first << TAPE_PLACE
    cdef uint64_t both = EV_EXCH | EV_LOCAL
    # Rows of the chunk from here on, be they of this block or not.
    cdef int64_t left = tape.packing.rows + tape.packing.n_rows - events
    cdef int64_t i
    for i in range(block.n):
        # What is packed next comes from memory meanwhile.
        row_fetch(events + i + TAPE_BLOCK)
        if i + ROLL_AHEAD < left:
            roll_fetch(roll, events + i + ROLL_AHEAD)
            if tape.packing.apart:
                roll_fetch(&tape.packing.rolls[LOCAL], events + i + ROLL_AHEAD)
        place += <uint64_t>1 << TAPE_PLACE
        if ladder_rare(tape.packing.apart | (events[i].ev & both != both)):
            _enrol_apart(tape, block, i, place)
        else:
            roll_apply(roll, events + i, place, changes + i)


# --- chunks ------------------------------------------------------------------------------------------

cdef inline int64_t _plausible(int64_t ts) noexcept nogil:
    return min(max(ts, 0), <int64_t>ROW_TIME_LIMIT)


cdef int64_t pack_end(const Tape* tape) noexcept nogil:
    """The later of the times at which the sides see the last row that they see of a chunk that is to be packed."""
    cdef const Packing* packing = &tape.packing
    cdef int64_t end = max(packing.clocks.exch_ts, packing.clocks.local_ts + tape.latency_offset)
    cdef int64_t i = packing.n_rows
    cdef uint64_t missing = EV_EXCH | EV_LOCAL
    while i > 0 and missing:
        i -= 1
        if packing.rows[i].ev & missing & EV_EXCH:
            end = max(end, _plausible(packing.rows[i].exch_ts))
        if packing.rows[i].ev & missing & EV_LOCAL:
            end = max(end, _plausible(packing.rows[i].local_ts) + tape.latency_offset)
        missing &= ~packing.rows[i].ev
    return end
