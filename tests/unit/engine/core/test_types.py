"""Record layouts: sizes, offsets, and agreement with hftbacktest's own constants."""

from __future__ import annotations

import re
from pathlib import Path

import hftbacktest
import numpy as np
import pytest

from engine.core import types

ROOT = Path(__file__).resolve().parents[4]


def test_events_are_hftbacktests():
    assert types.event_dtype == hftbacktest.event_dtype
    assert types.event_dtype.itemsize == 64


@pytest.mark.parametrize(
    "name",
    [
        "EXCH_EVENT", "LOCAL_EVENT", "BUY_EVENT", "SELL_EVENT", "DEPTH_EVENT", "TRADE_EVENT",
        "DEPTH_CLEAR_EVENT", "DEPTH_SNAPSHOT_EVENT", "DEPTH_BBO_EVENT", "ADD_ORDER_EVENT",
        "CANCEL_ORDER_EVENT", "MODIFY_ORDER_EVENT", "FILL_EVENT",
    ],
)  # fmt: skip
def test_event_constants_are_hftbacktests(name):
    assert getattr(types, name) == getattr(hftbacktest.types, name)


def test_enums_are_hftbacktests():
    import hftbacktest.order as reference

    for member in ("NONE", "NEW", "EXPIRED", "FILLED", "CANCELED", "PARTIALLY_FILLED", "REJECTED"):
        assert int(types.Status[member]) == getattr(reference, member)
    for member in types.TimeInForce:
        assert int(member) == getattr(reference, member.name)
    for member in types.OrdType:
        assert int(member) == getattr(reference, member.name)
    assert (int(types.Side.BUY), int(types.Side.SELL)) == (reference.BUY, reference.SELL)


def test_orders_and_fills_fill_whole_cache_line_halves():
    assert types.order_dtype.itemsize == 128
    assert types.fill_dtype.itemsize == 80
    offsets = {name: types.order_dtype.fields[name][1] for name in types.order_dtype.names}
    assert offsets["order_id"] == 0
    assert offsets["price_tick"] == 16
    assert offsets["queue_ahead"] == 80
    assert offsets["instrument"] == 112
    assert offsets["flags"] == 123
    assert {name: types.fill_dtype.fields[name][1] for name in ("px", "instrument", "side")} == {
        "px": 48,
        "instrument": 72,
        "side": 76,
    }


@pytest.mark.parametrize("dtype", [types.event_dtype, types.order_dtype, types.fill_dtype], ids=str)
def test_records_have_no_hidden_holes(dtype):
    fields = sorted((offset, field.itemsize) for field, offset in dtype.fields.values())
    end = 0
    for offset, size in fields:
        assert offset == end, "a hole would make two equal records differ in bytes"
        end = offset + size
    assert dtype.itemsize == end


def test_every_reason_has_a_name_and_every_name_a_value():
    text = (ROOT / "engine/core/types.pxd").read_text()
    declared = {match[0]: int(match[1]) for match in re.findall(r"^    REASON_(\w+) = (\d+)", text, re.M)}
    assert {member.name: int(member) for member in types.Reason} == declared


def test_zeroed_records_are_neutral():
    order = np.zeros(1, types.order_dtype)[0]
    assert types.Status(order["status"]) is types.Status.NONE
    assert types.Reason(order["reason"]) is types.Reason.NONE
