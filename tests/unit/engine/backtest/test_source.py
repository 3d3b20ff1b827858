"""The thread that packs recordings ahead: when there is one, that it ends, and what a fork makes of it."""

from __future__ import annotations

import gc
import os
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from engine.backtest import hbt
from engine.backtest.config import AssetConfig, BacktestConfig, StrategyConfig
from engine.backtest.runner import BacktestRunner
from engine.core.errors import ConfigError, DataError, StrategyError
from engine.strategy.base import Strategy
from tests.kit.markets import LOT_SIZE, TICK_SIZE, random_market

LONG = random_market(7, 60_000)
SHORT = LONG[:30_000]

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts the tasks of a process")


def tasks() -> int:
    return len(list(Path("/proc/self/task").iterdir()))


def polled(events: np.ndarray = LONG, threads: object = 2) -> hbt.HashMapMarketDepthBacktest:
    asset = hbt.BacktestAsset().data(events).tick_size(TICK_SIZE).lot_size(LOT_SIZE)
    return hbt.HashMapMarketDepthBacktest([asset], threads=threads)


def books(run: hbt.HashMapMarketDepthBacktest, steps: int = 10_000_000) -> list[str]:
    seen = []
    while steps and run.elapse(100_000) == 0:
        depth = run.depth(0)
        seen.append(repr((run.current_timestamp, depth.best_bid, depth.best_ask)))
        steps -= 1
    return seen


def test_a_thread_is_there_if_it_is_asked_for():
    before = tasks()
    assert (polled(threads=1).threads, tasks()) == (1, before)
    run = polled(SHORT)
    assert (run.threads, tasks()) == (2, before + 1)
    run.close()
    assert (run.threads, tasks()) == (1, before)
    asset = hbt.BacktestAsset().data(LONG).tick_size(TICK_SIZE).lot_size(LOT_SIZE)
    assert hbt.HashMapMarketDepthBacktest([asset]).threads == 1
    assert tasks() == before


def test_the_thread_ends_with_close_with_the_object_and_with_the_data():
    before = tasks()
    run = polled()
    run.elapse(1_000)
    run.close()
    assert (run.threads, tasks()) == (1, before)
    run = polled()
    run.elapse(1_000)
    cycle = [run]
    cycle.append(cycle)
    del run, cycle
    gc.collect()
    assert tasks() == before
    run = polled()
    books(run)
    # It has nothing to wait for any more.
    for _ in range(1000):
        if tasks() == before:
            break
        time.sleep(0.01)
    assert tasks() == before
    run.close()


def test_a_run_that_does_not_begin_leaves_no_thread():
    before = tasks()
    asset = hbt.BacktestAsset().data(LONG).tick_size(TICK_SIZE).lot_size(LOT_SIZE)
    faulty = hbt.BacktestAsset().data(LONG).tick_size(TICK_SIZE).lot_size(LOT_SIZE)
    faulty.intp_order_latency(np.zeros((1, 1)))
    with pytest.raises(DataError, match="order latencies"):
        hbt.HashMapMarketDepthBacktest([asset, faulty], threads=2)
    gc.collect()
    assert tasks() == before


class Failing(Strategy):
    """Raises in the middle of the market."""

    calls = 0

    def on_start(self, ctx):
        ctx.set_timer(1_000_000)

    def on_timer(self, ctx, now):
        type(self).calls += 1
        if self.calls % 10 == 0:
            raise ValueError("enough")


def runner_config(cls: str = "tests.unit.engine.backtest.test_source:Failing") -> BacktestConfig:
    asset = AssetConfig(symbol="A", tick_size=TICK_SIZE, lot_size=LOT_SIZE)
    return BacktestConfig(assets=[asset], strategies=[StrategyConfig(id="s", cls=cls)])


def test_a_strategy_that_raises_leaves_no_thread():
    before = tasks()
    with pytest.raises(StrategyError) as caught:
        BacktestRunner(on_error="raise", threads=2).run(runner_config(), {"A": LONG})
    assert "enough" in str(caught.value)
    assert tasks() == before


def test_runs_in_threads_of_their_own_do_not_meet():
    alone = books(polled(threads=1))
    seen: list[list[str]] = []
    workers = [threading.Thread(target=lambda: seen.append(books(polled()))) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert seen == [alone] * 4


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_fork_goes_on_by_itself_and_so_does_its_parent():
    alone = books(polled(threads=1))
    for steps in range(0, len(alone), max(1, len(alone) // 8)):
        run = polled()
        seen = books(run, steps)
        child = os.fork()
        if child == 0:
            status = 1
            try:
                status = 0 if seen + books(run) == alone and run.threads == 1 else 2
                run.close()
                again = polled()
                status = status or (0 if again.threads == 2 and books(again) == alone else 3)
                again.close()
            finally:
                os._exit(status)
        assert seen + books(run) == alone
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        run.close()


@pytest.mark.parametrize("wrong", [0, 3, True, "2", 1.5, None])
def test_threads_are_one_or_two(wrong):
    with pytest.raises(ConfigError, match="threads"):
        polled(threads=wrong)
