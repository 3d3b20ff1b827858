"""Books and public trades from the engine's ring to subscribers, and what snapshots show of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec
import numpy as np

from bridge import codec, encoder, records
from bridge import protocol as p
from bridge.books import Sides
from bridge.topics import Batch, Topic
from engine.core.errors import RingCorrupt
from engine.runtime.records import SLOT_BYTES, Flag, Kind

RECENT_TRADES = 200
"""How many trades a snapshot shows."""
LAST = int(Flag.LAST)
DEPTH, TRADE = int(Kind.DEPTH), int(Kind.TRADE)
CHECKED_EVERY = 256
"""Messages of a book after which one says how the whole book is to look."""
TOGETHER, TOGETHER_BYTES = 32, 8192
"""Messages that are published in one frame at most, and bytes after which it takes no more."""


class Market:
    """Market data of all instruments.

    Args:
        epoch: Of this bridge.
        symbols: In the engine's order.
        send: Publishes a topic's frame and a message's.

    Attributes:
        topics: Depth and trades of all instruments.
    """

    def __init__(self, epoch: int, symbols: Sequence[str], send: Callable[[bytes, bytes], None]) -> None:
        self._epoch, self._symbols, self._send = epoch, list(symbols), send
        self._depth = [Topic(p.depth_topic(s)) for s in symbols]
        self._trades = [Topic(p.trade_topic(s)) for s in symbols]
        self.topics = [*self._depth, *self._trades]
        self._texts = [codec.encode(s) for s in symbols]
        self._recent = [deque[bytes](maxlen=RECENT_TRADES) for _ in symbols]
        self._books = [Sides(s) for s in symbols]
        self._told = [False] * len(self._symbols)
        self._open = [Batch() for _ in symbols]
        self._closed: dict[int, Batch] = {}
        self._queued: list[bytes] = []
        self._queued_topic: Topic | None = None

    def symbol(self, instrument: int) -> str:
        """The symbol of an instrument.

        Raises:
            RingCorrupt: There is no such instrument.
        """
        if instrument >= len(self._symbols):
            raise RingCorrupt(f"a record of instrument {instrument}, of {len(self._symbols)}")
        return self._symbols[instrument]

    def publish(self, batch: Any, conflate: bool = False) -> None:
        """Publishes records of ``market_out``.

        Args:
            batch: Array of ``record_dtype``, shape (n,), or the bytes of such, shape (n, 256).
            conflate: Whether to merge all changes of a book in it, to be up to date again sooner.
        """
        if len(batch) == 0:
            return
        if conflate:
            batch = records.as_records(batch)
            batch, skipped = records.since_snapshot(batch)
            for instrument in skipped:
                self._open[instrument] = Batch()
                self._open[instrument].conflated = True
            for instrument, topic in enumerate(self._trades):
                if not topic.wanted:
                    batch, left_out = records.last_trades(batch, instrument, RECENT_TRADES)
                    topic.count(left_out)
        slots = batch if batch.ndim == 2 else batch.view(np.uint8).reshape(-1, SLOT_BYTES)
        for kind, instrument, begin, end in encoder.runs(slots):
            if kind == DEPTH:
                self._on_depths(instrument, slots, begin, end, conflate)
            elif kind == TRADE:
                self._on_trades(instrument, slots, begin, end)
        if self._closed:
            self._send_depth()
        self._flush()

    def _on_trades(self, instrument: int, slots: np.ndarray, begin: int, end: int) -> None:
        self.symbol(instrument)
        topic = self._trades[instrument]
        if not topic.wanted:
            topic.count(end - begin)
            # The last ones are seen in a snapshot.
            begin = max(begin, end - RECENT_TRADES)
        number = topic.seq - (end - begin) + 1 if not topic.wanted else topic.seq + 1
        frames = encoder.trades(slots, begin, end, self._epoch, number, self._texts[instrument])
        self._recent[instrument].extend(frames[-RECENT_TRADES:])
        if topic.wanted:
            topic.keep_all(frames)
            self._queue(topic, frames)

    def _on_depths(self, instrument: int, slots: np.ndarray, begin: int, end: int, conflate: bool) -> None:
        self.symbol(instrument)
        topic, book = self._depth[instrument], self._books[instrument]
        quick = topic.wanted and self._told[instrument] and not conflate
        while begin < end:
            if quick and not self._open[instrument].begun:
                frames, ts, exch_ts = encoder.whole_depths(
                    slots, begin, end, self._epoch, topic.seq + 1, self._texts[instrument],
                    book.bids, book.asks, CHECKED_EVERY,
                )  # fmt: skip
                if frames:
                    topic.keep_all(frames)
                    book.seq, book.ts, book.exch_ts = topic.seq, ts, exch_ts
                    self._queue(topic, frames)
                    begin += len(frames)
                    continue
            slow = begin + 1 if quick else end
            for flags, *row in encoder.depths(slots, begin, slow):
                self._on_depth(instrument, flags, *row)
                if flags & LAST and not conflate:
                    self._send_depth()
            begin = slow

    def _on_depth(
        self,
        instrument: int,
        flags: int,
        ts: int,
        exch_ts: int,
        bids: dict[float, float],
        asks: dict[float, float],
    ) -> None:
        changes = self._open[instrument]
        changes.add(flags, ts, exch_ts, bids, asks)
        if not flags & LAST:
            return
        self._open[instrument] = Batch()
        self._told[instrument] |= changes.snapshot
        # Changes of a book that the resync has not told yet mean nothing.
        if self._told[instrument]:
            before = self._closed.get(instrument)
            self._closed[instrument] = changes if before is None else before.merge(changes)

    def _send_depth(self) -> None:
        for instrument, changes in self._closed.items():
            topic = self._depth[instrument]
            seq, bids, asks = topic.seq + 1, list(changes.bids.items()), list(changes.asks.items())
            book = self._books[instrument]
            book.change(bids, asks, changes.snapshot)
            book.seq, book.ts, book.exch_ts = seq, changes.ts, changes.exch_ts
            if not topic.wanted:
                topic.count()
                continue
            checksum = book.checksum() if seq % CHECKED_EVERY == 0 else 0
            message = p.Depth(
                self._epoch,
                seq,
                self._symbols[instrument],
                changes.ts,
                changes.exch_ts,
                bids,
                asks,
                changes.snapshot,
                changes.conflated,
                checksum,
            )
            frame = codec.encode(message)
            topic.keep(frame)
            self._queue(topic, (frame,))
        self._closed.clear()

    def _queue(self, topic: Topic, frames: Sequence[bytes]) -> None:
        """Publishes market data, messages of a topic that follow each other together."""
        if topic is not self._queued_topic:
            self._flush()
            self._queued_topic = topic
        self._queued.extend(frames)

    def _flush(self) -> None:
        frames, topic = self._queued, self._queued_topic
        if topic is None:
            return
        self._queued, self._queued_topic = [], None
        begin = 0
        while begin < len(frames):
            end, size = begin + 1, len(frames[begin])
            while end < min(len(frames), begin + TOGETHER) and size < TOGETHER_BYTES:
                size += len(frames[end])
                end += 1
            self._send(topic.frame, frames[begin] if end == begin + 1 else codec.together(frames[begin:end]))
            begin = end

    def present(self, topic: Topic) -> Iterable[Any]:
        """What a snapshot shows of one of :attr:`topics`."""
        if topic in self._trades:
            return [msgspec.Raw(frame) for frame in self._recent[self._trades.index(topic)]]
        instrument = self._depth.index(topic)
        if not self._told[instrument]:
            return ()
        book = self._books[instrument]
        bids, asks = book.levels(max(len(book.bids), len(book.asks)))
        whole = p.Depth(self._epoch, topic.seq, book.symbol, book.ts, book.exch_ts, bids, asks, snapshot=True)
        return (msgspec.structs.replace(whole, checksum=book.checksum()),)
