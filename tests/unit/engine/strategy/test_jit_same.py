"""Compiled handlers against the same class in Python: what they read, what they ask for, what they keep."""

from __future__ import annotations

import pytest

from engine.backtest import runner
from engine.backtest.config import AssetConfig, BacktestConfig, StrategyConfig
from tests.kit import jitted, reader
from tests.kit.kernels import events, trading
from tests.kit.markets import LOT_SIZE, TICK_SIZE, random_market
from tests.kit.reader import digest


@pytest.fixture
def backtest(monkeypatch):
    """Runs a strategy on two random markets; returns the result and the strategy."""
    made = []

    def create(cls, params):
        made.append(cls(**params))
        return made[-1]

    monkeypatch.setattr(runner, "create", create)

    def run(cls, seed, **params):
        sizes = {"tick_size": TICK_SIZE, "lot_size": LOT_SIZE, "maker_fee": -0.0001, "taker_fee": 0.0005}
        assets = [
            AssetConfig(symbol=symbol, entry_latency_ns=1_000, response_latency_ns=2_000, asset=kind, **sizes)
            for symbol, kind in (("A", "linear"), ("B", "inverse"))
        ]
        strategy = StrategyConfig(id="s", cls=cls, params=params)
        config = BacktestConfig(assets=assets, strategies=[strategy], seed=seed)
        data = {"A": random_market(seed, 900), "B": random_market(seed + 50, 900)}
        result = runner.BacktestRunner(check_invariants=True).run(config, data)
        assert result.failures == []
        return result, made[-1]

    return run


@pytest.mark.parametrize("seed", range(4))
def test_a_strategy_that_reads_and_asks_for_everything(backtest, seed):
    plain, slow = backtest("tests.kit.reader:Reader", seed, weight=0.25 * seed)
    fast, quick = backtest("tests.kit.jitted:Reader", seed, weight=0.25 * seed)
    assert len(plain.fills) > 20
    calls = dict(zip(reader.CALLS, digest(slow)[4], strict=True))
    assert [call for call, times in calls.items() if times == 0] == ["on_params", "on_signal"]
    assert fast.orders.tobytes() == plain.orders.tobytes()
    assert fast.fills.tobytes() == plain.fills.tobytes()
    assert str(fast.states) == str(plain.states)
    assert digest(quick) == digest(slow)
    assert fast.logs == plain.logs != []


@pytest.mark.parametrize("seed", range(3))
def test_a_strategy_that_trades_several_markets(backtest, seed):
    plain, _ = backtest("tests.kit.talker:Talker", seed, interval_ns=3_000)
    fast, _ = backtest("tests.kit.jitted:Talker", seed, interval_ns=3_000)
    assert len(plain.fills) > 20
    assert fast.orders.tobytes() == plain.orders.tobytes()


BOTH = pytest.mark.parametrize("cls", [reader.Reader, jitted.Reader], ids=["python", "jit"])


@BOTH
def test_new_parameters_reach_the_handlers(cls):
    strategy = cls()
    kernel, _venue = trading(strategy, seed=77)
    assert (strategy._counts[1], kernel.next_timer) == (0, 2_000)
    before = digest(strategy)[3]
    assert kernel.update_params("s0", {"weight": 8.5}).success
    assert strategy._counts[1] == 1
    assert strategy._sum == before * 0.999 + 8.5
    assert strategy.params()["weight"] == strategy.weight == 8.5
    assert not kernel.update_params("s0", {"weight": "much"}).success
    assert strategy.weight == 8.5


@BOTH
def test_all_callbacks_and_the_end(cls):
    strategy = cls(interval_ns=10)
    kernel, venue = trading(strategy)
    for ts in range(2_000, 4_000, 10):
        kernel.timer(ts)
        venue.answer()
        for order_id in sorted(venue.resting)[:1]:
            venue.fill(order_id)
    kernel.market(0, events(("buy", 101.0, 2.0), ts=4_000))
    kernel.update_params("s0", {})
    kernel.send_signal("trend", "BTC", 0.5)
    kernel.send_signal("trend", "", 1.0)
    kernel.stop()
    assert min(strategy._counts.tolist()) > 0
    assert kernel.strategy("s0").traceback == ""


def signalled(strategy):
    kernel, _venue = trading(strategy)
    kernel.send_signal("trend", "ETH", 1.5)
    kernel.send_signal("trend", "", 2.5)
    kernel.send_signal("other", "BTC", 9.0)
    return kernel


def test_signals():
    signal, plain = jitted.Signals(), jitted.Signals.plain()
    fast, slow = signalled(signal), signalled(plain)
    assert (signal._told, signal._value, signal._when, signal._second) == (2, 4.0, 2_000, True)
    assert (plain._told, plain._value, plain._when, plain._second) == (2, 4.0, 2_000, True)
    logs = [line[4] for line in fast.take_logs()]
    assert logs == [line[4] for line in slow.take_logs()] == ["0 1.5", "all 2.5", "other 9.0"]
