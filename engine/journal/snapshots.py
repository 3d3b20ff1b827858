"""Snapshots: a state and its hash at one record of the journal, written whole or not at all, two kept."""

from __future__ import annotations

import itertools
import os
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass

from engine.core.errors import JournalDamaged
from engine.journal.disk import read_segment
from engine.journal.files import TEMPORARY, Buffer, Files, again, list_journal, segment_names, write_all
from engine.journal.wal import crc32c

KEEP = 2
NAME = re.compile(r"snapshot-(\d{20})\.snap")

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


def list_snapshots(files: Files, directory: str) -> list[Snapshot]:
    """The snapshots of a journal by their names, oldest first.

    Args:
        files: The system.
        directory: The journal's.

    Raises:
        JournalError: There is no such directory.
    """
    names = list_journal(files, directory)
    found = [(int(match[1]), name) for name in names if (match := NAME.fullmatch(name))]
    return [Snapshot(os.path.join(directory, name), seq) for seq, name in sorted(found)]


def write_snapshot(
    directory: str | os.PathLike[str],
    *,
    seq: int,
    ts: int,
    state_hash: int,
    state: Buffer,
    run_id: bytes,
    files: Files | None = None,
) -> Snapshot:
    """Writes a snapshot, reads it back, and only then removes what nobody needs any more.

    Two snapshots are kept, and every segment that holds a record after the older of them.

    Args:
        directory: The journal's.
        seq: The last record that the state includes; it has to be durable already.
        ts: Engine time of the state.
        state_hash: Unsigned, 64 bits.
        state: The state.
        run_id: 16 bytes.
        files: The system's files by default.

    Raises:
        JournalDamaged: What reads back is not what was written; nothing was removed.
        OSError: The system refuses; the older snapshots are as they were.
    """
    draft = draft_snapshot(
        directory, seq=seq, ts=ts, state_hash=state_hash, state=state, run_id=run_id, files=files
    )
    state = bytes(state)

    def same(written: Snapshot) -> None:
        if (written.seq, written.state_hash, written.state) != (seq, state_hash, state):
            raise JournalDamaged("reads back differently", segment=os.path.basename(draft), offset=0)

    return adopt_snapshot(draft, same, forget_segments=True, files=files)


def draft_snapshot(
    directory: str | os.PathLike[str],
    *,
    seq: int,
    ts: int,
    state_hash: int,
    state: Buffer,
    run_id: bytes,
    files: Files | None = None,
) -> str:
    """Writes a snapshot under a name that nobody takes for one, and does not wait for the disk.

    Args:
        directory: The journal's.
        seq: As :func:`write_snapshot`, and so the rest.
        ts: Engine time.
        state_hash: Unsigned.
        state: The state.
        run_id: 16 bytes.
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
    path = os.path.join(os.fspath(directory), f"snapshot-{seq:020d}.snap{TEMPORARY}")
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
    forget_segments: bool,
    files: Files | None = None,
) -> Snapshot:
    """Gives a draft its name once it is on disk, reads back and is proven; only then older ones go.

    Args:
        draft: As :func:`draft_snapshot` returned it.
        prove: Raises if what was read back is not good enough.
        forget_segments: Whether segments go that nobody needs behind the older of two snapshots.
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
    _forget_old(files, directory, forget_segments)
    return written


def _forget_old(files: Files, path: str, segments: bool) -> None:
    snapshots = list_snapshots(files, path)
    for old in snapshots[:-KEEP]:
        again(files.unlink, old.path)
    if len(snapshots) < KEEP or not segments:
        return
    needed = snapshots[-KEEP].seq
    names = segment_names(files, path)
    for name, following in itertools.pairwise(names):
        if read_segment(again(files.read, os.path.join(path, following)), following).first_seq > needed + 1:
            break
        again(files.unlink, os.path.join(path, name))
    again(files.sync_directory, path)


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


def latest_snapshot(directory: str | os.PathLike[str], *, files: Files | None = None) -> Snapshot | None:
    """The newest snapshot that is whole, or None without any.

    Args:
        directory: The journal's.
        files: The system's files by default.

    Raises:
        JournalDamaged: There are snapshots, but none of them is whole.
    """
    files = Files() if files is None else files
    fault: JournalDamaged | None = None
    for candidate in reversed(list_snapshots(files, os.fspath(directory))):
        try:
            return read_snapshot(candidate.path, files=files)
        except JournalDamaged as error:
            fault = error
    if fault is not None:
        raise fault
    return None
