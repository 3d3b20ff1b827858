"""The risk chain: nanoseconds of a denied and of an admitted order, with everything off and with limits set.

``python -m benchmarks.bench_risk`` prints the median, p90, p99 and p99.9 of single calls, each timed on its
own with the steady clock, whose own cost (the median of empty timings) is taken away. The calls are the
desk's: what a compiled strategy runs. Both strategies have 20 live orders.
"""

from __future__ import annotations

import argparse
import json

from engine.kernel import InstrumentSpec, Kernel
from engine.risk.limits import RiskConfig, RiskLimits
from engine.strategy.base import Strategy
from engine.strategy.probe import time_checks
from tests.kit.kernels import events

ORDER = RiskLimits(max_position=1e6, max_order_qty=100.0, max_notional=1e9, max_open_orders=10_000)
WIDE = {
    "price_collar_bps": 5000.0,
    "max_data_age_ns": 10**12,
    "max_clock_skew_ns": 10**12,
    "require_book": True,
    "refuse_crossed_book": True,
    "session_hours": ("00:00-24:00",),
    "self_trade_prevention": True,
    "max_open_notional": 1e12,
    "max_gross_notional": 1e12,
    "capital": 1e12,
    "max_order_to_trade_ratio": 1e12,
    "duplicate_window_ns": 1,
    "order_rate": 1e9,
    "order_burst": 1_000_000,
    "message_rate": 1e9,
    "message_burst": 1_000_000,
    "max_repeat_executions": 1_000_000,
    "repeat_window_ns": 1_000_000,
    "max_rejects": 1_000_000,
    "reject_window_ns": 1_000_000,
    "max_daily_loss": 1e12,
    "max_drawdown": 1e12,
}
CASES = {
    "no limits": (RiskLimits(), RiskConfig()),
    "the four of an order": (ORDER, RiskConfig()),
    "all, of a strategy": (ORDER.merged(RiskLimits(**WIDE)), RiskConfig()),
    "all, in every scope": (
        ORDER.merged(RiskLimits(**WIDE)),
        RiskConfig(
            limits=RiskLimits(max_notional=1e9, max_open_orders=10_000, **WIDE),
            instruments={"A": ORDER.merged(RiskLimits(**WIDE))},
        ),
    ),
}


class Quiet(Strategy):
    """Does nothing of its own; the benchmark acts through its context."""

    def on_start(self, ctx):
        self.ctx = ctx


def kernel_of(limits: RiskLimits, risk: RiskConfig) -> Kernel:
    """A kernel with a market in two instruments and two strategies."""
    kernel = Kernel([InstrumentSpec("A", 0.5, 0.1), InstrumentSpec("B", 0.5, 0.1)])
    kernel.set_risk(risk)
    strategies = {"a": Quiet(), "b": Quiet()}
    for name, strategy in strategies.items():
        kernel.add_strategy(name, strategy, limits=limits)
    kernel.start(1_700_000_000 * 10**9)
    for i in range(2):
        kernel.market(i, events(("bid", 100.0, 5.0), ("ask", 101.0, 5.0), ts=kernel.now))
    for number in range(10):
        for qty, strategy in enumerate(strategies.values(), 1):
            assert strategy.ctx.submit("A", 1, 90.0 - number, qty * 0.1)
            assert strategy.ctx.submit("A", -1, 111.0 + number, qty * 0.1)
    kernel.drain()
    return kernel


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=200_000, help="calls of each case")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    found = {}
    for name, (limits, risk) in CASES.items():
        found[name] = time_checks(kernel_of(limits, risk), options.calls)
    if options.json:
        print(json.dumps(found))
        return
    print(f"{'ns an order checked':24}" + "".join(f"{key:>8}" for key in next(iter(found.values()))))
    for name, row in found.items():
        print(f"{name:24}" + "".join(f"{value:8.0f}" for value in row.values()))


if __name__ == "__main__":
    main()
