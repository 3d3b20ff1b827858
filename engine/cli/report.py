"""``ringbook report``: what a run came to, as text, JSON, a page or a PDF."""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING

from engine.core.errors import ConfigError

if TYPE_CHECKING:
    from engine.reports.report import Part, Report

EXAMPLE = """examples:
  ringbook report last --html report.html --pdf report.pdf
  ringbook report 3f9a --json
  ringbook report ~/journals --html          # the newest run of a daemon's journals
  ringbook report session.npz --strategy mm  # what 'ringbook backtest --out' or engine.result wrote
  ringbook report 'store:?run=3f9a' --pdf    # out of the store alone; or clickhouse://HOST/DATABASE?run=3f9a

RUN is the beginning of a kept run's name or 'last' ('ringbook runs list' shows them), a run's directory, a
session's file, a folder of journals, or a run in a store. A page loads nothing from anywhere and is light or
dark; the PDF is the page as it is printed. docs/reports.md says what each number is.
"""

SOURCE = "name of a run, 'last', its directory, a session's file, a folder of journals, or store:?run=NAME"


def report_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``ringbook report``."""
    parser.epilog = EXAMPLE
    parser.add_argument("run", metavar="RUN", help=SOURCE)
    parser.add_argument(
        "--html", nargs="?", const="", metavar="FILE", help="write a page (NAME.html by default)"
    )
    parser.add_argument(
        "--pdf", nargs="?", const="", metavar="FILE", help="write a PDF (NAME.pdf by default)"
    )
    parser.add_argument("--title", help="heading of both; the strategies' names by default")
    parser.add_argument("--strategy", action="append", metavar="ID", help="of this one only; repeat for more")
    parser.add_argument(
        "--book-size",
        type=float,
        metavar="MONEY",
        help="capital: return, drawdown and turnover as parts of it",
    )
    parser.add_argument(
        "--days-a-year",
        type=float,
        default=252.0,
        metavar="DAYS",
        help="to annualise by (default: %(default)g)",
    )
    parser.add_argument(
        "--runs", type=Path, metavar="DIR", help="where runs are kept (default: $RINGBOOK_RUNS)"
    )


def report(args: argparse.Namespace) -> int:
    """Makes a report."""
    for name in ("book_size", "days_a_year"):
        value = getattr(args, name)
        if value is not None and not 0 < value < math.inf:
            raise ConfigError(f"--{name.replace('_', '-')} {value} is not above 0")
    found, stem = read(args.run, args.runs, args.strategy, args.book_size, args.days_a_year)
    written = []
    if args.html is not None:
        from engine.reports import html

        target = Path(args.html or f"{stem}.html")
        target.write_text(html.page(found, title=args.title), encoding="utf-8")
        written.append(str(target))
    if args.pdf is not None:
        from engine.reports import pdf

        target = Path(args.pdf or f"{stem}.pdf")
        pdf.write(found, str(target), title=args.title)
        written.append(str(target))
    if args.json:
        print(json.dumps({**found.to_json(), "written": written}))
        return 0
    if not written:
        print(describe(found))
    for name in written:
        print(f"wrote {name}")
    return 0


def read(
    source: str,
    runs: Path | None,
    strategies: list[str] | None = None,
    book_size: float | None = None,
    days_a_year: float = 252.0,
) -> tuple[Report, str]:
    """The report of a run, a session's file or a journal, and what to name its files.

    Args:
        source: See ``SOURCE``.
        runs: Where runs are kept.
        strategies: Of these only.
        book_size: Capital.
        days_a_year: To annualise by.

    Raises:
        ConfigError: There is no such run.
        RingbookError: What is there cannot be read.
    """
    from engine.feeds.stored import is_stored
    from engine.reports.report import Report
    from engine.reports.session import load
    from engine.research.runs import Runs

    path = Path(source).expanduser()
    facts: dict[str, str] = {}
    if is_stored(source):
        from engine.research.fetched import fetch

        session, stem, facts = fetch(source)
    elif path.is_file():
        session, stem = load(path), path.stem
    elif path.is_dir() and not (path / "run.json").is_file():
        from engine.runtime.recorded import session_of

        session, stem = session_of(path), path.absolute().name
        facts = {"journal": str(path)}
    else:
        run = Runs(path.parent).read(path.name) if path.is_dir() else Runs(runs).find(source)
        session, stem, facts = run.session(), run.id, run.facts()
    if strategies:
        session = session.only(strategies)
    return Report(session, book_size, days_a_year, facts), stem


def describe(found: Report) -> str:
    """A report as text for people.

    Args:
        found: What it says.
    """
    from engine.reports.draw import MINUS, NO_NUMBER
    from engine.reports.html import moment

    session = found.session
    lines = [f"{session.kind}, {moment(session.first_ts)} to {moment(session.last_ts)}"]
    parts = [*found.cells] + ([found.whole] if len(found.cells) > 1 else [])
    for part in parts:
        lines += ["", part.name, *(f"  {name:<22}{text}" for name, text in _lines(part))]
    lines += ["", f"config {session.config_hash}, seed {session.seed}"]
    # Typographic signs are for pages: not every terminal has them.
    return "\n".join(lines).replace(MINUS, "-").replace(NO_NUMBER, "-").replace("µ", "u")


def _lines(part: Part) -> list[tuple[str, str]]:
    from engine.reports.charts import FATE_WORDS, duration
    from engine.reports.html import bps, count, money, percent, plain
    from engine.reports.mids import HORIZONS_NS
    from engine.reports.orders import FATES, percentiles

    a, r, e = part.attribution.to_json(), part.returns, part.execution()
    made = [f"{name} {money(a[name])}" for name in ("spread", "inventory", "fees", "funding") if a[name]]
    lines = [
        ("profit", f"{money(a['profit'])} = {' + '.join(made)}" if made else money(a["profit"])),
        ("Sharpe, Sortino", f"{plain(r.sr)}, {plain(r.sortino)} (annualised by {plain(r.factor)})"),
        (
            "maximum drawdown",
            f"{money(part.drawdown)}; of 10 s samples {money(r.max_drawdown)}, return over that "
            f"{plain(r.over_max_drawdown)}",
        ),
        ("turnover", f"{money(r.turnover)}, return over it {bps(1e4 * r.over_trade)} bps"),
        (
            "orders",
            f"{count(e['orders'])} sent, {count(e['denied'])} denied, {count(e['requests'])} requests",
        ),
        (
            "fills",
            f"{count(e['fills'])}, fill ratio {percent(e['fill_ratio'])}, maker {percent(e['maker_ratio'])}",
        ),
        ("requests a fill", plain(e["order_to_trade"])),
        ("queue depletion", percent(e["queue_depletion"])),
        ("slippage", f"{bps(e['slippage_bps'])} bps"),
    ]
    fates = [f"{FATE_WORDS[f][0]} {part.orders.count(f):,}" for f in FATES if part.orders.count(f)]
    lines.append(("orders ended", "; ".join(fates) or "none"))
    lines.append(
        ("fills because", ", ".join(f"{name.replace('_', ' ')} {n:,}" for name, n, _ in part.reasons()))
    )
    curve = zip(HORIZONS_NS, part.markout_curve(), strict=True)
    shown = [f"{bps(one.mean)} after {duration(horizon)}" for horizon, one in curve if one.count]
    lines.append(("markouts, bps", ", ".join(shown)))
    times = (part.ticks, part.orders.entry_ns, part.orders.response_ns)
    for name, values in zip(("tick to trade", "to the venue", "back to us"), times, strict=True):
        if found := percentiles(values):
            lines.append((name, ", ".join(f"{p} {duration(found[p])}" for p in ("p50", "p99", "max"))))
    return lines
