"""The kernel against a slow twin: random requests, answers, fills, markets, timers and commands.

After each step the kernel's invariants hold and its orders, open quantities and positions are the
twin's. At the end all inputs are applied to a second kernel, which must put out the same bytes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from engine.core.errors import InvalidOrder
from engine.core.types import Side, Status
from engine.kernel import Kernel
from engine.risk.limits import RiskLimits
from engine.strategy.base import Strategy
from tests.kit.kernels import BTC, ETH, ORDER, REQUEST, events, request

MAX_ORDERS = 6
MAX_POSITION = 20
TICKS = st.integers(1, 400)
LOTS = st.integers(1, 12)
SLOTS = st.sampled_from(["a", "b", "bot"])


class Quiet(Strategy):
    """Does nothing of its own; the test acts through its context."""

    def on_start(self, ctx):
        self.ctx = ctx
        ctx.set_timer(70)

    def on_timer(self, ctx, now):
        ctx.log(f"beat {now}")


@dataclass
class Twin:
    """An order as it must be."""

    owner: str
    side: int
    tick: int
    lots: int
    leaves: int
    client: int = 0
    status: Status = Status.NONE
    req: Status = Status.NEW
    sent: int = 0
    wanted: int = 0
    venue_tick: int = 0
    venue_lots: int = 0

    @property
    def open(self) -> int:
        return max(self.leaves, self.lots) if self.req is Status.REPLACED else self.leaves


class Driver:
    """Applies named inputs to a kernel and keeps all its output."""

    def __init__(self) -> None:
        self.kernel = Kernel([BTC, ETH], max_orders=MAX_ORDERS, outbox_size=64)
        self.strategies = {name: Quiet() for name in ("a", "b")}
        limits = RiskLimits(max_position=MAX_POSITION * BTC.lot_size)
        for name, strategy in self.strategies.items():
            self.kernel.add_strategy(name, strategy, ["BTC"], limits)
        self.kernel.start(1000)
        self.kernel.register_external("bot", ["BTC"], limits=limits)
        self.bytes = b""
        self.taken: list[np.void] = []

    def apply(self, name: str, *arguments):
        """One input; what it returned or raised is part of what is compared."""
        try:
            result = getattr(self, name)(*arguments)
        except InvalidOrder as error:
            result = type(error).__name__
        self.taken = list(self.kernel.drain())
        self.bytes += b"".join(output.tobytes() for output in self.taken) + repr(result).encode()
        return result

    def submit(self, owner, side, tick, lots):
        return self.strategies[owner].ctx.submit("BTC", side, tick * 0.5, lots * 0.1)

    def cancel(self, owner, order_id):
        return self.strategies[owner].ctx.cancel(order_id)

    def modify(self, owner, order_id, tick, lots):
        return self.strategies[owner].ctx.modify(order_id, tick * 0.5, lots * 0.1)

    def ask(self, client, fields):
        self.kernel.request(request(self.kernel, "bot", "BTC", client, **fields), self.kernel.now + 1)

    def report(self, order):
        self.kernel.report(order.copy(), self.kernel.now + 1)

    def market(self, bid, ask):
        rows = events(("bid", bid * 0.5, 1.0), ("ask", ask * 0.5, 2.0), ts=self.kernel.now + 10)
        self.kernel.market(0, rows)

    def timer(self, wait):
        self.kernel.timer(self.kernel.now + wait)

    def command(self, name, *arguments):
        return getattr(self.kernel, name)(*arguments)


class KernelMachine(RuleBasedStateMachine):
    """Drives a kernel and its twin."""

    def __init__(self) -> None:
        super().__init__()
        self.driver = Driver()
        self.inputs: list[tuple] = []
        self.live: dict[int, Twin] = {}
        self.position = dict.fromkeys(("a", "b", "bot"), 0)
        self.running = dict.fromkeys(self.position, True)
        self.halted = False
        self.requests: list[np.ndarray] = []
        self.next_id = 1
        self.next_client = 1

    def apply(self, *step):
        self.inputs.append(step)
        result = self.driver.apply(*step)
        self.requests += [o["order"].reshape(1).copy() for o in self.driver.taken if o["kind"] == REQUEST]
        return result

    def open(self, owner, side):
        return sum(o.open for o in self.live.values() if o.owner == owner and o.side == side)

    def admits(self, owner, side, added, new):
        if not self.running[owner] or self.halted or (new and len(self.live) >= MAX_ORDERS):
            return False
        worst = self.open(owner, side) + added + side * self.position[owner]
        return added <= 0 or worst <= MAX_POSITION

    def pick(self, place, owner=None):
        ids = [i for i, o in self.live.items() if owner is None or o.owner == owner]
        return ids[place % len(ids)] if ids else None

    def want(self, order):
        order.wanted = 3
        if order.req is Status.NONE:
            order.wanted, order.req, order.sent = 2, Status.CANCELED, self.driver.kernel.now

    @rule(owner=SLOTS, side=st.sampled_from([1, -1]), tick=TICKS, lots=LOTS)
    def submit(self, owner, side, tick, lots):
        passes = self.admits(owner, side, lots, True)
        client = 0
        if owner == "bot":
            client, self.next_client = self.next_client, self.next_client + 1
            self.apply("ask", client, {"side": side, "price_tick": tick, "qty": lots})
        else:
            assert (self.apply("submit", owner, Side(side), tick, lots) > 0) is passes
        if passes:
            self.live[self.next_id] = Twin(
                owner,
                side,
                tick,
                lots,
                lots,
                client,
                sent=self.driver.kernel.now,
                venue_tick=tick,
                venue_lots=lots,
            )
        else:
            assert [o["order"]["status"] for o in self.driver.taken if o["kind"] == ORDER] == [Status.DENIED]
        self.next_id += 1

    @precondition(lambda self: self.live)
    @rule(place=st.integers(0, 50))
    def cancel(self, place):
        order_id = self.pick(place)
        order = self.live[order_id]
        if order.owner == "bot":
            self.apply("ask", order.client, {"req": Status.CANCELED})
            if order.req is not Status.CANCELED:
                self.want(order)
        elif order.req is Status.NONE:
            self.apply("cancel", order.owner, order_id)
            order.req, order.sent = Status.CANCELED, self.driver.kernel.now
        else:
            assert self.apply("cancel", order.owner, order_id) == "RequestInProcess"

    @precondition(lambda self: self.live)
    @rule(place=st.integers(0, 50), tick=TICKS, lots=LOTS)
    def modify(self, place, tick, lots):
        order_id = self.pick(place)
        order = self.live[order_id]
        shrinks = tick == order.tick and lots <= order.leaves and not self.running[order.owner]
        added = max(lots, order.leaves) - order.leaves
        passes = order.req is Status.NONE and (
            (shrinks and not self.halted) or self.admits(order.owner, order.side, added, False)
        )
        if order.owner == "bot":
            self.apply("ask", order.client, {"req": Status.REPLACED, "price_tick": tick, "qty": lots})
        else:
            result = self.apply("modify", order.owner, order_id, tick, lots)
            assert result == ("RequestInProcess" if order.req is not Status.NONE else passes)
        if passes:
            order.venue_tick, order.venue_lots = order.tick, order.lots
            order.tick, order.lots, order.req = tick, lots, Status.REPLACED
            order.sent = self.driver.kernel.now

    @precondition(lambda self: self.requests)
    @rule(place=st.integers(0, 50), accept=st.sampled_from([True, True, True, False]))
    def answer(self, place, accept):
        report = self.requests.pop(place % len(self.requests))
        order_id, asked = int(report["order_id"][0]), Status(int(report["req"][0]))
        order = self.live.get(order_id)
        if order is None or not accept:
            report["req"] = Status.REJECTED
            self.apply("report", report)
            if order is not None:
                self.refused(order_id, order, asked)
            return
        report["req"], report["exch_ts"] = Status.NONE, self.driver.kernel.now + 1
        report["status"] = Status.CANCELED if asked is Status.CANCELED else Status.NEW
        if asked is Status.REPLACED:
            report["leaves_qty"] = report["qty"]
        else:
            report["leaves_qty"] = order.leaves
        self.apply("report", report)
        if asked is Status.CANCELED:
            del self.live[order_id]
            return
        order.leaves = int(report["leaves_qty"][0])
        order.status, order.req = Status.NEW, Status.NONE
        order.venue_tick, order.venue_lots = order.tick, order.lots
        self.follow_up(order)

    def refused(self, order_id, order, asked):
        if asked is Status.NEW:
            del self.live[order_id]
            return
        if asked is Status.REPLACED:
            order.tick, order.lots = order.venue_tick, order.venue_lots
        order.req = Status.NONE
        self.follow_up(order)

    def follow_up(self, order):
        if order.wanted and order.req is Status.NONE:
            order.wanted, order.req, order.sent = order.wanted - 1, Status.CANCELED, self.driver.kernel.now

    @precondition(lambda self: any(o.status is not Status.NONE for o in self.live.values()))
    @rule(place=st.integers(0, 50), lots=LOTS)
    def fill(self, place, lots):
        ids = [i for i, o in self.live.items() if o.status is not Status.NONE]
        order_id = ids[place % len(ids)]
        order = self.live[order_id]
        lots = min(lots, order.leaves)
        order.leaves -= lots
        order.status = Status.PARTIALLY_FILLED if order.leaves else Status.FILLED
        report = request(
            self.driver.kernel, order.owner, "BTC", order.client, side=order.side, order_id=order_id,
            price_tick=order.venue_tick, qty=order.venue_lots, leaves_qty=order.leaves, exec_qty=lots,
            exec_price_tick=order.venue_tick, req=Status.NONE, status=order.status, fee=0.125,
            exch_ts=self.driver.kernel.now,
        )  # fmt: skip
        self.apply("report", report)
        self.position[order.owner] += order.side * lots
        if order.status is Status.FILLED:
            del self.live[order_id]
        else:
            self.follow_up(order)

    def market(self, bid, spread):
        self.apply("market", bid, bid + spread)

    def timer(self, wait):
        self.apply("timer", wait)

    def pause(self, owner, pause):
        self.apply("command", "pause" if pause else "resume", owner)
        self.running[owner] = not pause

    def cancel_all(self, owner):
        self.apply("command", "cancel_orders", owner)
        for order in self.live.values():
            if owner in ("", order.owner):
                self.want(order)

    def halt(self):
        self.apply("command", "emergency_stop", False, False)
        self.halted = True

    def resume_all(self):
        self.apply("command", "resume")
        self.halted = False
        self.running = dict.fromkeys(self.running, True)

    def leave_and_return(self):
        self.apply("command", "disconnect_external", "bot")
        self.apply("command", "register_external", "bot", ["BTC"])
        self.running["bot"] = True
        for order in self.live.values():
            if order.owner == "bot":
                self.want(order)

    @rule(what=st.integers(0, 11), owner=SLOTS, bid=st.integers(100, 200), wait=st.integers(0, 500))
    def world(self, what, owner, bid, wait):
        """Markets and timers, and now and then a command; most commands are undone before long."""
        if what <= 2:
            self.market(bid, 1 + wait % 5)
        elif what <= 4:
            self.timer(wait)
        elif what <= 6:
            self.resume_all()
        elif what <= 8:
            self.pause(owner, what == 7)
        elif what == 9:
            self.cancel_all(owner if wait % 3 else "")
        elif what == 10:
            self.halt()
        else:
            self.leave_and_return()

    @rule(places=st.lists(st.integers(0, 50), min_size=1, max_size=4))
    def answer_some(self, places):
        for place in places:
            if self.requests:
                self.answer(place, True)

    @invariant()
    def the_twin_agrees(self):
        kernel = self.driver.kernel
        kernel.check_invariants()
        held = {
            o.order_id: (o.side, o.price_tick, round(o.qty / 0.1), round(o.leaves_qty / 0.1), o.status, o.req)
            for name in self.position
            for o in kernel.orders(name)
        }
        assert held == {i: (o.side, o.tick, o.lots, o.leaves, o.status, o.req) for i, o in self.live.items()}
        for owner, lots in self.position.items():
            assert kernel.state(owner, "BTC").position == pytest.approx(lots * 0.1)

    def teardown(self):
        again = Driver()
        for step in self.inputs:
            again.apply(*step)
        assert again.bytes == self.driver.bytes
        assert again.kernel.state_hash() == self.driver.kernel.state_hash()


KernelMachine.TestCase.settings = settings(max_examples=50, stateful_step_count=50, deadline=None)
TestKernelMachine = KernelMachine.TestCase


@pytest.mark.parametrize("seed", range(8))
def test_a_long_walk(seed):
    """As the machine, but far: short runs seldom fill a position to its limit or a table to its end."""
    rng = np.random.default_rng(seed)
    machine = KernelMachine()

    def draw(low, high):
        return int(rng.integers(low, high + 1))

    def pick(*values):
        return values[draw(0, len(values) - 1)]

    for _ in range(600):
        what, place = rng.random(), draw(0, 50)
        if what < 0.30:
            machine.submit(pick("a", "b", "bot"), pick(1, -1), draw(150, 250), draw(1, 12))
        elif what < 0.36 and machine.live:
            machine.cancel(place)
        elif what < 0.46 and machine.live:
            same = machine.live[machine.pick(place)].tick
            machine.modify(place, pick(same, draw(150, 250)), draw(1, 12))
        elif what < 0.72 and machine.requests:
            machine.answer(place, rng.random() < 0.75)
        elif what < 0.94 and any(o.status is not Status.NONE for o in machine.live.values()):
            machine.fill(place, draw(1, 12))
        elif what > 0.94:
            machine.world(draw(0, 11), pick("a", "b", "bot"), draw(100, 200), draw(0, 500))
        machine.the_twin_agrees()
    machine.teardown()
