"""Storms of random orders against the risk checks: no limit is ever exceeded, requests in flight included.

``python -m tests.fuzz.risk --orders 1000000`` runs episodes of some thousand orders each, every one with a
market, strategies and limits of its own, drawn from its seed. What is live, held and sent is kept here again,
in exact integers and from the requests and reports alone, and held against the limits after every order that
passes. A failure prints the one command that repeats it.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections import Counter, deque
from dataclasses import dataclass, field

import numpy as np

from engine.core.errors import InvalidOrder
from engine.core.types import OrdType, Reason, Status, TradingState
from engine.kernel import InstrumentSpec, Kernel
from engine.risk.limits import RiskConfig, RiskLimits
from engine.strategy.base import Strategy
from tests.kit.kernels import ORDER, REQUEST, events

TICK, LOT = 0.5, 0.1
SYMBOLS = ("A", "B")
NAMES = ("s0", "s1", "s2")
ALL = -1
EPISODE = 2_000
"""Orders of an episode; one that is halted by a breaker ends before."""


class Quiet(Strategy):
    """Does nothing of its own; the storm acts through its context."""

    def on_start(self, ctx):
        self.ctx = ctx


@dataclass
class Live:
    """A live order: its prices and quantities, the worse of both while it is being changed."""

    row: np.ndarray
    cell: tuple[int, int]
    side: int
    ticks: set[int]
    lots: int
    market: bool
    venue: tuple[int, int]


@dataclass
class Scope:
    """What a scope has sent."""

    limits: RiskLimits
    new: deque[int] = field(default_factory=lambda: deque(maxlen=400))
    said: deque[tuple[int, tuple[int, ...]]] = field(default_factory=lambda: deque(maxlen=16))
    peak: float = 0.0


def draw(rng: random.Random, wide: int, *, lots: bool) -> RiskLimits:
    """Random limits, each there or not; ``wide`` is how much room a scope has."""
    menu = {
        "max_notional": rng.uniform(200, 900),
        "max_open_orders": rng.randint(1, 12) * wide,
        "price_collar_bps": rng.uniform(50, 900),
        "self_trade_prevention": True,
        "max_data_age_ns": rng.randint(10**8, 10**10),
        "max_open_notional": rng.uniform(300, 2500) * wide,
        "max_gross_notional": rng.uniform(300, 2500) * wide,
        "capital": rng.uniform(500, 2500) * wide,
        "order_rate": rng.uniform(2, 200),
        "message_rate": rng.uniform(20, 300),
        "duplicate_window_ns": rng.randint(1, 10**8),
        "max_order_to_trade_ratio": rng.uniform(20, 400),
        "max_daily_loss": rng.uniform(5, 300),
        "max_drawdown": rng.uniform(5, 300),
    }
    if lots:
        menu["max_order_qty"] = rng.randint(2, 12) * LOT
        menu["max_position"] = rng.randint(0, 40) * LOT * wide
    chosen = {name: value for name, value in menu.items() if rng.random() < 0.2}
    if "order_rate" in chosen:
        chosen["order_burst"] = rng.randint(1, 30)
    if "message_rate" in chosen:
        chosen["message_burst"] = rng.randint(3, 40)
        chosen["cancel_reserve"] = rng.randint(0, 2)
    if rng.random() < 0.5 and {"max_daily_loss", "max_drawdown"} & set(chosen):
        chosen["loss_action"] = "reduce"
    return RiskLimits(**chosen)


class Storm:
    """One episode: a kernel under random orders, and the second accounting of it."""

    def __init__(self, seed: int) -> None:
        """Draws a market and limits."""
        self.rng = rng = random.Random(seed)
        self.kernel = Kernel([InstrumentSpec(symbol, TICK, LOT) for symbol in SYMBOLS], max_orders=64)
        self.scopes: dict[tuple[int, int], Scope] = {}
        self.strategies = [Quiet() for _ in NAMES]
        wide = {symbol: draw(rng, 3, lots=True) for symbol in SYMBOLS if rng.random() < 0.6}
        everything = draw(rng, 5, lots=False) if rng.random() < 0.6 else RiskLimits()
        self.kernel.set_risk(RiskConfig(limits=everything, instruments=wide))
        self.scopes[ALL, ALL] = Scope(everything)
        for number, (name, strategy) in enumerate(zip(NAMES, self.strategies, strict=True)):
            limits = draw(rng, 1, lots=True)
            self.kernel.add_strategy(name, strategy, limits=limits)
            self.scopes[number, ALL] = Scope(limits.of_sums())
            for i in range(len(SYMBOLS)):
                self.scopes[number, i] = Scope(limits.of_orders())
        for i, symbol in enumerate(SYMBOLS):
            self.scopes[ALL, i] = Scope(wide.get(symbol, RiskLimits()))
        self.now = 1_700_000_000 * 10**9
        self.kernel.start(self.now)
        self.live: dict[int, Live] = {}
        self.waiting: list[int] = []
        self.position: Counter[tuple[int, int]] = Counter()
        self.cash: Counter[tuple[int, int]] = Counter()
        self.counts: Counter[str] = Counter()
        self.tops = [(200, 202), (400, 402)]
        for i in range(len(SYMBOLS)):
            self.quote(i, 0)

    # --- inputs ----------------------------------------------------------------------------------

    def quote(self, i: int, move: int) -> None:
        """A market of one level a side, moved by some ticks."""
        bid, ask = self.tops[i]
        rows = [("bid", bid * TICK, 0.0), ("ask", ask * TICK, 0.0)] if move else []
        self.tops[i] = bid, ask = bid + move, ask + move
        rows += [("bid", bid * TICK, 5.0), ("ask", ask * TICK, 5.0)]
        self.kernel.market(i, events(*rows, ts=self.now))

    def step(self) -> None:
        """One random input, and what it must leave true."""
        rng = self.rng
        # In bursts: most inputs come at the same instant.
        self.now += rng.choice((0, 0, 0, 1, 10**5, 10**6, 10**7))
        self.kernel.timer(self.now)
        what = rng.random()
        if what < 0.55:
            self.submit()
        elif what < 0.63:
            self.change()
        elif what < 0.72:
            self.cancel()
        elif what < 0.97:
            self.answer()
        else:
            i = rng.randrange(len(SYMBOLS))
            if self.tops[i][0] > 40:
                self.quote(i, rng.randint(-3, 3))
        self.collect()

    def submit(self) -> None:
        """A random order."""
        rng = self.rng
        i = rng.randrange(len(SYMBOLS))
        tick = max(1, sum(self.tops[i]) // 2 + rng.randint(-12, 12))
        kind = OrdType.MARKET if rng.random() < 0.05 else OrdType.LIMIT
        self.counts["orders"] += 1
        ctx = rng.choice(self.strategies).ctx
        ctx.submit(SYMBOLS[i], rng.choice((1, -1)), tick * TICK, rng.randint(1, 14) * LOT, order_type=kind)

    def pick(self) -> int:
        return self.rng.choice(list(self.live)) if self.live else 0

    def change(self) -> None:
        """A random modify; one of an order with a request in flight is refused."""
        order_id = self.pick()
        if order_id:
            order = self.live[order_id]
            tick = max(1, sum(self.tops[order.cell[1]]) // 2 + self.rng.randint(-12, 12))
            try:
                self.strategies[order.cell[0]].ctx.modify(
                    order_id, tick * TICK, self.rng.randint(1, 14) * LOT
                )
            except InvalidOrder:
                self.counts["in flight"] += 1

    def cancel(self) -> None:
        """A random cancel, which nothing may deny."""
        order_id = self.pick()
        if order_id:
            try:
                self.strategies[self.live[order_id].cell[0]].ctx.cancel(order_id)
            except InvalidOrder:
                self.counts["in flight"] += 1

    def answer(self) -> None:
        """The venue answers a request, refuses it, or executes an order."""
        rng = self.rng
        if self.waiting and rng.random() < 0.7:
            order_id = self.waiting.pop(rng.randrange(len(self.waiting)))
            self.reply(order_id, rng.random() < 0.05)
        elif order_id := self.pick():
            order = self.live[order_id]
            if order.row["status"][0] in (Status.NEW, Status.PARTIALLY_FILLED) and order.row["req"][0] == 0:
                self.execute(order_id, rng.randint(1, int(order.row["leaves_qty"][0])))

    def reply(self, order_id: int, refused: bool) -> None:
        order = self.live[order_id]
        row, asked = order.row, order.row["req"][0]
        report = row.copy()
        report["req"] = Status.REJECTED if refused else Status.NONE
        if asked == Status.NEW and order.market and not refused:
            row["req"] = Status.NONE
            self.execute(order_id, int(row["leaves_qty"][0]))
            return
        if not refused:
            report["status"] = Status.CANCELED if asked == Status.CANCELED else Status.NEW
            report["leaves_qty"] = report["qty"] if asked == Status.REPLACED else report["leaves_qty"]
        if asked == Status.REPLACED and refused:
            row["price_tick"], row["qty"] = order.venue
        elif not refused:
            row["status"], row["leaves_qty"] = report["status"], report["leaves_qty"]
        row["req"] = Status.NONE
        over = asked == Status.CANCELED if not refused else asked == Status.NEW
        if over:
            del self.live[order_id]
        else:
            self.settle(order)
        self.kernel.report(report, self.now)

    def execute(self, order_id: int, lots: int) -> None:
        order = self.live[order_id]
        row = order.row
        row["leaves_qty"] -= lots
        row["exec_qty"] = lots
        top = self.tops[order.cell[1]]
        row["exec_price_tick"] = top[order.side > 0] if order.market else row["price_tick"]
        row["status"] = Status.PARTIALLY_FILLED if row["leaves_qty"][0] else Status.FILLED
        self.position[order.cell] += order.side * lots
        self.cash[order.cell] -= order.side * lots * int(row["exec_price_tick"][0])
        if row["leaves_qty"][0]:
            self.settle(order)
        else:
            del self.live[order_id]
        self.kernel.report(row.copy(), self.now)
        row["exec_qty"] = 0

    def settle(self, order: Live) -> None:
        """Nothing is in flight for an order: it is what the venue has."""
        order.lots = int(order.row["leaves_qty"][0])
        order.ticks = {int(order.row["price_tick"][0])}

    # --- outputs and what must hold --------------------------------------------------------------

    def collect(self) -> None:
        """Takes what the kernel put out; every request that adds to the market must respect all limits."""
        for output in self.kernel.drain():
            row = output["order"].reshape(1).copy()
            order_id = int(row["order_id"][0])
            if output["kind"] == REQUEST:
                self.requested(order_id, row)
            elif output["kind"] == ORDER and row["status"][0] == Status.DENIED:
                self.denied(row)
        self.counts["states"] += self.kernel.trading_state is not TradingState.ACTIVE

    def denied(self, row: np.ndarray) -> None:
        reason = Reason(int(row["reason"][0]))
        self.counts[reason.name.lower()] += 1
        limit, actual = float(row["queue_ahead"][0]), float(row["queue_traded"][0])
        assert row["req"][0] != Status.CANCELED, "a cancel was denied"
        if reason.name.startswith(("MAX_", "ORDER_RATE", "MESSAGE_RATE", "BUYING", "STALE", "PRICE")):
            assert actual > limit, f"{reason.name}: {actual} does not pass {limit}"

    def requested(self, order_id: int, row: np.ndarray) -> None:
        asked = row["req"][0]
        self.waiting.append(order_id)
        if asked == Status.CANCELED:
            self.live[order_id].row["req"] = asked
            return
        cell = int(row["strategy"][0]), int(row["instrument"][0])
        market = bool(row["order_type"][0] == OrdType.MARKET)
        side, tick, lots = int(row["side"][0]), int(row["price_tick"][0]), int(row["qty"][0])
        if asked == Status.NEW:
            if market:
                tick = self.tops[cell[1]][side > 0]
            order = self.live[order_id] = Live(row, cell, side, {tick}, lots, market, (tick, lots))
            grown = lots
        else:
            order = self.live[order_id]
            order.venue = int(order.row["price_tick"][0]), int(order.row["qty"][0])
            grown = max(lots, int(order.row["leaves_qty"][0])) - order.lots
            order.ticks = {tick, order.venue[0]}
            order.lots = max(lots, order.lots)
            leaves, order.row = order.row["leaves_qty"][0], row
            row["leaves_qty"] = leaves
        self.counts["passed"] += 1
        for scope, what in self.scopes.items():
            if scope[0] in (ALL, cell[0]) and scope[1] in (ALL, cell[1]):
                self.check_order(what.limits, order, tick, lots)
                self.check_sums(what, scope, order, grown)
                self.check_times(what, order, asked == Status.NEW, tick, lots)

    def members(self, scope: tuple[int, int]) -> list[Live]:
        return [o for o in self.live.values() if self.inside(o.cell, scope)]

    def inside(self, cell: tuple[int, int], scope: tuple[int, int]) -> bool:
        return scope[0] in (ALL, cell[0]) and scope[1] in (ALL, cell[1])

    def check_order(self, limits: RiskLimits, order: Live, tick: int, lots: int) -> None:
        bid, ask = self.tops[order.cell[1]]
        if limits.max_order_qty is not None:
            assert lots * LOT <= limits.max_order_qty + 1e-9, "max_order_qty"
        if limits.max_notional is not None:
            assert tick * lots * TICK * LOT <= limits.max_notional * (1 + 1e-12), "max_notional"
        if limits.price_collar_bps is not None:
            far = abs(2 * tick - bid - ask) / (bid + ask)
            assert far * 1e4 <= limits.price_collar_bps * (1 + 1e-9), "price_collar"

    def check_sums(self, what: Scope, scope: tuple[int, int], order: Live, grown: int) -> None:
        limits, members = what.limits, self.members(scope)
        if limits.max_open_orders is not None and order.row["req"][0] == Status.NEW:
            assert len(members) <= limits.max_open_orders, "max_open_orders"
        cells = {cell for cell in (*self.position, *(o.cell for o in members)) if self.inside(cell, scope)}
        if limits.max_position is not None and grown > 0:
            held = sum(self.position[cell] for cell in cells)
            worst = sum(o.lots for o in members if o.side == order.side) + order.side * held
            assert worst * LOT <= limits.max_position + 1e-9, "max_position"
        if limits.max_open_notional is not None and grown > 0:
            open_value = sum(max(o.ticks) * o.lots for o in members) * TICK * LOT
            assert open_value <= limits.max_open_notional * (1 + 1e-12), "max_open_notional"
        worst_sides = {cell: self.worst(cell, members) for cell in cells}
        sides, own = worst_sides[order.cell], order.side < 0
        gross = sum(sum(self.tops[c[1]]) * max(both) for c, both in worst_sides.items()) * TICK / 2 * LOT
        equity = (
            sum(self.cash[c] * 2 + sum(self.tops[c[1]]) * self.position[c] for c in cells) * TICK / 2 * LOT
        )
        if grown > 0 and sides[own] > sides[not own]:
            if limits.max_gross_notional is not None:
                assert gross <= limits.max_gross_notional * (1 + 1e-9), "max_gross_notional"
            if limits.capital is not None:
                assert gross <= (limits.capital + equity) * (1 + 1e-9), "buying_power"
        reducing = self.position[order.cell] * order.side < 0
        if limits.max_daily_loss is not None and not (limits.loss_action == "reduce" and reducing):
            assert -equity <= limits.max_daily_loss * (1 + 1e-9), "max_daily_loss"

    def worst(self, cell: tuple[int, int], members: list[Live]) -> tuple[int, int]:
        """What could be bought up to and sold down to in a cell."""
        buy = sum(o.lots for o in members if o.cell == cell and o.side > 0)
        sell = sum(o.lots for o in members if o.cell == cell and o.side < 0)
        return self.position[cell] + buy, sell - self.position[cell]

    def check_times(self, what: Scope, order: Live, new: bool, tick: int, lots: int) -> None:
        limits = what.limits
        if new:
            said = (order.cell[1], order.side, int(order.row["price_tick"][0]), lots, int(order.market))
            if limits.duplicate_window_ns:
                for ts, other in what.said:
                    assert other != said or self.now - ts > limits.duplicate_window_ns, "duplicate_content"
            what.said.append((self.now, said))
            what.new.append(self.now)
            if limits.order_rate is not None:
                interval, burst = -(-(10**9) // limits.order_rate), limits.order_burst
                for back in (burst, 2 * burst, 5 * burst):
                    if back < len(what.new):
                        span = self.now - what.new[-1 - back]
                        assert span >= (back - burst + 1) * interval, "order_rate"
        if limits.self_trade_prevention:
            for other in self.live.values():
                # A whole strategy's limit is of its own orders, the others' are of everybody's.
                scope = next(key for key, value in self.scopes.items() if value is what)
                opposite = other.side == -order.side and other.cell[1] == order.cell[1]
                if opposite and not other.market and self.inside(other.cell, scope):
                    meets = any((tick - t) * order.side >= 0 for t in other.ticks)
                    assert not meets | order.market, "self_trade_prevention"


def episode(seed: int, orders: int = EPISODE) -> Counter[str]:
    """Runs one episode.

    Args:
        seed: Of everything in it.
        orders: How many are tried at most.

    Returns:
        How often what happened.
    """
    storm = Storm(seed)
    halted = 0
    while storm.counts["orders"] < orders and halted < 200:
        storm.step()
        halted += storm.kernel.trading_state is TradingState.HALTED
    storm.kernel.check_invariants()
    return storm.counts


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--orders", type=int, default=20_000, help="orders to try, all episodes together")
    parser.add_argument("--seed", type=int, default=1, help="of the first episode")
    options = parser.parse_args()
    counts: Counter[str] = Counter()
    seed = options.seed
    while counts["orders"] < options.orders:
        try:
            counts += episode(seed)
        except AssertionError as error:
            print(f"seed {seed}: {error}\nrepeat: python -m tests.fuzz.risk --seed {seed} --orders 1")
            return 1
        seed += 1
    for name, count in counts.most_common():
        print(f"{name:28} {count:>10}")
    print(f"no limit was exceeded in {seed - options.seed} episodes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
