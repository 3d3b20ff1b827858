"""What widgets tell the screens: a row was picked or chosen, a tab was asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from textual.message import Message

if TYPE_CHECKING:
    from textual.widget import Widget


class RowPicked(Message):
    """The cursor of a table is on another row."""

    def __init__(self, table: Widget, key: Any) -> None:
        super().__init__()
        self.table, self.key = table, key

    @property
    def control(self) -> Widget:
        """The table, for ``@on`` selectors."""
        return self.table


class RowChosen(RowPicked):
    """Enter was pressed on a table's row, or it was double-clicked."""


class TabAsked(Message):
    """A tab of the dock was clicked."""

    def __init__(self, panel_id: str) -> None:
        super().__init__()
        self.panel_id = panel_id
