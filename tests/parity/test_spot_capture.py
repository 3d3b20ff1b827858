"""The book that a capture builds against the best prices that the exchange itself sent with it."""

import gzip
import json
from bisect import bisect_right

import pytest

from engine.backtest.data import check_events
from engine.book.l2 import L2
from engine.feeds.capture import parse
from tests.kit.recordings import LOT_SIZE, TICK_SIZE, events, recording

pytestmark = pytest.mark.recording

DEPTH, SNAPSHOT = 2, 5


def tickers(name):
    """The book ticker's messages as (update id, bid, ask, bid quantity, ask quantity), ids ascending."""
    found = []
    with gzip.open(recording(name)) as file:
        for text in file:
            if b"bookTicker" in text:
                data = json.loads(text[20:])["data"]
                found.append((data["u"], *(float(data[key]) for key in "baBA")))
    return found


@pytest.mark.parametrize("name", ["spot", "usdm", "cm"])
def test_the_book_after_each_update_has_the_exchanges_best(name):
    quotes = tickers(name)
    ids = [quote[0] for quote in quotes]
    parser = parse(recording(name), marks=True)
    rows, marks = parser.take(), parser.take_marks()
    rows["ev"] |= 1 << 30
    book = L2(TICK_SIZE[name], LOT_SIZE[name])
    done, compared, complete = 0, 0, False
    for mark in marks[(marks["kind"] == DEPTH) | (marks["kind"] == SNAPSHOT)]:
        end = mark["row"] + mark["rows"]
        book.apply(rows[done:end])
        done = end
        complete |= mark["kind"] == SNAPSHOT
        if not complete or mark["last_id"] < ids[0]:
            continue
        _, bid, ask, bid_qty, ask_qty = quotes[bisect_right(ids, mark["last_id"]) - 1]
        best = (book.best_bid, book.best_ask, book.best_bid_qty, book.best_ask_qty)
        assert best == pytest.approx((bid, ask, bid_qty, ask_qty), abs=1e-9), f"line {mark['line']}"
        compared += 1
    assert compared > 3000


def test_the_spot_recording_is_sorted_and_its_book_ends_at_the_exchanges_best():
    data = events("spot")
    check_events(data)
    assert (data["local_ts"] >= data["exch_ts"]).all()
    for view in ("local", "exch"):
        book = L2(TICK_SIZE["spot"], LOT_SIZE["spot"])
        book.apply(data, view=view)
        last_depth_id = parse(recording("spot"), marks=True).take_marks()
        last_id = last_depth_id[last_depth_id["kind"] == DEPTH]["last_id"][-1]
        quotes = tickers("spot")
        _, bid, ask, bid_qty, ask_qty = quotes[bisect_right([q[0] for q in quotes], last_id) - 1]
        best = (book.best_bid, book.best_ask, book.best_bid_qty, book.best_ask_qty)
        assert best == pytest.approx((bid, ask, bid_qty, ask_qty), abs=1e-9), view
