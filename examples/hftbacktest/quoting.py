"""What the strategies here share: bringing the orders in the market in line with the quotes wanted."""

from numba import njit, uint64

from engine.backtest.hbt import BUY, GTX, LIMIT


@njit
def requote(hbt, asset_no, bid_tick, ask_tick, step, bids, asks, qty):
    """Quotes on both sides, all post-only; an order that is where one is wanted keeps its place in the queue.

    Orders are known by their price: the id is twice the tick, and one more of a sell.

    Args:
        hbt: The backtest.
        asset_no: The asset.
        bid_tick: Of the highest buy.
        ask_tick: Of the lowest sell.
        step: Ticks between the orders of a side.
        bids: How many buys.
        asks: How many sells.
        qty: Of each.
    """
    tick_size = hbt.depth(asset_no).tick_size
    orders = hbt.orders(asset_no)
    known = orders.values()
    while known.has_next():
        order = known.get()
        if order.cancellable:
            away = bid_tick - order.price_tick if order.side == BUY else order.price_tick - ask_tick
            reach = step * (bids if order.side == BUY else asks)
            if away < 0 or away >= reach or away % step != 0:
                hbt.cancel(asset_no, order.order_id, False)
    for i in range(bids):
        tick = bid_tick - i * step
        order_id = uint64(2 * tick)
        if order_id not in orders:
            hbt.submit_buy_order(asset_no, order_id, tick * tick_size, qty, GTX, LIMIT, False)
    for i in range(asks):
        tick = ask_tick + i * step
        order_id = uint64(2 * tick + 1)
        if order_id not in orders:
            hbt.submit_sell_order(asset_no, order_id, tick * tick_size, qty, GTX, LIMIT, False)
