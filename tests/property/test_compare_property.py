"""Parts make the difference, whatever the two sessions are."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.core.types import Status
from engine.reports.compare import PARTS, compare
from tests.kit.sessions import made

TIMES = st.integers(1, 400)
STATUSES = st.sampled_from(
    [
        Status.NEW,
        Status.PARTIALLY_FILLED,
        Status.FILLED,
        Status.CANCELED,
        Status.EXPIRED,
        Status.REJECTED,
        Status.DENIED,
    ]
)


@st.composite
def sessions(draw, asset):
    orders, fills = [], []
    for order_id in range(1, draw(st.integers(0, 8)) + 1):
        sent, side, tick, qty = draw(TIMES), draw(st.sampled_from([1, -1])), draw(st.integers(196, 204)), 5
        orders.append((sent, order_id, side, tick, qty, Status.NONE, Status.NEW, 0, Status.NONE))
        at, left = sent, qty
        for _ in range(draw(st.integers(0, 4))):
            at += draw(st.integers(0, 40))
            tick = draw(st.sampled_from([tick, tick + 1]))
            orders.append((at, order_id, side, tick, qty, draw(STATUSES), Status.NONE, at, Status.NEW))
            if left and draw(st.booleans()):
                lots = draw(st.integers(1, left))
                left -= lots
                px = tick + draw(st.integers(-1, 1))
                fills.append((at, order_id, side, px, lots, draw(st.floats(-0.5, 0.5))))
    if draw(st.booleans()):
        # An execution of an order that the log does not have.
        fills.append((draw(TIMES), 99, 1, 200, 3, 0.125))
    made_by_hand = made(orders, fills, mid=draw(st.sampled_from([99.0, 100.25])), asset=asset)
    for fill in made_by_hand.fills:
        fill["is_maker"] = draw(st.booleans())
    return made_by_hand


@pytest.mark.parametrize("asset", ["linear", "inverse"])
@settings(max_examples=150, deadline=None)
@given(data=st.data(), window=st.integers(0, 100))
def test_parts_make_the_difference_exactly(asset, data, window):
    live, backtest = data.draw(sessions(asset)), data.draw(sessions(asset))
    found = compare(live, backtest, window_ns=window)
    assert sum((found.part(name) for name in PARTS), Fraction(0)) == found.difference
    by_books = live.accounts[0].equity - backtest.accounts[0].equity
    assert float(found.difference) == pytest.approx(by_books, rel=1e-9, abs=1e-9)
    # The other way round it is the same with the other sign, but for what depends on the mark.
    back = compare(backtest, live, window_ns=window)
    assert back.difference == -found.difference
    assert (back.only_live, back.only_backtest, back.pairs) == (
        found.only_backtest,
        found.only_live,
        found.pairs,
    )
