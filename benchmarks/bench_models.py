"""What models of one's own cost in Cython, Numba and Python, against the built-in ones.

Run with ``python -m benchmarks.bench_models`` from the project's root. All four do the same arithmetic and
give the same fills, which is checked. An operation is an event of the market; a market maker keeps ten orders
in it and looks every 10 ms, so that many changes of a level are a call of the queue model. The models in
Cython are ``peers/own_models.pyx``, built here, into ``build/``; the others are ``tests/kit/own_models.py``.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

if not __package__:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.bench_strategy import ASSET, build
from benchmarks.harness import Comparison, arguments, compare, report
from engine.backtest.config import AssetConfig, BacktestConfig, StrategyConfig
from engine.backtest.runner import BacktestRunner
from engine.feeds.simulated import SimulatedMarket

LATENCY = 1_000_000
BUILT_IN = {
    "latency": {"entry_latency_ns": LATENCY, "response_latency_ns": LATENCY},
    "queue": {"queue_model": "power_prob_queue_model3"},
    "fee": {"maker_fee": 0.0002, "taker_fee": 0.0005},
}
PARAMS = {
    "latency": {f"{name}_ns": LATENCY for name in ("new", "modify", "cancel", "response")},
    "queue": {"kind": 3, "n": 3.0},
    "fee": {"kind": 0, "maker": 0.0002, "taker": 0.0005, "buyer": 0.0, "seller": 0.0},
}
CLASSES = {"latency": "Latency", "queue": "Queue", "fee": "Fee"}
HOMES = {"Cython": "own_models:", "Numba": "tests.kit.own_models:Fast", "Python": "tests.kit.own_models:"}
MAKER = {"interval_ns": 10_000_000, "grid_num": 5, "grid_interval": 1, "half_spread": 1.0, "order_qty": 0.001}


def described(roles: tuple[str, ...], home: str) -> AssetConfig:
    """An asset whose models of some roles are somebody's own, and the others built in."""
    models: dict = {}
    for role, built_in in BUILT_IN.items():
        if role in roles:
            models[f"{role}_model"] = HOMES[home] + CLASSES[role]
            models[f"{role}_params"] = PARAMS[role]
        else:
            models |= built_in
    return AssetConfig(symbol=ASSET.symbol, tick_size=ASSET.tick_size, lot_size=ASSET.lot_size, **models)


def replay(events, asset: AssetConfig):
    """Runs a backtest."""
    maker = StrategyConfig(id="mm", cls="engine.strategy.native:MarketMaker", params=MAKER)
    return BacktestRunner().run(BacktestConfig(assets=[asset], strategies=[maker]), {asset.symbol: events})


def compared(events, roles: tuple[str, ...], home: str, rounds: int) -> Comparison:
    """One case, with an event as the operation."""
    own, built_in = described(roles, home), described((), home)
    first, second = replay(events, own), replay(events, built_in)
    if not len(first.fills) or first.fills.tobytes() != second.fills.tobytes():
        sys.exit(f"{home}: not the fills of the built-in models")

    def run(asset: AssetConfig) -> int:
        replay(events, asset)
        return len(events)

    case = f"{', '.join(roles)} in {home}"
    return compare(case, (home, partial(run, own)), ("built in", partial(run, built_in)), rounds)


def main() -> None:
    """Runs all cases and prints them."""
    args = arguments("Models of one's own against the built-in ones.")
    build("own_models")
    events = SimulatedMarket(ASSET.symbol, seed=7).generate(100.0)
    results = [compared(events, tuple(CLASSES), home, args.rounds) for home in HOMES]
    results += [compared(events, ("queue",), home, args.rounds) for home in HOMES]
    report("models", results, as_json=args.json)


if __name__ == "__main__":
    main()
