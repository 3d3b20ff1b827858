"""The charts of a report: each takes a part of it and returns SVG, or "" where nothing is to be shown."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from html import escape

import numpy as np

from engine.reports import draw, money
from engine.reports.draw import Scale, bar, ink, line, svg, text
from engine.reports.mids import HORIZONS_NS
from engine.reports.orders import FATES, histogram, ticks
from engine.reports.report import Part

HALF = 490
COURSE = 600
"""Moments of a chart over time that a reader can point at."""
MARKS = 1500
"""Fills that are marked in the price's chart at most; of more, evenly many are left out."""

APART = ("c1", "c2", "c4", "c3")
"""Colours of strategies and instruments that are shown beside each other."""

FATE_WORDS = {
    "filled": ("filled", "good"),
    "price_left": ("cancelled, the price had left", "bad"),
    "cancelled": ("cancelled otherwise", "c4"),
    "refused": ("refused or denied", "c3"),
    "open": ("open at the end", "muted"),
}


def over_time(part: Part) -> str:
    """Equity with drawdown, price with fills, position: under each other over the same time.

    Args:
        part: Of the report.
    """
    whole = part.series
    if len(whole) < 2:
        return ""
    first, last = int(whole.ts[0]), int(whole.ts[-1])
    base = _first(whole.gross)
    net, gross = whole.equity - _first(whole.equity), whole.gross - base
    known = np.where(np.isnan(net), -np.inf, net)
    fall = net - np.maximum.accumulate(known)
    panes = [(190.0, np.concatenate([net, gross]), True), (70.0, fall, True)]
    single = len(part.cells) == 1
    if single:
        panes += [
            (190.0, np.concatenate([whole.price, part.fills["px"]]), False),
            (90.0, whole.position, True),
        ]
    found, height = draw.frames(first, last, panes)
    times = draw.time_ticks(first, last)
    parts = found[0].furniture("Equity", times, False, [("after fees", "c1"), ("before fees", "c2")])
    points = found[0].points(whole.ts, net)
    parts += [
        draw.area(points, found[0].y(0.0), "c1"),
        line(found[0].points(whole.ts, gross), "c2", 1.2, dash="4 3"),
    ]
    parts.append(line(points, "c1", 1.8))
    parts += found[1].furniture("Drawdown", times, not single)
    falls = found[1].points(whole.ts, fall)
    parts += [draw.area(falls, found[1].y(0.0), "bad", 0.25), line(falls, "bad", 1.2)]
    if single:
        legend = [("bought", "good"), ("sold", "bad"), ("middle price", "ink")]
        parts += found[2].furniture("Price and fills", times, False, legend)
        parts.append(line(found[2].points(whole.ts, whole.price), "ink", 1.1))
        parts += _marks(part, found[2])
        parts += found[3].furniture("Position", times, True)
        held = found[3].steps(whole.ts, whole.position)
        parts += [draw.area(held, found[3].y(0.0), "c4", 0.2), line(held, "c4", 1.3)]
    named = {"equity": net, "before fees": gross, "drawdown": fall}
    named |= {"price": whole.price, "position": whole.position} if single else {}
    course = _course(found[0], whole.ts, named)
    return svg(height + 24, parts, "Equity, drawdown, price with fills and position over time", data=course)


def _course(frame: draw.Frame, ts: np.ndarray, named: dict[str, np.ndarray]) -> str:
    """What the page's script says of the moment that is pointed at."""
    rows = np.unique(np.linspace(0, len(ts) - 1, COURSE).astype(int))
    values = {name: [draw.amount(float(one)) for one in series[rows]] for name, series in named.items()}
    told = {
        "left": frame.x.start,
        "right": frame.x.end,
        "ms": (ts[rows] // 1_000_000).tolist(),
        "values": values,
    }
    return f' data-course="{escape(json.dumps(told, separators=(",", ":")))}"'


def _first(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(known[0]) if len(known) else 0.0


def _marks(part: Part, frame: draw.Frame) -> list[str]:
    """Triangles where it bought and sold: one path a side, so that a page with thousands stays small."""
    fills = part.fills
    if len(fills) > MARKS:
        fills = fills[np.linspace(0, len(fills) - 1, MARKS).astype(int)]
    parts = []
    size = 3.2
    for side, colour in ((1, "good"), (-1, "bad")):
        mine = fills[fills["side"] == side]
        shapes = []
        for ts, px in zip(mine["local_ts"].tolist(), mine["px"].tolist(), strict=True):
            x, y = frame.x(ts), frame.y(px)
            tip, foot = (y - size, y + size) if side > 0 else (y + size, y - size)
            shapes.append(f"M{x - size:.1f} {foot:.1f}L{x:.1f} {tip:.1f}L{x + size:.1f} {foot:.1f}Z")
        if shapes:
            parts.append(f'<path d="{"".join(shapes)}" fill-opacity="0.75" style="fill:{ink(colour)}"/>')
    return parts


def waterfall(part: Part) -> str:
    """What the profit is made of.

    Args:
        part: Of the report.
    """
    found = part.attribution.to_json()
    names = ["spread", "inventory", "fees"] + (["funding"] if found["funding"] else []) + ["profit"]
    spans, so_far = [], 0.0
    for name in names[:-1]:
        spans.append((so_far, so_far + found[name]))
        so_far += found[name]
    spans.append((0.0, found["profit"]))
    height, top, bottom = 300, 40, 262
    y = draw.fitted(np.array(spans).ravel(), bottom, top, zero=True, pad=0.1)
    parts = [text(16, 20, "Where the profit came from", colour="ink", size=13)]
    ticks = y.ticks(5)
    for value in ticks:
        parts.append(line([(64, y(value)), (HALF - 16, y(value))], "axis" if value == 0 else "grid", 1))
        parts.append(text(56, y(value) + 4, draw.number(value, ticks[1] - ticks[0]), anchor="end"))
    step = (HALF - 80) / len(names)
    for place, (name, (a, b)) in enumerate(zip(names, spans, strict=True)):
        x = 64 + place * step
        colour = ("c1" if name == "profit" else "good") if b >= a else "bad"
        top_of, foot = min(y(a), y(b)), max(y(a), y(b))
        parts.append(
            bar(x + step * 0.18, top_of, step * 0.64, foot - top_of, colour, f"{name} {b - a:,.6f}", 0.9)
        )
        if place + 1 < len(names):
            parts.append(line([(x + step * 0.82, y(b)), (x + step * 1.18, y(b))], "muted", 1, dash="2 2"))
        words = draw.amount(b - a)
        parts.append(text(x + step / 2, top_of - 6, words, anchor="middle", colour="ink"))
        parts.append(text(x + step / 2, height - 16, name, anchor="middle", colour="ink", size=12))
    return svg(height, parts, "Profit by spread, inventory and fees", HALF)


def markouts(part: Part) -> str:
    """What fills had gained by some time after, with two standard errors.

    Args:
        part: Of the report.
    """
    curves = [("resting", "c1", part.markout_curve(True)), ("taking", "c2", part.markout_curve(False))]
    curves = [one for one in curves if any(point.count for point in one[2])]
    if not curves:
        return ""
    height, top, bottom = 300, 40, 254
    reach = [
        edge
        for _, _, points in curves
        for p in points
        if p.count
        for edge in (p.mean - 2 * _no_nan(p.error), p.mean + 2 * _no_nan(p.error))
    ]
    y = draw.fitted(np.array(reach), bottom, top, zero=True)
    x = Scale(HORIZONS_NS[0] * 0.8, HORIZONS_NS[-1] * 1.25, 64, HALF - 16, log=True)
    parts = [text(16, 20, "Markouts: gain of a fill, basis points", colour="ink", size=13)]
    parts += _grid(y)
    for horizon in HORIZONS_NS:
        seconds = horizon / 1e9
        words = f"{seconds:g} s" if seconds >= 1 else f"{seconds * 1000:g} ms"
        parts.append(line([(x(horizon), top), (x(horizon), bottom)], "grid", 1))
        parts.append(text(x(horizon), bottom + 16, words, anchor="middle", size=10))
    for place, (name, colour, points) in enumerate(curves):
        known = [(h, p) for h, p in zip(HORIZONS_NS, points, strict=True) if p.count]
        up = [(x(h), y(p.mean + 2 * _no_nan(p.error))) for h, p in known]
        down = [(x(h), y(p.mean - 2 * _no_nan(p.error))) for h, p in known]
        ring = "L".join(f"{a:.1f} {b:.1f}" for a, b in [*up, *reversed(down)])
        parts.append(f'<path d="M{ring}Z" fill-opacity="0.15" style="fill:{ink(colour)}"/>')
        parts.append(line([(x(h), y(p.mean)) for h, p in known], colour, 2))
        for h, p in known:
            said = f"{name}, {h / 1e9:g} s: {p.mean:.3f} bps, {p.count} fills"
            parts.append(
                f'<circle cx="{x(h):.1f}" cy="{y(p.mean):.1f}" r="3" style="fill:{ink(colour)}">'
                f"<title>{said}</title></circle>"
            )
        parts.append(text(HALF - 16 - 62 * place, 20, name, anchor="end", colour=colour, size=12))
    return svg(height, parts, "Markouts by time after the fill", HALF)


def _no_nan(value: float) -> float:
    return 0.0 if math.isnan(value) else value


def _grid(y: Scale, left: float = 64, right: float = HALF - 16) -> list[str]:
    ticks = y.ticks(5)
    step = ticks[1] - ticks[0] if len(ticks) > 1 else 0.0
    parts = []
    for value in ticks:
        parts.append(line([(left, y(value)), (right, y(value))], "axis" if value == 0 else "grid", 1))
        parts.append(text(left - 8, y(value) + 4, draw.number(value, step), anchor="end"))
    return parts


def so_far(part: Part) -> str:
    """The profit's parts over time, of one strategy in one instrument.

    Args:
        part: Of the report.
    """
    if len(part.cells) != 1 or len(part.fills) < 2:
        return ""
    found = money.attribution_over_time(part.session, *part.cells[0])
    names = (("spread", "good"), ("inventory", "c4"), ("fees", "c2"))
    first, last = int(found["ts"][0]), int(found["ts"][-1])
    (frame,), height = draw.frames(
        first, last, [(190.0, np.concatenate([found[name] for name, _ in names]), True)]
    )
    parts = frame.furniture("Spread, inventory and fees so far", draw.time_ticks(first, last), True, names)
    parts += [line(frame.steps(found["ts"], found[name]), colour, 1.6) for name, colour in names]
    return svg(height + 24, parts, "Profit by its parts over time")


def fates(part: Part) -> str:
    """How orders ended, and why fills happened.

    Args:
        part: Of the report.
    """
    counts = [(fate, part.orders.count(fate)) for fate in FATES]
    reasons = [(name.replace("_", " "), n) for name, n, _ in part.reasons()]
    if not any(n for _, n in counts):
        return ""
    parts = [text(16, 20, "How orders ended", colour="ink", size=13)]
    rows = [(FATE_WORDS[fate][0], n, FATE_WORDS[fate][1]) for fate, n in counts if n]
    y = _rows(parts, rows, 34)
    if reasons:
        parts.append(text(16, y + 26, "Why fills happened", colour="ink", size=13))
        y = _rows(parts, [(name, n, "c1") for name, n in reasons], y + 40)
    return svg(max(y + 8, 300), parts, "How orders ended and why fills happened", HALF)


def _rows(parts: list[str], rows: Sequence[tuple[str, int, str]], y: float) -> float:
    """Bars to the right, one below the other; returns where the next thing can go."""
    total = sum(n for _, n, _ in rows)
    most = max(n for _, n, _ in rows)
    for name, n, colour in rows:
        width = (HALF - 310) * n / most
        parts.append(text(196, y + 13, name, anchor="end", colour="ink"))
        parts.append(bar(204, y + 2, width, 15, colour, f"{name}: {n:,}", 0.85))
        parts.append(text(210 + width, y + 13, f"{n:,} · {100 * n / total:.1f} %"))
        y += 22
    return y


def latencies(part: Part) -> str:
    """How long requests and answers were on their way.

    Args:
        part: Of the report.
    """
    kinds = (("to the venue", "c1", part.orders.entry_ns), ("back to us", "c4", part.orders.response_ns))
    return _histograms("Latency of orders", [one for one in kinds if len(one[2])])


def tick_to_trade(part: Part) -> str:
    """How long it took from a tick's arrival to the sending of a request; nothing where no clock ran.

    Args:
        part: Of the report; its strategies and instruments are shown apart while they can be told apart.
    """
    cells = part.cells if 1 < len(part.cells) <= len(APART) else []
    named = [(" ".join(cell), ticks(part.session, *cell)) for cell in cells] or [("requests", part.ticks)]
    shown = [(name, colour, took) for (name, took), colour in zip(named, APART, strict=False) if len(took)]
    return _histograms("Tick to trade", shown)


def _histograms(title: str, kinds: Sequence[tuple[str, str, np.ndarray]]) -> str:
    if not kinds:
        return ""
    height, top, bottom = 300, 40, 254
    parts = [text(16, 20, title, colour="ink", size=13)]
    both = np.concatenate([values for _, _, values in kinds])
    edges, _ = histogram(both)
    counts = [np.histogram(np.maximum(values, edges[0]), edges)[0] for _, _, values in kinds]
    x = Scale(float(edges[0]), float(edges[-1]), 64, HALF - 16, log=True)
    y = Scale(0.0, 1.08 * max(int(c.max()) for c in counts), bottom, top)
    parts += _grid(y)
    for value in x.ticks():
        parts.append(line([(x(value), top), (x(value), bottom)], "grid", 1))
        parts.append(text(x(value), bottom + 16, duration(value), anchor="middle"))
    for place, ((name, colour, values), found) in enumerate(zip(kinds, counts, strict=True)):
        for i in np.flatnonzero(found).tolist():
            a, b = x(float(edges[i])), x(float(edges[i + 1]))
            share = (b - a) / len(kinds)
            said = f"{name}, {duration(float(edges[i]))} to {duration(float(edges[i + 1]))}: {found[i]:,}"
            left = a + place * share
            high = y(float(found[i]))
            parts.append(bar(left + 0.4, high, share - 0.8, bottom - high, colour, said, 0.8))
        words = f"{name}: median {duration(float(np.median(values)))}"
        parts.append(text(HALF - 16, 20 + 15 * place, words, anchor="end", colour=colour))
    return svg(height, parts, title, HALF)


def duration(ns: float) -> str:
    """Nanoseconds for people."""
    for unit, size in (("s", 1e9), ("ms", 1e6), ("µs", 1e3)):
        if ns >= size:
            return f"{ns / size:.3g} {unit}"
    return f"{ns:.3g} ns"


def slippage(part: Part) -> str:
    """How much worse than the middle price at sending fills were.

    Args:
        part: Of the report.
    """
    values = part.slippage[np.isfinite(part.slippage)]
    return _distribution(
        values,
        part.values[np.isfinite(part.slippage)],
        "Value of fills by slippage against the price at sending, bps",
        ("better", "worse"),
        lambda edge: "good" if edge < 0 else "bad",
    )


def inventory(part: Part) -> str:
    """How long what was held, of one strategy in one instrument.

    Args:
        part: Of the report.
    """
    if len(part.cells) != 1 or len(part.series) < 2 or not np.any(part.series.position):
        return ""
    held = part.series.position
    return _distribution(
        held,
        np.full(len(held), 100.0 / len(held)),
        "Position, per cent of the time",
        ("", ""),
        lambda edge: "c4",
        middle=True,
    )


def _distribution(
    values: np.ndarray,
    weights: np.ndarray,
    title: str,
    ends: tuple[str, str],
    colour_of: Callable[[float], str],
    *,
    middle: bool = False,
) -> str:
    if len(values) == 0:
        return ""
    low, high = (float(v) for v in np.percentile(values, [0.5, 99.5]))
    if high - low < 1e-9:
        low, high = low - 0.5, high + 0.5
    step = draw.round_step((high - low) / 28)
    shift = step / 2 if middle else 0.0
    first = math.floor((low + shift) / step)
    edges = step * np.arange(first, math.ceil((high + shift) / step) + 2) - shift
    counts, _ = np.histogram(np.clip(values, edges[0], edges[-1]), edges, weights=weights)
    height, top, bottom = 300, 40, 254
    x = Scale(float(edges[0]), float(edges[-1]), 64, HALF - 16)
    y = Scale(0.0, 1.08 * float(counts.max()), bottom, top)
    parts = [text(16, 20, title, colour="ink", size=13), *_grid(y)]
    ticks = x.ticks(6)
    for value in ticks:
        parts.append(text(x(value), bottom + 16, draw.number(value, ticks[1] - ticks[0]), anchor="middle"))
    for i in np.flatnonzero(counts).tolist():
        a, b = x(float(edges[i])), x(float(edges[i + 1]))
        colour = colour_of(float(edges[i] + edges[i + 1]) / 2)
        said = f"{edges[i]:.6g} to {edges[i + 1]:.6g}: {counts[i]:,.6g}"
        parts.append(
            bar(a + 0.5, y(float(counts[i])), b - a - 1, bottom - y(float(counts[i])), colour, said, 0.8)
        )
    parts.append(text(64, bottom + 34, ends[0], colour="good"))
    parts.append(text(HALF - 16, bottom + 34, ends[1], anchor="end", colour="bad"))
    return svg(height, parts, title, HALF)
