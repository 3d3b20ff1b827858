"""The parameter dialog: which one, its type and range, the new value, and the engine's answer."""

from __future__ import annotations

from typing import Any

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Button, Input, Label, OptionList, Static
from textual.widgets.option_list import Option

from bridge.protocol import ParamInfo
from tui.actions import update_param
from tui.format import limits, parse_value, value
from tui.host import Host
from tui.model import Outcome
from tui.store import Store


class ParamDialog(ModalScreen[None]):
    """Changes one parameter of a strategy; it stays open until the engine has agreed."""

    BINDINGS = [("escape", "leave", "Back")]
    AUTO_FOCUS = "#params"
    app: Host

    def __init__(self, store: Store, strategy_id: str) -> None:
        super().__init__()
        self._store = store
        self._strategy_id = strategy_id
        self._name = ""
        self._sending = False

    def compose(self) -> ComposeResult:
        """The parameters, and the chosen one's field."""
        with Vertical(id="dialog"):
            yield Label(f"Parameters of {self._strategy_id}", id="title", markup=False)
            with Horizontal(id="columns"):
                yield OptionList(*(self._option(param) for param in self._params()), id="params")
                with Vertical(id="field"):
                    yield Static("", id="about")
                    yield Input(id="value")
                    yield Static("", id="answer")
            with Horizontal(id="buttons"):
                yield Button("Back  (Esc)", id="back")
                yield Button("Send  (Enter)", id="send", variant="primary")

    def _params(self) -> list[ParamInfo]:
        strategy = self._store.strategies.get(self._strategy_id)
        return strategy.params if strategy else []

    def _param(self) -> ParamInfo | None:
        return next((param for param in self._params() if param.name == self._name), None)

    @staticmethod
    def _option(param: ParamInfo) -> Option:
        return Option(Content(f"{param.name} = {value(param.value)}"), id=param.name)

    @on(OptionList.OptionHighlighted)
    def _highlighted(self, event: OptionList.OptionHighlighted) -> None:
        self._name = event.option.id or ""
        param = self._param()
        if param is not None:
            lines = [Content.styled(param.name, "bold"), Content(limits(param))]
            if param.doc:
                lines.append(Content(param.doc))
            lines.append(Content(f"now {value(param.value)}"))
            self.query_one("#about", Static).update(Content("\n").join(lines))
            self.query_one("#value", Input).value = value(param.value)
            self._answer("", "")

    @on(OptionList.OptionSelected)
    def _selected(self) -> None:
        field = self.query_one("#value", Input)
        field.focus()
        field.select_all()

    @on(Input.Changed)
    def _changed(self, event: Input.Changed) -> None:
        param = self._param()
        if param is None or self._sending:
            return
        try:
            parse_value(param, event.value)
        except ValueError as error:
            self._answer(f"{error}", "bad")
        else:
            self._answer("", "")

    @on(Input.Submitted)
    @on(Button.Pressed, "#send")
    def _submitted(self) -> None:
        param = self._param()
        if param is None or self._sending:
            return
        try:
            new = parse_value(param, self.query_one("#value", Input).value)
        except ValueError as error:
            self._answer(f"Not sent: {error}.", "bad")
            return
        self._sending = True
        self._answer("Sent, waiting for the engine ...", "")
        # The app's worker, not ours: leaving the dialog must not take back the wait for the answer.
        self.app.run_worker(self._send(param.name, new), exit_on_error=False)

    async def _send(self, name: str, new: Any) -> None:
        try:
            answer = await self.app.send(update_param(self._strategy_id, name, new))
        finally:
            self._sending = False
        if not self.is_current:
            return
        if answer.outcome is Outcome.DONE:
            self.dismiss(None)
        else:
            self._answer(answer.text, "warn" if answer.outcome is Outcome.UNKNOWN else "bad")

    def _answer(self, text: str, tone: str) -> None:
        field = self.query_one("#answer", Static)
        field.set_class(tone == "bad", "-bad")
        field.set_class(tone == "warn", "-warn")
        field.update(Content(text))

    @on(Button.Pressed, "#back")
    def action_leave(self) -> None:
        """Goes back without sending anything."""
        self.dismiss(None)
