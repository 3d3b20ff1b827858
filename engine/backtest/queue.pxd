"""Where a resting order stands in its queue, estimated from market-by-price data.

``order.queue_ahead`` is the quantity estimated in front, ``order.queue_traded`` what has traded at the
level since its last depth change (so that the change a trade causes is not counted twice). Formulas and
rounding are hftbacktest's. A depth change costs at most two calls of pow or log, a trade two subtractions.
"""

from libc.math cimport isinf, log, pow
from libc.math cimport round as c_round

from engine.backtest.custom cimport (
    CustomQueue,
    custom_depth,
    custom_filled,
    custom_rest,
    custom_trade,
)
from engine.backtest.order cimport SimOrder


cdef enum QueueKind:
    QUEUE_RISK_ADVERSE = 0
    QUEUE_POWER_PROB = 1
    QUEUE_POWER_PROB2 = 2
    QUEUE_POWER_PROB3 = 3
    QUEUE_LOG_PROB = 4
    QUEUE_LOG_PROB2 = 5
    QUEUE_L3_FIFO = 6            # known, not estimated: exchange_l3.pxd
    QUEUE_CUSTOM = 7


cdef struct QueueModel:
    int kind
    double n                     # exponent of the power models
    double lot_size
    CustomQueue custom           # when it is the kind


cdef inline double _smaller(double a, double b) noexcept nogil:
    # As fmin: a NaN (from a power of a negative quantity behind) gives way to the other.
    return a if (a <= b or b != b) else b


cdef inline double queue_probability(const QueueModel* model, double front, double back) noexcept nogil:
    """The probability that a decrease of the level happened behind the order."""
    cdef double f
    if model.kind == QUEUE_POWER_PROB:
        f = pow(back, model.n)
        return f / (f + pow(front, model.n))
    if model.kind == QUEUE_POWER_PROB2:
        return pow(back, model.n) / pow(back + front, model.n)
    if model.kind == QUEUE_LOG_PROB:
        f = log(1.0 + back)
        return f / (f + log(1.0 + front))
    if model.kind == QUEUE_LOG_PROB2:
        return log(1.0 + back) / log(1.0 + (back + front))
    return 1.0 - pow(front / (front + back), model.n)


cdef inline void queue_new(const QueueModel* model, SimOrder* order, double level_qty) noexcept nogil:
    """Puts an accepted order behind everything at its level."""
    if model.kind == QUEUE_CUSTOM:
        custom_rest(&model.custom, order, level_qty)
        return
    order.queue_ahead = level_qty
    order.queue_traded = 0.0


cdef inline void queue_trade(const QueueModel* model, SimOrder* order, double qty) noexcept nogil:
    """A trade printed at the order's price."""
    if model.kind == QUEUE_CUSTOM:
        custom_trade(&model.custom, order, qty)
        return
    order.queue_ahead -= qty
    order.queue_traded += qty


cdef inline void queue_depth(
    const QueueModel* model, SimOrder* order, double prev_qty, double new_qty
) noexcept nogil:
    """The order's level changed from ``prev_qty`` to ``new_qty``."""
    cdef double change, front, back, prob, behind
    if model.kind == QUEUE_CUSTOM:
        custom_depth(&model.custom, order, prev_qty, new_qty)
        return
    if model.kind == QUEUE_RISK_ADVERSE:
        order.queue_ahead = _smaller(order.queue_ahead, new_qty)
        return
    change = prev_qty - new_qty - order.queue_traded
    order.queue_traded = 0.0
    if change < 0.0:
        order.queue_ahead = _smaller(order.queue_ahead, new_qty)
        return
    front = order.queue_ahead
    back = prev_qty - front
    prob = queue_probability(model, front, back)
    if isinf(prob):
        prob = 1.0
    behind = _smaller(back - prob * change, 0.0)
    order.queue_ahead = _smaller(front - (1.0 - prob) * change + behind, new_qty)


cdef inline double queue_filled(const QueueModel* model, SimOrder* order) noexcept nogil:
    """What trades have eaten beyond everything in front, in whole lots; what it returns it has taken."""
    cdef double lots
    if model.kind == QUEUE_CUSTOM:
        return custom_filled(&model.custom, order)
    lots = c_round(-order.queue_ahead / model.lot_size)
    if not lots > 0.0:
        return 0.0
    order.queue_ahead = 0.0
    return lots * model.lot_size


cdef QueueModel queue_from_config(object asset)
