"""Snapshots: a state and its hash at one record of the journal, written whole or not at all, two kept.

There are two kinds: of the run, which it goes on from, and of its recorder, which does so too.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass

from engine.core.errors import JournalDamaged
from engine.journal.files import TEMPORARY, Buffer, Files, again, list_journal, write_all
from engine.journal.wal import crc32c

KEEP = 2
NAME = re.compile(r"(snapshot|recorder)-(\d{20})\.snap")
RUN, RECORDER = "snapshot", "recorder"
"""The kinds."""

_MAGIC = b"BookSnap"
_HEADER = struct.Struct("<8sIIQqQQ16sI")
"""Magic, version, zero, seq, engine time, state hash, length, run id, CRC of all this and the state."""
_VERSION = 1
_BEFORE_CRC = _HEADER.size - 4


@dataclass(frozen=True)
class Snapshot:
    """A snapshot on disk.

    Attributes:
        path: Its file.
        seq: The last record that its state includes.
        ts: Engine time of the state; 0 when only the name was read.
        state_hash: Of the state; 0 when only the name was read.
        run_id: Of the run that wrote it; empty when only the name was read.
        state: The state; empty when only the name was read.
    """

    path: str
    seq: int
    ts: int = 0
    state_hash: int = 0
    run_id: bytes = b""
    state: bytes = b""


def list_snapshots(files: Files, directory: str, kind: str = RUN) -> list[Snapshot]:
    """The snapshots of a journal by their names, oldest first.

    Args:
        files: The system.
        directory: The journal's.
        kind: Of which kind.

    Raises:
        JournalError: There is no such directory.
    """
    names = list_journal(files, directory)
    matches = [match for name in names if (match := NAME.fullmatch(name)) and match[1] == kind]
    found = [(int(match[2]), match[0]) for match in matches]
    return [Snapshot(os.path.join(directory, name), seq) for seq, name in sorted(found)]


def draft_snapshot(
    directory: str | os.PathLike[str],
    *,
    seq: int,
    ts: int,
    state_hash: int,
    state: Buffer,
    run_id: bytes,
    kind: str = RUN,
    files: Files | None = None,
) -> str:
    """Writes a snapshot under a name that nobody takes for one, and does not wait for the disk.

    Args:
        directory: The journal's.
        seq: The last record that the state includes; it has to be durable already.
        ts: Engine time of the state.
        state_hash: Unsigned, 64 bits.
        state: The state.
        run_id: 16 bytes.
        kind: Of which kind.
        files: The system's files by default.

    Returns:
        The file, for :func:`adopt_snapshot`.

    Raises:
        OSError: The system refuses.
    """
    files = Files() if files is None else files
    state = bytes(state)
    head = _HEADER.pack(_MAGIC, _VERSION, 0, seq, ts, state_hash, len(state), run_id, 0)[:_BEFORE_CRC]
    crc = crc32c(state, crc32c(head, 0xFFFFFFFF))
    path = os.path.join(os.fspath(directory), f"{kind}-{seq:020d}.snap{TEMPORARY}")
    fd = again(files.create, path)
    try:
        write_all(files, fd, [head + struct.pack("<I", crc), state], 0)
    finally:
        files.close(fd)
    return path


def adopt_snapshot(
    draft: str,
    prove: Callable[[Snapshot], None],
    *,
    files: Files | None = None,
) -> Snapshot:
    """Gives a draft its name once it is on disk, reads back and is proven; then the oldest of three goes.

    Args:
        draft: As :func:`draft_snapshot` returned it.
        prove: Raises if what was read back is not good enough.
        files: The system's files by default.

    Raises:
        JournalDamaged: It does not read back.
        OSError: The system refuses; the older snapshots are as they were.
    """
    files = Files() if files is None else files
    directory, name = os.path.split(draft.removesuffix(TEMPORARY))
    # First, because a file that is not there would be made by opening it.
    found = read_snapshot(draft, files=files)
    fd = again(files.open, draft)
    try:
        again(files.fsync, fd)
    finally:
        files.close(fd)
    prove(found)
    path = os.path.join(directory, name)
    again(files.rename, draft, path)
    again(files.sync_directory, directory)
    written = read_snapshot(path, files=files)
    for old in list_snapshots(files, directory, name.partition("-")[0])[:-KEEP]:
        again(files.unlink, old.path)
    return written


def read_snapshot(path: str | os.PathLike[str], *, files: Files | None = None) -> Snapshot:
    """Reads a snapshot and checks it.

    Args:
        path: Its file.
        files: The system's files by default.

    Raises:
        JournalDamaged: It is broken.
    """
    files = Files() if files is None else files
    path = os.fspath(path)
    name = os.path.basename(path)
    data = bytes(again(files.read, path))
    if len(data) < _HEADER.size or data[:8] != _MAGIC:
        raise JournalDamaged("does not begin as a snapshot does", segment=name, offset=0)
    _, version, _, seq, ts, state_hash, length, run_id, crc = _HEADER.unpack_from(data)
    state = data[_HEADER.size :]
    if length != len(state) or crc != crc32c(state, crc32c(data[:_BEFORE_CRC], 0xFFFFFFFF)):
        raise JournalDamaged("the snapshot is broken", segment=name, offset=_HEADER.size)
    if version != _VERSION:
        raise JournalDamaged(
            f"snapshot version {version}, this build reads {_VERSION}", segment=name, offset=8
        )
    return Snapshot(path, seq, ts, state_hash, run_id, state)
