"""Recordings of events: npz and npy files to validated event arrays, memory-mapped where that can be done.

Rows are counted from 0, as NumPy does.
"""

from __future__ import annotations

import os
import struct
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, Protocol, runtime_checkable

import numpy as np

from engine.backtest.checks import FAULTS, first_fault
from engine.backtest.config import L3_FIFO
from engine.backtest.files import CHUNK_ROWS, MEMBER, ArrayFile, read_array
from engine.core.errors import DataError
from engine.core.types import ADD_ORDER_EVENT, DEPTH_EVENT, DEPTH_SNAPSHOT_EVENT, LOCAL_EVENT, event_dtype

_REQUIRED = ("ev", "exch_ts", "local_ts", "px", "qty")
_ALIGN = 64
_STEP = 4 << 20
_EPOCH = (1980, 1, 1, 0, 0, 0)

Chunks = Iterator[tuple[np.ndarray, str | None, int]]
"""Events, what errors call their file, and the number of the first of them in it."""

KINDS_LOOKED_AT = 1 << 12
"""Rows at the start of a recording that tell whether it is by order or by price."""

FIRST_LOOK = 64


def load_events(
    source: str | Path | np.ndarray, *, name: str | None = None, sizes: tuple[float, float] | None = None
) -> np.ndarray:
    """Loads a recording and checks every row.

    Args:
        source: An ``.npz`` file with the array ``data``, an ``.npy`` file, or an array. A file is mapped,
            not read, when it is not compressed.
        name: What errors name as the file; the path by default.
        sizes: Tick and lot size of the book that the depth rows have to fit, which tells the recording of
            another instrument; None does not look at that.

    Returns:
        ``event_dtype`` array of shape ``(n,)``, C-contiguous; read-only when it is mapped. An array that
        has that layout already is returned as it is.

    Raises:
        DataError: The file is missing, truncated or no recording, the array has another dtype, or a row
            is unusable: no EXCH or LOCAL flag, no kind, NaN or infinite price or quantity, or a time
            outside 1970 to 2116 or earlier than the row before it on the same side, or it does not fit
            ``sizes``. The message names file, row and field.
    """
    if name is None and not isinstance(source, np.ndarray):
        name = str(source)
    events = as_events(source if isinstance(source, np.ndarray) else read_array(source), name)
    _check(events, name, 0, None, sizes)
    return events


def iter_events(source: str | Path | np.ndarray, rows: int = 1 << 20) -> Iterator[np.ndarray]:
    """Loads a recording in chunks, checking each as it comes.

    Args:
        source: As for :func:`load_events`.
        rows: Rows in a chunk at most.

    Yields:
        Consecutive slices of the recording.

    Raises:
        DataError: As :func:`load_events`, when the faulty chunk is reached.
    """
    recording = Recording(source)
    clocks = None
    for chunk, name, first in recording.chunks(rows):
        clocks = _check(chunk, name, first, clocks)
        yield chunk


@runtime_checkable
class Chunked(Protocol):
    """Rows that are read in chunks from wherever they are, as often as need be."""

    name: str

    @property
    def rows(self) -> int:
        """Rows in all."""

    def chunks(self, start: int = 0) -> Iterator[np.ndarray]:
        """Begins a pass."""


class Recording:
    """A recording on its way into a backtest: its layout is checked at once, its rows when they are reached.

    Args:
        source: As for :func:`load_events`, or whatever gives its rows in chunks.
        name: What errors name as the file; the path by default.

    Attributes:
        rows: How many there are.

    Raises:
        DataError: The file is missing, truncated or no recording, or the array has another dtype.
    """

    def __init__(self, source: str | Path | np.ndarray | Chunked, name: str | None = None) -> None:
        self._name = name
        self._source: np.ndarray | ArrayFile | Chunked
        if isinstance(source, np.ndarray):
            self._source = as_events(source, name)
            self.rows = len(source)
        elif isinstance(source, Chunked):
            self._source, self.rows = source, source.rows
            self._name = name or source.name
        else:
            self._source = ArrayFile(source, name)
            self._name = self._source.name
            self.rows = self._source.rows
            as_events(np.empty(0, self._source.dtype), self._name)

    def chunks(self, rows: int = CHUNK_ROWS) -> Chunks:
        """Reads it once; nothing of a file is kept.

        Args:
            rows: Rows in a chunk at most.

        Yields:
            Events, what errors call the file, and the number of the chunk's first row in it.

        Raises:
            DataError: A value does not fit, or the file is corrupt, when that place is reached.
        """
        first = 0
        if isinstance(self._source, ArrayFile):
            for chunk in self._source.chunks(rows):
                yield as_events(chunk, self._name, first), self._name, first
                first += len(chunk)
        elif isinstance(self._source, np.ndarray):
            for first in range(0, self.rows, rows):
                yield self._source[first : first + rows], self._name, first
        else:
            for chunk in self._source.chunks():
                for at in range(0, len(chunk), rows):
                    part = chunk[at : at + rows]
                    yield part, self._name, first
                    first += len(part)


class Replayed(Protocol):
    """What an asset says about how its recordings are replayed."""

    queue_model: str | type
    latency_offset: int


def asset_chunks(asset: Replayed, recordings: Iterable[Recording], rows: int = CHUNK_ROWS) -> Chunks:
    """Reads an asset's recordings in order, once its models are known to be for such data.

    Args:
        asset: Its ``queue_model`` and its ``latency_offset`` (nanoseconds added to every ``local_ts``).
        recordings: Opened one after the other, as they are needed.
        rows: Rows in a chunk at most.

    Yields:
        As :meth:`Recording.chunks`; whoever replays them checks the rows.

    Raises:
        DataError: The recording is market by order and the queue model by price or the reverse, or with the
            offset a row would be here before it has happened.
    """
    looked_at = False
    for recording in recordings:
        for events, name, first in recording.chunks(rows):
            if not looked_at:
                _check_kinds(asset, events, name)
                looked_at = True
            if asset.latency_offset < 0:
                _refuse_early(events, name, first, asset.latency_offset)
            yield events, name, first


def _refuse_early(events: np.ndarray, name: str | None, first: int, latency_offset: int) -> None:
    """Refuses rows that would be here before they have happened."""
    here = (events["ev"] & np.uint64(LOCAL_EVENT)) != 0
    early = np.flatnonzero(here & (events["local_ts"] + latency_offset < events["exch_ts"]))
    if len(early):
        row = int(early[0])
        text = f"earlier than exch_ts with a latency_offset of {latency_offset}"
        raise DataError(f"{events['local_ts'][row]}: {text}", file=name, row=first + row, field="local_ts")


def _check_kinds(asset: Replayed, events: np.ndarray, name: str | None) -> None:
    """DataError if a recording is market by order and the asset's models are by price, or the reverse."""
    by_order = asset.queue_model == L3_FIFO
    # Most recordings tell in their first rows, and to look at more would read their memory once more.
    for looked_at in (FIRST_LOOK, KINDS_LOOKED_AT):
        kinds = {code & 0xFF for code in events["ev"][:looked_at].tolist()}
        if not kinds.isdisjoint({ADD_ORDER_EVENT} if by_order else {DEPTH_EVENT, DEPTH_SNAPSHOT_EVENT}):
            return
    if by_order and kinds:
        raise DataError(f"holds no orders, which {L3_FIFO} needs", file=name, field="ev")
    if not by_order and ADD_ORDER_EVENT in kinds:
        raise DataError(f"holds orders, not levels: its queue_model is {L3_FIFO}", file=name, field="ev")


def check_events(events: np.ndarray, name: str | None = None) -> None:
    """Raises DataError for the first unusable row, see :func:`load_events`.

    Args:
        events: ``event_dtype`` array.
        name: What errors name as the file.
    """
    _check(events, name, 0, None)


def _check(
    events: np.ndarray,
    name: str | None,
    first: int,
    clocks: object,
    sizes: tuple[float, float] | None = None,
) -> object:
    row, fault, clocks = first_fault(events, clocks, sizes)
    if fault:
        field, message = FAULTS[fault]
        value = events[field][row]
        shown = hex(value) if field == "ev" else value
        raise DataError(f"{shown}: {message.format(sizes)}", file=name, row=first + row, field=field)
    return clocks


def as_events(array: np.ndarray, name: str | None = None, first: int = 0) -> np.ndarray:
    """Gives an array the layout of ``event_dtype``, copying only if it has another.

    Args:
        array: Structured array that has at least the fields ev, exch_ts, local_ts, px and qty.
        name: What errors name as the file.
        first: The number of its first row there.

    Raises:
        DataError: Wrong shape or dtype, or a value that does not fit; the message names the field.
    """
    if array.ndim != 1:
        raise DataError(f"an array of shape {array.shape}; events have one dimension", file=name)
    if (
        array.dtype == event_dtype
        and array.flags.c_contiguous
        # Asked of a column: of events themselves their dtype decides what is aligned.
        and array["exch_ts"].flags.aligned
    ):
        return array
    if array.dtype.names is None:
        raise DataError(f"an array of {array.dtype}, not of events", file=name)
    for field in _REQUIRED:
        if field not in array.dtype.names:
            raise DataError(f"missing; the array has {', '.join(array.dtype.names)}", file=name, field=field)
    for field in array.dtype.names:
        if field not in event_dtype.names:
            raise DataError("not a field of an event", file=name, field=field)
    events = np.zeros(len(array), event_dtype)
    for field in array.dtype.names:
        have, want = array.dtype[field], event_dtype[field]
        integers = have.kind in "iu" and want.kind in "iu"
        if not integers and not (want.kind == "f" and np.can_cast(have, want, "same_kind")):
            raise DataError(f"{have}, it has to be {want}", file=name, field=field)
        if have.kind != want.kind and integers:
            _refuse_overflow(array[field], name, field, first)
        events[field] = array[field]
    return events


def _refuse_overflow(column: np.ndarray, name: str | None, field: str, first: int) -> None:
    """Refuses what changes its value between signed and unsigned 64 bits."""
    wrong = np.flatnonzero(column < 0 if column.dtype.kind == "i" else column > np.uint64(2**63 - 1))
    if wrong.size:
        row = int(wrong[0])
        raise DataError(f"{column[row]} is out of range", file=name, row=first + row, field=field)


def save_events(path: str | Path, events: np.ndarray, *, compress: bool = False) -> None:
    """Writes a recording that hftbacktest reads too, whole or not at all; same events, same bytes.

    Args:
        path: The ``.npz`` file; one that exists is replaced.
        events: ``event_dtype`` array.
        compress: Deflate it. Uncompressed (the default) it can be mapped instead of read.

    Raises:
        DataError: The file cannot be written.
    """
    save_chunks(path, len(events), [events], compress=compress)


def save_chunks(path: str | Path, rows: int, chunks: Iterable[np.ndarray], *, compress: bool = False) -> None:
    """Writes a recording as :func:`save_events` does, in the memory of one chunk.

    Args:
        path: The ``.npz`` file; one that exists is replaced.
        rows: How many there will be in all.
        chunks: ``event_dtype`` arrays.
        compress: Deflate it.

    Raises:
        DataError: The file cannot be written, or the chunks have more or fewer rows.
    """
    path = Path(path)
    temporary = None
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        with os.fdopen(handle, "wb") as file:
            if _write_npz(file, rows, chunks, compress) != rows:
                raise DataError(f"not the {rows} rows that were announced", file=str(path))
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
        temporary = None
    except OSError as error:
        raise DataError(f"cannot write: {error.strerror or error}", file=str(path)) from None
    finally:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)


def _write_npz(file: BinaryIO, rows: int, chunks: Iterable[np.ndarray], compress: bool) -> int:
    """Writes a header for so many rows, then the chunks; returns how many rows they had."""
    info = zipfile.ZipInfo(MEMBER, _EPOCH)
    info.compress_type = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
    # Level 3 takes half the time of zlib's default for an eighth more bytes. With a time of its own a
    # member takes its level from here only; the name is an alias of the public one since Python 3.13.
    info._compresslevel = 3
    info.external_attr = 0o644 << 16
    # An extra field of padding aligns the rows, so that the mapped file is an aligned array. zipfile
    # itself puts a field of 20 bytes (zip64 sizes) in front of it.
    used = 30 + len(MEMBER) + 20 + 4
    padding = -used % _ALIGN
    info.extra = struct.pack("<HH", 0x5242, padding) + bytes(padding)
    with zipfile.ZipFile(file, "w") as archive, archive.open(info, "w", force_zip64=True) as member:
        header = np.lib.format.header_data_from_array_1_0(np.empty(0, event_dtype))
        np.lib.format.write_array_header_1_0(member, {**header, "shape": (rows,)})
        written = 0
        for chunk in chunks:
            events = np.ascontiguousarray(chunk, event_dtype)
            data = memoryview(events.view(np.uint8)) if len(events) else b""
            for first in range(0, len(data), _STEP):
                member.write(data[first : first + _STEP])
            written += len(events)
    return written


def _umask() -> int:
    """The process's umask, which only setting it reveals."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
