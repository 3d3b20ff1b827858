"""The simulator's own books: what the engine has told, added up by somebody who trusts none of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from engine.core.types import OrdType, Status
from engine.runtime.records import Kind, fill_record_dtype, order_record_dtype

ENDED = frozenset((Status.FILLED, Status.CANCELED, Status.EXPIRED, Status.REJECTED))

ORDER_FIELDS = (
    *("order_id", "client_order_id", "strategy", "side", "price_tick", "qty", "leaves_qty"),
    *("cum_exec_qty", "status", "req", "order_type"),
)
FILL_FIELDS = ("order_id", "strategy", "side", "qty", "px", "fee")


class Broken(AssertionError):
    """An invariant does not hold."""


def must(holds: bool, text: str) -> None:
    """Raises Broken unless something holds."""
    if not holds:
        raise Broken(text)


@dataclass(slots=True)
class Order:
    """An order as the updates have it."""

    slot: int
    client: int
    side: int
    qty: int
    leaves: int
    cum: int = 0
    filled: int = 0
    req: int = 0
    changed: bool = False
    ended: bool = False

    @property
    def open(self) -> int:
        """Lots it can still execute; of a change on its way, the worse."""
        return max(self.qty, self.leaves) if self.req == Status.REPLACED else self.leaves


class Book:
    """Position and money of a strategy."""

    def __init__(self) -> None:
        self.lots = 0
        self.balance = self.fee = 0.0
        self.trades = 0
        self.open = {1: 0, -1: 0}


class Ledger:
    """Adds up order updates and fills, and holds each against what was there before.

    Args:
        lot_size: Of the instrument.
        most: Lots that each strategy may hold or be about to hold on a side, by slot; no limit without one.
        most_lots: Lots that an order may have, by slot.
    """

    def __init__(self, lot_size: float) -> None:
        self.lot_size = lot_size
        self.most: dict[int, int] = {}
        self.most_lots: dict[int, int] = {}
        self.orders: dict[int, Order] = {}
        self.live: dict[int, Order] = {}
        self.books: dict[int, Book] = {}
        self.outcomes: Counter[tuple[int, int]] = Counter()
        self.tally: Counter[str] = Counter()

    def book(self, slot: int) -> Book:
        """A strategy's position and money."""
        if slot not in self.books:
            self.books[slot] = Book()
        return self.books[slot]

    def take(self, records: np.ndarray) -> None:
        """Takes records of ``orders_out``, in order.

        Args:
            records: ``record_dtype``.

        Raises:
            Broken: What they say cannot be.
        """
        kinds = records["kind"]
        rows = []
        at = np.flatnonzero(kinds == Kind.ORDER)
        if len(at):
            payload = np.ascontiguousarray(records["payload"][at]).view(order_record_dtype).reshape(-1)
            found = payload["order"][list(ORDER_FIELDS)].tolist()
            previous = payload["prev_status"].tolist()
            rows += [(i, self._order, (*row, prev)) for i, row, prev in zip(at, found, previous, strict=True)]
        at = np.flatnonzero(kinds == Kind.FILL)
        if len(at):
            payload = np.ascontiguousarray(records["payload"][at]).view(fill_record_dtype).reshape(-1)
            rows += [
                (i, self._fill, row)
                for i, row in zip(at, payload["fill"][list(FILL_FIELDS)].tolist(), strict=True)
            ]
        for _, act, row in sorted(rows, key=lambda item: item[0]):
            act(*row)

    def _order(
        self,
        order_id: int,
        client: int,
        slot: int,
        side: int,
        tick: int,
        qty: int,
        leaves: int,
        cum: int,
        status: int,
        req: int,
        order_type: int,
        prev: int,
    ) -> None:
        if status == Status.DENIED:
            self.tally["denied"] += 1
            if prev == Status.NONE and req == Status.NEW and client:
                self.outcomes[slot, client] += 1
            return
        one = self.orders.get(order_id)
        before = 0 if one is None else one.open
        if one is None:
            must(
                status == Status.NONE and req == Status.NEW,
                f"order {order_id} begins as {Status(status).name}",
            )
            one = Order(slot, client, side, qty, leaves)
            self.orders[order_id] = self.live[order_id] = one
            self.tally["orders"] += 1
            if client:
                self.outcomes[slot, client] += 1
        must(not one.ended, f"order {order_id} has ended and comes back as {Status(status).name}")
        must((one.slot, one.client, one.side) == (slot, client, side), f"order {order_id} is another's now")
        must(one.cum <= cum, f"order {order_id} has executed {cum} after {one.cum}")
        must(leaves >= 0, f"order {order_id} has {leaves} left")
        must(leaves <= qty or req == Status.REPLACED, f"order {order_id} has {leaves} of {qty} left")
        # What stands open is told again after a resync, and is held against limits only once.
        asked = before == 0 or (req == Status.REPLACED and one.req != Status.REPLACED)
        book = self.book(slot)
        book.open[side] -= before
        one.qty, one.leaves, one.cum, one.req = qty, leaves, cum, req
        one.changed = one.changed or req == Status.REPLACED
        if status in ENDED:
            one.ended = True
            del self.live[order_id]
            must(
                status != Status.FILLED or one.changed or cum == qty,
                f"order {order_id} is filled with {cum} of {qty}",
            )
        else:
            book.open[side] += one.open
        # Orders that flatten a position after a halt pass all checks: they are the engine's own.
        if asked and not (order_type == OrdType.MARKET and client == 0):
            self._within_limits(order_id, slot, side, qty, adds=one.open > before)

    def _within_limits(self, order_id: int, slot: int, side: int, qty: int, adds: bool) -> None:
        book = self.book(slot)
        if slot in self.most_lots:
            must(
                qty <= self.most_lots[slot], f"order {order_id} of {qty} lots, {self.most_lots[slot]} may be"
            )
        # Under a limit that was lowered since, an order may still be changed to no more than it was.
        if adds and slot in self.most:
            could = side * book.lots + book.open[side]
            must(
                could <= self.most[slot], f"order {order_id} could lead to {could}, {self.most[slot]} may be"
            )

    def _fill(self, order_id: int, slot: int, side: int, qty: int, px: float, fee: float) -> None:
        one = self.orders.get(order_id)
        must(one is not None, f"a fill of order {order_id}, which nobody sent")
        must((one.slot, one.side) == (slot, side), f"the fill of order {order_id} is another's")
        one.filled += qty
        must(qty > 0, f"order {order_id} filled with {qty} lots")
        must(
            one.filled <= one.cum, f"order {order_id} is filled with {one.filled} and has executed {one.cum}"
        )
        book = self.book(slot)
        book.lots += side * qty
        book.balance -= side * px * qty * self.lot_size
        book.fee += fee
        book.trades += 1
        self.tally["fills"] += 1

    def check_orders(self) -> None:
        """Each order's fills are what it has executed.

        Raises:
            Broken: An order's are not.
        """
        for order_id, one in self.orders.items():
            must(
                one.filled == one.cum, f"order {order_id} has executed {one.cum}, its fills are {one.filled}"
            )
            must(
                one.changed or one.filled <= one.qty, f"order {order_id} of {one.qty} has {one.filled} filled"
            )
