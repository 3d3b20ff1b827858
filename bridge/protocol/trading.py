"""Orders of a trader and what becomes of them: on the order socket."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from bridge.protocol.wire import MAX_COLUMNS, Message, Name, OrderType, PositiveId, Seq, Side, TimeInForce


class Submit(Message, frozen=True):
    """A new order. ``client_order_id`` is the client's own: one order of its session, however often sent.

    ``seq`` counts the session's messages from 1, without gaps; 0 is not counted.
    """

    client_order_id: PositiveId
    symbol: Name
    side: Side
    px: float
    qty: float
    order_type: OrderType = "limit"
    time_in_force: TimeInForce = "GTC"
    seq: Seq = 0


class Modify(Message, frozen=True):
    """New price and total open quantity of a live order."""

    client_order_id: PositiveId
    px: float
    qty: float
    seq: Seq = 0


class Cancel(Message, frozen=True):
    """Cancels a live order."""

    client_order_id: PositiveId
    seq: Seq = 0


class CancelAll(Message, frozen=True):
    """Cancels all live orders of the strategy, of one symbol if it is named."""

    symbol: str = ""
    seq: Seq = 0


class Signal(Message, frozen=True):
    """A number for strategies inside the engine, and for whoever subscribes to its instrument's signals."""

    name: Name
    value: float
    symbol: str = ""
    seq: Seq = 0


class Features(Message, frozen=True):
    """Rows of features about an instrument, for whoever subscribes to them."""

    name: Name
    symbol: Name
    columns: Annotated[list[Name], Meta(min_length=1, max_length=MAX_COLUMNS)]
    data: bytes
    seq: Seq = 0


class Execution(Message, frozen=True):
    """What became of an order. ``seq`` counts the strategy's executions from 1, without gaps, in an epoch.

    ``exec_px``, ``exec_qty``, ``fee`` and ``is_maker`` are of this execution; zero where it is none.
    ``journal_seq`` is the journal's record that it follows from; 0 without a journal.
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
    journal_seq: int = 0


class ExecutionReplayRequest(Message, frozen=True):
    """Asks for the strategy's executions again, from a sequence number on."""

    from_seq: Seq


class QueryOrder(Message, frozen=True):
    """Asks what is known of an order of this session."""

    request_id: PositiveId
    client_order_id: PositiveId


class OrderReport(Message, frozen=True):
    """What is known of an order: the answer to ``QueryOrder``, and to a ``Submit`` that was sent before.

    ``known`` false: it was never sent on, and will not be. ``live``: it may still trade, as far as the bridge
    knows. ``first`` and ``last`` are its first and its last execution as they were told, in whatever epoch;
    none while the engine has not said a word.
    """

    request_id: int
    client_order_id: int
    known: bool
    live: bool
    first: Execution | None = None
    last: Execution | None = None
