"""The emergency stop's dialog: two deliberate keys, never one stray one."""

from __future__ import annotations

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Button, Checkbox, Label, Static

from tui.actions import Order, emergency_stop
from tui.store import Store


class Tick(Checkbox):
    """A checkbox whose mark says without colour whether it is on."""

    BUTTON_INNER = " "

    def watch_value(self) -> None:
        """Puts the mark in or takes it out."""
        self.BUTTON_INNER = "✔" if self.value else " "
        super().watch_value()


class EmergencyDialog(ModalScreen[Order | None]):
    """Asks for the extent of an emergency stop; the way out has the focus."""

    BINDINGS = [
        ("escape,n", "keep", "Keep trading"),
        ("Y", "halt", "Halt"),
        ("o", "toggle('cancel')", "Orders"),
        ("c", "toggle('close')", "Positions"),
    ]
    AUTO_FOCUS = "#keep"

    def __init__(self, store: Store) -> None:
        super().__init__()
        self._store = store

    def compose(self) -> ComposeResult:
        """Warning, extent, and the two ways on."""
        live, positions = len(self._store.live_orders), self._store.positions.values()
        open_positions = sum(1 for position in positions if position.position)
        mode = self._store.status.mode if self._store.status else "unknown mode"
        with Vertical(id="dialog", classes="-danger"):
            yield Label("EMERGENCY STOP", id="title")
            yield Static(
                f"{mode}: {live} live orders, {open_positions} open positions.\n"
                "Trading halts until somebody resumes all (R).",
                id="text",
                markup=False,
            )
            yield Tick("Cancel all orders  (o)", value=True, id="cancel")
            yield Tick("Close all positions at market  (c)", value=False, id="close")
            with Horizontal(id="buttons"):
                yield Button("Keep trading  (Esc)", id="keep")
                yield Button("HALT TRADING  (shift+Y)", id="halt", variant="error")

    @on(Button.Pressed, "#halt")
    def action_halt(self) -> None:
        """Orders the stop."""
        cancel = self.query_one("#cancel", Checkbox).value
        self.dismiss(emergency_stop(cancel, self.query_one("#close", Checkbox).value))

    @on(Button.Pressed, "#keep")
    def action_keep(self) -> None:
        """Goes back without doing anything."""
        self.dismiss(None)

    def action_toggle(self, name: str) -> None:
        """Turns a checkbox over."""
        self.query_one(f"#{name}", Checkbox).toggle()
