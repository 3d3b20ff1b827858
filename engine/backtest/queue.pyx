"""Queue models by name."""

from libc.string cimport memset

from engine.backtest.order cimport SimOrder

from engine.core.errors import ConfigError

cdef dict _KINDS = {
    "risk_adverse_queue_model": QUEUE_RISK_ADVERSE,
    "log_prob_queue_model": QUEUE_LOG_PROB,
    "log_prob_queue_model2": QUEUE_LOG_PROB2,
    "power_prob_queue_model": QUEUE_POWER_PROB,
    "power_prob_queue_model2": QUEUE_POWER_PROB2,
    "power_prob_queue_model3": QUEUE_POWER_PROB3,
    "l3_fifo_queue_model": QUEUE_L3_FIFO,
}


cdef QueueModel queue_from_config(object asset):
    """The queue model of an ``AssetConfig``; one by no built-in name is still to be seated (models/seat.pxd)."""
    cdef QueueModel model
    memset(&model, 0, sizeof(QueueModel))
    model.kind = _KINDS.get(asset.queue_model, QUEUE_CUSTOM)
    model.n = asset.queue_n
    model.lot_size = asset.lot_size
    return model


def follow_queue(asset, level_qty: float, steps: list) -> list:
    """Follows one order's estimated place in the queue, to look at a model without a backtest.

    Args:
        asset: An ``AssetConfig``.
        level_qty: Quantity at the level when the order is accepted.
        steps: ``("trade", qty)`` or ``("depth", prev_qty, new_qty)`` in order.

    Returns:
        After each step, the quantity in front and whether the order would fill.

    Raises:
        ConfigError: The model is not built in.
    """
    cdef QueueModel model = queue_from_config(asset)
    cdef SimOrder order
    cdef double ahead
    if model.kind == QUEUE_CUSTOM:
        raise ConfigError(f"{asset.queue_model!r} is no built-in queue model")
    queue_new(&model, &order, level_qty)
    places = []
    for step in steps:
        if step[0] == "trade":
            queue_trade(&model, &order, step[1])
        else:
            queue_depth(&model, &order, step[1], step[2])
        ahead = order.queue_ahead
        places.append((ahead, queue_filled(&model, &order) > 0.0))
        order.queue_ahead = ahead
    return places
