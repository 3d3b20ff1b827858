"""A scripted session for the terminal UI: the same protocol messages at every run, shaped like real ones.

A random walk of the mid price moves a book of two symbols; two market makers quote, fill and are told of.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator

from bridge.protocol import (
    Depth,
    EngineStatus,
    Fill,
    InstrumentInfo,
    Log,
    Mode,
    OrderUpdate,
    ParamInfo,
    PositionSnapshot,
    StrategyStatus,
    StreamMessage,
    Trade,
    Welcome,
)
from tui.store import Store

START = 1_755_684_000_000_000_000
"""2025-08-20 10:00:00 UTC."""
STEP = 100_000_000
INSTRUMENTS = [
    InstrumentInfo("BTCUSDT", 0.1, 0.001, 1.0, "linear"),
    InstrumentInfo("ETHUSDT", 0.01, 0.001, 1.0, "linear"),
]
STRATEGIES = (("mm_fast", "BTCUSDT"), ("mm_slow", "ETHUSDT"))
REASONS = ("queue_front", "trade_through", "best_crossed")


class Clock:
    """A clock that only moves when it is told to."""

    def __init__(self, now: int = 50_000_000_000) -> None:
        self.now = now

    def __call__(self) -> int:
        return self.now

    def advance(self, seconds: float) -> None:
        """Moves on."""
        self.now += round(seconds * 1e9)


def welcome(mode: Mode = "PAPER", epoch: int = 1) -> Welcome:
    """The server's answer to hello."""
    return Welcome(1, epoch, "s1", "ipc:///m", "ipc:///t", mode, "demo", INSTRUMENTS)


def status(
    step: int, *, mode: Mode = "PAPER", epoch: int = 1, seq: int | None = None, **changed: object
) -> EngineStatus:
    """An engine status as of a step of the session."""
    fields: dict[str, object] = {
        "epoch": epoch,
        "seq": step + 1 if seq is None else seq,
        "wall_ts": START + step * STEP,
        "engine": "demo",
        "mode": mode,
        "trading_state": "ACTIVE",
        "feed_state": "running",
        "feed_wall_ts": START + step * STEP - 12_000_000,
        "market_ts": START + step * STEP,
        "step": 4000 + step * 37,
        "events": step * 1234,
        "orders": step * 4,
        "fills": step // 3,
        "denied": 0,
        "conflated": step // 50,
        "dropped": 0,
        "events_per_second": 12_340.0,
        "loop_ns": 1840.0,
        "sessions": 1,
    }
    return EngineStatus(**{**fields, **changed})  # type: ignore[arg-type]


def strategy(name: str, symbol: str, seq: int, *, epoch: int = 1, state: str = "Running") -> StrategyStatus:
    """A strategy with one parameter of each kind."""
    params = [
        ParamInfo("half_spread", "float", 2.5, 0.0, 100.0, "Half the quoted spread, in ticks."),
        ParamInfo("levels", "int", 3, 1, 10, "Orders on each side."),
        ParamInfo("skew", "bool", True, None, None, "Lean against the position."),
        ParamInfo("note", "str", "desk", None, None, "Free text."),
    ]
    return StrategyStatus(epoch, seq, START, name, "python", state, "", [symbol], params)


class _Maker:
    """Two orders around the mid; fills now and then, and keeps its books like an accountant."""

    def __init__(self, name: str, symbol: str, tick: float, lot: float, rng: random.Random) -> None:
        self.name, self.symbol, self.tick, self.lot, self.rng = name, symbol, tick, lot, rng
        self.position = self.balance = self.fee = self.volume = self.value = 0.0
        self.cost = self.realized = 0.0
        self.trades = 0
        self.orders: dict[str, tuple[int, float, float]] = {}
        self.next_id = 1

    def fill(self, side: str, px: float, qty: float) -> float:
        """Books a fill and returns its fee."""
        sign = 1 if side == "buy" else -1
        if self.position * sign < 0:
            closed = min(qty, abs(self.position))
            average = self.cost / self.position
            self.realized += -sign * closed * (px - average)
            self.cost += sign * closed * average
            self.position += sign * closed
            qty_left = qty - closed
        else:
            qty_left = qty
        self.position = round(self.position + sign * qty_left, 9)
        self.cost = 0.0 if not self.position else self.cost + sign * qty_left * px
        fee = -0.00005 * px * qty
        self.fee += fee
        self.balance -= sign * px * qty
        self.volume += qty
        self.value += px * qty
        self.trades += 1
        return fee


class Session:
    """The script; :meth:`messages` yields it, a step being a tenth of a second of market time.

    Args:
        seed: Of the random walk.
        mode: What the engine claims to be.
        epoch: The bridge's.
    """

    def __init__(self, seed: int = 7, mode: Mode = "PAPER", epoch: int = 1) -> None:
        self.rng = random.Random(seed)
        self.mode, self.epoch = mode, epoch
        self.seqs: dict[str, int] = {}
        self.mids = {"BTCUSDT": 97_012.35, "ETHUSDT": 3_412.215}
        self.makers = [
            _Maker(name, info.symbol, info.tick_size, info.lot_size, self.rng)
            for (name, _), info in zip(STRATEGIES, INSTRUMENTS, strict=True)
        ]

    def seq(self, topic: str) -> int:
        """The next sequence number of a topic."""
        self.seqs[topic] = self.seqs.get(topic, 0) + 1
        return self.seqs[topic]

    def messages(self, steps: int = 600) -> Iterator[StreamMessage]:
        """The session's messages."""
        yield Log(self.epoch, self.seq("log"), START, "info", "engine", "engine demo started, 2 strategies")
        for name, symbol in STRATEGIES:
            yield strategy(name, symbol, self.seq("strategies"), epoch=self.epoch)
        for step in range(steps):
            yield from self.step(step)

    def step(self, step: int) -> Iterator[StreamMessage]:
        """A tenth of a second."""
        ts = START + step * STEP
        for maker, info in zip(self.makers, INSTRUMENTS, strict=True):
            drift = math.sin(step / 90) * 0.6
            self.mids[info.symbol] += info.tick_size * round(self.rng.gauss(drift, 3))
            yield self._depth(info, ts)
            if self.rng.random() < 0.6:
                yield self._trade(info, ts)
            yield from self._quote(maker, info, ts, step)
            yield self._position(maker, ts)
        if step % 150 == 100:
            text = "depth of ETHUSDT conflated: 3 batches merged"
            yield Log(self.epoch, self.seq("log"), ts, "warning", "bridge", text)
        yield status(step, mode=self.mode, epoch=self.epoch)

    def _levels(self, info: InstrumentInfo, sign: int) -> list[tuple[float, float]]:
        mid = self.mids[info.symbol]
        digits = 1 if info.tick_size == 0.1 else 2
        levels = []
        offset = 0.5
        for place in range(40):
            px = round(mid + sign * offset * info.tick_size, digits)
            levels.append((px, round(0.2 + self.rng.expovariate(0.4) + place * 0.15, 3)))
            offset += self.rng.choice((1, 1, 1, 2, 3))
        return levels

    def _depth(self, info: InstrumentInfo, ts: int) -> Depth:
        bids, asks = self._levels(info, -1), self._levels(info, 1)
        seq = self.seq(f"depth {info.symbol}")
        return Depth(self.epoch, seq, info.symbol, ts, ts - 4_000_000, bids, asks, snapshot=True)

    def _trade(self, info: InstrumentInfo, ts: int) -> Trade:
        side = self.rng.choice(("buy", "sell"))
        sign = 1 if side == "buy" else -1
        px = round(self.mids[info.symbol] + sign * 0.5 * info.tick_size, 2)
        qty = round(self.rng.expovariate(4), 3) + 0.001
        seq = self.seq(f"trade {info.symbol}")
        return Trade(self.epoch, seq, info.symbol, ts, ts - 4_000_000, side, px, qty)  # type: ignore[arg-type]

    def _quote(self, maker: _Maker, info: InstrumentInfo, ts: int, step: int) -> Iterator[StreamMessage]:
        mid, digits = self.mids[info.symbol], 1 if info.tick_size == 0.1 else 2
        qty = 0.02 if info.symbol == "BTCUSDT" else 0.5
        for side, sign in (("buy", -1), ("sell", 1)):
            px = round(mid + sign * 3.5 * info.tick_size, digits)
            old = maker.orders.get(side)
            if old is not None and self.rng.random() < 0.12:
                fee = maker.fill(side, old[1], qty)
                del maker.orders[side]
                yield self._order(maker, ts, old[0], side, old[1], qty, "FILLED", "NEW", 0.0, "")
                yield Fill(
                    self.epoch, self.seq("fills"), ts, ts - 2_000_000, maker.name, info.symbol, old[0],
                    old[0], side, old[1], qty, fee, True, round(mid, 3), self.rng.choice(REASONS),
                    maker.position,
                )  # fmt: skip
            elif old is not None and abs(old[1] - px) > 4 * info.tick_size:
                del maker.orders[side]
                yield self._order(
                    maker, ts, old[0], side, old[1], qty, "CANCELED", "NEW", 0.0, "cancel_requested"
                )
            if side not in maker.orders and step % 3 == 0:
                maker.orders[side] = (maker.next_id, px, qty)
                yield self._order(maker, ts, maker.next_id, side, px, qty, "NEW", "NONE", qty, "")
                maker.next_id += 1

    def _order(
        self, maker: _Maker, ts: int, number: int, side: str, px: float, qty: float,
        new: str, old: str, leaves: float, reason: str,
    ) -> OrderUpdate:  # fmt: skip
        return OrderUpdate(
            self.epoch, self.seq("orders"), ts, maker.name, maker.symbol, number, number, side,  # type: ignore[arg-type]
            "limit", "GTX", new, old, px, qty, leaves, reason, ts // STEP % 100_000,
        )  # fmt: skip

    def _position(self, maker: _Maker, ts: int) -> PositionSnapshot:
        mid = self.mids[maker.symbol]
        average = maker.cost / maker.position if maker.position else math.nan
        unrealized = maker.position * (mid - average) if maker.position else 0.0
        return PositionSnapshot(
            self.epoch, self.seq("positions"), ts, maker.name, maker.symbol, maker.position, average, mid,
            maker.realized, unrealized, maker.fee, maker.balance,
            maker.balance + maker.position * mid - maker.fee,
            maker.volume, maker.value, maker.trades, len(maker.orders),
        )  # fmt: skip


def scripted_store(steps: int = 600, *, mode: Mode = "PAPER", seed: int = 7) -> tuple[Store, Clock]:
    """A store that has lived through the session, and the clock it reads."""
    clock = Clock()
    wall = Clock(START)
    store = Store(clock=clock, wall=wall)
    store.connected(welcome(mode))
    for message in Session(seed, mode).messages(steps):
        if type(message) is EngineStatus:
            clock.now += STEP
            wall.now = message.wall_ts
        store.apply(message)
    return store, clock
