"""The kill switch's dialogs: two deliberate keys throw it; to take one back is to have seen it."""

from __future__ import annotations

from typing import Any

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Button, Checkbox, Input, Label, OptionList, Static
from textual.widgets.option_list import Option

from tui.actions import Order, kill, query_switches, rearm
from tui.host import Host
from tui.model import Outcome
from tui.screens.emergency import Tick
from tui.store import Store


class KillDialog(ModalScreen[Order | None]):
    """Asks what to kill; the way out has the focus."""

    BINDINGS = [
        ("escape,n", "keep", "Keep trading"),
        ("Y", "kill", "Kill"),
        ("o", "toggle", "Only the strategy"),
    ]
    AUTO_FOCUS = "#keep"

    def __init__(self, store: Store, strategy: str) -> None:
        super().__init__()
        self._store, self._strategy = store, strategy

    def compose(self) -> ComposeResult:
        """Warning, scope, and the two ways on."""
        mode = self._store.status.mode if self._store.status else "unknown mode"
        with Vertical(id="dialog", classes="-danger"):
            yield Label("KILL SWITCH", id="title")
            yield Static(
                f"{mode}: cancels all orders, {len(self._store.live_orders)} are live, and lets no new ones "
                "pass.\nIt holds over restarts until somebody re-arms it (A).",
                id="text",
                markup=False,
            )
            if self._strategy:
                yield Tick(f"Only {self._strategy}  (o)", value=False, id="only")
            with Horizontal(id="buttons"):
                yield Button("Keep trading  (Esc)", id="keep")
                yield Button("KILL  (shift+Y)", id="kill", variant="error")

    @on(Button.Pressed, "#kill")
    def action_kill(self) -> None:
        """Throws the switch."""
        only = bool(self._strategy) and self.query_one("#only", Checkbox).value
        self.dismiss(kill(self._strategy if only else ""))

    @on(Button.Pressed, "#keep")
    def action_keep(self) -> None:
        """Goes back without doing anything."""
        self.dismiss(None)

    def action_toggle(self) -> None:
        """Turns the scope over."""
        if self._strategy:
            self.query_one("#only", Checkbox).toggle()


class RearmDialog(ModalScreen[Order | None]):
    """Lists the thrown switches as the engine tells them, and takes back the one that is chosen."""

    BINDINGS = [("escape", "leave", "Back"), ("Y", "rearm", "Re-arm")]
    AUTO_FOCUS = "#switches"
    app: Host

    def __init__(self) -> None:
        super().__init__()
        self._switch = ""

    def compose(self) -> ComposeResult:
        """The switches, a field for the token, and the two ways on."""
        with Vertical(id="dialog"):
            yield Label("Thrown switches", id="title")
            yield OptionList(id="switches")
            yield Static("Asking the engine ...", id="answer", markup=False)
            yield Input(password=True, placeholder="token, if the daemon asks for one", id="token")
            with Horizontal(id="buttons"):
                yield Button("Back  (Esc)", id="back")
                yield Button("Re-arm  (shift+Y)", id="rearm", variant="warning")

    def on_mount(self) -> None:
        """Asks the engine what is thrown."""
        self.run_worker(self._ask(), exit_on_error=False)

    async def _ask(self) -> None:
        if self.app.link is None:
            return
        answer = await self.app.link.execute(query_switches())
        switches = answer.details.get("switches", [])
        options = self.query_one("#switches", OptionList)
        options.add_options(Option(_described(switch), id=switch["id"]) for switch in switches)
        if answer.outcome is not Outcome.DONE:
            text = answer.text
        else:
            text = "Enter chooses one." if switches else "No switch is thrown."
        self.query_one("#answer", Static).update(Content(text))
        if switches:
            options.highlighted = 0

    @on(OptionList.OptionHighlighted)
    @on(OptionList.OptionSelected)
    def _chosen(self, event: OptionList.OptionHighlighted | OptionList.OptionSelected) -> None:
        self._switch = event.option.id or ""
        self.query_one("#answer", Static).update(Content(f"shift+Y re-arms {self._switch}."))

    @on(Button.Pressed, "#rearm")
    @on(Input.Submitted)
    def action_rearm(self) -> None:
        """Takes the chosen switch back."""
        if self._switch:
            self.dismiss(rearm(self._switch, self.query_one("#token", Input).value))

    @on(Button.Pressed, "#back")
    def action_leave(self) -> None:
        """Goes back without doing anything."""
        self.dismiss(None)


def _described(switch: dict[str, Any]) -> Content:
    place = " ".join(filter(None, (switch["scope"], switch["name"])))
    said = f": {switch['reason']}" if switch.get("reason") else ""
    text = f"  {switch['state']} by {switch['cause']}, {switch.get('who') or 'nobody named'}{said}"
    return Content.assemble((place, "bold"), text)
