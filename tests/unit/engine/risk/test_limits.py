"""Limits as a configuration names them."""

from __future__ import annotations

import pytest

from engine.core.errors import ConfigError
from engine.core.settings import convert
from engine.risk.limits import UNLIMITED, RiskLimits


def test_limits_come_from_plain_values():
    assert convert({}, RiskLimits) == UNLIMITED
    assert convert({"max_position": 2, "max_open_orders": 3}, RiskLimits) == RiskLimits(
        max_position=2.0, max_open_orders=3
    )


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"max_pos": 1.0}, "max_pos"),
        ({"max_position": -1.0}, "max_position"),
        ({"max_order_qty": 0.0}, "max_order_qty"),
        ({"max_notional": "all"}, "max_notional"),
        ({"max_open_orders": -1}, "max_open_orders"),
    ],
)
def test_wrong_limits_name_their_key(wrong, text):
    with pytest.raises(ConfigError, match=text):
        convert(wrong, RiskLimits)


def test_merging_keeps_what_is_not_set():
    present = RiskLimits(max_position=1.0, max_order_qty=2.0)
    change = RiskLimits(max_position=5.0, max_open_orders=0)
    assert present.merged(change) == RiskLimits(max_position=5.0, max_order_qty=2.0, max_open_orders=0)
    assert present.merged(UNLIMITED) == present
