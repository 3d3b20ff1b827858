"""Which forms of orders there are, and when an order that is not plain may come; see admission.pxd."""

from libc.stdint cimport uint32_t, uint64_t

from engine.core.codes cimport ERR_EXPIRED, ERR_PHASE, ERR_PRICE_BAND, ERR_REDUCE_ONLY, OK
from engine.core.types cimport ORDER_LIMIT, ORDER_MARKET, TIF_FOK, TIF_GTC, TIF_GTX, TIF_IOC
from engine.matching.admission cimport px_in_bands
from engine.matching.book cimport Matcher
from engine.matching.orders cimport BIT_POST_ONLY, BIT_REDUCE_ONLY, BIT_SLIDE, BITS_FLAGS
from engine.matching.records cimport (
    ORDER_STOP,
    ORDER_STOP_LIMIT,
    PHASE_AUCTION,
    STP_DECREMENT,
    TIF_DAY,
    TIF_GTD,
    MatchCommand,
)
from engine.matching.trading cimport take_room


cdef bint form_is_known(const MatchCommand* c) noexcept nogil:
    cdef uint32_t taking = (1 << TIF_IOC) | (1 << TIF_FOK)
    cdef uint32_t staying = (1 << TIF_GTC) | (1 << TIF_DAY) | (1 << TIF_GTD)
    cdef uint32_t lives = staying
    if c.order_type > ORDER_STOP_LIMIT or c.time_in_force > TIF_GTD or c.flags & ~BITS_FLAGS:
        return False
    if c.order_type == ORDER_LIMIT:
        lives |= taking | (1 << TIF_GTX)
    elif c.order_type == ORDER_MARKET:
        lives = taking
    if not (lives >> c.time_in_force) & 1 or c.self_trade > STP_DECREMENT:
        return False
    if c.flags & (BIT_POST_ONLY | BIT_SLIDE):
        if c.order_type == ORDER_MARKET or c.order_type == ORDER_STOP or (taking >> c.time_in_force) & 1:
            return False
    return not c.flags & BIT_REDUCE_ONLY or c.order_type <= ORDER_MARKET


cdef int check_state(const Matcher* m, const MatchCommand* c) noexcept nogil:
    cdef bint stops = c.order_type >= ORDER_STOP
    cdef bint priced = c.order_type == ORDER_LIMIT or c.order_type == ORDER_STOP_LIMIT
    cdef uint64_t room
    if m.phase == PHASE_AUCTION and not stops:
        if c.order_type == ORDER_MARKET or c.flags:
            return ERR_PHASE
        if c.time_in_force == TIF_IOC or c.time_in_force == TIF_FOK or c.time_in_force == TIF_GTX:
            return ERR_PHASE
    elif m.phase > PHASE_AUCTION:
        return ERR_PHASE
    if (priced and not px_in_bands(m, c.px)) or (stops and not px_in_bands(m, c.stop_px)):
        return ERR_PRICE_BAND
    if c.time_in_force == TIF_GTD and c.expire_ts <= c.ts:
        return ERR_EXPIRED
    if c.flags & BIT_REDUCE_ONLY:
        room = take_room(m, c.owner, c.side < 0)
        if room == 0 or (c.time_in_force == TIF_FOK and <uint64_t>c.qty > room):
            return ERR_REDUCE_ONLY
    return OK
