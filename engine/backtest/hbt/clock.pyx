"""Running polled markets in time; see the header of clock.pxd."""

from libc.stdint cimport INT64_MAX, int64_t, uint64_t

from engine.backtest.bus cimport bus_arrival
from engine.backtest.exchange cimport Exchange, exchange_next_ts, exchange_run, exchange_work, venues_run
from engine.backtest.hbt.market cimport Market, market_answers, market_over, market_pay, market_rows
from engine.backtest.hbt.together cimport together_can, together_work
from engine.backtest.tape cimport cursor_horizon
from engine.core.codes cimport OK

# Calls and steps between two looks for an interrupt: some tens of milliseconds.
cdef enum:
    PATIENCE = 1 << 16


cdef inline int64_t _after(int64_t ts) noexcept nogil:
    """The first moment after an instant."""
    return ts + 1 if ts < INT64_MAX else INT64_MAX


cdef int _fail(Clock* clock, int asset, int code) noexcept nogil:
    clock.code = code
    clock.failed = asset
    return -1


cdef inline bint _tired(Clock* clock) noexcept nogil:
    clock.patience -= 1
    if clock.patience > 0:
        return False
    clock.patience = PATIENCE
    return True


cdef bint clock_start(Clock* clock) noexcept nogil:
    cdef int64_t first = INT64_MAX
    cdef int i
    for i in range(clock.n_markets):
        first = min(first, clock.markets[i].rows.ts, exchange_next_ts(&clock.markets[i].venue))
    if first == INT64_MAX:
        return False
    clock.now = first
    clock.started = True
    clock.patience = PATIENCE
    return True


# --- all of an interval ------------------------------------------------------------------------------

cdef int _work_off(Clock* clock, Market* market, int64_t bound, bint pausable) noexcept nogil:
    """Everything of one market strictly before ``bound``."""
    cdef Exchange* venue = &market.venue
    cdef bint together = together_can(market)
    cdef int64_t step, horizon
    cdef int code
    while True:
        horizon = cursor_horizon(venue.rows)
        step = bound if bound <= horizon else horizon + 1
        if venue.rows.ts < step or venue.requests.next_ts < step:
            code = together_work(market, step, bound) if together else exchange_work(venue, step)
            if code != OK:
                return code
        # Together with the venue we have followed it; the rest is what is on its way to us no more.
        if market.rows.ts < step and (step == bound or not together):
            code = market_rows(market, step)
            if code != OK:
                return code
        if step == bound:
            break
        if pausable and _tired(clock):
            return CLOCK_PAUSED
    return market_answers(market, bound) if venue.responses.next_ts < bound else OK


cdef int _work_off_paying(Clock* clock, Market* market, int64_t bound, bint pausable) noexcept nogil:
    """As _work_off, with a stop at each funding payment."""
    cdef int code
    while market.account.funding.next_ts < bound:
        code = _work_off(clock, market, market.account.funding.next_ts + 1, pausable)
        if code != OK:
            return code
        market_pay(market)
    return _work_off(clock, market, bound, pausable)


cdef int _advance(Clock* clock, int64_t until, bint pausable) noexcept nogil:
    cdef int64_t bound = _after(until)
    cdef Market* market
    cdef bint over = True
    cdef int i, code
    for i in range(clock.n_markets):
        market = &clock.markets[i]
        if market.account.funding.next_ts < bound:
            code = _work_off_paying(clock, market, bound, pausable)
        else:
            code = _work_off(clock, market, bound, pausable)
        if code == CLOCK_PAUSED:
            return code
        if code != OK:
            return _fail(clock, i, code)
        # A recording that ended before its time did so for a reason.
        if market.rows.ts == INT64_MAX and market.rows.tape.code != OK:
            return _fail(clock, i, market.rows.tape.code)
        over = over and market_over(market)
    if over:
        return ELAPSE_END
    clock.now = until
    return ELAPSE_OK


cdef int clock_advance(Clock* clock, int64_t until) noexcept nogil:
    return CLOCK_PAUSED if _tired(clock) else _advance(clock, until, True)


# --- up to something ---------------------------------------------------------------------------------

cdef int clock_find_answer(Clock* clock, int asset, uint64_t order_id, int64_t until, int64_t* at) noexcept nogil:
    cdef Market* market = &clock.markets[asset]
    cdef int64_t bound = _after(until)
    cdef int64_t now, step, horizon
    cdef bint due
    cdef int code
    at[0] = until
    while not _tired(clock):
        # In steps, so that our side follows and rows need not be kept for it.
        horizon = cursor_horizon(market.venue.rows)
        step = bound if bound <= horizon else horizon + 1
        # What our side does before a payment it must not do after it.
        due = market.account.funding.next_ts < step
        if due:
            step = market.account.funding.next_ts + 1
        code = exchange_run(&market.venue, step)
        if code != OK:
            return _fail(clock, asset, code)
        now = market.venue.responses.next_ts
        if now < step:
            if bus_arrival(&market.venue.responses, order_id) == now:
                at[0] = now
                return ELAPSE_OK
            # Others' answers make no difference to when this one comes.
            code = market_answers(market, now + 1)
        elif due:
            code = market_rows(market, step)
            if code == OK:
                market_pay(market)
        elif step == bound:
            return ELAPSE_OK
        else:
            code = market_rows(market, step)
        if code != OK:
            return _fail(clock, asset, code)
    return CLOCK_PAUSED


cdef int clock_next_feed(Clock* clock, bint answers, int64_t until) noexcept nogil:
    cdef int64_t bound = _after(until)
    cdef int64_t at = bound
    cdef int result, code, failed
    cdef int i
    if _tired(clock):
        return CLOCK_PAUSED
    for i in range(clock.n_markets):
        at = min(at, clock.markets[i].rows.ts)
        clock.markets[i].fed = clock.markets[i].answered = False
    if answers:
        # No venue runs beyond the first answer; those that cannot answer wait for the interval that is found.
        code = venues_run(&clock.markets[0].venue, sizeof(Market), clock.n_markets, &at, &failed)
        if code != OK:
            return _fail(clock, failed, code)
    if at >= bound:
        return _advance(clock, until, False)
    code = _advance(clock, at, False)
    if code != ELAPSE_OK:
        return code
    # hftbacktest names what it merged last at that instant: assets come in order, and rows before answers.
    result = ELAPSE_OK
    for i in range(clock.n_markets):
        if clock.markets[i].fed:
            result = ELAPSE_FEED
        if answers and clock.markets[i].answered:
            result = ELAPSE_ANSWER
    return result
