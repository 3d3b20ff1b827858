"""The methods of a polled backtest in compiled strategies; those of hftbacktest's jitclasses, by their names.

Calls go to the same C functions as Python's (calls.pxd) and raise the same exceptions. Fields are read where
they lie. Importing this module registers everything with Numba: what a backtest gives is in binding_depth and
binding_orders.
"""

from __future__ import annotations

from numba import carray, types
from numba.extending import overload_method

import engine.backtest.hbt.binding_depth
import engine.backtest.hbt.binding_orders  # noqa: F401
from engine.backtest.hbt.register import F64, FLAG, I64, U64, attribute, method, reader
from engine.backtest.hbt.types import (
    DEPTHS,
    ORDERS,
    STATE,
    BacktestType,
    address_of,
    checked,
    external,
    kept,
    pointer_to,
    view_at,
)
from engine.core.types import event_dtype

now_ = external("ringbook_hbt_now", I64, I64)
elapse_ = external("ringbook_hbt_elapse", I64, I64, I64)
goto_end_ = external("ringbook_hbt_goto_end", I64, I64)
wait_order_response_ = external("ringbook_hbt_wait_order_response", I64, I64, I64, U64, I64)
wait_next_feed_ = external("ringbook_hbt_wait_next_feed", I64, I64, FLAG, I64)
submit_ = external("ringbook_hbt_submit", I64, I64, I64, U64, I64, F64, F64, I64, I64, FLAG)
cancel_ = external("ringbook_hbt_cancel", I64, I64, I64, U64, FLAG)
modify_ = external("ringbook_hbt_modify", I64, I64, I64, U64, F64, F64, FLAG)
clear_inactive_orders_ = external("ringbook_hbt_clear_inactive_orders", I64, I64, I64)
clear_last_trades_ = external("ringbook_hbt_clear_last_trades", I64, I64, I64)
market_ = external("ringbook_hbt_market", I64, I64, I64)
close_ = external("ringbook_hbt_close", I64, I64)
queue_ahead_ = external("ringbook_hbt_queue_ahead", F64, I64, U64)
queue_total_ = external("ringbook_hbt_queue_total", F64, I64, U64)

depth_at = {roi: view_at(kind) for roi, kind in DEPTHS.items()}
orders_at = view_at(ORDERS)
state_at = view_at(STATE)

_num_assets = reader("num_assets", types.int32)
_position = reader("position", F64)
_funding_paid = reader("funding_paid", F64)
_trades = reader("trades", I64)
_n_trades = reader("n_trades", I64)
_has_feed = reader("has_feed", types.int32)
_feed_exch_ts = reader("feed_exch_ts", I64)
_feed_local_ts = reader("feed_local_ts", I64)
_has_order = reader("has_order", types.int32)
_order_req_ts = reader("order_req_ts", I64)
_order_exch_ts = reader("order_exch_ts", I64)
_order_resp_ts = reader("order_resp_ts", I64)

attribute(BacktestType, "current_timestamp", lambda self: now_(address_of(self)))
attribute(BacktestType, "num_assets", lambda self: I64(_num_assets(address_of(self))))


@method(BacktestType, "elapse")
def _elapse(self, duration):
    return checked(elapse_(address_of(self), duration))


method(BacktestType, "elapse_bt")(_elapse)


@method(BacktestType, "_goto_end")
def _goto_end(self):
    return checked(goto_end_(address_of(self)))


@method(BacktestType, "wait_order_response")
def _wait_order_response(self, asset_no, order_id, timeout):
    return checked(wait_order_response_(address_of(self), asset_no, order_id, timeout))


@method(BacktestType, "wait_next_feed")
def _wait_next_feed(self, include_order_resp, timeout):
    return checked(wait_next_feed_(address_of(self), include_order_resp, timeout))


@method(BacktestType, "submit_buy_order")
def _submit_buy_order(self, asset_no, order_id, price, qty, time_in_force, order_type, wait):
    return checked(
        submit_(address_of(self), asset_no, order_id, 1, price, qty, time_in_force, order_type, wait)
    )


@method(BacktestType, "submit_sell_order")
def _submit_sell_order(self, asset_no, order_id, price, qty, time_in_force, order_type, wait):
    return checked(
        submit_(address_of(self), asset_no, order_id, -1, price, qty, time_in_force, order_type, wait)
    )


@method(BacktestType, "modify")
def _modify(self, asset_no, order_id, price, qty, wait):
    return checked(modify_(address_of(self), asset_no, order_id, price, qty, wait))


@method(BacktestType, "cancel")
def _cancel(self, asset_no, order_id, wait):
    return checked(cancel_(address_of(self), asset_no, order_id, wait))


@method(BacktestType, "clear_inactive_orders")
def _clear_inactive_orders(self, asset_no):
    checked(clear_inactive_orders_(address_of(self), asset_no))


@method(BacktestType, "clear_last_trades")
def _clear_last_trades(self, asset_no):
    checked(clear_last_trades_(address_of(self), asset_no))


@method(BacktestType, "close")
def _close(self):
    return checked(close_(address_of(self)))


@overload_method(BacktestType, "depth")
def _depth(self, asset_no):
    view = depth_at[self.roi]
    return lambda self, asset_no: view(checked(market_(address_of(self), asset_no)))


@method(BacktestType, "orders")
def _orders(self, asset_no):
    return orders_at(checked(market_(address_of(self), asset_no)))


@method(BacktestType, "state_values")
def _state_values(self, asset_no):
    return state_at(checked(market_(address_of(self), asset_no)))


@method(BacktestType, "position")
def _position_of(self, asset_no):
    return _position(checked(market_(address_of(self), asset_no)))


@method(BacktestType, "funding_paid")
def _funding_paid_of(self, asset_no):
    return _funding_paid(checked(market_(address_of(self), asset_no)))


@method(BacktestType, "last_trades")
def _last_trades(self, asset_no):
    market = checked(market_(address_of(self), asset_no))
    return kept(carray(pointer_to(_trades(market)), _n_trades(market), event_dtype), market)


@method(BacktestType, "feed_latency")
def _feed_latency(self, asset_no):
    market = checked(market_(address_of(self), asset_no))
    if _has_feed(market) == 0:
        return None
    return _feed_exch_ts(market), _feed_local_ts(market)


@method(BacktestType, "order_latency")
def _order_latency(self, asset_no):
    market = checked(market_(address_of(self), asset_no))
    if _has_order(market) == 0:
        return None
    return _order_req_ts(market), _order_exch_ts(market), _order_resp_ts(market)


@method(BacktestType, "queue_ahead")
def _queue_ahead(self, asset_no, order_id):
    return queue_ahead_(checked(market_(address_of(self), asset_no)), order_id)


@method(BacktestType, "queue_total")
def _queue_total(self, asset_no, order_id):
    return queue_total_(checked(market_(address_of(self), asset_no)), order_id)
