"""The simulated market of agents as a feed: the same bytes for the same arguments, and a sane book."""

import hashlib

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
    TRADE_EVENT,
)
from engine.feeds.market import AgentMarket
from engine.matching.laws import load_law

DIGEST = (8962, "25c37f50e57af792")
START = 1_704_067_200_000_000_000


@pytest.fixture(scope="module")
def minute():
    return AgentMarket("BTCUSDT").generate(60)


def kinds(rows):
    return rows["ev"] & np.uint64(0xFF)


def test_the_bytes_are_the_same_on_every_machine():
    """A figure of this market: a change of it changes every demo and must be meant."""
    rows = AgentMarket("BTCUSDT", seed=7).generate(5)
    assert (len(rows), hashlib.sha256(rows.tobytes()).hexdigest()[:16]) == DIGEST


def test_the_same_arguments_give_the_same_bytes(minute):
    assert AgentMarket("BTCUSDT", law=load_law()).generate(60).tobytes() == minute.tobytes()
    start = AgentMarket("BTCUSDT").generate(20)
    assert start.tobytes() == minute[: len(start)].tobytes()


@pytest.mark.parametrize("chunk_rows", [1, 7, 1000, 4096])
def test_chunks_do_not_change_the_market(chunk_rows):
    whole = AgentMarket("X").generate(1)
    source = AgentMarket("X", seconds=1, chunk_rows=chunk_rows)
    chunks = list(source.chunks())
    assert {len(chunk) for chunk in chunks[:-1]} <= {chunk_rows}
    assert np.concatenate(chunks).tobytes() == whole.tobytes()
    assert np.concatenate(list(source.chunks(start=1234))).tobytes() == whole[1234:].tobytes()
    assert source.rows == 0


@pytest.mark.parametrize("other", [{"seed": 8}, {"epoch": 1}, {"symbol": "ETHUSDT"}, {"start_px": 50000.0}])
def test_other_arguments_give_another_market(minute, other):
    rows = AgentMarket(**{"symbol": "BTCUSDT", **other}).generate(2)
    assert rows["px"][1:500].tolist() != minute["px"][1:500].tolist()


def test_the_order_is_hftbacktests(minute):
    validate_event_order(minute)
    assert np.all(np.diff(minute["exch_ts"]) >= 0)
    assert np.all(np.diff(minute["local_ts"]) >= 0)
    assert np.all(minute["local_ts"] >= minute["exch_ts"])
    assert minute["exch_ts"][0] == START
    assert START + 59_900_000_000 < minute["exch_ts"][-1] < START + 60_000_000_000
    both = np.uint64(EXCH_EVENT | LOCAL_EVENT)
    assert np.all(minute["ev"] & both == both)


def test_it_opens_with_a_clear_and_a_snapshot(minute):
    kind = kinds(minute)
    snapshot = np.flatnonzero(kind == DEPTH_SNAPSHOT_EVENT)
    assert kind[0] == DEPTH_CLEAR_EVENT
    assert np.count_nonzero(kind == DEPTH_CLEAR_EVENT) == 1
    np.testing.assert_array_equal(snapshot, np.arange(1, len(snapshot) + 1))
    book = L2(0.1, 0.001)
    book.apply(minute[: len(snapshot) + 1])
    assert book.best_ask_tick - book.best_bid_tick == 1
    assert min(len(book.bids()), len(book.asks())) > 300


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"seed": 1, "rate": 20.0},
        {"tick_size": 0.01, "lot_size": 0.00001, "seed": 3, "start_px": 150.0},
        {"tick_size": 0.03, "start_px": 5000.0, "lot_size": 1.0},
    ],
)
def test_the_book_is_never_crossed_nor_empty(arguments):
    source = AgentMarket("BTCUSDT", **arguments)
    rows = source.generate(30 / source.rate)
    book = L2(source.tick_size, source.lot_size)
    best = book.replay(rows)
    settled = best[np.flatnonzero(kinds(rows) == DEPTH_SNAPSHOT_EVENT)[-1] :]
    assert np.all(settled["bid_tick"] < settled["ask_tick"])
    assert np.all(settled["bid_qty"] > 0)
    assert np.all(settled["ask_qty"] > 0)
    prices = rows["px"][1:] / source.tick_size
    np.testing.assert_allclose(prices, np.round(prices), rtol=0, atol=1e-6)


def test_prices_are_the_decimals_that_they_stand_for(minute):
    assert np.all(minute["px"] == np.round(minute["px"], 1))
    assert np.all(minute["qty"] == np.round(minute["qty"], 3))


def test_a_trade_consumes_what_was_there(minute):
    """Every trade is at a level of the other side and no larger, and its level's row follows at once."""
    book = L2(0.1, 0.001)
    kind, n = kinds(minute), 0
    taken: dict[tuple[bool, float], float] = {}
    for i in range(len(minute) // 3):
        row = minute[i]
        if kind[i] == TRADE_EVENT:
            level = (bool(row["ev"] & np.uint64(BUY_EVENT)), float(row["px"]))
            taken[level] = taken.get(level, 0.0) + float(row["qty"])
            continue
        for (buys, px), qty in taken.items():
            tick = round(px / 0.1)
            before = book.ask_qty_at_tick(tick) if buys else book.bid_qty_at_tick(tick)
            same = minute[i : i + 400]
            same = same[(same["px"] == px) & (kinds(same) == DEPTH_EVENT)][:1]
            assert before - qty > -1e-9
            assert same["exch_ts"][0] == minute["exch_ts"][i - 1]
            assert same["qty"][0] == pytest.approx(before - qty, abs=1e-9)
            n += 1
        taken.clear()
        book.apply(minute[i : i + 1])
    assert n > 100


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("tick_size", 0.0),
        ("tick_size", float("nan")),
        ("lot_size", -1.0),
        ("start_px", 1000.0),
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
        AgentMarket("BTCUSDT", **{argument: value})
