"""A whole daemon's inside in one thread, on a made-up clock and network, driven by one seed.

The engine loop, its rings, kernel and venue are the real ones. The feed, the bridge, its clients and the
operator are played by the seed: messages to the engine are delayed or lost, traders hang up and come back,
rings fill, the bridge stalls, the feed leaves gaps and stands still, and the engine dies and comes back from
its journal. After every step all invariants are checked, against the engine's own audit and against the
simulator's ledger.
"""

from __future__ import annotations

import random
from collections import deque
from functools import cache, lru_cache
from typing import Any, Protocol

import numpy as np

from engine.core.ring import Bell, Ring
from engine.core.settings import convert
from engine.core.types import OrdType, Side, Status, TimeInForce
from engine.feeds.merge import Merger
from engine.feeds.simulated import SimulatedMarket
from engine.kernel import Kernel
from engine.risk.limits import RiskLimits
from engine.runtime.engine import EngineLoop
from engine.runtime.logging import configure
from engine.runtime.loop import simulate_clock
from engine.runtime.publish import Publisher
from engine.runtime.records import (
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
from engine.strategy import loader
from tests.kit.loops import ArraySource
from tests.simulation.crash import Kept
from tests.simulation.ledger import Broken, Ledger, must
from tests.simulation.plan import LOT, MOST_LOTS, ORDERS_RESERVE, SYMBOL, Plan, configuration

MID_TICK = 600_000
TRADERS = ("ada", "bob")
MARKETS = 16
FORCES = (TimeInForce.GTC, TimeInForce.GTC, TimeInForce.GTX, TimeInForce.IOC, TimeInForce.FOK)
INCOMING = ("feed", "orders_in", "control_in")
OUTGOING = ("orders_out", "market_out", "telemetry_out", "control_out")
REL = 1e-9


@lru_cache(maxsize=MARKETS)
def _market(number: int) -> np.ndarray:
    """Records of a simulated market, as a feed writes them."""
    events = SimulatedMarket(SYMBOL, seed=number, rate=4.0).generate(1.0)
    items = Merger([ArraySource(SYMBOL, events)]).read(2 * len(events))
    records = np.zeros(len(items), record_dtype)
    records["kind"] = Kind.MARKET
    for name in ("flags", "instrument", "ts"):
        records[name] = items[name]
    records["payload"].view(market_record_dtype)["event"] = items["event"]
    return records


@cache
def _ring(name: str, slots: int) -> Ring:
    """A ring of the engine's for one world after the other: making megabytes for each takes too long."""
    return Ring(slots, SLOT_BYTES)


class Plant(Protocol):
    """Something wrong, for the simulator to find: called before every step."""

    def __call__(self, world: World) -> None: ...


class Trader:
    """A client of the bridge: what it sent, by its own log."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.slot: int | None = None
        self.connected = False
        self.next_id = 1
        self.sent: set[int] = set()


class World:
    """A simulated daemon.

    Args:
        seed: Decides everything.
        plant: A bug to plant.
    """

    def __init__(self, seed: int, plant: Plant | None = None) -> None:
        self.rng = random.Random(seed)
        self.plan = Plan.of(self.rng)
        self.plant = plant
        self.clock = 1_000_000_000_000
        self.traders = {name: Trader(name) for name in TRADERS}
        self.wire: deque[tuple[int, np.ndarray, Trader, int]] = deque()
        self.ledger = Ledger(LOT)
        self.step_number = 0
        self.row = 0
        self.stalled = False
        self._requests = 0
        self._answers: dict[int, dict[str, Any]] = {}
        self._joiners = {name: BlobJoiner() for name in ("orders_out", "control_out")}
        self._build(seed)

    def _build(self, seed: int) -> None:
        plan, rng = self.plan, self.rng
        self.config = configuration(plan, rng, seed)
        self._limit(0, plan.most)
        sizes = {
            "feed": 1024,
            "orders_in": plan.orders_in,
            "control_in": 64,
            "orders_out": 2 * ORDERS_RESERVE,
            "market_out": 1024,
            "telemetry_out": 64,
            "control_out": 64,
        }
        # The engine takes what lies in one piece: where a ring wraps must be the same in every run.
        self.rings = {
            name: _ring(name, slots) if name.endswith("_out") else Ring(slots, SLOT_BYTES)
            for name, slots in sizes.items()
        }
        for name in OUTGOING:
            # A world that failed may have left something in it.
            self.rings[name].pop_many()
        if plan.filler:
            # What the bridge has not read yet: the ring is nearly at the reserve that makes the engine busy.
            self.rings["orders_out"].push_many(np.zeros((plan.filler, SLOT_BYTES), np.uint8))
        self._start_engine()
        self.kept = Kept(self.engine, seed, self._another) if plan.journal else None
        self.feed = _market(rng.randrange(MARKETS)) if not plan.market else None
        self.now = self.config.feed.opens if plan.market else int(self.feed["ts"][0])

    def _start_engine(self) -> EngineLoop:
        """The engine as its process makes it, on the rings that are there."""
        self.engine = self._make_engine(self.rings)
        self.kernel = self.engine.kernel
        return self.engine

    def _another(self) -> EngineLoop:
        """The same on rings that nobody looks at, for a standby."""
        return self._make_engine({name: _ring(f"own {name}", 64) for name in (*INCOMING, *OUTGOING)})

    def _make_engine(self, rings: dict[str, Ring]) -> EngineLoop:
        config = self.config
        kernel = Kernel(
            config.instruments,
            max_orders=config.engine.max_orders,
            outbox_size=256,
            window_ticks=64,
            seed=config.feed.seed,
        )
        for chosen in config.strategies:
            limits = convert(chosen.limits, RiskLimits, source="simulation")
            strategy = loader.create(loader.load(chosen.cls), chosen.params)
            kernel.add_strategy(chosen.id, strategy, None, limits)
        out = Publisher(kernel, *(rings[name] for name in OUTGOING), depth_interval_us=0)
        incoming = (rings[name] for name in INCOMING)
        return EngineLoop(config, kernel, out, *incoming, Bell(), configure("engine", None, console=False))

    def _limit(self, slot: int, most: int) -> None:
        self.ledger.most[slot], self.ledger.most_lots[slot] = most, MOST_LOTS

    # --- running ---------------------------------------------------------------------------------

    def run(self) -> int:
        """Plays the world to its end; returns the engine's state hash.

        Raises:
            Broken: An invariant does not hold.
            RingbookError: The engine gave up, which nothing here may make it do.
        """
        simulate_clock(self.clock)
        try:
            for name in TRADERS:
                self._connect(self.traders[name])
            for _ in range(self.plan.steps):
                self.step()
            self._finish()
        finally:
            simulate_clock(None)
            if self.kept is not None:
                for what in ("deaths", "from_snapshots", "removed"):
                    self.ledger.tally[what] = getattr(self.kept, what)
                self.kept.close()
        return self.kernel.state_hash()

    def step(self) -> None:
        """One step: what everybody does, a few turns of the engine, and all checks."""
        rng, plan = self.rng, self.plan
        self.step_number += 1
        self.clock += rng.randrange(400_000_000)
        simulate_clock(self.clock)
        if self.plant is not None:
            self.plant(self)
        if self.kept is not None and rng.random() < plan.death:
            self.kept.die(self.engine, self._start_engine)
        for trader in self.traders.values():
            self._trade(trader)
        self._deliver()
        if rng.random() < plan.command:
            self._operate()
        if rng.random() >= plan.silence:
            self._feed()
        self.stalled = rng.random() < plan.stall
        for _ in range(rng.randint(1, 3)):
            self.engine.turn(0.0)
        if not self.stalled:
            self._read()
        self.check()

    def check(self) -> None:
        """Holds the engine against its own audit and against the ledger.

        Raises:
            Broken: They differ.
            InvariantError: The engine's own audit found it.
        """
        self.kernel.check_invariants()
        self.engine._venue.check_invariants()
        if len(self.rings["orders_out"]):
            # The bridge has not read it yet, and the ledger knows what the bridge does.
            return
        live, told = self.kernel.counters["live_orders"], len(self.ledger.live)
        must(live == told, f"{live} orders are live, {told} by their updates")
        for slot, name in enumerate(self.kernel.strategy_names):
            state, book = self.kernel.state(name, SYMBOL), self.ledger.book(slot)
            must(
                round(state.position / LOT) == book.lots,
                f"{name} holds {state.position}, its fills {book.lots}",
            )
            must(
                state.num_trades == book.trades, f"{name} has {state.num_trades} trades, {book.trades} fills"
            )
            scale = max(1.0, state.trading_value)
            for what in ("balance", "fee"):
                mine, theirs = getattr(book, what), getattr(state, what)
                must(abs(mine - theirs) <= REL * scale, f"{name}: {what} {theirs}, by its fills {mine}")

    def _finish(self) -> None:
        """Everything arrives, the engine stops in order, and the sums of the whole session are looked at."""
        self.plan.loss = self.plan.stall = 0.0
        self._read()
        for _ in range(1000):
            self._deliver(everything=True)
            self.engine.turn(0.0)
            self._read()
            if not self.wire and not len(self.rings["feed"]) and not len(self.rings["orders_in"]):
                break
        if self.feed is not None or self.row:
            self._status(FeedState.ENDED)
        for _ in range(3):
            self.engine.turn(0.0)
        self.engine.stop()
        self._read()
        self.check()
        self.ledger.check_orders()
        must(not self.ledger.live, f"{len(self.ledger.live)} orders never ended")
        for trader in self.traders.values():
            for client in trader.sent:
                n = self.ledger.outcomes[trader.slot, client]
                must(n == 1, f"{trader.name}'s order {client} was taken from it once and answered {n} times")
        asked = {(one.slot, one.client) for one in self.ledger.orders.values() if one.client}
        known = {(trader.slot, client) for trader in self.traders.values() for client in trader.sent}
        must(asked <= known, f"orders that no trader sent: {sorted(asked - known)}")
        if self.plan.market:
            books = self.ledger.books.values()
            must(sum(book.lots for book in books) == 0, "positions of all who trade do not add up to zero")
            turned = sum(self.kernel.state(name, SYMBOL).trading_value for name in self.kernel.strategy_names)
            money = sum(book.balance for book in books)
            must(abs(money) <= REL * max(1.0, turned), f"what all have paid each other adds up to {money}")
        must(self.kernel.counters["dropped"] == 0, "outputs were dropped")

    # --- the feed --------------------------------------------------------------------------------

    def _feed(self) -> None:
        if self.feed is None:
            self.now += self.rng.randrange(60_000_000)
            self.row += 1
            self._status(FeedState.RUNNING, self.now)
            return
        if self.rng.random() < self.plan.gap:
            self.row += self.rng.randrange(40)
        wanted = self.rng.randrange(1, 200)
        rows = self.feed[self.row : self.row + wanted].copy()
        rows["step"] = self.clock
        slots = rows.view(np.uint8).reshape(len(rows), SLOT_BYTES)
        self.row += self.rings["feed"].push_many(slots)

    def _status(self, state: FeedState, ts: int = 0) -> None:
        record = np.zeros(1, record_dtype)
        record["kind"], record["ts"], record["step"] = Kind.FEED_STATUS, ts, self.clock
        record["payload"].view(feed_status_record_dtype)["state"] = state
        self.rings["feed"].push(record.tobytes())

    # --- traders and their network ---------------------------------------------------------------

    def _trade(self, trader: Trader) -> None:
        rng = self.rng
        if not trader.connected:
            if rng.random() < 0.3:
                self._connect(trader)
            return
        if rng.random() < self.plan.hang_up:
            self._hang_up(trader)
            return
        for _ in range(rng.randrange(4)):
            self._send(trader, self._request(trader))

    def _request(self, trader: Trader) -> np.ndarray:
        rng = self.rng
        record = np.zeros(1, record_dtype)
        record["kind"] = Kind.ORDER_REQUEST
        order = record["payload"].view(order_record_dtype)["order"]
        order["strategy"] = trader.slot
        known = sorted(trader.sent)
        draw = rng.random()
        if known and draw < 0.35:
            order["client_order_id"] = rng.choice(known[-8:])
            order["req"] = Status.CANCELED if draw < 0.2 else Status.REPLACED
        elif draw < 0.4:
            order["req"], order["instrument"] = Status.CANCELED, 0
        else:
            order["req"], order["client_order_id"] = Status.NEW, trader.next_id
            trader.next_id += 1
            order["side"] = rng.choice((Side.BUY, Side.SELL))
            order["order_type"] = OrdType.MARKET if rng.random() < 0.1 else OrdType.LIMIT
            order["time_in_force"] = rng.choice(FORCES)
        order["price_tick"] = self._price()
        order["qty"] = rng.randint(1, 6) if rng.random() < 0.95 else rng.choice((2**62, 0, -1))
        return record

    def _price(self) -> int:
        book = self.kernel.book(SYMBOL)
        around = book.best_bid_tick or book.best_ask_tick or MID_TICK
        if self.rng.random() < 0.05:
            return self.rng.choice((0, -1, 2**62))
        return around + self.rng.randint(-5, 5)

    def _send(self, trader: Trader, record: np.ndarray) -> None:
        if self.rng.random() < self.plan.loss:
            return
        due = self.step_number + (self.rng.randrange(4) if self.rng.random() < 0.2 else 0)
        order = record["payload"].view(order_record_dtype)["order"]
        new = order["req"][0] == Status.NEW
        self.wire.append((due, record, trader, int(order["client_order_id"][0]) if new else 0))

    def _deliver(self, everything: bool = False) -> None:
        """The bridge: what has come in goes into the ring, or is answered BUSY, as if it was not sent."""
        for _ in range(len(self.wire)):
            due, record, trader, client = self.wire.popleft()
            if due > self.step_number and not everything:
                self.wire.append((due, record, trader, client))
            elif trader.connected and self.rings["orders_in"].push(record.tobytes()) and client:
                trader.sent.add(client)

    def _connect(self, trader: Trader) -> None:
        answer = self._ask("register", strategy_id=trader.name, symbols=[SYMBOL])
        trader.connected = answer["success"]
        if trader.slot is None and trader.connected:
            trader.slot = answer["slot"]
            self._limit(trader.slot, self.plan.most)
        must(trader.connected and trader.slot == answer["slot"], f"{trader.name} is not let in: {answer}")

    def _hang_up(self, trader: Trader) -> None:
        """The bridge tells the engine of it, and the engine cancels what is live."""
        trader.connected = False
        self._ask("disconnect", strategy_id=trader.name)
        self._read()
        for order_id, one in self.ledger.live.items():
            must(
                one.slot != trader.slot or one.req != Status.NONE,
                f"{trader.name} has left, and nobody cancels its order {order_id}",
            )

    # --- the operator ----------------------------------------------------------------------------

    def _operate(self) -> None:
        rng = self.rng
        name = rng.choice(("", "mm", *TRADERS))
        command = rng.choice(
            ("pause", "resume", "resume", "cancel_orders", "emergency_stop", "update_risk_limits", "resync")
        )
        if command == "emergency_stop":
            self._ask(command, cancel_orders=rng.random() < 0.7, close_position=rng.random() < 0.5)
            # Nobody leaves a halt alone for long, or nothing would happen in the rest of the world.
            if rng.random() < 0.7:
                self._ask("resume")
        elif command == "update_risk_limits":
            self._lower(rng.choice(("mm", *TRADERS)), rng.randint(0, 40))
        elif command == "resync":
            self._ask(command)
        else:
            self._ask(command, strategy_id=name)

    def _lower(self, name: str, most: int) -> None:
        self._read()
        answer = self._ask("update_risk_limits", strategy_id=name, max_position=most * LOT)
        must(answer["success"], f"limits of {name}: {answer}")

        slot = self.kernel.slot(name)
        # Orders that came before the change were held against the old limit, those after it to the new one.
        self.ledger.most[slot] = most

    def _ask(self, command: str, **fields: Any) -> dict[str, Any]:
        """Sends a command and lets the engine turn until it has answered."""
        self._requests += 1
        number = self._requests
        message = {"request_id": number, "command": command, **fields}
        records = blob_records(Kind.CONTROL, message)
        self.rings["control_in"].push_many(records.view(np.uint8).reshape(len(records), SLOT_BYTES))
        for _ in range(20):
            self.engine.turn(0.0)
            self._read()
            if number in self._answers:
                return self._answers.pop(number)
        raise Broken(f"no answer to {message}")

    # --- the bridge ------------------------------------------------------------------------------

    def _read(self) -> None:
        """Takes what the engine says."""
        for name in ("orders_out", "control_out"):
            if not len(self.rings[name]):
                continue
            records = self.rings[name].pop_many().view(record_dtype).reshape(-1)
            if name == "orders_out":
                must(not records["dropped"].any(), "records of orders were dropped")
                self.ledger.take(records)
            for i in np.flatnonzero(records["kind"] == Kind.REPLY):
                answer = self._joiners[name].add(records[i])
                if answer is not None:
                    self._answers[answer["request_id"]] = answer
        for name in ("market_out", "telemetry_out"):
            if len(self.rings[name]):
                self.rings[name].pop_many()
