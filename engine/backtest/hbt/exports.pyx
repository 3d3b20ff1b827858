"""Where compiled strategies find the calls and fields: addresses of C functions, offsets into structures."""

from engine.backtest.hbt.calls cimport (
    Session,
    call_cancel,
    call_clear_inactive_orders,
    call_clear_last_trades,
    call_close,
    call_elapse,
    call_goto_end,
    call_market,
    call_modify,
    call_now,
    call_submit,
    call_wait_next_feed,
    call_wait_order_response,
    market_ask_qty,
    market_bid_qty,
    market_ladder,
    market_order,
    market_queue_ahead,
    market_queue_total,
    market_snapshot,
    market_snapshot_free,
    walk_current,
    walk_next,
    walk_start,
)
from engine.backtest.hbt.market cimport Market
from engine.backtest.order cimport SimOrder


def addresses() -> dict:
    """C functions by the names under which they are linked."""
    return {
        "ringbook_hbt_now": <size_t><void*>call_now,
        "ringbook_hbt_elapse": <size_t><void*>call_elapse,
        "ringbook_hbt_goto_end": <size_t><void*>call_goto_end,
        "ringbook_hbt_wait_order_response": <size_t><void*>call_wait_order_response,
        "ringbook_hbt_wait_next_feed": <size_t><void*>call_wait_next_feed,
        "ringbook_hbt_submit": <size_t><void*>call_submit,
        "ringbook_hbt_cancel": <size_t><void*>call_cancel,
        "ringbook_hbt_modify": <size_t><void*>call_modify,
        "ringbook_hbt_clear_inactive_orders": <size_t><void*>call_clear_inactive_orders,
        "ringbook_hbt_clear_last_trades": <size_t><void*>call_clear_last_trades,
        "ringbook_hbt_market": <size_t><void*>call_market,
        "ringbook_hbt_close": <size_t><void*>call_close,
        "ringbook_hbt_bid_qty": <size_t><void*>market_bid_qty,
        "ringbook_hbt_ask_qty": <size_t><void*>market_ask_qty,
        "ringbook_hbt_ladder": <size_t><void*>market_ladder,
        "ringbook_hbt_snapshot": <size_t><void*>market_snapshot,
        "ringbook_hbt_snapshot_free": <size_t><void*>market_snapshot_free,
        "ringbook_hbt_order": <size_t><void*>market_order,
        "ringbook_hbt_queue_ahead": <size_t><void*>market_queue_ahead,
        "ringbook_hbt_queue_total": <size_t><void*>market_queue_total,
        "ringbook_hbt_walk_start": <size_t><void*>walk_start,
        "ringbook_hbt_walk_next": <size_t><void*>walk_next,
        "ringbook_hbt_walk_current": <size_t><void*>walk_current,
    }


def offsets() -> dict:
    """Bytes from the start of a structure to a field."""
    cdef Market* market = NULL
    cdef Session* session = NULL
    cdef SimOrder* order = NULL
    return {
        "memory": <size_t>&market.memory,
        "num_assets": <size_t>&session.clock.n_markets,
        "best_bid_tick": <size_t>&market.book.best_bid_tick,
        "best_ask_tick": <size_t>&market.book.best_ask_tick,
        "book_tick_size": <size_t>&market.book.tick_size,
        "lot_size": <size_t>&market.book.lot_size,
        "position": <size_t>&market.account.values.position,
        "balance": <size_t>&market.account.values.balance,
        "fee": <size_t>&market.account.values.fee,
        "num_trades": <size_t>&market.account.values.num_trades,
        "trading_volume": <size_t>&market.account.values.trading_volume,
        "trading_value": <size_t>&market.account.values.trading_value,
        "funding_paid": <size_t>&market.account.funding_paid,
        "n_orders": <size_t>&market.orders.n,
        "trades": <size_t>&market.trades.rows,
        "n_trades": <size_t>&market.trades.n,
        "roi_lb_tick": <size_t>&market.view.first,
        "roi_ub_tick": <size_t>&market.view.last,
        "has_feed": <size_t>&market.has_feed,
        "has_order": <size_t>&market.has_order,
        "feed_exch_ts": <size_t>&market.feed_exch_ts,
        "feed_local_ts": <size_t>&market.feed_local_ts,
        "order_req_ts": <size_t>&market.order_req_ts,
        "order_exch_ts": <size_t>&market.order_exch_ts,
        "order_resp_ts": <size_t>&market.order_resp_ts,
        "qty": <size_t>&order.qty,
        "leaves_qty": <size_t>&order.leaves_qty,
        "exec_qty": <size_t>&order.exec_qty,
        "exec_price_tick": <size_t>&order.exec_price_tick,
        "price_tick": <size_t>&order.price_tick,
        "order_tick_size": <size_t>&order.tick_size,
        "exch_timestamp": <size_t>&order.exch_ts,
        "local_timestamp": <size_t>&order.local_ts,
        "order_id": <size_t>&order.order_id,
        "maker": <size_t>&order.is_maker,
        "order_type": <size_t>&order.order_type,
        "req": <size_t>&order.req,
        "status": <size_t>&order.status,
        "side": <size_t>&order.side,
        "time_in_force": <size_t>&order.time_in_force,
    }

