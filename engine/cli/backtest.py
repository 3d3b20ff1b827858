"""``ringbook backtest``: replays recordings against strategies and says what came of it."""

from __future__ import annotations

import argparse
import json
import os
import sys
import traceback
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.core import settings
from engine.core.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np

    from engine.backtest.config import BacktestConfig
    from engine.backtest.data import Chunked
    from engine.backtest.result import BacktestResult
    from engine.backtest.runner import BacktestRunner
    from engine.research.runs import Runs

_ASSET_FLAGS = (
    "tick_size",
    "lot_size",
    "contract_size",
    "asset",
    "maker_fee",
    "taker_fee",
    "buyer_fee",
    "seller_fee",
    "fee_model",
    "latency_model",
    "entry_latency_ns",
    "modify_latency_ns",
    "cancel_latency_ns",
    "response_latency_ns",
    "funding_data",
    "order_latency_data",
    "order_latency_offset",
    "latency_offset",
    "queue_model",
    "queue_n",
    "exchange",
    "liquidity_consumption",
)

EXAMPLE = """examples:
  ringbook backtest --config examples/configs/backtest_btcusdt.toml

  ringbook backtest --data btcusdt.npz --symbol BTCUSDT --tick-size 0.1 --lot-size 0.001 \\
      --strategy engine.strategy.native:MarketMaker --param half_spread=20 --param grid_num=3 \\
      --maker-fee -0.00005 --queue-model power_prob_queue_model3 --json

Data are event files (.npz, .npy, .parquet, .arrow), recordings in a store ('store:?run=monday', see
docs/storage.md), or raw captures (.gz, .txt, .dbn.zst), which are converted in memory.

A strategy that raises is stopped and its orders are cancelled; the run goes on, prints its results and
exits with 3, and a line on standard error says what was raised, when and where.
"""

STRATEGY_FAILED = 3
"""Exit code when a strategy raised."""


def backtest_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``ringbook backtest``."""
    parser.epilog = EXAMPLE
    parser.add_argument("--config", type=Path, metavar="FILE", help="TOML (or JSON, YAML) configuration")
    asset = parser.add_argument_group("one asset, in place of --config")
    asset.add_argument("--data", action="append", metavar="FILE", help="recording; repeat in time order")
    asset.add_argument("--symbol", help="what the strategy calls it")
    asset.add_argument("--tick-size", type=float, metavar="PX")
    asset.add_argument("--lot-size", type=float, metavar="QTY")
    asset.add_argument("--contract-size", type=float, metavar="QTY", help="1 by default")
    asset.add_argument("--asset", metavar="KIND", help="linear (default) or inverse")
    asset.add_argument(
        "--maker-fee", type=float, metavar="RATE", help="in what --fee-model counts; negative: a rebate"
    )
    asset.add_argument("--taker-fee", type=float, metavar="RATE")
    asset.add_argument("--buyer-fee", type=float, metavar="RATE", help="of the value, on top of either")
    asset.add_argument("--seller-fee", type=float, metavar="RATE")
    asset.add_argument(
        "--funding-data",
        action="append",
        metavar="FILE",
        help="funding rates of a perpetual: ts, rate, perhaps mark_price; repeat in time order",
    )
    asset.add_argument(
        "--fee-model",
        metavar="MODEL",
        help="trading_value_fee_model (default), trading_qty_fee_model or flat_per_trade_fee_model",
    )
    _latency_arguments(asset)
    asset.add_argument(
        "--queue-model",
        metavar="MODEL",
        help="risk_adverse_queue_model (default), log_prob_queue_model or power_prob_queue_model, ...2, ...3",
    )
    asset.add_argument("--queue-n", type=float, metavar="N", help="exponent of the power models")
    asset.add_argument(
        "--exchange", metavar="MODEL", help="no_partial_fill_exchange (default) or partial_fill_exchange"
    )
    asset.add_argument(
        "--liquidity-consumption",
        action="store_true",
        default=None,
        help="what our orders take of a level is gone for the next; with partial_fill_exchange",
    )
    strategy = parser.add_argument_group("one strategy, in place of --config")
    strategy.add_argument("--strategy", metavar="CLASS", help="package.module:Class or path/to/file.py:Class")
    strategy.add_argument(
        "--param", action="append", default=[], metavar="NAME=VALUE", help="parameter; repeat for more"
    )
    parser.add_argument("--seed", type=int, help="seed of the run")
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="keep orders, fills and accounts, for ringbook compare"
    )
    parser.add_argument(
        "--runs", type=Path, metavar="DIR", help="where the run is kept (default: $RINGBOOK_RUNS)"
    )
    parser.add_argument("--no-keep", action="store_true", help="do not keep the run")
    parser.add_argument(
        "--checkpoint", type=Path, metavar="DIR", help="keep the run there now and then, to go on from a stop"
    )
    parser.add_argument(
        "--every", type=int, metavar="ROWS", help="rows between checkpoints, 10,000,000 by default"
    )
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint that is there")
    parser.add_argument(
        "--traceback",
        action="store_true",
        help="print the whole traceback of a strategy or model that raises",
    )
    _threads_argument(parser)


def _threads_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--threads",
        type=int,
        default=1,
        metavar="N",
        help="1 (default), or 2 to prepare recordings ahead on another processor; same results",
    )


def _latency_arguments(asset: argparse._ArgumentGroup) -> None:
    asset.add_argument(
        "--latency-model", metavar="MODEL", help="constant_order_latency (default) or intp_order_latency"
    )
    asset.add_argument("--entry-latency-ns", type=int, metavar="NS", help="new order to venue")
    asset.add_argument("--modify-latency-ns", type=int, metavar="NS", help="modification to venue")
    asset.add_argument("--cancel-latency-ns", type=int, metavar="NS", help="cancel to venue")
    asset.add_argument("--response-latency-ns", type=int, metavar="NS", help="venue to us")
    asset.add_argument(
        "--order-latency-data",
        action="append",
        metavar="FILE",
        help="recorded latencies for intp_order_latency; repeat in time order",
    )
    asset.add_argument("--order-latency-offset", type=int, metavar="NS", help="added to them, each way")
    asset.add_argument("--latency-offset", type=int, metavar="NS", help="added to the data's local times")


def backtest(args: argparse.Namespace) -> int:
    """Runs one backtest and prints its result."""
    from engine.research.runs import Runs
    from engine.strategy.status import StrategyWarning

    config, source = _configuration(args)
    data = {asset.symbol: [_load(path, asset.symbol) for path in asset.data] for asset in config.assets}
    show = sys.stderr.isatty() and not args.json
    runs = None if args.no_keep else Runs(args.runs)
    with warnings.catch_warnings():
        # What it warns of is printed below.
        warnings.simplefilter("ignore", StrategyWarning)
        try:
            result = _runner(args, show, runs).run(config, data, source=source)
        except Exception as error:
            told = _of_model(error, args.traceback)
            if told is error:
                raise
            raise told from error
    if args.out is not None:
        from engine.reports.session import of_backtest

        of_backtest(result, config).save(args.out)
    if show:
        print("\r\033[K", end="", file=sys.stderr)
    kept = runs.last.id if runs is not None and runs.last is not None else None
    if args.json:
        print(json.dumps({**result.to_json(), "run": kept}))
    else:
        print(summary(result) + (f", run {kept}" if kept else ""))
    for failure in result.failures:
        print(f"ringbook: {failure.line()}", file=sys.stderr)
        if args.traceback:
            print(failure.traceback, end="", file=sys.stderr)
    return STRATEGY_FAILED if result.failures else 0


def _runner(args: argparse.Namespace, show: bool, runs: Runs | None) -> BacktestRunner:
    from engine.backtest.runner import CHECKPOINT_ROWS, BacktestRunner

    if args.checkpoint is None:
        for name in ("every", "resume"):
            if getattr(args, name):
                raise ConfigError(f"--{name} goes with --checkpoint")
    return BacktestRunner(
        progress=_progress if show else None,
        checkpoint=args.checkpoint,
        every=CHECKPOINT_ROWS if args.every is None else args.every,
        resume=args.resume,
        runs=runs,
        threads=args.threads,
    )


def _of_model(error: Exception, whole: bool) -> Exception:
    """What a model of the user's own raised, as an error that is printed in a line; any other as it is."""
    from engine.core.errors import ModelError, RingbookError

    notes = [note for note in getattr(error, "__notes__", ()) if note.startswith("raised by ")]
    if isinstance(error, RingbookError) or not notes:
        return error
    if whole:
        traceback.print_exception(error)
    return ModelError(f"{type(error).__name__}: {error} ({notes[0]})")


def _configuration(args: argparse.Namespace) -> tuple[BacktestConfig, str]:
    from engine.backtest.config import BacktestConfig, check

    flags = {name: getattr(args, name) for name in _ASSET_FLAGS if getattr(args, name) is not None}
    if args.config is not None:
        for name in ("data", "symbol", "strategy", "param", *flags):
            if getattr(args, name) not in (None, []):
                raise ConfigError(f"--{name.replace('_', '-')} does not go with --config")
        source = str(args.config)
        values = settings.apply_environment(settings.read_file(args.config), os.environ)
    else:
        missing = [
            f"--{name.replace('_', '-')}"
            for name in ("data", "strategy", "tick_size", "lot_size")
            if getattr(args, name) is None
        ]
        if missing:
            raise ConfigError(f"without --config, {', '.join(missing)} must be given")
        asset = {"symbol": args.symbol or Path(args.data[0]).stem, "data": args.data} | flags
        params = _params(args.param)
        strategy = {"id": args.strategy.rpartition(":")[2], "class": args.strategy, "params": params}
        source = "command line"
        values = {"assets": [asset], "strategies": [strategy]}
    if args.seed is not None:
        values["seed"] = args.seed
    config = settings.convert(values, BacktestConfig, source=source)
    check(config, source)
    for index, asset in enumerate(config.assets):
        if not asset.data:
            raise ConfigError(f"{source}: $.assets[{index}].data: names no recording")
    return config, source


def _params(texts: list[str]) -> dict[str, Any]:
    params: dict[str, Any] = {}
    for name, value in map(_param, texts):
        if name in params:
            raise ConfigError(f"--param {name}: given twice")
        params[name] = value
    return params


def _param(text: str) -> tuple[str, Any]:
    name, equals, raw = text.partition("=")
    if not equals or not name:
        raise ConfigError(f"--param {text!r}: expected NAME=VALUE")
    return name, settings.toml_value(raw)


def _load(path: str, symbol: str) -> Path | np.ndarray | Chunked:
    """What the runner reads itself, and captures converted."""
    from engine.feeds.replay import open_source
    from engine.feeds.stored import is_stored
    from engine.feeds.tabular import SUFFIXES

    file = Path(path).expanduser()
    if is_stored(path):
        return open_source(symbol, path)
    if file.suffix in (".npz", ".npy") or not file.is_file():
        return file
    if file.suffix in SUFFIXES:
        return open_source(symbol, file)
    from engine.feeds import capture, databento
    from engine.feeds.dbn import is_databento

    return (databento if is_databento(file) else capture).convert(file).events


def _progress(done: float) -> None:
    width = 40
    bar = "#" * int(done * width)
    print(f"\r[{bar:<{width}}] {done:4.0%}", end="", file=sys.stderr, flush=True)


def summary(result: BacktestResult) -> str:
    """The result as text for people.

    Args:
        result: What was run.
    """
    span = (result.last_ts - result.first_ts) / 1e9
    lines = [
        f"{result.events:,} events over {_duration(span)} of market time in {result.seconds:.2f} s "
        f"({result.events_per_second / 1e6:.1f} M events/s)",
    ]
    raised = {failure.strategy: f", stopped by {failure.message}" for failure in result.failures}
    for state in result.states:
        v = state.values
        funding = f", funding {v.funding:,.6f}" if v.funding else ""
        lines += [
            "",
            f"{state.strategy} on {state.symbol}{raised.get(state.strategy, '')}",
            f"  equity         {v.equity:>18,.6f}   balance {v.balance:,.6f}, fee {v.fee:,.6f}{funding}",
            f"  position       {v.position:>18,.6f}   " + (f"at {v.avg_px:,.4f}" if v.position else "flat"),
            f"  trades         {v.num_trades:>18,}   volume {v.trading_volume:,.6f}, "
            f"value {v.trading_value:,.2f}",
        ]
    reasons = _reasons(result)
    if reasons:
        lines += ["", "fills by reason: " + ", ".join(f"{name} {n:,}" for name, n in reasons)]
    lines += ["", f"config {result.config_hash}, seed {result.seed}"]
    return "\n".join(lines)


def _reasons(result: BacktestResult) -> list[tuple[str, int]]:
    from collections import Counter

    from engine.core.types import Reason

    counts = Counter(int(reason) for reason in result.fills["reason"])
    return [(Reason(reason).name.lower(), n) for reason, n in counts.most_common()]


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.1f} s"
    hours, rest = divmod(int(seconds), 3600)
    return f"{hours} h {rest // 60} min" if hours else f"{rest // 60} min {rest % 60} s"
