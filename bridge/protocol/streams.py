"""What everybody may read: streams on the market and telemetry sockets, snapshots and replays of them.

A published message is two frames: the topic, then the struct.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from bridge.protocol.wire import Message, Mode, OrderType, PositiveId, Seq, Side, TimeInForce


class Depth(Message, frozen=True):
    """Changed levels of a book; quantity 0 removes a level. A snapshot starts from an empty book.

    ``checksum``, where it is not 0, is that of the whole book after the message.
    """

    epoch: int
    seq: Seq
    symbol: str
    ts: int
    exch_ts: int
    bids: list[tuple[float, float]]
    asks: list[tuple[float, float]]
    snapshot: bool = False
    conflated: bool = False
    checksum: int = 0


class Trade(Message, frozen=True):
    """A public trade; ``side`` is the aggressor's."""

    epoch: int
    seq: Seq
    symbol: str
    ts: int
    exch_ts: int
    side: Side
    px: float
    qty: float


class FeatureBatch(Message, frozen=True):
    """Rows of features that a client has computed: ``data`` has them one after the other.

    ``data`` holds little-endian 64-bit floats, ``len(columns)`` a row.
    """

    epoch: int
    seq: Seq
    symbol: str
    wall_ts: int
    strategy_id: str
    name: str
    columns: list[str]
    data: bytes


class SignalUpdate(Message, frozen=True):
    """A signal that a client has sent about an instrument."""

    epoch: int
    seq: Seq
    symbol: str
    wall_ts: int
    strategy_id: str
    name: str
    value: float


class OrderUpdate(Message, frozen=True):
    """An order of any strategy changed."""

    epoch: int
    seq: Seq
    ts: int
    strategy_id: str
    symbol: str
    order_id: int
    client_order_id: int
    side: Side
    order_type: OrderType
    time_in_force: TimeInForce
    status: str
    prev_status: str
    px: float
    qty: float
    leaves_qty: float
    reason: str
    step: int
    deny_code: str = ""
    limit: float = 0.0
    actual: float = 0.0


class Fill(Message, frozen=True):
    """A fill of any strategy."""

    epoch: int
    seq: Seq
    ts: int
    exch_ts: int
    strategy_id: str
    symbol: str
    order_id: int
    client_order_id: int
    side: Side
    px: float
    qty: float
    fee: float
    is_maker: bool
    mid_price: float
    reason: str
    position: float


class PositionSnapshot(Message, frozen=True):
    """Position and PnL of a strategy in an instrument. ``avg_px`` is NaN when flat."""

    epoch: int
    seq: Seq
    ts: int
    strategy_id: str
    symbol: str
    position: float
    avg_px: float
    mid_px: float
    realized_pnl: float
    unrealized_pnl: float
    fee: float
    balance: float
    equity: float
    trading_volume: float
    trading_value: float
    num_trades: int
    open_orders: int


class ParamInfo(msgspec.Struct, array_like=True, frozen=True):
    """A parameter of a strategy: its type's name, present value and, where they exist, its limits."""

    name: str
    kind: Literal["int", "float", "bool", "str"]
    value: Any
    ge: float | None = None
    le: float | None = None
    doc: str = ""


class SwitchInfo(msgspec.Struct, array_like=True, frozen=True):
    """A thrown switch that holds a strategy: the strategy's own or that of an instrument it trades."""

    scope: str
    name: str
    state: str
    cause: str
    who: str = ""
    reason: str = ""


class StrategyStatus(Message, frozen=True):
    """The state of a strategy and its parameters."""

    epoch: int
    seq: Seq
    ts: int
    strategy_id: str
    kind: Literal["python", "native", "external"]
    state: str
    message: str
    symbols: list[str]
    params: list[ParamInfo]
    switches: list[SwitchInfo] = []


class EngineStatus(Message, frozen=True):
    """How the engine is, about ten times a second."""

    epoch: int
    seq: Seq
    wall_ts: int
    engine: str
    mode: Mode
    trading_state: str
    feed_state: str
    feed_wall_ts: int
    market_ts: int
    step: int
    events: int
    orders: int
    fills: int
    denied: int
    conflated: int
    dropped: int
    events_per_second: float
    loop_ns: float
    sessions: int
    journal: str = "off"
    accepted_seq: int = 0
    durable_seq: int = 0


class Log(Message, frozen=True):
    """A line of the log."""

    epoch: int
    seq: Seq
    ts: int
    level: Literal["debug", "info", "warning", "error"]
    source: str
    text: str


StreamMessage = (
    Depth
    | Trade
    | FeatureBatch
    | SignalUpdate
    | OrderUpdate
    | Fill
    | PositionSnapshot
    | StrategyStatus
    | EngineStatus
    | Log
)
"""What a stream consists of."""


class Messages(Message, frozen=True):
    """Several messages of one topic in one frame, in their order: each is what it would be alone."""

    messages: list[StreamMessage]


Published = StreamMessage | Messages
"""What is published."""


class SnapshotRequest(Message, frozen=True):
    """Asks for the present state of a stream (a topic) or of everything below a prefix."""

    request_id: PositiveId
    topic: str


class Snapshot(Message, frozen=True):
    """The state of the streams under ``topic``; go on with messages above ``seqs[topic]``."""

    request_id: int
    topic: str
    epoch: int
    seqs: dict[str, int]
    messages: list[StreamMessage]


class ReplayRequest(Message, frozen=True):
    """Asks for missed messages of one topic, from a sequence number on."""

    request_id: PositiveId
    topic: str
    from_seq: Seq


class Replay(Message, frozen=True):
    """The missed messages; ``complete`` is false where the buffer no longer holds them: take a snapshot."""

    request_id: int
    topic: str
    epoch: int
    complete: bool
    messages: list[StreamMessage]


def depth_topic(symbol: str) -> str:
    """``md.<symbol>.depth``"""
    return f"md.{symbol}.depth"


def feature_topic(symbol: str) -> str:
    """Topic of the features that clients compute of a symbol."""
    return f"md.{symbol}.feature"


def signal_topic(symbol: str) -> str:
    """Topic of the signals that clients send about a symbol."""
    return f"md.{symbol}.signal"


def trade_topic(symbol: str) -> str:
    """``md.<symbol>.trade``"""
    return f"md.{symbol}.trade"


ORDERS_TOPIC = "tm.orders"
FILLS_TOPIC = "tm.fills"
POSITIONS_TOPIC = "tm.positions"
STRATEGIES_TOPIC = "tm.strategies"
STATUS_TOPIC = "tm.status"
LOG_TOPIC = "tm.log"
TELEMETRY_TOPICS = (ORDERS_TOPIC, FILLS_TOPIC, POSITIONS_TOPIC, STRATEGIES_TOPIC, STATUS_TOPIC, LOG_TOPIC)
"""All topics of the telemetry socket."""
