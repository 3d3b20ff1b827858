"""The logs of a run: in memory, or on disk where there is much; the same entries either way."""

from __future__ import annotations

import os
import tempfile
from functools import partial

import numpy as np
import pytest

from engine.backtest.config import AssetConfig, BacktestConfig, StrategyConfig
from engine.backtest.recorder import Recorder
from engine.backtest.runner import BacktestRunner
from engine.core.errors import CapacityError
from tests.kit.markets import LOT_SIZE, TICK_SIZE, random_market

ASSET = AssetConfig(
    symbol="A", tick_size=TICK_SIZE, lot_size=LOT_SIZE, entry_latency_ns=1_000, response_latency_ns=1_000
)
STRATEGY = StrategyConfig(
    id="mm",
    cls="engine.strategy.native:MarketMaker",
    params={"interval_ns": 5_000, "half_spread": 0.5, "order_qty": 0.02, "max_position": 0.1},
)
CONFIG = BacktestConfig(assets=[ASSET], strategies=[STRATEGY], equity_sample_ns=50_000)


@pytest.fixture(scope="module")
def data():
    return {"A": random_market(3, 600)}


def limit(monkeypatch, memory: int) -> None:
    monkeypatch.setattr("engine.backtest.runner.Recorder", partial(Recorder, memory=memory))


@pytest.mark.parametrize("memory", [1, 1_000, 10_000])
def test_logs_on_disk_have_the_entries_of_those_in_memory(monkeypatch, data, memory):
    plain = BacktestRunner().run(CONFIG, data)
    assert plain.orders.nbytes > 10_000
    limit(monkeypatch, memory)
    written = BacktestRunner().run(CONFIG, data)
    for name in ("fills", "orders", "equity"):
        ours, theirs = getattr(written, name), getattr(plain, name)
        assert len(theirs)
        assert type(ours) is np.ndarray
        assert (ours.dtype, ours.tobytes()) == (theirs.dtype, theirs.tobytes())
    written.orders["ts"][0] = 1
    assert written.fill_records() == plain.fill_records()


def test_a_recorder_that_recorded_nothing_has_empty_logs():
    recorder = Recorder(memory=1)
    for log in (recorder.fill_array(), recorder.order_array(), recorder.sample_array()):
        assert len(log) == 0


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="no list of open files here")
def test_no_files_are_left_open(monkeypatch, data):
    limit(monkeypatch, 1_000)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        BacktestRunner().run(CONFIG, data)
    assert len(os.listdir("/proc/self/fd")) <= before


def test_a_directory_without_room_ends_the_run(monkeypatch, data, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "absent"))
    limit(monkeypatch, 1_000)
    with pytest.raises(CapacityError, match="temporary directory has no room"):
        BacktestRunner().run(CONFIG, data)
