"""What a matcher's private events add up to: open orders and positions, kept from the events alone."""

from __future__ import annotations

from collections import Counter

import numpy as np

from engine.matching.records import EventKind

FIELDS = ["kind", "order_id", "other_id", "qty", "owner", "other_owner", "side"]


class Ledger:
    """Follows every order from ACCEPTED to its end.

    Attributes:
        open: Open quantity of each live order by id.
        positions: Lots bought less sold, by owner.
    """

    def __init__(self) -> None:
        self.open: dict[int, int] = {}
        self.sides: dict[int, int] = {}
        self.positions: Counter[int] = Counter()
        self.bought = 0
        self.sold = 0

    def take(self, events: np.ndarray) -> None:
        """Takes events in; raises AssertionError where quantity comes from nowhere or is lost."""
        for kind, order_id, other_id, qty, owner, other_owner, side in events[FIELDS].tolist():
            if kind == EventKind.ACCEPTED:
                assert order_id not in self.open
                self.open[order_id], self.sides[order_id] = qty, side
            elif kind == EventKind.REPLACED:
                assert order_id in self.open
                self.open[order_id] = qty
            elif kind == EventKind.TRIGGERED:
                assert self.open[order_id] == qty
            elif kind == EventKind.ENDED:
                assert self.open.pop(order_id) == qty, f"order {order_id} ended with {qty}"
            elif kind == EventKind.TRADE:
                assert self.sides[order_id] == -self.sides[other_id]
                assert side in (0, self.sides[other_id])
                for one, whose in ((order_id, owner), (other_id, other_owner)):
                    self.positions[whose] += self.sides[one] * qty
                    self.execute(one, qty)

    def execute(self, order_id: int, qty: int) -> None:
        """Takes traded quantity off one order."""
        left = self.open.pop(order_id) - qty
        assert left >= 0, f"order {order_id} traded {-left} more than it had"
        if self.sides[order_id] > 0:
            self.bought += qty
        else:
            self.sold += qty
        if left:
            self.open[order_id] = left

    def check(self, oracle) -> None:
        """Holds the ledger against the oracle's orders and positions."""
        assert self.open == {order.order_id: order.open for order in oracle.orders.values()}
        assert +self.positions == +Counter(oracle.positions)
        assert -self.positions == -Counter(oracle.positions)
        assert sum(self.positions.values()) == 0
        assert self.bought == self.sold
