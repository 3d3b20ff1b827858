"""Latches: what the kill switch and the breakers set, and only an explicit re-arm takes away.

One struct a scope (a strategy, an instrument, the whole engine). A latch remembers each cause on its own,
with the time, the limit and the value that tripped it, so that re-arming one leaves the others; what the
scope lets through is the strictest of them. Setting, clearing and asking are a handful of byte operations.
"""

from libc.stdint cimport int64_t, uint8_t

from engine.core.types cimport (
    REASON_KILL_SWITCH,
    REASON_MAX_DAILY_LOSS,
    REASON_MAX_DRAWDOWN,
    REASON_NONE,
    REASON_REJECT_RATE_BREAKER,
    REASON_REPEAT_EXECUTION_THROTTLE,
    TRADING_ACTIVE,
)


cdef enum LatchCause:
    LATCH_KILL = 0
    LATCH_DAILY_LOSS = 1
    LATCH_DRAWDOWN = 2
    LATCH_REJECTS = 3
    LATCH_REPEATS = 4
    LATCH_CAUSES = 5             # how many there are


cdef struct Latch:
    int64_t ts[LATCH_CAUSES]     # engine time at which each was set
    double limit[LATCH_CAUSES]   # what tripped it
    double actual[LATCH_CAUSES]
    uint8_t states[LATCH_CAUSES] # TradingStateCode that each puts the scope into; ACTIVE: not set
    uint8_t state                # the strictest of them


cdef inline uint8_t latch_reason(int cause) noexcept nogil:
    """The reason of a denial by a latch of this cause."""
    if cause == LATCH_KILL:
        return REASON_KILL_SWITCH
    if cause == LATCH_DAILY_LOSS:
        return REASON_MAX_DAILY_LOSS
    if cause == LATCH_DRAWDOWN:
        return REASON_MAX_DRAWDOWN
    if cause == LATCH_REJECTS:
        return REASON_REJECT_RATE_BREAKER
    return REASON_REPEAT_EXECUTION_THROTTLE if cause == LATCH_REPEATS else REASON_NONE


cdef inline void _latch_settle(Latch* latch) noexcept nogil:
    cdef int cause
    latch.state = TRADING_ACTIVE
    for cause in range(LATCH_CAUSES):
        if latch.states[cause] > latch.state:
            latch.state = latch.states[cause]


cdef inline bint latch_set(
    Latch* latch, int cause, uint8_t state, int64_t now, double limit, double actual
) noexcept nogil:
    """Sets one cause; false where it was set already: the first time and value are kept."""
    if latch.states[cause] >= state:
        return False
    latch.states[cause] = state
    latch.ts[cause] = now
    latch.limit[cause] = limit
    latch.actual[cause] = actual
    _latch_settle(latch)
    return True


cdef inline bint latch_clear(Latch* latch, int cause) noexcept nogil:
    """Takes one cause away; false where it was not set."""
    if latch.states[cause] == TRADING_ACTIVE:
        return False
    latch.states[cause] = TRADING_ACTIVE
    latch.ts[cause] = 0
    latch.limit[cause] = 0.0
    latch.actual[cause] = 0.0
    _latch_settle(latch)
    return True


cdef inline int latch_cause(const Latch* latch) noexcept nogil:
    """The first cause of the state that the scope is in; -1 without one."""
    cdef int cause
    if latch.state != TRADING_ACTIVE:
        for cause in range(LATCH_CAUSES):
            if latch.states[cause] == latch.state:
                return cause
    return -1
