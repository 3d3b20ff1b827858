"""What became of the orders of a session: requests, fates, latencies; docs/reports.md has the formulas."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from engine.core.types import Status
from engine.reports.mids import Mids
from engine.reports.session import Session

FATES = ("filled", "price_left", "cancelled", "refused", "open")
"""How an order can have ended; the first that holds."""

PERCENTILES = (1.0, 5.0, 25.0, 50.0, 75.0, 95.0, 99.0, 99.9)

order_table = np.dtype(
    [
        ("strategy", "<u2"),
        ("instrument", "<u2"),
        ("side", "i1"),
        ("price_tick", "<i8"),
        ("sent", "<i8"),
        ("ended", "<i8"),
        ("qty", "<i8"),
        ("filled", "<i8"),
        ("requests", "<i8"),
        ("arrived", "?"),
        ("denied", "?"),
        ("status", "u1"),
    ]
)
"""An order: its price as first sent and its quantity, requests made of it, lots filled, last status."""


@dataclass(frozen=True)
class Orders:
    """The orders of a session, one row each.

    Attributes:
        rows: ``order_table``, in the order of their first requests.
        fates: Index into ``FATES`` of each.
        entry_ns: From sending a request to the venue's touching the order, of each answer.
        response_ns: From there to our learning of it.
    """

    rows: np.ndarray
    fates: np.ndarray
    entry_ns: np.ndarray
    response_ns: np.ndarray

    @property
    def sent(self) -> int:
        """Orders that were not stopped by our own checks."""
        return int(np.count_nonzero(~self.rows["denied"]))

    @property
    def requests(self) -> int:
        """New orders, modifications and cancels that went out."""
        return int(self.rows["requests"][~self.rows["denied"]].sum())

    @property
    def filled(self) -> int:
        """Orders of which something was filled."""
        return int(np.count_nonzero(self.rows["filled"] > 0))

    def count(self, fate: str) -> int:
        """Orders of a fate."""
        return int(np.count_nonzero(self.fates == FATES.index(fate)))


def orders(session: Session, mids: Mids, strategy: str | None = None, symbol: str | None = None) -> Orders:
    """The orders of a session, or of a strategy, an instrument, or both.

    Args:
        session: Whose.
        mids: What the market was.
        strategy: Of this one only.
        symbol: In this one only.
    """
    updates = session.orders[chosen(session, session.orders, strategy, symbol)]
    fills = session.fills[chosen(session, session.fills, strategy, symbol)]
    place = np.lexsort((np.arange(len(updates)), updates["order_id"], updates["strategy"]))
    updates = updates[place]
    same = (updates["order_id"][1:] == updates["order_id"][:-1]) & (
        updates["strategy"][1:] == updates["strategy"][:-1]
    )
    first = np.flatnonzero(np.concatenate([[True], ~same])) if len(updates) else np.empty(0, np.int64)
    end = np.append(first[1:], len(updates))
    rows = np.zeros(len(first), order_table)
    for name in ("strategy", "instrument", "side", "price_tick", "qty"):
        rows[name] = updates[name][first]
    rows["sent"] = updates["local_ts"][first]
    rows["ended"] = updates["ts"][end - 1] if len(first) else 0
    asked = is_request(updates)
    last = _last_state(updates, first, end)
    rows["status"] = updates["status"][last]
    rows["requests"] = np.add.reduceat(asked, first) if len(first) else 0
    arrived = (updates["exch_ts"] > 0) & ~asked
    rows["arrived"] = np.add.reduceat(arrived, first) > 0 if len(first) else False
    rows["denied"] = (updates["status"][first] == Status.DENIED) & (
        updates["prev_status"][first] == Status.NONE
    )
    rows["filled"] = _filled(updates, first, fills)
    answers = arrived & (updates["local_ts"] > 0) & _answers(updates)
    entry = (updates["exch_ts"] - updates["local_ts"])[answers]
    response = (updates["ts"] - updates["exch_ts"])[answers]
    back = np.argsort(place[first], kind="stable")
    rows = rows[back]
    return Orders(rows, _fates(rows, mids), entry[entry >= 0], response[response >= 0])


def chosen(session: Session, rows: np.ndarray, strategy: str | None, symbol: str | None) -> np.ndarray:
    """Which rows are of a strategy and an instrument; None stands for all."""
    mask = np.ones(len(rows), bool)
    if strategy is not None:
        mask &= rows["strategy"] == session.strategies.index(strategy)
    if symbol is not None:
        mask &= rows["instrument"] == [one.symbol for one in session.instruments].index(symbol)
    return mask


def ticks(session: Session, strategy: str | None = None, symbol: str | None = None) -> np.ndarray:
    """Nanoseconds from a tick's arrival to the sending of a request that it led to; none where no clock ran.

    Args:
        session: Whose.
        strategy: Of this one only.
        symbol: In this one only.
    """
    return session.ticks[chosen(session, session.ticks, strategy, symbol)]["took"]


def is_request(updates: np.ndarray) -> np.ndarray:
    """Which updates say that a request went out, and nothing of the venue yet."""
    asked = np.isin(updates["req"], (Status.NEW, Status.CANCELED, Status.REPLACED))
    return asked & (updates["prev_status"] == updates["status"])


def _answers(updates: np.ndarray) -> np.ndarray:
    """Which updates answer a request: fills come by themselves, a while after the last request."""
    fills = np.isin(updates["status"], (Status.FILLED, Status.PARTIALLY_FILLED))
    return ~fills & (updates["status"] != Status.DENIED)


def _last_state(updates: np.ndarray, first: np.ndarray, end: np.ndarray) -> np.ndarray:
    """The place of each order's last update that is no denied change of a live order."""
    counts = (updates["status"] != Status.DENIED) | (updates["prev_status"] == Status.NONE)
    place = np.where(counts, np.arange(len(updates)), -1)
    return np.maximum.reduceat(place, first) if len(first) else first


def _filled(updates: np.ndarray, first: np.ndarray, fills: np.ndarray) -> np.ndarray:
    """Lots filled of each order."""
    key = updates[["strategy", "order_id"]][first].tolist()
    number = {one: i for i, one in enumerate(key)}
    lots = np.zeros(len(first), np.int64)
    for strategy, order_id, qty in fills[["strategy", "order_id", "qty"]].tolist():
        place = number.get((strategy, order_id))
        if place is not None:
            lots[place] += qty
    return lots


def _fates(rows: np.ndarray, mids: Mids) -> np.ndarray:
    """Which of ``FATES`` each order met."""
    fates = np.full(len(rows), FATES.index("open"), np.int8)
    ended = np.isin(rows["status"], (Status.CANCELED, Status.EXPIRED))
    fates[ended] = FATES.index("cancelled")
    # Away from a buyer is up: the queue that was stood in is worth less than when it was joined.
    before = mids.at(rows["instrument"], rows["sent"])
    after = mids.at(rows["instrument"], rows["ended"])
    away = ended & ((after - before) * rows["side"] > 0)
    fates[away] = FATES.index("price_left")
    fates[rows["denied"] | (rows["status"] == Status.REJECTED)] = FATES.index("refused")
    fates[ended & ~rows["denied"] & ~_rested(rows)] = FATES.index("refused")
    fates[rows["filled"] > 0] = FATES.index("filled")
    return fates


def _rested(rows: np.ndarray) -> np.ndarray:
    """Orders that were ever in the book: an expired one was turned away on arrival."""
    return rows["status"] != Status.EXPIRED


def percentiles(values: np.ndarray) -> dict[str, float]:
    """The usual ones of some times, and mean, least and greatest; empty without any."""
    if len(values) == 0:
        return {}
    found = np.percentile(values, PERCENTILES)
    named = {f"p{p:g}": float(v) for p, v in zip(PERCENTILES, found, strict=True)}
    return {"min": float(values.min()), **named, "max": float(values.max()), "mean": float(values.mean())}


def histogram(values: np.ndarray, bins: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Edges, on a logarithmic scale, and counts.

    Args:
        values: Times above 0; others count to the first bin.
        bins: How many.
    """
    if len(values) == 0:
        return np.empty(0), np.empty(0, np.int64)
    low = max(float(np.min(values)), 1.0)
    high = max(float(np.max(values)), low)
    if high < low * 1.05:
        low, high = low / 1.5, high * 1.5
    edges = np.geomspace(low, high, bins + 1)
    edges[-1] = high * (1 + 1e-12)
    counts, _ = np.histogram(np.maximum(values, edges[0]), edges)
    return edges, counts
