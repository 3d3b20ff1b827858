"""Our side of one asset; see the header of market.pxd."""

from libc.math cimport NAN
from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport calloc, free, malloc

from engine.backtest.bus cimport bus_drop, bus_first
from engine.backtest.exchange cimport exchange_check, exchange_free, exchange_send
from engine.backtest.exchange_l3 cimport orders_dates, orders_seen
from engine.backtest.hbt.account cimport account_fill, account_free, account_log, account_pay
from engine.backtest.hbt.table cimport (
    KnownOrder,
    table_add,
    table_check,
    table_find,
    table_free,
)
from engine.backtest.order cimport SimOrder
from engine.backtest.tape cimport (
    LOCAL,
    TAPE_AHEAD,
    TAPE_ASK,
    TAPE_KEEP,
    TAPE_OTHER,
    TAPE_SHIFT,
    TAPE_TRADE,
    TAPE_UNSEEN,
    VENUE,
    Cursor,
    TapeBlock,
    TapeRow,
    cursor_move,
    cursor_place,
    tape_change,
    tape_event,
)
from engine.book.l2 cimport (
    L2Change,
    _l2_fetch,
    _l2_put,
    l2_apply,
    l2_ask_qty,
    l2_bid_qty,
    l2_check,
    l2_free,
)
from engine.book.l3 cimport l3_check_depth
from engine.book.ladder cimport ladder_rare
from engine.book.roll cimport ROLL_NONE, RollChange
from engine.core.codes cimport (
    ERR_NO_MEMORY,
    ERR_ORDER_ID_EXIST,
    ERR_ORDER_NOT_FOUND,
    ERR_REQUEST_IN_PROCESS,
    OK,
)
from engine.core.ticks cimport INVALID_MAX_TICK, INVALID_MIN_TICK, to_px
from engine.core.types cimport (
    EV_KIND_MASK,
    EVENT_TRADE,
    STATUS_CANCELED,
    STATUS_EXPIRED,
    STATUS_FILLED,
    STATUS_NEW,
    STATUS_NONE,
    STATUS_PARTIALLY_FILLED,
    STATUS_REJECTED,
    STATUS_REPLACED,
    Event,
)


cdef void market_free(Market* market) noexcept nogil:
    cdef int i
    l2_free(&market.book)
    exchange_free(&market.venue)
    table_free(&market.orders)
    account_free(&market.account)
    free(market.trades.rows)
    for i in range(market.trades.n_outgrown):
        free(market.trades.outgrown[i])
    free(market.view.qty[0])
    free(market.view.qty[1])


# --- rows --------------------------------------------------------------------------------------------

cdef int _keep_trade(TradeLog* trades, const Event* event, int64_t local_ts) noexcept nogil:
    cdef uint64_t room
    cdef uint64_t i
    cdef Event* rows
    if trades.n == trades.room:
        room = max(2 * trades.room, <uint64_t>64)
        rows = <Event*>malloc(room * sizeof(Event))
        if rows == NULL:
            return ERR_NO_MEMORY
        for i in range(trades.n):
            rows[i] = trades.rows[i]
        if trades.rows != NULL:
            trades.outgrown[trades.n_outgrown] = trades.rows
            trades.n_outgrown += 1
        trades.rows = rows
        trades.room = room
    trades.rows[trades.n] = event[0]
    trades.rows[trades.n].local_ts = local_ts
    trades.n += 1
    return OK


cdef int _keep_if_trade(TradeLog* trades, const Event* event, int64_t local_ts) noexcept nogil:
    return _keep_trade(trades, event, local_ts) if event.ev & EV_KIND_MASK == EVENT_TRADE else OK


cdef inline int _other_row(Market* market, const TapeBlock* block, const TapeRow* row) noexcept nogil:
    """A row that sets no single level: a trade, a clear, or nothing to us."""
    cdef const Event* event = tape_event(block, row)
    cdef L2Change change
    cdef int code
    if event.ev & EV_KIND_MASK == EVENT_TRADE:
        return _keep_trade(&market.trades, event, row.ts[LOCAL]) if market.trades.kept else OK
    code = l2_apply(&market.book, event, &change)
    if code == OK and market.view.qty[0] != NULL:
        _read_view(market)
    return code


cdef inline void _note_feed(Market* market, const TapeBlock* block, const TapeRow* row) noexcept nogil:
    """Remembers the times of the last row before ``row`` that we saw; only the first of a block has none."""
    while row != block.packed:
        row -= 1
        if not row.code & (TAPE_UNSEEN << LOCAL):
            # Of a row that the venue sees the event need not be looked at, which may be in no near cache.
            market.feed_exch_ts = row.ts[VENUE]
            if row.code & (TAPE_UNSEEN << VENUE):
                market.feed_exch_ts = tape_event(block, row).exch_ts
            market.feed_local_ts = row.ts[LOCAL]
            market.fed = market.has_feed = True
            return


# `viewed` is a constant where it is called, so what it asks for costs nothing where it is not wanted.
cdef inline int _rows_by_price(Market* market, int64_t bound, bint viewed) noexcept nogil:
    """Also keeps the quantity arrays if ``viewed``."""
    cdef const TapeRow* row
    cdef double prev_qty
    cdef int64_t tick
    cdef int ask, code
    cdef bint keep
    while market.rows.ts < bound:
        row = market.rows.row
        while row.ts[LOCAL] < bound:
            _l2_fetch(&market.book, row[TAPE_AHEAD].code & TAPE_ASK, row[TAPE_AHEAD].code >> TAPE_SHIFT)
            if not row.code & (TAPE_TRADE | TAPE_OTHER | TAPE_UNSEEN << LOCAL):
                ask = row.code & TAPE_ASK
                keep = (row.code & TAPE_KEEP) != 0
                code = _l2_put(&market.book, ask, row.code >> TAPE_SHIFT, row.qty, keep, &prev_qty)
                if ladder_rare(code > OK):
                    return code
                if viewed:
                    tick = (row.code >> TAPE_SHIFT) ^ -<int64_t>ask
                    if market.view.first <= tick <= market.view.last:
                        market.view.qty[ask][tick - market.view.first] = row.qty if keep else 0.0
            elif not row.code & (TAPE_UNSEEN << LOCAL):
                code = _other_row(market, market.rows.block, row)
                if code != OK:
                    return code
            row += 1
        _note_feed(market, market.rows.block, row)
        cursor_move(market.rows, row)
    return OK


cdef inline int _packed(Market* market, const TapeRow* row) noexcept nogil:
    cdef double prev_qty
    cdef int code
    if not row.code & (TAPE_TRADE | TAPE_OTHER | TAPE_UNSEEN << LOCAL):
        code = _l2_put(
            &market.book, row.code & TAPE_ASK, row.code >> TAPE_SHIFT, row.qty, (row.code & TAPE_KEEP) != 0, &prev_qty
        )
        return code if code > OK else OK
    return OK if row.code & (TAPE_UNSEEN << LOCAL) else _other_row(market, market.rows.block, row)


cdef int market_packed(Market* market, const TapeRow* row) noexcept nogil:
    return _packed(market, row)


cdef void market_noted(Market* market, const TapeRow* row) noexcept nogil:
    _note_feed(market, market.rows.block, row)


cdef int market_follow(Market* market, int64_t bound) noexcept nogil:
    cdef const Cursor* lead = market.venue.rows
    cdef const TapeRow* row
    cdef const TapeRow* stop
    cdef int code
    while market.rows.ts < bound and cursor_place(market.rows) < cursor_place(lead):
        row = market.rows.row
        stop = lead.row if market.rows.block == lead.block else NULL
        while row.ts[LOCAL] < bound and row != stop:
            code = _packed(market, row)
            if ladder_rare(code != OK):
                return code
            row += 1
        _note_feed(market, market.rows.block, row)
        cursor_move(market.rows, row)
    return OK


cdef int _rows_by_order(Market* market, int64_t bound) noexcept nogil:
    cdef const TapeRow* row
    cdef const TapeRow* last
    cdef const RollChange* change
    cdef int code
    while market.rows.ts < bound:
        row = market.rows.row
        last = NULL
        while row.ts[LOCAL] < bound:
            if not row.code & (TAPE_UNSEEN << LOCAL):
                change = tape_change(market.rows.block, row, LOCAL)
                code = orders_seen(&market.book, change, row.qty)
                if orders_dates(change):
                    last = row
                elif market.trades.kept and change.op == ROLL_NONE:
                    code = _keep_if_trade(&market.trades, tape_event(market.rows.block, row), row.ts[LOCAL])
                if ladder_rare(code != OK):
                    market.fault = tape_event(market.rows.block, row)
                    return code
            row += 1
        if last != NULL:
            market.book.ts = tape_event(market.rows.block, last).exch_ts
        _note_feed(market, market.rows.block, row)
        cursor_move(market.rows, row)
    if market.view.qty[0] != NULL:
        _read_view(market)
    return OK


cdef int market_rows(Market* market, int64_t bound) noexcept nogil:
    if market.venue.by_order:
        return _rows_by_order(market, bound)
    if market.view.qty[0] != NULL:
        return _rows_by_price(market, bound, True)
    return _rows_by_price(market, bound, False)


cdef void _read_view(Market* market) noexcept nogil:
    cdef int64_t tick
    for tick in range(market.view.first, market.view.last + 1):
        market.view.qty[0][tick - market.view.first] = l2_bid_qty(&market.book, tick)
        market.view.qty[1][tick - market.view.first] = l2_ask_qty(&market.book, tick)


cdef int market_view(Market* market) noexcept nogil:
    cdef size_t n = market.view.last - market.view.first + 1
    if market.view.qty[0] != NULL:
        return OK
    market.view.qty[1] = <double*>calloc(n, sizeof(double))
    if market.view.qty[1] == NULL:
        return ERR_NO_MEMORY
    market.view.qty[0] = <double*>calloc(n, sizeof(double))
    if market.view.qty[0] == NULL:
        free(market.view.qty[1])
        return ERR_NO_MEMORY
    _read_view(market)
    return OK


# --- answers -----------------------------------------------------------------------------------------

cdef inline bint _counts(const Market* market, const SimOrder* answer) noexcept nogil:
    """Whether an answer tells of an execution."""
    if market.venue.faithful:
        # hftbacktest looks at nothing else, so a refused cancel of a filled order counts its fill again.
        return answer.status == STATUS_FILLED
    return answer.req != STATUS_REJECTED and (
        answer.status == STATUS_FILLED or answer.status == STATUS_PARTIALLY_FILLED
    )


cdef inline void _refused(Market* market, KnownOrder* known, const SimOrder* answer) noexcept nogil:
    """A request was refused; an answer to an older one says nothing any more."""
    if answer.local_ts != known.order.local_ts:
        return
    if known.order.req == STATUS_NEW:
        known.order.status = STATUS_EXPIRED
    elif known.order.req == STATUS_REPLACED and not market.venue.faithful:
        known.order.price_tick = known.prev_tick
        known.order.qty = known.prev_qty
    known.order.req = STATUS_NONE


cdef inline void _update(KnownOrder* known, const SimOrder* answer) noexcept nogil:
    cdef int64_t sent = known.order.local_ts
    cdef int64_t touched = known.order.exch_ts
    cdef unsigned int next_handle = known.order.next_handle
    cdef unsigned int prev_handle = known.order.prev_handle
    known.order = answer[0]
    known.order.next_handle = next_handle
    known.order.prev_handle = prev_handle
    known.order.local_ts = sent
    if answer.exch_ts <= 0:
        known.order.exch_ts = touched


cdef int _receive(Market* market, const SimOrder* answer, int64_t now) noexcept nogil:
    cdef KnownOrder* known = table_find(&market.orders, answer.order_id)
    cdef int code = account_log(&market.account, answer, True, now)
    if code != OK:
        return code
    market.answered = True
    # Refused on the way, an order has no time at the venue.
    if answer.exch_ts > 0:
        market.has_order = True
        market.order_req_ts = answer.local_ts
        market.order_exch_ts = answer.exch_ts
        market.order_resp_ts = now
    if _counts(market, answer):
        code = account_fill(&market.account, &market.venue.instrument, answer, now)
    if known == NULL:
        if answer.req != STATUS_REJECTED and table_add(&market.orders, answer) == NULL:
            code = ERR_NO_MEMORY
    elif answer.req == STATUS_REJECTED:
        _refused(market, known, answer)
    else:
        _update(known, answer)
    return code


cdef int market_answers(Market* market, int64_t bound) noexcept nogil:
    cdef int64_t now
    cdef int code
    while market.venue.responses.next_ts < bound:
        now = market.venue.responses.next_ts
        code = _receive(market, bus_first(&market.venue.responses), now)
        bus_drop(&market.venue.responses)
        if code != OK:
            return code
    return OK


cdef void market_pay(Market* market) noexcept nogil:
    cdef double mid = NAN
    if market.book.best_bid_tick != INVALID_MIN_TICK and market.book.best_ask_tick != INVALID_MAX_TICK:
        mid = (
            to_px(market.book.best_bid_tick, market.book.tick_size)
            + to_px(market.book.best_ask_tick, market.book.tick_size)
        ) / 2.0
    account_pay(&market.account, &market.venue.instrument, mid, not market_over(market))


# --- requests ----------------------------------------------------------------------------------------

cdef int _send(Market* market, const SimOrder* request, int64_t now) noexcept nogil:
    cdef int code = account_log(&market.account, request, False, now)
    return code if code != OK else exchange_send(&market.venue, request, now)


cdef int market_submit(Market* market, const SimOrder* order, int64_t now) noexcept nogil:
    cdef KnownOrder* known
    if table_find(&market.orders, order.order_id) != NULL:
        return ERR_ORDER_ID_EXIST
    known = table_add(&market.orders, order)
    if known == NULL:
        return ERR_NO_MEMORY
    known.order.req = STATUS_NEW
    known.order.local_ts = now
    return _send(market, &known.order, now)


cdef int market_cancel(Market* market, uint64_t order_id, int64_t now) noexcept nogil:
    cdef KnownOrder* known = table_find(&market.orders, order_id)
    if known == NULL:
        return ERR_ORDER_NOT_FOUND
    if known.order.req != STATUS_NONE:
        return ERR_REQUEST_IN_PROCESS
    known.order.req = STATUS_CANCELED
    known.order.local_ts = now
    return _send(market, &known.order, now)


cdef int market_modify(Market* market, uint64_t order_id, int64_t tick, double qty, int64_t now) noexcept nogil:
    cdef KnownOrder* known = table_find(&market.orders, order_id)
    if known == NULL:
        return ERR_ORDER_NOT_FOUND
    if known.order.req != STATUS_NONE:
        return ERR_REQUEST_IN_PROCESS
    known.prev_tick = known.order.price_tick
    known.prev_qty = known.order.qty
    known.order.price_tick = tick
    known.order.qty = qty
    known.order.req = STATUS_REPLACED
    known.order.local_ts = now
    return _send(market, &known.order, now)


cdef int market_check(const Market* market) noexcept nogil:
    """ERR_INVARIANT unless venue, book and orders are consistent."""
    cdef int code = exchange_check(&market.venue)
    if code == OK:
        code = l3_check_depth(&market.book) if market.venue.by_order else l2_check(&market.book)
    return code if code != OK else table_check(&market.orders)
