"""What a fill costs. A call costs one branch on the model's kind."""


cdef enum FeeKind:
    FEE_TRADING_VALUE = 0


cdef struct FeeModel:
    int kind
    double maker
    double taker


cdef inline double fee_amount(const FeeModel* model, bint is_maker, double amount) noexcept nogil:
    """The fee of a fill of value ``amount``; negative is a rebate."""
    return (model.maker if is_maker else model.taker) * amount


cdef FeeModel fees_from_config(object asset)
