"""Fee models by name."""

from libc.stdint cimport int8_t


cdef dict _KINDS = {
    "trading_value_fee_model": FEE_TRADING_VALUE,
    "trading_qty_fee_model": FEE_TRADING_QTY,
    "flat_per_trade_fee_model": FEE_FLAT_PER_TRADE,
}


cdef FeeModel fees_from_config(object asset):
    """The fee model of an ``AssetConfig``."""
    cdef FeeModel model
    model.kind = _KINDS[asset.fee_model]
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
    """
    cdef FeeModel model = fees_from_config(asset)
    return fee_amount(&model, is_maker, <int8_t>side, qty, value)
