"""Batches on disk, between who makes rows and who stores them: numbered, whole, and there until stored.

A batch is the rows of one table and one day, in a file of its own: written beside, made durable, renamed. Its
number and its rows never change, so it is the same insert however often it is tried. Each file also says
which ids of each run and table lie before and in it (``place``), and ``stored.json`` says that of the last
one that was stored: whoever makes rows goes on from the newest of these after a restart, with nothing left
out and nothing made twice.

Costs: a file of about the rows' size and an fsync a batch. Bad case: the store is away, and files gather;
:meth:`Spool.has_room` says when market data may no longer be added, all else always may.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import threading
import zlib
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from engine.core.errors import StoreError
from engine.storage.columns import DTYPES, Columns, by_day, length, prepare
from engine.storage.schema import MAYBE_MONEY, MONEY, TABLES, TEXT, WORD, Table

STORED = "stored.json"
LOCK = "spool.lock"
_NAME = re.compile(r"batch-(\d{12})\.rows")
_MAGIC = b"BookRows"
_NEW = ".new"

Place = dict[str, dict[str, int]]
"""By run and table: the last id that is stored, waits, or is known to be missing."""


class _Head(msgspec.Struct, array_like=True):
    table: str
    number: int
    run_id: str
    rows: int
    place: Place
    columns: dict[str, Any]
    sizes: list[int]
    crc: int


class _Stored(msgspec.Struct):
    number: int
    place: Place


@dataclass(frozen=True)
class Batch:
    """Rows on their way.

    Attributes:
        number: Counts all batches of a spool.
        table: Where they go.
        run_id: Whose they are.
        columns: Prepared, of one day.
        place: How far all makers had come.
        path: The file.
    """

    number: int
    table: Table
    run_id: str
    columns: Columns
    place: Place
    path: Path

    @property
    def token(self) -> str:
        """Names the insert of these rows, whoever makes it."""
        ids = self.ids
        return f"{self.run_id}-{self.table.name}-{ids[0]}-{ids[-1]}-{len(ids)}"

    @property
    def ids(self) -> np.ndarray:
        """The rows' ids."""
        return self.columns["id"]


class Spool:
    """A directory of batches; one process has it, of which one thread adds and one takes.

    Args:
        directory: Where; made where it is missing.
        limit: Bytes beyond which market data are not added.

    Raises:
        StoreError: Another process has it, or the system refuses.
    """

    def __init__(self, directory: Path, *, limit: int = 1 << 32) -> None:
        self._dir, self._limit = directory, limit
        self._guard = threading.Condition()
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise StoreError(f"{directory}: another recorder has this spool") from None
        except OSError as error:
            raise StoreError(f"{directory}: {error.strerror}") from None
        self._find()

    def _find(self) -> None:
        """Takes stock: batches that are whole and not known to be stored, in order."""
        stored = _Stored(0, {})
        with contextlib.suppress(FileNotFoundError, msgspec.DecodeError):
            stored = msgspec.json.decode((self._dir / STORED).read_bytes(), type=_Stored)
        self._place = dict(stored.place)
        self._waiting: list[tuple[int, Path, int]] = []
        last = stored.number
        for path in sorted(self._dir.iterdir()):
            match = _NAME.fullmatch(path.name)
            if match is None:
                if path.name.endswith(_NEW):
                    path.unlink()
                continue
            number = int(match[1])
            head = _read_head(path) if number > stored.number else None
            # What a loss of power has cut is made again; so is what comes after it, in the same order.
            if head is None or number != last + 1:
                path.unlink()
                continue
            last = number
            self._place = head.place
            self._waiting.append((number, path, path.stat().st_size))
        self._number = last
        self._bytes = sum(size for _, _, size in self._waiting)

    def place(self, run_id: str) -> dict[str, int]:
        """How far the rows of a run had come with the last batch.

        Args:
            run_id: The run.

        Returns:
            The last id by table; a table that has none is missing.
        """
        return dict(self._place.get(run_id, {}))

    def forget(self, run_id: str) -> None:
        """No more rows of a run will come, and nobody will ask for its place.

        Args:
            run_id: The run.
        """
        self._place = {known: place for known, place in self._place.items() if known != run_id}

    @property
    def bytes(self) -> int:
        """Of all batches that wait."""
        return self._bytes

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def last_number(self) -> int:
        """Of the last batch that was added, whether it is stored or not."""
        return self._number

    @property
    def stored_number(self) -> int:
        """Of the last batch that is stored, as all before it are."""
        with self._guard:
            return self._waiting[0][0] - 1 if self._waiting else self._number

    def has_room(self) -> bool:
        """Whether market data may be added."""
        return self._bytes < self._limit

    def add(self, table: str, run_id: str, columns: Columns, also: dict[str, int] | None = None) -> int:
        """Adds rows: they survive the loss of this process and of power from here on.

        Args:
            table: Where they go.
            run_id: Whose they are.
            columns: Of :func:`engine.storage.columns.prepare`; neither ids nor times go down.
            also: What else its place is from here on, by table.

        Returns:
            Batches made: one a day.

        Raises:
            OSError: The system refuses; rows of earlier days may have been added, as :meth:`place` says.
        """
        parts = list(by_day(columns))
        for index, (_, part) in enumerate(parts):
            more = {table: int(part["id"][-1])}
            if also and index == len(parts) - 1:
                more |= also
            self._add(table, run_id, part, self._place | {run_id: self._place.get(run_id, {}) | more})
        return len(parts)

    def _add(self, table: str, run_id: str, columns: Columns, place: Place) -> None:
        number = self._number + 1
        path = self._dir / f"batch-{number:012}.rows"
        data = _encode(_Head(table, number, run_id, length(columns), place, {}, [], 0), columns)
        _write_durably(path, data)
        with self._guard:
            self._number, self._place = number, place
            self._waiting.append((number, path, sum(map(len, data))))
            self._bytes += self._waiting[-1][2]
            self._guard.notify_all()

    def first(self, timeout: float = 0.0) -> Batch | None:
        """The batch that has waited longest; None if there is none within some seconds.

        Args:
            timeout: Seconds to wait for one.

        Raises:
            StoreError: The file is not what was written.
        """
        with self._guard:
            if not self._waiting:
                self._guard.wait(timeout)
            if not self._waiting:
                return None
            number, path, _ = self._waiting[0]
        return _read(path, number)

    def stored(self, batch: Batch) -> None:
        """The first batch is in the store: it is forgotten.

        Args:
            batch: Of :meth:`first`.
        """
        state = msgspec.json.encode(_Stored(batch.number, batch.place))
        draft = self._dir / (STORED + _NEW)
        draft.write_bytes(state)
        draft.replace(self._dir / STORED)
        batch.path.unlink(missing_ok=True)
        with self._guard:
            self._bytes -= self._waiting.pop(0)[2]
            self._guard.notify_all()

    def wait_empty(self, timeout: float) -> bool:
        """Waits until everything is stored.

        Args:
            timeout: Seconds.

        Returns:
            Whether it is.
        """
        with self._guard:
            return self._guard.wait_for(lambda: not self._waiting, timeout)

    def close(self) -> None:
        """Gives the directory back."""
        os.close(self._lock)


def _write_durably(path: Path, data: list[bytes]) -> None:
    draft = path.with_name(path.name + _NEW)
    try:
        with open(draft, "wb", buffering=0) as file:
            for piece in data:
                view = memoryview(piece)
                while len(view):
                    view = view[file.write(view) :]
            os.fsync(file.fileno())
        draft.replace(path)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
        raise


# --- one batch as bytes: magic, length and CRC of the head, head (msgpack), columns one after another ------


def _encode(head: _Head, columns: Columns) -> list[bytes]:
    pieces: list[bytes] = []
    crc = 0
    for name, kind in TABLES[head.table].kinds.items():
        column = columns[name]
        if column.ndim == 0:
            head.columns[name] = column.item()
            continue
        if kind in (WORD, TEXT):
            words: dict[str, int] = {}
            codes = [words.setdefault(text, len(words)) for text in column.tolist()]
            head.columns[name] = list(words)
            piece = np.array(codes, np.uint32).tobytes()
        elif kind in (MONEY, MAYBE_MONEY):
            piece = ",".join("" if item is None else str(item) for item in column.tolist()).encode()
        else:
            piece = column.tobytes()
        # So that each column is aligned where the file is read in one piece.
        piece += bytes(-len(piece) % 8)
        head.sizes.append(len(piece))
        crc = zlib.crc32(piece, crc)
        pieces.append(piece)
    head.crc = crc
    packed = msgspec.msgpack.encode(head)
    start = _MAGIC + len(packed).to_bytes(4, "little") + zlib.crc32(packed).to_bytes(4, "little")
    return [start, packed, *pieces]


def _read_head(path: Path) -> _Head | None:
    """A batch's head, None if the file is not whole."""
    with open(path, "rb") as file:
        return _head_of(file, path.stat().st_size)


def _head_of(file: Any, size: int) -> _Head | None:
    start = file.read(16)
    if len(start) < 16 or start[:8] != _MAGIC:
        return None
    packed = file.read(int.from_bytes(start[8:12], "little"))
    if zlib.crc32(packed) != int.from_bytes(start[12:16], "little"):
        return None
    try:
        head = msgspec.msgpack.decode(packed, type=_Head)
    except msgspec.DecodeError:
        return None
    return head if size == 16 + len(packed) + sum(head.sizes) else None


def _read(path: Path, number: int) -> Batch:
    with open(path, "rb") as file:
        head = _head_of(file, path.stat().st_size)
        rest = file.read()
    if head is None or zlib.crc32(rest) != head.crc:
        raise StoreError(f"{path}: not what was written there: the disk has changed it")
    table = TABLES[head.table]
    columns: Columns = {}
    sizes, at = iter(head.sizes), 0
    for name, kind in table.kinds.items():
        known = head.columns.get(name)
        if name in head.columns and not isinstance(known, list):
            columns[name] = np.array(known, dtype=object)
            continue
        size = next(sizes, None)
        if size is None:
            # Written by an earlier Ringbook: columns are only ever added at a table's end.
            continue
        piece = memoryview(rest)[at : at + size]
        at += size
        columns[name] = _decode(kind, known, piece, head.rows)
    if len(columns) < len(table.kinds):
        columns = prepare(table, {"id": columns["id"]}) | columns
    return Batch(number, table, head.run_id, columns, head.place, path)


def _decode(kind: str, words: list[str] | None, piece: memoryview, rows: int) -> np.ndarray:
    if words is not None:
        names = np.empty(len(words), dtype=object)
        names[:] = words
        return names[np.frombuffer(piece, np.uint32, rows)]
    if kind in (MONEY, MAYBE_MONEY):
        items = bytes(piece).rstrip(b"\0").decode().split(",")
        made = np.empty(len(items), dtype=object)
        made[:] = [Decimal(item) if item else None for item in items]
        return made
    return np.frombuffer(piece, DTYPES[kind], rows)
