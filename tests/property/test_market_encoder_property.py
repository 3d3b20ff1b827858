"""The compiled encoder of market data beside the codec, byte by byte."""

from itertools import pairwise

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge import codec, encoder
from bridge import protocol as p
from bridge.books import Sides
from bridge.market import CHECKED_EVERY, Market
from engine.core.errors import RingCorrupt
from engine.core.types import BUY_EVENT, TRADE_EVENT
from engine.runtime.records import (
    LEVELS_PER_RECORD,
    SLOT_BYTES,
    Flag,
    Kind,
    depth_record_dtype,
    market_record_dtype,
    record_dtype,
)

EDGES = [
    edge + near
    for bits in (5, 7, 8, 15, 16, 31, 32, 62)
    for edge in (1 << bits, -(1 << bits))
    for near in (-1, 0, 1)
]
TIMES = st.sampled_from(EDGES) | st.integers(-(2**63), 2**63 - 1)
COUNTS = st.sampled_from([edge for edge in EDGES if edge >= 0]) | st.integers(0, 2**63 - 20)
FLOATS = st.floats(width=64)
SYMBOLS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=64)
TRADES = st.lists(st.tuples(TIMES, TIMES, st.booleans(), FLOATS, FLOATS), max_size=12)
QTYS = st.floats(0, 1e300)
LEVELS = st.lists(st.tuples(FLOATS, FLOATS), max_size=6)


def slots(batch):
    return batch.view(np.uint8).reshape(-1, SLOT_BYTES)


@given(TRADES, COUNTS, COUNTS, SYMBOLS)
def test_trades_are_the_codecs_byte_by_byte(trades, epoch, seq, symbol):
    batch = np.zeros(len(trades), record_dtype)
    batch["kind"] = Kind.TRADE
    event = batch["payload"].view(market_record_dtype)["event"]
    for place, (ts, exch_ts, buy, px, qty) in enumerate(trades):
        batch["ts"][place], event["exch_ts"][place] = ts, exch_ts
        event["ev"][place] = TRADE_EVENT | (BUY_EVENT if buy else 0)
        event["px"][place], event["qty"][place] = px, qty
    want = [
        codec.encode(p.Trade(epoch, seq + place, symbol, ts, exch_ts, "buy" if buy else "sell", px, qty))
        for place, (ts, exch_ts, buy, px, qty) in enumerate(trades)
    ]
    text = codec.encode(symbol)
    assert encoder.trades(slots(batch), 0, len(batch), epoch, seq, text) == want
    middle = len(trades) // 2
    assert encoder.trades(slots(batch), middle, len(batch), epoch, seq + middle, text) == want[middle:]
    together = codec.together(want)
    assert together == codec.encode(p.Messages([msgspec.Raw(frame) for frame in want]))


@given(
    st.lists(
        st.tuples(st.sampled_from([int(Kind.DEPTH), int(Kind.TRADE), 77]), st.integers(0, 2)), max_size=30
    )
)
def test_runs_are_the_longest_of_one_kind_and_instrument(heads):
    batch = np.zeros(len(heads), record_dtype)
    for place, (kind, instrument) in enumerate(heads):
        batch["kind"][place], batch["instrument"][place] = kind, instrument
    runs = encoder.runs(slots(batch))
    assert [head for *head, begin, end in runs for _ in range(begin, end)] == [list(head) for head in heads]
    assert all(one[:2] != two[:2] for one, two in pairwise(runs))


@given(st.lists(st.tuples(TIMES, TIMES, st.integers(0, 2**16 - 1), LEVELS, LEVELS), max_size=5))
def test_levels_are_those_of_the_records_in_their_order(records):
    batch = np.zeros(len(records), record_dtype)
    row = batch["payload"].view(depth_record_dtype)
    for place, (ts, exch_ts, flags, bids, asks) in enumerate(records):
        batch["ts"][place], row["exch_ts"][place], batch["flags"][place] = ts, exch_ts, flags
        row["n_bids"][place], row["n_asks"][place] = len(bids), len(asks)
        for at, level in enumerate([*bids, *asks]):
            row["levels"][place, at] = level
    got = encoder.depths(slots(batch), 0, len(batch))
    # As text: NaN is what it is, and so is the sign of 0.
    assert repr(got) == repr(
        [(flags, ts, exch, dict(bids), dict(asks)) for ts, exch, flags, bids, asks in records]
    )


PRICES = st.lists(st.integers(0, 9).map(float), max_size=6, unique=True)
CHANGES = st.lists(
    st.tuples(
        TIMES,
        TIMES,
        st.sampled_from([Flag.LAST] * 6 + [Flag(0), Flag.LAST | Flag.SNAPSHOT, Flag.LAST | Flag.CONFLATED]),
        *(PRICES.flatmap(lambda prices: st.tuples(*(st.tuples(st.just(px), QTYS) for px in prices))),) * 2,
    ),
    max_size=30,
)


def changed(records):
    """DEPTH records of the engine."""
    batch = np.zeros(len(records), record_dtype)
    batch["kind"] = Kind.DEPTH
    row = batch["payload"].view(depth_record_dtype)
    for place, (ts, exch_ts, flags, bids, asks) in enumerate(records):
        batch["ts"][place], row["exch_ts"][place], batch["flags"][place] = ts, exch_ts, int(flags)
        row["n_bids"][place], row["n_asks"][place] = len(bids), len(asks)
        for at, level in enumerate([*bids, *asks]):
            row["levels"][place, at] = level
    return batch


@given(CHANGES, COUNTS, COUNTS, SYMBOLS, st.integers(1, 9))
def test_whole_depths_are_the_codecs_byte_by_byte_and_change_the_book(records, epoch, seq, symbol, every):
    frames, book, last = [], Sides(symbol), (0, 0)
    for ts, exch_ts, flags, bids, asks in records:
        number = seq + len(frames)
        if flags not in (Flag.LAST, Flag.LAST | Flag.CONFLATED) or number % every == 0:
            break
        book.change(bids, asks)
        last, conflated = (ts, exch_ts), bool(flags & Flag.CONFLATED)
        message = p.Depth(epoch, number, symbol, ts, exch_ts, list(bids), list(asks), conflated=conflated)
        frames.append(codec.encode(message))
    got, batch = Sides(symbol), slots(changed(records))
    text = codec.encode(symbol)
    made = encoder.whole_depths(batch, 0, len(batch), epoch, seq, text, got.bids, got.asks, every)
    assert made == (frames, *last)
    assert (got.bids, got.asks) == (book.bids, book.asks)


@given(CHANGES, st.lists(st.integers(0, 30), max_size=5), st.sampled_from([0, 1, 250, 255]))
def test_a_market_publishes_each_change_that_it_is_given(records, cuts, silent):
    """However the records come: a message for each that ends one, and a book that follows from them."""
    sent, batch = [], changed(records)
    market = Market(7, ["X"], lambda topic, frame: sent.append(frame))
    topic = market.topics[0]
    topic.wanted = False
    for _ in range(silent):
        market.publish(changed([(1, 1, Flag.LAST | Flag.SNAPSHOT, ((5.0, 1.0),), ())]))
    topic.wanted = True
    edges = sorted({0, *(min(cut, len(batch)) for cut in cuts), len(batch)})
    for begin, end in pairwise(edges):
        market.publish(batch[begin:end])
    book, told, seq = Sides("X"), silent > 0, silent
    book.change([(5.0, 1.0)] * told, [])
    want, bids, asks, seen = [], {}, {}, Flag(0)
    for ts, exch_ts, flags, more_bids, more_asks in records:
        bids, asks, seen = bids | dict(more_bids), asks | dict(more_asks), seen | flags
        if not flags & Flag.LAST:
            continue
        snapshot = bool(seen & Flag.SNAPSHOT)
        if told := told or snapshot:
            book.change(bids.items(), asks.items(), snapshot)
            seq += 1
            want.append(
                p.Depth(
                    7, seq, "X", ts, exch_ts, list(bids.items()), list(asks.items()),
                    snapshot, bool(seen & Flag.CONFLATED), book.checksum() if seq % CHECKED_EVERY == 0 else 0,
                )
            )  # fmt: skip
        bids, asks, seen = {}, {}, Flag(0)
    got = [codec.decode_stream([b"x", frame])[1] for frame in sent]
    flat = [one for message in got for one in getattr(message, "messages", [message])]
    assert flat == want
    (shown,) = market.present(topic) or [None]
    if told:
        assert (dict(shown.bids), dict(shown.asks), shown.seq) == (book.bids, book.asks, seq)
        assert shown.checksum == book.checksum()


def test_what_cannot_be_is_refused():
    batch = np.zeros(2, record_dtype)
    batch["payload"].view(depth_record_dtype)["n_asks"] = LEVELS_PER_RECORD + 1
    with pytest.raises(RingCorrupt, match=f"0 bids and {LEVELS_PER_RECORD + 1} asks"):
        encoder.depths(slots(batch), 0, 1)
    batch["flags"] = Flag.LAST
    with pytest.raises(RingCorrupt, match=f"0 bids and {LEVELS_PER_RECORD + 1} asks"):
        encoder.whole_depths(slots(batch), 0, 1, 1, 1, b"\xa1x", {}, {}, 256)
    for begin, end in ((-1, 1), (0, 3), (2, 1)):
        with pytest.raises(ValueError, match="of 2 of 256 bytes"):
            encoder.trades(slots(batch), begin, end, 1, 1, b"\xa1x")
    with pytest.raises(ValueError, match="of 2 of 128 bytes"):
        encoder.runs(slots(batch)[:, :128].copy())
    with pytest.raises(ValueError, match="at most 256"):
        encoder.trades(slots(batch), 0, 1, 1, 1, b"x" * 257)
