"""Where a journal ends: clean, torn and damaged, each with segment and offset; snapshots and their reach."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path

import pytest

from engine.core.errors import JournalDamaged, JournalError
from engine.journal.disk import BATCH_HEADER_BYTES, scan
from engine.journal.files import Files, segment_name
from engine.journal.journaller import Journaller
from engine.journal.reader import JournalReader
from engine.journal.recovery import recover
from engine.journal.segments import Sizes
from engine.journal.snapshots import list_snapshots, read_snapshot
from engine.journal.wal import Journal
from tests.kit.journals import snapshot_and_remove

BLOCK = 512
SIZES = Sizes(segment=1 << 13, block=BLOCK, batch=1 << 12)


@pytest.fixture
def journal(tmp_path):
    """Three segments with batches of five records of 100 bytes."""
    directory = tmp_path / "journal"
    write(tmp_path, directory, batches=25)
    return directory


def write(tmp_path, directory, *, batches, run=1, first=None):
    first = first or {}
    with Journal.create(
        tmp_path / f"buffer{run}", run_id=bytes([run]) * 16, capacity=1 << 16, max_payload=500, **first
    ) as buffer:
        with Journaller(buffer, directory, sizes=SIZES) as journaller:
            for number in range(batches):
                for part in range(5):
                    buffer.append_time(33, number, bytes([part]) * 60)
                journaller.drain()


def last(journal):
    return max(journal.glob("journal-0*.seg"))


def edit(path, change):
    data = bytearray(path.read_bytes())
    change(data)
    path.write_bytes(data)


def flip(at):
    def change(data):
        data[at] ^= 0x10

    return change


def found_in(path):
    return scan(path.read_bytes(), path.name)


def test_a_clean_end(journal):
    found = recover(journal)
    assert (found.seq, found.cut, found.kept, found.torn) == (125, 0, 0, None)
    assert found.segments == len(list(journal.glob("journal-0*.seg"))) > 2
    assert recover(journal, repair=False) == found


def test_nothing_is_an_empty_journal(tmp_path):
    assert recover(tmp_path / "nowhere").seq == 0
    assert not (tmp_path / "nowhere").exists()
    assert recover(tmp_path).seq == 0


def test_a_torn_batch_is_copied_its_whole_records_kept_and_the_rest_cut(journal):
    path = last(journal)
    before = found_in(path)
    at = before.start + BATCH_HEADER_BYTES + 2 * 104 + 50
    original = path.read_bytes()
    edit(path, flip(at))
    looked = recover(journal, repair=False)
    assert (looked.seq, looked.kept, looked.torn) == (122, 2, None)
    assert path.read_bytes() != original, "looking changes nothing"
    found = recover(journal)
    assert (found.seq, found.kept) == (122, 2)
    assert found.cut == looked.cut > 0
    copy = Path(found.torn).read_bytes()
    assert os.path.basename(found.torn) == f"{path.name}.torn-{before.start}"
    assert copy[at - before.start] == original[at] ^ 0x10
    assert recover(journal) == recover(journal, repair=False)
    assert [record.seq for record in JournalReader(journal)] == list(range(1, 123))


def test_a_second_tear_at_the_same_place_has_a_copy_of_its_own(journal):
    path = last(journal)
    start = found_in(path).start
    image = path.read_bytes()
    edit(path, flip(start + 3))
    first = recover(journal)
    assert (first.seq, first.kept) == (120, 0)
    path.write_bytes(image)
    edit(path, flip(start + 4))
    second = recover(journal)
    assert first.torn != second.torn
    assert os.path.exists(first.torn)


def test_garbage_behind_the_end_is_a_tear(journal):
    path = last(journal)
    end = found_in(path).end
    edit(path, lambda data: data.__setitem__(slice(end + 100, end + 110), b"garbage!!!"))
    found = recover(journal)
    assert (found.seq, found.cut) == (125, 110)
    assert not path.read_bytes()[end:].strip(b"\0")


@pytest.mark.parametrize("inside", [0, BATCH_HEADER_BYTES + 7, BATCH_HEADER_BYTES + 530])
def test_a_broken_batch_with_a_whole_one_behind_it_refuses(journal, inside):
    path = last(journal)
    start = found_in(path).start
    earlier = start - 2 * BLOCK
    edit(path, flip(earlier + inside))
    with pytest.raises(JournalDamaged, match=f"whole batch at offset {start}") as caught:
        recover(journal)
    assert (caught.value.segment, caught.value.offset) == (path.name, earlier)
    with pytest.raises(JournalDamaged):
        list(JournalReader(journal))


def test_any_fault_in_an_earlier_segment_refuses(journal):
    path = journal / segment_name(1)
    start = found_in(path).start
    edit(path, flip(start + 100))
    with pytest.raises(JournalDamaged, match="whole segment behind it") as caught:
        recover(journal)
    assert (caught.value.segment, caught.value.offset) == (segment_name(1), start)
    assert recover(journal, since=126).seq == 125, "what a snapshot covers is not read"


def test_a_broken_header_refuses(journal):
    path = last(journal)
    edit(path, flip(40))
    with pytest.raises(JournalDamaged, match="header") as caught:
        recover(journal)
    assert (caught.value.segment, caught.value.offset) == (path.name, 0)


def test_a_missing_segment_refuses(journal):
    (journal / segment_name(2)).unlink()
    with pytest.raises(JournalError, match="segment 2 before it is missing"):
        recover(journal)


def test_a_segment_under_another_name_refuses(journal):
    shutil.copy(journal / segment_name(1), last(journal).with_name(segment_name(77)))
    with pytest.raises(JournalDamaged, match="is segment 1 by its header"):
        recover(journal)


def test_a_segment_of_another_journal_refuses(tmp_path, journal):
    other = tmp_path / "other"
    write(tmp_path, other, batches=24, run=9)
    shutil.copy(last(other), last(journal))
    with pytest.raises(JournalDamaged):
        recover(journal)


def test_an_end_below_what_was_durable_refuses(journal):
    path = last(journal)
    start = found_in(path).start
    edit(path, flip(start + 3))
    with pytest.raises(JournalDamaged, match="ends with record 120, but 125 was durable"):
        recover(journal, durable_seq=125)


def test_a_leftover_temporary_is_removed(journal):
    (journal / "spare.seg.new").write_bytes(b"half")
    recover(journal, repair=False)
    assert (journal / "spare.seg.new").exists()
    recover(journal)
    assert not (journal / "spare.seg.new").exists()


# --- snapshots -------------------------------------------------------------------------------------------


def snapshot(journal, seq, state=b"state"):
    return snapshot_and_remove(
        str(journal), seq=seq, state_hash=seq * 7, state=state, run_id=b"r" * 16, files=Files()
    )


def test_two_snapshots_are_kept_and_the_segments_after_the_older(journal):
    state = random.Random(1).randbytes(3000)
    snapshot(journal, 10, state)
    assert (journal / segment_name(1)).exists(), "one snapshot alone removes nothing"
    snapshot(journal, 100)
    snapshot(journal, 120)
    assert [item.seq for item in list_snapshots(Files(), str(journal))] == [100, 120]
    found = read_snapshot(list_snapshots(Files(), str(journal))[-1].path)
    assert (found.seq, found.ts, found.state_hash, found.state) == (120, 1200, 840, b"state")
    names = sorted(path.name for path in journal.glob("journal-0*.seg"))
    assert segment_name(1) not in names
    assert recover(journal).seq == 125
    assert [record.seq for record in JournalReader(journal, after=100)] == list(range(101, 126))
    with pytest.raises(JournalError, match="begins with record"):
        JournalReader(journal, after=3)


def test_a_broken_snapshot_is_found_out(journal):
    newest = snapshot(journal, 60)
    for at in (0, 9, 30, 70):
        data = Path(newest.path).read_bytes()
        edit(Path(newest.path), flip(min(at, len(data) - 1)))
        with pytest.raises(JournalDamaged):
            read_snapshot(newest.path)
        Path(newest.path).write_bytes(data)
    Path(newest.path).write_bytes(b"nothing")
    with pytest.raises(JournalDamaged):
        read_snapshot(newest.path)


def test_a_snapshot_beyond_the_journals_end_refuses(journal):
    snapshot(journal, 125)
    edit(last(journal), flip(found_in(last(journal)).start + 3))
    with pytest.raises(JournalDamaged, match="a snapshot has record 125"):
        recover(journal)
