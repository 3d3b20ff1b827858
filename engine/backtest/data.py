"""Recordings of events: npz and npy files to validated event arrays, memory-mapped where that can be done.

Rows are counted from 0, as NumPy does.
"""

from __future__ import annotations

import os
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from engine.backtest.checks import FAULTS, first_fault
from engine.core.errors import DataError
from engine.core.types import event_dtype

KEY = "data"
"""The array's name in an npz file, as hftbacktest has it."""

_MEMBER = f"{KEY}.npy"
_REQUIRED = ("ev", "exch_ts", "local_ts", "px", "qty")
_ALIGN = 64
_ROW_ALIGN = 8
_STEP = 4 << 20
_EPOCH = (1980, 1, 1, 0, 0, 0)


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
        rows: Rows in a chunk; the last may have fewer.

    Yields:
        Consecutive slices of the recording.

    Raises:
        DataError: As :func:`load_events`, when the faulty chunk is reached.
    """
    name = None if isinstance(source, np.ndarray) else str(source)
    events = as_events(source if isinstance(source, np.ndarray) else read_array(source), name)
    clocks = None
    for first in range(0, len(events), rows):
        chunk = events[first : first + rows]
        clocks = _check(chunk, name, first, clocks)
        yield chunk


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


def as_events(array: np.ndarray, name: str | None = None) -> np.ndarray:
    """Gives an array the layout of ``event_dtype``, copying only if it has another.

    Args:
        array: Structured array that has at least the fields ev, exch_ts, local_ts, px and qty.
        name: What errors name as the file.

    Raises:
        DataError: Wrong shape or dtype; the message names the field.
    """
    if array.ndim != 1:
        raise DataError(f"an array of shape {array.shape}; events have one dimension", file=name)
    if array.dtype == event_dtype and array.flags.c_contiguous and array.ctypes.data % _ROW_ALIGN == 0:
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
            _refuse_overflow(array[field], name, field)
        events[field] = array[field]
    return events


def _refuse_overflow(column: np.ndarray, name: str | None, field: str) -> None:
    """Refuses what changes its value between signed and unsigned 64 bits."""
    wrong = np.flatnonzero(column < 0 if column.dtype.kind == "i" else column > np.uint64(2**63 - 1))
    if wrong.size:
        raise DataError(f"{column[wrong[0]]} is out of range", file=name, row=int(wrong[0]), field=field)


# --- files ---------------------------------------------------------------------------------------


def read_array(path: str | Path) -> np.ndarray:
    """Reads or maps the array of a recording, whatever its dtype.

    Args:
        path: An ``.npz`` or ``.npy`` file; its first bytes tell which.

    Raises:
        DataError: The file is missing, truncated, corrupt or neither npz nor npy.
    """
    name = str(path)
    try:
        with open(path, "rb") as file:
            magic = file.read(6)
        if magic[:2] == b"PK":
            return _read_npz(path)
        if magic == b"\x93NUMPY":
            return _map_npy(path, 0, os.path.getsize(path))
    except zipfile.BadZipFile as error:
        raise DataError(
            f"truncated or corrupt: {str(error)[:1].lower()}{str(error)[1:]}", file=name
        ) from None
    except OSError as error:
        raise DataError(error.strerror or str(error), file=name) from None
    except (
        zlib.error,
        EOFError,
        struct.error,
        ValueError,
        NotImplementedError,
        RuntimeError,
        MemoryError,
    ) as error:
        raise DataError(f"truncated or corrupt: {error}", file=name) from None
    raise DataError("neither an npz nor an npy file", file=name)


def _read_npz(path: str | Path) -> np.ndarray:
    with zipfile.ZipFile(path) as archive:
        if _MEMBER not in archive.namelist():
            found = ", ".join(archive.namelist()) or "nothing"
            raise DataError(f"no array {KEY!r} in it, only {found}", file=str(path))
        info = archive.getinfo(_MEMBER)
        if info.compress_type == zipfile.ZIP_STORED and not info.flag_bits & 1:
            return _map_npy(path, _payload_offset(path, info), info.file_size)
        with archive.open(info) as member:
            rows, dtype = _header(member, str(path))
            _require(info.file_size - member.tell(), rows, dtype, str(path))
            array = np.empty(rows, dtype)
            have, into = 0, memoryview(array.view(np.uint8)) if rows else memoryview(b"")
            while have < len(into) and (read := member.readinto(into[have : have + _STEP])):
                have += read
            _require(have, rows, dtype, str(path))
            # Reading to the end is what makes zipfile check the sum.
            member.read()
            return array


def _payload_offset(path: str | Path, info: zipfile.ZipInfo) -> int:
    """Where a member's bytes begin: behind its local header, whose extra field has its own length."""
    with open(path, "rb") as file:
        file.seek(info.header_offset)
        header = file.read(30)
    if len(header) < 30 or header[:4] != b"PK\x03\x04":
        raise zipfile.BadZipFile("bad magic number for the file header")
    name_length, extra_length = struct.unpack("<HH", header[26:30])
    return info.header_offset + 30 + name_length + extra_length


def _map_npy(path: str | Path, offset: int, size: int) -> np.ndarray:
    with open(path, "rb") as file:
        file.seek(offset)
        rows, dtype = _header(file, str(path))
        begin = file.tell()
    _require(min(offset + size, os.path.getsize(path)) - begin, rows, dtype, str(path))
    if rows == 0:
        return np.empty(0, dtype)
    if begin % _ROW_ALIGN:
        return np.fromfile(path, dtype, rows, offset=begin)
    return np.memmap(path, dtype, "r", begin, rows).view(np.ndarray)


def _header(file: BinaryIO, name: str) -> tuple[int, np.dtype]:
    """Reads the header of an npy: the number of rows and their dtype."""
    try:
        if np.lib.format.read_magic(file) == (1, 0):
            shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
        else:
            shape, fortran, dtype = np.lib.format.read_array_header_2_0(file)
    except (OSError, zipfile.BadZipFile, zlib.error):
        raise
    except Exception as error:
        # NumPy evaluates the header as Python, so a corrupt one raises what Python's parser does.
        raise DataError(f"truncated or corrupt npy header: {error}", file=name) from None
    if dtype.hasobject or dtype.itemsize == 0 or (fortran and len(shape) > 1) or len(shape) != 1:
        raise DataError(f"an array of {dtype} and shape {shape}, not of events", file=name)
    if shape[0] < 0:
        raise DataError(f"corrupt npy header: {shape[0]} rows", file=name)
    return shape[0], dtype


def _require(have: int, rows: int, dtype: np.dtype, name: str) -> None:
    need = rows * dtype.itemsize
    if have < need:
        raise DataError(
            f"truncated: {have} of {need} bytes of rows", file=name, row=max(have, 0) // dtype.itemsize
        )


def save_events(path: str | Path, events: np.ndarray, *, compress: bool = False) -> None:
    """Writes a recording that hftbacktest reads too, whole or not at all; same events, same bytes.

    Args:
        path: The ``.npz`` file; one that exists is replaced.
        events: ``event_dtype`` array.
        compress: Deflate it. Uncompressed (the default) it can be mapped instead of read.

    Raises:
        DataError: The file cannot be written.
    """
    path = Path(path)
    temporary = None
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        with os.fdopen(handle, "wb") as file:
            _write_npz(file, np.ascontiguousarray(events, event_dtype), compress)
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


def _write_npz(file: BinaryIO, events: np.ndarray, compress: bool) -> None:
    info = zipfile.ZipInfo(_MEMBER, _EPOCH)
    info.compress_type = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
    # Level 3 takes half the time of zlib's default for an eighth more bytes. With a time of its own a
    # member takes its level from here only; the name is an alias of the public one since Python 3.13.
    info._compresslevel = 3
    info.external_attr = 0o644 << 16
    # An extra field of padding aligns the rows, so that the mapped file is an aligned array. zipfile
    # itself puts a field of 20 bytes (zip64 sizes) in front of it.
    used = 30 + len(_MEMBER) + 20 + 4
    padding = -used % _ALIGN
    info.extra = struct.pack("<HH", 0x5242, padding) + bytes(padding)
    with zipfile.ZipFile(file, "w") as archive, archive.open(info, "w", force_zip64=True) as member:
        np.lib.format.write_array_header_1_0(member, np.lib.format.header_data_from_array_1_0(events))
        rows = memoryview(events.view(np.uint8)) if len(events) else b""
        for first in range(0, len(rows), _STEP):
            member.write(rows[first : first + _STEP])


def _umask() -> int:
    """The process's umask, which only setting it reveals."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
