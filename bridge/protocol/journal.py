"""Waiting until the engine's journal has a record on disk: on the order and on the control socket."""

from __future__ import annotations

from bridge.protocol.wire import Message, PositiveId, Seq


class WaitDurable(Message, frozen=True):
    """Asks to be told once a record of the journal survives a loss of power.

    ``journal_seq`` is its number, as ``Execution`` and ``ControlReply`` tell it.
    """

    request_id: PositiveId
    journal_seq: Seq


class Durable(Message, frozen=True):
    """The answer to ``WaitDurable``: all records up to ``durable_seq`` survive a loss of power."""

    request_id: int
    durable_seq: int
