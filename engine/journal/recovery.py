"""Finds where a journal on disk ends, cuts a torn tail, and refuses what cannot be the result of a crash.

The rules, in the order in which they are looked at:

* A segment's header was durable before the segment had its name: a broken one is damage.
* A segment after the first goes on exactly where the one before ends, and is proof that all of it was
  durable: any fault in a segment that is not the last is damage.
* In the last segment a whole batch behind a broken one is proof that the broken one was durable: damage.
* Otherwise what is broken was never durable. It is copied beside, its whole records stay, the rest is cut.
* What is left must reach ``durable_seq``, where it is known, and every snapshot.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from engine.core.errors import JournalDamaged, JournalError
from engine.journal.disk import BATCH_HEADER_BYTES, Scan, Segment, batch_header, read_segment, scan
from engine.journal.files import (
    SEGMENT,
    TEMPORARY,
    Files,
    again,
    read_segments,
    segment_names,
    write_all,
    write_new,
)
from engine.journal.snapshots import list_snapshots


@dataclass(frozen=True)
class Recovered:
    """Where a journal ends, and what it took to find that out.

    Attributes:
        directory: The journal's.
        seq: Number of the last record, 0 of an empty journal.
        crc: CRC of that record.
        batch: Number of the last batch.
        segment: Header of the last segment, None of an empty journal.
        end: Offset in it behind the last batch.
        sealed: Whether the journal ended in good order.
        segments: How many there are.
        torn: The file with the copy of what was torn, None of a clean end.
        kept: Records of the torn batch that were whole and stay.
        cut: Bytes that were cut.
    """

    directory: str
    seq: int
    crc: int
    batch: int
    segment: Segment | None
    end: int
    sealed: bool
    segments: int
    torn: str | None = None
    kept: int = 0
    cut: int = 0


def recover(
    directory: str | os.PathLike[str],
    *,
    durable_seq: int | None = None,
    since: int = 0,
    repair: bool = True,
    files: Files | None = None,
) -> Recovered:
    """Finds the end of a journal; with ``repair`` nothing but whole batches is left behind it, durably.

    Args:
        directory: The journal's; a missing or empty one is an empty journal.
        durable_seq: The last record that is known to be durable, where that is known.
        since: Segments wholly before this record are not read, only their headers.
        repair: Whether a torn tail may be cut. Only who holds the journal's lock may say so.
        files: The system's files by default.

    Raises:
        JournalDamaged: The journal is damaged; the message names segment and offset.
        JournalError: A segment is missing, or something of it cannot be read.
    """
    files = Files() if files is None else files
    path = os.fspath(directory)
    try:
        names = segment_names(files, path)
    except JournalError:
        names = []
    if repair and names:
        _remove_unfinished(files, path)
    contents = read_segments(files, path, lambda name, data: (name, memoryview(data))) if names else []
    end, data = _scan_all(contents, since)
    if end is None:
        found = Recovered(path, 0, 0, 0, None, 0, False, 0)
    else:
        names = [name for name, _ in contents]
        found = _settle(files, path, names, *end, data, durable_seq if repair else None, repair)
    _check_reach(files, found, durable_seq or 0)
    return found


def _remove_unfinished(files: Files, path: str) -> None:
    for name in again(files.listdir, path):
        if name.endswith(TEMPORARY):
            again(files.unlink, os.path.join(path, name))


def _scan_all(
    contents: list[tuple[str, memoryview]], since: int
) -> tuple[tuple[Segment, Scan] | None, memoryview]:
    """Header and scan of the last segment, and its bytes; every segment before it is checked."""
    before: tuple[Segment, Scan | None] | None = None
    headers = [read_segment(data, name) for name, data in contents]
    result = None
    data = memoryview(b"")
    for number, (header, (name, data)) in enumerate(zip(headers, contents, strict=True)):
        is_last = number == len(contents) - 1
        if header.index != int(SEGMENT.fullmatch(name)[1]):
            raise JournalDamaged(f"is segment {header.index} by its header", segment=name, offset=0)
        if before is not None:
            _check_succession(name, header, before)
        if not is_last and headers[number + 1].first_seq <= since:
            before = header, None
            continue
        result = scan(data, name)
        if result.later:
            raise JournalDamaged(
                f"broken, with a whole batch at offset {result.later} behind it",
                segment=name,
                offset=result.end,
            )
        if not is_last and result.dirty > result.end:
            raise JournalDamaged("broken, with a whole segment behind it", segment=name, offset=result.end)
        before = header, result
    return ((headers[-1], result) if result is not None else None), data


def _check_succession(name: str, header: Segment, before: tuple[Segment, Scan | None]) -> None:
    last, found = before
    if header.index != last.index + 1:
        raise JournalError(f"{name}: segment {last.index + 1} before it is missing")
    if found is None:
        if header.first_seq < last.first_seq or header.first_batch < last.first_batch:
            raise JournalDamaged("begins before the segment before it", segment=name, offset=0)
    elif (header.first_seq, header.first_crc, header.first_batch) != (
        found.seq + 1,
        found.crc,
        found.batch + 1,
    ):
        raise JournalDamaged(
            f"begins with record {header.first_seq}, but the segment before it ends with {found.seq}",
            segment=name,
            offset=0,
        )


def _settle(
    files: Files,
    path: str,
    names: list[str],
    header: Segment,
    found: Scan,
    data: memoryview,
    durable_seq: int | None,
    repair: bool,
) -> Recovered:
    """Cuts what is torn, and makes sure that the last batch is durable."""
    name = names[-1]
    kept = found.torn_seq - found.seq
    values = {
        "directory": path,
        "seq": found.torn_seq,
        "crc": found.torn_crc,
        "batch": found.batch + (kept > 0),
        "segment": header,
        "end": found.end,
        "sealed": found.sealed and found.dirty == found.end,
        "segments": len(names),
        "kept": kept,
        "cut": 0,
    }
    if kept:
        values["end"] += _whole(BATCH_HEADER_BYTES + found.torn_bytes, header.block)
    if found.dirty > found.end:
        values["cut"] = found.dirty - found.end - (BATCH_HEADER_BYTES + found.torn_bytes if kept else 0)
    if not repair:
        return Recovered(**values)
    if found.dirty > found.end:
        values["torn"] = _back_up(files, path, name, found, data)
    fd = again(files.open, os.path.join(path, name))
    try:
        if found.dirty > found.end:
            write_all(files, fd, _mended(header, found, data), found.end)
        elif durable_seq is not None and found.start and (found.seq > durable_seq or not found.last_records):
            # Nobody said that the last batch is durable, and a failed fdatasync leaves pages that look as if
            # they were: written again, they become so. What was durable is never written again.
            write_all(files, fd, [bytes(data[found.start : found.end])], found.start)
        again(files.fdatasync, fd)
    finally:
        files.close(fd)
    return Recovered(**values)


def _whole(size: int, block: int) -> int:
    return -(-size // block) * block


def _mended(header: Segment, found: Scan, data: memoryview) -> list[bytes]:
    """What is written over a torn tail: its whole records as a batch of their own, then zeros."""
    length = _whole(found.dirty - found.end, header.block)
    length = min(length, len(data) - found.end)
    if found.torn_seq == found.seq:
        return [bytes(length)]
    start = found.end + BATCH_HEADER_BYTES
    records = bytes(data[start : start + found.torn_bytes])
    first = batch_header(
        header,
        found.batch + 1,
        found.seq + 1,
        found.torn_seq - found.seq,
        found.torn_bytes,
        found.crc,
        found.torn_crc,
    )
    return [first, records, bytes(max(0, length - len(first) - len(records)))]


def _back_up(files: Files, path: str, name: str, found: Scan, data: memoryview) -> str:
    """Copies the torn tail beside the segment; a name that is taken is another tear's."""
    taken = set(again(files.listdir, path))
    stem = f"{name}.torn-{found.end}"
    copy = next(
        candidate
        for candidate in (stem, *(f"{stem}.{number}" for number in range(1, len(taken) + 2)))
        if candidate not in taken
    )
    write_new(files, path, copy, [bytes(data[found.end : found.dirty])])
    return os.path.join(path, copy)


def _check_reach(files: Files, found: Recovered, durable_seq: int) -> None:
    """Refuses a journal that ends before what is known to have been durable."""
    name = f"journal-{found.segment.index:08d}.seg" if found.segment else found.directory
    if found.seq < durable_seq:
        raise JournalDamaged(
            f"the journal ends with record {found.seq}, but {durable_seq} was durable",
            segment=name,
            offset=found.end,
        )
    try:
        snapshots = list_snapshots(files, found.directory)
    except JournalError:
        return
    if snapshots and snapshots[-1].seq > found.seq:
        raise JournalDamaged(
            f"the journal ends with record {found.seq}, but a snapshot has record {snapshots[-1].seq}",
            segment=name,
            offset=found.end,
        )
