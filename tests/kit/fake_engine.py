"""Plays the engine's end of the rings, so that the bridge runs on real sockets without a daemon.

``FakeEngine`` answers in a thread of its own: it acknowledges orders, cancels them, replies to commands and
re-emits everything on a resync; tests push books, trades and fills with its methods. ``bridge_thread`` and
``BridgeProcess`` run the real bridge on top of it.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bridge import protocol as p
from bridge.config import RINGS, BridgeConfig
from bridge.server import run_bridge
from engine.core.ring import Bell, Ring
from engine.core.types import BUY_EVENT, SELL_EVENT, TRADE_EVENT, Reason, Status
from engine.runtime.commands import IN_ORDER
from engine.runtime.records import (
    LEVELS_PER_RECORD,
    UNOWNED,
    BlobJoiner,
    Flag,
    Kind,
    blob_records,
    depth_record_dtype,
    fill_record_dtype,
    market_record_dtype,
    order_record_dtype,
    position_record_dtype,
    record_dtype,
    status_record_dtype,
)

ROOT = Path(__file__).resolve().parents[2]
INSTRUMENTS = (
    p.InstrumentInfo("BTCUSDT", 0.1, 0.001, 1.0, "linear"),
    p.InstrumentInfo("ETHUSDT", 0.01, 0.01, 1.0, "linear"),
)
ALL = 0xFFFF


@dataclass
class FakeOrder:
    """A live order of the fake engine."""

    record: np.ndarray
    instrument: int
    slot: int

    @property
    def order(self) -> np.ndarray:
        """The order's fields."""
        return self.record["order"]


@dataclass
class FakeStrategy:
    """A strategy of the fake engine."""

    slot: int
    strategy_id: str
    kind: str = "external"
    state: str = "Running"
    symbols: list[str] = field(default_factory=list)
    params: dict[str, Any] = field(default_factory=dict)


class FakeEngine:
    """The engine's side of five rings.

    Args:
        directory: Where rings and bells are made.
        instruments: What it trades.
        slots: Capacity of every ring.
    """

    def __init__(
        self,
        directory: Path,
        instruments: Sequence[p.InstrumentInfo] = INSTRUMENTS,
        *,
        slots: int = 4096,
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.instruments = list(instruments)
        self.bridge_bell = Bell.named(directory / "bridge.bell")
        self.bell = Bell.named(directory / "engine.bell")
        self.rings = {
            name: Ring.create(
                directory / f"{name}.ring",
                slots,
                record_dtype.itemsize,
                bell=self.bridge_bell if name.endswith("_out") else None,
            )
            for name in RINGS
        }
        self.step = 0
        self.now = 1_700_000_000_000_000_000
        self.trading_state = "ACTIVE"
        self.strategies: dict[str, FakeStrategy] = {}
        self.orders: dict[int, FakeOrder] = {}
        self.commands: list[dict[str, Any]] = []
        self.signals: list[dict[str, Any]] = []
        self.requests: list[tuple[str, int]] = []
        self.books: list[tuple[dict[float, float], dict[float, float]]] = [({}, {}) for _ in self.instruments]
        self.on_order: Callable[[FakeOrder], None] = lambda order: None
        self.silent = False
        self.frozen = False
        self._next_order_id = 1
        self._lock = threading.RLock()
        self._joiners = {name: BlobJoiner() for name in ("orders_in", "control_in")}
        self._stop = False
        self._thread = threading.Thread(target=self._run, name="fake-engine", daemon=True)

    def config(self, endpoint: str, **options: Any) -> BridgeConfig:
        """How a bridge reaches this engine; clients of shared memory find it where those of ipc do."""
        return BridgeConfig(
            endpoint=endpoint.replace("shm://", "ipc://"),
            engine="fake",
            mode="PAPER",
            instruments=self.instruments,
            rings={name: self.directory / f"{name}.ring" for name in RINGS},
            bell=self.directory / "bridge.bell",
            sessions=self.directory / "sessions.table",
            engine_bell=self.directory / "engine.bell",
            **options,
        )

    def __enter__(self) -> FakeEngine:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop = True
        self.bell.ring()
        self._thread.join()
        for ring in self.rings.values():
            ring.close()
        self.bell.close()
        self.bridge_bell.close()

    # --- out: what a test makes the engine say ---------------------------------------------------

    def _push(self, name: str, records: np.ndarray) -> None:
        ring = self.rings[name]
        slots = records.view(np.uint8).reshape(len(records), -1)
        while len(slots) and not self._stop:
            slots = slots[ring.push_many(slots) :]
            if len(slots):
                time.sleep(0.001)

    def _record(self, kind: Kind, dtype: np.dtype, instrument: int = 0, slot: int = UNOWNED) -> Any:
        record = np.zeros(1, record_dtype)
        record["kind"], record["instrument"], record["strategy"] = kind, instrument, slot
        record["length"], record["step"], record["ts"] = dtype.itemsize, self.step, self.now
        return record, record["payload"].view(dtype)

    def number(self, symbol: str) -> int:
        """The instrument of a symbol."""
        return [info.symbol for info in self.instruments].index(symbol)

    def depth(
        self,
        symbol: str,
        bids: Sequence[tuple[float, float]],
        asks: Sequence[tuple[float, float]],
        *,
        snapshot: bool = False,
        conflated: bool = False,
    ) -> None:
        """Changes a book and publishes the batch."""
        with self._lock:
            self.now += 1_000_000
            instrument = self.number(symbol)
            if snapshot:
                self.books[instrument] = ({}, {})
            for side, levels in zip(self.books[instrument], (bids, asks), strict=True):
                for px, qty in levels:
                    if qty > 0:
                        side[px] = qty
                    else:
                        side.pop(px, None)
            flags = Flag.SNAPSHOT * snapshot | Flag.CONFLATED * conflated
            self._batch(instrument, list(bids), list(asks), flags)

    def _batch(self, instrument: int, bids: list[Any], asks: list[Any], flags: int) -> None:
        levels = [(True, level) for level in bids] + [(False, level) for level in asks]
        pieces = [levels[i : i + LEVELS_PER_RECORD] for i in range(0, max(1, len(levels)), LEVELS_PER_RECORD)]
        records = []
        for piece in pieces:
            record, row = self._record(Kind.DEPTH, depth_record_dtype, instrument)
            record["flags"] = flags
            row["n_bids"] = sum(is_bid for is_bid, _ in piece)
            row["n_asks"] = len(piece) - int(row["n_bids"][0])
            row["exch_ts"] = self.now - 1000
            for place, (_, level) in enumerate(piece):
                row["levels"][0, place] = level
            records.append(record)
        records[-1]["flags"] = int(flags) | Flag.LAST
        self._push("market_out", np.concatenate(records))

    def trade(self, symbol: str, side: p.Side, px: float, qty: float) -> None:
        """Publishes a public trade."""
        with self._lock:
            record, row = self._record(Kind.TRADE, market_record_dtype, self.number(symbol))
            event = row["event"]
            event["ev"] = TRADE_EVENT | (BUY_EVENT if side == "buy" else SELL_EVENT)
            event["exch_ts"], event["px"], event["qty"] = self.now - 1000, px, qty
            self._push("market_out", record)

    def status(self, **fields: Any) -> None:
        """Publishes a status record."""
        with self._lock:
            record, row = self._record(Kind.STATUS, status_record_dtype)
            row["wall_ts"], row["feed_state"] = time.time_ns(), 1
            for name, value in fields.items():
                row[name] = value
            self._push("telemetry_out", record)

    def position(self, strategy_id: str, symbol: str, **fields: Any) -> None:
        """Publishes a position record."""
        with self._lock:
            slot = self.strategies[strategy_id].slot
            record, row = self._record(Kind.POSITION, position_record_dtype, self.number(symbol), slot)
            for name, value in fields.items():
                row[name] = value
            self._push("telemetry_out", record)

    def log(self, level: str, text: str) -> None:
        """Publishes a line of the log."""
        with self._lock:
            line = {"level": level, "source": "engine", "text": text}
            self._push("telemetry_out", blob_records(Kind.LOG, line, ts=self.now))

    def strategy(self, strategy_id: str, kind: str = "python", **fields: Any) -> FakeStrategy:
        """Adds a strategy, or changes one, and publishes it."""
        with self._lock:
            strategy = self.strategies.get(strategy_id)
            if strategy is None:
                strategy = FakeStrategy(len(self.strategies), strategy_id, kind)
                self.strategies[strategy_id] = strategy
            for name, value in fields.items():
                setattr(strategy, name, value)
            self._push_strategy(strategy)
            return strategy

    def _push_strategy(self, strategy: FakeStrategy) -> None:
        names = {bool: "bool", int: "int", float: "float", str: "str"}
        params = [{"name": k, "kind": names[type(v)], "value": v} for k, v in strategy.params.items()]
        message = {
            "strategy_id": strategy.strategy_id,
            "kind": strategy.kind,
            "state": strategy.state,
            "message": "",
            "symbols": strategy.symbols,
            "params": params,
        }
        records = blob_records(Kind.STRATEGY, message, strategy=strategy.slot, step=self.step, ts=self.now)
        self._push("orders_out", records)

    def fill(self, client_order_id: int, qty: float, *, fee: float = 0.01) -> None:
        """Fills a part of a live order at its own price."""
        with self._lock:
            live = next(o for o in self.orders.values() if o.order["client_order_id"] == client_order_id)
            lots = round(qty / self.instruments[live.instrument].lot_size)
            order = live.order
            before = int(order["status"])
            order["exec_qty"], order["exec_price_tick"], order["fee"] = lots, order["price_tick"], fee
            order["leaves_qty"] -= lots
            order["cum_exec_qty"] += lots
            order["is_maker"], order["reason"] = 1, Reason.QUEUE_FRONT
            done = int(order["leaves_qty"]) == 0
            order["status"] = Status.FILLED if done else Status.PARTIALLY_FILLED
            self.emit(live, before)
            self._push_fill(live, qty)
            if done:
                del self.orders[int(order["order_id"])]

    def _push_fill(self, live: FakeOrder, qty: float) -> None:
        record, row = self._record(Kind.FILL, fill_record_dtype, live.instrument, live.slot)
        one = row["fill"]
        for name in ("order_id", "client_order_id", "price_tick", "side", "fee", "is_maker", "reason"):
            one[name] = live.order[name]
        one["px"] = live.order["price_tick"] * self.instruments[live.instrument].tick_size
        one["exch_ts"], one["local_ts"], one["mid_price"] = self.now - 1000, self.now, one["px"]
        row["qty"] = qty
        row["position"] = qty * int(live.order["side"])
        self._push("orders_out", record)

    def emit(self, live: FakeOrder, before: int, *, dropped: int = 0) -> None:
        """Publishes an order as it stands."""
        record, row = self._record(Kind.ORDER, order_record_dtype, live.instrument, live.slot)
        row[0] = live.record
        info = self.instruments[live.instrument]
        for name in ("qty", "leaves_qty", "cum_exec_qty", "exec_qty"):
            row[name] = live.order[name] * info.lot_size
        row["px"] = live.order["price_tick"] * info.tick_size
        row["exec_px"] = live.order["exec_price_tick"] * info.tick_size
        row["prev_status"] = before
        record["dropped"] = dropped
        self._push("orders_out", record)

    # --- in: what the bridge asks ----------------------------------------------------------------

    def _run(self) -> None:
        incoming = [self.rings["orders_in"], self.rings["control_in"]]
        while not self._stop:
            self.bell.wait(incoming, 20_000_000)
            if self.frozen:
                time.sleep(0.005)
                continue
            with self._lock:
                for name in ("control_in", "orders_in"):
                    for record in self.rings[name].pop_many().view(record_dtype).reshape(-1):
                        self.step += 1
                        self._take(name, record)

    def _take(self, name: str, record: np.ndarray) -> None:
        kind = int(record["kind"])
        if kind == Kind.ORDER_REQUEST:
            row = np.frombuffer(record["payload"].tobytes(), order_record_dtype)[0]
            self._request(row["order"])
            return
        message = self._joiners[name].add(record)
        if message is None:
            return
        if kind == Kind.SIGNAL:
            self.signals.append(message)
        else:
            self.commands.append(message)
            if not self.silent:
                self._reply(message, self._command(message))

    def _request(self, request: np.ndarray) -> None:
        kind, number, slot = (
            Status(int(request["req"])),
            int(request["client_order_id"]),
            int(request["strategy"]),
        )
        self.requests.append((kind.name, number))
        if kind == Status.NEW:
            record = np.zeros((), order_record_dtype)
            record["order"] = request
            live = FakeOrder(record, int(request["instrument"]), slot)
            live.order["order_id"] = self._next_order_id
            live.order["status"], live.order["req"] = Status.NEW, Status.NONE
            self.orders[self._next_order_id] = live
            self._next_order_id += 1
            self.emit(live, Status.NONE)
            self.on_order(live)
            return
        known = {(live.slot, int(live.order["client_order_id"])) for live in self.orders.values()}
        if number and (slot, number) not in known:
            record = np.zeros((), order_record_dtype)
            record["order"] = request
            record["order"]["status"], record["order"]["reason"] = Status.DENIED, Reason.UNKNOWN_ORDER
            self.emit(FakeOrder(record, int(request["instrument"]), slot), Status.NONE)
            return
        for live in list(self.orders.values()):
            if live.slot != slot:
                continue
            if kind == Status.CANCELED and number == 0:
                if int(request["instrument"]) in (ALL, live.instrument):
                    self._cancel(live, Reason.CANCEL_REQUESTED)
            elif int(live.order["client_order_id"]) == number:
                if kind == Status.CANCELED:
                    self._cancel(live, Reason.CANCEL_REQUESTED)
                else:
                    live.order["price_tick"], live.order["qty"] = request["price_tick"], request["qty"]
                    live.order["leaves_qty"] = request["qty"]
                    self.emit(live, int(live.order["status"]))

    def _cancel(self, live: FakeOrder, reason: Reason) -> None:
        before = int(live.order["status"])
        live.order["status"], live.order["reason"] = Status.CANCELED, reason
        live.order["leaves_qty"] = 0
        del self.orders[int(live.order["order_id"])]
        self.emit(live, before)

    def _command(self, message: dict[str, Any]) -> dict[str, Any]:
        name, strategy_id = message["command"], message.get("strategy_id", "")
        strategy = self.strategies.get(strategy_id)
        if name == "resync":
            for known in self.strategies.values():
                self._push_strategy(known)
            for live in self.orders.values():
                self.emit(live, int(live.order["status"]))
            for instrument, (bids, asks) in enumerate(self.books):
                self._batch(instrument, list(bids.items()), list(asks.items()), Flag.SNAPSHOT)
            return {}
        if name == "register":
            if strategy is not None and strategy.kind != "external":
                return {"success": False, "message": f"{strategy_id} is a strategy inside the engine"}
            if strategy is not None and strategy.state != "Stopped":
                return {"success": False, "message": f"{strategy_id} is connected already"}
            fields = {"symbols": message["symbols"], "params": message["params"], "state": "Running"}
            return {"slot": self.strategy(strategy_id, "external", **fields).slot}
        if name == "emergency_stop":
            self.trading_state = "HALTED"
            return {}
        if strategy_id and strategy is None:
            return {"success": False, "message": f"no strategy {strategy_id}"}
        if name == "disconnect":
            self.strategy(strategy_id, state="Stopped")
        if name in ("disconnect", "cancel_orders"):
            reason = Reason.CANCEL_ON_DISCONNECT if name == "disconnect" else Reason.CANCEL_BY_OPERATOR
            for live in list(self.orders.values()):
                if strategy is None or live.slot == strategy.slot:
                    self._cancel(live, reason)
        elif name in ("pause", "resume") and strategy is not None:
            self.strategy(strategy_id, state="Paused" if name == "pause" else "Running")
        elif name == "update_params":
            self.strategy(strategy_id, params=strategy.params | message["params"])
        return {}

    def _reply(self, message: dict[str, Any], fields: dict[str, Any]) -> None:
        strategy = self.strategies.get(message.get("strategy_id", ""))
        reply = {
            "request_id": message["request_id"],
            "success": True,
            "message": "",
            "strategy_state": strategy.state if strategy else "",
            "trading_state": self.trading_state,
            "current_params": strategy.params if strategy else {},
        }
        ring = "orders_out" if message["command"] in IN_ORDER else "control_out"
        self._push(ring, blob_records(Kind.REPLY, reply | fields, step=self.step, ts=self.now))


@contextlib.contextmanager
def bridge_thread(config: BridgeConfig) -> Iterator[None]:
    """Runs the bridge in a thread of this process."""
    stop, ready = threading.Event(), threading.Event()
    thread = threading.Thread(
        target=run_bridge, args=(config,), kwargs={"stop": stop.is_set, "ready": ready.set}, daemon=True
    )
    thread.start()
    assert ready.wait(10)
    try:
        yield
    finally:
        stop.set()
        thread.join(10)


class BridgeProcess:
    """Runs the bridge in a process that a test may kill."""

    def __init__(self, engine: FakeEngine, endpoint: str, **options: Any) -> None:
        endpoint = endpoint.replace("shm://", "ipc://")
        fields = {"directory": str(engine.directory), "endpoint": endpoint, "options": options}
        command = [sys.executable, "-m", "tests.kit.fake_engine", json.dumps(fields)]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        self.process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"ready\n"

    def kill(self) -> None:
        """As kill -9."""
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


def _bridge_main(text: str) -> None:
    fields = json.loads(text)
    directory = Path(fields["directory"])
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    config = BridgeConfig(
        endpoint=fields["endpoint"],
        engine="fake",
        mode="PAPER",
        instruments=INSTRUMENTS,
        rings={name: directory / f"{name}.ring" for name in RINGS},
        bell=directory / "bridge.bell",
        sessions=directory / "sessions.table",
        engine_bell=directory / "engine.bell",
        **fields["options"],
    )
    run_bridge(config, stop=stopped.is_set, ready=lambda: print("ready", flush=True))


def wait_until(condition: Callable[[], Any], timeout: float = 10.0) -> Any:
    """Polls a condition until it holds, and returns what it returned."""
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.005)
    return value


def free_port_base() -> int:
    """A first port of four that are free now."""
    import socket

    while True:
        with contextlib.ExitStack() as stack:
            first = stack.enter_context(socket.socket())
            first.bind(("127.0.0.1", 0))
            base = first.getsockname()[1]
            try:
                for place in range(1, len(p.SOCKETS)):
                    stack.enter_context(socket.socket()).bind(("127.0.0.1", base + place))
            except OSError:
                continue
            if base + len(p.SOCKETS) < 65536:
                return base


if __name__ == "__main__":
    _bridge_main(sys.argv[1])
