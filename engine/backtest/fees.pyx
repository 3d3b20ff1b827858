"""Fee models by name."""

from libc.string cimport memset

from engine.backtest.order cimport SimOrder

from engine.core.errors import ConfigError

cdef dict _KINDS = {
    "trading_value_fee_model": FEE_TRADING_VALUE,
    "trading_qty_fee_model": FEE_TRADING_QTY,
    "flat_per_trade_fee_model": FEE_FLAT_PER_TRADE,
}


cdef FeeModel fees_from_config(object asset):
    """The fee model of an ``AssetConfig``; one by no built-in name is still to be seated (models/seat.pxd)."""
    cdef FeeModel model
    memset(&model, 0, sizeof(FeeModel))
    model.kind = _KINDS.get(asset.fee_model, FEE_CUSTOM)
    model.maker = asset.maker_fee
    model.taker = asset.taker_fee
    model.buyer = asset.buyer_fee
    model.seller = asset.seller_fee
    return model


def fee(asset, is_maker: bool, side: int, qty: float, value: float) -> float:
    """The fee of one fill, to look at a model without a backtest.

    Args:
        asset: An ``AssetConfig``.
        is_maker: Whether the order rested.
        side: 1 buys, -1 sells.
        qty: Executed quantity.
        value: What it was worth.

    Raises:
        ConfigError: The model is not built in.
    """
    cdef FeeModel model = fees_from_config(asset)
    cdef SimOrder order
    if model.kind == FEE_CUSTOM:
        raise ConfigError(f"{asset.fee_model!r} is no built-in fee model")
    memset(&order, 0, sizeof(SimOrder))
    order.is_maker = is_maker
    order.side = side
    order.exec_qty = qty
    return fee_amount(&model, &order, value)
