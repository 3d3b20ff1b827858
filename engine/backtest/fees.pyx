"""Fee models by name."""


cdef FeeModel fees_from_config(object asset):
    """The fee model of an ``AssetConfig``."""
    cdef FeeModel model
    model.kind = FEE_TRADING_VALUE
    model.maker = asset.maker_fee
    model.taker = asset.taker_fee
    return model
