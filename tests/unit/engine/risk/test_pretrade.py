"""The checks before an order leaves, one by one and at their edges."""

from __future__ import annotations

import math

import pytest

from engine.core.errors import ConfigError
from engine.core.types import Reason, TradingState
from engine.risk.limits import UNLIMITED, RiskLimits
from engine.risk.pretrade import check

BUY, SELL = 1, -1


def test_nothing_is_limited_by_default():
    assert check(
        UNLIMITED, 0.1, side=BUY, qty=10**15, position=10**15, notional=1e300, open_orders=10**6
    ) is (Reason.NONE)


@pytest.mark.parametrize(("qty", "reason"), [(5, Reason.NONE), (6, Reason.MAX_ORDER_QTY)])
def test_order_quantity(qty, reason):
    assert check(RiskLimits(max_order_qty=0.5), 0.1, side=SELL, qty=qty) is reason


def test_a_limit_counts_whole_lots_below_it():
    assert check(RiskLimits(max_order_qty=0.59), 0.1, side=BUY, qty=5) is Reason.NONE
    assert check(RiskLimits(max_order_qty=0.59), 0.1, side=BUY, qty=6) is Reason.MAX_ORDER_QTY
    assert check(RiskLimits(max_order_qty=0.3), 0.1, side=BUY, qty=3) is Reason.NONE


@pytest.mark.parametrize(
    ("side", "position", "open_side", "qty", "reason"),
    [
        (BUY, 0, 0, 10, Reason.NONE),
        (BUY, 0, 0, 11, Reason.MAX_POSITION),
        (BUY, 4, 4, 2, Reason.NONE),
        (BUY, 4, 4, 3, Reason.MAX_POSITION),
        (SELL, 4, 0, 14, Reason.NONE),
        (SELL, 4, 0, 15, Reason.MAX_POSITION),
        (SELL, -4, 4, 2, Reason.NONE),
        (SELL, -4, 4, 3, Reason.MAX_POSITION),
        (SELL, 30, 0, 30, Reason.NONE),
        (BUY, 30, 0, 1, Reason.MAX_POSITION),
    ],
)
def test_position_counts_everything_open_on_the_side(side, position, open_side, qty, reason):
    limits = RiskLimits(max_position=10.0)
    assert check(limits, 1.0, side=side, qty=qty, position=position, open_side=open_side) is reason


def test_a_modify_that_takes_away_passes_whatever_is_held():
    limits = RiskLimits(max_position=10.0)
    assert check(limits, 1.0, side=BUY, qty=5, added=-2, position=30, new_orders=0) is Reason.NONE


@pytest.mark.parametrize(("notional", "reason"), [(100.0, Reason.NONE), (100.01, Reason.MAX_NOTIONAL)])
def test_notional(notional, reason):
    assert check(RiskLimits(max_notional=100.0), 1.0, side=BUY, qty=1, notional=notional) is reason


def test_open_orders_count_for_new_orders_only():
    limits = RiskLimits(max_open_orders=2)
    assert check(limits, 1.0, side=BUY, qty=1, open_orders=1) is Reason.NONE
    assert check(limits, 1.0, side=BUY, qty=1, open_orders=2) is Reason.MAX_OPEN_ORDERS
    assert check(limits, 1.0, side=BUY, qty=1, open_orders=2, new_orders=0) is Reason.NONE


@pytest.mark.parametrize(
    ("side", "position", "open_side", "qty", "reason"),
    [
        (SELL, 5, 0, 5, Reason.NONE),
        (SELL, 5, 0, 6, Reason.REDUCE_ONLY),
        (SELL, 5, 3, 3, Reason.REDUCE_ONLY),
        (BUY, 5, 0, 1, Reason.REDUCE_ONLY),
        (BUY, -5, 0, 5, Reason.NONE),
        (BUY, 0, 0, 1, Reason.REDUCE_ONLY),
        (SELL, 0, 0, 1, Reason.REDUCE_ONLY),
    ],
)
def test_reducing_lets_only_reductions_pass(side, position, open_side, qty, reason):
    state = TradingState.REDUCING
    assert (
        check(UNLIMITED, 1.0, side=side, qty=qty, position=position, open_side=open_side, trading_state=state)
        is reason
    )


def test_the_first_reason_in_order_is_given():
    limits = RiskLimits(max_order_qty=1, max_position=1, max_notional=1, max_open_orders=1)
    order = {"side": BUY, "qty": 2, "notional": 2.0, "open_orders": 1}
    assert check(limits, 1.0, **order, trading_state=TradingState.HALTED) is Reason.TRADING_HALTED
    assert check(limits, 1.0, **order, trading_state=TradingState.REDUCING) is Reason.REDUCE_ONLY
    assert check(limits, 1.0, **order) is Reason.MAX_ORDER_QTY
    order["qty"] = 1
    assert check(limits, 1.0, **order, open_side=1) is Reason.MAX_POSITION
    assert check(limits, 1.0, **order) is Reason.MAX_NOTIONAL
    order["notional"] = 1.0
    assert check(limits, 1.0, **order) is Reason.MAX_OPEN_ORDERS


@pytest.mark.parametrize("name", ["max_position", "max_order_qty", "max_notional"])
@pytest.mark.parametrize("value", [-1.0, math.nan])
def test_a_limit_that_is_no_number_is_refused(name, value):
    with pytest.raises(ConfigError, match="limit"):
        check(RiskLimits(**{name: value}), 1.0, side=BUY, qty=1)


def test_infinity_is_no_limit():
    limits = RiskLimits(max_position=math.inf, max_order_qty=math.inf, max_notional=math.inf)
    assert check(limits, 0.001, side=BUY, qty=10**17, notional=1e300) is Reason.NONE
