"""The matching engine beside matchers that Python people can install, on crossing limit orders.

Run with ``python -m benchmarks.bench_matching_peers`` from the project's root. An operation is a limit order:
buys and sells take turns at ten prices, so that most trade. Ours is called as from Python, once for them all,
and puts out trades and answers; making the orders is outside the clock for everybody. Each peer first has to
execute the same quantity as ours. One that is not installed is left out and named with how to install it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

if not __package__:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from benchmarks.harness import Comparison, Run, arguments, compare, report
from engine.matching.engine import MatchingEngine
from engine.matching.records import Kind, command_dtype

ORDERS = 5_000


def crossing(n: int) -> np.ndarray:
    """Alternating buys and sells of 1 to 99 lots at ten prices that cross."""
    rng = np.random.default_rng(7)
    rows = np.zeros(n, command_dtype)
    rows["kind"] = Kind.ADD
    rows["order_id"] = np.arange(1, n + 1)
    rows["owner"] = 1 + np.arange(n) % 2
    rows["side"] = np.where(np.arange(n) % 2, -1, 1)
    rows["px"] = 1000 + rng.integers(0, 10, n)
    rows["qty"] = rng.integers(1, 100, n)
    return rows


def ringbook(rows: np.ndarray) -> tuple[Run, Callable[[], int]]:
    """Ours: the run, and the lots it executed."""
    engine = MatchingEngine(max_orders=len(rows), levels=False, events="trades")
    answers = []

    def run() -> int:
        answers.append(engine.apply(rows)[0])
        return len(rows)

    return run, lambda: int(answers[0]["exec_qty"].sum())


def light_matching_engine(rows: np.ndarray) -> tuple[Run, Callable[[], int]]:
    """lightmatchingengine."""
    from lightmatchingengine.lightmatchingengine import LightMatchingEngine, Side

    engine = LightMatchingEngine()
    sides = {1: Side.BUY, -1: Side.SELL}
    orders = [(float(row["px"]), int(row["qty"]), sides[int(row["side"])]) for row in rows]
    done = []

    def run() -> int:
        for px, qty, side in orders:
            done.append(engine.add_order("X", px, qty, side)[0])
        return len(orders)

    # Its orders go on counting when they are hit later: each trade is in two of them.
    return run, lambda: sum(order.cum_qty for order in done) // 2


def py_order_book(rows: np.ndarray) -> tuple[Run, Callable[[], int]]:
    """pyorderbook."""
    from pyorderbook import Book, ask, bid

    book = Book()
    sides = {1: bid, -1: ask}
    orders = [sides[int(row["side"])]("X", int(row["px"]), int(row["qty"])) for row in rows]

    def run() -> int:
        for order in orders:
            book.match(order)
        return len(orders)

    return run, lambda: sum(order.original_quantity - order.quantity for order in orders) // 2


PEERS = {
    "lightmatchingengine": light_matching_engine,
    "pyorderbook": py_order_book,
}


def same_quantity(rows: np.ndarray, name: str, make: Callable) -> None:
    """Ends the benchmark when a peer does not execute what ours does."""
    executed = []
    for contender in (ringbook, make):
        run, lots = contender(rows)
        run()
        executed.append(lots())
    if executed[0] != executed[1]:
        sys.exit(f"{name} executed {executed[1]} lots, ours {executed[0]}")


def comparisons(rounds: int) -> list[Comparison]:
    """Ours beside each peer that is there."""
    rows = crossing(ORDERS)
    results = []
    for name, make in PEERS.items():
        try:
            same_quantity(rows, name, make)
        except ImportError:
            print(f"without {name}: pip install {name}", file=sys.stderr)
            continue
        ours = [ringbook(rows)[0] for _ in range(rounds + 1)]
        theirs = [make(rows)[0] for _ in range(rounds + 1)]
        contenders = ("ringbook", lambda o=ours: o.pop()()), (name, lambda t=theirs: t.pop()())
        results.append(compare("crossing limit orders", *contenders, rounds))
    return results


def main() -> None:
    """Measures and prints."""
    args = arguments("The matching engine beside matchers in Python.")
    report("matching peers", comparisons(args.rounds), as_json=args.json)


if __name__ == "__main__":
    main()
