"""The bridge beside the bare transport: round trips of an external strategy, and rates of publishing.

Run with ``python -m benchmarks.bench_bridge`` from the project's root. Round trip: a tick is put into the
engine's ring, published, decided on by a Python strategy in another process, its order comes through the
bridge's checks into the ring back, is acknowledged at once, and the clock stops when the strategy has the
acknowledgement. Beside it two processes pass frames of the same three sizes over the same kinds of sockets
(PUB to SUB, DEALER to ROUTER and back) with nothing around them, turn about in the same run. The engine's
end of the rings is a loop in Python that spins; bridge and strategy are processes of their own.

Publishing: trades in the engine's ring, until every reader has the last; readers only count. Beside it
pyzmq publishes ready frames of the same size to the same readers.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import zmq

if not __package__:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bridge import codec
from bridge import protocol as p
from bridge.client import connect
from engine.core.types import TRADE_EVENT
from engine.runtime.records import Kind, market_record_dtype, record_dtype
from tests.kit.fake_engine import BridgeProcess, FakeEngine, wait_until

SYMBOL = "BTCUSDT"
PATIENT = {"heartbeat_misses": 500}
TICK = codec.encode(p.Depth(1 << 60, 1000, SYMBOL, 1 << 60, 1 << 60, [(100.1, 1.0)], [(101.1, 2.0)]))
ORDER = codec.encode(p.Submit(1 << 50, SYMBOL, "buy", 100.1, 0.001, seq=1000))
ACK = bytes(270)
"""As long as an ``Execution``."""


def strategy(endpoint: str, pipe: Connection) -> None:
    """Answers each tick with an order; sends back when the acknowledgement came."""
    with connect(endpoint, role="trader", strategy_id="bench", symbols=[SYMBOL], **PATIENT) as client:
        began = 0

        def tick(topic: str, message: Any) -> None:
            nonlocal began
            if type(message) is p.Depth:
                began = message.exch_ts
                client.submit(SYMBOL, "buy", 100.1, 0.001)

        def acknowledged(execution: p.Execution) -> None:
            pipe.send_bytes((time.monotonic_ns() - began).to_bytes(8, "little"))

        client.on_message, client.on_execution = tick, acknowledged
        client.subscribe_depth(SYMBOL)
        wait_until(lambda: not client.stale(p.depth_topic(SYMBOL)))
        pipe.send_bytes(b"ready")
        pipe.recv_bytes()


def bare_peer(folder: str, pipe: Connection) -> None:
    """The strategy's end of the bare transport."""
    context = zmq.Context()
    ticks, orders = context.socket(zmq.SUB), context.socket(zmq.DEALER)
    ticks.subscribe(b"md.")
    ticks.connect(f"ipc://{folder}/bare-md")
    orders.connect(f"ipc://{folder}/bare-orders")
    orders.send(b"hello")
    while True:
        _, frame = ticks.recv_multipart()
        if not frame:
            break
        orders.send(ORDER)
        orders.recv()
        began = int.from_bytes(frame[:8], "little")
        pipe.send_bytes((time.monotonic_ns() - began).to_bytes(8, "little"))
    context.destroy(0)


def round_trips(rounds: int, each: int) -> dict[str, list[int]]:
    """Nanoseconds of each trip, of ours and of the bare ones, taken in turns of ``each``."""
    took: dict[str, list[int]] = {"bridge": [], "bare": []}
    with tempfile.TemporaryDirectory() as folder, FakeEngine(Path(folder) / "rings") as engine:
        endpoint = f"ipc://{folder}/s"
        bridge = BridgeProcess(engine, endpoint, **PATIENT)
        ours, theirs = multiprocessing.Pipe()
        child = multiprocessing.Process(target=strategy, args=(endpoint, theirs))
        child.start()
        context = zmq.Context()
        ticks, orders = context.socket(zmq.PUB), context.socket(zmq.ROUTER)
        ticks.bind(f"ipc://{folder}/bare-md")
        orders.bind(f"ipc://{folder}/bare-orders")
        here, there = multiprocessing.Pipe()
        peer = multiprocessing.Process(target=bare_peer, args=(folder, there))
        peer.start()
        identity = orders.recv_multipart()[0]
        ours.recv_bytes()
        time.sleep(0.3)
        for turn in range(rounds * each):
            if turn // each % 2 == 0:
                engine.now = time.monotonic_ns() - 1_000_000
                engine.depth(SYMBOL, [(100.1, 1.0 + turn % 7)], [(101.1, 2.0)])
                took["bridge"].append(int.from_bytes(ours.recv_bytes(), "little"))
            else:
                ticks.send_multipart(
                    (b"md.BTCUSDT.depth", time.monotonic_ns().to_bytes(8, "little") + TICK[8:])
                )
                orders.recv_multipart()
                orders.send_multipart((identity, ACK))
                took["bare"].append(int.from_bytes(here.recv_bytes(), "little"))
            time.sleep(0.001)
        ours.send_bytes(b"end")
        ticks.send_multipart((b"md.", b""))
        child.join()
        peer.join()
        bridge.kill()
        context.destroy(0)
    return took


def reader(endpoint: str, pipe: Connection) -> None:
    """Counts what comes until the last message; sends how many and when."""
    context = zmq.Context()
    socket = context.socket(zmq.SUB)
    socket.setsockopt(zmq.RCVHWM, 0)
    socket.subscribe(b"md.")
    socket.connect(endpoint)
    pipe.send_bytes(b"ready")
    count = 0
    while True:
        frames = socket.recv_multipart()
        if len(frames[1]) < 8:
            break
        count += 1
        if b"\xcb" + np.array(-1.0, ">f8").tobytes() in frames[1]:
            break
    pipe.send((count, time.monotonic()))
    context.destroy(0)


def publishing(messages: int, readers: int) -> dict[str, float]:
    """Messages a second to each of some readers, of the bridge and of bare pyzmq."""
    rates = {}
    with tempfile.TemporaryDirectory() as folder, FakeEngine(Path(folder) / "rings") as engine:
        bridge = BridgeProcess(engine, f"ipc://{folder}/s", **PATIENT)
        batch = np.zeros(512, record_dtype)
        batch["kind"], batch["length"] = Kind.TRADE, market_record_dtype.itemsize
        event = batch["payload"].view(market_record_dtype)["event"]
        event["ev"], event["px"], event["qty"] = TRADE_EVENT, 100.1, 0.5
        last = batch[:1].copy()
        last["payload"].view(market_record_dtype)["event"]["px"] = -1.0
        frame = codec.encode(p.Trade(1 << 60, 1 << 20, SYMBOL, 1 << 60, 1 << 60, "buy", 100.1, 0.5))
        final = codec.encode(p.Trade(1 << 60, 1 << 20, SYMBOL, 1 << 60, 1 << 60, "buy", -1.0, 0.5))
        context = zmq.Context()
        bare = context.socket(zmq.PUB)
        bare.setsockopt(zmq.SNDHWM, 0)
        bare.bind(f"ipc://{folder}/bare")
        for name, endpoint in (("bridge", f"ipc://{folder}/s/market.sock"), ("bare", f"ipc://{folder}/bare")):
            pipes = []
            for _ in range(readers):
                ours, theirs = multiprocessing.Pipe()
                multiprocessing.Process(target=reader, args=(endpoint, theirs), daemon=True).start()
                ours.recv_bytes()
                pipes.append(ours)
            time.sleep(0.5)
            began = time.monotonic()
            if name == "bridge":
                for _ in range(messages // len(batch)):
                    engine._push("market_out", batch)
                engine._push("market_out", last)
            else:
                for _ in range(messages // len(batch) * len(batch)):
                    bare.send_multipart((b"md.BTCUSDT.trade", frame))
                bare.send_multipart((b"md.BTCUSDT.trade", final))
            got = [pipe.recv() for pipe in pipes]
            rates[name] = min(count for count, _ in got) / (max(end for _, end in got) - began)
            rates[f"{name} received"] = min(count for count, _ in got) / (messages // 512 * 512 + 1)
        bridge.kill()
        context.destroy(0)
    return rates


def percentiles(values: list[int]) -> dict[str, float]:
    """Median and p99 in microseconds."""
    return {name: float(np.percentile(values, q)) / 1e3 for name, q in (("median", 50), ("p99", 99))}


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--trips", type=int, default=200, help="in a round")
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    took = round_trips(options.rounds, options.trips)
    spread = {name: percentiles(values) for name, values in took.items()}
    rates = {readers: publishing(options.messages, readers) for readers in (1, 10)}
    if options.json:
        print(json.dumps({"round trip": spread, "publishing": rates}))
        return
    for q in ("median", "p99"):
        ours, theirs = spread["bridge"][q], spread["bare"][q]
        print(f"round trip, {q}: bridge {ours:.0f} us, bare {theirs:.0f} us, {ours / theirs:.2f}x")
    for readers, one in rates.items():
        print(
            f"publishing to {readers}: bridge {one['bridge']:,.0f} messages/s ({one['bridge received']:.0%} "
            f"received), bare pyzmq {one['bare']:,.0f}"
        )


if __name__ == "__main__":
    main()
