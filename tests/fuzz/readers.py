"""Stops subscribers while a market is published, and looks whether anybody else notices.

A bridge publishes a book that changes all the time, paced, from prepared records. Some subscribers are
stopped (SIGSTOP) all the while: plain sockets, and whole clients, a process each. Another client, a process
too, reads on and must have every message, without a single gap. In the second half the stopped clients go on,
one after the other, with the market going on as well, and the time is taken until the book of each is right
again: as new as the market was when it went on, not stale, and with the checksum of the book published then.

    python -m tests.fuzz.readers --stopped 100 --rate 100000 --seconds 10
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
import zmq

from bridge import protocol as p
from bridge.books import Book
from bridge.client import Client, connect
from engine.runtime.records import Flag, Kind, depth_record_dtype, record_dtype
from engine.runtime.rundir import RING_SLOTS
from tests.kit.fake_engine import BridgeProcess, FakeEngine, wait_until
from tests.kit.patience import PATIENT

SYMBOL = "BTCUSDT"
TOPIC = p.depth_topic(SYMBOL)
BURST = 100
CLIENTS = 5
"""Of the stopped ones, so many are whole clients."""
LEVELS, BID_QTYS, ASK_QTYS = 100, 17, 13
PERIOD = LEVELS * BID_QTYS * ASK_QTYS
"""Changes after which they begin again."""
STEP_NS = 1_000


@dataclass
class Heard:
    """What a healthy client has had, how many messages it has not, and what it had to heal."""

    first: int = 0
    last: int = 0
    messages: int = 0
    missing: int = 0
    conflated: int = 0
    gaps: int = 0
    mismatches: int = 0
    exch_ts: int = 0
    at: float = 0.0

    def take(self, topic: str, message: Any) -> None:
        """Takes a message of the stream."""
        if type(message) is p.Depth:
            if not self.messages:
                self.first = self.last = message.seq - 1
            self.missing += message.seq - self.last - 1
            self.last = message.seq
            self.messages += 1
            self.conflated += message.conflated
            self.exch_ts = message.exch_ts


@dataclass
class Result:
    """What a campaign has seen.

    Attributes:
        changes: Of the book; what the bridge cannot publish one by one it merges.
        rate: Changes a second, as they were made.
        heard: What the healthy client had.
        behind_s: Seconds after the last change until it had that.
        healed_s: Seconds after going on until each stopped client's book was right.
        wrong: Stopped clients whose book was another than the one published.
    """

    changes: int
    rate: float
    heard: Heard
    behind_s: float
    healed_s: list[float]
    wrong: int

    @property
    def well(self) -> bool:
        """Whether nobody has lost anything for good."""
        return not (self.heard.missing or self.heard.gaps or self.heard.mismatches or self.wrong)

    def text(self, stopped: int) -> str:
        """For people."""
        heard = self.heard
        healed = ", ".join(f"{one:.2f}" for one in self.healed_s)
        return (
            f"{self.changes:,} changes, {self.rate:,.0f}/s, in {heard.messages:,} messages "
            f"({heard.conflated:,} of several changes) beside {stopped} stopped subscribers: "
            f"the healthy client missed {heard.missing}, with {heard.gaps} gaps and {heard.mismatches} wrong "
            f"checksums, and had the last after {self.behind_s:.3f} s; stopped ones were right again after "
            f"{healed} s, {self.wrong} wrong"
        )


def changes() -> np.ndarray:
    """A period of changes as records of the engine: a level of each side in each."""
    number = np.arange(PERIOD)
    records = np.zeros(PERIOD, record_dtype)
    records["kind"], records["length"], records["flags"] = Kind.DEPTH, depth_record_dtype.itemsize, Flag.LAST
    rows = records["payload"].view(depth_record_dtype).reshape(PERIOD)
    rows["n_bids"] = rows["n_asks"] = 1
    px = 90.0 + number % LEVELS / 10
    rows["levels"]["px"][:, 0], rows["levels"]["qty"][:, 0] = px, 1.0 + number % BID_QTYS
    rows["levels"]["px"][:, 1], rows["levels"]["qty"][:, 1] = px + 20.0, 2.0 + number % ASK_QTYS
    return records


class Market:
    """Pushes the changes as the engine does, each with its number as its exchange time.

    Args:
        engine: Whose rings.
    """

    def __init__(self, engine: FakeEngine) -> None:
        self._engine, self._records = engine, changes()
        self._begin = engine.now
        self.made = 0
        engine.depth(SYMBOL, [(80.0, 1.0)], [(130.0, 1.0)], snapshot=True)

    @property
    def exch_ts(self) -> int:
        """Of the last change."""
        return self._begin + self.made * STEP_NS

    def change(self, count: int) -> None:
        """Makes changes."""
        number = np.arange(self.made, self.made + count)
        records = self._records[number % PERIOD]
        records["ts"] = exch_ts = self._begin + (number + 1) * STEP_NS
        records["payload"].view(depth_record_dtype).reshape(count)["exch_ts"] = exch_ts
        self._engine._push("market_out", records)
        self.made += count

    def book(self, exch_ts: int) -> Book:
        """The book as it was at a time: of each level, the last change."""
        book, made = Book(SYMBOL), (exch_ts - self._begin) // STEP_NS
        book.change([(80.0, 1.0)], [(130.0, 1.0)])
        for number in range(max(0, made - LEVELS), made):
            px = 90.0 + number % LEVELS / 10
            book.change([(px, 1.0 + number % BID_QTYS)], [(px + 20.0, 2.0 + number % ASK_QTYS)])
        return book


def _sockets(endpoint: str, count: int, pipe: Connection) -> None:
    """Subscribers that will be stopped: plain sockets."""
    context = zmq.Context()
    for _ in range(count):
        socket = context.socket(zmq.SUB)
        socket.subscribe(TOPIC.encode())
        socket.connect(p.socket_endpoint(endpoint, "market"))
        assert socket.poll(20_000), "nothing is published"
    pipe.send("ready")
    pipe.recv()
    context.destroy(0)


def _client(endpoint: str, pipe: Connection) -> None:
    """A client that will be stopped, and tells when its book is right again."""
    with connect(endpoint, **PATIENT) as client:
        client.subscribe_depth(SYMBOL)
        wait_until(lambda: not client.book(SYMBOL).stale)
        pipe.send("ready")
        wanted = pipe.recv()
        while (book := client.book(SYMBOL)).stale or book.exch_ts < wanted:
            time.sleep(0.002)
        pipe.send((time.monotonic(), book.exch_ts, book.checksum()))
        pipe.recv()


def _healthy(endpoint: str, pipe: Connection) -> None:
    """A client that reads on; tells what it had once it has everything up to a time."""
    heard = Heard()
    with Client(endpoint, **PATIENT) as client:
        client.on_message = heard.take
        client.subscribe_depth(SYMBOL)
        wait_until(lambda: not client.book(SYMBOL).stale)
        pipe.send("ready")
        wanted = pipe.recv()
        wait_until(lambda: heard.exch_ts >= wanted, 60)
        heard.at = time.monotonic()
        subscriptions = client._session.subscriptions
        heard.gaps, heard.mismatches = subscriptions.streams[TOPIC].heals, subscriptions.mismatches
        pipe.send(heard)


class Reader:
    """A process of its own.

    Args:
        target: What runs there, with a pipe as its last argument.
        arguments: Those before it.
    """

    def __init__(self, target: Any, *arguments: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, there = context.Pipe()
        self.process: BaseProcess = context.Process(target=target, args=(*arguments, there))
        self.process.start()
        self.woken = 0.0

    def ready(self) -> None:
        """Waits until it reads."""
        assert self.pipe.poll(60)
        assert self.pipe.recv() == "ready"

    def signal(self, number: int) -> None:
        """Sends a signal."""
        assert self.process.pid is not None
        os.kill(self.process.pid, number)

    def go_on(self, wanted: int) -> None:
        """Ends a stop; the client has to get to a time."""
        self.pipe.send(wanted)
        self.signal(signal.SIGCONT)
        self.woken = time.monotonic()

    def end(self) -> None:
        """Ends it in any case."""
        self.process.kill()
        self.process.join()
        self.pipe.close()


class Stopped:
    """The stopped clients, which go on one after the other.

    Args:
        market: What they have to know.
        readers: The clients.
        begin: How many changes before the first goes on.
        every: And how many from one to the next at least.
    """

    def __init__(self, market: Market, readers: list[Reader], begin: int, every: int) -> None:
        self._market, self._left, self._due, self._every = market, list(readers), begin, every
        self._going: Reader | None = None
        self.healed_s: list[float] = []
        self.wrong = 0

    @property
    def done(self) -> bool:
        """Whether all have gone on and are right, or have been found to be wrong."""
        return self._going is None and not self._left

    def look(self) -> None:
        """Takes note of who is right again, and has the next one go on."""
        going = self._going
        if going is not None and going.pipe.poll():
            at, exch_ts, checksum = going.pipe.recv()
            self.healed_s.append(at - going.woken)
            self.wrong += checksum != self._market.book(exch_ts).checksum()
            going.end()
            self._going = None
        if self._going is None and self._left and self._market.made >= self._due:
            self._due = self._market.made + self._every
            self._going = self._left.pop()
            self._going.go_on(self._market.exch_ts)


@contextmanager
def _readers(
    endpoint: str, market: Market, stopped: int, clients: int
) -> Iterator[tuple[Reader, list[Reader]]]:
    """The healthy one, and the clients among those that are stopped."""
    others: list[Reader] = []
    healthy = Reader(_healthy, endpoint)
    try:
        others += [Reader(_client, endpoint) for _ in range(clients)]
        sockets = Reader(_sockets, endpoint, stopped - clients)
        others.append(sockets)
        for reader in (healthy, *others):
            while not reader.pipe.poll(0.02):
                # Plain sockets know that they are connected by what they hear.
                market.change(1)
            reader.ready()
        for reader in others:
            reader.signal(signal.SIGSTOP)
        yield healthy, others[:-1]
    finally:
        for reader in (healthy, *others):
            reader.end()


def campaign(stopped: int, rate: int, seconds: float, clients: int = CLIENTS) -> Result:
    """Runs one campaign.

    Args:
        stopped: Subscribers that are stopped.
        rate: Changes a second.
        seconds: For how long.
        clients: How many of those stopped are whole clients.
    """
    with (
        tempfile.TemporaryDirectory() as folder,
        FakeEngine(Path(folder) / "rings", slots=RING_SLOTS["market_out"]) as engine,
    ):
        endpoint = f"ipc://{folder}/s"
        bridge = BridgeProcess(engine, endpoint, **PATIENT)
        market = Market(engine)
        try:
            with _readers(endpoint, market, stopped, clients) as (healthy, others):
                before, began = market.made, time.monotonic()
                total = round(rate * seconds)
                waiting = Stopped(market, others, before + total // 2, total // (2 * max(1, clients)))
                deadline = began + seconds + 60
                while market.made < before + total or not waiting.done:
                    assert time.monotonic() < deadline, f"after {waiting.healed_s} no stopped client got well"
                    market.change(BURST)
                    waiting.look()
                    time.sleep(max(0.0, began + (market.made - before) / rate - time.monotonic()))
                ended = time.monotonic()
                healthy.pipe.send(market.exch_ts)
                assert healthy.pipe.poll(60), "the healthy client does not get to the end"
                heard: Heard = healthy.pipe.recv()
        finally:
            bridge.kill()
    made = market.made - before
    return Result(made, made / (ended - began), heard, heard.at - ended, waiting.healed_s, waiting.wrong)


def main() -> int:
    """The command; 1 if somebody has lost something."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stopped", type=int, default=100)
    parser.add_argument("--rate", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=10.0)
    options = parser.parse_args()
    result = campaign(options.stopped, options.rate, options.seconds)
    print(result.text(options.stopped))
    return 0 if result.well else 1


if __name__ == "__main__":
    raise SystemExit(main())
