"""What screens find in the application: the client state, the link to the daemon, and commands to send."""

from __future__ import annotations

from typing import Any

from textual.app import App

from tui.actions import Order
from tui.link import Link
from tui.model import Answer, Outcome
from tui.store import Store

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


class Host(App[None]):
    """An application around a store and a link.

    Args:
        endpoint: Base endpoint of the daemon; None shows the store as it is and sends nothing.
        store: The client-side state; a new one by default.
        **options: ``role`` and ``key_file`` of the connection, as :class:`tui.link.Link`.
    """

    def __init__(self, endpoint: str | None, store: Store | None = None, **options: Any) -> None:
        super().__init__()
        self.store = store or Store()
        self.link = Link(self.store, endpoint, **options) if endpoint is not None else None

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
