"""Kill speed: from the command in the engine's ring until the last cancel is with the venue.

Run with ``python -m benchmarks.bench_kill`` from the project's root. The engine loop of a daemon, in this
process and over rings of a daemon's sizes, holds 10,000 open orders of an external trader; every other ring
is full, in and out: the feed, order requests, orders and answers to the bridge, market data, telemetry. Then
the kill command comes. The clock stops when the turn of the loop that applied it is over, so that telling of
20,000 changes, to rings that drop them, is in the figure as well. A step that is under way when the command
comes goes first; it is 256 order requests and 256 feed records at most, and is measured on its own.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

if not __package__:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from engine.backtest.config import AssetConfig
from engine.core.ring import Bell, Ring
from engine.core.types import Side, Status
from engine.runtime.config import DaemonConfig, EngineSection, FeedSection
from engine.runtime.engine import EngineLoop, make_kernel
from engine.runtime.publish import Publisher
from engine.runtime.records import (
    SLOT_BYTES,
    FeedState,
    Kind,
    blob_records,
    feed_status_record_dtype,
    market_record_dtype,
    order_record_dtype,
    record_dtype,
)
from engine.runtime.rundir import RING_SLOTS

GOAL_MS = 10.0
OUTGOING = ("orders_out", "market_out", "telemetry_out", "control_out")
CHUNK = 4096


class Engine:
    """An engine loop with both ends of its rings.

    Args:
        orders: How many orders it is to hold.
        symbols: In how many instruments.
    """

    def __init__(self, orders: int, symbols: int) -> None:
        self.orders, self.symbols = orders, symbols
        config = DaemonConfig(
            engine=EngineSection(max_orders=orders + 1024, depth_interval_us=0),
            feed=FeedSection(kind="simulated"),
            instruments=[AssetConfig(symbol=f"S{i}", tick_size=0.1, lot_size=0.001) for i in range(symbols)],
        )
        self.rings = {name: Ring(slots, SLOT_BYTES) for name, slots in RING_SLOTS.items()}
        self.kernel = make_kernel(config)
        out = Publisher(self.kernel, *(self.rings[name] for name in OUTGOING), depth_interval_us=0)
        inputs = (self.rings[name] for name in ("feed", "orders_in", "control_in"))
        log = logging.getLogger("bench")
        log.addHandler(logging.NullHandler())
        self.loop = EngineLoop(config, self.kernel, out, *inputs, Bell(), log)
        self.now = 1_000_000_000
        self._number = self._order = 0
        self.time(FeedState.RUNNING)
        self.market(symbols)
        self.command("register", strategy_id="ext")
        self.run()

    def records(self, kind: Kind, n: int) -> np.ndarray:
        """Empty records of a kind."""
        made = np.zeros(n, record_dtype)
        made["kind"], made["ts"] = kind, self.now
        return made

    def push(self, ring: str, records: np.ndarray) -> int:
        """Writes what there is room for; how many."""
        slots = records.view(np.uint8).reshape(len(records), SLOT_BYTES)
        return self.rings[ring].push_many(slots)

    def time(self, state: FeedState = FeedState.RUNNING) -> None:
        """A feed record that moves time on by a second: answers that are on their way come in."""
        self.now += 1_000_000_000
        record = self.records(Kind.FEED_STATUS, 1)
        record["payload"].view(feed_status_record_dtype)["state"] = state
        assert self.push("feed", record) == 1

    def market(self, n: int) -> np.ndarray:
        """``n`` feed records, a level of an instrument each."""
        from engine.core.types import BUY_EVENT, DEPTH_EVENT, EXCH_EVENT, LOCAL_EVENT
        from engine.runtime.records import Flag

        made = self.records(Kind.MARKET, n)
        made["flags"] = int(Flag.LAST | Flag.EXCH | Flag.LOCAL)
        made["instrument"] = np.arange(n) % self.symbols
        event = made["payload"].view(market_record_dtype)["event"]
        event["ev"] = DEPTH_EVENT | EXCH_EVENT | LOCAL_EVENT | BUY_EVENT
        event["exch_ts"] = event["local_ts"] = self.now
        event["px"] = 100.0 + (np.arange(n) % 50) / 10
        event["qty"] = 1.0 + np.arange(n) % 3
        self.push("feed", made)
        return made

    def command(self, name: str, **fields: Any) -> None:
        """Sends a command."""
        self._number += 1
        message = {"request_id": self._number, "command": name, "who": "bench", "at": 1, **fields}
        records = blob_records(Kind.CONTROL, message)
        assert self.push("control_in", records) == len(records)

    def drain(self) -> None:
        """Empties the outgoing rings."""
        for name in OUTGOING:
            self.rings[name].pop_many()

    def run(self) -> None:
        """Turns until nothing waits, with a bridge that reads."""
        for _ in range(100_000):
            self.loop.turn(0.0)
            self.drain()
            if not any(len(self.rings[name]) for name in ("feed", "orders_in", "control_in")):
                break
        for _ in range(3):
            self.loop.turn(0.0)
            self.drain()

    def place(self) -> None:
        """Brings the open orders to their number, and waits until the venue has said yes to all."""
        while (missing := self.orders - len(self.kernel.orders("ext"))) > 0:
            made = self.records(Kind.ORDER_REQUEST, min(missing, CHUNK))
            order = made["payload"].view(order_record_dtype)["order"]
            order["strategy"], order["req"] = self.kernel.slot("ext"), Status.NEW
            order["instrument"] = np.arange(len(made)) % self.symbols
            order["client_order_id"] = self._order + 1 + np.arange(len(made))
            order["side"] = Side.BUY
            order["price_tick"] = 500 - np.arange(len(made)) % 400
            order["qty"] = order["leaves_qty"] = 1
            self._order += len(made)
            assert self.push("orders_in", made) == len(made)
            self.run()
            self.time()
            self.run()

    def fill(self) -> None:
        """Fills every ring but the one for commands."""
        junk = self.records(Kind.TRADE, CHUNK)
        for name in OUTGOING:
            while self.push(name, junk):
                pass
        while len(self.market(CHUNK)) and len(self.rings["feed"]) < self.rings["feed"].capacity:
            pass
        cancel = self.records(Kind.ORDER_REQUEST, CHUNK)
        order = cancel["payload"].view(order_record_dtype)["order"]
        order["strategy"], order["req"] = self.kernel.slot("ext"), Status.CANCELED
        # No live order has this number: it is work to refuse, and cancels nothing before the kill does.
        order["client_order_id"] = 2**62
        while self.push("orders_in", cancel):
            pass
        for name, ring in self.rings.items():
            assert name == "control_in" or len(ring) == ring.capacity, name

    def kill(self) -> tuple[float, float]:
        """One kill with everything full: milliseconds of the kill, and of a step that came before it."""
        self.place()
        self.fill()
        began = time.perf_counter_ns()
        self.loop.run_until_wanted(0.0)
        step = time.perf_counter_ns() - began
        self.fill()
        before = self.kernel.counters["requests"]
        self.command("kill", reason="bench")
        began = time.perf_counter_ns()
        self.loop.turn(0.0)
        took = time.perf_counter_ns() - began
        sent = self.kernel.counters["requests"] - before
        assert sent == self.orders, f"{sent} cancels instead of {self.orders}"
        self.rearm()
        return took / 1e6, step / 1e6

    def rearm(self) -> None:
        """Empties everything, lets the cancels arrive, and trades again."""
        from engine.runtime.switches import as_plain

        for name in ("feed", "orders_in", *OUTGOING):
            self.rings[name].pop_many()
        self.run()
        self.time()
        self.run()
        for switch in as_plain(self.kernel.latches()):
            self.command("rearm", switch=switch["id"])
        self.command("resume")
        self.run()
        assert self.kernel.trading_state.name == "ACTIVE"
        assert not self.kernel.orders("ext")


def measure(kills: int, orders: int, symbols: int) -> dict[str, Any]:
    """Kills many times.

    Args:
        kills: How many count; one more goes before, as an engine's memory is not all there at first.
        orders: Open orders.
        symbols: Instruments that they are in.

    Returns:
        The figures, in milliseconds.
    """
    engine = Engine(orders, symbols)
    first = engine.kill()[0]
    took, steps = (np.array(column) for column in zip(*(engine.kill() for _ in range(kills)), strict=True))
    return {
        "orders": orders,
        "instruments": symbols,
        "kills": kills,
        "first_ms": round(first, 3),
        "p50_ms": round(float(np.median(took)), 3),
        "p99_ms": round(float(np.quantile(took, 0.99)), 3),
        "max_ms": round(float(took.max()), 3),
        "step_before_p99_ms": round(float(np.quantile(steps, 0.99)), 3),
        "goal_ms": GOAL_MS,
    }


def main(argv: list[str] | None = None) -> int:
    """Prints the figures; 1 where the median misses the goal."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--orders", type=int, default=10_000)
    parser.add_argument("--symbols", type=int, default=4)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args(argv)
    found = measure(args.kills, args.orders, args.symbols)
    if args.json:
        print(json.dumps(found))
    else:
        print(
            f"{found['kills']} kills of {found['orders']} open orders in {found['instruments']} instruments, "
            f"every other ring full:\n"
            f"  first {found['first_ms']} ms; p50 {found['p50_ms']} ms, p99 {found['p99_ms']} ms, "
            f"most {found['max_ms']} ms (goal: {GOAL_MS:g} ms)\n"
            f"  a step that goes before it: p99 {found['step_before_p99_ms']} ms"
        )
    return 0 if found["p50_ms"] < GOAL_MS else 1


if __name__ == "__main__":
    sys.exit(main())
