"""Compiled strategies in Numba's cache: found by the next process, but not with another layout of ours."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[5]

STRATEGY = """
from numba import njit


@njit(cache=True)
def polls(hbt):
    n = 0
    while hbt.elapse(10_000) == 0:
        n += hbt.depth(0).best_bid_qty >= 0.0
    return n
"""

RUN = """
import sys
from cached_strategy import polls
from engine.backtest import hbt
from engine.backtest.hbt import types
from tests.kit.hostile import described

types.BACKTESTS[False].layout += sys.argv[1]
n = polls(hbt.HashMapMarketDepthBacktest([described(1)]))
print(n, sum(polls.stats.cache_hits.values()))
"""


def run(directory: Path, layout: str) -> list[str]:
    """How often the strategy polled, and how many compiled functions came from the cache."""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{directory}"}
    command = [sys.executable, "-c", RUN, layout]
    return subprocess.check_output(command, env=environment, text=True, timeout=100).split()


def test_the_cache_is_of_one_layout(tmp_path):
    (tmp_path / "cached_strategy.py").write_text(STRATEGY)
    polled, hits = run(tmp_path, "")
    assert (int(polled) > 10, hits) == (True, "0")
    assert run(tmp_path, "") == [polled, "1"]
    assert run(tmp_path, "another") == [polled, "0"]
