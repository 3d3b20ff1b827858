"""Levels that are consumed by own orders; liquidity.pxd says what each function does."""

from libc.stdint cimport INT64_MIN, int64_t, uint32_t, uint64_t

from engine.backtest.arrival cimport MARKET_REACH
from engine.backtest.exchange cimport Exchange, OwnSide, own_slot
from engine.backtest.order cimport SimOrder
from engine.backtest.queue cimport queue_new
from engine.backtest.resting cimport NIL, execute, fill_resting, level_changed, own_insert, respond, traded
from engine.backtest.tape cimport (
    TAPE_AHEAD,
    TAPE_ASK,
    TAPE_KEEP,
    TAPE_OTHER,
    TAPE_SHIFT,
    TAPE_TRADE,
    TAPE_UNSEEN,
    VENUE,
    Fetch,
    TapeRow,
    cursor_move,
    tape_event,
    tape_fetch,
)
from engine.book.l2 cimport L2Change, _l2_fetch, _l2_put, l2_apply, l2_fetch
from engine.book.ladder cimport (
    Ladder,
    ladder_any_below,
    ladder_free,
    ladder_get,
    ladder_init,
    ladder_rare,
    ladder_spill_get,
    ladder_spill_set,
)
from engine.core.codes cimport ERR_FULL, ERR_INVARIANT, OK
from engine.core.ticks cimport INVALID_MAX_TICK, INVALID_MIN_TICK, to_tick
from engine.core.types cimport (
    EV_BUY,
    EV_KIND_MASK,
    EV_SELL,
    EVENT_DEPTH,
    EVENT_DEPTH_CLEAR,
    EVENT_DEPTH_SNAPSHOT,
    EVENT_TRADE,
    ORDER_MARKET,
    REASON_BEST_CROSSED,
    REASON_BUSY,
    REASON_TAKER,
    REASON_UNFILLED_IOC_FOK,
    SIDE_BUY,
    STATUS_EXPIRED,
    STATUS_FILLED,
    TIF_FOK,
    TIF_GTC,
    Event,
)


cdef enum:
    UNUSED_WINDOW = 64           # the least a ladder has


# --- levels ----------------------------------------------------------------------------------------

cdef int liquidity_init(Exchange* ex) noexcept nogil:
    cdef int code = ladder_init(&ex.taken[0], UNUSED_WINDOW)
    ex.consumes = True
    return code if code != OK else ladder_init(&ex.taken[1], UNUSED_WINDOW)


cdef void liquidity_free(Exchange* ex) noexcept nogil:
    ladder_free(&ex.taken[0])
    ladder_free(&ex.taken[1])


cdef inline double _left(const Exchange* ex, int side, int64_t key) noexcept nogil:
    """What a level has left; less than half a lot is nothing."""
    cdef double left = ladder_get(&ex.book.ladders[side], key)
    if ex.taken[side].spill_count:
        left -= ladder_spill_get(&ex.taken[side], key)
    return left if left >= ex.book.min_qty else 0.0


cdef int _take(Exchange* ex, int side, int64_t key, double qty) noexcept nogil:
    cdef Ladder* taken = &ex.taken[side]
    cdef double before
    return ladder_spill_set(taken, key, ladder_spill_get(taken, key) + qty, &before)


cdef int _give_back(Exchange* ex, int side, int64_t key, double qty) noexcept nogil:
    """A level has shrunk by a quantity."""
    cdef Ladder* taken = &ex.taken[side]
    cdef double before = ladder_spill_get(taken, key)
    cdef double after = before - qty
    if before == 0.0:
        return OK
    return ladder_spill_set(taken, key, after if after >= ex.book.min_qty else 0.0, &before)


cdef int _forget_gone(Exchange* ex, int side) noexcept nogil:
    """After a clear: forgets what was taken from levels that are no more."""
    cdef Ladder* taken = &ex.taken[side]
    cdef uint64_t i = 0
    cdef double before
    cdef int code
    while i <= taken.spill_mask and taken.spill_count:
        if taken.spill[i].qty != 0.0 and ladder_get(&ex.book.ladders[side], taken.spill[i].key) == 0.0:
            code = ladder_spill_set(taken, taken.spill[i].key, 0.0, &before)
            if code != OK:
                return code
            # Another may have moved here; one that moves across the table's end has been looked at.
            continue
        i += 1
    return OK


cdef int64_t liquidity_best(const Exchange* ex, int side) noexcept nogil:
    cdef int64_t key = ex.book.ladders[side].best
    while key != INVALID_MIN_TICK and _left(ex, side, key) == 0.0:
        key = ladder_any_below(&ex.book.ladders[side], key)
    return key


# --- rows ------------------------------------------------------------------------------------------

cdef int _fill_across(Exchange* ex, int side, int64_t key, int64_t now) noexcept nogil:
    """Fills own orders across from a level with what it has left, at their prices."""
    cdef OwnSide* own = &ex.own[1 - side]
    cdef int64_t tick = key ^ -<int64_t>side
    cdef uint32_t handle = own.head
    cdef uint32_t following
    cdef double qty
    cdef double left = _left(ex, side, key)
    cdef int code
    while left > 0.0 and handle != <uint32_t>NIL and (ex.orders[handle].price_tick - tick) * own.sign >= 0:
        following = ex.orders[handle].next_handle
        qty = min(left, ex.orders[handle].leaves_qty)
        code = _take(ex, side, key, qty)
        if code == OK:
            code = fill_resting(ex, handle, now, qty, REASON_BEST_CROSSED)
        if code != OK:
            return code
        left = _left(ex, side, key)
        handle = following
    return OK


cdef int _match(Exchange* ex, int side, int64_t now) noexcept nogil:
    """Fills own orders across from levels that have something left."""
    cdef int64_t mirror = -<int64_t>side
    cdef int64_t key = ex.book.ladders[side].best
    cdef int code
    # Opposite own orders are reached from above by keys: theirs are the mirrored ones.
    while key != INVALID_MIN_TICK and key >= ex.own[1 - side].best_tick ^ mirror:
        code = _fill_across(ex, side, key, now)
        if code != OK:
            return code
        key = ladder_any_below(&ex.book.ladders[side], key)
    return OK


cdef int _changed(Exchange* ex, int side, int64_t key, double prev_qty, double qty, int64_t now) noexcept nogil:
    """What a depth row that has been applied does to own orders, and to what they have taken."""
    cdef int64_t mirror = -<int64_t>side
    cdef double kept = qty if qty >= ex.book.min_qty else 0.0
    cdef int code = OK
    if ex.own[side].count[own_slot(key)]:
        code = level_changed(ex, &ex.own[side], key ^ mirror, prev_qty, qty)
    if code == OK and ex.taken[side].spill_count and kept < prev_qty:
        code = _give_back(ex, side, key, prev_qty - kept)
    return code if code != OK else _match(ex, side, now)


cdef int _on_trade(Exchange* ex, bint sold, int64_t tick, double qty, int64_t now) noexcept nogil:
    # Own orders may stand beyond the opposite best: as if there were none, all of them are looked at.
    if sold:
        if ex.own[0].best_tick >= tick:
            return traded(ex, &ex.own[0], tick, INVALID_MAX_TICK, qty, now)
    elif ex.own[1].best_tick <= tick:
        return traded(ex, &ex.own[1], tick, INVALID_MIN_TICK, qty, now)
    return OK


cdef int liquidity_event(Exchange* ex, const Event* event) noexcept nogil:
    cdef uint64_t kind = event.ev & EV_KIND_MASK
    cdef int side = (event.ev & EV_BUY) == 0
    cdef L2Change change
    cdef int code
    if kind == EVENT_DEPTH or kind == EVENT_DEPTH_SNAPSHOT:
        code = l2_apply(&ex.book, event, &change)
        if code == OK and event.ev & (EV_BUY | EV_SELL):
            return _changed(
                ex, side, change.price_tick ^ -<int64_t>side, change.prev_qty, event.qty, event.exch_ts
            )
        return code
    if kind == EVENT_TRADE and event.ev & (EV_BUY | EV_SELL):
        return _on_trade(ex, side, to_tick(event.px, ex.instrument.tick_size), event.qty, event.exch_ts)
    if kind == EVENT_DEPTH_CLEAR:
        code = l2_apply(&ex.book, event, &change)
        for side in range(2):
            if code == OK:
                code = _forget_gone(ex, side)
            if code == OK:
                code = _match(ex, side, event.exch_ts)
        return code
    return OK


cdef inline int _row(Exchange* ex, const TapeRow* row) noexcept nogil:
    cdef int side = row.code & TAPE_ASK
    cdef int64_t key = row.code >> TAPE_SHIFT
    cdef double prev_qty
    cdef int code
    if row.code & TAPE_OTHER:
        return liquidity_event(ex, tape_event(ex.rows.block, row))
    if row.code & TAPE_TRADE:
        return _on_trade(ex, side, key ^ -<int64_t>side, row.qty, row.ts[VENUE])
    code = _l2_put(&ex.book, side, key, row.qty, (row.code & TAPE_KEEP) != 0, &prev_qty)
    # One branch tells the many that are nothing to us: no own order there, nothing consumed, nothing reached.
    if ladder_rare(
        (code > OK)
        | (ex.own[side].count[own_slot(key)] != 0)
        | (ex.taken[side].spill_count != 0)
        | (ex.book.ladders[side].best >= ex.own[1 - side].best_tick ^ -<int64_t>side)
    ):
        return code if code > OK else _changed(ex, side, key, prev_qty, row.qty, row.ts[VENUE])
    return OK


cdef int liquidity_run(Exchange* ex, int64_t limit, bint stop) noexcept nogil:
    cdef const TapeRow* row
    cdef Fetch fetch
    cdef uint64_t answers = ex.responses.pushed
    cdef int code
    while ex.rows.ts < limit:
        row = ex.rows.row
        # What is needed next comes from memory while this block is worked through.
        fetch = tape_fetch(ex.rows, row)
        # The mark behind a block's last row is later than any limit.
        while row.ts[VENUE] < limit:
            l2_fetch(fetch.place)
            fetch.place += fetch.step
            _l2_fetch(&ex.book, row[TAPE_AHEAD].code & TAPE_ASK, row[TAPE_AHEAD].code >> TAPE_SHIFT)
            if not row.code & TAPE_UNSEEN << VENUE:
                code = _row(ex, row)
                if ladder_rare(code != OK):
                    return code
                if stop and ladder_rare(ex.responses.pushed != answers):
                    # Nothing is before that.
                    limit = INT64_MIN
            row += 1
        cursor_move(ex.rows, row)
    return OK


# --- orders that take ------------------------------------------------------------------------------

cdef bint _enough(const Exchange* ex, int side, int64_t last, double wanted) noexcept nogil:
    """Whether the levels from the best down to the key ``last`` have a quantity left."""
    cdef int64_t key = ex.book.ladders[side].best
    cdef double sum = 0.0
    while key >= last and key != INVALID_MIN_TICK:
        sum += _left(ex, side, key)
        if wanted - sum < ex.book.min_qty:
            return True
        key = ladder_any_below(&ex.book.ladders[side], key)
    return False


cdef int _rest(Exchange* ex, SimOrder* order) noexcept nogil:
    """Rests what is left of an order that has taken all it may; its last execution is still to be answered."""
    cdef int side = order.side != SIDE_BUY
    cdef int code
    queue_new(&ex.queue, order, ladder_get(&ex.book.ladders[side], order.price_tick ^ -<int64_t>side))
    code = own_insert(ex, order)
    if code != ERR_FULL:
        return code
    code = respond(ex, order)
    order.status = STATUS_EXPIRED
    order.reason = REASON_BUSY
    return code


cdef int liquidity_take(Exchange* ex, SimOrder* order, int64_t now) noexcept nogil:
    cdef int side = order.side == SIDE_BUY
    cdef int64_t mirror = -<int64_t>side
    cdef const Ladder* ladder = &ex.book.ladders[side]
    cdef bint market = order.order_type == ORDER_MARKET
    cdef int64_t last = ladder.best - MARKET_REACH if market else order.price_tick ^ mirror
    cdef int64_t key = ladder.best
    cdef bint executed = False
    cdef double qty
    cdef int code
    if market or order.time_in_force != TIF_FOK or _enough(ex, side, last, order.qty):
        while key >= last and key != INVALID_MIN_TICK:
            qty = min(_left(ex, side, key), order.leaves_qty)
            if qty > 0.0:
                # An execution is answered once it is known not to be the last.
                code = respond(ex, order) if executed else OK
                if code == OK:
                    code = _take(ex, side, key, qty)
                if code != OK:
                    return code
                execute(ex, order, now, False, key ^ mirror, qty, REASON_TAKER)
                if order.status == STATUS_FILLED:
                    return OK
                executed = True
            key = ladder_any_below(ladder, key)
        if executed and not market and order.time_in_force == TIF_GTC:
            return _rest(ex, order)
    code = respond(ex, order) if executed else OK
    order.status = STATUS_EXPIRED
    order.reason = REASON_UNFILLED_IOC_FOK
    return code


# --- checks ----------------------------------------------------------------------------------------

cdef int liquidity_check(const Exchange* ex) noexcept nogil:
    """ERR_INVARIANT unless what was taken of each level is in it."""
    cdef const Ladder* taken
    cdef uint64_t i, n
    cdef int side
    for side in range(2):
        taken = &ex.taken[side]
        n = 0
        for i in range(taken.spill_mask + 1):
            if taken.spill[i].qty == 0.0:
                continue
            n += 1
            if not 0.0 < taken.spill[i].qty < ladder_get(&ex.book.ladders[side], taken.spill[i].key) + ex.book.min_qty:
                return ERR_INVARIANT
        if n != taken.spill_count:
            return ERR_INVARIANT
    return OK
