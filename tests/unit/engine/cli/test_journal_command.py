"""``ringbook journal``: verify, dump and export, their exit codes, and the way back through ``convert``."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

from engine.backtest.data import load_events, save_events
from engine.cli.main import main
from engine.core.types import EXCH_EVENT, LOCAL_EVENT
from tests.kit.journals import crossing_events, write_journal


def run(capsys, *args) -> tuple[int, str, str]:
    code = main([str(arg) for arg in args])
    out, err = capsys.readouterr()
    return code, out, err


@pytest.fixture
def events():
    return crossing_events()


@pytest.fixture
def journal(tmp_path, events):
    write_journal(tmp_path, {"BTCUSDT": events})
    return tmp_path / "journal"


def assert_same_sides(rows: np.ndarray, expected: np.ndarray) -> None:
    """Each side sees the same rows in the same order; how rows of one side lie between each other is free."""
    assert len(rows) == len(expected)
    for flag in (EXCH_EVENT, LOCAL_EVENT):
        ours, theirs = (side[(side["ev"] & np.uint64(flag)) != 0] for side in (rows, expected))
        assert ours.tobytes() == theirs.tobytes()


def tear(journal) -> None:
    """As a loss of power in the middle of the last batch: its end is gone."""
    path = max(journal.glob("journal-0*.seg"))
    data = bytearray(path.read_bytes())
    end = len(data.rstrip(b"\0"))
    data[end - 10 : end] = bytes(10)
    path.write_bytes(data)


def test_verify_counts_what_is_there(capsys, journal, events):
    code, out, err = run(capsys, "journal", "verify", journal)
    assert (code, err) == (0, "")
    assert "nothing wrong" in out
    assert "ended in good order" in out
    code, out, _ = run(capsys, "journal", "verify", journal, "--json")
    summary = json.loads(out)
    assert code == 0
    assert summary["records"]["META"] == summary["records"]["END"] == 1
    assert summary["records"]["MARKET"] == summary["last_seq"] - 2 > len(events)
    assert (summary["first_seq"], summary["torn_bytes"], summary["ended"]) == (1, 0, True)


def test_a_torn_end_is_said_and_not_touched(capsys, tmp_path, events):
    write_journal(tmp_path, {"BTCUSDT": events})
    tear(tmp_path / "journal")
    before = {path: path.read_bytes() for path in (tmp_path / "journal").iterdir()}
    code, out, _ = run(capsys, "journal", "verify", tmp_path / "journal")
    assert code == 1
    assert "TORN" in out
    code, out, err = run(capsys, "journal", "dump", tmp_path / "journal")
    assert code == 1
    assert json.loads(out.splitlines()[0])["type"] == "META"
    assert "torn batch" in err
    assert before == {path: path.read_bytes() for path in (tmp_path / "journal").iterdir()}


def test_damage_names_segment_and_offset(capsys, journal):
    path = journal / "journal-00000001.seg"
    data = bytearray(path.read_bytes())
    data[5000] ^= 1
    path.write_bytes(data)
    for part in ("verify", "dump"):
        code, out, err = run(capsys, "journal", part, journal, "--json")
        assert code == 2
        assert "journal-00000001.seg, offset 4096" in err
        assert "JournalDamaged" in out


@pytest.mark.parametrize("part", ["verify", "dump"])
def test_no_journal_is_one_line(capsys, tmp_path, part):
    code, _, err = run(capsys, "journal", part, tmp_path / "nowhere")
    assert (code, err) == (2, f"ringbook: {tmp_path}/nowhere: no journal is there\n")


def test_dump_prints_records(capsys, journal, events):
    code, out, _ = run(capsys, "journal", "dump", journal)
    records = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert records[0]["message"]["instruments"] == [{"symbol": "BTCUSDT"}]
    assert [record["seq"] for record in records] == list(range(1, len(records) + 1))
    assert records[1]["px"] in events["px"]
    code, out, _ = run(capsys, "journal", "dump", journal, "--after", "10", "--limit", "3")
    assert [json.loads(line) for line in out.splitlines()] == records[10:13]
    code, out, _ = run(capsys, "journal", "dump", journal, "--type", "end")
    assert [json.loads(line) for line in out.splitlines()] == records[-1:]
    code, _, err = run(capsys, "journal", "dump", journal, "--type", "nothing")
    assert code == 2
    assert "STATE_HASH" in err


def test_the_exported_npz_is_the_recording(capsys, journal, events, tmp_path):
    code, out, _ = run(capsys, "journal", "export", journal, tmp_path / "o.npz", "--json")
    assert code == 0
    assert json.loads(out)["rows"] == len(events)
    assert_same_sides(load_events(tmp_path / "o.npz"), events)
    save_events(tmp_path / "original.npz", events)
    reports = [
        json.loads(run(capsys, "validate", tmp_path / name, "--json")[1])
        for name in ("o.npz", "original.npz")
    ]
    for report in reports:
        del report["file"]
    assert reports[0] == reports[1]
    code, _, err = run(capsys, "journal", "export", journal, tmp_path / "o.npz")
    assert code == 2
    assert "--force" in err
    assert run(capsys, "journal", "export", journal, tmp_path / "o.npz", "--force")[0] == 0


def test_what_ends_between_both_sides_stays_a_valid_recording(capsys, tmp_path, events):
    write_journal(tmp_path, {"BTCUSDT": events}, cut=5)
    assert run(capsys, "journal", "export", tmp_path / "journal", tmp_path / "o.npz")[0] == 0
    rows = load_events(tmp_path / "o.npz")
    for flag, field in ((EXCH_EVENT, "exch_ts"), (LOCAL_EVENT, "local_ts")):
        side = rows[(rows["ev"] & np.uint64(flag)) != 0]
        whole = events[(events["ev"] & np.uint64(flag)) != 0]
        assert (np.diff(side[field]) >= 0).all()
        assert len(whole) - 5 <= len(side) <= len(whole)
        assert (side[field] == whole[field][: len(side)]).all()


def test_a_journal_of_one_side_gets_the_venues_order(capsys, tmp_path, events):
    write_journal(tmp_path, {"BTCUSDT": events}, flags=32)
    assert run(capsys, "journal", "export", tmp_path / "journal", tmp_path / "o.npz")[0] == 0
    rows = load_events(tmp_path / "o.npz")
    for flag, field in ((EXCH_EVENT, "exch_ts"), (LOCAL_EVENT, "local_ts")):
        times = rows[field][(rows["ev"] & np.uint64(flag)) != 0]
        assert (np.diff(times) >= 0).all()
        assert len(times) > 0.9 * np.count_nonzero(events["ev"] & np.uint64(LOCAL_EVENT))


def test_one_of_several_instruments_has_to_be_named(capsys, tmp_path, events):
    other = crossing_events(100, 2)
    write_journal(tmp_path, {"BTCUSDT": events, "ETHUSDT": other})
    code, _, err = run(capsys, "journal", "export", tmp_path / "journal", tmp_path / "o.npz")
    assert code == 2
    assert "several instruments" in err
    for name in ("ETHUSDT", "1"):
        arguments = ("export", tmp_path / "journal", tmp_path / "o.npz", "--symbol", name, "--force")
        assert run(capsys, "journal", *arguments)[0] == 0
        assert_same_sides(load_events(tmp_path / "o.npz"), other)
    code, _, err = run(
        capsys, "journal", "export", tmp_path / "journal", tmp_path / "p.npz", "--symbol", "XRPUSDT"
    )
    assert code == 2
    assert "BTCUSDT, ETHUSDT" in err


def test_jsonl_goes_out_and_comes_back(capsys, journal, events, tmp_path):
    assert run(capsys, "journal", "export", journal, tmp_path / "o.jsonl")[0] == 0
    first = json.loads((tmp_path / "o.jsonl").read_text().splitlines()[0])
    assert set(first) == {"exch_ts", "local_ts", "side", "price", "qty", "type"}
    code, _, err = run(capsys, "convert", tmp_path / "o.jsonl", tmp_path / "back.npz")
    assert (code, err) == (0, "")
    back = load_events(tmp_path / "back.npz")
    for flag, field in ((EXCH_EVENT, "exch_ts"), (LOCAL_EVENT, "local_ts")):
        ours, theirs = (rows[(rows["ev"] & np.uint64(flag)) != 0] for rows in (back, events))
        for name in (field, "px", "qty"):
            assert (ours[name] == theirs[name]).all()


def test_parquet_needs_pyarrow_and_says_so(capsys, journal, events, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    code, _, err = run(capsys, "journal", "export", journal, tmp_path / "o.parquet")
    assert code == 2
    assert "parquet needs pyarrow" in err
    assert not (tmp_path / "o.parquet").exists()


def test_parquet_has_the_same_rows(capsys, journal, events, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    assert run(capsys, "journal", "export", journal, tmp_path / "o.parquet")[0] == 0
    table = parquet.read_table(tmp_path / "o.parquet")
    rows = np.zeros(len(events), events.dtype)
    for name in events.dtype.names:
        rows[name] = table[name].to_numpy()
    assert_same_sides(rows, events)


def test_another_ending_is_refused(capsys, journal, tmp_path):
    code, _, err = run(capsys, "journal", "export", journal, tmp_path / "o.csv")
    assert code == 2
    assert ".npz, .jsonl, .parquet" in err
