"""A tick out and an order back between two processes: lanes of shared memory, iceoryx2 and bare pyzmq.

Run with ``python -m benchmarks.bench_lane`` from the project's root; it needs ``iceoryx2`` from PyPI. An
operation is a round trip: a depth update of ten levels is encoded, carried, decoded, and answered by an
order that is encoded, carried and decoded, by the bridge's own codec in all three. Ours goes through the
classes that the bridge and its clients use, waking included; iceoryx2's ends spin. Prints medians and p99 of
round trips, and medians of the rounds' ratios.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import logging
import os
import select
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

if not __package__:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import zmq

from bridge import codec
from bridge import protocol as p
from bridge.lane import SPIN_NS, Lane
from bridge.lanes import Lanes
from engine.core.ring import Bell
from engine.core.sleeper import Lookout, Sleeper

LEVELS = [(42_000.0 - 0.1 * i, 0.5 + i) for i in range(10)]
TICK = p.Depth(1, 7, "BTCUSDT", 1_700_000_000_000_000_000, 1_700_000_000_000_000_000, LEVELS, LEVELS)
TOPIC = b"md.BTCUSDT.depth"
WARM_UP = 200


def answer(frames: list[bytes]) -> bytes:
    """What a strategy does with a tick."""
    _, tick = codec.decode_stream(frames)
    return codec.encode(p.Submit(tick.seq, tick.symbol, "buy", tick.bids[0][0], 0.001, "limit", "GTX"))


Trip = Callable[[bytes], bytes]


def timed(trip: Trip, n: int) -> list[int]:
    """Nanoseconds of round trips."""
    out = []
    for number in range(n + WARM_UP):
        start = time.perf_counter_ns()
        order = codec.decode_client((trip(codec.encode(TICK)),))
        spent = time.perf_counter_ns() - start
        if order.client_order_id != TICK.seq:
            raise AssertionError("another order came back")
        if number >= WARM_UP:
            out.append(spent)
    return out


@contextmanager
def peer(serve: Callable[[], None]) -> Iterator[None]:
    """Runs the strategy's end in a process of its own."""
    pid = os.fork()
    if pid == 0:
        try:
            serve()
        finally:
            os._exit(0)
    try:
        yield
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)


def by_lane(n: int) -> list[int]:
    """Round trips through a lane."""
    with tempfile.TemporaryDirectory() as directory:
        subscribed: list[str] = []
        epoll = select.epoll()
        lanes = Lanes(
            f"ipc://{directory}",
            lambda prefix, on: subscribed.append(prefix),
            lambda bell: epoll.register(bell, select.EPOLLIN),
            logging.getLogger(),
        )
        epoll.register(lanes.fileno(), select.EPOLLIN)
        sleeper = Sleeper(epoll.fileno(), Bell(), Lookout(SPIN_NS))
        orders: list[bytes] = []

        def turn() -> None:
            if sleeper.sleep((), 0, lanes.rings, lanes.bells, 1.0, lanes.was_busy()):
                lanes.look()
            lanes.receive(lambda identity, frame: orders.append(frame))

        def trip(frame: bytes) -> bytes:
            lanes.publish(TOPIC, frame)
            while not orders:
                turn()
            return orders.pop()

        with peer(lambda: follow(f"{directory}/lane.sock")):
            while not subscribed:
                turn()
            try:
                return timed(trip, n)
            finally:
                lanes.close()


def follow(path: str) -> None:
    """A client of a lane: waits as the bridge's client does."""
    lane = Lane(path)
    orders, market = lane.ends["orders"], lane.ends["market"]
    market.setsockopt(zmq.SUBSCRIBE, b"md.")
    poll = select.poll()
    poll.register(lane.fd, select.POLLIN)
    while True:
        idle = lane.arm()
        poll.poll(1000 if idle else 0)
        if not lane.disarm():
            return
        try:
            while True:
                orders.send(answer(market.recv_multipart()))
        except zmq.Again:
            pass


def by_iceoryx(n: int) -> list[int]:
    """Round trips through iceoryx2, whose ends spin."""
    import iceoryx2 as iox

    iox.set_log_level(iox.LogLevel.Fatal)
    name = f"ringbook/{os.getpid()}/{time.time_ns()}"

    def ends(publishes: str, subscribes: str) -> tuple[Any, Any]:
        node = iox.NodeBuilder.new().create(iox.ServiceType.Ipc)
        services = [
            node.service_builder(iox.ServiceName.new(f"{name}/{direction}"))
            .publish_subscribe(iox.Slice[ctypes.c_uint8])
            .open_or_create()
            for direction in (publishes, subscribes)
        ]
        publisher = services[0].publisher_builder().initial_max_slice_len(4096).create()
        return publisher, (services[1].subscriber_builder().create(), node)

    def send(publisher: Any, frame: bytes) -> None:
        sample = publisher.loan_slice_uninit(len(frame))
        ctypes.memmove(sample.payload_ptr, frame, len(frame))
        sample.assume_init().send()

    def receive(subscriber: Any) -> bytes:
        while (sample := subscriber.receive()) is None:
            pass
        return ctypes.string_at(sample.payload_ptr, sample.payload().len())

    def serve() -> None:
        publisher, (subscriber, _node) = ends("orders", "ticks")
        while True:
            send(publisher, answer([TOPIC, receive(subscriber)]))

    with peer(serve):
        publisher, (subscriber, _node) = ends("ticks", "orders")
        time.sleep(0.5)

        def trip(frame: bytes) -> bytes:
            send(publisher, frame)
            return receive(subscriber)

        return timed(trip, n)


def by_pyzmq(n: int) -> list[int]:
    """Round trips through a pair of sockets over ipc."""
    with tempfile.TemporaryDirectory() as directory:
        endpoint = f"ipc://{directory}/pair"

        def serve() -> None:
            socket = zmq.Context().socket(zmq.PAIR)
            socket.connect(endpoint)
            while True:
                socket.send(answer([TOPIC, socket.recv()]))

        with peer(serve):
            context = zmq.Context()
            socket = context.socket(zmq.PAIR)
            socket.bind(endpoint)

            def trip(frame: bytes) -> bytes:
                socket.send(frame)
                return socket.recv()

            try:
                return timed(trip, n)
            finally:
                context.destroy(0)


CONTENDERS = {"lane": by_lane, "iceoryx2": by_iceoryx, "pyzmq": by_pyzmq}


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--trips", type=int, default=5000, help="of a round (default 5000)")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    args = parser.parse_args()
    p50: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    p99: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    for _ in range(args.rounds):
        for name, run in CONTENDERS.items():
            spent = sorted(run(args.trips))
            p50[name].append(spent[len(spent) // 2] / 1e3)
            p99[name].append(spent[len(spent) * 99 // 100] / 1e3)

    def ratio(of: dict[str, list[float]], name: str) -> float:
        return round(statistics.median(a / b for a, b in zip(of[name], of["lane"], strict=True)), 2)

    found = {
        name: {
            "p50_us": round(statistics.median(p50[name]), 2),
            "p99_us": round(statistics.median(p99[name]), 2),
            "ratio_p50": ratio(p50, name),
            "ratio_p99": ratio(p99, name),
        }
        for name in CONTENDERS
    }
    if args.json:
        print(json.dumps(found))
        return
    print(f"{'transport':10} {'p50, us':>9} {'p99, us':>9} {'times a lane':>13} {'at p99':>7}")
    for name, row in found.items():
        ratios = f"{row['ratio_p50']:13.2f} {row['ratio_p99']:7.2f}"
        print(f"{name:10} {row['p50_us']:9.2f} {row['p99_us']:9.2f} {ratios}")


if __name__ == "__main__":
    main()
