"""The arithmetic of linear and inverse assets."""

import pytest

from engine.backtest.assets import amount, equity
from engine.backtest.config import AssetConfig

LINEAR = AssetConfig(symbol="L", tick_size=0.1, lot_size=0.001, contract_size=2.0)
INVERSE = AssetConfig(symbol="I", tick_size=0.1, lot_size=1.0, contract_size=100.0, asset="inverse")


def test_linear():
    assert amount(LINEAR, 100.0, 3.0) == 600.0
    assert equity(LINEAR, 110.0, balance=-600.0, position=3.0, fee=1.0) == pytest.approx(59.0)


def test_inverse():
    assert amount(INVERSE, 50_000.0, 10.0) == 0.02
    # Bought 10 contracts at 50,000; at 60,000 the position is worth less coin than was paid.
    assert equity(INVERSE, 60_000.0, balance=-0.02, position=10.0, fee=0.0) == pytest.approx(
        0.02 - 1000 / 60_000
    )
