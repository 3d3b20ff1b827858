"""The messages of the bridge, version 1: typed structs, msgpack arrays. PROTOCOL.md explains them.

Every message is a tagged array ``[tag, field, ...]``. Fields are only ever appended within a version.
Prices and quantities are floats in price and quantity units; times are int64 nanoseconds. This module
imports nothing of the engine, so a client needs only ``msgspec`` and ``pyzmq``.
"""

from __future__ import annotations

from math import isfinite
from typing import Annotated, Any, Literal

import msgspec

VERSION = 1
"""The protocol's version; hello is refused when it differs."""

HEARTBEAT_NS = 100_000_000
"""How often both ends send a heartbeat."""
HEARTBEAT_MISSES = 3
"""After how many silent intervals, counted by its own clock's ticks, an end takes the other for gone."""
MAX_FRAME = 64 * 1024
"""Longest frame in bytes that the server accepts."""
MAX_SERVER_FRAME = 16 * 1024 * 1024
"""Longest frame in bytes that a client accepts; snapshots and replays are long."""

MAX_NAME = 64
"""Longest name of a strategy, symbol, signal or client."""
MAX_PARAMS = 256
MAX_PARAMS_BYTES = 16 * 1024
"""Parameters in one message, and the bytes that their texts have in all."""

Side = Literal["buy", "sell"]
OrderType = Literal["limit", "market"]
TimeInForce = Literal["GTC", "GTX", "FOK", "IOC"]
Role = Literal["observer", "trader", "admin"]
Mode = Literal["PAPER", "LIVE", "REPLAY"]

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_NAME, pattern=r"^[A-Za-z0-9_.:/-]+$")]
Text = Annotated[str, msgspec.Meta(max_length=4096)]
PositiveId = Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]
Seq = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class Message(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=True):
    """Base of all messages; the tag is the class's name."""


# --- session: both directions on the order socket ------------------------------------------------


class Hello(Message, frozen=True):
    """First message of a client. A trader names its strategy; an observer leaves it empty.

    ``resume`` is the session that the same process had before; after a restart of the bridge it keeps the
    strategy's orders, which are cancelled if somebody else takes the strategy.
    """

    version: int
    client: Name
    role: Role
    strategy_id: str = ""
    symbols: list[Name] = []
    params: dict[str, Any] = {}
    resume: str = ""


class InstrumentInfo(msgspec.Struct, array_like=True, frozen=True):
    """An instrument that the engine knows."""

    symbol: str
    tick_size: float
    lot_size: float
    contract_size: float
    asset: Literal["linear", "inverse"]


class Welcome(Message, frozen=True):
    """The answer to hello. A new ``epoch`` means a new bridge process: sequence numbers start again.

    ``exec_seq`` is the last execution that the strategy has had in this epoch.
    """

    version: int
    epoch: int
    session: str
    market_endpoint: str
    telemetry_endpoint: str
    mode: Mode
    engine: str
    instruments: list[InstrumentInfo]
    exec_seq: int = 0


class Heartbeat(Message, frozen=True):
    """Sent every HEARTBEAT_NS by the client; the server answers each with the same ``ts``."""

    ts: int


class Goodbye(Message, frozen=True):
    """The sender leaves in good order; a trader's orders are cancelled at once."""

    reason: str = ""


class Error(Message, frozen=True):
    """A message was refused: ``code`` is one of :data:`ERROR_CODES`, the ids are the message's own, or 0."""

    code: str
    message: str
    request_id: int = 0
    client_order_id: int = 0


# --- orders: trader to server --------------------------------------------------------------------


class Submit(Message, frozen=True):
    """A new order. ``client_order_id`` is the client's own and unique in its strategy."""

    client_order_id: PositiveId
    symbol: Name
    side: Side
    px: float
    qty: float
    order_type: OrderType = "limit"
    time_in_force: TimeInForce = "GTC"


class Modify(Message, frozen=True):
    """New price and total open quantity of a live order."""

    client_order_id: PositiveId
    px: float
    qty: float


class Cancel(Message, frozen=True):
    """Cancels a live order."""

    client_order_id: PositiveId


class CancelAll(Message, frozen=True):
    """Cancels all live orders of the strategy, of one symbol if it is named."""

    symbol: str = ""


class Signal(Message, frozen=True):
    """A number for the strategies inside the engine."""

    name: Name
    value: float
    symbol: str = ""


# --- executions: server to trader, private -------------------------------------------------------


class Execution(Message, frozen=True):
    """What became of an order. ``seq`` counts the strategy's executions from 1, without gaps, in an epoch.

    ``exec_px``, ``exec_qty``, ``fee`` and ``is_maker`` are of this execution; zero where it is none.
    """

    epoch: int
    seq: Seq
    ts: int
    exch_ts: int
    strategy_id: str
    symbol: str
    client_order_id: int
    order_id: int
    side: Side
    order_type: OrderType
    time_in_force: TimeInForce
    status: str
    prev_status: str
    px: float
    qty: float
    leaves_qty: float
    cum_exec_qty: float
    exec_px: float
    exec_qty: float
    fee: float
    is_maker: bool
    reason: str
    step: int
    deny_code: str = ""
    limit: float = 0.0
    actual: float = 0.0


class ExecutionReplayRequest(Message, frozen=True):
    """Asks for the strategy's executions again, from a sequence number on."""

    from_seq: Seq


# --- streams: server to everyone, on the market and telemetry sockets ----------------------------
# A published message is two frames: the topic, then the struct.


class Depth(Message, frozen=True):
    """Changed levels of a book; quantity 0 removes a level. A snapshot starts from an empty book."""

    epoch: int
    seq: Seq
    symbol: str
    ts: int
    exch_ts: int
    bids: list[tuple[float, float]]
    asks: list[tuple[float, float]]
    snapshot: bool = False
    conflated: bool = False


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


class Log(Message, frozen=True):
    """A line of the log."""

    epoch: int
    seq: Seq
    ts: int
    level: Literal["debug", "info", "warning", "error"]
    source: str
    text: str


StreamMessage = Depth | Trade | OrderUpdate | Fill | PositionSnapshot | StrategyStatus | EngineStatus | Log
"""What is published."""


# --- snapshots: on the order and the control socket ----------------------------------------------


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


# --- control: on the control socket --------------------------------------------------------------


class Pause(Message, frozen=True):
    """No new orders of a strategy (of all, if unnamed); market data and factors go on."""

    request_id: PositiveId
    strategy_id: str = ""


class Resume(Message, frozen=True):
    """Lets a paused strategy (all, if unnamed) trade again, and a halted engine, if unnamed."""

    request_id: PositiveId
    strategy_id: str = ""


class EmergencyStop(Message, frozen=True):
    """Halts trading: cancels orders, optionally closes positions, then accepts only cancels."""

    request_id: PositiveId
    cancel_orders: bool = True
    close_position: bool = False


class CancelOrders(Message, frozen=True):
    """Cancels the live orders of a strategy or of all, in one symbol or in all."""

    request_id: PositiveId
    strategy_id: str = ""
    symbol: str = ""


class UpdateParams(Message, frozen=True):
    """New values of parameters: all or nothing."""

    request_id: PositiveId
    strategy_id: Name
    params: dict[str, Any]


class UpdateRiskLimits(Message, frozen=True):
    """New limits of a strategy in an instrument; ``None`` leaves one as it is.

    ``limits`` has any of them by its name, also those that have no field here; infinity lifts one.
    """

    request_id: PositiveId
    strategy_id: Name
    symbol: str = ""
    max_position: float | None = None
    max_order_qty: float | None = None
    max_notional: float | None = None
    max_open_orders: int | None = None
    limits: dict[str, Any] = {}


class QueryLimits(Message, frozen=True):
    """Asks for the limits of a strategy: ``details["limits"]`` of the answer has them by symbol."""

    request_id: PositiveId
    strategy_id: Name
    symbol: str = ""


class ReduceOnly(Message, frozen=True):
    """Until trading is resumed, only orders that reduce a position pass."""

    request_id: PositiveId


class Kill(Message, frozen=True):
    """Throws the kill switch of a strategy, of an instrument, or of everything, if neither is named.

    Orders there are cancelled and only cancels pass, over restarts too, until ``Rearm``. A trader may send
    it on the order socket for its own strategy.
    """

    request_id: PositiveId
    strategy_id: str = ""
    symbol: str = ""
    reason: Text = ""


class Rearm(Message, frozen=True):
    """Takes one thrown switch back: ``switch`` is its id, as ``QueryStatus`` tells it in ``details``."""

    request_id: PositiveId
    switch: Name
    token: Text = ""


class QueryStatus(Message, frozen=True):
    """Asks for the state of a strategy, or of the engine, if unnamed, and for the thrown switches."""

    request_id: PositiveId
    strategy_id: str = ""


class ControlReply(Message, frozen=True):
    """The engine's answer to a control command; ``step`` is the engine step that applied it.

    ``details`` is what was asked for: ``switches`` or ``limits``.
    """

    request_id: int
    success: bool
    message: str
    strategy_state: str
    trading_state: str
    current_params: dict[str, Any]
    step: int
    details: dict[str, Any] = {}


ClientMessage = (
    Hello
    | Heartbeat
    | Goodbye
    | Submit
    | Modify
    | Cancel
    | CancelAll
    | Signal
    | ExecutionReplayRequest
    | SnapshotRequest
    | ReplayRequest
    | Kill
)
"""What a client may send on the order socket."""

ControlMessage = (
    Hello
    | Heartbeat
    | Goodbye
    | Pause
    | Resume
    | EmergencyStop
    | CancelOrders
    | UpdateParams
    | UpdateRiskLimits
    | QueryLimits
    | QueryStatus
    | ReduceOnly
    | Kill
    | Rearm
    | SnapshotRequest
    | ReplayRequest
)
"""What a client may send on the control socket."""

ServerMessage = Welcome | Heartbeat | Goodbye | Error | Execution | ControlReply | Snapshot | Replay
"""What a client may receive on the order and the control socket."""


# --- topics --------------------------------------------------------------------------------------


def depth_topic(symbol: str) -> str:
    """``md.<symbol>.depth``"""
    return f"md.{symbol}.depth"


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


# --- errors --------------------------------------------------------------------------------------

ERROR_CODES: dict[str, str] = {
    "version_mismatch": "hello names another version of the protocol; the message has both",
    "bad_message": "the frame is not a message of this socket, or is too long",
    "hello_first": "the sender has no session: say hello (again, if the bridge restarted)",
    "bad_hello": "hello asks for what cannot be: a trader without a name, an admin's parameters",
    "forbidden": "the session's role does not allow the message",
    "strategy_in_use": "a live session, or a strategy inside the engine, has that name",
    "refused": "the engine refused the registration; the message says why",
    "engine_timeout": "the engine did not answer in time; what became of the request is unknown",
    "unknown_symbol": "the engine has no such instrument, or hello did not name it",
    "unknown_topic": "no stream has that topic or prefix",
    "unknown_order": "the strategy has no live order of that client_order_id",
    "duplicate_order_id": "the strategy has a live order of that client_order_id already",
    "invalid_order": "a field of an order is out of range; the message names field, value and limit",
    "invalid_params": "a parameter is not a finite number, a truth value or a short text",
    "busy": "a ring to the engine is full: the message was not taken, try again",
    "replay_incomplete": "older executions are gone; those that are kept follow",
}
"""Every code of :class:`Error` and what it means."""


def wrong_params(params: dict[str, Any]) -> str:
    """What is wrong with parameters on the wire; empty if nothing is.

    Args:
        params: Finite numbers that fit 64 bits, truth values and texts of at most ``MAX_PARAMS_BYTES``.
    """
    if len(params) > MAX_PARAMS:
        return f"{len(params)} parameters are more than {MAX_PARAMS}"
    for name, value in params.items():
        if not 0 < len(name) <= MAX_NAME:
            return f"a parameter's name must have 1 to {MAX_NAME} characters"
        if isinstance(value, float):
            if not isfinite(value):
                return f"{name} {value!r} must be finite"
        elif isinstance(value, int):
            if not -(2**63) <= value < 2**63:
                return f"{name} {value!r} does not fit 64 bits"
        elif not isinstance(value, str) or len(value) > 4096:
            return f"{name} must be a number, a truth value or a text of at most 4096 characters"
    size = sum(len(value.encode()) for value in params.values() if isinstance(value, str))
    return f"texts of {size} bytes are above {MAX_PARAMS_BYTES}" if size > MAX_PARAMS_BYTES else ""


# --- endpoints -----------------------------------------------------------------------------------
# One base endpoint names all four sockets: a directory for ipc, a first port for tcp.

SOCKETS = ("orders", "control", "market", "telemetry")


def socket_endpoint(base: str, socket: str) -> str:
    """The address of one of the four sockets under a base endpoint.

    Args:
        base: ``ipc:///run/ringbook`` or ``tcp://127.0.0.1:7400``.
        socket: One of :data:`SOCKETS`.

    Returns:
        ``ipc:///run/ringbook/orders.sock``, or ``tcp://127.0.0.1:7400`` plus the socket's place.

    Raises:
        ValueError: The base is neither.
    """
    place = SOCKETS.index(socket)
    if base.startswith("ipc://"):
        return f"{base.rstrip('/')}/{socket}.sock"
    if base.startswith("tcp://"):
        host, _, port = base.removeprefix("tcp://").rpartition(":")
        if not host or not port.isdigit() or int(port) + len(SOCKETS) > 65536:
            raise ValueError(f"{base}: expected tcp://HOST:PORT")
        return f"tcp://{host}:{int(port) + place}"
    raise ValueError(f"{base}: expected ipc://DIRECTORY or tcp://HOST:PORT")
