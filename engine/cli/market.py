"""``ringbook market``: fits market laws to recordings, and generates and examines simulated markets."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.core.errors import ConfigError, DataError

if TYPE_CHECKING:
    import numpy as np

    from engine.matching.laws import Law

_CHUNK_ROWS = 1 << 15


def market_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the sub-commands of ``ringbook market`` and their arguments."""
    parts = parser.add_subparsers(dest="part", metavar="PART", required=True)
    _fit_arguments(_part(parts, "fit", "measure a recording and write a market law"))
    _generate_arguments(_part(parts, "generate", "write a recording of a simulated market"))
    _plot_arguments(_part(parts, "plot", "lay a recording and a simulated market side by side"))
    parser.epilog = (
        "'ringbook market PART --help' explains one.\n\nexample:\n"
        "  ringbook market fit btcusdt_20240808.npz --out btcusdt.toml\n"
        "  ringbook market generate --hours 24 --law btcusdt.toml --out day.npz"
    )


def _part(parts: Any, name: str, help: str) -> argparse.ArgumentParser:
    parser = parts.add_parser(
        name,
        help=help,
        description=help[0].upper() + help[1:] + ".",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    # Without a default of its own, so that `market --json fit` is the same as `market fit --json`.
    parser.add_argument(
        "--json", action="store_true", default=argparse.SUPPRESS, help="print one JSON object instead of text"
    )
    return parser


def _recording_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE", help="npz or npy recording, or a raw capture")
    parser.add_argument("--tick-size", type=float, metavar="PX", help="price of a tick (default: inferred)")
    parser.add_argument("--lot-size", type=float, metavar="QTY", help="quantity of a lot (default: inferred)")


def _fit_arguments(parser: argparse.ArgumentParser) -> None:
    _recording_arguments(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="LAW", help="law to write, LAW.toml")
    parser.add_argument("--name", help="of the law (default: the file's)")
    parser.add_argument("--force", action="store_true", help="replace LAW if it exists")
    parser.epilog = (
        "A recording by price does not show orders one by one: they are inferred from changes of levels.\n\n"
        "example:\n  ringbook market fit btcusdt_20240808.npz --out btcusdt.toml"
    )


def _law_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--law", type=Path, metavar="LAW", help="market law (default: the packaged one)")
    parser.add_argument("--seed", type=_count, default=7, metavar="N", help="what it depends on (default 7)")
    parser.add_argument("--symbol", default="SIM", help="of the instrument (default SIM)")


def _generate_arguments(parser: argparse.ArgumentParser) -> None:
    _law_arguments(parser)
    length = parser.add_mutually_exclusive_group(required=True)
    length.add_argument("--hours", type=_length, metavar="H", help="how long the market lasts")
    length.add_argument("--seconds", type=_length, metavar="S", help="the same in seconds")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help="recording to write, FILE.npz"
    )
    parser.add_argument("--compress", action="store_true", help="smaller, but read instead of mapped")
    parser.add_argument("--force", action="store_true", help="replace FILE if it exists")
    parser.epilog = (
        "The same law, seed and length give the same bytes. The market is made twice, once to count rows,\n"
        "so that memory stays small however long it is; an hour of the packaged law is some 350 MB.\n\n"
        "example:\n  ringbook market generate --hours 1 --seed 7 --out hour.npz"
    )


def _plot_arguments(parser: argparse.ArgumentParser) -> None:
    _recording_arguments(parser)
    _law_arguments(parser)
    parser.add_argument(
        "--seconds", type=_length, metavar="S", help="of the simulated market (default: as long as FILE)"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="PICTURE", help="to write, PICTURE.svg")
    parser.add_argument("--force", action="store_true", help="replace PICTURE if it exists")
    parser.epilog = "example:\n  ringbook market plot btcusdt_20240808.npz --seconds 3600 --out market.svg"


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) >= 1 << 64:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 to below 2**64")
    return int(text)


def _length(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
    if not 0 < value <= 1e6:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and a million")
    return value


def market(args: argparse.Namespace) -> int:
    """Runs a part; exit code 2 for unusable files and laws."""
    parts = {"fit": _fit, "generate": _generate, "plot": _plot}
    return parts[args.part](args)


def recording(args: argparse.Namespace) -> tuple[np.ndarray, float, float]:
    """The events of a file named on the command line, and its tick and lot size.

    Args:
        args: With ``file``, ``tick_size`` and ``lot_size``, the latter two possibly None.

    Raises:
        DataError: The file is unreadable or no recording by price.
        ConfigError: A size is not above 0, or cannot be inferred.
    """
    import numpy as np

    from engine.backtest.data import load_events
    from engine.feeds.capture import convert
    from engine.feeds.quality import infer_step

    if args.file.suffix in (".npz", ".npy"):
        events = load_events(args.file)
    else:
        events = convert(args.file).events
    kind = events["ev"] & np.uint64(0xFF)
    if ((kind >= 10) & (kind <= 13)).any():
        raise DataError("market by order; a law is fitted to a recording by price", file=str(args.file))
    levels = events[(kind == 1) | (kind == 4)]
    sizes = []
    for given, column, option in (
        (args.tick_size, "px", "--tick-size"),
        (args.lot_size, "qty", "--lot-size"),
    ):
        size = infer_step(levels[column]) if given is None else given
        if size is None:
            raise ConfigError(f"{args.file}: no {column} to infer a size from; give {option}")
        if not 0 < size < 1e12:
            raise ConfigError(f"{option} must be above 0, not {size}")
        sizes.append(size)
    return events, sizes[0], sizes[1]


def _new_file(path: Path, suffix: str, force: bool) -> None:
    if path.suffix != suffix:
        raise DataError(f"the output has to be called something{suffix}", file=str(path))
    if path.exists() and not force:
        raise DataError("exists already; --force replaces it", file=str(path))
    if not path.absolute().parent.is_dir():
        raise DataError("its directory does not exist", file=str(path))


def _fit(args: argparse.Namespace) -> int:
    from engine.matching.fit import fit
    from engine.matching.laws import law_text
    from engine.matching.observe import observe

    _new_file(args.out, ".toml", args.force)
    start = time.perf_counter()
    events, tick_size, lot_size = recording(args)
    law = fit(observe(events, tick_size, lot_size), name=args.name or args.file.stem, source=args.file.name)
    args.out.write_text(law_text(law), encoding="utf-8")
    seconds = time.perf_counter() - start
    summary = {
        "input": str(args.file),
        "output": str(args.out),
        "name": law.name,
        "rows": len(events),
        "seconds": round(seconds, 6),
        "provenance": law.provenance,
        "measured": law.measured,
    }
    print(json.dumps(summary) if args.json else _fit_text(law, summary))
    return 0


def _fit_text(law: Law, summary: dict[str, Any]) -> str:
    seen, placed = law.provenance, sum(law.crowd.placed)
    branching = sum(law.takers.self_excite) + sum(law.takers.cross_excite)
    return "\n".join(
        (
            f"{summary['output']}: law {law.name} of {summary['rows']:,} rows, {seen['seconds']:,.0f} s, "
            f"in {summary['seconds']:.1f} s",
            f"  limit orders {placed:,.0f} a second within {law.crowd.edges[-1]:,.0f} ticks of the best",
            f"  market orders {law.measured['market_orders_per_second']:,.1f} a second, "
            f"each brings about {branching:.2f} others",
            f"  fair value {law.fair.volatility:,.1f} ticks in the square root of a second",
            f"  inferred: {seen['inferred']}",
            f"  assumed: {seen['assumed']}",
        )
    )


def _generate(args: argparse.Namespace) -> int:
    from engine.backtest.data import save_chunks
    from engine.feeds.market import AgentMarket

    _new_file(args.out, ".npz", args.force)
    seconds = args.seconds if args.hours is None else 3600.0 * args.hours
    source = AgentMarket(args.symbol, law=args.law, seed=args.seed, seconds=seconds, chunk_rows=_CHUNK_ROWS)
    start = time.perf_counter()
    with _progress(seconds) as seen:
        rows = sum(map(len, seen(source.chunks(), "counting")))
        save_chunks(args.out, rows, seen(source.chunks(), "writing"), compress=args.compress)
    took = time.perf_counter() - start
    summary = {
        "output": str(args.out),
        "law": source.law.name,
        "seed": args.seed,
        "symbol": args.symbol,
        "rows": rows,
        "market_seconds": seconds,
        "bytes": args.out.stat().st_size,
        "seconds": round(took, 6),
    }
    text = (
        f"{args.out}: {rows:,} rows, {seconds:,.0f} s of {source.name}, {summary['bytes'] / 1e6:,.1f} MB "
        f"in {took:.1f} s ({seconds / took:,.0f} times as fast as time)"
    )
    print(json.dumps(summary) if args.json else text)
    return 0


@contextmanager
def _progress(seconds: float) -> Iterator[Callable[[Iterator[np.ndarray], str], Iterator[np.ndarray]]]:
    """What shows how much market time chunks are through, on standard error if that is a terminal."""
    if not sys.stderr.isatty():
        yield lambda chunks, what: chunks
        return
    from tqdm import tqdm

    with tqdm(total=round(seconds), unit="s", unit_scale=True, leave=False, file=sys.stderr) as bar:

        def watched(chunks: Iterator[np.ndarray], what: str) -> Iterator[np.ndarray]:
            bar.reset()
            bar.set_description(what)
            first = None
            for chunk in chunks:
                yield chunk
                first = int(chunk["exch_ts"][0]) if first is None else first
                bar.update((int(chunk["exch_ts"][-1]) - first) // 1_000_000_000 - bar.n)

        yield watched


def _plot(args: argparse.Namespace) -> int:
    from engine.feeds.market import AgentMarket
    from engine.matching.compare import picture, table
    from engine.matching.facts import facts

    _new_file(args.out, ".svg", args.force)
    events, tick_size, lot_size = recording(args)
    real = facts(events, tick_size, lot_size)
    source = AgentMarket(args.symbol, law=args.law, seed=args.seed)
    made = source.generate(args.seconds or real.figures["seconds"])
    simulated = facts(made, source.tick_size, source.lot_size)
    args.out.write_text(picture(real, simulated), encoding="utf-8")
    if args.json:
        figures = {"recording": real.figures, "simulated": simulated.figures}
        print(json.dumps({"output": str(args.out), **figures}))
    else:
        print(table(real, simulated))
    return 0
