"""The PnL line: value axis, zero line, time axis, and which series is on."""

from __future__ import annotations

import math
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.binding import Binding, BindingType
from textual.strip import Strip
from textual.widget import Widget

from tui.braille import axis, plot
from tui.format import money, money_digits, time_of_day
from tui.store import Store
from tui.widgets.panel import Panel

Key = tuple[str, str]


def series_name(key: Key) -> str:
    """What the chart calls a series: ``total``, or strategy and symbol."""
    return f"{key[0]} {key[1]}" if key[0] else "total" if key[1] == "linear" else f"total {key[1]}"


class PnlChart(Panel, Widget):
    """Net PnL over engine time; ``c`` on the main screen goes to the next series."""

    TITLE, KEY, AGES = "Net PnL", "7", "market"
    SECTIONS = ("positions",)
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "chart--axis",
        "chart--gain-ground",
        "chart--loss-ground",
        "tone--buy",
        "tone--sell",
        "tone--quiet",
    }
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left,right", "screen.chart", "Next series", show=False),
    ]
    can_focus = True

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.series: Key | None = None
        self._keys: list[Key] = []
        self._times: list[int] = []
        self._values: list[float] = []
        self._lines: list[list[Segment]] = []

    def inputs(self) -> tuple[object, ...]:
        """The series chosen and the size decide what is drawn, too."""
        return (self.series, self.size)

    def next_series(self) -> None:
        """Goes to the next series: totals first, then each strategy and symbol."""
        if self._keys:
            at = self._keys.index(self.series) if self.series in self._keys else 0
            self.series = self._keys[(at + 1) % len(self._keys)]

    def detail(self, store: Store) -> str:
        """Which series, and its last value."""
        if not self._values or self.series is None:
            return ""
        last = self._values[-1]
        return f"{series_name(self.series)} {money(last, money_digits([last]))}"

    def read(self, store: Store) -> None:
        """Takes in the chosen series and draws it."""
        self._keys = sorted(store.history, key=lambda key: (bool(key[0]), key[0], key[1] != "linear", key[1]))
        if self.series not in self._keys:
            self.series = self._keys[0] if self._keys else None
        history = store.history.get(self.series) if self.series else None
        self._times, self._values = (history.times, history.values) if history else ([], [])
        self._lines = []
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """Draws a line; the first one after a change draws the whole chart."""
        width, height = self.size
        base = self.rich_style
        if not self._values or width < 16 or height < 3:
            text = " no PnL reported yet" if y == 0 and not self._values else ""
            quiet = base + self.get_component_rich_style("tone--quiet", partial=True)
            return Strip([Segment(text, quiet)]).adjust_cell_length(width, base)
        if not self._lines:
            self._lines = self._draw(width, height, base)
        if y >= len(self._lines):
            return Strip.blank(width, base)
        return Strip(self._lines[y]).adjust_cell_length(width, base)

    def _draw(self, width: int, height: int, base: Style) -> list[list[Segment]]:
        tones = {
            "gain": base + self.get_component_rich_style("tone--buy", partial=True),
            "loss": base + self.get_component_rich_style("tone--sell", partial=True),
            "gain-ground": base + self.get_component_rich_style("chart--gain-ground", partial=True),
            "loss-ground": base + self.get_component_rich_style("chart--loss-ground", partial=True),
            "axis": base + self.get_component_rich_style("chart--axis", partial=True),
            "": base,
        }
        quiet = base + self.get_component_rich_style("tone--quiet", partial=True)
        ends = axis(self._values, height - 1)
        digits = max(0, -math.floor(math.log10(ends.step) + 1e-9))
        texts = {row: _label(value, digits) for row, value in ends.labels.items()}
        margin = max(map(len, texts.values()), default=1) + 1
        drawn = plot(self._times, self._values, max(1, width - margin - 2), height - 1)
        lines = []
        for y, row in enumerate(drawn.rows):
            label = texts.get(y, "")
            tick = "┤" if label else "│"
            line = [Segment(f"{label:>{margin}}", quiet), Segment(tick, tones["axis"])]
            lines.append(line + [Segment(text, tones[tone]) for text, tone in row])
        lines.append([Segment(self._time_axis(width, margin), quiet)])
        return lines

    def _time_axis(self, width: int, margin: int) -> str:
        first, last = self._times[0], self._times[-1]
        room = width - margin - 2
        left, right = time_of_day(first, millis=False), time_of_day(last, millis=False)
        middle = time_of_day((first + last) // 2, millis=False) if room >= 36 else ""
        gap = room - len(left) - len(right)
        if gap < 1:
            return " " * (margin + 1) + left[:room]
        return " " * (margin + 1) + left + middle.center(gap) + right


def _label(value: float, digits: int) -> str:
    return f"{value:+,.{digits}f}" if value else "0"
