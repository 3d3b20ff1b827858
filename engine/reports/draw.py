"""Charts of a report as SVG: colours are names of the page's theme, resolved by whoever shows them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

import numpy as np

WIDTH = 1000
NO_NUMBER = "\N{EN DASH}"
MINUS = "\N{MINUS SIGN}"
POINTS = 1500
"""Of a line at most; of each stretch the first, least, greatest and last are kept."""
_LEFT, _RIGHT = 74, 22


def ink(name: str) -> str:
    """A colour of the theme, as CSS."""
    return f"var(--{name})"


def text(
    x: float, y: float, words: str, *, anchor: str = "start", colour: str = "muted", size: float = 11
) -> str:
    """A line of text."""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size:g}" '
        f'style="fill:{ink(colour)}">{escape(words)}</text>'
    )


def line(points: Sequence[tuple[float, float]], colour: str, width: float = 1.5, *, dash: str = "") -> str:
    """A line through points."""
    if not points:
        return ""
    dashed = f' stroke-dasharray="{dash}"' if dash else ""
    return (
        f'<path d="M{_path(points)}" fill="none" stroke-width="{width:g}" stroke-linejoin="round"{dashed} '
        f'style="stroke:{ink(colour)}"/>'
    )


def area(points: Sequence[tuple[float, float]], base: float, colour: str, opacity: float = 0.14) -> str:
    """What is between points and a level."""
    if not points:
        return ""
    first, last = points[0][0], points[-1][0]
    return (
        f'<path d="M{first:.1f} {base:.1f}L{_path(points)}L{last:.1f} {base:.1f}Z" '
        f'fill-opacity="{opacity:g}" style="fill:{ink(colour)}"/>'
    )


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "L".join(f"{x:.1f} {y:.1f}" for x, y in points)


def bar(
    x: float, y: float, width: float, height: float, colour: str, title: str = "", opacity: float = 1.0
) -> str:
    """A rectangle, with what is said where a pointer rests on it."""
    said = f"<title>{escape(title)}</title>" if title else ""
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0.5):.1f}" height="{max(height, 0.5):.1f}" rx="2" '
        f'fill-opacity="{opacity:g}" style="fill:{ink(colour)}">{said}</rect>'
    )


def svg(height: float, parts: Sequence[str], label: str, width: float = WIDTH, data: str = "") -> str:
    """A drawing.

    Args:
        height: In its own units.
        parts: Elements.
        label: What it shows, for those who cannot see it.
        width: In its own units.
        data: Further attributes.
    """
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" role="img" '
        f'aria-label="{escape(label)}" font-family="Inter, system-ui, Helvetica, Arial, sans-serif"{data}>'
        + "".join(parts)
        + "</svg>"
    )


@dataclass
class Scale:
    """Maps values to places."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        low, high = self.low, self.high
        if self.log:
            value, low, high = math.log(value), math.log(low), math.log(high)
        return self.start + (value - low) / (high - low) * (self.end - self.start)

    def ticks(self, about: int = 5) -> list[float]:
        """Round values within."""
        if self.log:
            first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
            all_ticks = [m * 10.0**k for k in range(first, last + 1) for m in (1, 2, 5)]
            inside = [tick for tick in all_ticks if self.low <= tick <= self.high]
            return inside if len(inside) <= 9 else [tick for tick in inside if f"{tick:e}"[0] == "1"]
        step = round_step((self.high - self.low) / about)
        first = math.ceil(self.low / step - 1e-9)
        return [step * k for k in range(first, math.floor(self.high / step + 1e-9) + 1)]


def round_step(rough: float) -> float:
    """The least of 1, 2, 2.5, 5 times a power of ten that is no less."""
    base = 10.0 ** math.floor(math.log10(rough))
    return next(base * m for m in (1, 2, 2.5, 5, 10) if base * m >= rough * (1 - 1e-9))


def fitted(values: np.ndarray, start: float, end: float, *, zero: bool = False, pad: float = 0.06) -> Scale:
    """A scale that all values fit on.

    Args:
        values: Perhaps with NaN.
        start: Place of the least.
        end: Place of the greatest.
        zero: Whether nought is on it too.
        pad: Part that is left free at both ends.
    """
    values = values[np.isfinite(values)]
    low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)
    if zero:
        low, high = min(low, 0.0), max(high, 0.0)
    if high - low <= 1e-12 * max(1.0, abs(high), abs(low)):
        room = max(abs(high) * 0.01, 1e-6)
        low, high = low - room, high + room
    room = pad * (high - low)
    return Scale(low - room, high + room, start, end)


def number(value: float, step: float = 0.0) -> str:
    """A number for an axis: as many digits as its steps need."""
    if not math.isfinite(value):
        return NO_NUMBER
    size = max(abs(value), abs(step))
    for unit, word in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        # Only what its steps are whole tenths of: prices keep all their digits.
        if size >= 10 * unit and step >= unit:
            return _digits(value / unit, step / unit) + (word if value else "")
    return _digits(value, step)


def amount(value: float) -> str:
    """An amount for people: as many digits as its size needs."""
    if not math.isfinite(value):
        return NO_NUMBER
    size = abs(value)
    digits = 2 if size >= 1 or size < 1e-8 else min(8, 2 - math.floor(math.log10(size)))
    return f"{value + 0.0:,.{digits}f}".replace("-", MINUS)


def _digits(value: float, step: float) -> str:
    if value == 0:
        return "0"
    if step <= 0:
        return f"{value:,.6g}".replace("-", MINUS)
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    if abs(step * 10**digits - round(step * 10**digits)) > 1e-6:
        digits += 1
    return f"{value:,.{digits}f}".replace("-", MINUS)


def clock(ts: int, span: int) -> str:
    """A moment for an axis of a span, both in nanoseconds; UTC."""
    moment = np.datetime64(ts, "ns")
    if span > 3 * 86_400_000_000_000:
        return str(moment.astype("datetime64[D]"))[5:]
    if span > 600_000_000_000:
        return str(moment.astype("datetime64[m]"))[11:]
    return str(moment.astype("datetime64[s]"))[11:]


TIME_STEPS = [
    s * 1_000_000_000 for s in (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400)
]
TIME_STEPS += [h * 3_600_000_000_000 for h in (6, 12, 24, 48, 96, 168, 336, 720)]


def time_ticks(first: int, last: int, about: int = 8) -> list[int]:
    """Round moments within."""
    step = next((s for s in TIME_STEPS if (last - first) / s <= about), TIME_STEPS[-1])
    return list(range(-(-first // step) * step, last + 1, step))


def thinned(x: np.ndarray, y: np.ndarray, points: int = POINTS) -> tuple[np.ndarray, np.ndarray]:
    """As few points as show the same line.

    Args:
        x: Increasing.
        y: Perhaps with NaN, which are left out.
        points: About how many.
    """
    known = np.isfinite(y)
    x, y = x[known], y[known]
    if len(x) <= points:
        return x, y
    edges = np.linspace(0, len(x), points // 4 + 1).astype(int)
    keep: list[int] = []
    for a, b in pairwise(edges.tolist()):
        part = y[a:b]
        keep += sorted({a, a + int(part.argmin()), a + int(part.argmax()), b - 1})
    return x[keep], y[keep]


@dataclass
class Frame:
    """A pane of a chart over time, and where things are in it."""

    x: Scale
    y: Scale
    top: float
    bottom: float

    def points(self, ts: np.ndarray, values: np.ndarray) -> list[tuple[float, float]]:
        """A line's points."""
        ts, values = thinned(ts, values)
        return [(self.x(float(a)), self.y(float(b))) for a, b in zip(ts, values, strict=True)]

    def steps(self, ts: np.ndarray, values: np.ndarray) -> list[tuple[float, float]]:
        """The same of what keeps its value until the next."""
        found: list[tuple[float, float]] = []
        for x, y in self.points(ts, values):
            if found:
                found.append((x, found[-1][1]))
            found.append((x, y))
        return found

    def furniture(
        self, title: str, times: list[int], last: bool, legend: Sequence[tuple[str, str]] = ()
    ) -> list[str]:
        """Title, grid, axes and legend.

        Args:
            title: Of the pane.
            times: Where vertical lines go.
            last: Whether times are written below.
            legend: Names and colours.
        """
        left, right = self.x.start, self.x.end
        parts = [text(left, self.top - 8, title, colour="ink", size=12)]
        at = right
        for name, colour in reversed(legend):
            parts.append(text(at, self.top - 8, name, anchor="end", colour=colour))
            at -= 7 * len(name) + 16
        ticks = self.y.ticks(4)
        step = ticks[1] - ticks[0] if len(ticks) > 1 else 0.0
        for value in ticks:
            y = self.y(value)
            parts.append(line([(left, y), (right, y)], "axis" if value == 0 else "grid", 1))
            parts.append(text(left - 8, y + 4, number(value, step), anchor="end"))
        span = int(self.x.high - self.x.low)
        for ts in times:
            x = self.x(ts)
            parts.append(line([(x, self.top), (x, self.bottom)], "grid", 1))
            if last:
                at = min(x, right - 12)
                parts.append(text(at, self.bottom + 16, clock(ts, span), anchor="middle"))
        return parts


def frames(
    first: int, last: int, panes: Sequence[tuple[float, np.ndarray, bool]], top: float = 26
) -> tuple[list[Frame], float]:
    """Panes under each other over the same time.

    Args:
        first: Nanoseconds.
        last: Nanoseconds.
        panes: Height, values that have to fit, and whether nought has to, of each.
        top: Where the first begins.

    Returns:
        The panes, and the height of all.
    """
    x = Scale(float(first), float(max(last, first + 1)), _LEFT, WIDTH - _RIGHT)
    found = []
    for height, values, zero in panes:
        found.append(Frame(x, fitted(values, top + height, top, zero=zero), top, top + height))
        top += height + 38
    return found, top - 12 - 26
