"""A sweep on a real Dask cluster, one of whose workers is killed, gives what it gives without a cluster."""

from __future__ import annotations

import os
import signal

import numpy as np
import pytest
from distributed import Client, LocalCluster

from engine.core.errors import ConfigError
from engine.research.plan import Plan
from engine.research.sweep import Sweep, on_dask, run_task
from tests.kit.sessions import market


def test_a_killed_worker_changes_nothing(tmp_path):
    recording = tmp_path / "market.npz"
    np.savez(recording, data=market(4.0))
    base = {
        "assets": [{"symbol": "X", "tick_size": 0.1, "lot_size": 0.001, "data": [str(recording)]}],
        "strategies": [{"id": "c", "class": "tests.kit.sessions:Clockwork"}],
    }
    plan = Plan(base, {"interval_ns": [n * 10_000_000 for n in range(4, 12)], "seed": [0, 1]})
    here = Sweep(plan, tmp_path / "here").run(lambda tasks: map(run_task, tasks))
    killed = []
    with LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster:
        with Client(cluster.scheduler_address) as client:
            pids = sorted(client.run(os.getpid).values())

        def kill_one(done: int, total: int) -> None:
            if done >= 3 and not killed:
                killed.append(pids[0])
                os.kill(pids[0], signal.SIGKILL)

        there = Sweep(plan, tmp_path / "there").run(on_dask(cluster.scheduler_address), kill_one)
    assert killed
    assert len(pids) == 2
    assert there == here
    assert len(here) == 16


def test_nobody_there_is_said(monkeypatch):
    with pytest.raises(ConfigError, match="--scheduler"):
        on_dask("nonsense://nowhere")
