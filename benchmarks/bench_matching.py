"""The matching engine: its rate on three flows, the delay of a single command, and what a full book costs.

Run with ``python -m benchmarks.bench_matching`` from the project's root; ``--cpu``, ``--pace`` and
``--churn SECONDS`` measure one thing each instead of the comparison. An operation is a command. The
peer is the matcher that one writes in Python (``peers/sorted_matcher.py``); it does the same, tells
nobody, and does a thirtieth of the commands. Ours is driven from compiled code, as an engine loop does
it (``peers/matching_drive.pyx``, built here); setting up and the first orders of the mix are outside the
clock. ``--cpu`` counts the thread's own time, which a busy machine disturbs less.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

if not __package__:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from benchmarks.bench_strategy import build
from benchmarks.harness import Comparison, Run, compare, report
from benchmarks.matching_flows import crossing, mix, rows
from benchmarks.peers.sorted_matcher import SortedMatcher
from engine.matching.records import Kind, command_dtype, result_dtype

COMMANDS = 300_000
PEER_SHARE = 30
LIVE = 100_000
WAYS = (
    ("no events", "batch", 0),
    ("one by one", "singly", 0),
    ("trades and answers", "batch", 1),
    ("all events", "batch", 2),
)
MARKS = (50, 90, 99, 99.9, 99.99)


def prepared(make: Callable[[], Run], rounds: int) -> Run:
    """A run for each round, made before the clock starts."""
    runs = [make() for _ in range(rounds + 1)]
    return lambda: runs.pop()()


def ours(commands: np.ndarray, first: int, how: str = "batch", output: int = 0) -> Run:
    """A matcher that holds the first commands' orders, ready for the others."""
    from matching_drive import Driver

    driver = Driver(len(commands) if first == 0 else 2 * first, output, output == 2)
    results = np.empty(len(commands), result_dtype)
    results.fill(0)
    if first:
        driver.batch(commands[:first], results[:first])
    return lambda: getattr(driver, how)(commands[first:], results[first:])


def theirs(commands: np.ndarray, first: int) -> Run:
    """The Python matcher, likewise."""
    matcher = SortedMatcher()
    matcher.apply(rows(commands[:first]))
    rest = rows(commands[first : first + (len(commands) - first) // PEER_SHARE])
    return lambda: matcher.apply(rest)


def flows() -> dict[str, tuple[np.ndarray, int]]:
    """The flows, and how many commands of each come before the clock starts."""
    return {
        "crossing": (crossing(COMMANDS), 0),
        "mix, 100,000 live": (mix(COMMANDS, LIVE), LIVE),
        "book alone, 100,000 live": (mix(COMMANDS, LIVE, matching=False), LIVE),
    }


def comparisons(rounds: int) -> list[Comparison]:
    """Every flow in every way."""
    results = []
    for flow, (commands, first) in flows().items():
        for case, how, output in WAYS:
            mine = prepared(lambda c=commands, f=first, h=how, o=output: ours(c, f, h, o), rounds)
            other = prepared(lambda c=commands, f=first: theirs(c, f), rounds)
            names = ("ringbook", mine), ("SortedDict", other)
            results.append(compare(f"{flow}, {case}", *names, rounds))
    return results


def cpu_time(case: str, commands: np.ndarray, first: int, how: str, output: int, rounds: int) -> None:
    """Prints what a command of a flow costs in the thread's own time."""
    taken = []
    for _ in range(rounds):
        run = ours(commands, first, how, output)
        start = time.thread_time_ns()
        n = run()
        taken.append((time.thread_time_ns() - start) / n)
    median = float(np.median(taken))
    print(f"  {case:<45} {median:6.1f} ns, {1e3 / median:5.1f} M/s; best round {1e3 / min(taken):.1f} M/s")


def by_cpu(rounds: int) -> None:
    """Every flow in every way, and the mix with ever more live orders."""
    for flow, (commands, first) in flows().items():
        for case, how, output in WAYS:
            cpu_time(f"{flow}, {case}", commands, first, how, output, rounds)
    for live in (1_000, 10_000, 1_000_000):
        cpu_time(f"mix, {live:,} live, no events", mix(COMMANDS, live), live, "batch", 0, rounds)


def by_pace(seconds: int) -> None:
    """The delay of single commands of either flow, offered one a microsecond."""
    from matching_drive import Driver, clock_cost

    print(f"  a reading of the clock, one of which is in each figure: {clock_cost():.0f} ns")
    cases = [("crossing", crossing(seconds * 1_000_000), 0)]
    cases += [(f"mix, {n:,} live", mix(seconds * 1_000_000, n), n) for n in (1_000, 10_000, LIVE)]
    for flow, commands, first in cases:
        driver = Driver(2 * first or len(commands))
        if first:
            driver.batch(commands[:first], np.empty(first, result_dtype))
        waited, taken = driver.paced(commands[first:], 1_000)
        for name, nanoseconds in (("done after it was due", waited), ("taken by the command", taken)):
            marks = zip(MARKS, np.percentile(nanoseconds, MARKS), strict=True)
            print(f"  {flow}, {name}: " + ", ".join(f"p{p:g} {m:,.0f} ns" for p, m in marks))


def by_churn(seconds: int) -> None:
    """What a command of the mix costs while the same matcher goes on and on, its ids ever new."""
    from matching_drive import Driver

    commands = mix(1_000_000, LIVE)
    driver = Driver(2 * LIVE)
    results = np.empty(len(commands), result_dtype)
    clear = np.zeros(1, command_dtype)
    clear["kind"] = Kind.MASS_CANCEL
    ids = commands["order_id"].copy()
    done, started, told = 0, time.perf_counter(), 0.0
    while (spent := time.perf_counter() - started) < seconds:
        commands["order_id"] = ids + np.uint64(done)
        driver.batch(commands[:LIVE], results[:LIVE])
        before = time.thread_time_ns()
        driver.batch(commands[LIVE:], results[LIVE:])
        taken = (time.thread_time_ns() - before) / (len(commands) - LIVE)
        done += len(commands)
        if spent >= told:
            print(f"  after {done / 1e6:,.0f} M commands, {len(driver):,} live: {taken:.1f} ns a command")
            told += max(1.0, seconds / 20)
        driver.batch(clear, results[:1])
    if not driver.sound():
        sys.exit("the matcher is not sound")


def main() -> None:
    """Measures what was asked for."""
    parser = argparse.ArgumentParser(description="The matching engine against a matcher in Python.")
    parser.add_argument("--rounds", type=int, default=7, help="rounds to measure (default 7)")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    parser.add_argument("--cpu", action="store_true", help="the cost in the thread's own time")
    parser.add_argument("--pace", action="store_true", help="the delay at a million commands a second")
    parser.add_argument("--churn", type=int, metavar="SECONDS", help="the cost over a long run")
    args = parser.parse_args()
    build("matching_drive")
    if args.cpu:
        by_cpu(args.rounds)
    elif args.pace:
        by_pace(1)
    elif args.churn:
        by_churn(args.churn)
    else:
        report("matching", comparisons(args.rounds), as_json=args.json)


if __name__ == "__main__":
    main()
