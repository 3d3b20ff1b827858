"""One published stream: its numbers, what it keeps for replays; changes of a book that make a message."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from bridge import protocol as p
from engine.runtime.records import Flag

REPLAY_MESSAGES = 4096
"""Messages that each topic keeps for replays."""
REPLAY_BYTES = p.MAX_SERVER_FRAME // 2
"""Bytes that each topic keeps at most: a book of thousands of levels that is always new needs a bound."""
SNAPSHOT, CONFLATED = int(Flag.SNAPSHOT), int(Flag.CONFLATED)


class Topic:
    """One stream's number, and what it keeps for replays: the newest messages up to REPLAY_BYTES.

    While nobody subscribes, messages are only counted: whoever comes takes a snapshot. Who takes one may have
    a subscription on the way, over another socket, so from there on they are kept for a while.

    Attributes:
        asked: Heartbeat intervals for which messages are still kept because of a snapshot.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.frame = name.encode()
        self.seq = 0
        self.wanted = True
        self.asked = 0
        self.kept: deque[bytes] = deque()
        self._size = 0

    def keep(self, frame: bytes) -> None:
        """Numbers the next message and keeps it."""
        self.seq += 1
        self.kept.append(frame)
        self._size += len(frame)
        while len(self.kept) > REPLAY_MESSAGES or self._size > REPLAY_BYTES:
            self._size -= len(self.kept.popleft())

    def keep_all(self, frames: Sequence[bytes]) -> None:
        """As :meth:`keep`, of one message after the other."""
        self.seq += len(frames)
        self.kept.extend(frames)
        self._size += sum(map(len, frames))
        while len(self.kept) > REPLAY_MESSAGES or self._size > REPLAY_BYTES:
            self._size -= len(self.kept.popleft())

    def count(self, messages: int = 1) -> None:
        """Numbers messages that nobody wants."""
        self.seq += messages
        self._forget()

    def _forget(self) -> None:
        self.kept.clear()
        self._size = 0

    def since(self, from_seq: int) -> list[bytes] | None:
        """The messages from a number on; None where they are not all kept."""
        first = self.seq - len(self.kept) + 1
        if from_seq < first or from_seq > self.seq + 1:
            return None
        return [self.kept[i] for i in range(from_seq - first, len(self.kept))]

    def skip(self) -> None:
        """Leaves a gap that no replay closes, so that every subscriber takes a snapshot."""
        self.count()


class Batch:
    """Changes of a book that make one message: the last word on each price."""

    def __init__(self) -> None:
        self.bids: dict[float, float] = {}
        self.asks: dict[float, float] = {}
        self.ts = self.exch_ts = 0
        self.snapshot = self.conflated = False

    @property
    def begun(self) -> bool:
        """Whether it has anything that is not sent yet."""
        return bool(self.bids or self.asks or self.snapshot or self.conflated)

    def add(
        self, flags: int, ts: int, exch_ts: int, bids: dict[float, float], asks: dict[float, float]
    ) -> None:
        """Takes the next record of the batch, as :func:`bridge.encoder.depths` gives it."""
        if self.bids or self.asks:
            self.bids.update(bids)
            self.asks.update(asks)
        else:
            self.bids, self.asks = bids, asks
        self.ts, self.exch_ts = ts, exch_ts
        self.snapshot |= bool(flags & SNAPSHOT)
        self.conflated |= bool(flags & CONFLATED)

    def merge(self, later: Batch) -> Batch:
        """One batch for two: the later one alone if it starts from an empty book."""
        later.conflated = True
        if not later.snapshot:
            later.bids = self.bids | later.bids
            later.asks = self.asks | later.asks
            later.snapshot = self.snapshot
        return later
