"""How far a recorder is: in records and seconds, never more than is stored, and not less after a restart."""

from __future__ import annotations

import json

import pytest

from engine.runtime import lag
from engine.runtime.lag import RECORDED, Lag, recorded_seq
from engine.storage.columns import prepare
from engine.storage.schema import TABLES
from engine.storage.spool import Spool
from engine.storage.writer import Written
from tests.kit.stores import market_rows

SECOND = 1_000_000_000
RUN = "ab" * 16


@pytest.fixture
def place(tmp_path):
    journal = tmp_path / RUN
    journal.mkdir()
    return journal, tmp_path / "recorder.json"


def add(spool, first):
    spool.add("market_data", "r", prepare(TABLES["market_data"], market_rows(5, first, run="r")))


def stored(spool):
    spool.stored(spool.first())


def test_what_is_stored_is_known_by_what_was_read_before_it(tmp_path, place, monkeypatch):
    monkeypatch.setattr(lag, "EVERY_S", 0.0)
    spool, now = Spool(tmp_path / "spool"), [100 * SECOND]
    one = Lag(spool, Written(), *place, wall=lambda: now[0])
    add(spool, 1)
    add(spool, 6)
    one.stepped(40, 101 * SECOND)
    add(spool, 11)
    one.stepped(60, 103 * SECOND)
    stored(spool)
    one.look()
    assert (one.seq, one.until) == (0, 100 * SECOND)
    assert recorded_seq(place[0]) == 0
    stored(spool)
    one.look()
    assert (one.seq, one.until, one.done) == (40, 101 * SECOND, False)
    assert recorded_seq(place[0]) == 40
    said = lag.read(place[1], RUN, 75, 111 * SECOND)
    assert (said["behind_s"], said["behind_records"], said["batches"]) == (10.0, 35, 1)
    stored(spool)
    one.look()
    assert (one.seq, one.until, one.done) == (60, 103 * SECOND, True)
    # Nothing new has come: the store has all that there is.
    one.stepped(60, 120 * SECOND)
    assert lag.read(place[1], RUN, 60, 121 * SECOND)["behind_s"] == 1.0
    spool.close()


def test_a_recorder_that_begins_again_does_not_go_back(tmp_path, place):
    spool = Spool(tmp_path / "spool")
    one = Lag(spool, Written(), *place, wall=lambda: 50 * SECOND)
    one.stepped(33, 51 * SECOND)
    one.tell()
    again = Lag(spool, Written(), *place, wall=lambda: 90 * SECOND)
    assert (again.seq, again.until) == (33, 51 * SECOND)
    again.stepped(7, 91 * SECOND)
    assert again.seq == 33
    again.tell()
    assert recorded_seq(place[0]) == 33
    # Another run begins anew.
    other = Lag(spool, Written(), tmp_path / ("cd" * 16), place[1], wall=lambda: 95 * SECOND)
    assert (other.seq, other.until) == (0, 95 * SECOND)
    spool.close()


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", '{"run_id": "x", "seq": 1}', '{"seq": null}'])
def test_a_file_that_says_nothing_is_as_none(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    (tmp_path / RECORDED).write_text(text.replace('"seq": 1', '"seq": "?"'))
    assert lag.read(tmp_path / "a.json", RUN, 1, 1) is None
    assert lag.read(tmp_path / "missing.json", RUN, 1, 1) is None
    assert recorded_seq(tmp_path) == 0


def test_a_disk_that_refuses_is_asked_again(tmp_path, place):
    spool = Spool(tmp_path / "spool")
    one = Lag(spool, Written(), tmp_path / "away", place[1], wall=lambda: SECOND)
    one.stepped(5, SECOND)
    one.tell()
    assert not place[1].exists()
    (tmp_path / "away").mkdir()
    one.tell()
    assert recorded_seq(tmp_path / "away") == 5
    assert json.loads(place[1].read_text())["seq"] == 5
    spool.close()
