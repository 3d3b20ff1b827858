"""``ringbook demo``: a market maker on a simulated market, in the terminal UI or headless with a summary."""

from __future__ import annotations

import argparse
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.core.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np

    from engine.backtest.result import BacktestResult
    from engine.research.runs import Run

SYMBOL = "BTCUSDT"
STRATEGY = "market-maker"
INSTRUMENT: dict[str, Any] = {
    "symbol": SYMBOL,
    "tick_size": 0.1,
    "lot_size": 0.001,
    "maker_fee": -0.00005,
    "taker_fee": 0.0007,
    "entry_latency_ns": 1_000_000,
    "response_latency_ns": 1_000_000,
}
PARAMS: dict[str, Any] = {"half_spread": 1.0, "skew": 0.3, "order_qty": 0.01, "max_position": 0.1}
DEFAULT_SECONDS = 20.0
MAX_SECONDS = 86_400.0


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
    if not 0 < value <= MAX_SECONDS:
        raise argparse.ArgumentTypeError(f"{text} is not above 0 and at most {MAX_SECONDS:g}")
    return value


def _seed(text: str) -> int:
    if not text.isdigit() or int(text) >= 1 << 63:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 to 2^63 - 1")
    return int(text)


def demo_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``ringbook demo``."""
    parser.add_argument("--headless", action="store_true", help="no UI: run as fast as it goes and summarise")
    parser.add_argument(
        "--seconds",
        type=_seconds,
        default=DEFAULT_SECONDS,
        help="market seconds of a headless run (default: %(default)g)",
    )
    parser.add_argument(
        "--seed", type=_seed, default=7, help="of the simulated market (default: %(default)s)"
    )
    parser.epilog = (
        "examples:\n  ringbook demo\n  ringbook demo --headless --seconds 20 --seed 7 --json\n\n"
        "The same seed gives the same fills. Without a terminal, or with --json, it is headless."
    )


def demo(args: argparse.Namespace) -> int:
    """Runs the demo."""
    if args.headless or args.json or not (sys.stdin.isatty() and sys.stdout.isatty()):
        return _headless(args.seconds, args.seed, args.json)
    return _interactive(args.seed)


# --- headless ------------------------------------------------------------------------------------


def _headless(seconds: float, seed: int, as_json: bool) -> int:
    result, run, market = run_headless(seconds, seed)
    kept = run.id
    report = summary(result)
    if as_json:
        print(json.dumps({**report, "run": kept, "store": _stored(run, market)}))
    else:
        _print_summary(report, seconds, seed, result.events_per_second)
        print(f"Kept as run {kept}: 'ringbook report last --html' shows what it came to.")
        print(f"Its orders, fills, positions and market data: {_stored(run, market)}.")
    return 0


def _stored(run: Run, market: np.ndarray) -> str:
    """Puts the run into the user's store; where it is, or why it is not."""
    from engine.core.errors import StoreError
    from engine.research.stored import put, put_market
    from engine.storage.store import open_store

    try:
        with open_store(hold=True) as store:
            put_market(store, run.id, [SYMBOL], market)
            put(store, run, name="demo")
            return store.url
    except StoreError as error:
        return f"not stored, {error}"


def run_headless(seconds: float, seed: int) -> tuple[BacktestResult, Run, np.ndarray]:
    """Lets the market maker trade with the simulated market's agents, as fast as they go; the run is kept.

    Args:
        seconds: Of market time.
        seed: Of the simulated market.

    Returns:
        The session as the result of a backtest, the run that is kept, and the market data that it was shown.
    """
    import msgspec

    from engine.backtest.config import AssetConfig, BacktestConfig, StrategyConfig
    from engine.research.runs import SAMPLE_NS, Runs
    from engine.runtime.recorded import run_market
    from engine.runtime.session import MarketRunner

    config = BacktestConfig(
        assets=[msgspec.convert(INSTRUMENT, AssetConfig)],
        strategies=[StrategyConfig(id=STRATEGY, cls="engine.strategy.native:MarketMaker", params=PARAMS)],
        seed=seed,
        equity_sample_ns=SAMPLE_NS // 10,
    )
    runner = MarketRunner(keep_market=True)
    result, session = run_market(config, seconds, runner)
    about = {"events": result.events, "seconds": result.seconds, "failures": []}
    return result, Runs().keep(session, config, about=about, extra={"seconds": seconds}), runner.market


def summary(result: BacktestResult) -> dict[str, Any]:
    """What the demo prints as JSON: ``fills``, ``positions``, ``pnl`` and ``events``.

    Args:
        result: Of :func:`run_headless`.
    """
    positions = []
    for state in result.states:
        values = state.values
        positions.append(
            {
                "strategy": state.strategy,
                "symbol": state.symbol,
                "position": values.position,
                "avg_px": None if math.isnan(values.avg_px) else values.avg_px,
                "realized_pnl": values.realized_pnl,
                "unrealized_pnl": values.unrealized_pnl,
                "fee": values.fee,
                "equity": values.equity,
                "num_trades": values.num_trades,
                "trading_volume": values.trading_volume,
                "trading_value": values.trading_value,
            }
        )
    return {
        "fills": result.fill_records(),
        "positions": positions,
        "pnl": sum(row["equity"] for row in positions),
        "events": result.events,
        "seed": result.seed,
    }


def _print_summary(report: dict[str, Any], seconds: float, seed: int, rate: float) -> None:
    fills = report["fills"]
    bought = sum(fill["side"] == "buy" for fill in fills)
    print(f"{seconds:g} market seconds of {SYMBOL}, seed {seed}: {report['events']:,} events, {rate:,.0f}/s")
    print(f"{len(fills)} fills: {bought} bought, {len(fills) - bought} sold")
    for fill in fills[-5:]:
        print(
            f"  {fill['ts'] / 1e9:.6f}  {fill['side']:<4}  {fill['qty']:g} @ {fill['px']:.1f}"
            f"  fee {fill['fee']:+.5f}  {fill['reason'].replace('_', ' ')}"
        )
    for row in report["positions"]:
        print(
            f"position {row['position']:+g} {row['symbol']}, realized {row['realized_pnl']:+.4f}, "
            f"unrealized {row['unrealized_pnl']:+.4f}, fees {row['fee']:+.4f}"
        )
    print(f"PnL after fees {report['pnl']:+.4f}")
    print("Next: 'ringbook demo' in a terminal, or 'ringbook backtest --help'.")


# --- in the terminal UI --------------------------------------------------------------------------


def _toml_value(value: Any) -> str:
    return json.dumps(value)


def config_text(seed: int) -> str:
    """The daemon's configuration of the interactive demo, as TOML.

    Args:
        seed: Of the simulated market.
    """
    lines = ["[engine]", 'name = "demo"', "", "[feed]", 'kind = "market"', f"seed = {seed}", "speed = 1.0"]
    lines += ["", "[[instruments]]"]
    lines += [f"{key} = {_toml_value(value)}" for key, value in INSTRUMENT.items()]
    lines += ["", "[[strategies]]", f'id = "{STRATEGY}"', 'class = "engine.strategy.native:MarketMaker"']
    lines += [f'symbols = ["{SYMBOL}"]', "", "[strategies.params]"]
    lines += [f"{key} = {_toml_value(value)}" for key, value in PARAMS.items()]
    return "\n".join(lines) + "\n"


def _interactive(seed: int) -> int:
    with tempfile.TemporaryDirectory(prefix="ringbook-demo-") as folder:
        config = Path(folder) / "demo.toml"
        config.write_text(config_text(seed))
        environment = {**os.environ, "RINGBOOK_RUN_DIR": str(Path(folder) / "run")}
        print("Starting engine, simulated market and bridge ...", flush=True)
        with _ends_raise() as ignore_ends:
            _ringbook(["run", "--config", str(config), "--detach"], environment)
            try:
                os.environ["RINGBOOK_RUN_DIR"] = environment["RINGBOOK_RUN_DIR"]
                from engine.cli.main import main

                code = main(["tui", "--name", "demo"])
            finally:
                # A terminal that is closed may tell so twice, and the daemon has to be stopped.
                ignore_ends()
                try:
                    status = _ringbook(["status", "--name", "demo"], environment)
                finally:
                    _ringbook(["stop", "--name", "demo"], environment)
    print(status, end="")
    print("Stopped. To keep one running: ringbook run --config FILE --detach, then ringbook tui.")
    return code


@contextmanager
def _ends_raise() -> Iterator[Callable[[], None]]:
    """Lets SIGTERM and a closed terminal raise; gives a function from which on they do nothing."""

    def end(number: int, _: object) -> None:
        raise SystemExit(128 + number)

    def ignore() -> None:
        for number in before:
            signal.signal(number, signal.SIG_IGN)

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield ignore
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _ringbook(arguments: list[str], environment: dict[str, str]) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "engine.cli.main", *arguments],
        env=environment,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise ConfigError(done.stderr.strip().removeprefix("ringbook: ") or f"{arguments[0]} failed")
    return done.stdout
