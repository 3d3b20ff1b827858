"""``ringbook convert`` (raw captures to recordings) and ``ringbook validate`` (what is wrong with either)."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.core.errors import DataError

if TYPE_CHECKING:
    from engine.feeds.capture import Progress
    from engine.feeds.quality import Report


def convert_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``ringbook convert``."""
    parser.add_argument(
        "input",
        type=Path,
        nargs="+",
        metavar="IN",
        help="raw Binance capture, Databento market-by-order file, NASDAQ ITCH 5.0 file, LOBSTER message "
        "file (and its orderbook file), Tardis files of trades and incremental_book_L2, or jsonl with "
        "exch_ts, local_ts, side, price, qty and type; compressed or not",
    )
    parser.add_argument("output", type=Path, metavar="OUT", help="recording to write, OUT.npz")
    parser.add_argument(
        "--opt",
        choices=("", "m", "t", "mt"),
        default="",
        help="also keep m: mark price, index price and funding rate; t: best bid and ask",
    )
    parser.add_argument(
        "--format",
        choices=("binance", "databento", "itch", "jsonl", "lobster", "tardis"),
        help="of IN, when its beginning does not tell",
    )
    parser.add_argument("--symbol", help="what to take of a file with several symbols")
    parser.add_argument(
        "--date",
        type=_date,
        metavar="YYYY-MM-DD",
        help="day of a file whose times count from midnight (ITCH, LOBSTER), when its name does not tell",
    )
    parser.add_argument(
        "--base-latency",
        type=_latency,
        default=0,
        metavar="NS",
        help="added to the correction of a local clock that is behind the exchange's; "
        "for files without a local clock (ITCH, LOBSTER): what it takes from the exchange to us (default 0)",
    )
    parser.add_argument(
        "--snapshots",
        choices=("process", "ignore_sod", "ignore"),
        default="process",
        help="of Tardis files: take them, take all but that of the day's start, or none (default process)",
    )
    parser.add_argument("--compress", action="store_true", help="smaller, but read instead of mapped")
    parser.add_argument("--force", action="store_true", help="replace OUT if it exists")
    parser.epilog = (
        "examples:\n"
        "  ringbook convert btcusdt_20240808.gz btcusdt_20240808.npz\n"
        "  ringbook convert 01302019.NASDAQ_ITCH50.gz aapl.npz --symbol AAPL --base-latency 50000\n"
        "  ringbook convert AAPL_2012-06-21_34200000_57600000_{message,orderbook}_10.csv aapl.npz\n"
        "  ringbook convert trades.csv.gz incremental_book_L2.csv.gz btcusdt.npz --format tardis"
    )


def convert(args: argparse.Namespace) -> int:
    """Converts a capture; exit code 2 when it is unreadable or OUT exists."""
    from engine.backtest.data import save_events
    from engine.feeds import formats
    from engine.feeds.quality import count_kinds

    if args.output.suffix != ".npz":
        raise DataError("the output has to be called something.npz", file=str(args.output))
    if args.output.exists() and not args.force:
        raise DataError("exists already; --force replaces it", file=str(args.output))
    if not args.output.parent.is_dir():
        raise DataError("its directory does not exist", file=str(args.output))
    start = time.perf_counter()
    with _progress(args.input, "converting") as progress:
        options = formats.Options(args.opt, args.symbol, args.date, args.base_latency, args.snapshots)
        result = formats.convert(args.input, form=args.format, options=options, progress=progress)
    save_events(args.output, result.events, compress=args.compress)
    seconds = time.perf_counter() - start
    events = result.events
    summary = {
        "input": str(args.input[0]) if len(args.input) == 1 else [str(path) for path in args.input],
        "output": str(args.output),
        "symbol": result.symbol,
        "rows": len(events),
        "seconds": round(seconds, 6),
        "rows_per_second": round(len(events) / seconds),
        "lines": result.lines,
        "messages": result.messages,
        "kinds": {kind: sum(sides.values()) for kind, sides in count_kinds(events).items()},
        "first_exch_ts": int(events["exch_ts"].min()),
        "last_exch_ts": int(events["exch_ts"].max()),
        "first_local_ts": int(events["local_ts"].min()),
        "last_local_ts": int(events["local_ts"].max()),
        "latency_offset": result.latency_offset,
        "stale_messages": result.stale,
        "replayed_rows": result.replayed,
        "unknown_orders": result.unknown,
    }
    print(json.dumps(summary) if args.json else _conversion_text(summary))
    return 0


def _conversion_text(summary: dict[str, Any]) -> str:
    messages = ", ".join(f"{count:,} {kind}" for kind, count in summary["messages"].items())
    lines = [
        f"{summary['output']}: {summary['rows']:,} rows of {summary['symbol'] or 'an unnamed symbol'} "
        f"in {summary['seconds']:.2f} s ({summary['rows_per_second']:,} a second)",
        f"  {summary['lines']:,} lines or records: {messages}",
        f"  {_when(summary['first_exch_ts'])} to {_when(summary['last_exch_ts'])}",
    ]
    if summary["latency_offset"]:
        lines.append(
            f"  the local clock was behind: {summary['latency_offset']:,} ns added to every local time"
        )
    if summary["stale_messages"]:
        lines.append(f"  {summary['stale_messages']:,} updates that a snapshot includes are left out")
    if summary["unknown_orders"]:
        lines.append(
            f"  {summary['unknown_orders']:,} messages are about orders that the file does not add: left out"
        )
    return "\n".join(lines)


def validate_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``ringbook validate``."""
    parser.add_argument(
        "file", type=Path, metavar="FILE", help="npz or npy recording, or a raw Binance capture"
    )
    parser.add_argument(
        "--max-silence",
        type=_positive,
        default=10.0,
        metavar="SECONDS",
        help="more without any event is a gap (default 10)",
    )
    parser.add_argument(
        "--limit", type=_count, default=10, metavar="N", help="places to show of each problem (default 10)"
    )
    parser.add_argument(
        "--tick-size", type=_positive, help="price of a tick (default: inferred from the prices)"
    )
    parser.add_argument("--lot-size", type=_positive, help="quantity of a lot (default: inferred)")
    parser.epilog = "exit code: 0 nothing wrong, 1 problems found, 2 unreadable\n\nexample:\n" + (
        "  ringbook validate btcusdt_20240808.npz --max-silence 5"
    )


def validate(args: argparse.Namespace) -> int:
    """Examines a file; exit code 1 when something is wrong with it, 2 when it is unreadable."""
    from engine.feeds.quality import Limits, examine

    limits = Limits(int(args.max_silence * 1e9), args.limit, args.tick_size, args.lot_size)
    with _progress([args.file], "reading") as progress:
        report = examine(args.file, limits, progress)
    print(json.dumps(report.as_dict()) if args.json else _report_text(report))
    return 0 if report.clean else 1


def _report_text(report: Report) -> str:
    span = f"{report.rows:,} rows"
    if report.lines is not None:
        span = f"{report.lines:,} lines, {span}"
    lines = [f"{report.file}: {report.format}{f' of {report.symbol}' if report.symbol else ''}, {span}"]
    if report.first_exch_ts is not None and report.last_exch_ts is not None:
        lines.append(f"  exchange time  {_when(report.first_exch_ts)} to {_when(report.last_exch_ts)}")
        lines.append(f"  longest silence  {report.longest_silence_ns / 1e6:,.3f} ms")
    if report.tick_size is not None and report.lot_size is not None:
        lines.append(f"  tick size {report.tick_size:g}, lot size {report.lot_size:g}")
    if report.latency_ns:
        quantiles = "  ".join(f"{name} {value / 1e6:,.3f}" for name, value in report.latency_ns.items())
        lines.append(f"  feed latency in ms  {quantiles}")
    for kind, sides in report.kinds.items():
        counts = "  ".join(f"{side} {count:,}" for side, count in sides.items() if count)
        lines.append(f"  {kind:<15} {counts}")
    lines += [f"  note: {note}" for note in report.notes]
    for problem in report.problems:
        places = ", ".join(map(str, problem.where)) + (", ..." if problem.count > len(problem.where) else "")
        lines.append(f"  PROBLEM {problem.name} ({problem.count:,}): {problem.message}")
        if problem.where:
            lines.append(f"          {report.unit}s {places}")
    count = len(report.problems)
    lines.append(f"{count} kind{'' if count == 1 else 's'} of problem found" if count else "nothing wrong")
    return "\n".join(lines)


@contextmanager
def _progress(paths: list[Path], what: str) -> Iterator[Progress | None]:
    """A bar over the bytes of files on standard error, if that is a terminal; otherwise None."""
    if not sys.stderr.isatty():
        yield None
        return
    from tqdm import tqdm

    try:
        size = sum(map(os.path.getsize, paths))
    except OSError:
        size = None
    with tqdm(total=size, desc=what, unit="B", unit_scale=True, leave=False, file=sys.stderr) as bar:
        yield bar.update


def _when(nanoseconds: int) -> str:
    """A time as ISO 8601 with milliseconds, in UTC."""
    try:
        moment = datetime.fromtimestamp(nanoseconds // 1_000_000 / 1000, UTC)
    except (OverflowError, ValueError, OSError):
        return str(nanoseconds)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _latency(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of nanoseconds") from None
    if abs(value) > 86_400_000_000_000:
        raise argparse.ArgumentTypeError(f"{text} ns is more than a day")
    return value


def _date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no date like 2019-01-30") from None


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
    if not 0 < value < 1e9:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and a billion")
    return value


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) > 1_000_000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to a million")
    return int(text)
