"""What the user can do: one table from which bindings, the command palette and the help screen are made."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any, NamedTuple

from textual.binding import Binding
from textual.command import DiscoveryHit, Hit, Hits, Provider

from bridge.protocol import (
    CancelOrders,
    EmergencyStop,
    Kill,
    Pause,
    QueryLimits,
    QueryStatus,
    Rearm,
    Resume,
    UpdateParams,
    UpdateRiskLimits,
)


class Order(NamedTuple):
    """A control command on its way to the engine: the message without its request id, and its name."""

    title: str
    kind: type[Any]
    fields: dict[str, Any]


def _of(strategy_id: str) -> str:
    return strategy_id or "all strategies"


def pause(strategy_id: str = "") -> Order:
    """No new orders of a strategy, or of all."""
    return Order(f"Pause {_of(strategy_id)}", Pause, {"strategy_id": strategy_id})


def resume(strategy_id: str = "") -> Order:
    """Lets a strategy, or all and a halted engine, trade again."""
    return Order(f"Resume {_of(strategy_id)}", Resume, {"strategy_id": strategy_id})


def cancel_orders(strategy_id: str = "") -> Order:
    """Cancels the live orders of a strategy, or of all."""
    return Order(f"Cancel orders of {_of(strategy_id)}", CancelOrders, {"strategy_id": strategy_id})


def emergency_stop(cancel: bool, close: bool) -> Order:
    """Halts trading."""
    extent = [text for text, wanted in (("cancel orders", cancel), ("close positions", close)) if wanted]
    title = "Emergency stop" + (f" ({', '.join(extent)})" if extent else "")
    return Order(title, EmergencyStop, {"cancel_orders": cancel, "close_position": close})


def kill(strategy_id: str = "") -> Order:
    """Throws the kill switch of a strategy, or of everything."""
    fields = {"strategy_id": strategy_id, "reason": "from the terminal UI"}
    return Order(f"Kill {strategy_id or 'everything'}", Kill, fields)


def query_switches() -> Order:
    """Asks which switches are thrown."""
    return Order("Look for thrown switches", QueryStatus, {})


def rearm(switch: str, token: str = "") -> Order:
    """Takes a thrown switch back."""
    return Order(f"Re-arm {switch}", Rearm, {"switch": switch, "token": token})


def update_param(strategy_id: str, name: str, new: Any) -> Order:
    """Gives a parameter a new value."""
    return Order(
        f"Set {strategy_id} {name}", UpdateParams, {"strategy_id": strategy_id, "params": {name: new}}
    )


def query_limits(strategy_id: str) -> Order:
    """Asks for a strategy's risk limits, or for those over all strategies."""
    return Order(f"Limits of {strategy_id or 'all strategies'}", QueryLimits, {"strategy_id": strategy_id})


def update_limit(strategy_id: str, symbol: str, name: str, new: float) -> Order:
    """Gives a risk limit of a strategy, or over all of them, a new value; infinity lifts it."""
    where = " ".join(filter(None, (strategy_id or "all strategies", symbol, name)))
    fields = {"strategy_id": strategy_id, "symbol": symbol, name: new}
    return Order(f"Limit {where}", UpdateRiskLimits, fields)


class Action(NamedTuple):
    """A key, what it does, and how it is called in the footer, the palette and the help screen."""

    key: str
    action: str
    label: str
    title: str
    help: str
    group: str
    footer: bool = False
    shown_key: str = ""


TRADING, VIEW, PROGRAM = "Trading", "View", "Program"

ACTIONS: tuple[Action, ...] = (
    Action(
        "p", "pause", "Pause", "Pause the selected strategy", "no new orders; data goes on", TRADING, True
    ),
    Action("P", "pause_all", "Pause all", "Pause all strategies", "no new orders of anyone", TRADING),
    Action("r", "resume", "Resume", "Resume the selected strategy", "lets it trade again", TRADING, True),
    Action(
        "R", "resume_all", "Resume all", "Resume all strategies", "also ends a halt of the engine", TRADING
    ),
    Action("e", "edit", "Edit", "Change a parameter", "of the selected strategy", TRADING, True),
    Action("l", "limits", "Limits", "Change a risk limit", "of the selected strategy", TRADING),
    Action(
        "L", "limits_all", "All limits", "Change a risk limit over all", "of all strategies together", TRADING
    ),
    Action(
        "x", "cancel", "Cancel", "Cancel orders of the selected strategy", "all that are live", TRADING, True
    ),
    Action("X", "cancel_all", "Cancel all", "Cancel all orders", "of every strategy", TRADING),
    Action("E", "emergency", "STOP", "Emergency stop", "asks first: halts all trading", TRADING, True),
    Action(
        "K", "kill", "KILL", "Throw the kill switch", "asks first: holds until it is re-armed", TRADING, True
    ),
    Action("A", "rearm", "Re-arm", "Re-arm a thrown switch", "lists them first", TRADING),
    Action("1", "panel('positions')", "Positions", "Go to positions", "arrows select strategy, symbol", VIEW),
    Action("2", "panel('ladder')", "Ladder", "Go to the ladder", "left and right change the symbol", VIEW),
    Action("3", "panel('orders')", "Orders", "Go to orders", "live ones first", VIEW),
    Action("4", "panel('fills')", "Fills", "Go to fills", "newest first", VIEW),
    Action("5", "panel('strategies')", "Strategies", "Go to strategies", "Enter edits parameters", VIEW),
    Action("6", "panel('log')", "Log", "Go to the log", "newest first", VIEW),
    Action("7", "panel('chart')", "Chart", "Go to the PnL chart", "z shows it alone", VIEW),
    Action("c", "chart", "Chart", "Next PnL series", "totals, then each strategy and symbol", VIEW),
    Action("s", "symbol(1)", "Symbol", "Next symbol of the ladder", "S for the one before", VIEW),
    Action("S", "symbol(-1)", "Symbol", "Symbol before in the ladder", "s for the next", VIEW),
    Action("z", "zoom", "Zoom", "Zoom the focused panel", "z or Escape for all again", VIEW),
    Action("t", "app.dark_light", "Light/dark", "Switch between light and dark", "", PROGRAM),
    Action("question_mark", "app.help", "Help", "Show all keys", "", PROGRAM, True, "?"),
    Action(
        "q", "app.quit", "Quit", "Leave; the engine goes on", "ctrl+q works in dialogs, too", PROGRAM, True
    ),
)


def bindings(actions: Iterable[Action] = ACTIONS) -> list[Binding]:
    """The key bindings of the main screen."""
    return [
        Binding(
            action.key,
            action.action,
            action.label,
            show=action.footer,
            key_display=action.shown_key or action.key,
            tooltip=f"{action.title}: {action.help}" if action.help else action.title,
        )
        for action in actions
    ]


class RingbookCommands(Provider):
    """Every action in the command palette."""

    def _runners(self) -> Iterable[tuple[Action, Any]]:
        return ((action, partial(self.screen.run_action, action.action)) for action in ACTIONS)

    async def discover(self) -> Hits:
        """All actions, for the empty palette."""
        for action, run in self._runners():
            yield DiscoveryHit(f"{action.title}", run, help=self._help(action))

    async def search(self, query: str) -> Hits:
        """Actions whose title matches."""
        matcher = self.matcher(query)
        for action, run in self._runners():
            score = matcher.match(action.title)
            if score > 0:
                yield Hit(score, matcher.highlight(action.title), run, help=self._help(action))

    @staticmethod
    def _help(action: Action) -> str:
        key = action.shown_key or action.key
        return f"{key}: {action.help}" if action.help else key
