"""The built-in models over again in Python, Numba and Cython, on the real recording: the same results."""

from __future__ import annotations

import pytest

from benchmarks.bench_strategy import build
from engine.backtest.config import AssetConfig, BacktestConfig, StrategyConfig
from engine.backtest.runner import BacktestRunner
from tests.kit.recordings import LOT_SIZE, TICK_SIZE, events

MAKER = {"interval_ns": 100_000_000, "half_spread": 1.0, "order_qty": 0.01, "grid_num": 3}
QUEUES = {
    "risk_adverse_queue_model": 0,
    "power_prob_queue_model": 1,
    "power_prob_queue_model2": 2,
    "power_prob_queue_model3": 3,
    "log_prob_queue_model": 4,
    "log_prob_queue_model2": 5,
}


def replay(**models):
    asset = AssetConfig(symbol="BTCUSDT", tick_size=TICK_SIZE["usdm"], lot_size=LOT_SIZE["usdm"], **models)
    strategy = StrategyConfig(id="mm", cls="engine.strategy.native:MarketMaker", params=MAKER)
    return BacktestRunner().run(
        BacktestConfig(assets=[asset], strategies=[strategy]), {"BTCUSDT": events("usdm")}
    )


@pytest.mark.parametrize("queue", QUEUES)
def test_own_models_give_the_results_of_the_built_in_ones(queue):
    build("own_models")
    expected = replay(
        queue_model=queue,
        maker_fee=-0.00005,
        taker_fee=0.0007,
        cancel_latency_ns=2_000_000,
        entry_latency_ns=900_000,
    )
    assert len(expected.fills) > 100
    latency = {"new_ns": 900_000, "modify_ns": 900_000, "cancel_ns": 2_000_000, "response_ns": 1_000_000}
    for prefix in ("tests.kit.own_models:", "tests.kit.own_models:Fast", "own_models:"):
        result = replay(
            latency_model=f"{prefix}Latency",
            latency_params=latency,
            entry_latency_ns=2_000_000,
            queue_model=f"{prefix}Queue",
            queue_params={"kind": QUEUES[queue], "n": 3.0},
            fee_model=f"{prefix}Fee",
            fee_params={"kind": 0, "maker": -0.00005, "taker": 0.0007, "buyer": 0.0, "seller": 0.0},
        )
        assert result.fills.tobytes() == expected.fills.tobytes(), prefix
        assert result.orders.tobytes() == expected.orders.tobytes(), prefix
