"""Blocks, who packs them, and the sides' places; see the header of tape.pxd."""

from libc.stdint cimport INT64_MAX, INT64_MIN, int64_t, uint32_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset

from engine.backtest.checks cimport FAULT_NONE, row_most
from engine.backtest.packing cimport pack_end, pack_orders, pack_room, pack_rows
from engine.book.l2 cimport l2_min_qty
from engine.book.roll cimport roll_check, roll_free, roll_init
from engine.core.codes cimport ERR_BAD_ROW, ERR_INVARIANT, ERR_NO_MEMORY, OK
from engine.core.types cimport Event


cdef extern from "ahead.h" nogil:
    Ahead* ahead_new(int room, int (*work)(void*) noexcept nogil, int (*ready)(const void*) noexcept nogil)
    void ahead_add(Ahead* ahead, void* job)
    void ahead_wake(Ahead* ahead)
    void ahead_lock(Ahead* ahead)
    void ahead_unlock(Ahead* ahead)
    void ahead_forgive(Ahead* ahead)
    void ahead_stop(Ahead* ahead)
    void ahead_free(Ahead* ahead)
    bint ahead_running(const Ahead* ahead)
    # By type: what two threads read and write without the lock.
    int64_t _number "ahead_load" (const int64_t* place)
    void _set_number "ahead_store" (int64_t* place, int64_t value)
    int _flag "ahead_load" (const int* place)
    void _set_flag "ahead_store" (int* place, int value)
    void _publish "ahead_release" (TapeBlock** place, TapeBlock* block)
    TapeBlock* _take_all "ahead_take" (TapeBlock** place)
    void _push "ahead_push" (TapeBlock** place, TapeBlock* block)

cdef int tape_init(Tape* tape, double tick_size, double lot_size, bint by_order) noexcept nogil:
    """Makes a tape without data; set ``more`` and ``owner``, then call ``tape_start``."""
    cdef int side, code
    memset(tape, 0, sizeof(Tape))
    if by_order:
        code = roll_init(&tape.packing.rolls[VENUE], tick_size, lot_size, 0)
        if code != OK:
            return code
        tape.by_order = True
    tape.tick_size = tick_size
    tape.lot_size = lot_size
    tape.ticks_per_px = 1.0 / tick_size
    tape.most = row_most(lot_size)
    tape.min_qty = l2_min_qty(lot_size)
    tape.mark.ts[VENUE] = tape.mark.ts[LOCAL] = INT64_MAX
    tape.reached_end = INT64_MIN
    tape.wants = tape.stuck = True
    # An empty block is where both sides begin.
    tape.packing.newest = _new_block(tape)
    if tape.packing.newest == NULL:
        return ERR_NO_MEMORY
    for side in range(2):
        tape.packing.newest.last_ts[side] = INT64_MIN
        tape.packing.newest.packed[0] = tape.mark
        tape.cursors[side].tape = tape
        tape.cursors[side].side = side
        tape.cursors[side].block = tape.packing.newest
        tape.cursors[side].row = &tape.mark
        tape.cursors[side].ts = INT64_MAX
    return OK


cdef void tape_start(Tape* tape) noexcept nogil:
    """Points both sides at their first row."""
    tape.last_ts = max(<int64_t>0, tape.latency_offset)
    cursor_next(&tape.cursors[VENUE])
    cursor_next(&tape.cursors[LOCAL])


cdef void tape_free(Tape* tape) noexcept nogil:
    cdef TapeBlock* oldest = tape.cursors[LOCAL].block
    # What the venue has not passed, it is on or behind.
    if oldest != NULL and not oldest.passed & (1 << VENUE):
        oldest = tape.cursors[VENUE].block
    _free_list(oldest)
    _free_list(tape.packing.spare)
    _free_list(tape.returned)
    roll_free(&tape.packing.rolls[VENUE])
    roll_free(&tape.packing.rolls[LOCAL])
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
    cdef TapeBlock* block
    if tape.packing.spare == NULL:
        tape.packing.spare = _take_all(&tape.returned)
    block = tape.packing.spare
    if block != NULL:
        tape.packing.spare = block.next
    else:
        block = <TapeBlock*>malloc(sizeof(TapeBlock))
        if block == NULL:
            return NULL
        block.changes[VENUE] = block.changes[LOCAL] = NULL
        if tape.by_order:
            block.changes[VENUE] = block.changes[LOCAL] = pack_room()
            if block.changes[VENUE] == NULL:
                free(block)
                return NULL
    block.next = NULL
    block.n = 0
    block.passed = 0
    block.number = tape.made + 1
    block.chunk = tape.packing.chunk
    block.chunk_end = tape.packing.chunk_end
    block.given = tape.packing.given
    block.first = tape.packing.rows_packed
    return block


# --- blocks ------------------------------------------------------------------------------------------

cdef int _finish(Tape* tape, int code) noexcept nogil:
    """Nothing more will be packed."""
    tape.packing.code = code
    tape.packing.over = True
    _set_flag(&tape.stuck, TAPE_OVER)
    return False


cdef bint _next_chunk(Tape* tape) noexcept nogil:
    """Goes on with the chunk that has been offered."""
    cdef Packing* packing = &tape.packing
    packing.rows = packing.next_rows
    packing.n_rows = packing.next_n
    packing.next_rows = NULL
    packing.at = 0
    packing.chunk += 1
    packing.given += packing.n_rows
    packing.chunk_end = pack_end(tape)
    _set_flag(&tape.wants, not packing.no_more)
    return True


cdef int _make(void* job) noexcept nogil:
    """Packs one more block behind the newest; false when that cannot be done, or not yet.

    Whoever calls it holds the helper's lock, if there is one.
    """
    cdef Tape* tape = <Tape*>job
    cdef Packing* packing = &tape.packing
    cdef TapeBlock* block
    cdef int64_t end
    if packing.over:
        return False
    if packing.fault != FAULT_NONE:
        return _finish(tape, ERR_BAD_ROW)
    if packing.at == packing.n_rows:
        if packing.next_rows != NULL:
            _next_chunk(tape)
        elif packing.no_more:
            return _finish(tape, packing.last_code)
        else:
            _set_flag(&tape.stuck, True)
            return False
    block = _new_block(tape)
    if block == NULL:
        return _finish(tape, ERR_NO_MEMORY)
    end = min(packing.at + TAPE_BLOCK, packing.n_rows)
    packing.fault = pack_rows(tape, block, end)
    if packing.fault != FAULT_NONE:
        packing.fault_row = packing.at
    if tape.by_order:
        pack_orders(tape, block)
    packing.rows_packed += block.n
    _publish(&packing.newest.next, block)
    packing.newest = block
    _set_number(&tape.made, tape.made + 1)
    return True


cdef void tape_offer(Tape* tape, const Event* rows, int64_t n) noexcept nogil:
    _lock(tape)
    tape.packing.next_rows = rows
    tape.packing.next_n = n
    _unlock_offered(tape)


cdef void tape_offer_none(Tape* tape, int code) noexcept nogil:
    _lock(tape)
    tape.packing.no_more = True
    tape.packing.last_code = code
    _unlock_offered(tape)


cdef void _unlock_offered(Tape* tape) noexcept nogil:
    _set_flag(&tape.wants, False)
    _set_flag(&tape.stuck, False)
    if tape.ahead != NULL:
        ahead_unlock(tape.ahead)
        ahead_forgive(tape.ahead)
        ahead_wake(tape.ahead)


# --- the helper --------------------------------------------------------------------------------------

cdef int _has_room(const void* job) noexcept nogil:
    """Whether a tape may have something to pack ahead; -1 once it never will."""
    cdef const Tape* tape = <const Tape*>job
    cdef int stuck = _flag(&tape.stuck)
    if stuck:
        return -1 if stuck == TAPE_OVER else 0
    return _number(&tape.made) - _number(&tape.reached) < TAPE_LEAD


cdef Ahead* helper_new(int tapes) noexcept nogil:
    return ahead_new(tapes, _make, _has_room)


cdef void tape_help(Tape* tape, Ahead* ahead) noexcept nogil:
    tape.ahead = ahead
    ahead_add(ahead, tape)


cdef void helper_stop(Ahead* ahead) noexcept nogil:
    ahead_stop(ahead)


cdef bint helper_runs(const Ahead* ahead) noexcept nogil:
    return ahead_running(ahead)


cdef void helper_free(Ahead* ahead) noexcept nogil:
    ahead_free(ahead)


cdef inline void _lock(Tape* tape) noexcept nogil:
    if tape.ahead != NULL:
        ahead_lock(tape.ahead)


cdef inline void _unlock(Tape* tape) noexcept nogil:
    if tape.ahead != NULL:
        ahead_unlock(tape.ahead)


# --- the sides ---------------------------------------------------------------------------------------

cdef bint _pull(Tape* tape, TapeBlock* block) noexcept nogil:
    """Has a block behind the last one, whoever packs it; false when there is nothing more."""
    cdef bint more
    while tape_behind(&block.next) == NULL:
        _lock(tape)
        more = tape_behind(&block.next) != NULL or _make(tape)
        if tape.packing.over and not more:
            tape.code = tape.packing.code
            tape.ended = True
        _unlock(tape)
        if tape.ended:
            return False
        if not more and _flag(&tape.wants):
            tape.more(tape)
    return True


cdef void _reach(Tape* tape, const TapeBlock* block) noexcept nogil:
    """The first of the sides has come to a block."""
    tape.reached_end = block.chunk_end
    tape.given = block.given
    tape.last_ts = max(block.last_ts[VENUE], block.last_ts[LOCAL])
    _set_number(&tape.reached, block.number)
    if tape.ahead == NULL:
        return
    if _flag(&tape.wants):
        tape.more(tape)
    elif _number(&tape.made) - block.number < TAPE_LEAD // 2:
        ahead_wake(tape.ahead)


cdef void _pass(Tape* tape, TapeBlock* block, int side) noexcept nogil:
    """A side needs a block no more; the second to say so frees it."""
    block.passed |= 1 << side
    if block.passed == 3:
        _push(&tape.returned, block)


cdef void cursor_next(Cursor* cursor) noexcept nogil:
    """Moves over the end of the current block to the next row there is."""
    cdef Tape* tape = cursor.tape
    cdef TapeBlock* following
    cdef const TapeRow* row
    while True:
        if not _pull(tape, cursor.block):
            cursor.row = &tape.mark
            cursor.ts = INT64_MAX
            return
        following = cursor.block.next
        if following.number > tape.reached:
            _reach(tape, following)
        _pass(tape, cursor.block, cursor.side)
        cursor.block = following
        row = following.packed
        while row.code & (TAPE_UNSEEN << cursor.side):
            row += 1
        if row.ts[cursor.side] != INT64_MAX:
            cursor.row = row
            cursor.ts = row.ts[cursor.side]
            return


cdef int tape_check(Tape* tape) noexcept nogil:
    """ERR_INVARIANT unless both cursors are on blocks that lead to the newest, in order of time."""
    cdef int code
    _lock(tape)
    code = _check(tape)
    _unlock(tape)
    return code


cdef int _check(const Tape* tape) noexcept nogil:
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
        if block != tape.packing.newest:
            return ERR_INVARIANT
        if (tape.packing.apart if side == LOCAL else tape.by_order) and roll_check(&tape.packing.rolls[side]) != OK:
            return ERR_INVARIANT
    return OK
