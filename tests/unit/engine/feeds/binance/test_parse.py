"""The compiled parser against the plain decoder, on usual, unusual and broken lines."""

import json
import struct

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from engine.core.errors import DataError
from engine.core.types import (
    BUY_EVENT,
    DEPTH_CLEAR_EVENT,
    DEPTH_EVENT,
    DEPTH_SNAPSHOT_EVENT,
    SELL_EVENT,
    TRADE_EVENT,
)
from engine.feeds.binance.parse import CaptureParser
from tests.kit.captures import START_MS, START_NS, depth, line, snapshot, trade
from tests.kit.recordings import recording

MS = 1_000_000

LINES = [
    line(1, depth(0, 5, 9, 4, [("61800.20", "0.014")], [("61800.30", "1"), ("61801.00", "0.000")])),
    line(2, trade(1, "61800.30", "0.006")),
    line(3, trade(2, "0", "0", X="NA")),
    line(4, {"e": "bookTicker", "u": 10, "s": "BTCUSDT", "b": "1.5", "B": "2", "a": "1.6", "A": "3",
             "T": START_MS, "E": START_MS}),
    line(5, {"u": 11, "s": "BTCUSDT", "b": "1.5", "B": "2", "a": "1.6", "A": "3"}),
    line(6, {"e": "markPriceUpdate", "E": START_MS, "s": "BTCUSDT", "p": "1.5", "P": "1.4", "i": "1.6",
             "r": "-0.0001", "T": START_MS}),
    line(7, snapshot(3, 12, [("61800.2", "1")], [("61800.3", "2")]), stream=None),
    line(8, depth(4, 13, 13, 9, [], [])),
    line(9, {"result": None, "id": 1}, stream=None),
    line(9, {"code": -1121, "msg": "Invalid symbol."}, stream=None),
    line(9, {"e": "aggTrade", "E": START_MS, "s": "BTCUSDT", "a": 7, "p": "1", "q": "1", "f": 1, "l": 1,
             "T": START_MS, "m": True}),
    line(9, {"T": START_MS, "bids": [["1", "2"]], "asks": []}, stream=None),
    line(9, {"s": "BTCUSDT", "b": "1.5", "B": "2", "a": "1.6", "A": "3", "e": "other"}),
    line(10, trade(5, "61800.30", "0.006", maker=True, X=None, M=True)),
]  # fmt: skip


def parsed(text: bytes, opt: str = "", fast: bool = True, block: int = 1 << 20):
    parser = CaptureParser(opt, fast=fast, marks=True, file="capture")
    for first in range(0, len(text), block):
        parser.feed(text[first : first + block])
    parser.close()
    marks = parser.take_marks()
    return parser.take(), marks, parser


def outcome(text: bytes, fast: bool):
    """What a capture gives, as something that compares: rows, marks and counts, or the error."""
    try:
        rows, marks, parser = parsed(text, "mt", fast)
    except DataError as error:
        return str(error), error.line, error.byte, error.field
    return rows.tobytes(), marks.tobytes(), parser.counts, parser.symbol, parser.lines


def test_depth_becomes_rows_bids_first():
    rows, _, _ = parsed(LINES[0])
    assert [tuple(row)[:5] for row in rows.tolist()] == [
        (DEPTH_EVENT | BUY_EVENT, START_MS * MS, START_NS + 1, 61800.20, 0.014),
        (DEPTH_EVENT | SELL_EVENT, START_MS * MS, START_NS + 1, 61800.30, 1.0),
        (DEPTH_EVENT | SELL_EVENT, START_MS * MS, START_NS + 1, 61801.0, 0.0),
    ]


def test_a_trade_has_the_takers_side():
    rows, _, _ = parsed(LINES[1] + LINES[-1])
    assert rows["ev"].tolist() == [TRADE_EVENT | BUY_EVENT, TRADE_EVENT | SELL_EVENT]


def test_trades_off_the_book_are_left_out():
    rows, _, parser = parsed(LINES[2])
    assert len(rows) == 0
    assert parser.counts == {"trade": 1}


def test_a_snapshot_clears_each_side_down_to_its_last_level():
    text = line(7, snapshot(3, 12, [("10", "1"), ("9", "2")], [("11", "3")]), stream=None)
    rows, marks, _ = parsed(text)
    assert [(row[0], row[3], row[4]) for row in rows.tolist()] == [
        (DEPTH_CLEAR_EVENT | BUY_EVENT, 9.0, 0.0),
        (DEPTH_SNAPSHOT_EVENT | BUY_EVENT, 10.0, 1.0),
        (DEPTH_SNAPSHOT_EVENT | BUY_EVENT, 9.0, 2.0),
        (DEPTH_CLEAR_EVENT | SELL_EVENT, 11.0, 0.0),
        (DEPTH_SNAPSHOT_EVENT | SELL_EVENT, 11.0, 3.0),
    ]
    assert marks["last_id"].tolist() == [12]


def test_an_empty_side_of_a_snapshot_clears_nothing():
    rows, _, _ = parsed(line(7, snapshot(3, 12, [], [("11", "3")]), stream=None))
    assert len(rows) == 2


def test_options_add_rows():
    text = b"".join(LINES)
    kinds = {opt: sorted(set((parsed(text, opt)[0]["ev"] & 0xFF).tolist())) for opt in ("", "m", "t", "mt")}
    assert kinds == {
        "": [1, 2, 3, 4],
        "m": [1, 2, 3, 4, 100, 101, 102],
        "t": [1, 2, 3, 4, 103, 104],
        "mt": [1, 2, 3, 4, 100, 101, 102, 103, 104],
    }


def test_messages_are_counted_by_kind():
    _, _, parser = parsed(b"".join(LINES))
    assert parser.counts == {
        "trade": 3,
        "depthUpdate": 2,
        "bookTicker": 2,
        "markPriceUpdate": 1,
        "snapshot": 2,
        "aggTrade": 1,
        "error": 1,
        "other": 1,
        "reply": 1,
    }
    assert parser.lines == len(LINES)
    assert parser.symbol == "BTCUSDT"


@pytest.mark.parametrize("text", LINES, ids=range(len(LINES)))
def test_both_ways_agree_on_each_line(text):
    assert outcome(text, True) == outcome(text, False)


@pytest.mark.parametrize("block", [1, 2, 7, 100, 1000])
def test_blocks_may_be_cut_anywhere(block):
    text = b"".join(LINES)
    rows, marks, _ = parsed(text, "mt", block=block)
    whole, whole_marks, _ = parsed(text, "mt")
    assert rows.tobytes() == whole.tobytes()
    assert marks.tobytes() == whole_marks.tobytes()


def test_the_last_line_needs_no_newline():
    assert len(parsed(LINES[1].rstrip())[0]) == 1


def test_blank_lines_and_carriage_returns_are_harmless():
    rows, marks, parser = parsed(b"\n" + LINES[1].replace(b"\n", b"\r\n") + b"\n\n" + LINES[-1])
    assert len(rows) == 2
    assert marks["line"].tolist() == [2, 5]
    assert parser.lines == 5


@pytest.mark.parametrize("index", [0, 1, 5, 6])
def test_spaces_and_other_key_orders_change_nothing(index):
    stamp, _, text = LINES[index].partition(b" ")
    message = json.loads(text)
    turned = {key: message[key] for key in reversed(message)}
    if "data" in turned:
        turned["data"] = {key: turned["data"][key] for key in reversed(turned["data"])}
    for other in (json.dumps(message), json.dumps(turned), json.dumps(turned, separators=(",", ":"))):
        rows, _, _ = parsed(stamp + b" " + other.encode() + b"\n", "mt")
        assert rows.tobytes() == parsed(LINES[index], "mt")[0].tobytes()


def test_numbers_may_be_json_numbers_and_times_microseconds():
    text = line(1, trade(0, 61800.25, 3) | {"T": (START_MS + 7) * 1000 + 5})
    rows, _, _ = parsed(text)
    assert tuple(rows.tolist()[0])[1:5] == ((START_MS + 7) * MS + 5000, START_NS + 1, 61800.25, 3.0)


decimals = st.one_of(
    st.decimals(min_value=0, max_value=10**9, allow_nan=False, places=8).map(lambda d: f"{d:f}"),
    st.from_regex(r"[0-9]{1,25}(\.[0-9]{1,25})?", fullmatch=True),
    st.floats(min_value=0, max_value=1e300).map(repr),
    st.floats(min_value=0, max_value=1e15).map(lambda x: f"{x:.{len(repr(x)) % 9}f}"),
)


@given(decimals, decimals)
@settings(max_examples=500, deadline=None)
@example("9007199254740993", "9007199254740992.5")
@example("0.1", "00001.50")
@example("9999999999999999999", "0.0000000000000000000001")
@example("123456789012345678901234567890", "0.30000000000000000000000000000004")
def test_decimals_are_rounded_as_python_does(px, qty):
    rows, _, _ = parsed(line(0, trade(0, px, qty)))
    wanted = struct.pack("<dd", float(px), float(qty))
    assert struct.pack("<dd", rows["px"][0], rows["qty"][0]) == wanted


# --- refusals ------------------------------------------------------------------------------------


def broken(**changes) -> bytes:
    data = trade(0, "1.5", "2") | changes
    return line(0, {key: value for key, value in data.items() if value is not ...})


@pytest.mark.parametrize(
    ("text", "field", "message"),
    [
        (b"hello\n", "local_ts", "not a number"),
        (b"172316125530314 {}\n", "local_ts", "nanoseconds"),
        (b"9923161255030314667 {}\n", "local_ts", "nanoseconds"),
        (b"1723161255030314667\n", None, "not JSON"),
        (b"1723161255030314667 [1]\n", None, "not a JSON object"),
        (b'1723161255030314667 {"e":"trade",\n', None, "not JSON"),
        (b'1723161255030314667 {"stream":"x","data":[1]}\n', "data", "not a JSON object"),
        (b'1723161255030314667 {"stream":"x"}\n', "data", "not a JSON object"),
        (b"1723161255030314667 {}\n", "e", "neither"),
        (b"1723161255030314667 " + b"[" * 100_000 + b"\n", None, "not JSON"),
        (b'1723161255030314667 {"e":"\xff"}\n', None, "not JSON"),
        (broken(p=...), "p", "missing"),
        (broken(p="-1.5"), "p", "negative"),
        (broken(p="-0.0"), "p", "negative"),
        (broken(p="NaN"), "p", "not a number"),
        (broken(p="inf"), "p", "not a number"),
        (broken(p="1_0"), "p", "not a number"),
        (broken(p=" 1"), "p", "not a number"),
        (broken(p="1e999"), "p", "too large"),
        (broken(p=None), "p", "not a number"),
        (broken(q=True), "q", "not a number"),
        (broken(q="-3"), "q", "negative"),
        (broken(m="yes"), "m", "not true or false"),
        (broken(m=...), "m", "missing"),
        (broken(T=...), "T", "missing"),
        (broken(T=12), "T", "not a time"),
        (broken(T="1723161255000"), "T", "not a time"),
        (broken(T=-1723161255000), "T", "not a time"),
        (line(0, depth(0, 1, 2, 0) | {"b": 5}), "b", "not a list"),
        (line(0, depth(0, 1, 2, 0, [("1",)])), "b", "not a level"),
        (line(0, depth(0, 1, 2, 0, [], [("1", "x")])), "a", "not a number"),
        (
            line(0, {"e": "depthUpdate", "E": START_MS, "T": START_MS, "U": 1, "u": 2, "b": []}),
            "a",
            "missing",
        ),
        (line(0, depth(0, "1", 2, 0)), "U", "not an update id"),
        (
            line(0, snapshot(None, 1, [], []) | {"lastUpdateId": "x"}, stream=None),
            "lastUpdateId",
            "update id",
        ),
        (line(0, {"lastUpdateId": 5, "bids": []}, stream=None), "asks", "missing"),
    ],
)
def test_a_broken_line_is_named(text, field, message):
    before = LINES[0] + LINES[1]
    with pytest.raises(DataError, match=message) as caught:
        parsed(before + text + LINES[0])
    error = caught.value
    assert (error.file, error.line, error.byte, error.field) == ("capture", 3, len(before), field)
    assert len(str(error)) < 200


def test_a_last_line_cut_short_is_refused():
    with pytest.raises(DataError, match="line 2"):
        parsed(LINES[0] + LINES[1][:-10])


def test_a_nul_byte_ends_no_line():
    with pytest.raises(DataError, match="line 1"):
        parsed(LINES[1].rstrip() + b"\0" + LINES[1])


def test_two_symbols_are_refused():
    with pytest.raises(DataError, match="ETHUSDT in a capture of BTCUSDT"):
        parsed(LINES[1] + line(9, trade(9, "1", "1") | {"s": "ETHUSDT"}))


def test_a_line_without_end_is_refused(monkeypatch):
    monkeypatch.setattr("engine.feeds.binance.messages.MAX_LINE", 1000)
    parser = CaptureParser()
    for _ in range(10):
        parser.feed(b"x" * 100)
    with pytest.raises(DataError, match="more than 1000 bytes"):
        parser.feed(b"x")


mutations = st.lists(
    st.tuples(
        st.sampled_from(["flip", "delete", "insert", "copy", "cut"]),
        st.integers(0, 10**6),
        st.binary(min_size=1, max_size=3)
        | st.sampled_from([b'"', b"}", b"]", b",", b"\\", b"-", b"\n", b"\0", b" "]),
    ),
    min_size=1,
    max_size=4,
)


@given(st.lists(st.sampled_from(LINES), min_size=1, max_size=4), mutations)
@settings(max_examples=600, deadline=None)
def test_mutated_lines_give_the_same_rows_or_the_same_error_both_ways(lines, changes):
    text = b"".join(lines)
    for how, where, what in changes:
        at = where % max(len(text), 1)
        if how == "flip":
            text = text[:at] + what + text[at + len(what) :]
        elif how == "delete":
            text = text[:at] + text[at + len(what) :]
        elif how == "insert":
            text = text[:at] + what + text[at:]
        elif how == "copy":
            text = text[:at] + text[at : at + 30] + text[at:]
        else:
            text = text[:at]
    assert outcome(text, True) == outcome(text, False)


@given(st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_any_bytes_are_parsed_or_refused(text):
    assert outcome(text, True) == outcome(text, False)


@pytest.mark.recording
@pytest.mark.parametrize("name", ["usdm", "cm", "spot"])
def test_both_ways_agree_on_a_recording(name):
    import gzip

    with gzip.open(recording(name)) as file:
        text = file.read(3_000_000)
    text = text[: text.rindex(b"\n") + 1]
    assert outcome(text, True) == outcome(text, False)


# --- spot ----------------------------------------------------------------------------------------


def test_spots_depth_happens_at_its_event_time():
    rows, marks, _ = parsed(line(1, depth(4, 1, 2, None, [("1", "2")])))
    assert rows["exch_ts"].tolist() == [(START_MS + 4) * MS]
    assert marks["timed"].tolist() == [0]


def test_a_late_snapshot_is_followed_by_the_newer_updates():
    text = (
        line(1, depth(1, 1, 5, None, [("10", "1")]))
        + line(2, depth(2, 6, 9, None, [("11", "2")], [("12", "0")]))
        + line(3, snapshot(None, 5, [("10", "1")], [("12", "7")]), stream=None)
    )
    rows, _, parser = parsed(text)
    assert parser.replayed == 2
    assert rows["exch_ts"].tolist() == [(START_MS + ms) * MS for ms in (1, 2, 2, 1, 1, 1, 1, 2, 2)]
    assert rows["local_ts"].tolist() == [START_NS + ns for ns in (1, 2, 2, 3, 3, 3, 3, 3, 3)]
    assert rows["px"].tolist() == [10, 11, 12, 10, 10, 12, 12, 11, 12]


def test_updates_older_than_the_snapshot_are_left_out():
    text = (
        line(1, depth(1, 1, 5, None, [("10", "1")]))
        + line(3, snapshot(None, 9, [("10", "3")], []), stream=None)
        + line(4, depth(2, 6, 9, None, [("10", "2")]))
        + line(5, depth(3, 10, 12, None, [("10", "4")]))
    )
    rows, _, parser = parsed(text)
    assert parser.stale == 1
    assert rows["qty"].tolist() == [1, 0, 3, 4]


def test_a_snapshot_before_everything_gets_the_first_time():
    text = line(1, snapshot(None, 9, [("10", "3")], []), stream=None) + line(
        2, depth(3, 10, 12, None, [("10", "4")])
    )
    rows, _, _ = parsed(text)
    assert set(rows["exch_ts"].tolist()) == {(START_MS + 3) * MS}


def test_a_snapshot_older_than_every_update_precedes_them():
    text = line(1, depth(3, 10, 12, None, [("10", "4")])) + line(
        2, snapshot(None, 9, [("9", "3")], []), stream=None
    )
    rows, _, _ = parsed(text)
    assert rows["exch_ts"].tolist() == [
        (START_MS + 3) * MS,
        *[(START_MS + 3) * MS - 1] * 2,
        (START_MS + 3) * MS,
    ]


def test_a_capture_without_any_exchange_time_is_refused():
    with pytest.raises(DataError, match="exchange time"):
        parsed(line(1, snapshot(None, 9, [("10", "3")], []), stream=None))


def test_many_updates_before_a_snapshot_are_forgotten_from_the_oldest():
    updates = [line(i, depth(i, i, i, None, [("10", str(i))])) for i in range(1, 2000)]
    text = b"".join(updates) + line(3000, snapshot(None, 0, [("10", "3")], []), stream=None)
    rows, _, parser = parsed(text)
    assert parser.replayed == 1024
    assert len(rows) == 1999 + 2 + 1024
    assert np.array_equal(rows["qty"][-1024:], np.arange(976, 2000))
