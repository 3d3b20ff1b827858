"""Every system call of the journal's files fails once: nothing durable is lost, nothing false is said."""

from __future__ import annotations

import errno
import itertools
import random

import pytest

from engine.core.errors import JournalError
from engine.journal.journaller import Journaller
from engine.journal.reader import JournalReader
from engine.journal.recovery import recover
from engine.journal.segments import Sizes
from engine.journal.snapshots import list_snapshots, read_snapshot
from engine.journal.wal import Journal, JournalFlag
from tests.kit.journal_disk import Fault, MemoryFiles
from tests.kit.journals import snapshot_and_remove

DIRECTORY = "/memory"
SIZES = Sizes(segment=1 << 13, block=512, batch=1 << 12)
RECORDS = 90


def durable_contents(files: MemoryFiles) -> dict[str, bytes]:
    """What is left when the power goes now and the disk forgets all that was not synced."""
    return {name: inode.durable for name, inode in files.durable_names.items()}


class Story:
    """Three journallers, a snapshot and two runs over one disk; whoever fails is started again."""

    def __init__(self, tmp_path, fault=None):
        self.path = tmp_path / "buffer"
        self.rng = random.Random(7)
        self.fault = fault
        self.files = MemoryFiles(before=fault)
        self.bodies = []
        self.failures = 0

    def append(self, buffer, count=10):
        for _ in range(count):
            body = self.rng.randbytes(self.rng.randrange(200))
            assert buffer.append_time(33, 0, body)
            self.bodies.append(body)

    def survives(self, durable):
        """What is called durable is still there when the power goes now."""
        left = recover(DIRECTORY, files=MemoryFiles(durable_contents(self.files)))
        assert left.seq >= durable

    def tell(self):
        found = None
        for _ in range(2):
            first = {} if found is None else {"first_seq": found.seq + 1, "first_crc": found.crc}
            with Journal.create(
                self.path, run_id=self.rng.randbytes(16), capacity=1 << 16, max_payload=500, **first
            ) as buffer:
                for turn in range(3):
                    self.append(buffer)
                    self.copy(buffer, lambda journaller: journaller.step())
                    self.append(buffer, 5)
                    self.copy(buffer, lambda journaller: (journaller.step(), journaller.drain()))
                    if turn == 1:
                        self.snapshot(buffer)
                buffer.end()
                self.copy(buffer, lambda journaller: journaller.run(lambda: False))
            found = self.until_it_works(lambda: recover(DIRECTORY, files=self.files))
        return found

    def copy(self, buffer, work):
        def attempt():
            with Journaller(buffer, DIRECTORY, sizes=SIZES, files=self.files) as journaller:
                work(journaller)

        self.until_it_works(attempt, buffer)
        assert not buffer.flags & JournalFlag.HALTED

    def snapshot(self, buffer):
        seq = buffer.durable_seq
        self.until_it_works(
            lambda: snapshot_and_remove(
                DIRECTORY,
                seq=seq,
                state_hash=seq,
                state=b"s" * 700,
                run_id=buffer.run_id,
                files=self.files,
            )
        )

    def until_it_works(self, attempt, buffer=None):
        for _ in range(3):
            try:
                result = attempt()
            except (OSError, JournalError):
                self.failures += 1
                assert self.fault is not None
                if buffer is not None:
                    assert buffer.flags & (JournalFlag.HALTED | JournalFlag.DISK_FULL)
                    self.survives(buffer.durable_seq)
                self.files.forget_processes()
                continue
            if buffer is not None and self.failures:
                self.survives(buffer.durable_seq)
            return result
        raise AssertionError("a fault that came once has not gone away")

    def check(self, found):
        assert found.seq == len(self.bodies) == RECORDS
        assert found.sealed
        [*_, last] = list_snapshots(self.files, DIRECTORY)
        last = read_snapshot(last.path, files=self.files)
        assert last.state_hash == last.seq
        self.survives(found.seq)
        start = recover(DIRECTORY, files=self.files, repair=False)
        assert start.cut == 0
        after = RECORDS - 20
        records = list(JournalReader(DIRECTORY, after=after, files=self.files))
        assert [record.body for record in records] == self.bodies[after:]


def calls_of_the_story(tmp_path) -> list[str]:
    fault = Fault(-1, errno.EIO)
    story = Story(tmp_path, fault)
    story.check(story.tell())
    assert story.failures == 0
    return fault.names


@pytest.mark.parametrize("what", [errno.EIO, errno.ENOSPC, errno.EINTR, "short"])
def test_each_system_call_fails_once(tmp_path, what):
    calls = calls_of_the_story(tmp_path)
    assert len(calls) > 200
    hit = set()
    for at, name in enumerate(calls):
        if what == "short" and name != "pwritev":
            continue
        fault = Fault(at, what)
        story = Story(tmp_path, fault)
        found = story.tell()
        fault.at = -1
        story.check(found)
        hit.add(fault.failed)
        if what in (errno.EINTR, "short"):
            assert story.failures == 0, f"call {at}: {name}"
    if what != "short":
        # The last calls of the list are those of the check, which no fault meets.
        assert hit >= set(calls)


def test_after_a_failed_fdatasync_nothing_is_called_durable_any_more(tmp_path):
    files = MemoryFiles()
    with Journal.create(tmp_path / "buffer", run_id=bytes(16), capacity=1 << 16, max_payload=500) as buffer:
        with Journaller(buffer, DIRECTORY, sizes=SIZES, files=files) as journaller:
            buffer.append_time(33, 1, b"first")
            journaller.step()
            buffer.append_time(33, 2, b"second")
            numbers = itertools.count()

            def fails(name):
                if name == "fdatasync" and next(numbers) == 0:
                    raise OSError(errno.EIO, "Input/output error")

            files.before = fails
            with pytest.raises(JournalError, match="nothing after record 1 is durable"):
                journaller.step()
            assert buffer.flags & JournalFlag.HALTED
            assert (buffer.durable_seq, buffer.accepted_seq) == (1, 2)
            assert not buffer.wait_durable(2, 5.0)
        # The page cache has the second record, the disk has not: the next one must write it again.
        assert recover(DIRECTORY, files=files, repair=False).seq == 2
        assert recover(DIRECTORY, files=MemoryFiles(durable_contents(files))).seq == 1
        with Journaller(buffer, DIRECTORY, sizes=SIZES, files=files):
            assert buffer.durable_seq == 2
            assert not buffer.flags
        assert recover(DIRECTORY, files=MemoryFiles(durable_contents(files))).seq == 2


def test_a_full_disk_denies_new_orders_first_and_goes_on_when_there_is_room(tmp_path):
    now = [0.0]
    files = MemoryFiles()
    full = [False]

    def room(name):
        if full[0] and name == "create":
            raise OSError(errno.ENOSPC, "No space left on device")

    files.before = room
    sizes = Sizes(segment=1 << 13, block=512, batch=1 << 12)
    with Journal.create(tmp_path / "buffer", run_id=bytes(16), capacity=1 << 16, max_payload=500) as buffer:
        with Journaller(buffer, DIRECTORY, sizes=sizes, files=files, clock=lambda: now[0]) as journaller:
            journaller.step()
            full[0] = True
            while not buffer.flags & JournalFlag.DISK_FULL:
                assert buffer.append_time(33, 0, bytes(400))
                journaller.step()
            durable = buffer.durable_seq
            # The spare is in use now: whatever still comes, cancels say, is durable for another segment.
            assert buffer.append_time(33, 0, b"cancel", reserved=True)
            journaller.step()
            assert buffer.durable_seq == durable + 1
            while journaller.step() or buffer.append_time(33, 0, bytes(400)):
                pass
            assert not buffer.flags & JournalFlag.HALTED
            assert buffer.durable_seq < buffer.accepted_seq
            assert buffer.append_time(33, 0, b"cancel", reserved=True), "the buffer has a reserve of its own"
            full[0] = False
            now[0] += 2.0
            while journaller.step() or buffer.flags & JournalFlag.DISK_FULL:
                now[0] += 2.0
            assert buffer.durable_seq == buffer.accepted_seq
    assert recover(DIRECTORY, files=files).seq > durable
