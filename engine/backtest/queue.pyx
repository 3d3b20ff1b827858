"""Queue models by name."""

from engine.backtest.order cimport SimOrder


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
    """The queue model of an ``AssetConfig``."""
    cdef QueueModel model
    model.kind = _KINDS[asset.queue_model]
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
    """
    cdef QueueModel model = queue_from_config(asset)
    cdef SimOrder order
    cdef double ahead
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
