"""Orders of a trader and what becomes of them: on the order socket."""

from __future__ import annotations

from bridge.protocol.wire import Message, Name, OrderType, PositiveId, Seq, Side, TimeInForce


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
