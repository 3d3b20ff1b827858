"""The terminal UI: one application around a store, a link and the main screen."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Iterable
from typing import Any

from textual import work
from textual.app import SystemCommand
from textual.binding import Binding
from textual.screen import Screen

from tui.actions import RingbookCommands
from tui.host import Host
from tui.screens.help import HelpScreen
from tui.screens.main import MainScreen
from tui.store import Store
from tui.theme import DARK, LIGHT, fallbacks


class RingbookApp(Host):
    """Ringbook's terminal UI.

    Args:
        endpoint: As for :class:`tui.host.Host`.
        store: As there.
        theme: Name of the theme to start with.
        **options: As there.
    """

    TITLE = "Ringbook"
    CSS_PATH = "app.tcss"
    COMMANDS = Host.COMMANDS | {RingbookCommands}
    BINDINGS = [Binding("ctrl+q", "quit", "Quit", show=False, priority=True)]
    NOTIFICATION_TIMEOUT = 6

    def __init__(
        self, endpoint: str | None, store: Store | None = None, *, theme: str = DARK.name, **options: Any
    ) -> None:
        super().__init__(endpoint, store, **options)
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
        """Connects; SIGTERM and a terminal that is closed leave as ``q`` does."""
        with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
            for number in (signal.SIGTERM, signal.SIGHUP):
                asyncio.get_running_loop().add_signal_handler(number, self.exit)
        if self.link is not None:
            self.run_worker(self.link.run(), name="link", group="link", exit_on_error=True)

    def action_dark_light(self) -> None:
        """Switches between the two themes."""
        self.theme = LIGHT.name if self.current_theme.dark else DARK.name

    @work(exclusive=True, group="help")
    async def action_help(self) -> None:
        """Shows all keys."""
        if not isinstance(self.screen, HelpScreen):
            await self.push_screen(HelpScreen())
