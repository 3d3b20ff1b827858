"""Arrays in npz and npy files, whole or in chunks: mapped, or read ahead where they are compressed.

A chunk is a window of its own onto the file, or a buffer of its own, and goes when nobody holds it any more:
whoever lets go of chunks needs the same memory for a file of any size.
"""

from __future__ import annotations

import mmap
import os
import struct
import zipfile
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np

from engine.core.errors import DataError

KEY = "data"
"""The array's name in an npz file, as hftbacktest has it."""

MEMBER = f"{KEY}.npy"

CHUNK_ROWS = 1 << 16
"""Rows in a chunk; 4 MiB of events, which is a few milliseconds of a backtest and of unpacking."""

UNPACKED_ROWS = 1 << 14
"""Rows in a chunk of a compressed file at most; 1 MiB stays in a near cache on its way between threads."""

_ROW_ALIGN = 8
_STEP = 4 << 20
_MAP_FLAGS = mmap.MAP_PRIVATE | getattr(mmap, "MAP_POPULATE", 0)


@contextmanager
def _named_faults(name: str) -> Iterator[None]:
    """Turns what reading a damaged file raises into DataError."""
    try:
        yield
    except zipfile.BadZipFile as error:
        text = f"{str(error)[:1].lower()}{str(error)[1:]}"
        raise DataError(f"truncated or corrupt: {text}", file=name) from None
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


class ArrayFile:
    """The array of a recording, whatever its dtype: looked at, not read.

    Args:
        path: An ``.npz`` or ``.npy`` file; its first bytes tell which.
        name: What errors name as the file; the path by default.

    Attributes:
        name: What errors name as the file.
        rows: How many there are.
        dtype: Of a row.

    Raises:
        DataError: The file is missing, truncated, corrupt or neither npz nor npy.
    """

    def __init__(self, path: str | Path, name: str | None = None) -> None:
        self.name = str(path) if name is None else name
        self.rows, self.dtype = 0, np.dtype("V1")
        self._path = path
        self._begin: int | None = None
        with _named_faults(self.name):
            with open(path, "rb") as file:
                magic = file.read(6)
            if magic[:2] == b"PK":
                self._look_into_npz()
            elif magic == b"\x93NUMPY":
                self._look_at_npy(0, os.path.getsize(path))
            else:
                raise DataError("neither an npz nor an npy file", file=self.name)

    def _look_into_npz(self) -> None:
        with zipfile.ZipFile(self._path) as archive:
            if MEMBER not in archive.namelist():
                found = ", ".join(archive.namelist()) or "nothing"
                raise DataError(f"no array {KEY!r} in it, only {found}", file=self.name)
            info = archive.getinfo(MEMBER)
            if info.compress_type == zipfile.ZIP_STORED and not info.flag_bits & 1:
                self._look_at_npy(_payload_offset(self._path, info), info.file_size)
                return
            with archive.open(info) as member:
                self.rows, self.dtype = _header(member, self.name)
                self._require(info.file_size - member.tell())

    def _look_at_npy(self, offset: int, size: int) -> None:
        with open(self._path, "rb") as file:
            file.seek(offset)
            self.rows, self.dtype = _header(file, self.name)
            self._begin = file.tell()
        self._require(min(offset + size, os.path.getsize(self._path)) - self._begin)

    def _require(self, have: int) -> None:
        need = self.rows * self.dtype.itemsize
        if have < need:
            row = max(have, 0) // self.dtype.itemsize
            raise DataError(f"truncated: {have} of {need} bytes of rows", file=self.name, row=row)

    def read(self) -> np.ndarray:
        """The whole array: a read-only map of the file, unless it is compressed.

        Raises:
            DataError: The rows are truncated or corrupt.
        """
        with _named_faults(self.name):
            if self.rows and self._begin is not None and self._begin % _ROW_ALIGN == 0:
                return np.memmap(self._path, self.dtype, "r", self._begin, self.rows).view(np.ndarray)
            chunks = list((self._unpacked if self._begin is None else self._windows)(max(self.rows, 1)))
        return chunks[0] if chunks else np.empty(0, self.dtype)

    def chunks(self, rows: int = CHUNK_ROWS) -> Iterator[np.ndarray]:
        """The array in parts.

        Args:
            rows: Rows in a part at most; only the last has fewer, unless the file is compressed.

        Yields:
            Arrays of shape ``(n,)`` in order, read-only where they are maps.

        Raises:
            DataError: The rows are truncated or corrupt, when that place is reached.
        """
        with _named_faults(self.name):
            if self._begin is not None:
                yield from self._windows(rows)
            else:
                yield from self._unpacked(min(rows, UNPACKED_ROWS))

    def _windows(self, rows: int) -> Iterator[np.ndarray]:
        size = self.dtype.itemsize
        with open(self._path, "rb") as file:
            # It may have changed since it was looked at, and a map beyond its end ends the process.
            self._require(os.fstat(file.fileno()).st_size - self._begin)
            for first in range(0, self.rows, rows):
                n = min(rows, self.rows - first)
                begin = self._begin + first * size
                if hasattr(os, "posix_fadvise"):
                    os.posix_fadvise(file.fileno(), begin + n * size, rows * size, os.POSIX_FADV_WILLNEED)
                if begin % _ROW_ALIGN:
                    yield np.fromfile(self._path, self.dtype, n, offset=begin)
                else:
                    yield _window(file.fileno(), self.dtype, begin, n)

    def _unpacked(self, rows: int) -> Iterator[np.ndarray]:
        """Unpacks the next part in a thread while the one before it is used."""
        with (
            zipfile.ZipFile(self._path) as archive,
            archive.open(MEMBER) as member,
            ThreadPoolExecutor(1, "unpack") as ahead,
        ):
            _header(member, self.name)
            following = ahead.submit(self._fill, member, 0, min(rows, self.rows))
            for first in range(rows, self.rows + rows, rows):
                chunk = following.result()
                following = ahead.submit(self._fill, member, first, min(rows, self.rows - first))
                if len(chunk):
                    yield chunk
            following.result()

    def _fill(self, member: BinaryIO, first: int, n: int) -> np.ndarray:
        """Reads ``n`` rows from row ``first`` on; without any, what is behind them, which checks the sum."""
        if n <= 0:
            while member.read(_STEP):
                pass
            return np.empty(0, self.dtype)
        array = np.empty(n, self.dtype)
        have, into = 0, memoryview(array.view(np.uint8))
        while have < len(into) and (read := member.readinto(into[have : have + _STEP])):
            have += read
        if have < len(into):
            self._require(first * self.dtype.itemsize + have)
        return array


def read_array(path: str | Path) -> np.ndarray:
    """Reads or maps the array of a recording, whatever its dtype.

    Args:
        path: An ``.npz`` or ``.npy`` file; its first bytes tell which.

    Raises:
        DataError: The file is missing, truncated, corrupt or neither npz nor npy.
    """
    return ArrayFile(path).read()


def _window(file: int, dtype: np.dtype, begin: int, n: int) -> np.ndarray:
    """Maps rows of a file; the map goes with the array."""
    slack = begin % mmap.ALLOCATIONGRANULARITY
    length = slack + n * dtype.itemsize
    window = mmap.mmap(file, length, _MAP_FLAGS, mmap.PROT_READ, offset=begin - slack)
    return np.frombuffer(window, dtype, n, slack)


def _payload_offset(path: str | Path, info: zipfile.ZipInfo) -> int:
    """Where a member's bytes begin: behind its local header, whose extra field has its own length."""
    with open(path, "rb") as file:
        file.seek(info.header_offset)
        header = file.read(30)
    if len(header) < 30 or header[:4] != b"PK\x03\x04":
        raise zipfile.BadZipFile("bad magic number for the file header")
    name_length, extra_length = struct.unpack("<HH", header[26:30])
    return info.header_offset + 30 + name_length + extra_length


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
