"""The bridge beside the bare transport: round trips of an external strategy, and rates of publishing.

Run with ``python -m benchmarks.bench_bridge`` from the project's root. Round trip: a tick is put into the
engine's ring, published, decided on by a Python strategy in another process, its order comes through the
bridge's checks into the ring back, is acknowledged at once, and the clock stops when the strategy has the
acknowledgement. Two strategies connect to the same ``ipc://`` endpoint of the same bridge: one as it is, and
so over a lane of shared memory, one with ``lane=False`` over the sockets. Beside them two processes pass
frames of the same three sizes over the same kinds of sockets (PUB to SUB, DEALER to ROUTER and back) with
nothing around them, all three turn about in the same run. The engine's end of the rings
(``peers/prompt.pyx``, built here) sleeps on its bell and answers with a prepared record, in compiled code as
the engine does.

Publishing: trades in the engine's ring, until every reader has the last. What waits together in a topic is
published together, up to 32 messages in a frame; a message counts once a reader has decoded it and found that
its number is the next. Beside it pyzmq publishes ready frames of the same size, one by one, to as many
readers, which do nothing but count.
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

from benchmarks.bench_strategy import build
from bridge import codec
from bridge import protocol as p
from bridge.client import connect
from engine.core.types import TRADE_EVENT, Status
from engine.runtime.records import (
    Flag,
    Kind,
    depth_record_dtype,
    market_record_dtype,
    order_record_dtype,
    record_dtype,
)
from tests.kit.fake_engine import BridgeProcess, FakeEngine, wait_until

SYMBOL = "BTCUSDT"
PATIENT = {"heartbeat_misses": 500}
TICK = codec.encode(p.Depth(1 << 60, 1000, SYMBOL, 1 << 60, 1 << 60, [(100.1, 1.0)], [(101.1, 2.0)]))
ORDER = codec.encode(p.Submit(1 << 50, SYMBOL, "buy", 100.1, 0.01, seq=1000))
ACK = bytes(270)
"""As long as an ``Execution``."""
FINAL = codec.encode(p.Trade(1 << 60, 1 << 20, SYMBOL, 1 << 60, 1 << 60, "buy", -1.0, 0.5))
SYMBOLS = {"lane": SYMBOL, "sockets": "ETHUSDT"}


def _place(dtype: np.dtype, *path: str) -> slice:
    """Where a field of a field lies in a record's bytes."""
    at = 0
    for name in path:
        dtype, offset = dtype.fields[name][:2]  # type: ignore[index]
        at += offset
    return slice(at, at + dtype.itemsize)


_PAYLOAD = _place(record_dtype, "payload").start
_EXCH_TS = _place(depth_record_dtype, "exch_ts")
_TICK_TIME = slice(_PAYLOAD + _EXCH_TS.start, _PAYLOAD + _EXCH_TS.stop)


class PromptEngine(FakeEngine):
    """Acknowledges orders in compiled code, as the engine does; all else as its base does."""

    acknowledgement = b""

    def prepare(self) -> None:
        """From here on orders are acknowledged promptly; they are not kept."""
        record, row = self._record(Kind.ORDER, order_record_dtype)
        order = row["order"]
        order["side"], order["qty"], order["leaves_qty"], order["price_tick"] = 1, 1, 1, 1001
        order["order_id"], order["status"] = 1, Status.NEW
        row["px"], row["qty"], row["leaves_qty"] = 100.1, 0.01, 0.01
        self.acknowledgement = record.tobytes()

    def tick(self, symbol: str) -> None:
        """A depth update of two levels, with the time of now."""
        number = self.number(symbol)
        record, row = self._record(Kind.DEPTH, depth_record_dtype, number)
        record["flags"] = Flag.LAST
        row["n_bids"], row["n_asks"] = 1, 1
        row["levels"][0, 0], row["levels"][0, 1] = (100.1, 1.0), (101.1, 2.0)
        data = bytearray(record.tobytes())
        data[_TICK_TIME] = time.monotonic_ns().to_bytes(8, "little")
        self.rings["market_out"].push(data)

    def _run(self) -> None:
        import prompt

        orders, control = self.rings["orders_in"], self.rings["control_in"]
        while not self._stop:
            if self.acknowledgement:
                answer = self.acknowledgement
                prompt.answer(self.bell, orders, control, self.rings["orders_out"], answer, 20_000_000)
            else:
                self.bell.wait([orders, control], 20_000_000)
            with self._lock:
                for name in ("control_in", "orders_in"):
                    for record in self.rings[name].pop_many().view(record_dtype).reshape(-1):
                        self._take(name, record)


def strategy(endpoint: str, symbol: str, lane: bool, pipe: Connection) -> None:
    """Answers each tick with an order; sends back when the acknowledgement came."""
    options = {"role": "trader", "strategy_id": symbol, "symbols": [symbol], "lane": lane}
    with connect(endpoint, **options, **PATIENT) as client:
        began = 0

        def tick(topic: str, message: Any) -> None:
            nonlocal began
            if type(message) is p.Depth:
                began = message.exch_ts
                client.submit(symbol, "buy", 100.1, 0.01)

        def acknowledged(execution: p.Execution) -> None:
            pipe.send_bytes((time.monotonic_ns() - began).to_bytes(8, "little"))

        client.on_message, client.on_execution = tick, acknowledged
        client.subscribe_depth(symbol)
        wait_until(lambda: not client.stale(p.depth_topic(symbol)))
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
    """Nanoseconds of each trip over a lane, over sockets and of the bare ones, taken in turns of ``each``."""
    took: dict[str, list[int]] = {"lane": [], "sockets": [], "bare": []}
    with tempfile.TemporaryDirectory() as folder, PromptEngine(Path(folder) / "rings") as engine:
        endpoint = f"ipc://{folder}/s"
        bridge = BridgeProcess(engine, endpoint, **PATIENT)
        ours = {}
        for name, symbol in SYMBOLS.items():
            ours[name], theirs = multiprocessing.Pipe()
            arguments = (endpoint, symbol, name == "lane", theirs)
            multiprocessing.Process(target=strategy, args=arguments, daemon=True).start()
        context = zmq.Context()
        ticks, orders = context.socket(zmq.PUB), context.socket(zmq.ROUTER)
        ticks.bind(f"ipc://{folder}/bare-md")
        orders.bind(f"ipc://{folder}/bare-orders")
        here, there = multiprocessing.Pipe()
        multiprocessing.Process(target=bare_peer, args=(folder, there), daemon=True).start()
        identity = orders.recv_multipart()[0]
        for pipe in ours.values():
            pipe.recv_bytes()
        engine.prepare()
        time.sleep(0.3)
        for turn in range(rounds * 3):
            name = list(took)[turn % 3]
            for _ in range(each):
                if name == "bare":
                    ticks.send_multipart(
                        (b"md.BTCUSDT.depth", time.monotonic_ns().to_bytes(8, "little") + TICK[8:])
                    )
                    orders.recv_multipart()
                    orders.send_multipart((identity, ACK))
                else:
                    engine.tick(SYMBOLS[name])
                pipe = here if name == "bare" else ours[name]
                took[name].append(int.from_bytes(pipe.recv_bytes(), "little"))
                time.sleep(0.001)
        for pipe in ours.values():
            pipe.send_bytes(b"end")
        ticks.send_multipart((b"md.", b""))
        for child in multiprocessing.active_children():
            child.join()
        bridge.kill()
        context.destroy(0)
    return took


def reader(endpoint: str, pipe: Connection, decode: bool) -> None:
    """Counts what comes until the last message; sends how many and when.

    Args:
        endpoint: A PUB or XPUB socket.
        pipe: Where to.
        decode: Whether to decode every message and look at its number, as a reader of the bridge must.
    """
    context = zmq.Context()
    socket = context.socket(zmq.SUB)
    socket.setsockopt(zmq.RCVHWM, 0)
    socket.subscribe(b"md.")
    socket.connect(endpoint)
    pipe.send_bytes(b"ready")
    count, seq, done = 0, 0, False
    while not done:
        frames = socket.recv_multipart()
        if not decode:
            count += 1
            done = frames[1] == FINAL
            continue
        _, message = codec.decode_stream(frames)
        for one in message.messages if type(message) is p.Messages else (message,):
            if type(one) is not p.Trade:
                continue
            if one.seq == seq + 1 or not seq:
                count += 1
            seq = one.seq
            done |= one.px == -1.0
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
        context = zmq.Context()
        bare = context.socket(zmq.PUB)
        bare.setsockopt(zmq.SNDHWM, 0)
        bare.bind(f"ipc://{folder}/bare")
        for name, endpoint in (("bridge", f"ipc://{folder}/s/market.sock"), ("bare", f"ipc://{folder}/bare")):
            pipes = []
            for _ in range(readers):
                ours, theirs = multiprocessing.Pipe()
                arguments = (endpoint, theirs, name == "bridge")
                multiprocessing.Process(target=reader, args=arguments, daemon=True).start()
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
                bare.send_multipart((b"md.BTCUSDT.trade", FINAL))
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
    build("prompt")
    took = round_trips(options.rounds, options.trips)
    spread = {name: percentiles(values) for name, values in took.items()}
    rates = {readers: publishing(options.messages, readers) for readers in (1, 10)}
    if options.json:
        print(json.dumps({"round trip": spread, "publishing": rates}))
        return
    for q in ("median", "p99"):
        bare = spread["bare"][q]
        lane, sockets = spread["lane"][q], spread["sockets"][q]
        print(
            f"round trip, {q}: ipc {lane:.0f} us ({lane / bare:.2f}x), its sockets alone {sockets:.0f} us "
            f"({sockets / bare:.2f}x), bare {bare:.0f} us"
        )
    for readers, one in rates.items():
        print(
            f"publishing to {readers}: bridge {one['bridge']:,.0f} messages/s ({one['bridge received']:.0%} "
            f"received), bare pyzmq {one['bare']:,.0f}"
        )


if __name__ == "__main__":
    main()
