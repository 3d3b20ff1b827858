"""Orders, walks through them and state values in compiled strategies; see binding.py."""

from __future__ import annotations

from operator import contains

from numba import carray, types
from numba.extending import overload

from engine.backtest.hbt.constants import order_dtype, state_values_dtype
from engine.backtest.hbt.register import F64, I64, U64, attribute, field, method, reader
from engine.backtest.hbt.types import (
    OFFSETS,
    ORDER,
    OrderDictType,
    OrderType,
    StateValuesType,
    ValuesType,
    address_of,
    checked,
    external,
    pointer_to,
    values_of,
    view_at,
)

order_ = external("ringbook_hbt_order", I64, I64, U64)
walk_start_ = external("ringbook_hbt_walk_start", I64, I64)
walk_next_ = external("ringbook_hbt_walk_next", I64, I64, I64)
walk_current_ = external("ringbook_hbt_walk_current", I64, I64, I64)

order_at = view_at(ORDER)

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
    field(OrderType, _name, _type)
_order_tick_size = field(OrderType, "tick_size", F64, "order_tick_size")
_price_tick = field(OrderType, "price_tick", I64)
_exec_price_tick = field(OrderType, "exec_price_tick", I64)
_req = field(OrderType, "req", types.uint8)
_status = field(OrderType, "status", types.uint8)
_NEW, _PARTIALLY_FILLED = 1, 5


def _cancellable(self):
    order = address_of(self)
    return (_status(order) == _NEW or _status(order) == _PARTIALLY_FILLED) and _req(order) == 0


def _price(self):
    return _price_tick(address_of(self)) * _order_tick_size(address_of(self))


def _exec_price(self):
    return _exec_price_tick(address_of(self)) * _order_tick_size(address_of(self))


attribute(OrderType, "price", _price)
attribute(OrderType, "exec_price", _exec_price)
attribute(OrderType, "cancellable", _cancellable)
attribute(OrderType, "arr", lambda self: carray(pointer_to(address_of(self)), 1, order_dtype).copy())

for _name in ("position", "balance", "fee", "trading_volume", "trading_value"):
    field(StateValuesType, _name, F64)
field(StateValuesType, "num_trades", I64)
_VALUES_OFFSET = OFFSETS["position"]
attribute(
    StateValuesType,
    "arr",
    lambda self: carray(pointer_to(address_of(self) + _VALUES_OFFSET), 1, state_values_dtype).copy(),
)

_n_orders = reader("n_orders", types.uint32)


@method(OrderDictType, "get")
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


@method(OrderDictType, "values")
def _values(self):
    market = address_of(self)
    return values_of(market, walk_start_(market))


@method(ValuesType, "has_next")
def _has_next(self):
    return checked(walk_next_(self._market, self._number)) != 0


@method(ValuesType, "next")
def _next(self):
    order = checked(walk_next_(self._market, self._number))
    if order == 0:
        return None
    return order_at(order)


@method(ValuesType, "get")
def _get_current(self):
    return order_at(checked(walk_current_(self._market, self._number)))
