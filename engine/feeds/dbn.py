"""Databento's binary encoding, DBN, as far as market by order goes: its header, and records as arrays.

A file is a header with the symbols, then records that begin with their own length; those of the schema
``mbo`` have 56 bytes. Files come compressed with zstd, for which the extra ``databento`` brings the module.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from engine.core.errors import ConfigError, DataError

BLOCK = 1 << 18
"""Bytes of the file read at a time."""

RECORD = np.dtype(
    [
        ("length", "u1"),
        ("rtype", "u1"),
        ("publisher_id", "<u2"),
        ("instrument_id", "<u4"),
        ("ts_event", "<u8"),
        ("order_id", "<u8"),
        ("price", "<i8"),
        ("size", "<u4"),
        ("flags", "u1"),
        ("channel_id", "u1"),
        ("action", "u1"),
        ("side", "u1"),
        ("ts_recv", "<u8"),
        ("ts_in_delta", "<i4"),
        ("sequence", "<u4"),
    ]
)
"""One record of the schema ``mbo``; the same in all versions of DBN."""

RTYPE_MBO = 0xA0

_ZSTD = b"\x28\xb5\x2f\xfd"
_MAGIC = b"DBN"
_LENGTH_UNIT = 4
_SHORTEST = 16
"""Bytes of what every record begins with."""


class Header(NamedTuple):
    """What stands before the records.

    Attributes:
        version: Of the format, 1 to 3.
        symbols: The raw symbol of each instrument id.
    """

    version: int
    symbols: dict[int, str]


def is_databento(path: str | Path) -> bool:
    """Whether a file begins as a DBN file does, compressed or not; false for one that cannot be read."""
    try:
        with open(path, "rb") as file:
            start = file.read(BLOCK)
    except OSError:
        return False
    if not start.startswith(_ZSTD):
        return start.startswith(_MAGIC)
    try:
        return next(_decompressed(iter([start]), str(path)), b"").startswith(_MAGIC)
    except ConfigError:
        if ".dbn" in Path(path).suffixes:
            raise
        return False
    except DataError:
        return False


def _decompressed(blocks: Iterator[bytes], name: str) -> Iterator[bytes]:
    """What zstd frames, one after the other, hold."""
    try:
        import zstandard
    except ImportError:
        raise ConfigError(f"{name}: zstd needs the extra: pip install 'ringbook[databento]'") from None
    frame = zstandard.ZstdDecompressor().decompressobj()
    fresh = True
    for block in blocks:
        pending = block
        while pending:
            if frame.eof:
                frame, fresh = zstandard.ZstdDecompressor().decompressobj(), True
            try:
                text = frame.decompress(pending)
            except zstandard.ZstdError as error:
                raise DataError(f"corrupt zstd data: {error}", file=name) from None
            fresh = False
            pending = frame.unused_data if frame.eof else b""
            if text:
                yield text
    if not fresh and not frame.eof:
        raise DataError("truncated: the zstd data end too early", file=name)


class Reader:
    """A DBN file, read block by block.

    Args:
        path: The file, compressed with zstd or not.
        progress: Called with the number of bytes of the file read since the last call.
    """

    def __init__(self, path: str | Path, progress: Callable[[int], None] | None = None) -> None:
        self._name = str(path)
        self._progress = progress
        self._blocks = self._open(path)
        self._rest = b""
        self._header: Header | None = None
        self._at = 0

    def _open(self, path: str | Path) -> Iterator[bytes]:
        try:
            with open(path, "rb") as file:
                start = file.read(len(_ZSTD))
                file.seek(0, os.SEEK_SET)
                raw = self._raw(file)
                yield from _decompressed(raw, self._name) if start == _ZSTD else raw
        except OSError as error:
            raise DataError(error.strerror or str(error), file=self._name) from None

    def _raw(self, file) -> Iterator[bytes]:
        while block := file.read(BLOCK):
            if self._progress is not None:
                self._progress(len(block))
            yield block

    def _take(self, n: int) -> bytes:
        """The next ``n`` bytes."""
        while len(self._rest) < n:
            block = next(self._blocks, None)
            if block is None:
                raise DataError(f"truncated: {n} bytes expected", file=self._name, byte=self._at)
            self._rest += block
        taken, self._rest = self._rest[:n], self._rest[n:]
        self._at += n
        return taken

    def header(self) -> Header:
        """The file's header; DataError if it is none or of another schema."""
        if self._header is None:
            start = self._take(8)
            if not start.startswith(_MAGIC):
                raise DataError("not a DBN file", file=self._name)
            length = int.from_bytes(start[4:8], "little")
            if not 100 <= length < 1 << 28:
                raise DataError(f"a header of {length} bytes", file=self._name, byte=4)
            try:
                self._header = _parse_header(start[3], self._take(length))
            except (ValueError, IndexError) as error:
                raise DataError(f"a header that cannot be read: {error}", file=self._name) from None
        return self._header

    def records(self) -> Iterator[np.ndarray]:
        """The ``mbo`` records behind the header, in arrays of ``RECORD``."""
        self.header()
        rest = self._rest
        for block in self._blocks:
            rest, found = self._split(rest + block)
            yield found
        rest, found = self._split(rest)
        yield found
        if rest:
            raise DataError("truncated: the last record is cut short", file=self._name, byte=self._at)

    def _split(self, data: bytes) -> tuple[bytes, np.ndarray]:
        """The bytes of a record cut short, and the records before it."""
        octets = np.frombuffer(data, np.uint8)
        stride = int(octets[0]) * _LENGTH_UNIT if len(octets) else 0
        if stride >= RECORD.itemsize and (octets[::stride] == octets[0]).all():
            whole = len(octets) // stride
            end = whole * stride
            records = octets[:end].reshape(whole, stride)[:, : RECORD.itemsize]
        else:
            starts, end = self._walk(data)
            records = octets[starts[:, None] + np.arange(RECORD.itemsize)]
        self._at += end
        found = np.ascontiguousarray(records).view(RECORD).reshape(-1)
        return data[end:], found[found["rtype"] == RTYPE_MBO]

    def _walk(self, data: bytes) -> tuple[np.ndarray, int]:
        """Where the ``mbo`` records of a mixture begin, and where the last whole record ends."""
        starts, at = [], 0
        while at < len(data):
            length = data[at] * _LENGTH_UNIT
            if length < _SHORTEST:
                raise DataError(f"a record of {length} bytes", file=self._name, byte=self._at + at)
            if at + length > len(data):
                break
            if data[at + 1] == RTYPE_MBO and length >= RECORD.itemsize:
                starts.append(at)
            at += length
        return np.array(starts, np.int64), at


def _parse_header(version: int, header: bytes) -> Header:
    """Takes a header apart; ValueError says what is wrong with it."""
    if not 1 <= version <= 3:
        raise ValueError(f"version {version} of DBN")
    schema = int.from_bytes(header[16:18], "little")
    if schema not in (0, 0xFFFF):
        raise ValueError(f"schema {schema} instead of mbo")
    # Version 1 has a count of records before the symbology and symbols of 22 bytes.
    symbol_length = 22 if version == 1 else int.from_bytes(header[45:47], "little")
    at = 104

    def number() -> int:
        nonlocal at
        if at + 4 > len(header):
            raise ValueError("too short")
        at += 4
        return int.from_bytes(header[at - 4 : at], "little")

    def text() -> str:
        nonlocal at
        if at + symbol_length > len(header):
            raise ValueError("too short")
        at += symbol_length
        return header[at - symbol_length : at].split(b"\0", 1)[0].decode("ascii")

    for _ in range(3):
        for _ in range(number()):
            text()
    symbols = {}
    for _ in range(number()):
        raw = text()
        for _ in range(number()):
            number(), number()
            instrument = text()
            if instrument.isdecimal():
                symbols[int(instrument)] = raw
    return Header(version, symbols)
