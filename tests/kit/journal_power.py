"""Generated losses of power: a journal is written to a disk in memory, images of what is left are recovered.

An image of an honest disk has everything that was synced, and of each later write any of its sectors: as
written, as before, zeros, garbage, something stale from elsewhere, torn, or two of them exchanged. It has to
recover to a prefix at or above what was durable. An image of a lying disk may have lost synced sectors too:
it has to recover to such a prefix, or refuse.
"""

from __future__ import annotations

import os
import random
import struct
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from engine.core.errors import JournalError
from engine.journal.files import TEMPORARY
from engine.journal.journaller import Journaller
from engine.journal.reader import JournalReader
from engine.journal.recovery import recover
from engine.journal.segments import Sizes
from engine.journal.snapshots import list_snapshots, read_snapshot
from engine.journal.wal import Journal
from tests.kit.journal_disk import Crash, MemoryFiles
from tests.kit.journals import snapshot_and_remove

DIRECTORY = "/memory"
RECORD = struct.Struct("<IIQ")
PER_WORKLOAD = 1000
"""Images of one journal."""


@dataclass(frozen=True)
class Moment:
    """When the power goes: the disk, and what had been called durable by then."""

    crash: Crash
    durable_seq: int
    sizes: Sizes


@dataclass(frozen=True)
class Outcome:
    """What became of an image."""

    refused: bool
    cut: bool
    kept: int


class Workload:
    """Writes a journal, with new journallers, runs, segments and snapshots, and remembers moments of it.

    Args:
        seed: Of everything random.
        block: Of the journal on disk.
        moments: About how many to remember.
    """

    def __init__(self, seed: int, *, block: int, moments: int = 150) -> None:
        self.rng = random.Random(seed)
        self.sizes = Sizes(segment=max(16 * block, 1 << 14), block=block, batch=1 << 13)
        self.crcs = [0]
        self.moments: list[Moment] = []
        self._files = MemoryFiles(before=self._look)
        self._share = min(1.0, moments / 250)
        self._durable = 0
        self._position = 0
        self._shared = Path(tempfile.mkdtemp(dir="/dev/shm" if os.path.isdir("/dev/shm") else None))
        try:
            for _ in range(2):
                self._run()
        finally:
            for path in self._shared.iterdir():
                path.unlink()
            self._shared.rmdir()

    def _look(self, name: str) -> None:
        # Where nothing is on its way the power may go at no risk: those moments are fewer.
        at_rest = not self._files.name_ops and not any(i.pending for i in self._files.names.values())
        if self.rng.random() < (self._share / 10 if at_rest else self._share):
            self.moments.append(Moment(self._files.crash(), self._durable, self.sizes))

    def _run(self) -> None:
        buffer = Journal.create(
            self._shared / "buffer",
            run_id=self.rng.randbytes(16),
            capacity=1 << 16,
            max_payload=3000,
            first_seq=len(self.crcs),
            first_crc=self.crcs[-1],
        )
        self._position = 0
        with buffer:
            for _ in range(2):
                with Journaller(buffer, DIRECTORY, sizes=self.sizes, files=self._files) as journaller:
                    self._durable = buffer.durable_seq
                    for _ in range(self.rng.randrange(1, 8)):
                        self._append(buffer)
                        journaller.step()
                        self._durable = buffer.durable_seq
                    if self.rng.random() < 0.5 and self._durable:
                        self._snapshot(buffer)
                    self._append(buffer)
            if self.rng.random() < 0.5:
                buffer.end()
            with Journaller(buffer, DIRECTORY, sizes=self.sizes, files=self._files) as journaller:
                journaller.run(lambda: buffer.durable_seq == buffer.accepted_seq)
                self._durable = buffer.durable_seq

    def _append(self, buffer: Journal) -> None:
        rng = self.rng
        longest = rng.choice((20, 200, 2500))
        for _ in range(rng.randrange(1, rng.choice((3, 30)))):
            if not buffer.append_time(33, 0, rng.randbytes(rng.randrange(longest))):
                break
        view = buffer.pending(self._position, 1 << 20)
        at = 0
        while at < len(view):
            length, crc, seq = RECORD.unpack_from(view, at)
            assert seq == len(self.crcs)
            self.crcs.append(crc)
            at += (length + 7) & ~7
        self._position += at

    def _snapshot(self, buffer: Journal) -> None:
        seq = self.rng.randrange(max(1, self._durable - 20), self._durable + 1)
        snapshot_and_remove(
            DIRECTORY,
            seq=seq,
            state_hash=self.crcs[seq],
            state=self.rng.randbytes(self.rng.randrange(3000)),
            run_id=buffer.run_id,
            files=self._files,
        )


def image(moment: Moment, rng: random.Random, *, honest: bool = True) -> dict[str, bytes]:
    """What may be on the disk after the power went.

    Args:
        moment: When.
        rng: Decides.
        honest: Whether everything synced is there.
    """
    crash = moment.crash
    names = dict(crash.names)
    for kind, name, other in crash.name_ops[: rng.randint(0, len(crash.name_ops))]:
        if kind == "create":
            names[name] = other
        elif kind == "rename":
            names[other] = names.pop(name)
        else:
            del names[name]
    sector = rng.choice([size for size in (512, 4096) if size <= moment.sizes.block])
    pool = [durable for durable, _ in crash.files.values() if len(durable) >= sector]
    contents = {}
    for name, inode in names.items():
        durable, pending = crash.files[id(inode)]
        if name.endswith(TEMPORARY):
            contents[name] = rng.randbytes(100)
        elif pending:
            contents[name] = _after(durable, pending, sector, rng, pool)
        else:
            contents[name] = durable
    if not honest:
        _lie(contents, sector, rng)
    return contents


def _after(durable: bytes, pending, sector: int, rng: random.Random, pool: list[bytes]) -> bytes:
    """A file's bytes with some of the sectors that were written since it was durable."""
    end = max(offset + len(data) for offset, data in pending)
    old = bytearray(durable.ljust(end, b"\0"))
    new = bytearray(old)
    touched: list[int] = []
    for offset, data in pending:
        new[offset : offset + len(data)] = data
        touched.extend(range(offset // sector * sector, offset + len(data), sector))
    touched = list(dict.fromkeys(touched))
    mode = rng.choice(("all", "none", "cut", "lost", "mixed", "mixed", "swap", "one"))
    if mode == "none":
        return durable if rng.random() < 0.5 else bytes(old)
    result = bytearray(new if mode in ("all", "swap", "one") else old)
    if mode == "cut":
        chosen = touched[: rng.randint(0, len(touched))]
    elif mode == "lost":
        chosen = [at for at in touched if rng.random() < 0.5]
    else:
        chosen = []
    for at in chosen:
        result[at : at + sector] = new[at : at + sector]
    if mode in ("mixed", "one"):
        for at in touched if mode == "mixed" else [rng.choice(touched)]:
            size = len(result[at : at + sector])
            result[at : at + size] = _sector(at, size, sector, old, new, rng, pool)
    elif mode == "swap" and len(touched) > 1:
        for _ in range(rng.randint(1, 3)):
            a, b = rng.sample(touched, 2)
            size = min(len(result) - max(a, b), sector)
            result[a : a + size], result[b : b + size] = result[b : b + size], result[a : a + size]
    return bytes(result)


def _sector(at: int, size: int, sector: int, old, new, rng: random.Random, pool: list[bytes]) -> bytes:
    kind = rng.randrange(7)
    if kind <= 1:
        return bytes(new[at : at + size])
    if kind == 2:
        return bytes(old[at : at + size])
    if kind == 3:
        return bytes(size)
    if kind == 4:
        return rng.randbytes(size)
    if kind == 5 and pool:
        other = rng.choice(pool)
        place = rng.randrange(len(other) // sector) * sector
        return other[place : place + size].ljust(size, b"\0")
    cut = rng.randrange(size + 1)
    return bytes(new[at : at + cut]) + bytes(old[at + cut : at + size])


def _lie(contents: dict[str, bytes], sector: int, rng: random.Random) -> None:
    """Spoils something that was durable."""
    name = rng.choice([name for name in contents if name.startswith(("journal-", "snapshot-"))] or [""])
    if not name or not contents[name]:
        return
    data = bytearray(contents[name])
    kind = rng.randrange(4)
    at = rng.randrange(len(data))
    # Most of a segment is still zeros: look for something that is not.
    if not data[at]:
        at = rng.randrange(len(data.rstrip(b"\0")) or 1)
    place = at // sector * sector
    if kind == 0:
        data[at] ^= 1 << rng.randrange(8)
    elif kind == 1:
        data[place : place + sector] = bytes(len(data[place : place + sector]))
    elif kind == 2:
        data[place : place + sector] = rng.randbytes(len(data[place : place + sector]))
    else:
        del data[place:]
    contents[name] = bytes(data)


def check(work: Workload, moment: Moment, contents: dict[str, bytes], *, honest: bool, deep: bool) -> Outcome:
    """Recovers an image and asserts that the result is right.

    Args:
        work: What wrote the journal.
        moment: When the power went.
        contents: The image.
        honest: Whether it must recover.
        deep: Whether it is also recovered twice and read.
    """
    files = MemoryFiles(contents)
    # A lying disk can lose the last batch without a trace, but not when it is known how far it was durable.
    durable = 0 if honest else moment.durable_seq
    try:
        found = recover(DIRECTORY, files=files, durable_seq=durable)
        snapshots = [read_snapshot(one.path, files=files) for one in list_snapshots(files, DIRECTORY)]
    except JournalError:
        assert not honest, "a loss of power was taken for damage"
        return Outcome(True, False, 0)
    assert found.seq >= moment.durable_seq, f"{found.seq} recovered, {moment.durable_seq} was durable"
    assert found.crc == work.crcs[found.seq], f"record {found.seq} is not the one that was written"
    for snapshot in snapshots:
        assert snapshot.seq <= found.seq
        assert snapshot.state_hash == work.crcs[snapshot.seq]
    if deep and found.seq:
        _check_deep(work, found, files)
    return Outcome(False, found.torn is not None, found.kept)


def _check_deep(work: Workload, found, files: MemoryFiles) -> None:
    for inode in files.names.values():
        assert not inode.pending, "recovery left something that is not durable"
    again = recover(DIRECTORY, files=files)
    assert (again.seq, again.crc, again.end, again.cut) == (found.seq, found.crc, found.end, 0)
    first = min(name for name in files.names if name.startswith("journal-0"))
    start = int.from_bytes(files.names[first].data[32:40], "little")
    seqs = [record.seq for record in JournalReader(DIRECTORY, after=start - 1, files=files)]
    assert seqs == list(range(start, found.seq + 1))


def images(seed: int, count: int, *, first: int = 0) -> Iterator[Outcome]:
    """Generates, recovers and checks images; every fifth is of a lying disk.

    Args:
        seed: Of everything.
        count: Number behind the last image.
        first: Number of the first one.

    Raises:
        AssertionError: One was accepted wrongly, or refused wrongly; the message has what repeats it.
    """
    work: Workload | None = None
    for number in range(first, count):
        if work is None or number % PER_WORKLOAD == 0:
            batch = number // PER_WORKLOAD
            work = Workload(seed * 1_000_003 + batch, block=(4096, 512)[batch % 2])
        rng = random.Random(f"{seed}/{number}")
        moment = rng.choice(work.moments)
        honest = number % 5 != 4
        contents = image(moment, rng, honest=honest)
        try:
            yield check(work, moment, contents, honest=honest, deep=number % 20 < 2)
        except Exception as error:
            raise AssertionError(
                f"image {number} of seed {seed}: {type(error).__name__}: {error}\n"
                f"repeat it with: python -m tests.fuzz.journal --seed {seed} --only {number}"
            ) from error
