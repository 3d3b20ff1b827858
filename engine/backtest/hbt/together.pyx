"""Both sides in one loop; see the header of together.pxd."""

from libc.stdint cimport int64_t, uint64_t

from engine.backtest.exchange cimport Exchange, exchange_packed, exchange_requests, exchange_rows, own_slot
from engine.backtest.hbt.market cimport Market, market_follow, market_noted, market_packed
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
    Fetch,
    TapeRow,
    cursor_horizon,
    cursor_move,
    tape_fetch,
)
from engine.book.l2 cimport l2_fetch
from engine.book.ladder cimport ladder_rare
from engine.book.pair cimport LadderPair, pair_fetch, pair_init, pair_look, pair_plain, pair_put
from engine.core.codes cimport OK


cdef enum:
    NOT_BY_BOTH = TAPE_UNSEEN << VENUE | TAPE_UNSEEN << LOCAL
    NO_LEVEL = TAPE_TRADE | TAPE_OTHER | NOT_BY_BOTH


cdef int _apart(Market* market, const TapeRow* row, LadderPair* pairs) noexcept nogil:
    """Shows a row to each side by itself."""
    cdef LadderPair* pair = &pairs[row.code & TAPE_ASK]
    cdef int64_t near = pair.near
    cdef uint64_t span = pair.span[0]
    cdef int code = exchange_packed(&market.venue, row)
    if code == OK:
        code = market_packed(market, row)
    if not row.code & TAPE_TRADE:
        pair_look(pair)
        # What moves no best leaves the other side as it was.
        if row.code & TAPE_OTHER or pair.near != near or pair.span[0] != span:
            pair_look(&pairs[1 - (row.code & TAPE_ASK)])
    return code


cdef int _together(Market* market, int64_t limit, int64_t bound) noexcept nogil:
    """From the row where both are, those rows of its block that both see, the venue before ``limit``, we before ``bound``.

    There is at least one.
    """
    cdef Exchange* venue = &market.venue
    cdef const TapeRow* row = venue.rows.row
    cdef Fetch fetch = tape_fetch(venue.rows, row)
    cdef LadderPair pairs[2]
    cdef LadderPair* pair
    cdef int64_t key, ahead, what
    cdef int ask, code
    cdef bint keep
    for ask in range(2):
        pair_init(&pairs[ask], &venue.book.ladders[ask], &market.book.ladders[ask])
    # The mark behind a block's last row is later than any limit.
    while row.ts[VENUE] < limit and row.ts[LOCAL] < bound:
        l2_fetch(fetch.place)
        fetch.place += fetch.step
        ahead = row[TAPE_AHEAD].code
        pair_fetch(&pairs[ahead & TAPE_ASK], ahead >> TAPE_SHIFT)
        what = row.code
        ask = what & TAPE_ASK
        key = what >> TAPE_SHIFT
        keep = (what & TAPE_KEEP) != 0
        pair = &pairs[ask]
        if ladder_rare(
            (not pair_plain(pair, key, keep))
            | ((what & NO_LEVEL) != 0)
            | (venue.own[ask].count[own_slot(key)] != 0)
        ):
            if what & NOT_BY_BOTH:
                break
            code = _apart(market, row, pairs)
            if code != OK:
                return code
        else:
            pair_put(pair, key, row.qty, keep)
        row += 1
    market_noted(market, row)
    cursor_move(venue.rows, row)
    cursor_move(market.rows, row)
    return OK


cdef int _rows(Market* market, int64_t limit, int64_t bound) noexcept nogil:
    """All rows that the venue sees strictly before ``limit``."""
    cdef Exchange* venue = &market.venue
    cdef int64_t horizon
    cdef int code
    while venue.rows.ts < limit:
        code = market_follow(market, bound)
        if code == OK:
            if market.rows.row == venue.rows.row and market.rows.ts < bound:
                code = _together(market, limit, bound)
            else:
                horizon = cursor_horizon(venue.rows)
                code = exchange_rows(venue, limit if limit <= horizon else horizon + 1)
        if code != OK:
            return code
    return OK


cdef int together_work(Market* market, int64_t step, int64_t bound) noexcept nogil:
    cdef Exchange* venue = &market.venue
    cdef int code
    while venue.requests.next_ts < step:
        code = _rows(market, venue.requests.next_ts + 1, bound)
        if code == OK:
            code = exchange_requests(venue, venue.requests.next_ts)
        if code != OK:
            return code
    return _rows(market, step, bound)
