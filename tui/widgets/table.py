"""A table drawn line by line: only visible rows are ever formatted, columns leave where space is short.

Cost: formatting is O(visible rows) an update, whatever the number of rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from tui.messages import RowChosen, RowPicked
from tui.widgets.panel import Panel

GAP = 2
TONES = ("buy", "sell", "quiet", "warn", "bad", "accent", "strong")


class Column(NamedTuple):
    """A column: where space is short the highest ``leaves`` goes first, and 0 never.

    One that stretches takes spare width, and gives way down to ``least`` before any other leaves.
    """

    title: str
    right: bool = False
    leaves: int = 0
    stretch: bool = False
    least: int = 8


class Cell(NamedTuple):
    """A text and its tone, one of :data:`TONES` or empty."""

    text: str
    tone: str = ""


Row = Sequence[Cell | str]


def fit(columns: Sequence[Column], wanted: Sequence[int], width: int) -> list[int]:
    """Shares out the width.

    Args:
        columns: The table's columns.
        wanted: Their natural widths in cells.
        width: What there is.

    Returns:
        A width for each column; 0 for one that leaves. The stretching one takes what is left over.
    """
    widths = list(wanted)

    def needed() -> int:
        shown = [size for size in widths if size]
        return sum(shown) + GAP * max(0, len(shown) - 1)

    stretching = [index for index, column in enumerate(columns) if column.stretch]
    for index in stretching:
        widths[index] = min(widths[index], columns[index].least)
    for index in sorted(range(len(columns)), key=lambda index: -columns[index].leaves):
        if needed() <= width or columns[index].leaves == 0:
            break
        widths[index] = 0
    shown = [index for index in stretching if widths[index]]
    if shown:
        widths[shown[0]] = max(1, widths[shown[0]] + width - needed())
    return widths


class Table(Panel, ScrollView):
    """A panel of rows.

    Subclasses set ``COLUMNS`` and give rows with :meth:`set_rows`; with ``CURSOR`` a row can be picked by
    keyboard or mouse.
    """

    COLUMNS: ClassVar[tuple[Column, ...]] = ()
    CURSOR: ClassVar[bool] = False
    EMPTY: ClassVar[str] = "nothing yet"
    can_focus = True

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "table--head",
        "table--cursor",
        "table--selected",
        *(f"tone--{name}" for name in TONES),
    }
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "Up", show=False),
        Binding("down,j", "move(1)", "Down", show=False),
        Binding("home,g", "move(-1000000)", "First", show=False),
        Binding("end,G", "move(1000000)", "Last", show=False),
        Binding("pageup", "page(-1)", "Page up", show=False),
        Binding("pagedown", "page(1)", "Page down", show=False),
        Binding("enter", "choose", "Choose", show=False),
    ]

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self.cursor: Any = None
        self._keys: list[Any] = []
        self._source: Callable[[int], Row] = lambda index: ()
        self._count = 0
        self._cache: dict[int, Row] = {}
        self._wanted: list[int] = []
        self._titles: tuple[str, ...] = tuple(column.title for column in self.COLUMNS)

    # --- contents ----------------------------------------------------------------------------

    def set_rows(self, count: int, source: Callable[[int], Row], keys: Sequence[Any] = ()) -> None:
        """Gives the table new rows.

        Args:
            count: How many.
            source: Makes the row of an index; called for visible rows only.
            keys: What names each row, for the cursor; needed with ``CURSOR``.
        """
        self._source, self._count, self._keys = source, count, list(keys)
        self._cache.clear()
        if self.cursor not in self._keys:
            self.cursor = None
        self.virtual_size = Size(self.size.width, count + 1)
        if len(self._wanted) != len(self.COLUMNS):
            self._wanted = [cell_len(title) for title in self._titles]
        # Widths only grow while the table lives, so that columns do not jump with every number.
        for index in self._visible():
            for place, cell in enumerate(self._row(index)):
                self._wanted[place] = max(
                    self._wanted[place], cell_len(cell[0] if isinstance(cell, Cell) else cell)
                )
        self.refresh()

    def forget_widths(self) -> None:
        """Measures the columns afresh at the next rows."""
        self._wanted = []

    def _visible(self) -> range:
        first = int(self.scroll_offset.y)
        return range(first, min(self._count, first + max(0, self.size.height - 1)))

    def _row(self, index: int) -> Row:
        row = self._cache.get(index)
        if row is None:
            row = self._cache[index] = self._source(index)
        return row

    # --- drawing -----------------------------------------------------------------------------

    def _tone(self, name: str) -> Style:
        return self.get_component_rich_style(f"tone--{name}", partial=True) if name else Style.null()

    def render_line(self, y: int) -> Strip:
        """Draws a line of the visible part: the titles, then rows."""
        width = self.size.width
        base = self.rich_style
        if y == 0:
            head = base + self.get_component_rich_style("table--head", partial=True)
            return self._line([Cell(title) for title in self._titles], head, width)
        index = y - 1 + int(self.scroll_offset.y)
        if index >= self._count:
            text = f" {self.EMPTY}" if self._count == 0 and y == 1 else ""
            return Strip([Segment(set_cell_size(text, width), base + self._tone("quiet"))], width)
        if self.CURSOR and index < len(self._keys) and self._keys[index] == self.cursor:
            name = "table--cursor" if self.has_focus else "table--selected"
            base = base + self.get_component_rich_style(name, partial=True)
        return self._line(self._row(index), base, width)

    def _line(self, row: Row, base: Style, width: int) -> Strip:
        segments: list[Segment] = [Segment(" ", base)]
        used = 1
        wanted = self._wanted or [cell_len(title) for title in self._titles]
        for column, size, cell in zip(self.COLUMNS, fit(self.COLUMNS, wanted, width - 2), row, strict=False):
            if not size:
                continue
            text, tone = cell if isinstance(cell, Cell) else (cell, "")
            if used > 1:
                segments.append(Segment(" " * GAP, base))
                used += GAP
            length = cell_len(text)
            if length > size:
                text = set_cell_size(text, size - 1) + "…"
            elif column.right:
                text = " " * (size - length) + text
            else:
                text = text + " " * (size - length)
            segments.append(Segment(text, base + self._tone(tone)))
            used += size
        return Strip(segments, used).adjust_cell_length(width, base)

    # --- moving ------------------------------------------------------------------------------

    def _pick(self, key: Any) -> None:
        if key != self.cursor:
            self.cursor = key
            self.refresh()
            self.post_message(RowPicked(self, key))

    def pick(self, key: Any) -> None:
        """Puts the cursor on a row from outside, without telling anyone; on none if there is no such row."""
        key = key if key in self._keys else None
        if key != self.cursor:
            self.cursor = key
            self.refresh()

    def action_move(self, by: int) -> None:
        """Moves the cursor, or scrolls where there is none."""
        if not self.CURSOR:
            self.scroll_to(y=min(max(0, self.scroll_offset.y + by), self.max_scroll_y), animate=False)
        elif self._keys:
            at = self._keys.index(self.cursor) + by if self.cursor in self._keys else 0
            at = min(max(0, at), len(self._keys) - 1)
            self._pick(self._keys[at])
            top, rows = int(self.scroll_offset.y), max(1, self.size.height - 1)
            if not top <= at < top + rows:
                self.scroll_to(y=at if at < top else at - rows + 1, animate=False)

    def action_page(self, by: int) -> None:
        """Moves by what is visible."""
        self.action_move(by * max(1, self.size.height - 2))

    def action_choose(self) -> None:
        """Says that the cursor's row is meant."""
        if self.CURSOR and self.cursor in self._keys:
            self.post_message(RowChosen(self, self.cursor))

    def on_click(self, event: events.Click) -> None:
        """Picks the row under the mouse; a second click chooses it."""
        offset = event.get_content_offset(self)
        if offset is None or not self.CURSOR or offset.y < 1:
            return
        index = offset.y - 1 + int(self.scroll_offset.y)
        if index < len(self._keys):
            self._pick(self._keys[index])
            if event.chain > 1:
                self.action_choose()

    def watch_scroll_y(self, old: float, new: float) -> None:
        super().watch_scroll_y(old, new)
        self.refresh()

    def on_resize(self) -> None:
        self.virtual_size = Size(self.size.width, self._count + 1)
        self.forget_widths()
        self._seen = None
