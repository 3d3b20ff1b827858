"""Whose orders are whose: orders of two sessions of the same strategies, paired one with one.

Two orders can be a pair when strategy, instrument and side are the same, and either the owner's own id, or
price and quantity as first sent. Of those, pairs that were sent at the same instant go first, then, in order
of time, those no further apart than a window. What is left over was sent in one session only.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from dataclasses import dataclass, field
from typing import NamedTuple

from engine.core.types import Status
from engine.reports.session import Session

ENDED = frozenset((Status.FILLED, Status.CANCELED, Status.EXPIRED, Status.REJECTED))


class Execution(NamedTuple):
    """An execution: when at the venue, lots, price, the fee of all of them, and who was there first."""

    ts: int
    lots: int
    px: float
    fee: float
    is_maker: int


@dataclass(slots=True)
class Life:
    """An order from its first request to its end.

    Attributes:
        strategy: Whose it is.
        symbol: In what.
        side: 1 or -1.
        price_tick: As first sent.
        qty: Lots, as first sent.
        sent: When it was sent; None of an order of which only fills are known.
        client_order_id: Its owner's id, 0 without one.
        denied: Stopped by our own checks, so that no venue ever saw it.
        times: When the venue touched it, and in ``prices`` and ``open`` what was so from then on.
        prices: Its price in ticks.
        open: Whether it could trade.
        fills: Its executions.
    """

    strategy: str
    symbol: str
    side: int
    price_tick: int
    qty: int
    sent: int | None
    client_order_id: int = 0
    denied: bool = False
    times: list[int] = field(default_factory=list)
    prices: list[int] = field(default_factory=list)
    open: list[bool] = field(default_factory=list)
    fills: list[Execution] = field(default_factory=list)

    @property
    def arrived(self) -> int | None:
        """When the venue first touched it, or None if it is not known to have."""
        return self.times[0] if self.times else None

    def joined(self, ts: int) -> tuple[int, int] | None:
        """Since when it had stood at the price it had at the venue just before ``ts``, and that price's tick.

        None where it was not open there: not arrived yet, or ended.
        """
        place = bisect_left(self.times, ts) - 1
        if place < 0 or not self.open[place]:
            return None
        first = place
        while first > 0 and self.open[first - 1] and self.prices[first - 1] == self.prices[place]:
            first -= 1
        return self.times[first], self.prices[place]


def lives(session: Session) -> list[Life]:
    """All orders of a session, in the order of their first requests; fills of unknown orders come last."""
    found: dict[tuple[int, int], Life] = {}
    symbols = [one.symbol for one in session.instruments]
    names = ("order_id", "strategy", "instrument", "side", "price_tick", "qty", "local_ts")
    more = ("client_order_id", "status", "prev_status", "req", "exch_ts")
    for row in session.orders[[*names, *more]].tolist():
        order_id, strategy, instrument, side, tick, qty, local_ts, client, status, prev, req, exch_ts = row
        life = found.get((strategy, order_id))
        if life is None:
            life = Life(session.strategies[strategy], symbols[instrument], side, tick, qty, local_ts, client)
            found[strategy, order_id] = life
        if status == Status.DENIED:
            # One that was never alive ends here; a denied change of a live one leaves it as it was.
            life.denied = life.denied or prev == Status.NONE
            continue
        if exch_ts <= 0 or status == Status.NONE or (req in _ASKED and prev == status):
            continue
        life.times.append(max(exch_ts, life.times[-1]) if life.times else exch_ts)
        life.prices.append(tick)
        life.open.append(status not in ENDED)
    names = ("order_id", "strategy", "instrument", "side", "price_tick", "qty", "exch_ts", "px", "fee")
    for row in session.fills[[*names, "is_maker"]].tolist():
        order_id, strategy, instrument, side, tick, qty, exch_ts, px, fee, is_maker = row
        life = found.get((strategy, order_id))
        if life is None:
            life = Life(session.strategies[strategy], symbols[instrument], side, tick, qty, None)
            found[strategy, order_id] = life
        life.fills.append(Execution(exch_ts, qty, px, fee, is_maker))
    return list(found.values())


_ASKED = frozenset((Status.NEW, Status.CANCELED, Status.REPLACED))
"""A request that is on its way: the update says what we asked for, not what the venue did."""


def pair(
    live: list[Life], backtest: list[Life], window_ns: int
) -> tuple[list[tuple[Life, Life]], list[Life], list[Life]]:
    """Pairs the orders of two sessions.

    Args:
        live: Of the one.
        backtest: Of the other.
        window_ns: How far apart two orders of a pair may have been sent.

    Returns:
        Pairs, and what is left of each.
    """
    pairs: list[tuple[Life, Life]] = []
    for key in (_owners_key, _content_key):
        taken = {id(one) for couple in pairs for one in couple}
        groups: dict[tuple, tuple[list[Life], list[Life]]] = defaultdict(lambda: ([], []))
        for side, orders in enumerate((live, backtest)):
            for one in orders:
                if id(one) not in taken and (named := key(one)) is not None:
                    groups[named][side].append(one)
        for ours, theirs in groups.values():
            pairs += _pair_group(ours, theirs, window_ns)
    taken = {id(one) for couple in pairs for one in couple}
    left = [[one for one in orders if id(one) not in taken] for orders in (live, backtest)]
    return pairs, left[0], left[1]


def _owners_key(one: Life) -> tuple | None:
    if not one.client_order_id or one.sent is None:
        return None
    return one.strategy, one.symbol, one.side, one.client_order_id


def _content_key(one: Life) -> tuple | None:
    return None if one.sent is None else (one.strategy, one.symbol, one.side, one.price_tick, one.qty)


def _pair_group(ours: list[Life], theirs: list[Life], window_ns: int) -> list[tuple[Life, Life]]:
    """Pairs orders that are alike: those of one instant first, then the next in time within the window."""
    pairs: list[tuple[Life, Life]] = []
    at: dict[int, list[Life]] = defaultdict(list)
    for one in reversed(theirs):
        at[one.sent].append(one)
    left = []
    for one in ours:
        if at.get(one.sent):
            pairs.append((one, at[one.sent].pop()))
        else:
            left.append(one)
    rest = sorted((one for group in at.values() for one in group), key=lambda one: one.sent)
    i = 0
    for one in sorted(left, key=lambda one: one.sent):
        while i < len(rest) and rest[i].sent < one.sent - window_ns:
            i += 1
        if i < len(rest) and rest[i].sent <= one.sent + window_ns:
            pairs.append((one, rest[i]))
            i += 1
    return pairs
