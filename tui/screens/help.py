"""The help screen: every key, and what the marks mean."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Label, Static

from tui.actions import ACTIONS, PROGRAM, TRADING, VIEW

_MARKS = (
    ("►", "our own orders in the ladder: open quantity and, if several, how many"),
    ("STALE 3.2s", "nobody has refreshed this for so long; the header says who is silent"),
    ("● ◌ ✖", "connected, reconnecting, lost; it keeps trying by itself"),
    ("unknown", "a command without an answer may have been carried out: look before you repeat it"),
)


def help_text() -> Content:
    """All keys by group, then the marks."""
    lines: list[Content] = []
    for group in (TRADING, VIEW, PROGRAM):
        lines.append(Content.styled(group, "bold $text-primary"))
        for action in ACTIONS:
            if action.group == group:
                key = action.shown_key or action.key
                tail = f"  {action.help}" if action.help else ""
                lines.append(Content.assemble((f"  {key:<8}", "bold"), action.title, (tail, "$quiet")))
        if group == PROGRAM:
            lines.append(Content.assemble(("  ctrl+p  ", "bold"), "Command palette: all of this by name"))
        lines.append(Content(""))
    lines.append(Content.styled("Marks", "bold $text-primary"))
    lines += [Content.assemble((f"  {mark:<12}", "bold"), text) for mark, text in _MARKS]
    return Content("\n").join(lines)


class HelpScreen(ModalScreen[None]):
    """All keys; any of Escape, q and ? closes it."""

    BINDINGS = [("escape,q,question_mark", "dismiss", "Close")]
    AUTO_FOCUS = "#keys"

    def compose(self) -> ComposeResult:
        """A title and the keys, scrollable where they do not fit."""
        with Vertical(id="dialog", classes="-tall"):
            yield Label("Ringbook keys  (Esc closes)", id="title")
            with VerticalScroll(id="keys"):
                yield Static(help_text())
