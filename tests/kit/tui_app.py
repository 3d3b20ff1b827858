"""The terminal UI without a bridge: a link that records commands and answers as it is told."""

from __future__ import annotations

import asyncio
import html
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from unittest.mock import patch

from textual.pilot import Pilot

from tui.actions import Order
from tui.app import RingbookApp
from tui.model import Answer, Outcome
from tui.screens.main import MainScreen
from tui.store import Store


class FakeLink:
    """Stands for :class:`tui.link.Link`.

    Attributes:
        orders: The commands that were sent.
        answer: What the next ones are answered with.
        gate: Commands wait for it; set at first.
        watched: The symbols asked for, in turn.
    """

    def __init__(self) -> None:
        self.orders: list[Order] = []
        self.answer = Answer(Outcome.DONE, "paused (Paused, step 4711)")
        self.gate = asyncio.Event()
        self.gate.set()
        self.watched: list[str] = []

    async def run(self) -> None:
        """Stays until it is cancelled."""
        await asyncio.Event().wait()

    def drain(self) -> None:
        """Nothing ever comes in."""

    def watch(self, symbol: str) -> None:
        """Notes a change of the symbol."""
        if not self.watched or self.watched[-1] != symbol:
            self.watched.append(symbol)

    async def execute(self, order: Order) -> Answer:
        """Records and answers."""
        self.orders.append(order)
        await self.gate.wait()
        return self.answer


def app_without_bridge(store: Store, theme: str = "ringbook-dark") -> tuple[RingbookApp, FakeLink]:
    """An app on a store as it is, and the link that takes its commands."""
    app = RingbookApp(None, store, theme=theme)
    link = FakeLink()
    app.link = link  # type: ignore[assignment]
    return app, link


@asynccontextmanager
async def drive(app: RingbookApp, size: tuple[int, int] = (120, 36)) -> AsyncIterator[Pilot[None]]:
    """Runs the app in a terminal of that size, notifications shown.

    After a key the pilot waits until the process rests, which one that shows a market never does: it would
    wait two seconds a key. Here it waits until all widgets have had their messages.
    """
    async with app.run_test(size=size, notifications=True) as pilot:

        async def all_done(min_sleep: float = 0.0, max_sleep: float = 0.0) -> None:
            await pilot.pause(0.02)

        with patch("textual.app.wait_for_idle", all_done):
            yield pilot


def main_screen(app: RingbookApp) -> MainScreen:
    """The main screen, wherever it is in the stack."""
    return next(screen for screen in app.screen_stack if isinstance(screen, MainScreen))


def svg(app: RingbookApp) -> str:
    """The screen as SVG, without what differs between runs."""
    return re.sub(r"terminal-\d+-", "terminal-", app.export_screenshot(simplify=True))


CELL_WIDTH = 12.2
"""Of Rich's SVG screenshots."""


def svg_lines(text: str) -> list[str]:
    """The characters of an SVG screenshot, a string for each row, without what is only style."""
    rows: dict[float, dict[int, str]] = {}
    pattern = r'<text class="terminal-[^"]*" x="([\d.]+)" y="([\d.]+)"[^>]*>(.*?)</text>'
    for x, y, content in re.findall(pattern, text, re.S):
        content = html.unescape(content).replace("\xa0", " ")
        rows.setdefault(float(y), {})[round(float(x) / CELL_WIDTH)] = content
    lines = []
    for _, row in sorted(rows.items()):
        line = ""
        for column in sorted(row):
            line = line.ljust(column) + row[column].rstrip("\n")
        lines.append(line.rstrip())
    return lines


def screen_text(app: RingbookApp) -> str:
    """What can be read on the screen."""
    return "\n".join(svg_lines(svg(app)))


async def until(condition: Callable[[], object], timeout: float = 10.0) -> None:
    """Waits for something to become true.

    Raises:
        AssertionError: It did not in time.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + timeout
    while not condition():
        assert loop.time() < end, "it did not happen in time"
        await asyncio.sleep(0.02)
