"""The real CME recording group by group: the book beside its oracle, and trades beside their fills.

A group is what the exchange did at once: records up to the one that is flagged last. Between groups the book
is whole, so that is where it is compared. RINGBOOK_ALL_ORDERS_EVERY=20 looks at every order after every 20
groups, which takes half a minute.
"""

import os
from collections import Counter

import numpy as np
import pytest

from engine.book.l3 import L3
from engine.book.naive_l3 import NaiveL3
from engine.core.types import (
    ADD_ORDER_EVENT,
    BUY_EVENT,
    CANCEL_ORDER_EVENT,
    FILL_EVENT,
    MODIFY_ORDER_EVENT,
    SELL_EVENT,
    TRADE_EVENT,
)
from tests.kit.recordings import LOT_SIZE, TICK_SIZE, events

pytestmark = pytest.mark.recording

F_LAST = 0x80
GROUPS = 47_022
ALL_LEVELS = 200
ALL_ORDERS = int(os.environ.get("RINGBOOK_ALL_ORDERS_EVERY", "2000"))
"""Groups between two looks at all of them; after every group it is those that it was about."""

TICK, LOT = TICK_SIZE["cme"], LOT_SIZE["cme"]


def groups(rows):
    """The groups as arrays, each with its rows as tuples (kind, side, order id, price, quantity)."""
    ends = (np.flatnonzero(rows["ival"] & F_LAST) + 1).tolist()
    assert ends[-1] == len(rows)
    kinds = (rows["ev"] & 0xFF).tolist()
    sides = np.where(
        rows["ev"] & np.uint64(BUY_EVENT), 1, np.where(rows["ev"] & np.uint64(SELL_EVENT), -1, 0)
    )
    told = list(
        zip(
            kinds,
            sides.tolist(),
            rows["order_id"].tolist(),
            rows["px"].tolist(),
            rows["qty"].tolist(),
            strict=True,
        )
    )
    first = 0
    for end in ends:
        yield rows[first:end], told[first:end]
        first = end


def apply(book: NaiveL3, kind: int, side: int, order_id: int, px: float, qty: float) -> None:
    if kind == ADD_ORDER_EVENT:
        book.add(order_id, side, px, qty)
    elif kind == MODIFY_ORDER_EVENT:
        book.modify(order_id, px, qty)
    elif kind == CANCEL_ORDER_EVENT:
        book.cancel(order_id)


def same_queue(book: L3, oracle: NaiveL3, side: int, tick: int) -> bool:
    found = book.queue(side, tick)[["order_id", "qty"]].tolist()
    return found == [(order_id, qty) for order_id, qty, _ in oracle.queue(side, tick)]


class Replay:
    """The book and its oracle side by side; how they differ, and what trades and fills say of each other."""

    def __init__(self) -> None:
        self.book, self.oracle = L3(TICK, LOT), NaiveL3(TICK, LOT)
        self.groups = 0
        self.differences: list[str] = []
        self.found: Counter[str] = Counter()

    def group(self, rows: np.ndarray, told: list) -> None:
        """Takes one group with both, and compares what it was about."""
        trade, resting, filled, places = None, [], Counter(), set()
        for row in told:
            kind, _, order_id, _, _ = row
            if kind == FILL_EVENT:
                # What an order that was moved into the market bought or sold itself.
                if order_id == trade[2]:
                    self.found["fills of the aggressor"] += 1
                else:
                    resting.append(row)
                    look_at_fill(self.found, self.oracle, filled, trade, row)
                continue
            if trade is not None:
                look_at_trade(self.found, trade, resting)
            trade, resting = (row if kind == TRADE_EVENT else None), []
            before = self.oracle.order(order_id)
            apply(self.oracle, *row)
            places.update(order[:2] for order in (before, self.oracle.order(order_id)) if order is not None)
        assert trade is None, "a trade without what it did to the book"
        self.book.apply(rows)
        self.groups += 1
        self.compare(places)

    def compare(self, places: set[tuple[int, int]]) -> None:
        book, oracle = self.book, self.oracle
        last = self.groups == GROUPS
        same = {
            "best": (book.best_bid_tick, book.best_ask_tick) == (oracle.best_bid_tick, oracle.best_ask_tick),
            "orders": len(book) == len(oracle),
            "queue": all(same_queue(book, oracle, *place) for place in places),
            "level": all(book.qty_at_tick(*place) == oracle.qty_at_tick(*place) for place in places),
        }
        if self.groups % ALL_LEVELS == 1 or last:
            same["depth"] = all(np.array_equal(book.levels(side), oracle.levels(side)) for side in (1, -1))
        if self.groups % ALL_ORDERS == 0 or last:
            same["every queue"] = all(same_queue(book, oracle, *place) for place in oracle.queues)
            book.check_invariants()
        self.differences += [
            f"{what} after group {self.groups}" for what, is_same in same.items() if not is_same
        ]


@pytest.fixture(scope="module")
def replay() -> Replay:
    both = Replay()
    for rows, told in groups(events("cme")):
        both.group(rows, told)
    return both


def test_after_every_group_the_book_is_the_oracles(replay):
    assert replay.differences == []
    assert replay.groups == GROUPS
    assert len(replay.book) > 10_000


def test_trades_agree_with_the_fills_behind_them(replay):
    """Counted exactly, so that any change shows; docs/data.md tells these figures."""
    assert replay.found == {
        "trades": 2_972,
        "fills of the aggressor": 107,
        "same quantity, other side": 2_972,
        "fills": 6_229,
        "same price": 6_229,
        "at the order's price": 6_229,
        "no more than the order has": 6_202,
        "at the best price": 6_207,
        "first in the queue": 5_636,
        "fills of the auction": 35,
    }


def look_at_trade(found, trade, resting) -> None:
    """Whether the fills behind a trade are what the trade says."""
    _, side, _, _, qty = trade
    if side == 0:
        return
    found["trades"] += 1
    of_others = all(fill[1] == -side for fill in resting)
    found["same quantity, other side"] += of_others and sum(fill[4] for fill in resting) == qty


def look_at_fill(found, oracle: NaiveL3, filled, trade, fill) -> None:
    """Whether a fill is of an order in the book as it is before, less what the group has filled already."""
    _, side, order_id, px, qty = fill
    if trade[1] == 0:
        found["fills of the auction"] += 1
        return
    order = oracle.order(order_id)
    found["fills"] += 1
    found["same price"] += px == trade[3]
    if order is None:
        return
    found["at the order's price"] += order[1] == round(px / TICK)
    found["no more than the order has"] += filled[order_id] + qty <= order[2]
    best = oracle.best_bid_tick if side > 0 else oracle.best_ask_tick
    while (
        all(filled[one] >= left for one, left, _ in oracle.queue(side, best)) and (best - order[1]) * side > 0
    ):
        best -= side
    found["at the best price"] += best == order[1]
    ahead = next((one for one, left, _ in oracle.queue(*order[:2]) if filled[one] < left), order_id)
    found["first in the queue"] += ahead == order_id
    filled[order_id] += qty
