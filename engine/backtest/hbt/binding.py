"""The methods of a polled backtest in compiled strategies; those of hftbacktest's jitclasses, by their names.

Calls go to the same C functions as Python's (calls.pxd) and raise the same exceptions. Fields are read where
they lie. Importing this module registers everything with Numba.
"""

from __future__ import annotations

from collections.abc import Callable
from inspect import signature
from operator import contains
from typing import Any

import numpy as np
from numba import carray, types
from numba.extending import overload, overload_attribute, overload_method

from engine.backtest.hbt.constants import order_dtype, state_values_dtype
from engine.backtest.hbt.types import (
    DEPTHS,
    OFFSETS,
    ORDER,
    ORDERS,
    STATE,
    BacktestType,
    DepthType,
    OrderDictType,
    OrderType,
    StateValuesType,
    ValuesType,
    address_of,
    checked,
    external,
    field_of,
    kept,
    pointer_to,
    values_of,
    view_at,
)
from engine.core.types import event_dtype

NO_BID = -(1 << 63)
NO_ASK = (1 << 63) - 1
I64, U64, F64, FLAG = types.int64, types.uint64, types.float64, types.int32

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
bid_qty_ = external("ringbook_hbt_bid_qty", F64, I64, I64)
ask_qty_ = external("ringbook_hbt_ask_qty", F64, I64, I64)
ladder_ = external("ringbook_hbt_ladder", I64, I64, I64)
snapshot_ = external("ringbook_hbt_snapshot", I64, I64, I64)
snapshot_free_ = external("ringbook_hbt_snapshot_free", I64, I64)
order_ = external("ringbook_hbt_order", I64, I64, U64)
walk_start_ = external("ringbook_hbt_walk_start", I64, I64)
walk_next_ = external("ringbook_hbt_walk_next", I64, I64, I64)
walk_current_ = external("ringbook_hbt_walk_current", I64, I64, I64)

depth_at = {roi: view_at(kind) for roi, kind in DEPTHS.items()}
order_at = view_at(ORDER)
orders_at = view_at(ORDERS)
state_at = view_at(STATE)


def _method(kind: type, name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Registers a function of the object and the arguments as a method of its kind."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        def choose(*args: Any, **kws: Any) -> Callable[..., Any]:
            return function

        # Numba binds arguments by the signature of what chooses.
        choose.__signature__ = signature(function)
        overload_method(kind, name, strict=False)(choose)
        return function

    return register


def _attribute(kind: type, name: str, reader: Callable[[Any], Any]) -> None:
    """Registers a function of the object as an attribute."""
    overload_attribute(kind, name, strict=False)(lambda self: reader)


def _field(kind: type, name: str, type_: types.Type, offset: str = "") -> Callable[[Any], Any]:
    """Registers a field of the structure as an attribute; also what reads it at an address."""
    read = field_of(type_, OFFSETS[offset or name])
    _attribute(kind, name, lambda self: read(address_of(self)))
    return read


def _reader(name: str, type_: types.Type) -> Callable[[Any], Any]:
    """What reads a field at an address."""
    return field_of(type_, OFFSETS[name])


# --- the backtest --------------------------------------------------------------------------------------

_num_assets = _reader("num_assets", types.int32)
_position = _reader("position", F64)
_trades = _reader("trades", I64)
_n_trades = _reader("n_trades", I64)
_has_feed = _reader("has_feed", types.int32)
_feed_exch_ts = _reader("feed_exch_ts", I64)
_feed_local_ts = _reader("feed_local_ts", I64)
_has_order = _reader("has_order", types.int32)
_order_req_ts = _reader("order_req_ts", I64)
_order_exch_ts = _reader("order_exch_ts", I64)
_order_resp_ts = _reader("order_resp_ts", I64)

_attribute(BacktestType, "current_timestamp", lambda self: now_(address_of(self)))
_attribute(BacktestType, "num_assets", lambda self: I64(_num_assets(address_of(self))))


@_method(BacktestType, "elapse")
def _elapse(self, duration):
    return checked(elapse_(address_of(self), duration))


_method(BacktestType, "elapse_bt")(_elapse)


@_method(BacktestType, "_goto_end")
def _goto_end(self):
    return checked(goto_end_(address_of(self)))


@_method(BacktestType, "wait_order_response")
def _wait_order_response(self, asset_no, order_id, timeout):
    return checked(wait_order_response_(address_of(self), asset_no, order_id, timeout))


@_method(BacktestType, "wait_next_feed")
def _wait_next_feed(self, include_order_resp, timeout):
    return checked(wait_next_feed_(address_of(self), include_order_resp, timeout))


@_method(BacktestType, "submit_buy_order")
def _submit_buy_order(self, asset_no, order_id, price, qty, time_in_force, order_type, wait):
    return checked(
        submit_(address_of(self), asset_no, order_id, 1, price, qty, time_in_force, order_type, wait)
    )


@_method(BacktestType, "submit_sell_order")
def _submit_sell_order(self, asset_no, order_id, price, qty, time_in_force, order_type, wait):
    return checked(
        submit_(address_of(self), asset_no, order_id, -1, price, qty, time_in_force, order_type, wait)
    )


@_method(BacktestType, "modify")
def _modify(self, asset_no, order_id, price, qty, wait):
    return checked(modify_(address_of(self), asset_no, order_id, price, qty, wait))


@_method(BacktestType, "cancel")
def _cancel(self, asset_no, order_id, wait):
    return checked(cancel_(address_of(self), asset_no, order_id, wait))


@_method(BacktestType, "clear_inactive_orders")
def _clear_inactive_orders(self, asset_no):
    checked(clear_inactive_orders_(address_of(self), asset_no))


@_method(BacktestType, "clear_last_trades")
def _clear_last_trades(self, asset_no):
    checked(clear_last_trades_(address_of(self), asset_no))


@_method(BacktestType, "close")
def _close(self):
    return checked(close_(address_of(self)))


@overload_method(BacktestType, "depth")
def _depth(self, asset_no):
    view = depth_at[self.roi]
    return lambda self, asset_no: view(checked(market_(address_of(self), asset_no)))


@_method(BacktestType, "orders")
def _orders(self, asset_no):
    return orders_at(checked(market_(address_of(self), asset_no)))


@_method(BacktestType, "state_values")
def _state_values(self, asset_no):
    return state_at(checked(market_(address_of(self), asset_no)))


@_method(BacktestType, "position")
def _position_of(self, asset_no):
    return _position(checked(market_(address_of(self), asset_no)))


@_method(BacktestType, "last_trades")
def _last_trades(self, asset_no):
    market = checked(market_(address_of(self), asset_no))
    return kept(carray(pointer_to(_trades(market)), _n_trades(market), event_dtype), market)


@_method(BacktestType, "feed_latency")
def _feed_latency(self, asset_no):
    market = checked(market_(address_of(self), asset_no))
    if _has_feed(market) == 0:
        return None
    return _feed_exch_ts(market), _feed_local_ts(market)


@_method(BacktestType, "order_latency")
def _order_latency(self, asset_no):
    market = checked(market_(address_of(self), asset_no))
    if _has_order(market) == 0:
        return None
    return _order_req_ts(market), _order_exch_ts(market), _order_resp_ts(market)


# --- depth ---------------------------------------------------------------------------------------------

_best_bid_tick = _field(DepthType, "best_bid_tick", I64)
_best_ask_tick = _field(DepthType, "best_ask_tick", I64)
_tick_size = _field(DepthType, "tick_size", F64, "book_tick_size")
_field(DepthType, "lot_size", F64)
_first = _reader("roi_lb_tick", I64)
_last = _reader("roi_ub_tick", I64)


def _best_bid(self):
    tick = _best_bid_tick(address_of(self))
    return np.nan if tick == NO_BID else tick * _tick_size(address_of(self))


def _best_ask(self):
    tick = _best_ask_tick(address_of(self))
    return np.nan if tick == NO_ASK else tick * _tick_size(address_of(self))


_attribute(DepthType, "best_bid", _best_bid)
_attribute(DepthType, "best_ask", _best_ask)
_attribute(
    DepthType, "best_bid_qty", lambda self: bid_qty_(address_of(self), _best_bid_tick(address_of(self)))
)
_attribute(
    DepthType, "best_ask_qty", lambda self: ask_qty_(address_of(self), _best_ask_tick(address_of(self)))
)


@_method(DepthType, "bid_qty_at_tick")
def _bid_qty_at_tick(self, price_tick):
    return bid_qty_(address_of(self), price_tick)


@_method(DepthType, "ask_qty_at_tick")
def _ask_qty_at_tick(self, price_tick):
    return ask_qty_(address_of(self), price_tick)


@_method(DepthType, "snapshot")
def _snapshot(self):
    n = np.zeros(1, np.int64)
    events = checked(snapshot_(address_of(self), I64(n.ctypes.data)))
    levels = carray(pointer_to(events), n[0], event_dtype).copy()
    snapshot_free_(events)
    return levels


@_method(DepthType, "snapshot_free")
def _snapshot_free(self, arr):
    pass


def _only_roi(name: str, reader: Callable[[Any], Any]) -> None:
    """Registers an attribute that only the depth with ranges has."""
    overload_attribute(DepthType, name, strict=False)(lambda self: reader if self.roi else None)


def _ladder_of(side: int) -> Callable[[Any], Any]:
    def ladder(self):
        market = address_of(self)
        first = pointer_to(checked(ladder_(market, side)))
        return kept(carray(first, _last(market) - _first(market) + 1, np.float64), market)

    return ladder


_only_roi("bid_depth", _ladder_of(1))
_only_roi("ask_depth", _ladder_of(-1))
_only_roi("roi_lb_tick", lambda self: _first(address_of(self)))
_only_roi("roi_ub_tick", lambda self: _last(address_of(self)))


# --- orders and state ------------------------------------------------------------------------------------

for _name, _type in {
    "qty": F64,
    "leaves_qty": F64,
    "exec_qty": F64,
    "exch_timestamp": I64,
    "local_timestamp": I64,
    "order_id": U64,
    "maker": types.boolean,
    "order_type": types.uint8,
    "side": types.int8,
    "time_in_force": types.uint8,
}.items():
    _field(OrderType, _name, _type)
_order_tick_size = _field(OrderType, "tick_size", F64, "order_tick_size")
_price_tick = _field(OrderType, "price_tick", I64)
_exec_price_tick = _field(OrderType, "exec_price_tick", I64)
_req = _field(OrderType, "req", types.uint8)
_status = _field(OrderType, "status", types.uint8)
_NEW, _PARTIALLY_FILLED = 1, 5


def _cancellable(self):
    order = address_of(self)
    return (_status(order) == _NEW or _status(order) == _PARTIALLY_FILLED) and _req(order) == 0


def _price(self):
    return _price_tick(address_of(self)) * _order_tick_size(address_of(self))


def _exec_price(self):
    return _exec_price_tick(address_of(self)) * _order_tick_size(address_of(self))


_attribute(OrderType, "price", _price)
_attribute(OrderType, "exec_price", _exec_price)
_attribute(OrderType, "cancellable", _cancellable)
_attribute(OrderType, "arr", lambda self: carray(pointer_to(address_of(self)), 1, order_dtype).copy())

for _name in ("position", "balance", "fee", "trading_volume", "trading_value"):
    _field(StateValuesType, _name, F64)
_field(StateValuesType, "num_trades", I64)
_VALUES_OFFSET = OFFSETS["position"]
_attribute(
    StateValuesType,
    "arr",
    lambda self: carray(pointer_to(address_of(self) + _VALUES_OFFSET), 1, state_values_dtype).copy(),
)

_n_orders = _reader("n_orders", types.uint32)


@_method(OrderDictType, "get")
def _get(self, order_id):
    order = order_(address_of(self), order_id)
    if order == 0:
        return None
    return order_at(order)


@overload(contains, strict=False)
def _contains(self, order_id):
    if isinstance(self, OrderDictType):
        return lambda self, order_id: order_(address_of(self), order_id) != 0
    return None


@overload(len, strict=False)
def _len(self):
    if isinstance(self, OrderDictType):
        return lambda self: I64(_n_orders(address_of(self)))
    return None


@_method(OrderDictType, "values")
def _values(self):
    market = address_of(self)
    return values_of(market, walk_start_(market))


@_method(ValuesType, "has_next")
def _has_next(self):
    return checked(walk_next_(self._market, self._number)) != 0


@_method(ValuesType, "next")
def _next(self):
    order = checked(walk_next_(self._market, self._number))
    if order == 0:
        return None
    return order_at(order)


@_method(ValuesType, "get")
def _get_current(self):
    return order_at(checked(walk_current_(self._market, self._number)))
