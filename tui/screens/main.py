"""The main screen: all panels, which strategy and symbol are selected, and the commands."""

from __future__ import annotations

from collections.abc import Callable

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Container, Horizontal, Vertical
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Footer

from tui import actions
from tui.actions import Order
from tui.format import age
from tui.host import Host
from tui.messages import RowChosen, RowPicked, TabAsked
from tui.screens.emergency import EmergencyDialog
from tui.screens.kill import KillDialog, RearmDialog
from tui.screens.limits import LimitsDialog
from tui.screens.params import ParamDialog
from tui.store import Store
from tui.widgets.fills import Fills
from tui.widgets.header import Header
from tui.widgets.ladder import DepthLadder
from tui.widgets.log import LogView
from tui.widgets.orders import Orders
from tui.widgets.panel import Panel
from tui.widgets.pnl_chart import PnlChart
from tui.widgets.positions import Positions
from tui.widgets.strategies import Strategies
from tui.widgets.tabline import Tabline
from tui.widgets.trades import Trades

REFRESH_S = 0.1
"""Time between two looks at the store; messages come in whenever they come."""
DOCK = ("orders", "fills", "strategies", "log")


class MainScreen(Screen[None]):
    """Header; positions and chart beside ladder and trades; orders, fills, strategies and log below."""

    BINDINGS = [*actions.bindings(), Binding("escape", "unzoom", show=False)]
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-medium"), (160, "-wide")]
    VERTICAL_BREAKPOINTS = [(0, "-low"), (32, "-middle"), (48, "-high")]
    AUTO_FOCUS = "#positions"
    app: Host

    def __init__(self, store: Store) -> None:
        super().__init__()
        self.store = store
        self.strategy = ""
        self.symbol = ""
        self._picked = ""
        self.tab = DOCK[0]

    def compose(self) -> ComposeResult:
        """Lays the panels out; app.tcss says how they share the terminal."""
        yield Header(id="header")
        with Horizontal(id="body"):
            with Vertical(id="left"):
                yield Positions(id="positions")
                yield PnlChart(id="chart")
            with Container(id="right"):
                yield DepthLadder(id="ladder")
                yield Trades(id="trades")
        yield Tabline(id="tabs")
        with Container(id="dock"):
            yield Orders(id="orders")
            yield Fills(id="fills")
            yield Strategies(id="strategies")
            yield LogView(id="log")
        yield Footer()

    def on_mount(self) -> None:
        """Starts with the first tab in front, and to look at the store, under dialogs, too."""
        self._bring_forward(self.tab)
        self.refresh_panels()
        self.set_interval(REFRESH_S, self.refresh_panels)

    # --- showing -----------------------------------------------------------------------------

    def refresh_panels(self) -> None:
        """Brings every panel that can be seen up to date from the store."""
        if self.app.link is not None:
            self.app.link.drain()
        staleness = self.store.staleness()
        self._settle_selection()
        if self.app.link is not None:
            self.app.link.watch(self.symbol)
        self.query_one(Header).show(self.store, staleness)
        for panel in self.query(Panel):
            if panel.display:
                panel.show(self.store, staleness)
        self._mark_selection()
        tabs = tuple((name, self.query_one(f"#{name}", Panel).heading(self.store)) for name in DOCK)
        stale = staleness.everything
        self.query_one(Tabline).set_tabs(tabs, self.tab, "" if stale is None else f"STALE {age(stale)}")

    def _settle_selection(self) -> None:
        if self.strategy not in self.store.strategies:
            self.strategy = min(self.store.strategies, default="")
        known = self.store.instruments
        if self._picked in known:
            self.symbol = self._picked
        else:
            # Until the user picks one: the selected strategy's, which may arrive after the instruments.
            strategy = self.store.strategies.get(self.strategy)
            own = [symbol for symbol in (strategy.symbols if strategy else ()) if symbol in known]
            self.symbol = (own or sorted(known) or [""])[0]
        self.query_one(DepthLadder).symbol = self.symbol
        self.query_one(Trades).symbol = self.symbol

    def _mark_selection(self) -> None:
        self.query_one(Strategies).pick(self.strategy)
        keys = [(self.strategy, self.symbol), *sorted(self.store.positions)]
        mine = (key for key in keys if key in self.store.positions and key[0] == self.strategy)
        self.query_one(Positions).pick(next(mine, None))

    def _bring_forward(self, name: str) -> None:
        self.tab = name
        for panel_id in DOCK:
            self.query_one(f"#{panel_id}").set_class(panel_id == name, "-front")

    @on(RowPicked, "#positions")
    def _position_picked(self, event: RowPicked) -> None:
        self.strategy, self._picked = event.key
        self._settle_selection()

    @on(RowPicked, "#strategies")
    def _strategy_picked(self, event: RowPicked) -> None:
        self.strategy = event.key
        symbols = self.store.strategies[event.key].symbols if event.key in self.store.strategies else []
        if symbols and self.symbol not in symbols:
            self._picked = symbols[0]
        self._settle_selection()

    @on(RowChosen, "#strategies")
    def _strategy_chosen(self) -> None:
        self.action_edit()

    @on(TabAsked)
    def _tab_asked(self, event: TabAsked) -> None:
        self.action_panel(event.panel_id)

    # --- view --------------------------------------------------------------------------------

    def action_panel(self, name: str) -> None:
        """Focuses a panel, in front if it is in the dock."""
        self.zoom(None)
        if name in DOCK:
            self._bring_forward(name)
        self.query_one(f"#{name}").focus()
        self.refresh_panels()

    def action_zoom(self) -> None:
        """The focused panel alone, or all of them again."""
        self.zoom(None if self.zoomed else self.focused)

    def action_unzoom(self) -> None:
        """All panels again."""
        self.zoom(None)

    @property
    def zoomed(self) -> bool:
        """Whether one panel is shown alone."""
        return self.has_class("-zoomed")

    def zoom(self, panel: Widget | None) -> None:
        """Shows one panel alone between header and footer, which stay: mode and staleness are never hidden.

        Args:
            panel: The panel; None for all again.
        """
        away = [p for p in self.query(Panel) if panel is not None and p is not panel]
        for widget in self.query(Panel):
            widget.set_class(widget in away, "-away")
        for name in ("left", "right", "body", "dock"):
            box = self.query_one(f"#{name}")
            box.set_class(all(p in away for p in box.query(Panel)), "-away")
        self.query_one(Tabline).set_class(panel is not None and panel.id not in DOCK, "-away")
        self.set_class(panel is not None, "-zoomed")

    def action_chart(self) -> None:
        """Goes to the next PnL series."""
        self.query_one(PnlChart).next_series()
        self.refresh_panels()

    def action_symbol(self, by: int) -> None:
        """Goes to another symbol."""
        symbols = sorted(self.store.instruments)
        if symbols:
            at = symbols.index(self.symbol) if self.symbol in symbols else 0
            self._picked = symbols[(at + by) % len(symbols)]
            self.refresh_panels()

    # --- trading -----------------------------------------------------------------------------

    def _pausing(self, make: Callable[..., Order], title: str) -> None:
        # What has happened cannot be paused, but the replay of it can.
        if self.store.mode == "REPLAY":
            self._send(make()._replace(title=title))
        else:
            self._for_selected(make)

    def _for_selected(self, make: object) -> None:
        if self.strategy:
            self._send(make(self.strategy))  # type: ignore[operator]
        else:
            self.app.notify("No strategy is known yet.", severity="warning")

    def _send(self, order: Order) -> None:
        self.run_worker(self.app.send(order), group="commands", exit_on_error=False)

    def _ordered(self, order: Order | None) -> None:
        """A dialog has ended, with a command or without."""
        if order is not None:
            self._send(order)

    def action_pause(self) -> None:
        """Pauses the selected strategy, or a replay."""
        self._pausing(actions.pause, "Pause the replay")

    def action_pause_all(self) -> None:
        """Pauses all strategies."""
        self._send(actions.pause())

    def action_resume(self) -> None:
        """Resumes the selected strategy, or a replay."""
        self._pausing(actions.resume, "Resume the replay")

    def action_resume_all(self) -> None:
        """Resumes all strategies and a halted engine."""
        self._send(actions.resume())

    def action_cancel(self) -> None:
        """Cancels the selected strategy's orders."""
        self._for_selected(actions.cancel_orders)

    def action_cancel_all(self) -> None:
        """Cancels all orders."""
        self._send(actions.cancel_orders())

    def action_emergency(self) -> None:
        """Asks whether to halt trading."""
        self.app.push_screen(EmergencyDialog(self.store), self._ordered)

    def action_limits(self) -> None:
        """Opens the selected strategy's risk limits."""
        if self.strategy:
            self.app.push_screen(LimitsDialog(self.strategy))
        else:
            self.app.notify("No strategy is known yet.", severity="warning")

    def action_limits_all(self) -> None:
        """Opens the risk limits over all strategies."""
        self.app.push_screen(LimitsDialog(""))

    def action_kill(self) -> None:
        """Asks whether to throw the kill switch."""
        self.app.push_screen(KillDialog(self.store, self.strategy), self._ordered)

    def action_rearm(self) -> None:
        """Lists the thrown switches, to take one back."""
        self.app.push_screen(RearmDialog(), self._ordered)

    def action_edit(self) -> None:
        """Opens the selected strategy's parameters."""
        strategy = self.store.strategies.get(self.strategy)
        if strategy is None or not strategy.params:
            text = f"{self.strategy} has no parameters." if strategy else "No strategy is known yet."
            self.app.notify(text, severity="warning", markup=False)
            return
        self.app.push_screen(ParamDialog(self.store, self.strategy))
