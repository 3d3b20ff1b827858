"""Handlers that Numba compiled against the same strategies in Cython, on the same market.

Run with ``python -m benchmarks.bench_jit`` from the project's root. An operation is a callback; both sides
are timed from events in memory to results, so replaying the market is in the figure too, and least of it in
the cases with a short timer. The ratio is the speed of Numba's handlers as a part of Cython's; compiling is
done before. The market is simulated. The Cython side of the first cases is ``peers/listener.pyx``, which is
built here, into ``build/``.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

if not __package__:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.bench_strategy import ASSET, build
from benchmarks.harness import Comparison, arguments, compare, report
from engine.backtest.config import BacktestConfig, StrategyConfig
from engine.backtest.runner import BacktestRunner
from engine.feeds.simulated import SimulatedMarket
from engine.strategy.base import Strategy
from engine.strategy.jit import compiled

HERE = "benchmarks.bench_jit"
MAKERS = ("examples.strategies.market_maker_jit:MarketMaker", "engine.strategy.native:MarketMaker")
GRID = {"grid_num": 5, "grid_interval": 4, "half_spread": 1.0}
CASES = {
    "on_book and on_trade, nothing done": (f"{HERE}:Listener", "listener:Listener", {}, 400),
    "on_book and on_trade, read and averaged": (f"{HERE}:Reader", "listener:Reader", {}, 400),
    "on_timer every 0.5 ms, nothing done": (f"{HERE}:Ticker", "listener:Ticker", {}, 400),
    "market maker every 100 ms": (*MAKERS, {"interval_ns": 100_000_000, "half_spread": 1.0}, 400),
    "market maker every 10 ms": (*MAKERS, {"interval_ns": 10_000_000, "half_spread": 1.0}, 400),
    "market maker every 10 ms, 10 orders": (*MAKERS, {"interval_ns": 10_000_000} | GRID, 400),
    "market maker every 0.01 ms": (*MAKERS, {"interval_ns": 10_000, "half_spread": 1.0}, 10),
    "market maker every 0.01 ms, 10 orders": (*MAKERS, {"interval_ns": 10_000} | GRID, 10),
}
"""Compiled by Numba, by Cython, parameters, seconds of market."""


@compiled
class Listener(Strategy):
    """Hears of every book and every trade."""

    _heard: int = 0

    def on_book(self, ctx, book):
        self._heard += 1

    def on_trade(self, ctx, trade):
        self._heard += 1

    def on_stop(self, ctx):
        ctx.log(str(self._heard))


@compiled
class Reader(Strategy):
    """Keeps an average of the mid price and the traded quantity, and looks at its position."""

    _heard: int = 0
    _average: float = 0.0
    _traded: float = 0.0

    def on_book(self, ctx, book):
        self._heard += 1
        mid = book.mid
        if mid == mid and ctx.position() == 0:
            self._average += 0.01 * (mid - self._average)

    def on_trade(self, ctx, trade):
        self._heard += 1
        self._traded += trade.qty

    def on_stop(self, ctx):
        ctx.log(str(self._heard))


@compiled
class Ticker(Strategy):
    """Hears of every tick of a timer."""

    _heard: int = 0

    def on_start(self, ctx):
        ctx.set_timer(500_000)

    def on_timer(self, ctx, now):
        self._heard += 1

    def on_stop(self, ctx):
        ctx.log(str(self._heard))


def replay(events, cls: str, params: dict):
    """Runs a backtest."""
    strategy = StrategyConfig(id="s", cls=cls, params=params)
    return BacktestRunner().run(BacktestConfig(assets=[ASSET], strategies=[strategy]), {ASSET.symbol: events})


def compared(case: str, rounds: int) -> Comparison:
    """One case, with a callback as the operation."""
    jit, native, params, seconds = CASES[case]
    events = SimulatedMarket(ASSET.symbol, seed=7).generate(float(seconds))
    first, second = (replay(events, cls, params) for cls in (jit, native))
    if first.orders.tobytes() != second.orders.tobytes():
        sys.exit(f"{case}: the two do not send the same orders")
    calls = int(first.logs[-1][-1]) if first.logs else seconds * 10**9 // params["interval_ns"]

    def run(cls: str) -> int:
        replay(events, cls, params)
        return calls

    return compare(case, ("Numba", partial(run, jit)), ("Cython", partial(run, native)), rounds)


def main() -> None:
    """Runs all cases and prints them."""
    args = arguments("Callbacks of strategies: compiled by Numba against Cython.")
    build()
    results = [compared(case, args.rounds) for case in CASES]
    report("jit", results, as_json=args.json)
    if not args.json:
        least = min(results, key=lambda r: r.ratio)
        print(f"  the least: {100 * least.ratio:.0f} % of Cython's speed, {least.case}")


if __name__ == "__main__":
    main()
