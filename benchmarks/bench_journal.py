"""The journal: what an append costs the engine, and what its journaller copies to disk, beside plain files.

Run with ``python -m benchmarks.bench_journal`` from the project's root.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import msgspec
import numpy as np

if not __package__:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.harness import arguments, compare, report
from engine.journal.journaller import Journaller
from engine.journal.segments import Sizes
from engine.journal.wal import Journal, RecordType

PAYLOAD = 72
"""Engine time and a market event."""
ROWS = 4096
GROUP = 64
ROUNDS = 20
COMMIT = 512
"""Records a commit in the runs to disk."""


class Appender:
    """A buffer whose room is given back at once, so that only the append is measured."""

    def __init__(self, path: str) -> None:
        self.buffer = Journal.create(path, run_id=bytes(16), capacity=1 << 22)
        self.rows = np.random.default_rng(1).integers(0, 256, (ROWS, PAYLOAD), dtype=np.uint8)

    def give_back(self) -> None:
        """As a journaller that has made everything durable."""
        self.buffer.commit(self.buffer.head, self.buffer.accepted_seq)

    def run(self) -> int:
        """Appends rows as a compiled loop does."""
        for _ in range(ROUNDS):
            self.buffer.append_rows(RecordType.MARKET, self.rows)
            self.give_back()
        return ROUNDS * ROWS

    def quantiles(self) -> tuple[float, float]:
        """Median and 99th percentile of an append in nanoseconds, over groups of appends."""
        samples = []
        for start in range(0, 50 * ROWS, GROUP):
            group = self.rows[start % ROWS : start % ROWS + GROUP]
            before = time.perf_counter_ns()
            self.buffer.append_rows(RecordType.MARKET, group)
            samples.append((time.perf_counter_ns() - before) / GROUP)
            if start % ROWS == 0:
                self.give_back()
        median, p99 = np.quantile(samples, [0.5, 0.99])
        return float(median), float(p99)


class Writer:
    """What one does without a journal: a system call a record, on the engine's thread."""

    def __init__(self, path: str, rows: np.ndarray) -> None:
        self.fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        self.records = [row.tobytes() for row in rows]
        self.messages = [{"ts": number, "type": 1, "event": row} for number, row in enumerate(self.records)]

    def plain(self) -> int:
        """One write a record."""
        os.lseek(self.fd, 0, os.SEEK_SET)
        for record in self.records:
            os.write(self.fd, record)
        return ROWS

    def packed(self) -> int:
        """msgpack and a write a record."""
        os.lseek(self.fd, 0, os.SEEK_SET)
        encode = msgspec.msgpack.encode
        for message in self.messages:
            os.write(self.fd, encode(message))
        return ROWS


class ToDisk:
    """A journaller and a plain file in one directory; both make the same records durable as often."""

    def __init__(self, directory: str) -> None:
        self.appender = Appender(f"{directory}/buffer")
        sizes = Sizes(segment=1 << 25, block=4096, batch=1 << 22)
        self.journaller = Journaller(self.appender.buffer, f"{directory}/journal", sizes=sizes)
        self.fd = os.open(f"{directory}/plain", os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)

    def journalled(self) -> int:
        """Appended, checked, written in batches and synced."""
        for start in range(0, ROWS, COMMIT):
            self.appender.buffer.append_rows(RecordType.MARKET, self.appender.rows[start : start + COMMIT])
            self.journaller.step()
        return ROWS

    def plain(self) -> int:
        """Written to a growing file and synced."""
        for start in range(0, ROWS, COMMIT):
            os.write(self.fd, self.appender.rows[start : start + COMMIT].tobytes())
            os.fdatasync(self.fd)
        return ROWS


def main() -> None:
    """Runs all cases and prints them."""
    args = arguments("Journal appends and commits beside plain files; records of 104 bytes.")
    shared = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with ExitStack() as stack:
        memory = stack.enter_context(tempfile.TemporaryDirectory(dir=shared))
        disk = stack.enter_context(tempfile.TemporaryDirectory())
        appender = Appender(f"{memory}/buffer")
        writer = Writer(f"{memory}/plain", appender.rows)
        to_disk = ToDisk(disk)
        results = [
            compare(
                "append a record", ("journal", appender.run), ("os.write, no disk", writer.plain), args.rounds
            ),
            compare(
                "append a record",
                ("journal", appender.run),
                ("msgpack and os.write", writer.packed),
                args.rounds,
            ),
            compare(
                f"make records durable, {COMMIT} a commit",
                ("journaller", to_disk.journalled),
                ("write and fdatasync", to_disk.plain),
                args.rounds,
            ),
        ]
        median, p99 = appender.quantiles()
    report("journal", results, as_json=args.json)
    if not args.json:
        print(f"append, groups of {GROUP}: median {median:.1f} ns, p99 {p99:.1f} ns")


if __name__ == "__main__":
    main()
