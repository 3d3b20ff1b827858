"""A depth in compiled strategies; see binding.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import carray
from numba.extending import overload_attribute

from engine.backtest.hbt.register import F64, I64, attribute, field, method, reader
from engine.backtest.hbt.types import DepthType, address_of, checked, external, kept, pointer_to
from engine.core.types import event_dtype

NO_BID = -(1 << 63)
NO_ASK = (1 << 63) - 1

bid_qty_ = external("ringbook_hbt_bid_qty", F64, I64, I64)
ask_qty_ = external("ringbook_hbt_ask_qty", F64, I64, I64)
ladder_ = external("ringbook_hbt_ladder", I64, I64, I64)
snapshot_ = external("ringbook_hbt_snapshot", I64, I64, I64)
snapshot_free_ = external("ringbook_hbt_snapshot_free", I64, I64)

_best_bid_tick = field(DepthType, "best_bid_tick", I64)
_best_ask_tick = field(DepthType, "best_ask_tick", I64)
_tick_size = field(DepthType, "tick_size", F64, "book_tick_size")
field(DepthType, "lot_size", F64)
_first = reader("roi_lb_tick", I64)
_last = reader("roi_ub_tick", I64)


def _best_bid(self):
    tick = _best_bid_tick(address_of(self))
    return np.nan if tick == NO_BID else tick * _tick_size(address_of(self))


def _best_ask(self):
    tick = _best_ask_tick(address_of(self))
    return np.nan if tick == NO_ASK else tick * _tick_size(address_of(self))


attribute(DepthType, "best_bid", _best_bid)
attribute(DepthType, "best_ask", _best_ask)
attribute(
    DepthType, "best_bid_qty", lambda self: bid_qty_(address_of(self), _best_bid_tick(address_of(self)))
)
attribute(
    DepthType, "best_ask_qty", lambda self: ask_qty_(address_of(self), _best_ask_tick(address_of(self)))
)


@method(DepthType, "bid_qty_at_tick")
def _bid_qty_at_tick(self, price_tick):
    return bid_qty_(address_of(self), price_tick)


@method(DepthType, "ask_qty_at_tick")
def _ask_qty_at_tick(self, price_tick):
    return ask_qty_(address_of(self), price_tick)


@method(DepthType, "snapshot")
def _snapshot(self):
    n = np.zeros(1, np.int64)
    events = checked(snapshot_(address_of(self), I64(n.ctypes.data)))
    levels = carray(pointer_to(events), n[0], event_dtype).copy()
    snapshot_free_(events)
    return levels


@method(DepthType, "snapshot_free")
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
