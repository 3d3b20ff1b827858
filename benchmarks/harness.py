"""Paired benchmarks: ours and theirs take turns in one process, so that both meet the same machine.

The figure is the median of the rounds' ratios. A ratio of two runs that follow each other is worth more
than two rates from different minutes, and the spread says how far to believe it.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass

Run = Callable[[], int]
"""Does a fixed amount of work and returns how many operations that was."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """How two contenders did.

    Attributes:
        case: What they did.
        ours: Name of the first.
        theirs: Name of the second.
        ours_ns: Its median nanoseconds an operation.
        theirs_ns: The other's.
        ratio: Median of theirs / ours over the rounds: above 1, ours is faster by that factor.
        low: The worst round's ratio.
        high: The best round's ratio.
        rounds: Rounds measured.
    """

    case: str
    ours: str
    theirs: str
    ours_ns: float
    theirs_ns: float
    ratio: float
    low: float
    high: float
    rounds: int


def nanoseconds(run: Run) -> float:
    """Runs once without the garbage collector.

    Args:
        run: The work.

    Returns:
        Nanoseconds an operation.
    """
    gc.collect()
    gc.disable()
    try:
        start = time.perf_counter_ns()
        operations = run()
        return (time.perf_counter_ns() - start) / operations
    finally:
        gc.enable()


def compare(case: str, ours: tuple[str, Run], theirs: tuple[str, Run], rounds: int = 7) -> Comparison:
    """Lets two contenders take turns; who goes first alternates, and a first round of each warms up.

    Args:
        case: What they do.
        ours: Name and work of the first.
        theirs: Name and work of the second.
        rounds: Rounds to measure.
    """
    nanoseconds(ours[1])
    nanoseconds(theirs[1])
    a, b = [], []
    for turn in range(rounds):
        if turn % 2 == 0:
            a.append(nanoseconds(ours[1]))
            b.append(nanoseconds(theirs[1]))
        else:
            b.append(nanoseconds(theirs[1]))
            a.append(nanoseconds(ours[1]))
    ratios = [y / x for x, y in zip(a, b, strict=True)]
    return Comparison(
        case=case,
        ours=ours[0],
        theirs=theirs[0],
        ours_ns=statistics.median(a),
        theirs_ns=statistics.median(b),
        ratio=statistics.median(ratios),
        low=min(ratios),
        high=max(ratios),
        rounds=rounds,
    )


def arguments(
    description: str, argv: Sequence[str] | None = None, *, cases: bool = False
) -> argparse.Namespace:
    """The command line that every benchmark has.

    Args:
        description: What the benchmark compares.
        argv: The arguments; ``sys.argv[1:]`` by default.
        cases: Whether single cases can be asked for.

    Returns:
        ``rounds`` and ``json``, and ``case`` with ``cases``: parts of names, of which a case has to have all.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--rounds", type=int, default=7, help="rounds to measure (default 7)")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    if cases:
        parser.add_argument(
            "--case",
            action="append",
            default=[],
            metavar="TEXT",
            help="only cases named so; repeat to narrow",
        )
    args = parser.parse_args(argv)
    if args.rounds < 1:
        parser.error("--rounds must be 1 or more")
    return args


def report(title: str, comparisons: Iterable[Comparison], *, as_json: bool = False) -> None:
    """Prints the results.

    Args:
        title: Names the benchmark.
        comparisons: What :func:`compare` returned.
        as_json: One JSON object instead of a table.
    """
    results = list(comparisons)
    if as_json:
        print(json.dumps({"benchmark": title, "results": [asdict(result) for result in results]}))
        return
    rows = [("case", "ours", "ns/op", "theirs", "ns/op", "ratio", "spread")]
    for r in results:
        rows.append(
            (
                r.case,
                r.ours,
                f"{r.ours_ns:,.1f}",
                r.theirs,
                f"{r.theirs_ns:,.1f}",
                f"{r.ratio:.2f}x",
                f"{r.low:.2f} to {r.high:.2f}",
            )
        )
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    print(title)
    for row in rows:
        cells = [
            cell.rjust(width) if i in (2, 4, 5) else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        print("  " + "  ".join(cells).rstrip())
