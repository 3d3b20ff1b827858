"""What a fill costs, in the asset's currency. A call costs one branch on the model's kind."""

from libc.stdint cimport int8_t

from engine.core.types cimport SIDE_BUY


cdef enum FeeKind:
    FEE_TRADING_VALUE = 0
    FEE_TRADING_QTY = 1
    FEE_FLAT_PER_TRADE = 2


cdef struct FeeModel:
    int kind
    double maker
    double taker
    double buyer                 # on top, of the value
    double seller


cdef inline double fee_amount(
    const FeeModel* model, bint is_maker, int8_t side, double qty, double value
) noexcept nogil:
    """The fee of a fill of ``qty`` worth ``value``; negative is a rebate. Rounded as hftbacktest does."""
    cdef double rate = model.maker if is_maker else model.taker
    cdef double duty = model.buyer if side == SIDE_BUY else model.seller
    if model.kind == FEE_TRADING_VALUE:
        return (rate + duty) * value
    if model.kind == FEE_TRADING_QTY:
        rate *= qty
    return rate + duty * value


cdef FeeModel fees_from_config(object asset)
