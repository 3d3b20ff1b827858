"""Validation: each problem is found, counted and placed, and real recordings have none."""

import gzip
import json

import numpy as np
import pytest

from engine.backtest.data import save_events
from engine.core.errors import DataError
from engine.core.types import BUY_EVENT, EXCH_EVENT, LOCAL_EVENT, SELL_EVENT, event_dtype
from engine.feeds.crossed import crossed_messages
from engine.feeds.quality import Limits, count_kinds, examine, examine_events, infer_step
from tests.kit import itch
from tests.kit.captures import depth, line, snapshot, trade, write
from tests.kit.recordings import events, recording

BOTH = EXCH_EVENT | LOCAL_EVENT
BID, ASK, TRADE = 1 | BOTH | BUY_EVENT, 1 | BOTH | SELL_EVENT, 2 | BOTH | BUY_EVENT
MS = 1_000_000
START = 1_723_161_255_000 * MS


def made(*rows, latency=5) -> np.ndarray:
    """Events of (ev, milliseconds, px, qty)."""
    data = np.zeros(len(rows), event_dtype)
    for i, (ev, ms, px, qty) in enumerate(rows):
        data[i] = (ev, START + ms * MS, START + ms * MS + latency, px, qty, 0, 0, 0.0)
    return data


def quiet(n: int = 50) -> np.ndarray:
    return made(*[(BID if i % 2 else ASK, i, 100.0 if i % 2 else 100.5, 1.0 + i) for i in range(n)])


def found(report) -> dict[str, tuple[int, list[int]]]:
    return {problem.name: (problem.count, problem.where) for problem in report.problems}


def test_a_good_recording_has_no_problems():
    report = examine_events(quiet())
    assert report.clean
    assert report.kinds == {"depth": {"buy": 25, "sell": 25, "none": 0}}
    assert (report.rows, report.exch_rows, report.local_rows) == (50, 50, 50)
    assert (report.tick_size, report.lot_size) == (0.5, 1.0)
    assert report.latency_ns == dict.fromkeys(["p0", "p1", "p50", "p90", "p99", "p99.9", "max"], 5)
    assert report.longest_silence_ns == MS
    assert (report.first_exch_ts, report.last_local_ts) == (START, START + 49 * MS + 5)


def test_latency_quantiles_are_of_values_that_occurred():
    data = quiet(1000)
    data["local_ts"] = data["exch_ts"] + np.arange(1000)
    quantiles = examine_events(data).latency_ns
    assert quantiles == {"p0": 0, "p1": 9, "p50": 499, "p90": 899, "p99": 989, "p99.9": 998, "max": 999}


@pytest.mark.parametrize(
    ("field", "value", "name"),
    [
        ("ev", 1, "no_side"),
        ("ev", BOTH, "no_kind"),
        ("px", np.nan, "not_finite"),
        ("qty", np.inf, "not_finite"),
        ("qty", -1.0, "negative_qty"),
        ("exch_ts", START - 1, "exch_order"),
        ("local_ts", START - 1, "local_order"),
    ],
)
def test_a_bad_value_is_found_in_its_row(field, value, name):
    data = quiet()
    data[field][[17, 33]] = value
    assert found(examine_events(data))[name] == (2, [17, 33])


def test_an_event_seen_before_it_happened():
    data = quiet()
    data["exch_ts"][49] += MS
    assert found(examine_events(data)) == {"negative_latency": (1, [49])}


def test_only_the_first_places_are_kept():
    data = quiet()
    data["qty"] = -1.0
    assert found(examine_events(data, limits=Limits(shown=3)))["negative_qty"] == (50, [0, 1, 2])


def test_a_trade_of_nothing():
    assert found(examine_events(made((TRADE, 0, 10.0, 1.0), (TRADE, 1, 10.0, 0.0))))["zero_qty"] == (1, [1])


def test_silence_is_measured_on_the_local_side():
    data = made((BID, 0, 1.0, 1.0), (BID, 10, 1.0, 1.0), (BID, 20_000, 1.0, 1.0), (BID, 20_001, 1.0, 1.0))
    assert found(examine_events(data)) == {"silence": (1, [2])}
    assert examine_events(data, limits=Limits(max_silence_ns=20_000 * MS)).clean


def test_no_rows_at_all():
    report = examine_events(quiet(0))
    assert report.clean
    assert report.rows == 0


def test_market_by_order_is_not_replayed():
    data = made((10 | BOTH | BUY_EVENT, 0, 10.0, 1.0), (10 | BOTH | SELL_EVENT, 1, 9.0, 1.0))
    report = examine_events(data)
    assert report.clean
    assert "market by order" in report.notes[0]


def test_counts_name_unknown_kinds():
    assert count_kinds(made((77 | BOTH, 0, 1.0, 1.0))) == {"kind_77": {"buy": 0, "sell": 0, "none": 1}}


# --- crossed books -------------------------------------------------------------------------------


def test_a_book_that_stays_crossed_is_reported_once_where_it_arises():
    data = made(
        (ASK, 0, 100.5, 1.0),
        (BID, 0, 100.0, 1.0),
        (BID, 1, 101.0, 2.0),
        (BID, 2, 99.0, 2.0),
        (BID, 3, 100.0, 3.0),
    )
    assert found(examine_events(data)) == {"crossed": (1, [2])}


def test_a_locked_book_is_crossed():
    data = made((ASK, 0, 100.5, 1.0), (BID, 1, 100.5, 1.0))
    assert found(examine_events(data)) == {"crossed": (1, [1])}


@pytest.mark.parametrize("up", [True, False])
def test_a_market_that_moves_within_a_message_is_not_crossed(up):
    data = made(
        (BID, 0, 100.0, 1.0),
        (ASK, 0, 100.5, 1.0),
        (BID, 1, 101.0, 1.0) if up else (ASK, 1, 99.0, 1.0),
        (ASK, 1, 100.5, 0.0) if up else (BID, 1, 100.0, 0.0),
    )
    assert examine_events(data).clean


def test_a_lower_ask_on_a_standing_bid_is_crossed():
    data = made((BID, 0, 100.0, 1.0), (ASK, 0, 100.5, 1.0), (ASK, 1, 99.0, 1.0))
    assert found(examine_events(data)) == {"crossed": (1, [2])}


def test_each_view_has_its_own_book():
    data = made((ASK, 0, 100.5, 1.0), (BID & ~LOCAL_EVENT, 1, 101.0, 1.0))
    assert crossed_messages(data, 0.5, 1.0, LOCAL_EVENT) == (0, [], 0)
    assert crossed_messages(data, 0.5, 1.0, EXCH_EVENT) == (1, [1], 0)
    assert crossed_messages(data, 0.5, 1.0, limit=0) == (1, [], 0)


def test_a_crossing_of_absurd_width_is_found_in_bounded_time():
    data = made((ASK, 0, 1.0, 1.0), (BID, 1, 1e15, 1.0))
    assert crossed_messages(data, 1.0, 1.0) == (1, [1], 0)


def test_rows_that_no_book_takes_are_noted():
    data = quiet()
    data["px"][3] = np.nan
    report = examine_events(data)
    assert "refused 1 rows" in report.notes[0]


@pytest.mark.parametrize(
    ("values", "step"),
    [
        ([100.0, 100.5, 103.0], 0.5),
        ([61800.2, 61800.3, 58710.2], 0.1),
        ([0.00000012, 0.00000015], 0.00000003),
        ([4750.25, 4751.0], 0.25),
        ([100.0, 300.0, np.nan, -5.0, 0.0], 100),
        ([1 / 3, 0.5], None),
        ([], None),
        ([np.nan], None),
    ],
)
def test_steps_are_inferred(values, step):
    assert infer_step(np.array(values)) == step


# --- captures ------------------------------------------------------------------------------------

BOOK = [
    line(0, snapshot(0, 5, [("10.0", "1")], [("10.5", "2")]), stream=None),
    *(line(i * MS, depth(i, i + 5, i + 5, i + 4, [("10.0", str(i))])) for i in range(1, 20)),
]


@pytest.mark.parametrize(
    ("form", "content"),
    [
        ("itch", b"\0\x0c" + itch.system(0, "O")),
        ("lobster", b"34200.5,1,7,100,5850000,1\n"),
        ("tardis", b"exchange,symbol,timestamp,local_timestamp,id,side,price,amount\n"),
    ],
)
def test_what_has_to_be_converted_first_is_called_by_its_name(tmp_path, form, content):
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(DataError, match=f"x: a file of the format {form}: convert it"):
        examine(tmp_path / "x")


def test_a_good_capture_has_no_problems(tmp_path):
    report = examine(write(tmp_path / "x.gz", BOOK))
    assert report.clean
    assert (report.format, report.unit, report.lines, report.symbol) == ("capture", "line", 20, "BTCUSDT")
    assert report.messages == {"depthUpdate": 19, "snapshot": 1}


def test_a_lost_update_is_found_at_the_next(tmp_path):
    report = examine(write(tmp_path / "x", BOOK[:8] + BOOK[9:]))
    assert found(report) == {"sequence_gap": (1, [9])}
    assert "at most 1 ids" in report.problems[0].message


def test_a_repeated_update_is_found(tmp_path):
    report = examine(write(tmp_path / "x", [*BOOK[:9], BOOK[8], *BOOK[9:]]))
    assert found(report)["repeated_update"] == (1, [10])


def test_spots_updates_have_to_follow_each_other(tmp_path):
    lines = [line(i * MS, depth(i, 10 * i, 10 * i + 9, None, [("1", "1")])) for i in range(1, 9)]
    assert examine(write(tmp_path / "x", lines)).clean
    assert found(examine(write(tmp_path / "y", lines[:3] + lines[5:]))) == {"sequence_gap": (1, [4])}


@pytest.mark.parametrize("spot", [True, False])
def test_a_snapshot_that_no_update_continues(tmp_path, spot):
    def lines(first):
        return [
            line(0, snapshot(None if spot else 0, 5, [("10.0", "1")], [("10.5", "2")]), stream=None),
            line(MS, depth(1, first, first + 3, None if spot else first - 1, [("10.0", "1")])),
        ]

    assert examine(write(tmp_path / "x", lines(6))).clean
    assert examine(write(tmp_path / "x", lines(4))).clean
    assert found(examine(write(tmp_path / "x", lines(8)))) == {"snapshot_gap": (1, [1])}


def test_ids_that_run_backwards(tmp_path):
    assert "update_ids" in found(examine(write(tmp_path / "x", [line(0, depth(0, 9, 5, 8, [("1", "1")]))])))


def test_a_crossed_capture_names_the_line(tmp_path):
    lines = [*BOOK, line(30 * MS, depth(30, 25, 25, 24, [("11.0", "1")]))]
    assert found(examine(write(tmp_path / "x", lines))) == {"crossed": (1, [21])}


def test_local_time_that_goes_back_names_the_line(tmp_path):
    lines = [line(5 * MS, trade(0, "1", "1")), line(MS, trade(1, "1", "1")), line(6 * MS, trade(2, "1", "1"))]
    assert found(examine(write(tmp_path / "x", lines))) == {"local_order": (1, [2])}


def test_notes_say_what_converting_does(tmp_path):
    lines = [
        line(-5, depth(1, 10, 12, None, [("10", "4")])),
        line(9, snapshot(None, 9, [("9", "3")], []), stream=None),
    ]
    notes = " ".join(examine(write(tmp_path / "x", lines)).notes)
    assert "1 rows of newer updates are repeated" in notes
    assert "1,000,005 ns behind" in notes
    assert "no depth snapshot" in " ".join(examine(write(tmp_path / "y", lines[:1])).notes)


@pytest.mark.parametrize("content", [b"", b"{}\n", b"PK\x03\x04", b"\x93NUMPY\x01\0"])
def test_unreadable_files_are_refused(tmp_path, content):
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(DataError, match="x"):
        examine(tmp_path / "x")


def test_a_report_is_json():
    data = quiet()
    data["qty"][3] = -1
    plain = json.loads(json.dumps(examine_events(data).as_dict()))
    assert plain["clean"] is False
    assert plain["problems"][0]["name"] == "negative_qty"


@pytest.mark.recording
@pytest.mark.parametrize("name", ["usdm", "cm", "spot"])
def test_the_real_recordings_are_clean(name, tmp_path):
    report = examine(recording(name))
    assert report.problems == []
    save_events(tmp_path / "x.npz", events(name))
    converted = examine(tmp_path / "x.npz")
    assert converted.problems == []
    assert converted.latency_ns["p0"] == 0
    assert converted.tick_size == report.tick_size == {"usdm": 0.1, "cm": 0.1, "spot": 0.01}[name]


@pytest.mark.recording
def test_lost_updates_of_a_real_recording_are_found(tmp_path):
    with gzip.open(recording("usdm")) as file:
        lines = [next(file) for _ in range(30_000)]
    updates = [i for i, text in enumerate(lines) if b"depthUpdate" in text]
    lost = set(updates[500:520])
    kept = [text for i, text in enumerate(lines) if i not in lost]
    report = examine(write(tmp_path / "x", kept))
    assert found(report)["sequence_gap"] == (1, [updates[520] - 20 + 1])
    assert set(found(report)) <= {"sequence_gap", "crossed"}
