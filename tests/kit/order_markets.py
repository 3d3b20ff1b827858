"""Small generated market-by-order recordings: ties in time, crossings, lost places, fills, clears."""

from __future__ import annotations

import numpy as np

from engine.core.types import (
    ADD_ORDER_EVENT,
    BUY_EVENT,
    CANCEL_ORDER_EVENT,
    DEPTH_CLEAR_EVENT,
    EXCH_EVENT,
    FILL_EVENT,
    LOCAL_EVENT,
    MODIFY_ORDER_EVENT,
    SELL_EVENT,
    TRADE_EVENT,
    event_dtype,
)
from tests.kit.markets import START

TICK_SIZE = 0.25
LOT_SIZE = 1.0


class _Flow:
    """Live orders and the rows that made them."""

    def __init__(self, seed: int, middle: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.walk = middle
        self.rows: list[tuple[int, int, float, int]] = []
        self.live: dict[int, list] = {}
        self.last_id = 0

    def row(self, kind: int, side: int, tick: int, lots: int, order_id: int) -> None:
        flag = {1: BUY_EVENT, -1: SELL_EVENT, 0: 0}[side]
        self.rows.append((kind | flag, tick, lots, order_id))

    def pick(self) -> int:
        ids = list(self.live)
        # The oldest are often asked for, so that queues move.
        return ids[0] if self.rng.random() < 0.3 else ids[self.rng.integers(len(ids))]

    def add(self) -> None:
        side = 1 if self.rng.random() < 0.5 else -1
        tick = int(self.walk - side * self.rng.choice([-1, 0, 0, 1, 1, 2, 3, 6]))
        lots = int(self.rng.integers(1, 6))
        self.last_id += 1
        self.live[self.last_id] = [side, tick, lots]
        self.row(ADD_ORDER_EVENT, side, tick, lots, self.last_id)

    def cancel(self) -> None:
        order_id = self.pick()
        side, tick, lots = self.live.pop(order_id)
        self.row(CANCEL_ORDER_EVENT, side, tick, lots, order_id)

    def modify(self) -> None:
        order_id = self.pick()
        order = self.live[order_id]
        if self.rng.random() < 0.4:
            order[1] = int(self.walk - order[0] * self.rng.integers(-1, 4))
        order[2] = int(self.rng.integers(1, 8))
        self.row(MODIFY_ORDER_EVENT, *order, order_id)

    def fill(self) -> None:
        side = 1 if self.rng.random() < 0.5 else -1
        ids = [i for i, order in self.live.items() if order[0] == side]
        if not ids:
            return
        ids.sort(key=lambda i: -side * self.live[i][1])
        # Mostly the best order; sometimes one that nobody expects.
        order_id = ids[0] if self.rng.random() < 0.8 else ids[self.rng.integers(len(ids))]
        side, tick, lots = self.live[order_id]
        done = int(self.rng.integers(1, lots + 1))
        self.row(TRADE_EVENT, -side, tick, done, 0)
        self.row(FILL_EVENT, side, tick, done, order_id)
        if done == lots:
            del self.live[order_id]
            self.row(CANCEL_ORDER_EVENT, side, tick, lots, order_id)
        else:
            self.live[order_id][2] -= done
            self.row(MODIFY_ORDER_EVENT, side, tick, lots - done, order_id)

    def clear(self) -> None:
        side = int(self.rng.choice([-1, 0, 0, 1]))
        self.live = {i: order for i, order in self.live.items() if side not in (0, order[0])}
        self.row(DEPTH_CLEAR_EVENT, side, 0, 0, 0)

    def step(self, clears: bool) -> None:
        self.walk += int(self.rng.choice([-1, 0, 0, 0, 1]))
        choice = self.rng.random()
        if choice < 0.45 or len(self.live) < 3:
            self.add()
        elif choice < 0.62:
            self.cancel()
        elif choice < 0.78:
            self.modify()
        elif choice < 0.98 or not clears:
            self.fill()
        else:
            self.clear()


def random_orders(
    seed: int, rows: int = 400, *, step_ns: int = 1_000, max_latency: int = 8, clears: bool = True
) -> np.ndarray:
    """A nonsensical but valid recording.

    Args:
        seed: Of everything.
        rows: Number of events, roughly.
        step_ns: All times are multiples of it, so that many coincide.
        max_latency: Feed latency in steps, at most.
        clears: Whether there are clears.

    Returns:
        ``event_dtype`` array that is in order on both clocks; some events are a row for each side.
    """
    flow = _Flow(seed, 1000)
    while len(flow.rows) < rows:
        flow.step(clears)
    rng = flow.rng
    n = len(flow.rows)
    exch = START + np.cumsum(rng.choice([0, 0, 1, 1, 2, 5], n)) * step_ns
    local = np.maximum.accumulate(exch + rng.integers(0, max_latency + 1, n) * step_ns)
    out = []
    for (ev, tick, lots, order_id), exch_ts, local_ts in zip(flow.rows, exch, local, strict=True):
        both = [EXCH_EVENT | LOCAL_EVENT] if rng.random() < 0.8 else [EXCH_EVENT, LOCAL_EVENT]
        out += [(ev | flag, exch_ts, local_ts, tick * TICK_SIZE, lots, order_id, 0, 0.0) for flag in both]
    return np.array(out, event_dtype)
