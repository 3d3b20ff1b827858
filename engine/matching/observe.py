"""What participants did in a recording by price, as far as its levels show it.

A recording of levels does not show orders one by one. What a level gained between two updates of the book
counts as one placement, what it lost beyond what traded there as one cancellation; orders that came and went
between two updates are not seen, nor is a placement and a cancellation of equal size. Prints of one side and
one timestamp count as one market order.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from engine.book.l2 import L2
from engine.core.errors import DataError

_EXCH = np.uint64(1 << 31)
_BUY = np.uint64(1 << 29)
_DEPTH, _TRADE, _CLEAR, _SNAPSHOT = 1, 2, 3, 4
SAMPLES = 1500
"""How often the whole book is looked at for what rests where."""


@dataclass(frozen=True)
class Observation:
    """A recording seen as participants' actions; prices in ticks, quantities in lots, times in nanoseconds.

    Attributes:
        tick_size: Price of a tick.
        lot_size: Quantity of a lot.
        batch_ts: When the book was updated, shape ``(b,)``; rows of one exchange time are one update.
        bid: Best bid after each update.
        ask: Best ask after each update.
        bid_lots: Quantity at the best bid.
        ask_lots: Quantity at the best ask.
        change_ts: When a level changed, shape ``(c,)``.
        change_lots: What it gained, negative what it lost, trades not counted.
        change_distance: Ticks behind the best of its own side: after the update of what was placed, before
            the update of what was cancelled.
        change_passed: Whether the level was lost because the market moved through it.
        take_ts: When a market order came, shape ``(m,)``.
        take_side: 1 buys, -1 sells.
        take_lots: What it executed.
        take_sweep: Ticks between its best and its worst print.
        resting: Mean lots at each distance of one side, shape ``(reach,)``.
        latency: From the exchange to the receiver in nanoseconds, of each update.
        passed_lots: Of the levels that the market moved through, how much stood there.
        passed_traded: How much of it traded.
    """

    tick_size: float
    lot_size: float
    batch_ts: np.ndarray
    bid: np.ndarray
    ask: np.ndarray
    bid_lots: np.ndarray
    ask_lots: np.ndarray
    change_ts: np.ndarray
    change_lots: np.ndarray
    change_distance: np.ndarray
    change_passed: np.ndarray
    take_ts: np.ndarray
    take_side: np.ndarray
    take_lots: np.ndarray
    take_sweep: np.ndarray
    resting: np.ndarray
    latency: np.ndarray
    passed_lots: float
    passed_traded: float

    @property
    def seconds(self) -> float:
        """From the first update of the book to the last."""
        return float(self.batch_ts[-1] - self.batch_ts[0]) / 1e9

    @property
    def mid(self) -> np.ndarray:
        """Mid prices in ticks after each update."""
        return (self.bid + self.ask) / 2.0


def observe(events: np.ndarray, tick_size: float, lot_size: float, reach: int = 2048) -> Observation:
    """Reads participants' actions off a recording.

    Args:
        events: ``event_dtype`` array, sorted by exchange time.
        tick_size: Price of a tick.
        lot_size: Quantity of a lot.
        reach: Ticks from the best that are looked at.

    Returns:
        The observation.

    Raises:
        DataError: There are no updates of the book with both sides, or less than a second of them.
    """
    events = np.ascontiguousarray(events[(events["ev"] & _EXCH) != 0])
    kind = (events["ev"] & np.uint64(0xFF)).astype(np.int64)
    snapshots = np.flatnonzero(kind == _SNAPSHOT)
    first = 0
    if len(snapshots):
        clears = np.flatnonzero(kind[: snapshots[0]] == _CLEAR)
        first = int(clears[0]) if len(clears) else int(snapshots[0])
    events, kind = events[first:], kind[first:]
    best = L2(tick_size, lot_size).replay(events, "exch")
    rows = np.flatnonzero((kind == _DEPTH) | (kind == _SNAPSHOT))
    times = events["exch_ts"][rows]
    if not len(rows) or times[-1] - times[0] < 1_000_000_000:
        raise DataError("less than a second of changes of the book: nothing to fit")
    ends = np.append(np.flatnonzero(np.diff(times) > 0), len(rows) - 1)
    after = best[rows[ends]]
    whole = (after["bid_qty"] > 0) & (after["ask_qty"] > 0) & (after["bid_tick"] < after["ask_tick"])
    if np.count_nonzero(whole) < 2:
        raise DataError("the book never has both sides: nothing to fit")
    takes = _takes(events, kind, tick_size, lot_size)
    changes = _changes(events, kind, rows, ends, best, (tick_size, lot_size, reach))
    local = events["local_ts"][rows[ends]] - events["exch_ts"][rows[ends]]
    after, batch_ts = after[whole], times[ends][whole]
    return Observation(
        tick_size=tick_size,
        lot_size=lot_size,
        batch_ts=batch_ts,
        bid=after["bid_tick"].copy(),
        ask=after["ask_tick"].copy(),
        bid_lots=after["bid_qty"] / lot_size,
        ask_lots=after["ask_qty"] / lot_size,
        resting=_resting(events, tick_size, lot_size, reach),
        latency=local[whole],
        **takes,
        **changes,
    )


def _takes(events: np.ndarray, kind: np.ndarray, tick_size: float, lot_size: float) -> dict[str, np.ndarray]:
    """Prints of one time and side, as market orders."""
    prints = events[kind == _TRADE]
    side = np.where(prints["ev"] & _BUY, 1, -1).astype(np.int8)
    if not len(prints):
        empty = np.empty(0, np.int64)
        return {"take_ts": empty, "take_side": side, "take_lots": empty.astype(float), "take_sweep": empty}
    new = np.append(True, (np.diff(prints["exch_ts"]) != 0) | (np.diff(side) != 0))
    starts = np.flatnonzero(new)
    ticks = np.rint(prints["px"] / tick_size).astype(np.int64)
    return {
        "take_ts": prints["exch_ts"][starts],
        "take_side": side[starts],
        "take_lots": np.add.reduceat(prints["qty"], starts) / lot_size,
        "take_sweep": np.maximum.reduceat(ticks, starts) - np.minimum.reduceat(ticks, starts),
    }


def _changes(
    events: np.ndarray,
    kind: np.ndarray,
    rows: np.ndarray,
    ends: np.ndarray,
    best: np.ndarray,
    sizes: tuple[float, float, int],
) -> dict[str, np.ndarray | float]:
    """What levels gained and lost; `rows` are those of levels, `ends` the last of each update among them."""
    tick_size, lot_size, reach = sizes
    level = events[rows]
    is_bid = (level["ev"] & _BUY) != 0
    tick = np.rint(level["px"] / tick_size).astype(np.int64)
    batch = np.repeat(np.arange(len(ends)), np.diff(np.append(-1, ends)))
    before, known = _before(level["qty"], is_bid, tick, np.cumsum(kind == _CLEAR)[rows])
    traded = _traded(events, kind, events["exch_ts"][rows[ends]], is_bid, tick, batch, tick_size)
    change = np.rint((level["qty"] - before + traded) / lot_size)
    # The best after the update before this one, and after this one.
    after = best[rows[ends]]
    old = after[np.maximum(batch - 1, 0)]
    now = after[batch]
    old_best = np.where(is_bid, old["bid_tick"], -old["ask_tick"])
    new_best = np.where(is_bid, now["bid_tick"], -now["ask_tick"])
    place = np.where(is_bid, tick, -tick)
    distance = np.where(change > 0, new_best, old_best) - place
    passed = (place > new_best) & (place <= old_best)
    use = (level["ev"] & np.uint64(0xFF)) == _DEPTH
    use &= known & (batch > 0)
    gone = use & passed
    use &= (change != 0) & (distance >= 0) & (distance < reach)
    return {
        "change_ts": level["exch_ts"][use],
        "change_lots": change[use],
        "change_distance": distance[use],
        "change_passed": passed[use],
        "passed_lots": float(before[gone].sum() / lot_size),
        "passed_traded": float(np.minimum(traded, before)[gone].sum() / lot_size),
    }


def _before(
    qty: np.ndarray, is_bid: np.ndarray, tick: np.ndarray, cleared: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Each level's quantity before its row, and whether it is known: after a clear it is not."""
    key = tick * 2 + is_bid
    order = np.argsort(key, kind="stable")
    same = np.append(False, key[order][1:] == key[order][:-1])
    previous = np.append(0.0, qty[order][:-1])
    current = np.append(0, cleared[order][:-1])
    before, known = np.empty(len(qty)), np.empty(len(qty), bool)
    before[order] = np.where(same, previous, 0.0)
    known[order] = ~same | (current == cleared[order])
    return before, known


def _traded(
    events: np.ndarray,
    kind: np.ndarray,
    batch_ts: np.ndarray,
    is_bid: np.ndarray,
    tick: np.ndarray,
    batch: np.ndarray,
    tick_size: float,
) -> np.ndarray:
    """What traded at each row's level since the update of the book before it."""
    prints = events[kind == _TRADE]
    when = np.searchsorted(batch_ts, prints["exch_ts"], "left")
    # The quantity came off the side opposite to the taker's.
    hit_bid = (prints["ev"] & _BUY) == 0
    at = np.rint(prints["px"] / tick_size).astype(np.int64)
    low = min(int(tick.min()), int(at.min()) if len(at) else 0)
    width = 2 * (max(int(tick.max()), int(at.max()) if len(at) else 0) - low + 1)
    keys, which = np.unique(when * width + 2 * (at - low) + hit_bid, return_inverse=True)
    if not len(keys):
        return np.zeros(len(tick))
    volume = np.bincount(which, prints["qty"])
    wanted = batch * width + 2 * (tick - low) + is_bid
    found = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[found] == wanted, volume[found], 0.0)


def _resting(events: np.ndarray, tick_size: float, lot_size: float, reach: int) -> np.ndarray:
    """Mean lots at each distance from the best, both sides together as one."""
    book = L2(tick_size, lot_size)
    total = np.zeros(reach)
    looks = 0
    times = np.linspace(events["exch_ts"][0], events["exch_ts"][-1], SAMPLES + 2)[1:-1]
    done = 0
    for row in np.searchsorted(events["exch_ts"], times, "right"):
        if row == done:
            continue
        book.apply(events[done:row], "exch")
        done = row
        for levels in (book.bids(), book.asks()):
            if len(levels):
                ticks = np.rint(levels[:, 0] / tick_size).astype(np.int64)
                away = np.abs(ticks - ticks[0])
                near = away < reach
                total += np.bincount(away[near], levels[near, 1], reach)
                looks += 1
    return total / max(looks, 1) / lot_size
