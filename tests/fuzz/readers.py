"""Stops subscribers while a market is published, and looks whether anybody else notices.

A bridge publishes a book that changes all the time. Some subscribers are stopped (SIGSTOP) at the start;
another reads on and must miss nothing, without a single gap. Then the stopped ones go on, and the time is
taken until the book of one of them, a whole client, has the checksum of the book that was published.

    python -m tests.fuzz.readers --stopped 100 --rate 100000 --seconds 10
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import signal
import tempfile
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import zmq

from bridge import protocol as p
from bridge.client import Client, connect
from bridge.streams import Book
from tests.kit.fake_engine import BridgeProcess, FakeEngine, wait_until
from tests.kit.patience import PATIENT

SYMBOL = "BTCUSDT"
TOPIC = p.depth_topic(SYMBOL)
BURST = 64


@dataclass
class Result:
    """What a campaign has seen.

    Attributes:
        changes: Of the book; what the bridge cannot publish one by one it merges.
        published: Messages.
        rate: Messages a second, as they were published.
        heard: Messages that the healthy reader had.
        gaps: Gaps that it had to heal.
        healed_s: Seconds after going on until the stopped client's book was right.
    """

    changes: int
    published: int
    rate: float
    heard: int
    gaps: int
    healed_s: float


def _stopped(endpoint: str, count: int, pipe: Connection) -> None:
    """Subscribers that will be stopped: plain sockets, and one client that tells its book's checksum."""
    context = zmq.Context()
    sockets = [context.socket(zmq.SUB) for _ in range(count - 1)]
    for socket in sockets:
        socket.subscribe(TOPIC.encode())
        socket.connect(p.socket_endpoint(endpoint, "market"))
    with connect(endpoint, **PATIENT) as client:
        client.subscribe_depth(SYMBOL)
        wait_until(lambda: not client.book(SYMBOL).stale)
        pipe.send("ready")
        while pipe.recv() != "end":
            book = client.book(SYMBOL)
            pipe.send((book.seq, book.stale, book.checksum()))
    context.destroy(0)


def campaign(stopped: int, rate: int, seconds: float) -> Result:
    """Runs one campaign.

    Args:
        stopped: Subscribers that are stopped.
        rate: Messages a second that are published, if the bridge and the machine keep up.
        seconds: For how long.
    """
    with tempfile.TemporaryDirectory() as folder, FakeEngine(Path(folder) / "rings") as engine:
        endpoint = f"ipc://{folder}/s"
        bridge = BridgeProcess(engine, endpoint, **PATIENT)
        engine.depth(SYMBOL, [(100.0, 1.0)], [(101.0, 1.0)], snapshot=True)
        here, there = multiprocessing.get_context("spawn").Pipe()
        child = multiprocessing.get_context("spawn").Process(target=_stopped, args=(endpoint, stopped, there))
        child.start()
        heard: list[int] = []
        try:
            with Client(endpoint, **PATIENT) as client:
                client.on_message = lambda topic, message: (
                    heard.append(message.seq) if type(message) is p.Depth else None
                )
                client.subscribe_depth(SYMBOL)
                wait_until(lambda: not client.book(SYMBOL).stale)
                assert here.poll(60)
                assert here.recv() == "ready"
                os.kill(child.pid, signal.SIGSTOP)
                first, began, published = client.book(SYMBOL).seq, time.monotonic(), 0
                while published < rate * seconds:
                    for _ in range(BURST):
                        published += 1
                        px = 90.0 + published % 100 / 10
                        engine.depth(
                            SYMBOL, [(px, 1.0 + published % 17)], [(px + 20.0, 2.0 + published % 13)]
                        )
                    time.sleep(max(0.0, began + published / rate - time.monotonic()))
                took = time.monotonic() - began
                truth = Book(SYMBOL)
                truth.change(*(list(side.items()) for side in engine.books[0]))
                wait_until(lambda: client.book(SYMBOL).checksum() == truth.checksum(), 60)
                last = client.book(SYMBOL).seq
                os.kill(child.pid, signal.SIGCONT)
                woken = time.monotonic()

                def healed() -> bool:
                    here.send("book")
                    seq, stale, checksum = here.recv()
                    return seq >= last and not stale and checksum == truth.checksum()

                wait_until(healed, 60)
                healed_s = time.monotonic() - woken
                gaps = client._session.subscriptions.streams[TOPIC].heals
                here.send("end")
            assert heard == list(range(first + 1, last + 1)), "the healthy reader missed something"
        finally:
            os.kill(child.pid, signal.SIGCONT)
            child.join(10)
            child.kill()
            bridge.kill()
        return Result(published, last - first, (last - first) / took, len(heard), gaps, healed_s)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stopped", type=int, default=100)
    parser.add_argument("--rate", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=10.0)
    options = parser.parse_args()
    result = campaign(options.stopped, options.rate, options.seconds)
    print(
        f"{result.changes:,} changes in {result.published:,} messages, {result.rate:,.0f}/s, beside "
        f"{options.stopped} stopped subscribers: the healthy reader had {result.heard:,} with {result.gaps} "
        f"gaps; a stopped one was right again {result.healed_s:.2f} s after it went on"
    )


if __name__ == "__main__":
    main()
