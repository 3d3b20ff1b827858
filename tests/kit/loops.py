"""The engine loop in this process, over private rings: tests are its feed, its bridge and its operator."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from engine.backtest.config import AssetConfig, StrategyConfig
from engine.core.ring import Bell, Ring
from engine.core.types import BUY_EVENT, DEPTH_EVENT, EXCH_EVENT, LOCAL_EVENT, SELL_EVENT, Status, event_dtype
from engine.feeds.base import EventSource
from engine.feeds.merge import Merger
from engine.runtime.config import DaemonConfig, EngineSection, ExternalSection, FeedSection
from engine.runtime.engine import EngineLoop, make_kernel
from engine.runtime.ledger import Ledger
from engine.runtime.logging import configure
from engine.runtime.publish import Publisher
from engine.runtime.records import (
    BLOB_KINDS,
    PAYLOAD_DTYPES,
    SLOT_BYTES,
    BlobJoiner,
    FeedState,
    Kind,
    blob_records,
    feed_status_record_dtype,
    market_record_dtype,
    order_record_dtype,
    record_dtype,
)
from engine.runtime.rundir import RunDir
from engine.runtime.switches import restore_switches

ALL = 0xFFFF


def asset(symbol: str = "BTCUSDT", **changes: Any) -> AssetConfig:
    """An instrument with a tick of 0.1, a lot of 0.001 and a millisecond of latency each way."""
    return AssetConfig(**({"symbol": symbol, "tick_size": 0.1, "lot_size": 0.001} | changes))


def rows(*entries: tuple[int, int, str, float, float]) -> np.ndarray:
    """Events seen by both sides.

    Args:
        *entries: ``(ts, kind, side, px, qty)``; the venue saw each 1000 ns before ``ts``.
    """
    events = np.zeros(len(entries), event_dtype)
    for event, (ts, kind, side, px, qty) in zip(events, entries, strict=True):
        event["ev"] = kind | EXCH_EVENT | LOCAL_EVENT | (BUY_EVENT if side == "buy" else SELL_EVENT)
        event["local_ts"], event["exch_ts"] = ts, ts - 1000
        event["px"], event["qty"] = px, qty
    return events


def quotes(n: int, *, start: int = 1_000_000_000, every: int = 10_000_000) -> np.ndarray:
    """``n`` changes of a small book around 100.0, whose best prices never move."""
    entries = [(start, DEPTH_EVENT, "buy", 99.9, 5.0), (start, DEPTH_EVENT, "sell", 100.1, 5.0)]
    for i in range(n - 2):
        side, px = ("buy", 99.5) if i % 2 else ("sell", 100.5)
        entries.append((start + (i + 1) * every, DEPTH_EVENT, side, px, 1.0 + i % 7))
    return rows(*entries)


class ArraySource(EventSource):
    """Events in memory as a source."""

    def __init__(self, symbol: str, events: np.ndarray) -> None:
        self.symbol = self.name = symbol
        self._events = events

    @property
    def rows(self) -> int:
        return len(self._events)

    def chunks(self, start: int = 0):
        yield self._events[start:]


class Out(NamedTuple):
    """A record that came out of the engine; ``body`` is a message for blobs, else a payload."""

    kind: Kind
    header: np.void
    body: Any


class Loop:
    """An engine loop and both ends of its rings.

    Args:
        *strategies: ``StrategyConfig`` of each.
        assets: ``AssetConfig`` of each; one BTCUSDT by default.
        slots: Slots of rings that are to be smaller or larger than 4096, by name.
        external: ``ExternalSection`` fields.
        feed: What the venue is; a paper one by default.
        run: A run directory in which thrown switches and changes are kept.
        kind: Of the feed; ``market`` has it within, and is fed with the time.
        **engine: ``EngineSection`` fields.

    Attributes:
        received: When what is fed from here on says that it was received, steady clock; 0 says nothing.
    """

    received = 0

    def __init__(
        self,
        *strategies: StrategyConfig,
        assets: list[AssetConfig] | None = None,
        slots: dict[str, int] | None = None,
        external: dict[str, Any] | None = None,
        feed: FeedSection | None = None,
        run: RunDir | None = None,
        kind: str = "simulated",
        **engine: Any,
    ) -> None:
        self.config = DaemonConfig(
            engine=EngineSection(**({"depth_interval_us": 0} | engine)),
            feed=feed or FeedSection(kind=kind),
            external=ExternalSection(**(external or {})),
            instruments=assets or [asset()],
            strategies=list(strategies),
        )
        self.bell, self.bridge_bell = Bell(), Bell()
        names = (
            "feed",
            "orders_in",
            "control_in",
            "orders_out",
            "market_out",
            "telemetry_out",
            "control_out",
        )
        self.rings = {name: Ring((slots or {}).get(name, 1 << 15), SLOT_BYTES) for name in names}
        self.run = run
        self.begin()
        self._joiners = {name: BlobJoiner() for name in names}
        self._request_id = 0

    def begin(self) -> None:
        """Makes an engine on the rings, in the place of one that may have been there."""
        self.kernel = make_kernel(self.config)
        out = [self.rings[name] for name in ("orders_out", "market_out", "telemetry_out", "control_out")]
        interval = self.config.engine.depth_interval_us
        self.publisher = Publisher(self.kernel, *out, depth_interval_us=interval)
        inputs = [self.rings[name] for name in ("feed", "orders_in", "control_in")]
        log = configure("engine", None, console=False)
        self.ledger = None
        if self.run is not None:
            restore_switches(self.kernel, self.run, log)
            self.ledger = Ledger(self.run, log)
        self.engine = EngineLoop(
            self.config, self.kernel, self.publisher, *inputs, self.bell, log, self.ledger
        )

    # --- the feed's end -------------------------------------------------------------------------

    def feed(self, *events: np.ndarray, end: bool = False) -> None:
        """Writes what each instrument has, merged, into the feed ring; all of it must fit."""
        merger = Merger([ArraySource(str(i), part) for i, part in enumerate(events)])
        items = merger.read(1 << 20)
        records = np.zeros(len(items), record_dtype)
        records["kind"] = Kind.MARKET
        for name in ("flags", "instrument", "ts"):
            records[name] = items[name]
        records["step"] = self.received
        records["payload"].view(market_record_dtype)["event"] = items["event"]
        self.push("feed", records)
        if end:
            self.feed_status(FeedState.ENDED)

    def feed_status(self, state: FeedState, ts: int = 0) -> None:
        """Writes a FEED_STATUS record."""
        record = np.zeros(1, record_dtype)
        record["kind"], record["ts"], record["step"] = Kind.FEED_STATUS, ts, self.received
        record["payload"].view(feed_status_record_dtype)["state"] = state
        assert self.rings["feed"].push(record.tobytes())

    # --- the bridge's end -----------------------------------------------------------------------

    def command(self, command: str, **fields: Any) -> int:
        """Sends a command; returns its request id."""
        self._request_id += 1
        message = {"request_id": self._request_id, "command": command, **fields}
        self.push("control_in", blob_records(Kind.CONTROL, message))
        return self._request_id

    def ask(self, command: str, **fields: Any) -> Out:
        """Sends a command and steps until its reply is there; other records are lost."""
        request_id = self.command(command, **fields)
        for _ in range(10):
            self.step()
            for out in self.take("orders_out") + self.take("control_out"):
                if out.kind == Kind.REPLY and out.body["request_id"] == request_id:
                    return out
        raise AssertionError(f"no reply to {command}")

    def order(self, req: Status, client_order_id: int, **fields: Any) -> None:
        """Sends an order request of the external strategy in ``strategy``."""
        record = np.zeros(1, record_dtype)
        record["kind"] = Kind.ORDER_REQUEST
        order = record["payload"].view(order_record_dtype)["order"]
        order["req"], order["client_order_id"] = req, client_order_id
        for name, value in fields.items():
            order[name] = value
        self.push("orders_in", record)

    def signal(self, name: str, value: Any, symbol: str = "") -> None:
        """Sends a signal."""
        message = {"name": name, "symbol": symbol, "value": value}
        self.push("orders_in", blob_records(Kind.SIGNAL, message))

    def push(self, ring: str, records: np.ndarray) -> None:
        """Writes records; all of them must fit."""
        slots = records.view(np.uint8).reshape(len(records), SLOT_BYTES)
        assert self.rings[ring].push_many(slots) == len(records)

    def take(self, ring: str) -> list[Out]:
        """Everything that an outgoing ring holds, blobs joined."""
        found = []
        for record in self.rings[ring].pop_many().view(record_dtype).reshape(-1):
            kind = Kind(int(record["kind"]))
            if kind in BLOB_KINDS:
                message = self._joiners[ring].add(record)
                if message is not None:
                    found.append(Out(kind, record, message))
            else:
                payload = np.asarray(record["payload"]).reshape(1).view(PAYLOAD_DTYPES[kind])[0]
                found.append(Out(kind, record, payload))
        return found

    def of_kind(self, ring: str, kind: Kind) -> list[Out]:
        """The records of one kind that an outgoing ring holds; the others are lost."""
        return [out for out in self.take(ring) if out.kind == kind]

    # --- driving --------------------------------------------------------------------------------

    def step(self, n: int = 1) -> None:
        """Runs ``n`` turns of at least a step each, and checks the kernel after each."""
        for _ in range(n):
            self.engine.turn(0.0)
            self.kernel.check_invariants()

    def run_dry(self, limit: int = 100_000) -> None:
        """Steps until the feed ring is empty, nothing waits for the interpreter, and once more."""
        for _ in range(limit):
            self.step()
            if len(self.rings["feed"]) == 0:
                break
        self.step(3)
