"""Sessions on a market within: the same seed, the same bytes; what is refused; what a failure leaves."""

from __future__ import annotations

import pytest

from engine.backtest.config import AssetConfig, BacktestConfig, StrategyConfig
from engine.core.errors import ConfigError
from engine.runtime.session import MarketRunner
from engine.strategy.status import StrategyWarning

MAKER = "engine.strategy.native:MarketMaker"
PARAMS = {"half_spread": 1.0, "order_qty": 0.01, "max_position": 0.1}


def config(*, seed=7, symbols=("BTCUSDT",), strategies=None, **changes):
    sizes = {"tick_size": 0.1, "lot_size": 0.001, "maker_fee": -0.00005, "taker_fee": 0.0007}
    return BacktestConfig(
        assets=[AssetConfig(symbol=symbol, **(sizes | changes)) for symbol in symbols],
        strategies=strategies or [StrategyConfig(id="mm", cls=MAKER, params=PARAMS)],
        seed=seed,
    )


def test_a_seed_gives_a_session_and_another_one_another():
    runner = MarketRunner(check_invariants=True)
    one, again, other = (runner.run(config(seed=seed), 5.0) for seed in (1, 1, 2))
    assert len(one.fills) > 0
    assert one.events > 100
    assert one.fills.tobytes() == again.fills.tobytes()
    assert one.fills.tobytes() != other.fills.tobytes()
    assert one.states[0].values.num_trades == len(one.fills)
    assert one.last_ts - one.first_ts == 5_000_000_000
    assert set(one.fill_records()[0]) >= {"ts", "side", "px", "reason"}
    # A stop cancels what is live, and waits for the answers.
    assert set(one.orders["order"]["status"][-2:].tolist()) <= {3, 4}


def test_without_agents_nobody_trades_with_a_market_maker():
    result = MarketRunner(agents=False).run(config(), 2.0)
    assert (result.events, len(result.fills)) == (0, 0)


def test_a_faster_market_does_more_and_progress_is_told():
    told = []
    calm = MarketRunner(progress=told.append).run(config(), 2.5)
    busy = MarketRunner(rate=4.0).run(config(), 2.5)
    assert busy.events > 2 * calm.events
    assert told == [0.4, 0.8, 1.0]


def test_a_strategy_that_raises_is_stopped_and_the_rest_goes_on():
    raiser = StrategyConfig(id="r", cls="tests/kit/raiser.py:Raiser", params={"where": "on_book", "nth": 3})
    strategies = [StrategyConfig(id="mm", cls=MAKER, params=PARAMS), raiser]
    with pytest.warns(StrategyWarning, match="r raised"):
        result = MarketRunner().run(config(strategies=strategies), 3.0)
    assert [failure.strategy for failure in result.failures] == ["r"]
    assert result.states[0].values.num_trades == len(result.fills)
    assert len(result.orders) > 20


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan"), float("inf")])
def test_a_session_has_a_length(seconds):
    with pytest.raises(ConfigError, match="seconds are not above 0"):
        MarketRunner().run(config(), seconds)


def test_a_law_that_is_none_is_refused(tmp_path):
    (tmp_path / "law.toml").write_text("name = 3\n")
    with pytest.raises(ConfigError, match=r"law\.toml"):
        MarketRunner(law=tmp_path / "law.toml").run(config(), 1.0)
    with pytest.raises(ConfigError, match="start_px must be"):
        MarketRunner(start_px=1.0).run(config(), 1.0)
    own = config(fee_model="tests/kit/own_models.py:Fees", maker_fee=0.0, taker_fee=0.0)
    with pytest.raises(ConfigError, match="built-in fees and constant latencies"):
        MarketRunner().run(own, 1.0)
