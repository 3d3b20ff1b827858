"""A report as one HTML page: nothing is loaded from anywhere, light or dark as the reader's machine is."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files

import numpy as np

from engine.reports import charts
from engine.reports.charts import duration
from engine.reports.draw import MINUS, NO_NUMBER
from engine.reports.draw import amount as money
from engine.reports.mids import HORIZONS_NS
from engine.reports.orders import percentiles
from engine.reports.report import Part, Report
from engine.reports.returns import Returns

MARKOUT_SHOWN_NS = 1_000_000_000


def stylesheet() -> str:
    """What all pages look like."""
    return _template("report.css")


def _template(name: str) -> str:
    return (files("engine.reports") / "templates" / name).read_text(encoding="utf-8")


def page(report: Report, *, title: str | None = None, script: bool = True) -> str:
    """The whole document.

    Args:
        report: What it says.
        title: The heading; the strategies' names by default.
        script: Whether the reader may change the theme; a printed page has nothing to press.
    """
    whole = report.whole
    title = title or ", ".join(report.session.strategies)
    body = [
        _header(report, title, script),
        _tiles(whole),
        _card(charts.over_time(whole)),
        _pair(charts.waterfall(whole), charts.markouts(whole)),
        _card(charts.so_far(whole)),
        _pair(charts.fates(whole), charts.slippage(whole)),
        _pair(charts.tick_to_trade(whole), charts.latencies(whole), charts.inventory(whole)),
        _parts(report),
        "<h2>Return and risk</h2>",
        _card(_returns(report, whole)),
        "<h2>Orders and fills</h2>",
        _pair(_execution(whole), _fills(whole)),
        "<h2>Markouts and latencies</h2>",
        _pair(_markouts(whole), _latency(whole)),
        _others(report),
        "<h2>The run</h2>",
        _card(_facts(report)),
        "<footer>Made by ringbook report; docs/reports.md says how each number is computed.</footer>",
    ]
    press = f"<script>\n{_template('report.js')}</script>" if script else ""
    return (
        '<!doctype html>\n<html lang="en" data-theme="light"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}: report</title><style>\n{stylesheet()}</style></head>"
        f"<body><main>{''.join(body)}</main>{press}</body></html>\n"
    )


def plain(value: float, digits: int = 4) -> str:
    """Some figures of a number."""
    return NO_NUMBER if not math.isfinite(value) else f"{value:,.{digits}g}".replace("-", MINUS)


def count(value: float) -> str:
    """A whole number."""
    return NO_NUMBER if not math.isfinite(value) else f"{value:,.0f}"


def percent(value: float) -> str:
    """A part of a whole."""
    return NO_NUMBER if not math.isfinite(value) else f"{100 * value:.1f} %"


def sized(value: float, book_size: float | None) -> str:
    """An amount, or the part of a book that it is."""
    if book_size is None:
        return money(value)
    return NO_NUMBER if not math.isfinite(value) else f"{100 * value:,.2f} %".replace("-", MINUS)


def bps(value: float) -> str:
    """Basis points with a sign."""
    return NO_NUMBER if not math.isfinite(value) else f"{value:+.2f}".replace("-", MINUS)


def _sign(value: float) -> str:
    return "good" if value > 0 else "bad" if value < 0 else ""


def _card(inside: str) -> str:
    return f'<div class="card">{inside}</div>' if inside else ""


def _pair(*insides: str) -> str:
    shown = [_card(one) for one in insides if one]
    return f'<div class="two row">{"".join(shown)}</div>' if shown else ""


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]], *, last_sum: bool = False) -> str:
    rows = list(rows)
    head = "".join(f"<th>{escape(one)}</th>" for one in heads)
    lines = []
    for place, row in enumerate(rows):
        css = ' class="sum"' if last_sum and place + 1 == len(rows) else ""
        lines.append(f"<tr{css}>" + "".join(f"<td>{one}</td>" for one in row) + "</tr>")
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"


def moment(ts: int) -> str:
    """A time for people, UTC."""
    return str(np.datetime64(ts, "ns").astype("datetime64[ms]")).replace("T", " ") + " UTC"


def _header(report: Report, title: str, script: bool) -> str:
    session = report.session
    symbols = ", ".join(one.symbol for one in session.instruments)
    span = (session.last_ts - session.first_ts) / 1e9
    press = '<button id="theme" type="button">light / dark</button>' if script else ""
    return (
        f"<header><div><h1>{escape(title)}</h1><div class=sub>{escape(session.kind)} on {escape(symbols)}, "
        f"{moment(session.first_ts)} to {moment(session.last_ts)} ({_span(span)})</div></div>{press}</header>"
    )


def _span(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.1f} s"
    if seconds < 7200:
        return f"{int(seconds // 60)} min {int(seconds % 60)} s"
    return f"{seconds / 3600:.1f} h" if seconds < 172_800 else f"{seconds / 86400:.1f} days"


def _tiles(part: Part) -> str:
    profit = float(part.attribution.profit)
    r, e = part.returns, part.execution()
    at = HORIZONS_NS.index(MARKOUT_SHOWN_NS)
    markout = part.markout_curve()[at]
    value = float(part.values.sum())
    share = 1e4 * profit / value if value else math.nan
    fall = part.drawdown * (part.book_size or 1.0)
    tiles = [
        (
            "Profit after fees",
            money(profit),
            f"{bps(share)} bps of turnover",
            profit,
        ),
        # Of less than a day the figure is in the table below, where it does not shout.
        ("Sharpe ratio", plain(r.sr), f"annualised by {plain(r.factor)}", r.sr)
        if r.days >= 1
        else ("Sharpe ratio", NO_NUMBER, "less than a day", 0.0),
        (
            "Maximum drawdown",
            sized(part.drawdown, part.book_size),
            f"profit over it {plain(profit / fall if fall else math.nan, 3)}",
            0.0,
        ),
        ("Turnover", _short(value), f"{count(len(part.fills))} fills", 0.0),
        ("Fill ratio", percent(e["fill_ratio"]), f"maker {percent(e['maker_ratio'])}", 0.0),
        ("Markout, 1 s", f"{bps(markout.mean)} bps", f"± {plain(2 * markout.error, 2)}", markout.mean),
    ]
    shown = "".join(
        f'<div class="tile"><div class="name">{name}</div><div class="value {_sign(tone)}">{text}</div>'
        f'<div class="note">{note}</div></div>'
        for name, text, note, tone in tiles
    )
    return f'<div class="tiles">{shown}</div>'


def _short(value: float) -> str:
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            return f"{value / (1e3 if unit == 'k' else size):,.3g} {unit}"
    return money(value)


def _parts(report: Report) -> str:
    if len(report.cells) < 2:
        return ""
    heads = ("strategy and instrument", "profit", "spread", "inventory", "fees", "funding", "fills",
             "fill ratio", "maker", "markout 1 s, bps", "Sharpe", "max. drawdown")  # fmt: skip
    rows = []
    for part in [*report.cells, report.whole]:
        a, e, r = part.attribution.to_json(), part.execution(), part.returns
        at = part.markout_curve()[HORIZONS_NS.index(MARKOUT_SHOWN_NS)]
        rows.append(
            (
                escape(part.name),
                f'<span class="{_sign(a["profit"])}">{money(a["profit"])}</span>',
                *(money(a[name]) for name in ("spread", "inventory", "fees", "funding")),
                count(len(part.fills)),
                percent(e["fill_ratio"]),
                percent(e["maker_ratio"]),
                bps(at.mean),
                plain(r.sr),
                sized(r.max_drawdown, report.book_size),
            )
        )
    return "<h2>By strategy and instrument</h2>" + _card(_table(heads, rows, last_sum=True))


def _returns(report: Report, whole: Part) -> str:
    heads = ("", "return", "Sharpe", "Sortino", "max. drawdown", "return / drawdown", "of traded, bps",
             "trades", "trades a day", "turnover", "turnover a day", "max. position value")  # fmt: skip
    days = [(day, found) for day, found in whole.daily if found.samples > 1]
    rows = [_returns_row(day, found, report.book_size) for day, found in days] if len(days) > 1 else []
    rows.append(_returns_row("all", whole.returns, report.book_size))
    unit = "money" if report.book_size is None else f"parts of a book of {money(report.book_size)}"
    note = f'<div class="sub">Return, drawdown and turnover in {unit}; of samples every 10 s.</div>'
    return _table(heads, rows, last_sum=len(rows) > 1) + note


def _returns_row(name: str, r: Returns, book_size: float | None) -> tuple[str, ...]:
    return (
        name, f'<span class="{_sign(r.total)}">{sized(r.total, book_size)}</span>', plain(r.sr),
        plain(r.sortino), sized(r.max_drawdown, book_size), plain(r.over_max_drawdown),
        bps(1e4 * r.over_trade), count(r.num_trades), count(r.daily_num_trades), _short(r.turnover),
        _short(r.daily_turnover), money(r.max_position_value),
    )  # fmt: skip


def _execution(part: Part) -> str:
    e = part.execution()
    rows = [
        ("orders sent", count(e["orders"])),
        ("denied by our own checks", count(e["denied"])),
        ("requests (new, modified, cancelled)", count(e["requests"])),
        ("fills", count(e["fills"])),
        ("fill ratio, of orders", percent(e["fill_ratio"])),
        ("fill ratio, of quantity", percent(e["fill_ratio_qty"])),
        ("maker ratio, of value", percent(e["maker_ratio"])),
        ("requests a fill", plain(e["order_to_trade"])),
        ("queue depletion: price left, of left and filled", percent(e["queue_depletion"])),
        ("slippage, bps", f"{bps(e['slippage_bps'])} ± {plain(2 * e['slippage_error_bps'], 2)}"),
    ]
    return _table(("orders", ""), rows)


def _fills(part: Part) -> str:
    total = float(part.values.sum())
    rows = [
        (
            escape(name.replace("_", " ")),
            count(n),
            _short(value),
            percent(value / total if total else math.nan),
        )
        for name, n, value in part.reasons()
    ]
    found = part.inventory()
    shown = _table(("fills because", "fills", "value", "of value"), rows)
    if found:
        shown += _table(
            ("position", ""),
            [
                ("mean, mean size", f"{plain(found['mean'])}, {plain(found['mean_size'])}"),
                ("greatest long, short", f"{plain(found['max_long'])}, {plain(found['max_short'])}"),
                ("at the end", plain(found["end"])),
                (
                    "time long, flat, short",
                    ", ".join(percent(found[f"time_{k}"]) for k in ("long", "flat", "short")),
                ),
            ],
        )
    return shown


def _markouts(part: Part) -> str:
    heads = ("after a fill", "all, bps", "± 2 errors", "resting", "taking", "fills")
    curves = [part.markout_curve(maker) for maker in (None, True, False)]
    rows = []
    for place, horizon in enumerate(HORIZONS_NS):
        every, maker, taker = (curve[place] for curve in curves)
        rows.append(
            (
                duration(horizon),
                bps(every.mean),
                plain(2 * every.error, 2),
                bps(maker.mean),
                bps(taker.mean),
                count(every.count),
            )
        )
    return _table(heads, rows)


def _latency(part: Part) -> str:
    known = {
        "tick to trade": percentiles(part.ticks),
        "to the venue": percentiles(part.orders.entry_ns),
        "back to us": percentiles(part.orders.response_ns),
    }
    if not known["tick to trade"]:
        del known["tick to trade"]
    names = [name for name in ("min", "p50", "p95", "p99", "p99.9", "max", "mean") if any(known.values())]
    rows = [(name, *(duration(one[name]) if one else NO_NUMBER for one in known.values())) for name in names]
    return _table(("latency", *known), rows)


def _others(report: Report) -> str:
    """The charts of each strategy and instrument, where there are several."""
    if len(report.cells) < 2:
        return ""
    shown = []
    for part in report.cells:
        if len(part.fills):
            shown.append(f"<h2>{escape(part.name)}</h2>" + _card(charts.over_time(part)))
            shown.append(_pair(charts.waterfall(part), charts.markouts(part)))
            shown.append(_pair(charts.tick_to_trade(part), charts.latencies(part)))
    return "".join(shown)


def _facts(report: Report) -> str:
    session = report.session
    facts = {
        "kind": session.kind,
        "configuration": session.config_hash,
        "seed": str(session.seed),
        **report.facts,
    }
    rows = "".join(f"<tr><td>{escape(k)}</td><td>{escape(v)}</td></tr>" for k, v in facts.items())
    return f'<table class="facts"><tbody>{rows}</tbody></table>'
