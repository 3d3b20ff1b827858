"""What a backtest keeps in memory: benchmarks/bench_memory.py in short, each case in a process of its own."""

from __future__ import annotations

import sys

import pytest

from benchmarks.bench_memory import GROWTH_MB, LIMIT_MB, measure, measure_repeats

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")


@pytest.mark.timeout(120)
@pytest.mark.parametrize(("events", "compress"), [(4_000_000, False), (500_000, True)])
def test_a_day_of_events_is_flat(events, compress):
    figures = measure(events, 5, compress)
    assert figures["events"] == events
    assert figures["hours"] == pytest.approx(24, abs=1)
    assert figures["samples"] >= events // 65_536
    assert figures["updates"] > 10_000
    assert figures["peak_mb"] < LIMIT_MB / 2, figures
    assert figures["growth_mb"] < GROWTH_MB / 2, figures
    assert figures["flat"]


@pytest.mark.timeout(120)
@pytest.mark.parametrize("compress", [False, True])
def test_many_runs_in_one_process_are_flat(compress):
    figures = measure_repeats(100_000, 40, compress)
    assert figures["flat"], figures
