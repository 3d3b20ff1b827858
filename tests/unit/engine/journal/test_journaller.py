"""From buffer to disk and back: batches, rotation, a new journaller, a new run, readers."""

from __future__ import annotations

import os
import random

import pytest

from engine.core.errors import JournalDamaged, JournalError, JournalLocked
from engine.journal.journaller import Journaller, settle
from engine.journal.reader import JournalReader
from engine.journal.recovery import recover
from engine.journal.segments import Sizes
from engine.journal.wal import Journal

SIZES = Sizes(segment=1 << 16, block=4096, batch=1 << 15)


class Session:
    """An engine that appends random records, and what it appended."""

    def __init__(self, tmp_path, seed=1, **kwargs):
        self.rng = random.Random(seed)
        self.path = tmp_path / "buffer"
        self.directory = tmp_path / "journal"
        kwargs = {"capacity": 1 << 18, "max_payload": 4000} | kwargs
        self.buffer = Journal.create(self.path, run_id=self.rng.randbytes(16), **kwargs)
        self.bodies = []

    def append(self, count):
        for _ in range(count):
            body = self.rng.randbytes(self.rng.randrange(100))
            assert self.buffer.append_time(33, len(self.bodies), body)
            self.bodies.append(body)

    def journaller(self):
        return Journaller(self.buffer, self.directory, sizes=SIZES)

    def check(self):
        records = list(JournalReader(self.directory))
        assert [record.body for record in records] == self.bodies
        assert [record.seq for record in records] == list(range(1, len(self.bodies) + 1))


def test_everything_arrives_over_many_segments(tmp_path):
    session = Session(tmp_path)
    with session.journaller() as journaller:
        for _ in range(100):
            session.append(40)
            while journaller.step():
                pass
            assert session.buffer.durable_seq == session.buffer.accepted_seq
    assert len([name for name in os.listdir(session.directory) if name.startswith("journal-0")]) > 4
    session.check()
    assert recover(session.directory).cut == 0


def test_a_new_journaller_goes_on_where_the_disk_ends(tmp_path):
    session = Session(tmp_path)
    for _ in range(50):
        with session.journaller() as journaller:
            session.append(session.rng.randrange(30))
            if session.rng.random() < 0.7:
                journaller.step()
            session.append(session.rng.randrange(30))
    with session.journaller() as journaller:
        journaller.drain()
    session.check()


def test_what_was_written_but_not_told_is_not_written_twice(tmp_path):
    session = Session(tmp_path)
    session.append(20)
    with session.journaller() as journaller:
        # As a journaller killed between its fdatasync and its word.
        journaller._disk.append(session.buffer.pending(0, 1000))
    assert session.buffer.durable_seq == 0
    with session.journaller() as journaller:
        assert 0 < session.buffer.durable_seq < 20
        journaller.drain()
    session.check()


def test_the_next_run_drains_the_buffer_of_a_killed_one(tmp_path):
    first = Session(tmp_path)
    with first.journaller() as journaller:
        first.append(10)
        journaller.step()
    first.append(15)
    first.buffer.close()
    found = settle(first.directory, first.path, sizes=SIZES)
    assert (found.seq, first.path.exists()) == (25, False)
    second = Session(tmp_path, 2, first_seq=found.seq + 1, first_crc=found.crc)
    second.bodies = first.bodies
    with second.journaller() as journaller:
        second.append(5)
        second.buffer.end()
        journaller.run(lambda: False)
    second.check()
    end = recover(second.directory)
    assert (end.seq, end.sealed, end.segments) == (30, True, 2)
    assert settle(second.directory, second.path, sizes=SIZES) == end


def test_an_ended_run_is_sealed_once(tmp_path):
    session = Session(tmp_path)
    session.append(3)
    session.buffer.end()
    for _ in range(2):
        with session.journaller() as journaller:
            journaller.run(lambda: False)
    reader = JournalReader(session.directory)
    assert len(list(reader)) == 3
    assert reader.sealed
    assert recover(session.directory).batch == 1


def test_reading_begins_after_any_record(tmp_path):
    session = Session(tmp_path)
    with session.journaller() as journaller:
        for _ in range(40):
            session.append(60)
            journaller.drain()
    for after in (0, 1, 700, 1111, 2399, 2400):
        assert [record.seq for record in JournalReader(session.directory, after=after)] == list(
            range(after + 1, 2401)
        )


def test_one_writer_at_a_time(tmp_path):
    session = Session(tmp_path)
    with session.journaller():
        with pytest.raises(JournalLocked, match="another process"):
            session.journaller()
    session.journaller().close()


def test_a_buffer_of_another_journal_is_refused(tmp_path):
    session = Session(tmp_path)
    with session.journaller() as journaller:
        session.append(10)
        journaller.drain()
    other = Session(tmp_path, 2)
    other.append(20)
    with pytest.raises(JournalError, match="is not the one"):
        other.journaller()
    behind = Session(tmp_path, 3, first_seq=5, first_crc=1)
    with pytest.raises(JournalError, match="does not go on from"):
        behind.journaller()
    ahead = Session(tmp_path, 4, first_seq=100, first_crc=1)
    with pytest.raises(JournalDamaged, match="99 was durable"):
        ahead.journaller()
    assert ahead.buffer.flags
