"""What a callback costs: strategies in Python against the same ones compiled, on the same market.

Run with ``python -m benchmarks.bench_strategy`` from the project's root. An operation is a callback; both
sides are timed from events in memory to results, so replaying the market is in the figure too. The market
is simulated, 400 seconds of it. The compiled side of the first cases is ``peers/listener.pyx``, which is
built here, into ``build/``.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

if not __package__:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.harness import Comparison, arguments, compare, report
from engine.backtest.config import AssetConfig, BacktestConfig, StrategyConfig
from engine.backtest.runner import BacktestRunner
from engine.feeds.simulated import SimulatedMarket
from engine.strategy.base import Strategy

ROOT = Path(__file__).resolve().parents[1]
SECONDS = 400.0
ASSET = AssetConfig(symbol="BTCUSDT", tick_size=0.1, lot_size=0.001)
HERE = "benchmarks.bench_strategy"
CASES = {
    "on_book and on_trade, nothing done": (f"{HERE}:Listener", "listener:Listener", {}),
    "on_book and on_trade, read and averaged": (f"{HERE}:Reader", "listener:Reader", {}),
    "on_timer every 0.5 ms, nothing done": (f"{HERE}:Ticker", "listener:Ticker", {}),
    "on_timer every 10 ms, market maker": (
        "examples.strategies.market_maker:MarketMaker",
        "engine.strategy.native:MarketMaker",
        {"interval_ns": 10_000_000, "half_spread": 1.0},
    ),
}


class Counter(Strategy):
    """Says at the end how often it was called."""

    def on_start(self, ctx):
        self.heard, self.average, self.traded = 0, 0.0, 0.0

    def on_stop(self, ctx):
        ctx.log(self.heard)


class Listener(Counter):
    """Hears of every book and every trade."""

    def on_book(self, ctx, book):
        self.heard += 1

    def on_trade(self, ctx, trade):
        self.heard += 1


class Reader(Counter):
    """Keeps an average of the mid price and the traded quantity, and looks at its position."""

    def on_book(self, ctx, book):
        self.heard += 1
        mid = book.mid
        if mid == mid and ctx.position() == 0:
            self.average += 0.01 * (mid - self.average)

    def on_trade(self, ctx, trade):
        self.heard += 1
        self.traded += trade.qty


class Ticker(Counter):
    """Hears of every tick of a timer."""

    def on_start(self, ctx):
        super().on_start(ctx)
        ctx.set_timer(500_000)

    def on_timer(self, ctx, now):
        self.heard += 1


def build(name: str = "listener") -> None:
    """Compiles a ``.pyx`` of ``peers`` and makes it importable.

    Args:
        name: The file's name without its ending.
    """
    from Cython.Build import cythonize
    from setuptools import Distribution, Extension

    target = ROOT / "build" / "bench"
    flags = ["-O3", "-fno-strict-aliasing", "-ffp-contract=off"]
    source = str(ROOT / "benchmarks" / "peers" / f"{name}.pyx")
    extension = Extension(name, [source], extra_compile_args=flags)
    options = {"include_path": [str(ROOT)], "language_level": 3, "quiet": True}
    modules = cythonize([extension], build_dir=str(target), **options)
    command = Distribution({"ext_modules": modules}).get_command_obj("build_ext")
    command.build_lib, command.build_temp = str(target), str(target / "temp")
    command.ensure_finalized()
    command.run()
    sys.path.insert(0, str(target))


def replay(events, cls: str, params: dict) -> list:
    """Runs a backtest; returns what the strategy logged."""
    strategy = StrategyConfig(id="s", cls=cls, params=params)
    return (
        BacktestRunner()
        .run(BacktestConfig(assets=[ASSET], strategies=[strategy]), {ASSET.symbol: events})
        .logs
    )


def compared(case: str, events, rounds: int) -> Comparison:
    """One case, with a callback as the operation."""
    python, compiled, params = CASES[case]
    logs = replay(events, python, params)
    calls = int(logs[-1][-1]) if logs else int(SECONDS * 1e9) // params["interval_ns"]

    def run(cls: str) -> int:
        replay(events, cls, params)
        return calls

    return compare(case, ("compiled", partial(run, compiled)), ("Python", partial(run, python)), rounds)


def main() -> None:
    """Runs all cases and prints them."""
    args = arguments("Callbacks of strategies: compiled against Python.")
    build()
    events = SimulatedMarket(ASSET.symbol, seed=7).generate(SECONDS)
    results = [compared(case, events, args.rounds) for case in CASES]
    report("strategy", results, as_json=args.json)
    if not args.json:
        for r in results:
            rates = f"compiled {1e3 / r.ours_ns:.1f}, Python {1e3 / r.theirs_ns:.1f} M callbacks a second"
            print(f"  {r.case}: {rates}")


if __name__ == "__main__":
    main()
