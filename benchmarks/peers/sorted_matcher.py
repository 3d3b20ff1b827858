"""The matcher that one writes in Python: two SortedDicts of queues, and a dict from id to order."""

from __future__ import annotations

from collections import OrderedDict

from sortedcontainers import SortedDict

ADD, CANCEL, MODIFY, REDUCE = 1, 2, 3, 4
IOC = 3
PX, QTY, SIDE, ID = 0, 1, 2, 3


class SortedMatcher:
    """Limit orders by price and time, GTC or IOC; cancel, replace and reduce. No owners, no events."""

    def __init__(self) -> None:
        self.orders: dict[int, list] = {}
        self.bids: SortedDict = SortedDict(int.__neg__)
        self.asks: SortedDict = SortedDict()

    def apply(self, commands: list[tuple]) -> int:
        """Applies rows of (kind, order id, side, px, qty, time in force); returns how many."""
        for kind, order_id, side, px, qty, life in commands:
            if kind == ADD:
                self.add(order_id, side, px, qty, life)
            elif kind == CANCEL:
                self.cancel(order_id)
            elif kind == REDUCE:
                order = self.orders.get(order_id)
                if order is not None and order[QTY] > qty:
                    order[QTY] -= qty
                else:
                    self.cancel(order_id)
            elif order_id in self.orders:
                order = self.orders[order_id]
                if px == order[PX] and qty <= order[QTY]:
                    order[QTY] = qty
                else:
                    self.cancel(order_id)
                    self.add(order_id, order[SIDE], px, qty, 0)
        return len(commands)

    def add(self, order_id: int, side: int, px: int, qty: int, life: int) -> None:
        """Trades what crosses; the rest joins its level."""
        own, other = (self.bids, self.asks) if side == 1 else (self.asks, self.bids)
        while qty and other:
            best, queue = other.peekitem(0)
            if (px - best) * side < 0:
                break
            while qty and queue:
                first = next(iter(queue.values()))
                if first[QTY] > qty:
                    first[QTY] -= qty
                    qty = 0
                else:
                    qty -= first[QTY]
                    queue.popitem(last=False)
                    del self.orders[first[ID]]
            if not queue:
                del other[best]
        if qty and life != IOC:
            order = [px, qty, side, order_id]
            self.orders[order_id] = order
            queue = own.get(px)
            if queue is None:
                queue = own[px] = OrderedDict()
            queue[order_id] = order

    def cancel(self, order_id: int) -> None:
        """Takes an order out."""
        order = self.orders.pop(order_id, None)
        if order is None:
            return
        side = self.bids if order[SIDE] == 1 else self.asks
        queue = side[order[PX]]
        del queue[order_id]
        if not queue:
            del side[order[PX]]
