"""The simulated market in hftbacktest's backtest: whoever quotes at the touch trades on both sides."""

from hftbacktest import GTX, LIMIT, BacktestAsset, HashMapMarketDepthBacktest

from engine.feeds.simulated import SimulatedMarket


def quote_at_touch(hbt, order_qty):
    """Joins both touches anew every second; returns the quantities bought and sold."""
    bought = sold = before = 0.0
    for order_id in range(1, 118, 2):
        assert hbt.elapse(100_000_000) == 0
        depth = hbt.depth(0)
        hbt.submit_buy_order(0, order_id, depth.best_bid, order_qty, GTX, LIMIT, False)
        hbt.submit_sell_order(0, order_id + 1, depth.best_ask, order_qty, GTX, LIMIT, False)
        hbt.elapse(900_000_000)
        change = hbt.position(0) - before
        before += change
        bought, sold = bought + max(change, 0.0), sold + max(-change, 0.0)
        hbt.cancel(0, order_id, False)
        hbt.cancel(0, order_id + 1, False)
    return bought, sold


def test_a_market_maker_at_the_touch_trades_on_both_sides():
    rows = SimulatedMarket("BTCUSDT").generate(60)  # the reference does not keep it alive
    asset = (
        BacktestAsset()
        .data([rows])
        .linear_asset(1.0)
        .constant_order_latency(1_000_000, 1_000_000)
        .risk_adverse_queue_model()
        .no_partial_fill_exchange()
        .trading_value_fee_model(0.0, 0.0)
        .tick_size(0.1)
        .lot_size(0.001)
    )
    hbt = HashMapMarketDepthBacktest([asset])
    bought, sold = quote_at_touch(hbt, 0.01)
    trades = hbt.state_values(0).num_trades
    hbt.close()
    assert min(bought, sold) >= 0.05
    assert trades > 40
