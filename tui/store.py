"""The whole client-side state, fed by the bridge's messages; no Textual, so it is tested alone.

Taking in a message costs a dictionary write or two and never waits. Widgets read from here at most ten
times a second and skip what ``versions`` says has not changed.
"""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from typing import Any

from bridge import protocol
from bridge.protocol import (
    Depth,
    EngineStatus,
    Fill,
    InstrumentInfo,
    Log,
    OrderUpdate,
    PositionSnapshot,
    Snapshot,
    StrategyStatus,
    Trade,
    Welcome,
)
from tui.book import BookView
from tui.history import History
from tui.model import (
    FEED_STALE_NS,
    LIVE_STATUSES,
    LOST_NS,
    STALE_NS,
    Connection,
    LogLine,
    Staleness,
    Totals,
    denied_change,
    net_pnl,
    stream_key,
)

CLOSED_ORDERS = 200
FILLS = 1000
TRADES = 200
LOG_LINES = 1000


class Store:
    """What the screens show.

    Args:
        clock: Monotonic nanoseconds, for ages.
        wall: Wall-clock nanoseconds, for log lines of our own.
    """

    def __init__(
        self, *, clock: Callable[[], int] = time.monotonic_ns, wall: Callable[[], int] = time.time_ns
    ) -> None:
        self.clock, self.wall = clock, wall
        self.connection_detail = ""
        self.disconnected_at: int | None = clock()
        self.welcome: Welcome | None = None
        self.epoch: int | None = None
        self.last_heard: int | None = None
        self._connected_at = clock()
        self.status: EngineStatus | None = None
        self.status_heard: int | None = None
        self.instruments: dict[str, InstrumentInfo] = {}
        self.positions: dict[tuple[str, str], PositionSnapshot] = {}
        self.strategies: dict[str, StrategyStatus] = {}
        self.live_orders: dict[tuple[str, int], OrderUpdate] = {}
        self.closed_orders: dict[tuple[Any, ...], OrderUpdate] = {}
        self.fills: deque[Fill] = deque(maxlen=FILLS)
        self.books: dict[str, BookView] = {}
        self.trades: dict[str, deque[Trade]] = {}
        self.history: dict[tuple[str, str], History] = {}
        self.log: deque[LogLine] = deque(maxlen=LOG_LINES)
        self.received = 0
        self.missed = 0
        self.versions: defaultdict[str, int] = defaultdict(int)
        self._seqs: dict[str, int] = {}
        self._seen_fills: dict[tuple[Any, ...], None] = {}
        self._handlers: dict[type, Callable[[Any], None]] = {
            Depth: self._depth,
            Trade: self._trade,
            OrderUpdate: self._order,
            Fill: self._fill,
            PositionSnapshot: self._position,
            StrategyStatus: self._strategy,
            EngineStatus: self._status,
            Log: self._log,
        }

    # --- what comes in -----------------------------------------------------------------------

    def connected(self, welcome: Welcome) -> None:
        """A session is open: names, mode and instruments are known. Values stay until they are replaced."""
        self._enter_epoch(welcome.epoch)
        again = self.welcome is not None
        self.welcome = welcome
        self.instruments = {info.symbol: info for info in welcome.instruments}
        self.disconnected_at, self.connection_detail = None, ""
        self.last_heard = self._connected_at = self.clock()
        self.versions["instruments"] += 1
        self.note("info", f"{'reconnected' if again else 'connected'} to {welcome.engine}, {welcome.mode}")

    def disconnected(self, detail: str) -> None:
        """The connection is gone, or an attempt to make it failed; the first time counts as its end."""
        if self.disconnected_at is None:
            self.disconnected_at = self.clock()
            self.note("warning", f"connection lost: {detail}")
        elif detail != self.connection_detail:
            self.note("warning", f"no connection: {detail}")
        self.connection_detail = detail

    def apply(self, message: protocol.StreamMessage) -> bool:
        """Takes in a published message.

        Returns:
            False if it was known already (the overlap of a snapshot and the stream) and dropped.
        """
        kind = type(message)
        topic = kind.__name__ + message.symbol if kind is Depth or kind is Trade else kind.__name__  # type: ignore[union-attr]
        if message.epoch != self.epoch:
            self._enter_epoch(message.epoch)
        last = self._seqs.get(topic)
        if last is not None:
            if message.seq <= last:
                return False
            self.missed += message.seq - last - 1
        self._seqs[topic] = message.seq
        self.received += 1
        self.last_heard = self.clock()
        self._handlers[kind](message)
        return True

    def apply_snapshot(self, snapshot: Snapshot) -> None:
        """Replaces what the snapshot's topics cover: what is not in it is gone."""
        if snapshot.epoch != self.epoch:
            self._enter_epoch(snapshot.epoch)
        for topic in snapshot.seqs:
            self._forget(topic)
        for message in snapshot.messages:
            self._handlers[type(message)](message)
        for topic, seq in snapshot.seqs.items():
            key = stream_key(topic)
            if key:
                self._seqs[key] = max(seq, self._seqs.get(key, 0))
        self.last_heard = self.clock()

    def note(self, level: str, text: str, source: str = "tui") -> None:
        """Adds a line of our own to the log."""
        self.log.append(LogLine(self.wall(), level, source, text))
        self.versions["log"] += 1

    # --- what is asked -----------------------------------------------------------------------

    @property
    def connection(self) -> Connection:
        """How the connection is; one that has been away for LOST_NS reads lost."""
        if self.disconnected_at is None:
            return Connection.CONNECTED
        if self.clock() - self.disconnected_at >= LOST_NS:
            return Connection.LOST
        return Connection.CONNECTING if self.welcome is None else Connection.RECONNECTING

    def staleness(self, now: int | None = None) -> Staleness:
        """Who has been silent for too long, and for how long."""
        now = self.clock() if now is None else now
        heard = self.last_heard
        if self.disconnected_at is not None:
            # The values are as old as the last message, not as the moment the silence was noticed.
            return Staleness(bridge=now - (self.disconnected_at if heard is None else heard))
        since = self.status_heard if self.status_heard is not None else self._connected_at
        if now - since > STALE_NS:
            return Staleness(engine=now - since)
        feed_age = self.feed_age(now)
        state = self.status.feed_state.lower() if self.status else ""
        if self.mode == "REPLAY":
            # What is shown is of its time, however long it stands there.
            return Staleness()
        if feed_age is not None and (
            state in ("lost", "waiting") or (state == "running" and feed_age > FEED_STALE_NS)
        ):
            return Staleness(feed=feed_age)
        return Staleness()

    @property
    def mode(self) -> str:
        """PAPER, LIVE or REPLAY, as the engine says it, or the bridge before; else ``unknown``."""
        if self.status is not None:
            return self.status.mode
        return self.welcome.mode if self.welcome else "unknown"

    def feed_age(self, now: int | None = None) -> int | None:
        """Nanoseconds since the engine took in a market event; None before the first."""
        if self.status is None or self.status_heard is None or self.status.feed_wall_ts <= 0:
            return None
        now = self.clock() if now is None else now
        # Both stamps are of the engine's clock, so no difference between its clock and ours gets in.
        return max(0, self.status.wall_ts - self.status.feed_wall_ts) + max(0, now - self.status_heard)

    def tick_size(self, symbol: str) -> float:
        """The symbol's tick size; 0 when it is unknown."""
        info = self.instruments.get(symbol)
        return info.tick_size if info else 0.0

    def lot_size(self, symbol: str) -> float:
        """The symbol's lot size; 0 when it is unknown."""
        info = self.instruments.get(symbol)
        return info.lot_size if info else 0.0

    def asset(self, symbol: str) -> str:
        """The kind of the symbol's money; linear when it is unknown."""
        info = self.instruments.get(symbol)
        return info.asset if info else "linear"

    def orders(self) -> Iterator[OrderUpdate]:
        """All orders: live ones first, the newest change first among each."""
        yield from sorted(self.live_orders.values(), key=lambda order: order.ts, reverse=True)
        yield from reversed(self.closed_orders.values())

    def live_in(self, symbol: str) -> list[OrderUpdate]:
        """Live orders of all strategies in a symbol."""
        return [order for order in self.live_orders.values() if order.symbol == symbol]

    def totals(self) -> list[Totals]:
        """Sums for each asset kind that has a position: money of different kinds is never added."""
        by_asset: dict[str, list[PositionSnapshot]] = {}
        for position in self.positions.values():
            by_asset.setdefault(self.asset(position.symbol), []).append(position)
        return [
            Totals(
                asset,
                sum(p.realized_pnl for p in group),
                sum(p.unrealized_pnl for p in group),
                sum(p.fee for p in group),
                sum(map(net_pnl, group)),
                sum(p.trading_value for p in group),
                sum(p.num_trades for p in group),
                sum(p.open_orders for p in group),
            )
            for asset, group in sorted(by_asset.items(), reverse=True)
        ]

    # --- how it is kept ----------------------------------------------------------------------

    def _enter_epoch(self, epoch: int) -> None:
        if epoch != self.epoch:
            self.epoch = epoch
            self._seqs.clear()

    def _forget(self, topic: str) -> None:
        if topic == protocol.ORDERS_TOPIC:
            self.live_orders.clear()
            self.versions["orders"] += 1
        elif topic == protocol.POSITIONS_TOPIC:
            self.positions.clear()
            self.versions["positions"] += 1
        elif topic == protocol.STRATEGIES_TOPIC:
            self.strategies.clear()
            self.versions["strategies"] += 1
        elif topic.startswith("md.") and topic.endswith(".trade"):
            self.trades.pop(topic[3:-6], None)
            self.versions["trades"] += 1

    def _depth(self, message: Depth) -> None:
        book = self.books.get(message.symbol)
        if book is None:
            book = self.books[message.symbol] = BookView()
        book.apply(message)
        self.versions["book"] += 1

    def _trade(self, message: Trade) -> None:
        trades = self.trades.get(message.symbol)
        if trades is None:
            trades = self.trades[message.symbol] = deque(maxlen=TRADES)
        trades.appendleft(message)
        self.versions["trades"] += 1

    def _order(self, message: OrderUpdate) -> None:
        key = (message.strategy_id, message.order_id or -message.client_order_id)
        if denied_change(message):
            # The order itself lives on: the denial gets a row of its own among what is over.
            self._close((*key, message.seq), message)
        elif message.status.upper() in LIVE_STATUSES:
            self.live_orders[key] = message
        else:
            self.live_orders.pop(key, None)
            self._close(key, message)
        self.versions["orders"] += 1

    def _close(self, key: tuple[Any, ...], message: OrderUpdate) -> None:
        self.closed_orders.pop(key, None)
        self.closed_orders[key] = message
        if len(self.closed_orders) > CLOSED_ORDERS:
            del self.closed_orders[next(iter(self.closed_orders))]

    def _fill(self, message: Fill) -> None:
        # A new bridge numbers anew and may tell old fills again: what happened names them, not the number.
        key = (
            message.strategy_id,
            message.order_id,
            message.exch_ts,
            message.px,
            message.qty,
            message.position,
        )
        if key in self._seen_fills:
            return
        self._seen_fills[key] = None
        if len(self._seen_fills) > 2 * FILLS:
            for old in list(self._seen_fills)[:FILLS]:
                del self._seen_fills[old]
        self.fills.appendleft(message)
        self.versions["fills"] += 1

    def _position(self, message: PositionSnapshot) -> None:
        key = (message.strategy_id, message.symbol)
        self.positions[key] = message
        asset = self.asset(message.symbol)
        total = sum(net_pnl(p) for (_, symbol), p in self.positions.items() if self.asset(symbol) == asset)
        for name, value in ((("", asset), total), (key, net_pnl(message))):
            series = self.history.get(name)
            if series is None:
                series = self.history[name] = History()
            series.add(message.ts, value)
        self.versions["positions"] += 1

    def _strategy(self, message: StrategyStatus) -> None:
        self.strategies[message.strategy_id] = message
        self.versions["strategies"] += 1

    def _status(self, message: EngineStatus) -> None:
        self.status = message
        self.status_heard = self.clock()
        self.versions["status"] += 1

    def _log(self, message: Log) -> None:
        line = LogLine(message.ts, message.level, message.source, message.text)
        if line not in self.log:
            self.log.append(line)
            self.versions["log"] += 1
