"""The small values the store is made of and answers with, and the limits of patience. No Textual."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, NamedTuple

from bridge import protocol
from bridge.protocol import OrderUpdate, PositionSnapshot
from tui.format import SECOND

STALE_NS = SECOND
"""Silence of the bridge or the engine after which what it said is stale; both speak ten times a second."""
FEED_STALE_NS = 2 * SECOND
"""Silence of a running feed after which prices are stale."""
LOST_NS = 10 * SECOND
"""Time without a connection after which it reads lost instead of reconnecting."""
LIVE_STATUSES = frozenset(("NONE", "NEW", "PARTIALLY_FILLED", "REPLACED"))

STILL_LIVE = frozenset(("request_in_flight", "duplicate_order_id"))
"""Reasons of a denial that is about a second request: the order of that id lives on."""


class Connection(StrEnum):
    """How the connection to the bridge is."""

    CONNECTING = "connecting"
    CONNECTED = "connected"
    RECONNECTING = "reconnecting"
    LOST = "lost"


class Staleness(NamedTuple):
    """How long ago each source spoke, in nanoseconds, where that is too long; else None."""

    bridge: int | None = None
    engine: int | None = None
    feed: int | None = None

    @property
    def everything(self) -> int | None:
        """Age of all values where nobody refreshes them."""
        return self.bridge if self.bridge is not None else self.engine

    @property
    def market(self) -> int | None:
        """Age of what depends on the market: prices, PnL, trades."""
        return self.everything if self.everything is not None else self.feed

    @property
    def source(self) -> str:
        """Who is silent, the nearest first; empty where all is fresh."""
        for name in self._fields:
            if getattr(self, name) is not None:
                return name
        return ""


class LogLine(NamedTuple):
    """A line of the log, the engine's or our own."""

    ts: int
    level: str
    source: str
    text: str


class Outcome(StrEnum):
    """What became of a command."""

    DONE = "done"
    REFUSED = "refused"
    NOT_SENT = "not sent"
    UNKNOWN = "outcome unknown"


class Answer(NamedTuple):
    """What the engine, or its silence, said to a command, and what it was asked for."""

    outcome: Outcome
    text: str
    details: dict[str, Any] = {}


class Totals(NamedTuple):
    """Sums over the positions of one asset kind, whose money can be added."""

    asset: str
    realized_pnl: float
    unrealized_pnl: float
    fee: float
    net: float
    trading_value: float
    num_trades: int
    open_orders: int


def denied_change(update: OrderUpdate) -> bool:
    """Whether an update tells of a denied request about an order that stays as it was."""
    if update.status.upper() != "DENIED":
        return False
    return update.prev_status.upper() != "NONE" or update.reason in STILL_LIVE


def net_pnl(position: PositionSnapshot) -> float:
    """Realized and unrealized PnL after fees."""
    return position.realized_pnl + position.unrealized_pnl - position.fee


_STREAMS = {
    protocol.ORDERS_TOPIC: "OrderUpdate",
    protocol.FILLS_TOPIC: "Fill",
    protocol.POSITIONS_TOPIC: "PositionSnapshot",
    protocol.STRATEGIES_TOPIC: "StrategyStatus",
    protocol.STATUS_TOPIC: "EngineStatus",
    protocol.LOG_TOPIC: "Log",
}


def stream_key(topic: str) -> str:
    """The name :meth:`Store.apply` counts a topic's sequence under; empty for an unknown topic."""
    if topic in _STREAMS:
        return _STREAMS[topic]
    for suffix, kind in ((".depth", "Depth"), (".trade", "Trade")):
        if topic.startswith("md.") and topic.endswith(suffix):
            return kind + topic[3 : -len(suffix)]
    return ""
