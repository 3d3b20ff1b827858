"""Positions by hand: the numbers of small cases, written out."""

from __future__ import annotations

import math

import pytest

from engine.core.errors import ConfigError
from engine.risk.position import PositionKeeper


def test_a_linear_round_trip():
    keeper = PositionKeeper(0.5, 0.1)
    keeper.apply(1, 200, 10, 0.1)
    keeper.apply(1, 210, 10, 0.1)
    assert (keeper.lots, keeper.qty, keeper.avg_px) == (20, 2.0, 102.5)
    assert keeper.unrealized_pnl(103.0) == pytest.approx(1.0)
    keeper.apply(-1, 220, 5, -0.05)
    assert keeper.realized_pnl == pytest.approx(0.5 * 7.5)
    assert keeper.avg_px == pytest.approx(102.5)
    keeper.apply(-1, 200, 15)
    assert (keeper.lots, keeper.realized_pnl) == (0, pytest.approx(3.75 - 1.5 * 2.5))
    assert math.isnan(keeper.avg_px)
    assert keeper.fee == pytest.approx(0.15)
    assert keeper.equity(math.nan) == pytest.approx(-0.15)
    assert (keeper.num_trades, keeper.trading_volume) == (4, pytest.approx(4.0))


def test_a_flip_opens_the_rest_at_its_own_price():
    keeper = PositionKeeper(1.0, 1.0)
    keeper.apply(1, 100, 2)
    keeper.apply(-1, 110, 5)
    assert (keeper.lots, keeper.avg_px, keeper.realized_pnl) == (-3, 110.0, 20.0)
    assert keeper.unrealized_pnl(100.0) == 30.0
    assert keeper.equity(100.0) == 50.0


def test_an_inverse_position_gains_in_coin():
    keeper = PositionKeeper(1.0, 1.0, 100.0, inverse=True)
    keeper.apply(1, 10_000, 100)
    keeper.apply(1, 20_000, 100)
    assert keeper.avg_px == pytest.approx(2 / (1 / 10_000 + 1 / 20_000))
    assert keeper.unrealized_pnl(20_000.0) == pytest.approx(1.5 - 1.0)
    keeper.apply(-1, 20_000, 300)
    assert keeper.lots == -100
    assert keeper.realized_pnl == pytest.approx(0.5)
    assert keeper.avg_px == pytest.approx(20_000.0)
    assert keeper.unrealized_pnl(10_000.0) == pytest.approx(1.0 - 0.5 - 0.0)
    assert keeper.equity(20_000.0) == pytest.approx(0.5)


def test_a_closed_position_forgets_all_rounding():
    keeper = PositionKeeper(0.1, 0.001)
    for _ in range(1000):
        keeper.apply(1, 3, 7)
        keeper.apply(-1, 3, 2)
        keeper.apply(-1, 3, 5)
    assert keeper.unrealized_pnl(0.7) == 0.0
    assert keeper.realized_pnl == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("wrong", [(0.0, 1.0), (1.0, -1.0), (1.0, math.nan), (1.0, 1.0, math.inf)])
def test_wrong_sizes_are_refused(wrong):
    with pytest.raises(ConfigError, match="size"):
        PositionKeeper(*wrong)


@pytest.mark.parametrize("wrong", [(0, 1, 1), (1, 0, 1), (1, 1, 0), (1, 1, -1)])
def test_what_is_no_execution_is_refused(wrong):
    keeper = PositionKeeper(1.0, 1.0)
    with pytest.raises(ValueError, match="no execution"):
        keeper.apply(*wrong)
    assert keeper.num_trades == 0
