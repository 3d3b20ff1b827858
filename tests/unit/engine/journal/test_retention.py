"""Old segments go oldest first, and whatever interrupts that leaves a journal that knows its beginning."""

from __future__ import annotations

import random

import pytest

from engine.core.errors import JournalDamaged, RecordsRemoved
from engine.journal.files import Files, read_segments, segment_name, segment_names
from engine.journal.journaller import Journaller
from engine.journal.reader import JournalReader
from engine.journal.recovery import recover
from engine.journal.retention import BEGINNING, first_record, remove_segments
from engine.journal.segments import Sizes
from engine.journal.wal import Journal
from tests.kit.dying import Dying, Killed

SIZES = Sizes(segment=1 << 13, block=512, batch=1 << 12)
RECORDS = 300


@pytest.fixture
def journal(tmp_path):
    """Some ten segments of records of up to 200 bytes; the first one says what the run is."""
    directory, rng = tmp_path / "journal", random.Random(5)
    with Journal.create(tmp_path / "buffer", run_id=b"r" * 16, capacity=1 << 16, max_payload=500) as buffer:
        with Journaller(buffer, directory, sizes=SIZES) as journaller:
            buffer.append_time(34, 77, b"what the run is")
            for number in range(2, RECORDS + 1):
                buffer.append_time(33, number, rng.randbytes(rng.randrange(200)))
                if number % 7 == 0:
                    journaller.drain()
            journaller.drain()
    assert len(list(directory.glob("journal-0*.seg"))) >= 8
    return directory


def firsts(journal):
    """The first record of each segment."""
    return [JournalReader(journal).first_seq, *boundaries(journal)]


def boundaries(journal):
    from engine.journal.disk import read_segment

    return read_segments(Files(), str(journal), lambda name, data: read_segment(data, name).first_seq)[1:]


def test_segments_wholly_before_what_is_needed_go_and_the_rest_reads_on(journal):
    first = first_record(journal)
    was = [record.seq for record in JournalReader(journal)]
    starts = firsts(journal)
    for needed in range(0, RECORDS + 1, 13):
        remove_segments(journal, needed, 0)
        kept = max(start for start in starts if start <= needed + 1)
        assert firsts(journal) == [start for start in starts if start >= kept]
        assert [record.seq for record in JournalReader(journal)] == was[kept - 1 :]
        assert recover(journal, repair=False).seq == RECORDS
        assert first_record(journal) == first
        assert [one.seq for one in JournalReader(journal, after=needed)] == was[needed:]
        if kept > 1:
            with pytest.raises(RecordsRemoved, match=f"begins with record {kept}, what was before"):
                JournalReader(journal, after=kept - 2)
    # The segment that is being written never goes.
    remove_segments(journal, 2**60, 0)
    assert len(segment_names(Files(), str(journal))) == 1


def test_no_more_goes_than_what_the_journal_is_too_large_by(journal):
    segments = len(firsts(journal))
    assert remove_segments(journal, RECORDS, segments * SIZES.segment) == 0
    assert first_record(journal).body == b"what the run is"
    assert not (journal / BEGINNING).exists()
    assert remove_segments(journal, RECORDS, 4 * SIZES.segment) == segments - 4
    assert len(firsts(journal)) == 4
    assert (journal / BEGINNING).exists()


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("call", range(1, 9))
def test_a_removal_that_is_killed_leaves_a_journal(journal, call, after):
    first, was = first_record(journal), [record.seq for record in JournalReader(journal)]
    with pytest.raises(Killed):
        remove_segments(journal, RECORDS, 0, files=Dying(call, after))
    assert recover(journal).seq == RECORDS
    found = [record.seq for record in JournalReader(journal)]
    assert found == was[-len(found) :]
    assert first_record(journal) == first
    remove_segments(journal, 200, 0)
    assert first_record(journal) == first
    assert [record.seq for record in JournalReader(journal, after=200)] == was[200:]


def test_what_the_run_began_with_is_checked(journal):
    remove_segments(journal, 100, 0)
    file = journal / BEGINNING
    was = file.read_bytes()
    for at in (0, 8, 20, 60, len(was) - 1):
        data = bytearray(was)
        data[at] ^= 1
        file.write_bytes(data)
        with pytest.raises(JournalDamaged, match=BEGINNING):
            first_record(journal)
    file.write_bytes(was[:-1])
    with pytest.raises(JournalDamaged, match=BEGINNING):
        first_record(journal)
    file.unlink()
    with pytest.raises(RecordsRemoved, match="is lost"):
        first_record(journal)


class Racing(Files):
    """Another process removes the oldest segment while we are about to read it."""

    def __init__(self, journal):
        self.journal, self.times = journal, 2

    def read(self, path):
        if self.times and path.endswith(".seg"):
            self.times -= 1
            remove_segments(self.journal, firsts(self.journal)[1], 0)
        return super().read(path)


def test_who_reads_meanwhile_sees_what_is_left(journal):
    assert recover(journal, repair=False, files=Racing(journal)).seq == RECORDS
    assert next(JournalReader(journal, files=Racing(journal))).seq == firsts(journal)[0] > 1


def test_a_segment_that_goes_while_it_is_waited_for_is_named(journal):
    reader = JournalReader(journal)
    next(reader)
    remove_segments(journal, RECORDS, 0)
    with pytest.raises(RecordsRemoved, match=rf"{segment_name(2)} has been removed"):
        list(reader)


def test_a_segment_that_cannot_be_read_is_not_taken_for_one_that_was_removed(journal):
    (journal / segment_name(1)).unlink()
    (journal / segment_name(1)).symlink_to("nowhere")
    with pytest.raises(FileNotFoundError):
        JournalReader(journal)
