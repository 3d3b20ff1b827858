"""What operators ask of the engine, and its answer: on the control socket."""

from __future__ import annotations

from typing import Any

import msgspec

from bridge.protocol.wire import Message, Name, PositiveId, Seq, Text


class Stamp(msgspec.Struct, array_like=True, frozen=True):
    """What keeps a command from taking effect twice, late, or after a later one.

    ``nonce`` is the session's, of ``Welcome``; ``counter`` is above that of the session's last command;
    ``expires`` is in the server's own clock, of which ``Welcome`` tells the time.
    """

    nonce: Name
    counter: PositiveId
    expires: Seq


class Pause(Message, frozen=True):
    """No new orders of a strategy (of all, if unnamed); market data and factors go on."""

    request_id: PositiveId
    strategy_id: str = ""
    stamp: Stamp | None = None


class Resume(Message, frozen=True):
    """Lets a paused strategy (all, if unnamed) trade again, and a halted engine, if unnamed."""

    request_id: PositiveId
    strategy_id: str = ""
    stamp: Stamp | None = None


class EmergencyStop(Message, frozen=True):
    """Halts trading: cancels orders, optionally closes positions, then accepts only cancels."""

    request_id: PositiveId
    cancel_orders: bool = True
    close_position: bool = False
    stamp: Stamp | None = None


class CancelOrders(Message, frozen=True):
    """Cancels the live orders of a strategy or of all, in one symbol or in all."""

    request_id: PositiveId
    strategy_id: str = ""
    symbol: str = ""
    stamp: Stamp | None = None


class UpdateParams(Message, frozen=True):
    """New values of parameters: all or nothing."""

    request_id: PositiveId
    strategy_id: Name
    params: dict[str, Any]
    stamp: Stamp | None = None


class UpdateRiskLimits(Message, frozen=True):
    """New limits of a strategy in an instrument; ``None`` leaves one as it is.

    Without a strategy they are those over all strategies: in the instrument, or, without one, over
    everything. ``limits`` has any by its name, also those without a field here; infinity lifts one.
    """

    request_id: PositiveId
    strategy_id: str = ""
    symbol: str = ""
    max_position: float | None = None
    max_order_qty: float | None = None
    max_notional: float | None = None
    max_open_orders: int | None = None
    limits: dict[str, Any] = {}
    stamp: Stamp | None = None


class QueryLimits(Message, frozen=True):
    """Asks for the limits of a strategy: ``details["limits"]`` of the answer has them by symbol.

    Without a strategy it asks for those over all strategies: of everything under an empty symbol, and of each
    instrument that has some.
    """

    request_id: PositiveId
    strategy_id: str = ""
    symbol: str = ""
    stamp: Stamp | None = None


class ReduceOnly(Message, frozen=True):
    """Until trading is resumed, only orders that reduce a position pass."""

    request_id: PositiveId
    stamp: Stamp | None = None


class Kill(Message, frozen=True):
    """Throws the kill switch of a strategy, of an instrument, or of everything, if neither is named.

    Orders there are cancelled and only cancels pass, over restarts too, until ``Rearm``. A trader may send
    it on the order socket for its own strategy.
    """

    request_id: PositiveId
    strategy_id: str = ""
    symbol: str = ""
    reason: Text = ""
    stamp: Stamp | None = None


class Rearm(Message, frozen=True):
    """Takes one thrown switch back: ``switch`` is its id, as ``QueryStatus`` tells it in ``details``."""

    request_id: PositiveId
    switch: Name
    token: Text = ""
    stamp: Stamp | None = None


class QueryStatus(Message, frozen=True):
    """Asks for the state of a strategy, or of the engine, if unnamed, and for the thrown switches."""

    request_id: PositiveId
    strategy_id: str = ""
    stamp: Stamp | None = None


class ControlReply(Message, frozen=True):
    """The engine's answer to a control command; ``step`` is the engine step that applied it.

    ``details`` is what was asked for: ``switches`` or ``limits``. ``journal_seq`` is the journal's record
    that the answer follows from; 0 without a journal.
    """

    request_id: int
    success: bool
    message: str
    strategy_state: str
    trading_state: str
    current_params: dict[str, Any]
    step: int
    details: dict[str, Any] = {}
    journal_seq: int = 0
