"""The published streams: a sequence number a topic, a replay buffer, and the state that a snapshot shows."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from bridge import codec, records
from bridge import protocol as p
from bridge.market import Market
from bridge.ordernews import OrderNews
from bridge.topics import Topic
from engine.core.errors import RingCorrupt
from engine.runtime.records import BlobJoiner, Kind

RECENT = {p.FILLS_TOPIC: 1000, p.LOG_TOPIC: 500}
"""How much of its past a topic of telemetry without a present state shows in a snapshot."""
ASKED_TICKS = 20
"""Heartbeat intervals for which messages are kept after a snapshot, whether or not somebody subscribes."""
KEPT_NAMES = 64
"""Features, and signals, whose last one a snapshot of an instrument shows."""
LOG_LEVELS = ("debug", "info", "warning", "error")


class Publisher:
    """Turns records into published messages.

    Args:
        epoch: Of this bridge.
        engine: The engine's name.
        mode: The engine's mode.
        instruments: In the engine's order.
        send: Publishes a topic's frame and a message's.

    Attributes:
        market_wanted: Whether anybody wants market data, features or signals.
    """

    def __init__(
        self,
        epoch: int,
        engine: str,
        mode: p.Mode,
        instruments: Sequence[p.InstrumentInfo],
        send: Callable[[bytes, bytes], None],
    ) -> None:
        self.epoch, self.engine, self.mode = epoch, engine, mode
        self.names: dict[int, str] = {}
        self.sessions = 0
        self._send = send
        symbols = [i.symbol for i in instruments]
        self._market = Market(epoch, symbols, send)
        self.symbol = self._market.symbol
        features = [p.feature_topic(s) for s in symbols]
        signals = [p.signal_topic(s) for s in symbols]
        told = [Topic(name) for name in (*features, *signals)]
        self._markets = [*self._market.topics, *told]
        others = [Topic(name) for name in p.TELEMETRY_TOPICS]
        self._topics = {topic.name: topic for topic in (*self._markets, *others)}
        self._state: dict[str, dict[Any, Any]] = {
            name: {}
            for name in (
                p.ORDERS_TOPIC,
                p.POSITIONS_TOPIC,
                p.STRATEGIES_TOPIC,
                p.STATUS_TOPIC,
                *features,
                *signals,
            )
        }
        self._recent = {name: deque[Any](maxlen=length) for name, length in RECENT.items()}
        for topic in self._markets:
            topic.wanted = False
        self.market_wanted = False
        self._subscribed: set[tuple[str, str]] = set()
        self._resynced: set[int] | None = None
        self._blobs = BlobJoiner()

    def name(self, slot: int) -> str:
        """The strategy in a slot."""
        return self.names.get(slot) or f"strategy-{slot}"

    # --- records in ----------------------------------------------------------------------------

    def market(self, batch: Any, conflate: bool = False) -> None:
        """Publishes records of ``market_out``.

        Args:
            batch: Array of ``record_dtype``, shape (n,).
            conflate: Whether to merge all changes of a book in it, to be up to date again sooner.
        """
        self._market.publish(batch, conflate)

    def telemetry(self, batch: Any) -> None:
        """Publishes records of ``telemetry_out``."""
        for kind, headers, rows in records.runs(batch):
            for header, row in zip(headers, rows, strict=True):
                if kind == Kind.POSITION:
                    self._on_position(header, records.PositionRow(*row))
                elif kind == Kind.STATUS:
                    topic = self._topics[p.STATUS_TOPIC]
                    status = records.engine_status(
                        records.StatusRow(*row),
                        header,
                        self.epoch,
                        topic.seq + 1,
                        self.engine,
                        self.mode,
                        self.sessions,
                    )
                    self._state[p.STATUS_TOPIC][0] = status
                    self._publish(topic, status)
                elif kind == Kind.LOG:
                    self._on_log(header, row)

    def _on_log(self, header: records.Header, slot: Any) -> None:
        try:
            message = self._blobs.add(slot)
            line = None if message is None else records.blob(Kind.LOG, message)
        except RingCorrupt as error:
            # The half of a line that a bridge killed before us had taken already looks like this.
            self.log(header.ts, "warning", "bridge", f"dropped a line of the log: {error}")
            return
        if line is not None:
            self.log(header.ts, line.level, line.source, line.text)

    def _on_position(self, header: records.Header, row: records.PositionRow) -> None:
        if header.strategy not in self.names:
            return  # it is told again in a moment, when the resync has brought the names
        topic = self._topics[p.POSITIONS_TOPIC]
        symbol = self.symbol(header.instrument)
        message = records.position(row, header, self.epoch, topic.seq + 1, self.name(header.strategy), symbol)
        self._state[topic.name][header.strategy, header.instrument] = message
        self._publish(topic, message)

    def order(self, news: OrderNews) -> None:
        """Publishes an ORDER record."""
        topic = self._topics[p.ORDERS_TOPIC]
        symbol, name = self.symbol(news.instrument), self.name(news.strategy)
        frame = news.update(self.epoch, topic.seq + 1, name, symbol)
        live, order_id = self._state[topic.name], news.order_id
        if news.ended:
            live.pop(order_id, None)
        elif not news.denied:
            live[order_id] = msgspec.Raw(frame)
            if self._resynced is not None:
                self._resynced.add(order_id)
        self._publish_frame(topic, frame)

    def fill(self, header: records.Header, row: records.FillRow) -> None:
        """Publishes a FILL record."""
        topic = self._topics[p.FILLS_TOPIC]
        symbol = self.symbol(header.instrument)
        message = records.fill(row, header, self.epoch, topic.seq + 1, self.name(header.strategy), symbol)
        self._recent[topic.name].append(message)
        self._publish(topic, message)

    def strategy(self, header: records.Header, blob: records.StrategyBlob) -> None:
        """Publishes a STRATEGY record."""
        before = self.names.get(header.strategy)
        if before not in (None, blob.strategy_id):
            # The engine has given the seat away: its last owner has left without a trade.
            self._state[p.STRATEGIES_TOPIC].pop(before, None)
        self.names[header.strategy] = blob.strategy_id
        topic = self._topics[p.STRATEGIES_TOPIC]
        params = msgspec.convert([tuple(_param(one)) for one in blob.params], list[p.ParamInfo])
        message = p.StrategyStatus(
            self.epoch,
            topic.seq + 1,
            header.ts,
            blob.strategy_id,
            blob.kind,
            blob.state,
            blob.message,
            blob.symbols,
            params,
            blob.switches,
        )
        self._state[topic.name][blob.strategy_id] = message
        self._publish(topic, message)

    def log(self, ts: int, level: str, source: str, text: str) -> None:
        """Publishes a line of the log."""
        topic = self._topics[p.LOG_TOPIC]
        known: Any = level if level in LOG_LEVELS else "info"
        message = p.Log(self.epoch, topic.seq + 1, ts, known, source, text)
        self._recent[topic.name].append(message)
        self._publish(topic, message)

    def feature(self, strategy_id: str, features: p.Features) -> None:
        """Publishes a batch of a client's features."""
        topic = self._topics[p.feature_topic(features.symbol)]
        self._told_by_client(
            topic,
            p.FeatureBatch(
                self.epoch,
                topic.seq + 1,
                features.symbol,
                time.time_ns(),
                strategy_id,
                features.name,
                features.columns,
                features.data,
            ),
        )

    def signal(self, strategy_id: str, signal: p.Signal) -> None:
        """Publishes a signal about an instrument; one about nothing in particular is the engine's alone."""
        topic = self._topics.get(p.signal_topic(signal.symbol))
        if topic is not None:
            now = time.time_ns()
            self._told_by_client(
                topic,
                p.SignalUpdate(
                    self.epoch, topic.seq + 1, signal.symbol, now, strategy_id, signal.name, signal.value
                ),
            )

    def _told_by_client(self, topic: Topic, message: Any) -> None:
        last = self._state[topic.name]
        last.pop((message.strategy_id, message.name), None)
        last[message.strategy_id, message.name] = message
        if len(last) > KEPT_NAMES:
            del last[next(iter(last))]
        self._publish(topic, message)

    def begin_resync(self) -> None:
        """From here on the engine tells every live order again."""
        self._resynced = set()

    def tells_anew(self) -> None:
        """What was told of live orders is older than what the engine is going to tell in a resync."""
        if self._resynced is not None:
            self._resynced.clear()

    def end_resync(self) -> None:
        """All live orders were told: what was not among them has ended unseen."""
        live, told = self._state[p.ORDERS_TOPIC], self._resynced or set()
        self._resynced = None
        ended = [order_id for order_id in live if order_id not in told]
        for order_id in ended:
            del live[order_id]
        if ended:
            self._topics[p.ORDERS_TOPIC].skip()

    def _publish(self, topic: Topic, message: Any) -> None:
        if not topic.wanted:
            topic.count()
            return
        self._publish_frame(topic, codec.encode(message))

    def _publish_frame(self, topic: Topic, frame: bytes) -> None:
        topic.keep(frame)
        self._send(topic.frame, frame)

    def subscribed(self, prefix: str, on: bool, source: str = "market") -> None:
        """The first subscriber of a prefix came, or the last one went, of those that a source speaks for.

        Args:
            prefix: Of topics.
            on: Whether somebody wants them.
            source: The market socket, or the lanes of shared memory.
        """
        meant = [topic for topic in self._markets if topic.name.startswith(prefix)]
        if on and meant:
            self._subscribed.add((prefix, source))
        elif not on:
            self._subscribed.discard((prefix, source))
        for topic in meant:
            topic.wanted = on or self._is_wanted(topic)
        self._count_wanted()

    def _count_wanted(self) -> None:
        self.market_wanted = any(topic.wanted for topic in self._markets)

    def _is_wanted(self, topic: Topic) -> bool:
        return topic.asked > 0 or any(topic.name.startswith(wanted) for wanted, _ in self._subscribed)

    def tick(self) -> None:
        """One heartbeat interval: who has taken a snapshot has subscribed by now, or never will."""
        for topic in self._markets:
            if topic.asked:
                topic.asked -= 1
                topic.wanted = self._is_wanted(topic)
        self._count_wanted()

    # --- questions -----------------------------------------------------------------------------

    def snapshot(self, request: p.SnapshotRequest) -> p.Snapshot | p.Error:
        """The state of a topic, or of all topics below a prefix."""
        topics = [t for name, t in self._topics.items() if name.startswith(request.topic)]
        if request.topic in self._topics:
            topics = [self._topics[request.topic]]
            topics[0].asked, topics[0].wanted = ASKED_TICKS, True
            self._count_wanted()
        if not topics:
            return p.Error("unknown_topic", f"no topic begins with {request.topic!r}", request.request_id)
        messages = [message for topic in topics for message in self._present(topic)]
        seqs = {topic.name: topic.seq for topic in topics}
        return p.Snapshot(request.request_id, request.topic, self.epoch, seqs, messages)

    def _present(self, topic: Topic) -> Iterable[Any]:
        if topic.name in self._state:
            return self._state[topic.name].values()
        if topic.name in self._recent:
            return self._recent[topic.name]
        return self._market.present(topic)

    def replay(self, request: p.ReplayRequest) -> p.Replay | p.Error:
        """The messages of a topic from a number on."""
        topic = self._topics.get(request.topic)
        if topic is None:
            return p.Error("unknown_topic", f"no topic {request.topic!r}", request.request_id)
        missed = topic.since(request.from_seq)
        messages: Any = [msgspec.Raw(frame) for frame in missed or ()]
        return p.Replay(request.request_id, topic.name, self.epoch, missed is not None, messages)


def _param(fields: dict[str, Any]) -> Iterable[Any]:
    return (fields.get(name, "" if name == "doc" else None) for name in p.ParamInfo.__struct_fields__)
