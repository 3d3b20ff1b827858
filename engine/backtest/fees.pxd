"""What a fill costs, in the asset's currency. A call costs one branch on the model's kind."""

from engine.backtest.custom cimport CustomFee, custom_fee
from engine.backtest.order cimport SimOrder
from engine.core.types cimport SIDE_BUY


cdef enum FeeKind:
    FEE_TRADING_VALUE = 0
    FEE_TRADING_QTY = 1
    FEE_FLAT_PER_TRADE = 2
    FEE_CUSTOM = 3


cdef struct FeeModel:
    int kind
    double maker
    double taker
    double buyer                 # on top, of the value
    double seller
    CustomFee custom             # when it is the kind


cdef inline double fee_amount(const FeeModel* model, const SimOrder* order, double value) noexcept nogil:
    """The fee of an order's last execution, worth ``value``; negative is a rebate. Rounded as hftbacktest does."""
    cdef double rate = model.maker if order.is_maker else model.taker
    cdef double duty = model.buyer if order.side == SIDE_BUY else model.seller
    if model.kind == FEE_TRADING_VALUE:
        return (rate + duty) * value
    if model.kind == FEE_CUSTOM:
        return custom_fee(&model.custom, order, value)
    if model.kind == FEE_TRADING_QTY:
        rate *= order.exec_qty
    return rate + duty * value


cdef FeeModel fees_from_config(object asset)
