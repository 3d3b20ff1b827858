"""The terminal UI: one application around a store, a link and the main screen."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Iterable
from typing import Any

from textual import work
from textual.app import App, SystemCommand
from textual.binding import Binding
from textual.screen import Screen

from tui.actions import Order, RingbookCommands
from tui.link import Link
from tui.model import Answer, Outcome
from tui.screens.help import HelpScreen
from tui.screens.main import MainScreen
from tui.store import Store
from tui.theme import DARK, LIGHT, fallbacks

_SEVERITIES = {
    Outcome.DONE: "information",
    Outcome.REFUSED: "error",
    Outcome.NOT_SENT: "error",
    Outcome.UNKNOWN: "warning",
}
_LEVELS = {
    Outcome.DONE: "info",
    Outcome.REFUSED: "error",
    Outcome.NOT_SENT: "error",
    Outcome.UNKNOWN: "warning",
}


class RingbookApp(App[None]):
    """Ringbook's terminal UI.

    Args:
        endpoint: Base endpoint of the daemon; None shows the store as it is and sends nothing.
        store: The client-side state; a new one by default.
        theme: Name of the theme to start with.
        **options: ``role`` and ``key_file`` of the connection, as :class:`tui.link.Link`.
    """

    TITLE = "Ringbook"
    CSS_PATH = "app.tcss"
    COMMANDS = App.COMMANDS | {RingbookCommands}
    BINDINGS = [Binding("ctrl+q", "quit", "Quit", show=False, priority=True)]
    NOTIFICATION_TIMEOUT = 6

    def __init__(
        self, endpoint: str | None, store: Store | None = None, *, theme: str = DARK.name, **options: Any
    ) -> None:
        super().__init__()
        self.store = store or Store()
        self.link = Link(self.store, endpoint, **options) if endpoint is not None else None
        self.register_theme(DARK)
        self.register_theme(LIGHT)
        self.theme = theme

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """Our own colours, for themes that do not know them."""
        return fallbacks(self.current_theme.dark)

    def get_system_commands(self, screen: Screen[None]) -> Iterable[SystemCommand]:
        """What the palette offers besides our own actions."""
        yield SystemCommand("Theme", "Choose among all themes", self.action_change_theme)
        yield SystemCommand("Screenshot", "Save the screen as SVG", self.deliver_screenshot)

    def get_default_screen(self) -> Screen[None]:
        """The main screen."""
        return MainScreen(self.store)

    def on_mount(self) -> None:
        """Connects; SIGTERM leaves as ``q`` does, with the terminal as it was."""
        with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self.exit)
        if self.link is not None:
            self.run_worker(self.link.run(), name="link", group="link", exit_on_error=True)

    async def send(self, order: Order) -> Answer:
        """Sends a command; its answer becomes a notification and a line of the log.

        Args:
            order: The command.
        """
        if self.link is None:
            answer = Answer(Outcome.NOT_SENT, "not sent: no engine")
        else:
            self.store.note("info", f"{order.title} ...", "command")
            answer = await self.link.execute(order)
        self.store.note(_LEVELS[answer.outcome], f"{order.title}: {answer.text}", "command")
        self.notify(
            answer.text,
            title=order.title,
            severity=_SEVERITIES[answer.outcome],  # type: ignore[arg-type]
            markup=False,
        )
        return answer

    def action_dark_light(self) -> None:
        """Switches between the two themes."""
        self.theme = LIGHT.name if self.current_theme.dark else DARK.name

    @work(exclusive=True, group="help")
    async def action_help(self) -> None:
        """Shows all keys."""
        if not isinstance(self.screen, HelpScreen):
            await self.push_screen(HelpScreen())
