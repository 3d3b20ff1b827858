"""What is wrong with a command, apart from what depends on the book's prices.

Cost: a plain limit order takes a dozen comparisons that hardly ever fail; forms that are not plain are judged out
of line. Nothing here changes anything.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from engine.core.codes cimport (
    ERR_BAD_QTY,
    ERR_BAD_TICK,
    ERR_FULL,
    ERR_INVALID_REQUEST,
    ERR_ORDER_ID_EXIST,
    ERR_PRICE_BAND,
    OK,
)
from engine.core.types cimport ORDER_LIMIT, TIF_GTX
from engine.matching.book cimport MATCH_PX_LIMIT, MATCH_QTY_LIMIT, Matcher
from engine.matching.orders cimport BIT_POST_ONLY, BIT_SLIDE, SHIFT_LIFE, match_rare, order_find
from engine.matching.records cimport ORDER_STOP, ORDER_STOP_LIMIT, PHASE_CONTINUOUS, MatchCommand


cdef enum:
    MOST_SLICES = 1000           # of an iceberg


cdef inline bint px_fits(int64_t px) noexcept nogil:
    return -<int64_t>MATCH_PX_LIMIT <= px <= MATCH_PX_LIMIT


cdef inline bint qty_fits(int64_t qty) noexcept nogil:
    return <uint64_t>qty - 1 < <uint64_t>MATCH_QTY_LIMIT


cdef inline bint px_in_bands(const Matcher* m, int64_t px) noexcept nogil:
    return m.band_low <= px <= m.band_high


cdef inline bint is_post_only(uint32_t bits) noexcept nogil:
    return bits & (BIT_POST_ONLY | BIT_SLIDE) != 0 or (bits >> SHIFT_LIFE) & 7 == TIF_GTX


# Type, life, flags and policy, known and allowed together.
cdef bint form_is_known(const MatchCommand* c) noexcept nogil
# What only orders that are not plain limit orders need, after the id: the phase, bands, expiry, reduce-only.
cdef int check_state(const Matcher* m, const MatchCommand* c) noexcept nogil


# Everything but what depends on the book's prices, in the order of the rules.
cdef inline int check_add(const Matcher* m, const MatchCommand* c) noexcept nogil:
    cdef bint plain = (c.order_type | c.time_in_force | c.flags | c.self_trade | c.display_qty) == 0
    cdef bint priced = plain or c.order_type == ORDER_LIMIT or c.order_type == ORDER_STOP_LIMIT
    cdef int code
    if match_rare(c.owner - 1 >= m.config.max_owners or c.order_id == 0 or c.side * c.side != 1):
        return ERR_INVALID_REQUEST
    if not plain and not form_is_known(c):
        return ERR_INVALID_REQUEST
    if match_rare(not qty_fits(c.qty)):
        return ERR_BAD_QTY
    if not plain and c.display_qty:
        if c.display_qty > c.qty or not priced or c.qty > <int64_t>MOST_SLICES * c.display_qty:
            return ERR_BAD_QTY
    if match_rare(priced and not px_fits(c.px)):
        return ERR_BAD_TICK
    if not plain and c.order_type >= ORDER_STOP and not px_fits(c.stop_px):
        return ERR_BAD_TICK
    if match_rare(order_find(&m.orders, c.order_id) != 0):
        return ERR_ORDER_ID_EXIST
    if not plain or m.phase != PHASE_CONTINUOUS:
        code = check_state(m, c)
        if code != OK:
            return code
    elif match_rare(not px_in_bands(m, c.px)):
        return ERR_PRICE_BAND
    return ERR_FULL if match_rare(m.orders.used == m.orders.capacity) else OK
