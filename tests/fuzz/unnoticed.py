"""Whether a daemon's engine notices subscribers that are stopped.

A real daemon replays a market of so many trades a second, each of which is a message of its bridge, and
trades on it. Slices of time without any subscriber, and beside many that are stopped (SIGSTOP), follow each
other in a random order, and the engine's own step times are compared (tests/kit/quiet_engine).

    python -m tests.fuzz.unnoticed --stopped 100 --rate 100000 --rounds 20
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import zmq

from bridge import protocol as p
from engine.core.types import (
    BUY_EVENT,
    DEPTH_EVENT,
    EXCH_EVENT,
    LOCAL_EVENT,
    SELL_EVENT,
    TRADE_EVENT,
    event_dtype,
)
from tests.kit.daemons import Daemon, replay
from tests.kit.quiet_engine import Comparison, Timing, apart, compare, keep_feed_with_engine

TOPICS = (p.trade_topic("BTCUSDT"), p.depth_topic("BTCUSDT"))
SECONDS = 12.0
"""Of market; it is replayed again and again."""
CHANGE_NS = 1_000_000
"""Between two changes of the book."""
BID, ASK, TICK, LEVELS = 60_000.0, 60_000.5, 0.1, 20
LATENCY_NS = 1_000_000
FILL_S = 0.5
"""For which stopped subscribers fill up what the bridge keeps for them, before the slice."""


@dataclass
class Result:
    """What was seen: the comparison, and market events a second that the engine applied meanwhile."""

    engine: Comparison
    rate: float

    def text(self) -> str:
        """For people."""
        return f"{self.rate:,.0f} events/s; {self.engine.text()}"


def market(rate: int) -> np.ndarray:
    """Trades at the best prices, so many a second, and a level of the book that changes every millisecond."""
    rng = np.random.default_rng(1)
    trades = round(rate * SECONDS)
    books = round(SECONDS * 1e9) // CHANGE_NS
    rows = np.zeros(2 * LEVELS + trades + books, event_dtype)
    whole, traded, changed = np.split(rows, (2 * LEVELS, 2 * LEVELS + trades))
    whole["px"] = np.concatenate([BID - TICK * np.arange(LEVELS), ASK + TICK * np.arange(LEVELS)])
    whole["ev"] = DEPTH_EVENT | np.repeat((BUY_EVENT, SELL_EVENT), LEVELS)
    whole["qty"] = 5.0
    side = rng.integers(0, 2, trades)
    traded["ev"] = TRADE_EVENT | np.where(side, BUY_EVENT, SELL_EVENT)
    traded["px"], traded["qty"] = np.where(side, ASK, BID), 0.001
    traded["exch_ts"] = (np.arange(trades) + 1) * (10**9 // rate)
    place = rng.integers(0, 2 * LEVELS, books)
    changed["ev"], changed["px"] = whole["ev"][place], whole["px"][place]
    changed["qty"], changed["exch_ts"] = rng.integers(1, 10, books), (np.arange(books) + 1) * CHANGE_NS
    rows["ev"] |= EXCH_EVENT | LOCAL_EVENT
    rows = rows[np.argsort(rows["exch_ts"], kind="stable")]
    rows["exch_ts"] += 1_700_000_000_000_000_000
    rows["local_ts"] = rows["exch_ts"] + LATENCY_NS
    return rows


def _subscribers(endpoint: str, count: int, pipe: Connection) -> None:
    context = zmq.Context()
    context.set(zmq.MAX_SOCKETS, 4 * count + 64)
    for _ in range(count):
        socket = context.socket(zmq.SUB)
        for topic in TOPICS:
            socket.subscribe(topic.encode())
        socket.connect(p.socket_endpoint(endpoint, "market"))
        assert socket.poll(20_000), "nothing is published"
    pipe.send("ready")
    pipe.recv()


@contextmanager
def stopped(endpoint: str, count: int) -> Iterator[Callable[[float], None]]:
    """So many subscribers that were heard and are stopped; gone afterwards."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    child = context.Process(target=_subscribers, args=(endpoint, count, there))
    child.start()
    try:
        assert here.poll(60)
        here.recv()
        assert child.pid is not None
        os.kill(child.pid, signal.SIGSTOP)
        time.sleep(FILL_S)
        yield time.sleep
    finally:
        child.kill()
        child.join()


def campaign(directory: Path, count: int, rate: int, timing: Timing, seed: int = 1) -> Result:
    """Runs one campaign.

    Args:
        directory: For the daemon.
        count: Subscribers that are stopped.
        rate: Trades a second.
        timing: Of the slices.
        seed: Of their order.
    """
    data = directory / "market.npz"
    np.savez(data, data=market(rate))
    with apart() as pinned:
        daemon = Daemon(directory, replay(data, speed=1, loop=0, more=pinned))
        base = daemon.start()["endpoint"]
        try:
            if pinned:
                keep_feed_with_engine(daemon)
            began, before = time.monotonic(), daemon.status()["engine"]["events"]
            engine = compare(daemon, lambda: stopped(base, count), timing, q=99.9, rng=random.Random(seed))
            events = daemon.status()["engine"]["events"] - before
            return Result(engine, events / (time.monotonic() - began))
        finally:
            daemon.end()


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stopped", type=int, default=100)
    parser.add_argument("--rate", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=20, help="four slices each")
    parser.add_argument("--slice", type=float, default=2.0, help="seconds")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        timing = Timing(options.rounds, options.slice)
        print(campaign(Path(directory), options.stopped, options.rate, timing).text())


if __name__ == "__main__":
    main()
