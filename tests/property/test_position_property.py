"""Positions against exact fractions, linear and inverse, through adds, reductions, closes and flips."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.risk.position import PositionKeeper
from tests.kit.position_oracle import ExactPosition

EXECUTIONS = st.lists(
    st.tuples(
        st.sampled_from([1, -1]),
        st.integers(1, 2_000_000),
        st.one_of(st.integers(1, 5), st.integers(1, 10**9)),
        st.integers(-1000, 1000),
    ),
    max_size=40,
)
SIZES = st.sampled_from(
    [("0.1", "0.001", "1"), ("0.01", "1", "100"), ("0.5", "1", "10"), ("0.25", "1", "50")]
)


@given(EXECUTIONS, SIZES, st.booleans(), st.integers(1, 2_000_000))
def test_a_position_is_the_exact_one(executions, sizes, inverse, mid_tick):
    tick, lot, contract = map(Fraction, sizes)
    keeper = PositionKeeper(*map(float, sizes), inverse=inverse)
    exact = ExactPosition(tick, lot, contract, inverse=inverse)
    gross = 1.0
    for side, price, lots, fee in executions:
        keeper.apply(side, price, lots, float(fee))
        exact.apply(side, price, lots, Fraction(fee))
        gross += float(exact.worth(price * tick, lots))
        assert keeper.lots == exact.lots
        assert keeper.num_trades == exact.trades
        if exact.lots == 0:
            assert math.isnan(keeper.avg_px)
            assert keeper.unrealized_pnl(math.nan) == 0.0
        else:
            assert keeper.avg_px == pytest.approx(float(exact.avg_px), rel=1e-9)
    mid = mid_tick * tick
    # Rounding is relative to all the value that went through, not to what is left of it.
    gross += abs(float(exact.worth(mid, exact.lots)))

    def near(value: Fraction):
        return pytest.approx(float(value), rel=1e-9, abs=1e-12 * gross)

    assert keeper.qty == near(exact.lots * lot)
    assert keeper.balance == near(exact.balance)
    assert keeper.fee == near(exact.fee)
    assert keeper.trading_volume == near(exact.volume)
    assert keeper.trading_value == near(exact.value)
    assert keeper.realized_pnl == near(exact.realized)
    assert keeper.unrealized_pnl(float(mid)) == near(exact.unrealized(mid))
    assert keeper.equity(float(mid)) == near(exact.equity(mid))


@given(EXECUTIONS, SIZES, st.booleans(), st.integers(1, 2_000_000))
def test_equity_is_realized_and_unrealized_less_fees(executions, sizes, inverse, mid_tick):
    keeper = PositionKeeper(*map(float, sizes), inverse=inverse)
    for side, price, lots, fee in executions:
        keeper.apply(side, price, lots, float(fee))
    mid = mid_tick * float(sizes[0])
    whole = keeper.realized_pnl + keeper.unrealized_pnl(mid) - keeper.fee
    scale = keeper.trading_value + abs(keeper.equity(mid)) + 1.0
    assert keeper.equity(mid) == pytest.approx(whole, abs=1e-11 * scale)
