"""The simulated market: the same bytes for the same arguments, a sane book, trades on both sides."""

import hashlib
import itertools

import numpy as np
import pytest
from hftbacktest.data.validation import validate_event_order

from engine.book.l2 import L2
from engine.core.errors import ConfigError
from engine.core.types import (
    BUY_EVENT,
    DEPTH_CLEAR_EVENT,
    DEPTH_EVENT,
    DEPTH_SNAPSHOT_EVENT,
    EXCH_EVENT,
    LOCAL_EVENT,
    SELL_EVENT,
    TRADE_EVENT,
    event_dtype,
)
from engine.feeds.base import EventSource
from engine.feeds.generated import LAST_TS
from engine.feeds.simulated import SimulatedMarket

START = 1_704_067_200_000_000_000


@pytest.fixture(scope="module")
def minute():
    return SimulatedMarket("BTCUSDT").generate(60)


def kinds(rows):
    return rows["ev"] & np.uint64(0xFF)


def test_the_bytes_are_the_same_on_every_machine():
    """A figure of this market: a change of it changes every demo and must be meant."""
    rows = SimulatedMarket("BTCUSDT", seed=7).generate(5)
    assert len(rows) == 10_616
    assert hashlib.sha256(rows.tobytes()).hexdigest()[:16] == "af6f68cf5b860e14"


def test_the_same_arguments_give_the_same_bytes(minute):
    assert SimulatedMarket("BTCUSDT").generate(60).tobytes() == minute.tobytes()
    start = SimulatedMarket("BTCUSDT").generate(20)
    assert start.tobytes() == minute[: len(start)].tobytes()


@pytest.mark.parametrize("chunk_rows", [1, 7, 1000, 4096])
def test_chunks_do_not_change_the_market(chunk_rows):
    whole = SimulatedMarket("X", seconds=2).generate(2)
    source = SimulatedMarket("X", seconds=2, chunk_rows=chunk_rows)
    chunks = list(source.chunks())
    assert {len(chunk) for chunk in chunks[:-1]} <= {chunk_rows}
    assert np.concatenate(chunks).tobytes() == whole.tobytes()
    assert np.concatenate(list(source.chunks(start=1234))).tobytes() == whole[1234:].tobytes()


def test_it_is_an_endless_source_unless_told_otherwise():
    source = SimulatedMarket("BTCUSDT")
    assert isinstance(source, EventSource)
    assert source.rows == 0
    assert sum(len(chunk) for chunk in itertools.islice(source.chunks(), 50)) == 50 * 4096


@pytest.mark.parametrize("other", [{"seed": 8}, {"epoch": 1}, {"symbol": "ETHUSDT"}, {"seed": 2**64 - 1}])
def test_other_arguments_give_another_market(minute, other):
    rows = SimulatedMarket(**{"symbol": "BTCUSDT", **other}).generate(1)
    assert rows[:1].tobytes() == minute[:1].tobytes()
    n = min(len(rows), 500)
    assert np.count_nonzero(rows["qty"][1:n] != minute["qty"][1:n]) > n // 2


def test_the_order_is_hftbacktests(minute):
    validate_event_order(minute)
    assert np.all(np.diff(minute["exch_ts"]) >= 0)
    assert np.all(np.diff(minute["local_ts"]) >= 0)
    latency = minute["local_ts"] - minute["exch_ts"]
    assert latency.min() >= 1_000_000
    assert latency.max() < 50_000_000
    assert minute["exch_ts"][0] == START
    assert START + 59_900_000_000 < minute["exch_ts"][-1] < START + 60_000_000_000
    assert np.all(minute["ev"] & np.uint64(EXCH_EVENT) != 0)
    assert np.all(minute["ev"] & np.uint64(LOCAL_EVENT) != 0)


def test_it_opens_with_a_clear_and_a_snapshot(minute):
    kind = kinds(minute)
    snapshot = np.flatnonzero(kind == DEPTH_SNAPSHOT_EVENT)
    assert kind[0] == DEPTH_CLEAR_EVENT
    assert np.count_nonzero(kind == DEPTH_CLEAR_EVENT) == 1
    assert not minute["ev"][0] & np.uint64(BUY_EVENT | SELL_EVENT)
    np.testing.assert_array_equal(snapshot, np.arange(1, len(snapshot) + 1))
    book = L2(0.1, 0.001)
    book.update_bid(99_999.0, 1.0)
    book.apply(minute[: len(snapshot) + 1])
    assert (book.best_bid_tick, book.best_ask_tick) == (600_000, 600_001)
    assert len(book.bids()) + len(book.asks()) == len(snapshot) > 2000


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"seed": 1, "rate": 20.0},
        {"tick_size": 0.01, "lot_size": 0.00001, "seed": 3},
        {"tick_size": 0.05, "start_px": 100.0, "lot_size": 1.0},
        {"tick_size": 1.0, "start_px": 512.0, "lot_size": 1.0, "rate": 50.0},
    ],
)
def test_the_book_is_never_crossed_nor_empty(arguments):
    source = SimulatedMarket("BTCUSDT", **arguments)
    rows = source.generate(60 / source.rate)
    book = L2(source.tick_size, source.lot_size)
    best = book.replay(rows)
    settled = best[np.flatnonzero(kinds(rows) != DEPTH_SNAPSHOT_EVENT)[1] :]
    assert np.all(settled["bid_tick"] < settled["ask_tick"])
    assert np.all(settled["bid_qty"] > 0)
    assert np.all(settled["ask_qty"] > 0)
    assert settled["bid_tick"].min() > 0
    assert min(len(book.bids()), len(book.asks())) >= 16
    prices = rows["px"][1:] / source.tick_size
    np.testing.assert_allclose(prices, np.round(prices), rtol=0, atol=1e-3)
    lots = rows["qty"] / source.lot_size
    np.testing.assert_allclose(lots, np.round(lots), rtol=1e-12)


def test_no_level_is_stale(minute):
    """The feed says everything: the book holds exactly what its rows left, none of it behind the best."""
    book = L2(0.1, 0.001)
    book.apply(minute)
    for flag, prices in ((BUY_EVENT, book.bids()), (SELL_EVENT, book.asks())):
        levels = {}
        for row in minute[(kinds(minute) != TRADE_EVENT) & (minute["ev"] & np.uint64(flag) != 0)]:
            levels[round(row["px"] / 0.1)] = row["qty"]
        alive = {tick: qty for tick, qty in levels.items() if qty > 0}
        assert alive == {round(px / 0.1): qty for px, qty in prices}


def test_a_trade_consumes_what_was_there(minute):
    """Every trade is at a level of the other side and no larger, and its level's row follows."""
    book = L2(0.1, 0.001)
    kind, n = kinds(minute), 0
    for i in range(len(minute) // 4):
        row = minute[i : i + 1]
        if kind[i] == TRADE_EVENT:
            buys = bool(row["ev"][0] & np.uint64(BUY_EVENT))
            tick = round(row["px"][0] / 0.1)
            before = book.ask_qty_at_tick(tick) if buys else book.bid_qty_at_tick(tick)
            left = before - row["qty"][0]
            assert left > -1e-9
            after = minute[i + 1 : i + 40]
            same = after[(after["px"] == row["px"][0]) & (kinds(after) == DEPTH_EVENT)]
            assert abs(same["qty"][0] - left) < 1e-9
            assert same["exch_ts"][0] == row["exch_ts"][0]
            n += 1
        book.apply(row)
    assert n > 300


def test_the_statistics_are_those_of_a_busy_perpetual(minute):
    kind = kinds(minute)
    trades = minute[kind == TRADE_EVENT]
    buys = np.mean((trades["ev"] & np.uint64(BUY_EVENT)) != 0)
    assert 900 < len(minute) / 60 < 1600
    assert 25 < len(trades) / 60 < 150
    assert 0.3 < buys < 0.7
    best = L2(0.1, 0.001).replay(minute)[4000:]
    spread = best["ask_tick"] - best["bid_tick"]
    assert np.median(spread) == 1
    assert spread.max() < 500
    middle = (best["bid_tick"] + best["ask_tick"]) / 2
    seconds = np.searchsorted(minute["exch_ts"][4000:], START + np.arange(5, 60) * 10**9)
    assert 15 < np.std(np.diff(middle[seconds])) < 150
    assert 0.3 < np.median(best["bid_qty"]) < 5


def test_the_book_agrees_with_itself_step_by_step():
    market = SimulatedMarket("BTCUSDT", seed=11, rate=5.0)._begin(LAST_TS).__self__
    rows = np.empty(97, event_dtype)
    for _ in range(1500):
        market.fill(rows)
        market.check_invariants()


def test_a_restarted_feed_goes_on_where_it_says():
    later = SimulatedMarket("BTCUSDT", start_ts=START + 10**10, start_px=60_123.4, epoch=2).generate(1)
    assert kinds(later)[0] == DEPTH_CLEAR_EVENT
    assert later["exch_ts"][0] == START + 10**10
    book = L2(0.1, 0.001)
    book.apply(later[kinds(later) == DEPTH_SNAPSHOT_EVENT])
    assert book.best_bid_tick == 601_234


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("tick_size", 0.0),
        ("tick_size", float("nan")),
        ("lot_size", -1.0),
        ("start_px", 51.1),
        ("start_px", float("inf")),
        ("rate", 0.0),
        ("start_ts", -1),
        ("seconds", -1),
        ("seconds", float("nan")),
        ("seed", -1),
        ("seed", 2**64),
        ("epoch", -1),
        ("chunk_rows", 0),
    ],
)
def test_an_argument_out_of_range_is_named(argument, value):
    with pytest.raises(ConfigError, match=rf"BTCUSDT: {argument} must be"):
        SimulatedMarket("BTCUSDT", **{argument: value})
