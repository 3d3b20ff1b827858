"""An engine that is killed in the middle of a daemon comes back, and the run is as if nothing had been."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from engine.backtest.config import BacktestConfig, StrategyConfig
from engine.backtest.data import save_events
from engine.backtest.runner import BacktestRunner
from engine.reports.session import load
from tests.kit.daemons import daemon, replay, until
from tests.kit.loops import asset
from tests.kit.recordings import events, recording

ROOT = Path(__file__).resolve().parents[2]
ROWS = 90_000
KILLS = 3
MAKER = {"half_spread": 1.0, "skew": 0.3, "order_qty": 0.01, "max_position": 0.1}
MODELS = {"maker_fee": -0.00005, "taker_fee": 0.0007, "queue_model": "power_prob_queue_model3"}


def reference(rows):
    config = BacktestConfig(
        assets=[asset(**MODELS)],
        strategies=[StrategyConfig(id="mm", cls="engine.strategy.native:MarketMaker", params=MAKER)],
    )
    return BacktestRunner().run(config, {"BTCUSDT": rows})


def restarts(it):
    """How often the engine has been brought back, once it and those who depend on it run again."""
    processes = it.status()["processes"]
    running = all(processes[role]["pid"] for role in ("engine", "journaller", "bridge"))
    return processes["engine"]["restarts"] if running else -1


@pytest.mark.recording
def test_a_run_whose_engine_is_killed_is_the_backtest_all_the_same(tmp_path):
    recording("usdm")
    rows = events("usdm")[:ROWS]
    data, journals = tmp_path / "usdm.npz", tmp_path / "journals"
    save_events(data, rows)
    rng = random.Random(5)
    with daemon(replay(data, speed=10.0, more=f'[journal]\ndir = "{journals}"\nbuffer_mb = 16')) as it:
        it.start()
        for kill in range(1, KILLS + 1):
            part = int(ROWS * (kill - rng.random()) / (KILLS + 1))
            until(lambda part=part: it.status()["engine"]["events"] > part, "more of the recording", 60)
            os.kill(it.pid("engine"), signal.SIGKILL)
            until(lambda kill=kill: restarts(it) == kill, "the engine is back", 60)
        until(lambda: it.status()["engine"]["feed_state"] == "ended", "the end of the replay", 60)
        position = it.status()["positions"][0]
        assert it.end()[0] == 0
    result = reference(rows)
    values = result.states[0].values
    assert values.num_trades > 10
    for name in ("position", "balance", "fee", "num_trades", "trading_volume", "trading_value"):
        assert position[name] == getattr(values, name), name
    out = tmp_path / "session.npz"
    command = [
        sys.executable,
        "-m",
        "engine.cli.main",
        "replay",
        "--journal",
        str(journals),
        "--out",
        str(out),
    ]
    done = subprocess.run(
        [*command, "--json"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr + done.stdout
    said = json.loads(done.stdout)
    assert said["ended"]
    assert said["compared"] > KILLS
    fills = load(out).fills[: len(result.fills)]
    for name in ("exch_ts", "local_ts", "price_tick", "qty", "side", "reason", "fee"):
        assert (fills[name] == result.fills[name]).all(), name
