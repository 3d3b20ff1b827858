"""The checks an order passes before it may leave: a few compares on integers, nothing looked up.

Whoever calls has the numbers at hand (position, open quantity on the order's side, number of live
orders); the check returns the reason of a denial, or REASON_NONE. The order of the checks is fixed, so
the same order is always denied for the same reason: trading state, quantity, position, notional,
number of open orders.
"""

from libc.math cimport INFINITY
from libc.stdint cimport INT64_MAX, UINT32_MAX, int64_t, uint8_t, uint32_t

from engine.core.types cimport (
    REASON_MAX_NOTIONAL,
    REASON_MAX_OPEN_ORDERS,
    REASON_MAX_ORDER_QTY,
    REASON_MAX_POSITION,
    REASON_NONE,
    REASON_REDUCE_ONLY,
    REASON_TRADING_HALTED,
    TRADING_HALTED,
    TRADING_REDUCING,
    Instrument,
)


cdef struct LimitSet:
    int64_t max_order_qty        # lots
    int64_t max_position         # lots, on either side, with everything open on that side filled
    double max_notional          # value of one order
    uint32_t max_open_orders     # live orders, requests in flight included


# What an order would do. For a modify, `added` is what it adds to the open quantity and `new_orders` is 0.
cdef struct Intent:
    int64_t qty                  # lots of the order
    int64_t added                # lots it adds to the open quantity on its side; may be negative
    int64_t position             # lots held
    int64_t open_side            # lots open on its side already
    double notional
    uint32_t open_orders
    uint32_t new_orders
    int side


cdef inline void limits_none(LimitSet* limits) noexcept nogil:
    limits.max_order_qty = INT64_MAX
    limits.max_position = INT64_MAX
    limits.max_notional = INFINITY
    limits.max_open_orders = UINT32_MAX


cdef inline bint pretrade_reduces(const Intent* intent) noexcept nogil:
    """Whether the order cannot leave more than the present position, nor turn it round."""
    if intent.side > 0:
        return intent.position < 0 and intent.open_side + intent.added <= -intent.position
    return intent.position > 0 and intent.open_side + intent.added <= intent.position


cdef inline uint8_t pretrade_check(
    const LimitSet* limits, const Intent* intent, uint8_t trading_state
) noexcept nogil:
    cdef int64_t worst
    if trading_state == TRADING_HALTED:
        return REASON_TRADING_HALTED
    if trading_state == TRADING_REDUCING and not pretrade_reduces(intent):
        return REASON_REDUCE_ONLY
    if intent.qty > limits.max_order_qty:
        return REASON_MAX_ORDER_QTY
    worst = intent.open_side + intent.added
    worst += intent.position if intent.side > 0 else -intent.position
    if intent.added > 0 and worst > limits.max_position:
        return REASON_MAX_POSITION
    if intent.notional > limits.max_notional:
        return REASON_MAX_NOTIONAL
    if intent.new_orders > 0 and intent.open_orders >= limits.max_open_orders:
        return REASON_MAX_OPEN_ORDERS
    return REASON_NONE


cdef int limits_from(LimitSet* limits, object source, const Instrument* inst) except -1
