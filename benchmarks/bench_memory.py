"""How much memory a backtest needs: a day of events from files, and many runs in one process.

Run with ``python -m benchmarks.bench_memory`` from the project's root: it writes 100 million events, 24
hours of a simulated market, to a temporary directory (6.4 GB), lets a child process run a market maker on
them, and looks at the child's resident set after every chunk. ``--events`` makes it shorter, as tests do.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

if not __package__:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from engine.backtest.config import AssetConfig, BacktestConfig, StrategyConfig
from engine.backtest.runner import BacktestRunner
from engine.core.types import event_dtype
from engine.feeds.simulated import SimulatedMarket

ROOT = Path(__file__).resolve().parents[1]
DAY = 86_400
EVENTS_PER_SECOND = 1_120
"""What the simulated market comes to at its own rate."""

ASSET = {"symbol": "BTCUSDT", "tick_size": 0.1, "lot_size": 0.001, "queue_model": "power_prob_queue_model3"}
MAKER = StrategyConfig(
    id="mm",
    cls="engine.strategy.native:MarketMaker",
    params={"interval_ns": 100_000_000, "half_spread": 1.0, "skew": 0.2, "order_qty": 0.01},
)
LIMIT_MB = 300.0
GROWTH_MB = 16.0
"""What the last quarter of a run may have more than the second."""

LEAK_MB = 4.0
MB = 1e6


def resident() -> float:
    """The resident set of this process in MB."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / MB


def peak() -> float:
    """The largest resident set that this process has had, in MB."""
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM")) * 1024 / MB


# --- the recordings ---------------------------------------------------------------------------------


def portions(events: int, files: int) -> Iterator[Iterator[np.ndarray]]:
    """A day of a market with so many events, a file after another, each in chunks."""
    market = SimulatedMarket(ASSET["symbol"], seed=7, rate=events / DAY / EVENTS_PER_SECOND)
    chunks = market.chunks()
    rest = np.empty(0, event_dtype)

    def portion(left: int) -> Iterator[np.ndarray]:
        nonlocal rest
        while left:
            rest = rest if len(rest) else next(chunks)
            taken, rest = rest[:left], rest[left:]
            left -= len(taken)
            yield taken

    for i in range(files):
        yield portion(events * (i + 1) // files - events * i // files)


def write(file: BinaryIO, rows: int, chunks: Iterator[np.ndarray]) -> None:
    """An npy, chunk by chunk."""
    header = np.lib.format.header_data_from_array_1_0(np.empty(0, event_dtype)) | {"shape": (rows,)}
    np.lib.format.write_array_header_1_0(file, header)
    for chunk in chunks:
        file.write(memoryview(np.ascontiguousarray(chunk).view(np.uint8)))


def generate(folder: Path, events: int, files: int, compress: bool) -> list[str]:
    """Writes the day as npy files, or as compressed npz; returns their paths."""
    paths = []
    for i, chunks in enumerate(portions(events, files)):
        rows = events * (i + 1) // files - events * i // files
        path = folder / f"{i:03}.{'npz' if compress else 'npy'}"
        with open(path, "wb") as file:
            if compress:
                with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
                    with archive.open("data.npy", "w", force_zip64=True) as member:
                        write(member, rows, chunks)
            else:
                write(file, rows, chunks)
        paths.append(str(path))
    return paths


# --- the runs -----------------------------------------------------------------------------------------


def watched_run(paths: list[str]) -> dict[str, Any]:
    """Runs over the files; what the child process says."""
    config = BacktestConfig(assets=[AssetConfig(**ASSET, data=paths)], strategies=[MAKER])
    before = resident()
    samples: list[tuple[float, float]] = []
    started = time.perf_counter()
    result = BacktestRunner(progress=lambda done: samples.append((done, resident()))).run(config)
    seconds = time.perf_counter() - started
    x = [done * result.events / 1e6 for done, _ in samples]
    y = [mb for _, mb in samples]
    quarter = len(y) // 4
    # The first quarter is start-up: pages of books and logs are touched for the first time.
    slope = statistics.linear_regression(x[quarter:], y[quarter:]).slope if quarter > 1 else 0.0
    return {
        "events": result.events,
        "hours": (result.last_ts - result.first_ts) / 3.6e12,
        "seconds": seconds,
        "fills": len(result.fills),
        "updates": len(result.orders),
        "samples": len(samples),
        "before_mb": before,
        "max_mb": max([*y, resident()]),
        "peak_mb": peak(),
        "slope_mb_per_10m": 10 * slope,
        "growth_mb": max(y[-quarter:]) - max(y[quarter : 2 * quarter]) if quarter else 0.0,
    }


def repeated_runs(paths: list[str], repeats: int) -> dict[str, Any]:
    """Runs over the same file again and again in this process."""
    config = BacktestConfig(assets=[AssetConfig(**ASSET, data=paths)], strategies=[MAKER])
    after = []
    for _ in range(repeats):
        BacktestRunner().run(config)
        after.append(resident())
    # The first runs find the sizes at which the allocator keeps what it is given back.
    return {
        "runs": repeats,
        "first_mb": after[0],
        "growth_mb": max(after[repeats // 2 :]) - after[repeats // 4],
    }


def child(job: str, *arguments: str) -> dict[str, Any]:
    """Runs one of the above in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.bench_memory", "--child", job, *arguments]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True, text=True)
    return json.loads(done.stdout)


def measure(events: int, files: int, compress: bool) -> dict[str, Any]:
    """Generates a day, runs it in a child and removes it again; tells too whether that was flat."""
    with tempfile.TemporaryDirectory(prefix="ringbook-memory-") as folder:
        need = events * event_dtype.itemsize * 1.2
        if shutil.disk_usage(folder).free < need:
            raise SystemExit(f"needs {need / 1e9:.1f} GB below {tempfile.gettempdir()}; see --events")
        paths = generate(Path(folder), events, files, compress)
        figures = child("run", *paths)
    figures["flat"] = figures["peak_mb"] <= LIMIT_MB and figures["growth_mb"] <= GROWTH_MB
    return figures


def measure_repeats(events: int, repeats: int, compress: bool) -> dict[str, Any]:
    """Generates a short recording and runs it again and again in a child."""
    with tempfile.TemporaryDirectory(prefix="ringbook-memory-") as folder:
        figures = child("repeat", str(repeats), *generate(Path(folder), events, 1, compress))
    figures["flat"] = figures["growth_mb"] <= LEAK_MB
    return figures


def lines(title: str, figures: dict[str, Any]) -> str:
    """Figures for people."""
    verdict = "flat" if figures["flat"] else "NOT FLAT"
    if "runs" in figures:
        return (
            f"{title}: {figures['runs']} runs, {figures['first_mb']:.0f} MB after the first, "
            f"{figures['growth_mb']:+.1f} MB later: {verdict}"
        )
    return (
        f"{title}: {figures['events']:,} events, {figures['hours']:.1f} h, {figures['seconds']:.1f} s, "
        f"{figures['fills']:,} fills, {figures['updates']:,} order updates\n"
        f"  resident {figures['before_mb']:.0f} MB before, {figures['max_mb']:.0f} MB at most "
        f"(peak {figures['peak_mb']:.0f}), {figures['slope_mb_per_10m']:+.2f} MB per 10 M events, "
        f"{figures['growth_mb']:+.1f} MB from the second quarter to the last: {verdict}"
    )


def main() -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description="Resident set of backtests over files of any length.")
    parser.add_argument("--events", type=int, default=100_000_000, help="events in the day (default 100 M)")
    parser.add_argument("--files", type=int, default=24, help="files that the day is in (default 24)")
    parser.add_argument("--repeats", type=int, default=40, help="runs in one process (default 40)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        job, *rest = args.child
        figures = watched_run(rest) if job == "run" else repeated_runs(rest[1:], int(rest[0]))
        print(json.dumps(figures))
        return 0
    if not sys.platform.startswith("linux"):
        raise SystemExit("needs /proc, which only Linux has")
    short = max(args.events // 10, 1)
    figures = {
        "npy": measure(args.events, args.files, False),
        "compressed npz": measure(short, args.files, True),
        "again and again": measure_repeats(min(short, 300_000), args.repeats, False),
        "again and again, compressed": measure_repeats(min(short, 300_000), args.repeats, True),
    }
    print(json.dumps(figures) if args.json else "\n".join(lines(*item) for item in figures.items()))
    return 0 if all(case["flat"] for case in figures.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
