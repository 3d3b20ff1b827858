"""A journaller as a process: killed under load it loses nothing, and on a full disk it goes on."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from engine.journal.journaller import Journaller, settle
from engine.journal.reader import JournalReader
from engine.journal.recovery import recover
from engine.journal.segments import Sizes
from engine.journal.wal import Journal, JournalFlag
from tests.kit.small_disk import small_disk

KILLS = int(os.environ.get("RINGBOOK_JOURNALLER_KILLS", "4"))
ROOT = Path(__file__).resolve().parents[2]


def start(buffer, directory) -> subprocess.Popen:
    command = [sys.executable, "-m", "engine.journal.journaller", buffer, directory]
    process = subprocess.Popen(
        [*command, "--segment-bytes", str(1 << 20), "--interval-ms", "1"], stdout=subprocess.PIPE, cwd=ROOT
    )
    assert process.stdout.readline() == b"ok\n"
    return process


class Load:
    """Appends records that say their own number, as fast as there is room."""

    def __init__(self, buffer):
        self.buffer, self.sent, self.rng = buffer, 0, random.Random(4)

    def run(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            body = self.sent.to_bytes(8, "little") * self.rng.randrange(1, 30)
            if self.buffer.append_time(33, 0, body):
                self.sent += 1
            else:
                time.sleep(0.001)


def check(directory, sent: int) -> None:
    count = 0
    for count, record in enumerate(JournalReader(directory), 1):
        assert record.seq == count
        assert int.from_bytes(record.body[:8], "little") == count - 1
    assert count == sent


def test_a_killed_journaller_loses_nothing(tmp_path):
    shared = Path("/dev/shm") if Path("/dev/shm").is_dir() else tmp_path
    path = shared / f"ringbook-test-{os.getpid()}.journal"
    directory = tmp_path / "journal"
    rng = random.Random(1)
    process = None
    try:
        with Journal.create(path, run_id=bytes(16), capacity=1 << 20) as buffer:
            load = Load(buffer)
            for _ in range(KILLS):
                process = start(path, directory)
                load.run(rng.uniform(0.0, 0.1))
                durable = buffer.durable_seq
                process.send_signal(signal.SIGKILL)
                process.wait()
                assert recover(directory, repair=False).seq >= durable
                load.run(0.005)
            process = start(path, directory)
            load.run(0.02)
            assert buffer.wait_durable(load.sent, 20.0)
            buffer.end()
            assert process.wait(20) == 0
        assert recover(directory).sealed
        check(directory, load.sent)
        assert settle(directory, path).seq == load.sent
        assert not path.exists()
    finally:
        if process is not None and process.poll() is None:
            process.kill()
        path.unlink(missing_ok=True)


def test_sigterm_makes_everything_durable_first(tmp_path):
    directory = tmp_path / "journal"
    with Journal.create(tmp_path / "buffer", run_id=bytes(16), capacity=1 << 20) as buffer:
        process = start(tmp_path / "buffer", directory)
        load = Load(buffer)
        load.run(0.02)
        process.terminate()
        assert process.wait(20) == 0
        assert buffer.durable_seq == load.sent
    check(directory, load.sent)


def test_a_journaller_that_cannot_write_says_why(tmp_path):
    (tmp_path / "file").write_text("")
    Journal.create(tmp_path / "buffer", run_id=bytes(16), capacity=1 << 16).close()
    command = [sys.executable, "-m", "engine.journal.journaller", tmp_path / "buffer", tmp_path / "file"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 2
    assert done.stderr.startswith("journaller: ")
    assert len(done.stderr.splitlines()) == 1


@pytest.fixture
def disk(tmp_path):
    with small_disk(tmp_path, "2m") as target:
        yield target


def test_a_full_disk_denies_first_keeps_its_reserve_and_goes_on_when_there_is_room(tmp_path, disk):
    sizes = Sizes(segment=1 << 18, block=4096, batch=1 << 16)
    directory = disk / "journal"
    with Journal.create(tmp_path / "buffer", run_id=bytes(16), capacity=1 << 18, max_payload=8000) as buffer:
        clock = [0.0]
        load = Load(buffer)
        with Journaller(buffer, directory, sizes=sizes, clock=lambda: clock[0]) as journaller:
            ballast = disk / "ballast"
            journaller.step()
            ballast.write_bytes(bytes(1 << 20))
            while not buffer.flags & JournalFlag.DISK_FULL:
                load.run(0.001)
                journaller.step()
            # Known while a whole segment is still to be written: what comes now is durable all the same.
            flagged = buffer.durable_seq
            load.run(0.001)
            journaller.step()
            assert buffer.durable_seq > flagged
            for _ in range(100):
                load.run(0.002)
                journaller.step()
            assert buffer.durable_seq < buffer.accepted_seq, "the disk was not full"
            assert not buffer.flags & JournalFlag.HALTED
            assert buffer.append_time(33, 0, load.sent.to_bytes(8, "little"), reserved=True)
            load.sent += 1
            ballast.unlink()
            while buffer.durable_seq < buffer.accepted_seq or buffer.flags & JournalFlag.DISK_FULL:
                clock[0] += 2.0
                journaller.step()
        check(directory, load.sent)
