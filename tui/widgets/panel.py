"""What all parts of the main screen have in common: a title, staleness, and reading the store when told."""

from __future__ import annotations

from textual.markup import escape
from textual.widget import Widget

from tui.format import age
from tui.model import Staleness
from tui.store import Store


class Panel(Widget):
    """A titled part of the main screen.

    The screen calls :meth:`show` ten times a second; a panel reads the store only when one of the
    sections it names has changed, and redraws only what differs.
    """

    TITLE = ""
    KEY = ""
    SECTIONS: tuple[str, ...] = ()
    """Names in ``Store.versions`` that this panel depends on."""
    AGES = "everything"
    """Which age of :class:`tui.model.Staleness` makes the panel stale."""

    _seen: tuple[object, ...] | None = None
    _title = ""

    def show(self, store: Store, staleness: Staleness) -> None:
        """Brings the panel up to date.

        Args:
            store: The client-side state.
            staleness: Who has been silent, worked out once for all panels.
        """
        seen = (*(store.versions[name] for name in self.SECTIONS), *self.inputs())
        if seen != self._seen:
            self._seen = seen
            self.read(store)
        stale = getattr(staleness, self.AGES)
        self.set_class(stale is not None, "-stale")
        title = escape(self.heading(store)) + ("" if stale is None else f"  [$warning]STALE {age(stale)}[/]")
        if title != self._title:
            self._title = self.border_title = title

    def heading(self, store: Store) -> str:
        """The title: the panel's key, its name, and a detail."""
        return " ".join(part for part in (self.KEY, self.TITLE, self.detail(store)) if part)

    def detail(self, store: Store) -> str:
        """What the title says besides the name; cheap, as hidden panels are asked, too."""
        return ""

    def inputs(self) -> tuple[object, ...]:
        """What else than the store's sections the panel depends on."""
        return ()

    def read(self, store: Store) -> None:
        """Takes what it shows from the store."""
        raise NotImplementedError
