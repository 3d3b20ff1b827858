"""Removes a journal's old segments, and keeps what its run began with.

They go oldest first, each for good before the next: whenever that is interrupted, what is left is a journal
without a gap. The run's first record, which says what the run is, has a file of its own by then.
"""

from __future__ import annotations

import itertools
import os
import struct

from engine.core.errors import JournalDamaged, RecordsRemoved
from engine.journal.disk import Record, Segment, read_segment
from engine.journal.files import Files, again, segment_names, write_new
from engine.journal.reader import JournalReader
from engine.journal.wal import crc32c

BEGINNING = "beginning.rec"
"""In a journal's directory: its first record, once the segment that has it may go."""

_HEADER = struct.Struct("<8sIQqqHBBHHQI")
"""Magic, version, then the record's seq, steady clock, engine time, type, version, flags, instrument,
strategy and length, CRC of all this and its body."""
_MAGIC = b"BookBegn"
_VERSION = 1
_BEFORE_CRC = _HEADER.size - 4


def remove_segments(
    directory: str | os.PathLike[str], needed: int, keep_bytes: int, *, files: Files | None = None
) -> int:
    """Removes old segments that nobody needs.

    Args:
        directory: The journal's.
        needed: Segments with a record after this one stay.
        keep_bytes: None goes as long as there are no more bytes of segments than these.
        files: The system's files by default.

    Returns:
        How many went.

    Raises:
        JournalDamaged: A segment's header is broken.
        OSError: The system refuses; what is left is whole.
    """
    files = Files() if files is None else files
    path = os.fspath(directory)
    names = segment_names(files, path)
    left = sum(again(files.size, os.path.join(path, name)) for name in names)
    gone = 0
    for name, following in itertools.pairwise(names):
        if left <= keep_bytes or _header(files, path, following).first_seq > needed + 1:
            break
        if _header(files, path, name).first_seq == 1:
            _keep_beginning(files, path)
        left -= again(files.size, os.path.join(path, name))
        again(files.unlink, os.path.join(path, name))
        again(files.sync_directory, path)
        gone += 1
    return gone


def _header(files: Files, path: str, name: str) -> Segment:
    return read_segment(again(files.read, os.path.join(path, name)), name)


def _keep_beginning(files: Files, path: str) -> None:
    first = next(JournalReader(path, after=0, files=files))
    head = _HEADER.pack(
        _MAGIC, _VERSION, first.seq, first.t_mono, first.ts, first.type, first.version, first.flags,
        first.instrument, first.strategy, len(first.body), 0,
    )[:_BEFORE_CRC]  # fmt: skip
    crc = crc32c(first.body, crc32c(head, 0xFFFFFFFF))
    write_new(files, path, BEGINNING, [head + struct.pack("<I", crc), first.body])


def first_record(directory: str | os.PathLike[str], *, files: Files | None = None) -> Record | None:
    """The first record that a journal ever had, whether or not its segment is still there.

    Args:
        directory: The journal's.
        files: The system's files by default.

    Returns:
        None of a journal that has no record yet.

    Raises:
        JournalError: There is no journal, or the record is lost.
        JournalDamaged: What should have it is broken.
    """
    files = Files() if files is None else files
    path = os.fspath(directory)
    try:
        return next(JournalReader(path, after=0, files=files), None)
    except RecordsRemoved:
        pass
    try:
        data = bytes(again(files.read, os.path.join(path, BEGINNING)))
    except FileNotFoundError:
        raise RecordsRemoved(f"{path}: the record that its run began with is lost") from None
    if len(data) < _HEADER.size or data[:8] != _MAGIC:
        raise JournalDamaged("does not begin as it should", segment=BEGINNING, offset=0)
    _, version, seq, t_mono, ts, kind, layout, flags, instrument, strategy, length, crc = _HEADER.unpack_from(
        data
    )
    body = data[_HEADER.size :]
    if length != len(body) or crc != crc32c(body, crc32c(data[:_BEFORE_CRC], 0xFFFFFFFF)):
        raise JournalDamaged("the record is broken", segment=BEGINNING, offset=_HEADER.size)
    if version != _VERSION:
        raise JournalDamaged(f"version {version}, this build reads {_VERSION}", segment=BEGINNING, offset=8)
    return Record(seq, t_mono, kind, layout, flags, instrument, strategy, ts, body)
