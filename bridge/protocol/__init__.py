"""The messages of the bridge, version 1: typed structs, msgpack arrays. PROTOCOL.md explains them.

Every message is a tagged array ``[tag, field, ...]``. Fields are only ever appended within a version.
Prices and quantities are floats in price and quantity units; times are int64 nanoseconds. This module
imports nothing of the engine, so a client needs only ``msgspec`` and ``pyzmq``.
"""

from __future__ import annotations

from bridge.protocol.control import (
    CancelOrders,
    ControlReply,
    EmergencyStop,
    Kill,
    Pause,
    QueryLimits,
    QueryStatus,
    Rearm,
    ReduceOnly,
    Resume,
    Stamp,
    UpdateParams,
    UpdateRiskLimits,
)
from bridge.protocol.journal import Durable, WaitDurable
from bridge.protocol.sessions import ERROR_CODES, Error, Goodbye, Heartbeat, Hello, InstrumentInfo, Welcome
from bridge.protocol.streams import (
    FILLS_TOPIC,
    LOG_TOPIC,
    ORDERS_TOPIC,
    POSITIONS_TOPIC,
    STATUS_TOPIC,
    STRATEGIES_TOPIC,
    TELEMETRY_TOPICS,
    Depth,
    EngineStatus,
    FeatureBatch,
    Fill,
    Log,
    Messages,
    OrderUpdate,
    ParamInfo,
    PositionSnapshot,
    Published,
    Replay,
    ReplayRequest,
    SignalUpdate,
    Snapshot,
    SnapshotRequest,
    StrategyStatus,
    StreamMessage,
    SwitchInfo,
    Trade,
    depth_topic,
    feature_topic,
    signal_topic,
    trade_topic,
)
from bridge.protocol.trading import (
    Cancel,
    CancelAll,
    Execution,
    ExecutionReplayRequest,
    Features,
    Modify,
    OrderReport,
    QueryOrder,
    Signal,
    Submit,
)
from bridge.protocol.wire import (
    HEARTBEAT_MISSES,
    HEARTBEAT_NS,
    MAX_COLUMNS,
    MAX_FRAME,
    MAX_NAME,
    MAX_PARAMS,
    MAX_PARAMS_BYTES,
    MAX_SERVER_FRAME,
    MAX_SUBSCRIPTION,
    SOCKETS,
    VERSION,
    Message,
    Mode,
    Name,
    OnLoss,
    OrderType,
    PositiveId,
    Role,
    Seq,
    Side,
    Text,
    TimeInForce,
    lane_path,
    leash_path,
    socket_endpoint,
    wrong_params,
)

__all__ = [
    "ERROR_CODES",
    "FILLS_TOPIC",
    "HEARTBEAT_MISSES",
    "HEARTBEAT_NS",
    "LOG_TOPIC",
    "MAX_COLUMNS",
    "MAX_FRAME",
    "MAX_NAME",
    "MAX_PARAMS",
    "MAX_PARAMS_BYTES",
    "MAX_SERVER_FRAME",
    "MAX_SUBSCRIPTION",
    "ORDERS_TOPIC",
    "POSITIONS_TOPIC",
    "SOCKETS",
    "STATUS_TOPIC",
    "STRATEGIES_TOPIC",
    "TELEMETRY_TOPICS",
    "VERSION",
    "Cancel",
    "CancelAll",
    "CancelOrders",
    "ClientMessage",
    "ControlMessage",
    "ControlReply",
    "Depth",
    "Durable",
    "EmergencyStop",
    "EngineStatus",
    "Error",
    "Execution",
    "ExecutionReplayRequest",
    "FeatureBatch",
    "Features",
    "Fill",
    "Goodbye",
    "Heartbeat",
    "Hello",
    "InstrumentInfo",
    "Kill",
    "Log",
    "Message",
    "Messages",
    "Mode",
    "Modify",
    "Name",
    "OnLoss",
    "OrderReport",
    "OrderType",
    "OrderUpdate",
    "ParamInfo",
    "Pause",
    "PositionSnapshot",
    "PositiveId",
    "Published",
    "QueryLimits",
    "QueryOrder",
    "QueryStatus",
    "Rearm",
    "ReduceOnly",
    "Replay",
    "ReplayRequest",
    "Resume",
    "Role",
    "Seq",
    "ServerMessage",
    "Side",
    "Signal",
    "SignalUpdate",
    "Snapshot",
    "SnapshotRequest",
    "Stamp",
    "StrategyStatus",
    "StreamMessage",
    "Submit",
    "SwitchInfo",
    "Text",
    "TimeInForce",
    "Trade",
    "UpdateParams",
    "UpdateRiskLimits",
    "WaitDurable",
    "Welcome",
    "depth_topic",
    "feature_topic",
    "lane_path",
    "leash_path",
    "signal_topic",
    "socket_endpoint",
    "trade_topic",
    "wrong_params",
]

ClientMessage = (
    Hello
    | Heartbeat
    | Goodbye
    | Submit
    | Modify
    | Cancel
    | CancelAll
    | Signal
    | Features
    | ExecutionReplayRequest
    | QueryOrder
    | SnapshotRequest
    | ReplayRequest
    | Kill
    | WaitDurable
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
    | WaitDurable
)
"""What a client may send on the control socket."""

ServerMessage = (
    Welcome
    | Heartbeat
    | Goodbye
    | Error
    | Execution
    | ControlReply
    | Snapshot
    | Replay
    | Durable
    | OrderReport
)
"""What a client may receive on the order and the control socket."""
