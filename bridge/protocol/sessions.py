"""Hello, welcome, heartbeat, goodbye, errors: both directions on the order and the control socket."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from bridge.protocol.wire import Message, Mode, Name, OnLoss, Role, Seq


class Hello(Message, frozen=True):
    """First message of a client. A trader names its strategy; an observer leaves it empty.

    ``resume`` goes on with a session, from whatever connection: its numbers, its orders and what is known of
    them. Who does not name the strategy's last session begins a new one, and what orders there are end.
    """

    version: int
    client: Name
    role: Role
    strategy_id: str = ""
    symbols: list[Name] = []
    params: dict[str, Any] = {}
    resume: str = ""
    on_loss: OnLoss = "cancel"


class InstrumentInfo(msgspec.Struct, array_like=True, frozen=True):
    """An instrument that the engine knows."""

    symbol: str
    tick_size: float
    lot_size: float
    contract_size: float
    asset: Literal["linear", "inverse"]


class Welcome(Message, frozen=True):
    """The answer to hello. A new ``epoch`` means a new bridge process: sequence numbers start again.

    ``exec_seq`` is the last execution that the strategy has had in this epoch. ``nonce`` is what the stamps
    of the session's commands carry, and ``clock`` the time now by the clock that they expire by. ``received``
    is the last number of the session's messages that was taken. The session was resumed if it is the one that
    hello named.
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
    nonce: str = ""
    clock: int = 0
    received: Seq = 0


class Heartbeat(Message, frozen=True):
    """Sent every HEARTBEAT_NS by the client; the server answers each with the same ``ts``.

    ``sent`` is the last number that the sender has given a message, ``received`` the last that it has taken.
    """

    ts: int
    sent: Seq = 0
    received: Seq = 0


class Goodbye(Message, frozen=True):
    """The sender leaves in good order; a trader's orders are cancelled at once."""

    reason: str = ""


class Error(Message, frozen=True):
    """A message was refused: ``code`` is one of :data:`ERROR_CODES`, the ids are the message's own, or 0."""

    code: str
    message: str
    request_id: int = 0
    client_order_id: int = 0


ERROR_CODES: dict[str, str] = {
    "version_mismatch": "hello names another version of the protocol; the message has both",
    "bad_message": "the frame is not a message of this socket, or is too long",
    "hello_first": "the sender has no session: say hello (again, if the bridge restarted)",
    "bad_hello": "hello asks for what cannot be: a trader without a name, an admin's parameters",
    "forbidden": "the session's role does not allow the message",
    "stale_command": "the command's stamp is missing, of another session, repeated, out of order or late",
    "strategy_in_use": "a live session, or a strategy inside the engine, has that name",
    "refused": "the engine refused the registration; the message says why",
    "engine_timeout": "the engine did not answer in time; what became of the request is unknown",
    "unknown_symbol": "the engine has no such instrument, or hello did not name it",
    "unknown_topic": "no stream has that topic or prefix",
    "unknown_order": "the strategy has no live order of that client_order_id",
    "duplicate_order_id": "the session has used that client_order_id for another order",
    "out_of_sequence": "messages before it are missing: it was not taken; the text has the next number",
    "invalid_order": "a field of an order is out of range; the message names field, value and limit",
    "invalid_params": "a parameter is not a finite number, a truth value or a short text",
    "busy": "a ring to the engine is full: the message was not taken, try again",
    "replay_incomplete": "older executions are gone; those that are kept follow",
    "no_journal": "the daemon keeps no journal: nothing of it survives a loss of power",
    "journal_halted": "the journal has halted: whether the record becomes durable is unknown",
    "not_durable": "the record was not durable in time: whether it survives a loss of power is unknown",
}
"""Every code of :class:`Error` and what it means."""
