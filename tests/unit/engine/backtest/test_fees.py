"""Fee models against their formulas."""

import pytest

from engine.backtest.config import AssetConfig, BacktestConfig, StrategyConfig, check
from engine.backtest.fees import fee
from engine.core.errors import ConfigError

FEES = {"maker_fee": -0.1, "taker_fee": 0.3, "buyer_fee": 0.01, "seller_fee": 0.02}


def asset(model: str, **changes: float) -> AssetConfig:
    return AssetConfig(symbol="X", tick_size=0.1, lot_size=0.1, fee_model=model, **(FEES | changes))


@pytest.mark.parametrize("is_maker", [True, False])
@pytest.mark.parametrize("side", [1, -1])
def test_fees_follow_their_formulas(is_maker, side):
    qty, value = 3.0, 450.0
    rate = FEES["maker_fee"] if is_maker else FEES["taker_fee"]
    duty = FEES["buyer_fee"] if side == 1 else FEES["seller_fee"]
    expected = {
        "trading_value_fee_model": (rate + duty) * value,
        "trading_qty_fee_model": rate * qty + duty * value,
        "flat_per_trade_fee_model": rate + duty * value,
    }
    for model, wanted in expected.items():
        assert fee(asset(model), is_maker, side, qty, value) == wanted


def test_only_a_fee_by_value_is_bounded_by_the_value():
    strategies = [StrategyConfig(id="s", cls="engine.strategy.native:MarketMaker")]
    per_unit = asset("trading_qty_fee_model", maker_fee=2.25, taker_fee=-7.0)
    check(BacktestConfig(assets=[per_unit], strategies=strategies))
    with pytest.raises(ConfigError, match=r"assets\[0\]\.taker_fee: a fraction of the value"):
        check(BacktestConfig(assets=[asset("trading_value_fee_model", taker_fee=2.0)], strategies=strategies))
