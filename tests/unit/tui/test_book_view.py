import random

import pytest

from bridge.protocol import Depth, OrderUpdate
from tui import book
from tui.book import BookView, ladder


def depth(bids, asks, **changed):
    return Depth(
        **{"epoch": 1, "seq": 1, "symbol": "S", "ts": 5, "exch_ts": 4, "bids": bids, "asks": asks, **changed}
    )


def order(side, px, leaves=1.0, number=1):
    return OrderUpdate(
        1, 1, 0, "mm", "S", number, number, side, "limit", "GTX", "NEW", "NONE", px, leaves, leaves, "", 0
    )


def test_levels_change_and_go():
    view = BookView()
    view.apply(depth([(10.0, 1.0), (9.0, 2.0)], [(11.0, 3.0)]))
    view.apply(depth([(10.0, 0.0), (9.5, 4.0)], [(11.0, 5.0)], conflated=True))
    assert view.top(5) == ([(9.5, 4.0), (9.0, 2.0)], [(11.0, 5.0)])
    assert (view.ts, view.exch_ts, view.conflated) == (5, 4, 1)
    view.apply(depth([(8.0, 1.0)], [], snapshot=True))
    assert view.top(5) == ([(8.0, 1.0)], [])


def test_it_agrees_with_two_dictionaries():
    rng = random.Random(11)
    view, bids, asks = BookView(), {}, {}
    for _ in range(2000):
        px, qty = rng.randrange(100) / 10, rng.choice((0.0, 1.0, 2.5))
        side = rng.choice((bids, asks))
        if qty:
            side[px] = qty
        else:
            side.pop(px, None)
        view.apply(depth([(px, qty)] if side is bids else [], [(px, qty)] if side is asks else []))
    assert view.top(200) == (sorted(bids.items(), reverse=True), sorted(asks.items()))


def test_a_side_is_bounded_and_keeps_what_is_near(monkeypatch):
    monkeypatch.setattr(book, "LEVEL_LIMIT", 10)
    view = BookView()
    view.apply(depth([(float(px), 1.0) for px in range(1, 13)], [(float(px), 1.0) for px in range(20, 32)]))
    assert sorted(view.bids) == [8.0, 9.0, 10.0, 11.0, 12.0]
    assert sorted(view.asks) == [20.0, 21.0, 22.0, 23.0, 24.0]


def test_own_orders_stand_at_their_price():
    view = BookView()
    view.apply(depth([(10.0, 1.0), (9.8, 2.0)], [(10.3, 3.0), (10.4, 1.0)]))
    own = [order("buy", 10.0, 0.5), order("buy", 10.0, 0.25, 2), order("sell", 10.2, 2.0, 3)]
    rungs = ladder(view, own, 0.1, 5)
    assert rungs.bids[0] == (10.0, 1.0, 0.75, 2)
    # No market quantity at 10.2: the order gets a rung of its own, the best one.
    assert rungs.asks[0] == (10.2, 0.0, 2.0, 1)
    assert rungs.asks[1][:2] == (10.3, 3.0)
    assert (rungs.own_below, rungs.own_above) == (0, 0)


def test_prices_are_equal_where_their_ticks_are():
    view = BookView()
    view.apply(depth([(0.3, 1.0)], []))
    rungs = ladder(view, [order("buy", 0.1 + 0.2)], 0.1, 3)
    assert len(rungs.bids) == 1
    assert rungs.bids[0].own_orders == 1


def test_own_orders_beyond_the_rungs_are_counted():
    view = BookView()
    view.apply(depth([(10.0 - i / 10, 1.0) for i in range(5)], [(11.0 + i / 10, 1.0) for i in range(5)]))
    own = [order("buy", 5.0), order("buy", 4.0, number=2), order("sell", 20.0, number=3)]
    rungs = ladder(view, own, 0.1, 3)
    assert len(rungs.bids) == len(rungs.asks) == 3
    assert (rungs.own_below, rungs.own_above) == (2, 1)


@pytest.mark.parametrize("tick", [0.0, 0.1])
def test_an_empty_book_has_no_rungs(tick):
    assert ladder(BookView(), [], tick, 5) == ([], [], 0, 0)
