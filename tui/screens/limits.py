"""The limits dialog: what limits a strategy has, new ones as NAME=VALUE, and the engine's answer."""

from __future__ import annotations

from math import inf

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Button, Input, Label, Static

from tui.actions import query_limits, update_limit
from tui.host import Host
from tui.model import Outcome


class LimitsDialog(ModalScreen[None]):
    """Shows and changes risk limits; it stays open until somebody leaves it.

    Args:
        strategy_id: The strategy; empty for the limits over all strategies.
    """

    BINDINGS = [("escape", "leave", "Back")]
    AUTO_FOCUS = "#value"
    app: Host

    def __init__(self, strategy_id: str) -> None:
        super().__init__()
        self._strategy_id = strategy_id
        self._sending = False

    def compose(self) -> ComposeResult:
        """The limits, a field for a new one, and the answer."""
        with Vertical(id="dialog"):
            whose = f"of {self._strategy_id}" if self._strategy_id else "over all strategies"
            yield Label(f"Risk limits {whose}", id="title", markup=False)
            yield Static("Asking the engine ...", id="text", markup=False)
            yield Input(placeholder="max_open_orders=5, =none, or SYMBOL max_position=0.5", id="value")
            yield Static("", id="answer")
            with Horizontal(id="buttons"):
                yield Button("Back  (Esc)", id="back")
                yield Button("Send  (Enter)", id="send", variant="primary")

    def on_mount(self) -> None:
        """Asks the engine for the limits."""
        self.run_worker(self._ask(), exit_on_error=False)

    async def _ask(self) -> None:
        if self.app.link is None:
            return
        answer = await self.app.link.execute(query_limits(self._strategy_id))
        found = answer.details.get("limits", {})
        lines = [
            f"{symbol or 'everything'}: "
            + (", ".join(f"{name} {value}" for name, value in limits.items()) or "none")
            for symbol, limits in found.items()
        ]
        self.query_one("#text", Static).update(Content("\n".join(lines) or answer.text))

    @on(Input.Submitted)
    @on(Button.Pressed, "#send")
    def _submitted(self) -> None:
        before, equals, text = self.query_one("#value", Input).value.partition("=")
        symbol, _, name = before.strip().rpartition(" ")
        symbol, text = symbol.strip(), text.strip()
        if self._sending:
            return
        try:
            number = inf if text.lower() == "none" else float(text)
            if not name or not equals or not number >= 0:
                raise ValueError
        except ValueError:
            self._answer("Not sent: NAME=VALUE or SYMBOL NAME=VALUE, a number not below 0, or none.", "bad")
            return
        self._sending = True
        self._answer("Sent, waiting for the engine ...", "")
        # The app's worker, not ours: leaving the dialog must not take back the wait for the answer.
        self.app.run_worker(
            self._send(symbol, name, int(number) if number.is_integer() else number), exit_on_error=False
        )

    async def _send(self, symbol: str, name: str, value: float) -> None:
        try:
            answer = await self.app.send(update_limit(self._strategy_id, symbol, name, value))
        finally:
            self._sending = False
        if not self.is_current:
            return
        tones = {Outcome.DONE: "", Outcome.UNKNOWN: "warn"}
        self._answer(answer.text, tones.get(answer.outcome, "bad"))
        if answer.outcome is Outcome.DONE:
            self.query_one("#value", Input).value = ""
        await self._ask()

    def _answer(self, text: str, tone: str) -> None:
        field = self.query_one("#answer", Static)
        field.set_class(tone == "bad", "-bad")
        field.set_class(tone == "warn", "-warn")
        field.update(Content(text))

    @on(Button.Pressed, "#back")
    def action_leave(self) -> None:
        """Goes back."""
        self.dismiss(None)
