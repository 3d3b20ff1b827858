"""The depth ladder of one symbol: market quantities as bars, our own orders at their prices."""

from __future__ import annotations

from typing import ClassVar

from rich.cells import set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual.binding import Binding, BindingType
from textual.strip import Strip
from textual.widget import Widget

from tui.book import Ladder, Rung, ladder
from tui.format import compact, price, quantity
from tui.store import Store
from tui.widgets.panel import Panel

OWN = "►"
TWO_SIDED = 46
"""Cells from which on bids stand left of the price and asks right of it; below, both stand left."""
WIDEST_SIDE = 46
"""Cells beside the price, at most: on a wide screen bars and own orders stay near it."""


class DepthLadder(Panel, Widget):
    """Asks above, bids below, the spread between; own orders carry a mark, their quantity and count."""

    TITLE, KEY, AGES = "Ladder", "2", "market"
    SECTIONS = ("book", "orders", "trades", "instruments")
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "ladder--own",
        "ladder--bid-bar",
        "ladder--ask-bar",
        "ladder--spread",
        "tone--buy",
        "tone--sell",
        "tone--quiet",
    }
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "screen.symbol(-1)", "Symbol before", show=False),
        Binding("right", "screen.symbol(1)", "Next symbol", show=False),
    ]
    can_focus = True

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.symbol = ""
        self._ladder = Ladder([], [], 0, 0)
        self._tick = self._lot = 0.0
        self._last: tuple[float, str] | None = None
        self._most = 1.0
        self._px_width = self._own_width = 1

    def inputs(self) -> tuple[object, ...]:
        """The symbol and the size decide what is drawn, too."""
        return (self.symbol, self.size)

    def detail(self, store: Store) -> str:
        """The symbol."""
        return self.symbol

    def read(self, store: Store) -> None:
        """Takes in the best levels and our orders of the symbol."""
        self._tick, self._lot = store.tick_size(self.symbol), store.lot_size(self.symbol)
        depth = max(1, (self.size.height - 1) // 2)
        book = store.books.get(self.symbol)
        if book is None:
            self._ladder = Ladder([], [], 0, 0)
        else:
            self._ladder = ladder(book, store.live_in(self.symbol), self._tick, depth)
        trades = store.trades.get(self.symbol)
        self._last = (trades[0].px, trades[0].side) if trades else None
        rungs = self._ladder.bids + self._ladder.asks
        self._most = max((rung.qty for rung in rungs), default=1.0) or 1.0
        self._px_width = max((len(price(rung.px, self._tick)) for rung in rungs), default=1)
        self._own_width = max((len(self._own(rung)) for rung in rungs), default=0)
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """Draws a rung, the spread, or nothing."""
        width, height = self.size
        base = self.rich_style
        half = max(1, (height - 1) // 2)
        if not self._ladder.bids and not self._ladder.asks:
            text = f" {'no book of ' + self.symbol if self.symbol else 'no symbol'} yet" if y == 0 else ""
            return Strip([Segment(text, base + self._tone("tone--quiet"))]).adjust_cell_length(width, base)
        if y < half:
            rung = half - 1 - y
            line = self._rung(self._ladder.asks, rung, "ask", width, base)
        elif y == half:
            line = [Segment(self._spread(width), base + self._tone("ladder--spread"))]
        else:
            line = self._rung(self._ladder.bids, y - half - 1, "bid", width, base)
        return Strip(line).adjust_cell_length(width, base)

    def _tone(self, name: str) -> Style:
        return self.get_component_rich_style(name, partial=True)

    def _own(self, rung: Rung) -> str:
        if not rung.own_orders:
            return ""
        count = f" x{rung.own_orders}" if rung.own_orders > 1 else ""
        return f"{OWN}{quantity(rung.own_qty, self._lot)}{count}"

    def _rung(self, rungs: list[Rung], at: int, side: str, width: int, base: Style) -> list[Segment]:
        if at >= len(rungs):
            return []
        rung = rungs[at]
        own = self._own(rung)
        tone = base + self._tone("tone--buy" if side == "bid" else "tone--sell")
        px_style = tone + self._tone("ladder--own") if own else tone
        own_style = base + self._tone("ladder--own")
        px = Segment(f"  {price(rung.px, self._tick):>{self._px_width}}  ", px_style)
        rest = width - self._px_width - 4
        if width < TWO_SIDED:
            room = min(rest - 1, max(7, self._own_width + 1))
            bar = self._bar(rung.qty, rest - room, f"ladder--{side}-bar", base, right=True)
            return [*bar, px, Segment(set_cell_size(own, room), own_style)]
        half = min(WIDEST_SIDE, rest // 2)
        room = min(half // 2, max(8, self._own_width + 2))
        margin = Segment(" " * (rest // 2 - half), base)
        empty = Segment(" " * half, base)
        bar = self._bar(rung.qty, half - room, f"ladder--{side}-bar", base, right=side == "bid")
        if side == "bid":
            return [margin, Segment(set_cell_size(f" {own}", room), own_style), *bar, px]
        mark = set_cell_size(f"{own:>{room - 1}}", room - 1)
        return [margin, empty, px, *bar, Segment(f"{mark} ", own_style)]

    def _bar(self, qty: float, room: int, name: str, base: Style, *, right: bool) -> list[Segment]:
        text = quantity(qty, self._lot) if qty else ""
        text = set_cell_size(text.rjust(room) if right else text, room)
        filled = min(room, round(room * qty / self._most))
        bar = base + self._tone(name)
        if right:
            return [Segment(text[: room - filled], base), Segment(text[room - filled :], bar)]
        return [Segment(text[:filled], bar), Segment(text[filled:], base)]

    def _spread(self, width: int) -> str:
        asks, bids = self._ladder.asks, self._ladder.bids
        best_ask = next((rung.px for rung in asks if rung.qty), None)
        best_bid = next((rung.px for rung in bids if rung.qty), None)
        parts = []
        if best_ask is not None and best_bid is not None:
            parts.append(f"spread {price(best_ask - best_bid, self._tick)}")
        if self._last:
            px, side = self._last
            parts.append(f"last {price(px, self._tick)}{'▲' if side == 'buy' else '▼'}")
        beyond = [
            f"{mark}{compact(count)} own"
            for mark, count in (("↑", self._ladder.own_above), ("↓", self._ladder.own_below))
            if count
        ]
        while len(parts) > 1 and len("  ".join(parts + beyond)) > width - 4:
            parts.pop(0)
        return f" {'  '.join(parts + beyond)} ".center(width, "─")
