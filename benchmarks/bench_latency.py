"""Tick to order: from a market record in the engine loop's ring until the order is in the venue's queue.

Run with ``python -m benchmarks.bench_latency`` from the project's root. ``peers/latency.pyx``, which is
built here, into ``build/``, has the stopwatch and says what lies between its two ends. The market is
simulated; each record goes through the loop alone, as it does when the engine keeps up with its feed, and
only records that lead to a new order count. Between two of them lie some hundred that do not, so caches
are as an engine has them, not as a loop around one call has them. The goals, for the first new order, are
500 ns at the median and 10 microseconds at 99.9 %; a line below says when the last request of the same
reaction was on its way (a market maker cancels and sends up to two of each).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

if not __package__:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.bench_risk import CASES as RISK
from benchmarks.bench_strategy import build
from benchmarks.latency import buckets, figures, histogram, table
from engine.backtest.config import AssetConfig
from engine.core.ring import Bell, Ring
from engine.core.types import OrdType, Side, TimeInForce
from engine.feeds.base import EventSource
from engine.feeds.merge import Merger
from engine.feeds.simulated import SimulatedMarket
from engine.journal.wal import Journal
from engine.kernel import Kernel
from engine.risk.limits import RiskConfig
from engine.runtime.loop import LoopCore
from engine.runtime.publish import Publisher
from engine.runtime.records import SLOT_BYTES, Kind, market_record_dtype, record_dtype
from engine.runtime.rundir import RING_SLOTS
from engine.strategy.base import Strategy
from engine.strategy.jit import compiled
from engine.strategy.loader import create, load

HERE = "benchmarks.bench_latency"
MAKER = {"half_spread": 1.0, "order_qty": 0.001}
BEAT = {"interval_ns": 10_000_000, **MAKER}


class Case(NamedTuple):
    """A strategy, its parameters, whether every limit is set in all scopes, whether inputs are journalled."""

    cls: str
    params: dict[str, Any]
    limited: bool = False
    journalled: bool = False


CASES = {
    "Cython, bid at each new best": Case("latency:Quoter", {}),
    "Numba, bid at each new best": Case(f"{HERE}:Quoter", {}),
    "Cython market maker, every 10 ms": Case("engine.strategy.native:MarketMaker", BEAT),
    "Numba market maker, every 10 ms": Case("examples.strategies.market_maker_jit:MarketMaker", BEAT),
    "Cython bid, all limits everywhere": Case("latency:Quoter", {}, limited=True),
    "Cython bid, inputs journalled": Case("latency:Quoter", {}, journalled=True),
    "Cython bid, limits and journal": Case("latency:Quoter", {}, limited=True, journalled=True),
}
EVERY_LIMIT = RISK["all, in every scope"]
SHARED = "/dev/shm" if Path("/dev/shm").is_dir() else None
WARM_UP = 20_000
"""Records of each round that go before the first that counts."""
SLICE = 20_000
"""Records after which the journal's room is given back, as a journaller does."""
GOALS = {"p50": 500.0, "p99.9": 10_000.0}


class Result(NamedTuple):
    """What a case came to; goals are held against the median of the rounds."""

    case: str
    samples: np.ndarray
    order: dict[str, float]
    last: dict[str, float]
    medians: dict[str, float]
    met: dict[str, bool]

    def to_json(self) -> dict[str, Any]:
        """The figures and the buckets that hold anything."""
        return {
            "case": self.case,
            "to_order": self.order,
            "to_last_request": self.last,
            "median_of_rounds": self.medians,
            "met": self.met,
            "histogram": [row for row in buckets(self.samples) if row[2]],
        }

    def verdict(self, name: str) -> str:
        """Whether a goal is met, in words."""
        said = "met" if self.met[name] else "missed"
        return f"{name} {self.medians[name]:,.0f} of {GOALS[name]:,.0f} ns, {said}"


@compiled
class Quoter(Strategy):
    """Keeps a bid at the best price: when that changes, cancels the old one and sends a new one."""

    _quoted: int = 0

    def on_book(self, ctx, book):
        best = book.best_bid_tick
        if best is None or best == self._quoted:
            return
        self._quoted = best
        ctx.cancel_all()
        if ctx.position_lots(None) < 1000:
            ctx.submit_ticks(None, Side.BUY, best, 1, OrdType.LIMIT, TimeInForce.GTX)


def feed_records(asset: AssetConfig, seconds: float) -> np.ndarray:
    """A simulated market as the feed process writes it: both sides' records, merged, one slot a row."""
    events = SimulatedMarket(asset.symbol, seed=7).generate(seconds)

    class Source(EventSource):
        symbol = name = asset.symbol

        @property
        def rows(self) -> int:
            return len(events)

        def chunks(self, start: int = 0):
            yield events[start:]

    items = Merger([Source()]).read(2 * len(events))
    records = np.zeros(len(items), record_dtype)
    records["kind"] = Kind.MARKET
    for name in ("flags", "instrument", "ts"):
        records[name] = items[name]
    records["payload"].view(market_record_dtype)["event"] = items["event"]
    return records


def measure(case: Case, asset: AssetConfig, records: np.ndarray) -> np.ndarray:
    """One round with an engine of its own.

    Returns:
        Shape (n, 2), in units of the clock: to the first new order, to the last request.
    """
    import latency

    kernel = Kernel([asset])
    limits, risk = EVERY_LIMIT if case.limited else (None, None)
    if risk is not None:
        kernel.set_risk(RiskConfig(limits=risk.limits, instruments={asset.symbol: limits}))
    kernel.add_strategy("s", create(load(case.cls), case.params), limits=limits)
    kernel.touch()
    inputs, outgoing = (
        [Ring(RING_SLOTS[name], SLOT_BYTES) for name in names]
        for names in (
            ("feed", "orders_in", "control_in"),
            ("orders_out", "market_out", "telemetry_out", "control_out"),
        )
    )
    venue = latency.TimedPaper([asset])
    core = LoopCore(kernel, venue, Publisher(kernel, *outgoing), *inputs, Bell())
    with ExitStack() as stack:
        journal = None
        if case.journalled:
            folder = stack.enter_context(tempfile.TemporaryDirectory(dir=SHARED))
            journal = Journal.create(f"{folder}/buffer", run_id=bytes(16), capacity=1 << 26)
            stack.callback(journal.close)
            core.keep_in(journal)
        kernel.start(int(records["ts"][0]))
        core.drain()
        core.set_started()
        slots = records.view(np.uint8).reshape(len(records), SLOT_BYTES)
        samples, found = np.zeros((len(records), 2), np.uint64), 0
        for at in range(0, len(slots), SLICE):
            if at == WARM_UP:
                found = 0
            found += latency.drive(core, venue, outgoing, slots[at : at + SLICE], samples[found:])[0]
            if journal is not None:
                journal.commit(journal.head, journal.accepted_seq)
    kernel.check_invariants()
    kernel.release()
    if not found:
        sys.exit(f"{case.cls}: no order in {len(records)} records")
    return samples[:found]


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Tick to order of compiled strategies inside the engine.")
    parser.add_argument("--rounds", type=int, default=5, help="rounds to measure, all in one (default 5)")
    parser.add_argument("--seconds", type=float, default=300.0, help="of market in a round (default 300)")
    parser.add_argument("--cpu", type=int, help="the CPU to stay on")
    parser.add_argument("--clock", choices=("counter", "gettime"), default="counter", help="what to time by")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    args = parser.parse_args()
    if args.rounds < 1 or args.seconds <= 0:
        parser.error("--rounds and --seconds must be positive")
    return args


def counter_is_steady() -> bool:
    """Whether the processor's counter runs at one rate in all states, by what Linux says of it."""
    try:
        flags = Path("/proc/cpuinfo").read_text().split()
    except OSError:
        return False
    return "constant_tsc" in flags and ("nonstop_tsc" in flags or "tsc_reliable" in flags)


def main() -> None:
    """Runs all cases and prints them."""
    args = arguments()
    if args.cpu is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {args.cpu})
    build("latency")
    import latency

    clock = latency.choose(args.clock == "counter" and counter_is_steady())
    unit, cost = latency.calibrate()
    asset = AssetConfig(symbol="BTCUSDT", tick_size=0.1, lot_size=0.001)
    records = feed_records(asset, args.seconds)
    results = []
    for name, case in CASES.items():
        rounds = [measure(case, asset, records) * unit for _ in range(args.rounds)]
        order, last = np.concatenate(rounds).T
        medians = {name: statistics.median(figures(part[:, 0])[name] for part in rounds) for name in GOALS}
        met = {name: medians[name] < goal for name, goal in GOALS.items()}
        results.append(Result(name, order, figures(order), figures(last), medians, met))
    if args.json:
        found = [result.to_json() for result in results]
        print(json.dumps({"benchmark": "latency", "clock": clock, "clock_cost_ns": cost, "results": found}))
        return
    print(f"tick to order, ns; clock {clock}, whose own {cost:.1f} ns are in every figure")
    rows = [row for r in results for row in ((r.case, r.order), ("  to the last request", r.last))]
    print("\n".join(f"  {line}" for line in table(rows)))
    for result in results:
        print(f"\n{result.case}: " + ", ".join(result.verdict(name) for name in GOALS))
        print("\n".join(histogram(result.samples)))


if __name__ == "__main__":
    main()
