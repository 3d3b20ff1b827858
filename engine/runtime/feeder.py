"""The feed process: writes into the feed ring what happens on the market, or only what time it is.

While nothing is due it says what time it is, so that the engine's timers and order latencies go on; when the
ring is full it waits. The ring's cursor keeps its place, so a feed that is started again goes on with the
very next item.
"""

from __future__ import annotations

import logging
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import numpy as np

from engine.core.clock import Clock
from engine.core.ring import Bell, Ring
from engine.feeds.base import EventSource
from engine.feeds.merge import Merger
from engine.feeds.pace import END_OF_TIME, Pacer
from engine.runtime.config import DaemonConfig
from engine.runtime.records import (
    PAYLOAD_BYTES,
    SLOT_BYTES,
    UNOWNED,
    FeedState,
    Kind,
    feed_status_record_dtype,
    market_record_dtype,
    record_dtype,
)
from engine.runtime.rundir import RunDir

BATCH = 2048
HEARTBEAT_S = 0.02
FULL_SLEEP_S = 0.0002
CLIENT_POLL_S = 0.002
BEAT_NS = 1_000_000
"""Market time between two words of a clockwork, which is how late an order can come to the market within."""
CLIENT_IS_THERE = 1
"""What the engine puts into the ring's consumer cursor when the first external trader registers."""


class Feed(ABC):
    """What all feeds do: wait for a client if they are to, say how they are, end when they are told to.

    Args:
        ring: The feed ring.
        wait_for_client: Whether the first item waits for the engine's word.
        clock: Says when records were received: the steady one, as the engine's.
        sleep: How to wait, for tests.
    """

    def __init__(
        self,
        ring: Ring,
        *,
        wait_for_client: bool = False,
        clock: Clock | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._ring = ring
        self._clock = clock or Clock.monotonic()
        self._wait_for_client = wait_for_client
        self._sleep = sleep
        self._stopped = False
        self._last_sent = time.monotonic()
        self._last_ts = 0

    def stop(self) -> None:
        """Makes :meth:`run` return soon; a signal handler may call it."""
        self._stopped = True

    def run(self, on_ready: Callable[[], None] | None = None) -> None:
        """Sends everything, or as much as there is until :meth:`stop`.

        Args:
            on_ready: Called once the first item could be sent.

        Raises:
            DataError: A source broke off; everything before the fault was sent.
        """
        if on_ready is not None:
            on_ready()
        if self._wait_for_client and self._ring.consumer_cursor != CLIENT_IS_THERE:
            self._say(FeedState.WAITING)
            while self._ring.consumer_cursor != CLIENT_IS_THERE and not self._stopped:
                self._sleep(CLIENT_POLL_S)
        self._send()
        if not self._stopped:
            self._say(FeedState.ENDED)

    @abstractmethod
    def _send(self) -> None:
        """Sends everything, or what there is until it is told to stop."""

    @abstractmethod
    def _place(self) -> tuple[int, int]:
        """How many items have been sent, and how many there are; 0 of what is not known."""

    def _say(self, state: FeedState) -> None:
        record = np.zeros(1, record_dtype)
        record["kind"] = Kind.FEED_STATUS
        record["strategy"] = UNOWNED
        record["length"] = PAYLOAD_BYTES
        record["ts"] = self._last_ts
        record["step"] = self._clock.now()
        status = record["payload"].view(feed_status_record_dtype)
        status["state"] = state
        status["row"], status["rows"] = self._place()
        while not self._ring.push(record.tobytes()):
            if self._stopped:
                return
            self._sleep(FULL_SLEEP_S)
        self._last_sent = time.monotonic()


class Feeder(Feed):
    """Writes sources that give the same rows every time, merged into one stream, into a ring at some speed.

    Args:
        sources: One an instrument, in the engine's order.
        ring: The feed ring; its cursor says how many items have been sent before.
        speed: 1 is real time, 0 as fast as the ring takes it.
        wait_for_client: Whether the first item waits for the engine's word.
        clock: What to pace against, and says when records were received.
        sleep: How to wait, for tests.
    """

    def __init__(
        self,
        sources: Sequence[EventSource],
        ring: Ring,
        *,
        speed: float = 1.0,
        wait_for_client: bool = False,
        clock: Clock | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        super().__init__(ring, wait_for_client=wait_for_client, clock=clock, sleep=sleep)
        self._merger = Merger(sources, ring.cursor)
        self._pacer = Pacer(self._clock, speed)
        self._rows = sum(source.rows for source in sources)
        self._records = np.zeros(BATCH, record_dtype)
        self._records["kind"] = Kind.MARKET
        self._records["strategy"] = UNOWNED
        self._records["length"] = market_record_dtype.fields["event"][0].itemsize
        self._events = self._records["payload"].view(market_record_dtype)["event"]
        self._bytes = self._records.view(np.uint8).reshape(BATCH, SLOT_BYTES)

    def _place(self) -> tuple[int, int]:
        return self._merger.position, self._rows

    def _send(self) -> None:
        self._say(FeedState.RUNNING)
        while not self._stopped and (next_ts := self._merger.next_ts) is not None:
            self._step(next_ts)
        if not self._stopped:
            # Beyond the last row nothing is merged; a source that broke off says so here.
            self._merger.read(1)

    def _step(self, next_ts: int) -> None:
        room = self._ring.capacity - len(self._ring)
        if room == 0:
            self._sleep(FULL_SLEEP_S)
            return
        horizon = self._pacer.horizon(next_ts)
        received = self._clock.now()
        items = self._merger.read(min(room, BATCH), None if horizon == END_OF_TIME else horizon)
        n = len(items)
        if n == 0:
            self._idle(next_ts, horizon)
            return
        self._records["flags"][:n] = items["flags"]
        self._records["instrument"][:n] = items["instrument"]
        self._records["ts"][:n] = items["ts"]
        self._records["step"][:n] = received
        self._events[:n] = items["event"]
        self._ring.push_many(self._bytes[:n], cursor=self._merger.position - n)
        self._last_ts = int(items["ts"][n - 1])
        self._last_sent = time.monotonic()

    def _idle(self, next_ts: int, horizon: int) -> None:
        """Nothing is due: tells the time now and then, and waits."""
        if time.monotonic() - self._last_sent >= HEARTBEAT_S:
            self._last_ts = max(self._last_ts, min(horizon, next_ts))
            self._say(FeedState.RUNNING)
        self._sleep(min(self._pacer.delay(next_ts) / 1e9, HEARTBEAT_S))


class Clockwork(Feed):
    """Says only what time it is, again and again, to an engine that has the market within itself.

    Args:
        ring: The feed ring; its cursor is the time that was told last.
        first_ts: When the market opens, nanoseconds since the epoch.
        seconds: Market seconds after which it ends; None never.
        speed: 1 is real time, 0 as fast as the ring takes it.
        wait_for_client: Whether the market waits for the engine's word.
        clock: What to pace against, and says when records were received.
        sleep: How to wait, for tests.
    """

    def __init__(
        self,
        ring: Ring,
        *,
        first_ts: int,
        seconds: float | None = None,
        speed: float = 1.0,
        wait_for_client: bool = False,
        clock: Clock | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        super().__init__(ring, wait_for_client=wait_for_client, clock=clock, sleep=sleep)
        self._pacer = Pacer(self._clock, speed)
        self._next_ts = max(first_ts, ring.cursor)
        self._end = END_OF_TIME if seconds is None else first_ts + int(seconds * 1e9)

    def _place(self) -> tuple[int, int]:
        return 0, 0

    def _send(self) -> None:
        while not self._stopped and self._last_ts < self._end:
            horizon = self._pacer.horizon(self._next_ts)
            if horizon < self._next_ts:
                self._sleep(self._pacer.delay(self._next_ts) / 1e9)
                continue
            # Late, it says the time that it is, and not all that it was.
            due = self._next_ts if horizon == END_OF_TIME else max(self._next_ts, horizon)
            self._last_ts = min(due, self._end)
            self._say(FeedState.RUNNING)
            self._ring.cursor = self._last_ts
            self._next_ts = self._last_ts + BEAT_NS


def of_run(config: DaemonConfig, run: RunDir, log: logging.Logger) -> Feed:
    """The feed of a daemon.

    Raises:
        DataError: A recording cannot be read.
    """
    from engine.runtime.sources import of_config

    ring = Ring.attach(run.ring_path("feed"), bell=Bell.named(run.bell_path("engine")))
    chosen = config.feed
    feed: Feed
    if chosen.kind == "market":
        feed = Clockwork(
            ring,
            first_ts=chosen.opens,
            seconds=chosen.seconds or None,
            speed=chosen.speed,
            wait_for_client=chosen.wait_for_client,
        )
    else:
        sources = of_config(config)
        feed = Feeder(sources, ring, speed=chosen.speed, wait_for_client=chosen.wait_for_client)
    signal.signal(signal.SIGTERM, lambda *_: feed.stop())
    if ring.cursor:
        log.info("going on after %d", ring.cursor)
    return feed
