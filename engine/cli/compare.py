"""``ringbook compare``: why a live or paper session and a backtest of the same period earned differently."""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING

from engine.core.errors import ConfigError

if TYPE_CHECKING:
    from engine.reports.compare import Comparison

EXAMPLE = """example:
  ringbook backtest --config backtest.toml --out backtest.npz
  ringbook compare paper.npz backtest.npz --within 0.01

The files are written by 'ringbook backtest --out' and by a daemon with engine.result. The parts always add
up to the difference. With --within it exits with 1 if the difference is more than that part of the traded
value.
"""

TOO_FAR = 1
"""Exit code when the difference is beyond ``--within``."""

LABELS = {
    "latency": "latency",
    "queue": "queue",
    "fees": "fees",
    "missed": "missed fills",
    "funding": "funding",
    "mark": "last price",
}
ALWAYS = ("latency", "queue", "fees", "missed")


def compare_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``ringbook compare``."""
    parser.epilog = EXAMPLE
    parser.add_argument("live", type=Path, metavar="LIVE", help="file of a live or paper session")
    parser.add_argument(
        "backtest", type=Path, metavar="BACKTEST", help="file of a backtest of the same period"
    )
    parser.add_argument(
        "--strategy", action="append", metavar="ID", help="compare this one only; repeat for more"
    )
    parser.add_argument(
        "--window-ms",
        type=float,
        default=1000.0,
        metavar="MS",
        help="how far apart an order may have been sent in the two (default: %(default)g)",
    )
    parser.add_argument(
        "--slack-ms",
        type=float,
        default=1000.0,
        metavar="MS",
        help="how far apart the sessions may begin and end (default: %(default)g)",
    )
    parser.add_argument(
        "--within", type=float, metavar="PART", help="exit with 1 beyond this part of the traded value"
    )


def compare(args: argparse.Namespace) -> int:
    """Compares two sessions and prints what makes the difference."""
    from engine.reports.compare import compare as split
    from engine.reports.session import load

    for name in ("window_ms", "slack_ms", "within"):
        value = getattr(args, name)
        if value is not None and not 0 <= value < math.inf:
            raise ConfigError(f"--{name.replace('_', '-')} {value} is not 0 or more")
    live, backtest = load(args.live), load(args.backtest)
    if args.strategy:
        live, backtest = live.only(args.strategy), backtest.only(args.strategy)
    found = split(
        live,
        backtest,
        window_ns=int(args.window_ms * 1e6),
        slack_ns=int(args.slack_ms * 1e6),
    )
    agree = args.within is None or found.fraction <= args.within
    if args.json:
        print(json.dumps({**found.to_json(), "within": args.within, "agree": agree}))
    else:
        print(describe(found))
        if args.within is not None:
            print(f"\n{'within' if agree else 'beyond'} {100 * args.within:g} % of the traded value")
    return 0 if agree else TOO_FAR


def describe(found: Comparison) -> str:
    """A comparison as text for people.

    Args:
        found: What was compared.
    """
    columns = [(row.strategy, row.symbol) for row in found.rows]
    width = max([len("strategy"), *(len(name) for name, _ in columns)])
    second = max([len("symbol"), *(len(symbol) for _, symbol in columns)])
    shown = [name for name in LABELS if name in ALWAYS or any(row.parts[name] for row in found.rows)]
    heads = ("live", "backtest", "difference", *(LABELS[name] for name in shown))
    lines = [f"{'strategy':<{width}}  {'symbol':<{second}}" + "".join(f"{head:>17}" for head in heads)]
    for row in found.rows:
        values = (row.live, row.backtest, row.difference, *(row.parts[name] for name in shown))
        lines.append(f"{row.strategy:<{width}}  {row.symbol:<{second}}" + _cells(values))
    if len(found.rows) > 1:
        whole = found.to_json()
        values = (whole["live"], whole["backtest"], found.difference, *(found.part(name) for name in shown))
        lines.append(f"{'all':<{width}}  {'':<{second}}" + _cells(values))
    lines += ["", f"orders: {found.pairs:,} in both ({found.same_instant:,} sent at the same nanosecond), "]
    lines[-1] += f"{found.only_live:,} live only, {found.only_backtest:,} in the backtest only"
    delays = found.to_json()["median_delay_ns"]
    if delays["live"] is not None:
        lines.append(
            f"from sending to the venue, median: live {delays['live'] / 1e6:,.3f} ms, "
            f"backtest {delays['backtest'] / 1e6:,.3f} ms"
        )
    part = "no trade" if math.isinf(found.fraction) else f"{100 * found.fraction:.6f} %"
    lines.append(f"the difference is {part} of {found.traded_value:,.2f} traded live")
    return "\n".join(lines)


def _cells(values: tuple) -> str:
    return "".join(f"{float(value):>17,.6f}" for value in values)
