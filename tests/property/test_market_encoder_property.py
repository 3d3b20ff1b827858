"""The compiled encoder of market data beside the codec, byte by byte."""

from itertools import pairwise

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge import codec, encoder
from bridge import protocol as p
from engine.core.errors import RingCorrupt
from engine.core.types import BUY_EVENT, TRADE_EVENT
from engine.runtime.records import (
    LEVELS_PER_RECORD,
    SLOT_BYTES,
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


def test_what_cannot_be_is_refused():
    batch = np.zeros(2, record_dtype)
    batch["payload"].view(depth_record_dtype)["n_asks"] = LEVELS_PER_RECORD + 1
    with pytest.raises(RingCorrupt, match=f"0 bids and {LEVELS_PER_RECORD + 1} asks"):
        encoder.depths(slots(batch), 0, 1)
    for begin, end in ((-1, 1), (0, 3), (2, 1)):
        with pytest.raises(ValueError, match="of 2 of 256 bytes"):
            encoder.trades(slots(batch), begin, end, 1, 1, b"\xa1x")
    with pytest.raises(ValueError, match="of 2 of 128 bytes"):
        encoder.runs(slots(batch)[:, :128].copy())
    with pytest.raises(ValueError, match="at most 256"):
        encoder.trades(slots(batch), 0, 1, 1, 1, b"x" * 257)
