"""What an ordered stop leaves open: positions. The run's last record has them, and the next start says so."""

from __future__ import annotations

import logging
from pathlib import Path

import msgspec

from engine.backtest.result import states_of
from engine.journal.reader import JournalReader
from engine.journal.wal import RecordType
from engine.kernel import Kernel


class Position(msgspec.Struct, array_like=True, frozen=True):
    """A position that was open at the end of a run.

    Attributes:
        strategy: Whose.
        symbol: In what.
        qty: How much, negative if short.
    """

    strategy: str
    symbol: str
    qty: float


def left_open(kernel: Kernel, log: logging.Logger) -> bytes:
    """The open positions of a kernel that has stopped, for the run's last record; warns of them.

    Args:
        kernel: Stopped.
        log: Where they are named.
    """
    found = [
        Position(state.strategy, state.symbol, state.values.position)
        for state in states_of(kernel)
        if state.values.position != 0.0
    ]
    if found:
        log.warning("the run ends with open positions, which no later run has: %s", described(found))
    return msgspec.msgpack.encode(found)


def read_left(directory: Path, last: int) -> list[Position]:
    """The positions that a run which ended in good order has left.

    Args:
        directory: Of its journal.
        last: Number of its last record.

    Returns:
        None of them also where the run did not say.

    Raises:
        JournalError: The journal cannot be read.
    """
    record = next(iter(JournalReader(directory, after=last - 1)), None)
    if record is None or record.type != RecordType.END or not record.body:
        return []
    try:
        return msgspec.msgpack.decode(record.body, type=list[Position])
    except msgspec.MsgspecError:
        return []


def described(positions: list[Position]) -> str:
    """Positions in one line."""
    return ", ".join(f"{one.strategy} {one.symbol} {one.qty:g}" for one in positions)
