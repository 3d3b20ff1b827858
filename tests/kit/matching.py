"""Matchers in tests: both implementations, commands by name, events as text, a client of the public feed."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from engine.core.types import Reason
from engine.matching.engine import MatchingEngine
from engine.matching.naive import NaiveMatcher
from engine.matching.records import (
    Code,
    EventKind,
    Kind,
    Life,
    OrderType,
    Phase,
    command_dtype,
)

BUY, SELL = 1, -1
SIDES = {BUY: "B", SELL: "S", 0: "-"}
IMPLEMENTATIONS: dict[str, Callable] = {"compiled": MatchingEngine, "naive": NaiveMatcher}


class Planted(NaiveMatcher):
    """An oracle with a fault: who makes an order smaller loses the place."""

    def shrink(self, order, new_open):
        """Moves a resting order to the end of its queue."""
        super().shrink(order, new_open)
        if order.in_book:
            queue = self.levels[order.side][order.px]
            queue.remove(order)
            queue.append(order)


def command(kind: Kind, **fields) -> np.ndarray:
    """One command; what is not named is 0."""
    row = np.zeros(1, command_dtype)
    row["kind"] = kind
    for name, value in fields.items():
        row[name] = value
    return row


def text(event: np.void) -> str:
    """An event as one short line."""
    kind = EventKind(int(event["kind"]))
    number, other, qty = int(event["order_id"]), int(event["other_id"]), int(event["qty"])
    at = f"{qty}@{int(event['px'])}"
    if kind == EventKind.TRADE:
        return f"TRADE {number}<{other} {at} {SIDES[int(event['side'])]}"
    if kind == EventKind.LEVEL:
        return f"LEVEL {SIDES[int(event['side'])]} {at} of {other}"
    if kind == EventKind.PHASE_CHANGED:
        return f"PHASE {Phase(qty).name}"
    if kind == EventKind.UNCROSSED:
        return f"UNCROSSED {at}"
    if kind == EventKind.REMOVED:
        return f"REMOVED {number}"
    if kind == EventKind.ENDED:
        return f"ENDED {number} {qty} {Reason(int(event['reason'])).name}"
    return f"{kind.name} {number} {at}"


class Answer(NamedTuple):
    """What a command was answered with."""

    code: Code
    exec_qty: int
    exec_value: int
    leaves_qty: int
    px: int
    events: list[str]

    @property
    def trades(self) -> list[str]:
        """The trades alone."""
        return [event for event in self.events if event.startswith("TRADE")]

    @property
    def ends(self) -> list[str]:
        """The ends alone."""
        return [event for event in self.events if event.startswith("ENDED")]


class Client:
    """A book rebuilt from the public events alone.

    Attributes:
        queues: For each side, price to a dict of order id and shown quantity, in queue order.
        levels: What the LEVEL events say: (side, price) to quantity and number of orders.
        phase: The last one announced.
    """

    def __init__(self) -> None:
        self.queues: dict[int, dict[int, dict[int, int]]] = {BUY: {}, SELL: {}}
        self.levels: dict[tuple[int, int], tuple[int, int]] = {}
        self.phase = int(Phase.CONTINUOUS)
        self.seq = 0
        self.told: set[int] = set()

    def take(self, events: np.ndarray) -> None:
        """Takes events in; raises AssertionError on what a client could not follow."""
        for event in events[["seq", "kind", "side", "px", "qty", "order_id", "other_id"]].tolist():
            seq, kind, side, px, qty, order_id, other_id = event
            assert seq == self.seq + 1, f"event {seq} after {self.seq}"
            self.seq = seq
            self.told |= {kind} & {EventKind.ADDED, EventKind.LEVEL}
            if kind == EventKind.ADDED:
                queue = self.queues[side].setdefault(px, {})
                assert order_id not in queue, f"order {order_id} was added twice"
                queue[order_id] = qty
            elif kind == EventKind.CHANGED:
                assert self.queues[side][px][order_id] != qty, f"order {order_id} did not change"
                self.queues[side][px][order_id] = qty
            elif kind == EventKind.REMOVED:
                del self.queues[side][px][order_id]
                if not self.queues[side][px]:
                    del self.queues[side][px]
            elif kind == EventKind.LEVEL and other_id:
                self.levels[side, px] = (qty, other_id)
            elif kind == EventKind.LEVEL:
                assert qty == 0
                self.levels.pop((side, px), None)
            elif kind == EventKind.PHASE_CHANGED:
                self.phase = qty

    def totals(self) -> dict[tuple[int, int], tuple[int, int]]:
        """The levels of the rebuilt book, to hold against those of the LEVEL events."""
        return {
            (side, px): (sum(queue.values()), len(queue))
            for side in (BUY, SELL)
            for px, queue in self.queues[side].items()
        }

    def book(self) -> str:
        """The book as one line: bids best first, then asks."""
        bids = [
            f"{i}:{q}@{px}" for px in sorted(self.queues[BUY])[::-1] for i, q in self.queues[BUY][px].items()
        ]
        asks = [f"{i}:{q}@{px}" for px in sorted(self.queues[SELL]) for i, q in self.queues[SELL][px].items()]
        return f"{' '.join(bids)} | {' '.join(asks)}"


class Desk:
    """A matcher with commands by name, and a client that follows it."""

    def __init__(self, matcher) -> None:
        self.matcher = matcher
        self.client = Client()
        self.now = 0

    def send(self, kind: Kind, **fields) -> Answer:
        """Sends one command at ``ts``, by default the time of the last one."""
        fields.setdefault("ts", self.now)
        results, events = self.matcher.apply(command(kind, **fields))
        self.now = max(self.now, fields["ts"])
        self.client.take(events)
        row = results[0]
        assert int(row["n_events"]) == len(events)
        assert all(int(event["ts"]) == self.now for event in events)
        if self.client.told == {EventKind.ADDED, EventKind.LEVEL}:
            assert self.client.levels == self.client.totals()
        numbers = [int(row[name]) for name in ("exec_qty", "exec_value", "leaves_qty", "px")]
        return Answer(Code(int(row["code"])), *numbers, [text(event) for event in events])

    def add(self, order_id: int, side: int, qty: int, px: int = 0, **fields) -> Answer:
        """A limit order of owner 1 unless said otherwise."""
        fields = {"owner": 1, **fields}
        return self.send(Kind.ADD, order_id=order_id, side=side, qty=qty, px=px, **fields)

    def buy(self, order_id: int, qty: int, px: int = 0, **fields) -> Answer:
        """A new buy order."""
        return self.add(order_id, BUY, qty, px, **fields)

    def sell(self, order_id: int, qty: int, px: int = 0, **fields) -> Answer:
        """A new sell order."""
        return self.add(order_id, SELL, qty, px, **fields)

    def market(self, order_id: int, side: int, qty: int, **fields) -> Answer:
        """A market order, IOC unless said otherwise."""
        fields = {"order_type": OrderType.MARKET, "time_in_force": Life.IOC, **fields}
        return self.add(order_id, side, qty, **fields)

    def stop(
        self, order_id: int, side: int, qty: int, stop_px: int, px: int | None = None, **fields
    ) -> Answer:
        """A stop, or with ``px`` a stop-limit."""
        kind = OrderType.STOP if px is None else OrderType.STOP_LIMIT
        return self.add(order_id, side, qty, px or 0, stop_px=stop_px, order_type=kind, **fields)

    def cancel(self, order_id: int, owner: int = 1, **fields) -> Answer:
        """Cancels an order."""
        return self.send(Kind.CANCEL, order_id=order_id, owner=owner, **fields)

    def reduce(self, order_id: int, qty: int, owner: int = 1, **fields) -> Answer:
        """Takes quantity off."""
        return self.send(Kind.REDUCE, order_id=order_id, qty=qty, owner=owner, **fields)

    def modify(self, order_id: int, qty: int, px: int = 0, owner: int = 1, **fields) -> Answer:
        """A new open quantity and price."""
        return self.send(Kind.MODIFY, order_id=order_id, qty=qty, px=px, owner=owner, **fields)

    def phase(self, phase: Phase, **fields) -> Answer:
        """Another phase."""
        return self.send(Kind.PHASE, qty=phase, **fields)

    def bands(self, low: int, high: int, **fields) -> Answer:
        """Other bands."""
        return self.send(Kind.BANDS, px=low, stop_px=high, **fields)

    @property
    def book(self) -> str:
        """The book as the client sees it."""
        return self.client.book()
