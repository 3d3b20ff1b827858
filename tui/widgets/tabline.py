"""The dock's tab line, shown where the lower panels do not fit side by side."""

from __future__ import annotations

from rich.segment import Segment
from textual import events
from textual.strip import Strip
from textual.widget import Widget

from tui.messages import TabAsked


class Tabline(Widget):
    """One line of tabs; a click asks for one."""

    COMPONENT_CLASSES = {"tabline--tab", "tabline--active", "tabline--rule", "tabline--note"}
    can_focus = False

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._tabs: tuple[tuple[str, str], ...] = ()
        self._active = self._note = ""

    def set_tabs(self, tabs: tuple[tuple[str, str], ...], active: str, note: str = "") -> None:
        """Shows tabs.

        Args:
            tabs: Panel id and text of each.
            active: The id of the one in front.
            note: What stands at the right end.
        """
        if (tabs, active, note) != (self._tabs, self._active, self._note):
            self._tabs, self._active, self._note = tabs, active, note
            self.refresh()

    def render_line(self, y: int) -> Strip:
        """Draws the line."""
        base = self.rich_style
        rule = base + self.get_component_rich_style("tabline--rule", partial=True)
        segments = []
        for panel_id, text in self._tabs:
            name = "tabline--active" if panel_id == self._active else "tabline--tab"
            segments.append(Segment(f" {text} ", base + self.get_component_rich_style(name, partial=True)))
            segments.append(Segment("─", rule))
        width = self.size.width
        used = sum(segment.cell_length for segment in segments)
        note = f" {self._note} " if self._note else ""
        segments.append(Segment("─" * max(0, width - used - len(note)), rule))
        if note:
            segments.append(
                Segment(note, base + self.get_component_rich_style("tabline--note", partial=True))
            )
        return Strip(segments).adjust_cell_length(width, base)

    def on_click(self, event: events.Click) -> None:
        """Asks for the tab under the mouse."""
        at = 0
        for panel_id, text in self._tabs:
            if at <= event.x < at + len(text) + 2:
                self.post_message(TabAsked(panel_id))
                return
            at += len(text) + 3
