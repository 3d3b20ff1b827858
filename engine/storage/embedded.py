"""ClickHouse within this process (chdb): the same SQL on a directory, without a server.

The engine has a directory for itself, so processes take turns: whoever waits holds ``ringbook.turn``,
whoever has the directory open holds ``ringbook.lock``. A store that holds on (a recorder) looks whether
somebody waits and then lets go; all others let go after each statement. Opening takes some tens of
milliseconds.
"""

from __future__ import annotations

import fcntl
import importlib.util
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from engine.core.errors import StoreError, StoreUnavailable
from engine.storage.base import DATABASE, Result, Store
from engine.storage.columns import Columns, filled, length
from engine.storage.schema import MAYBE_MONEY, MONEY, MONEY_DIGITS, TEXT, TIME, WORD, Table, dialect
from engine.storage.statements import make_tables

WAIT_S = 30.0
"""How long a process waits for its turn."""
POLL_S = 0.005
_EXTRA = "an embedded store needs the extra: pip install 'ringbook[embedded]'"

T = TypeVar("T")

_guard = threading.RLock()
"""The engine is one a process, whatever the directory and the thread."""
_open: EmbeddedStore | None = None
"""Whose directory it has open."""


class EmbeddedStore(Store):
    """A directory with ClickHouse's own files.

    Args:
        directory: Where; made where it is missing.
        hold: As for :func:`engine.storage.store.open_store`.

    Raises:
        StoreError: The extra is not installed.
        StoreUnavailable: Another process has it.
    """

    def __init__(self, directory: Path, *, hold: bool = False) -> None:
        if importlib.util.find_spec("chdb") is None:
            raise StoreError(_EXTRA)
        self.url = f"chdb://{directory}"
        self.database = DATABASE
        self._dir, self._hold = directory, hold
        self._session: Any = None
        self._locks: list[int] = []
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"{directory}: {error.strerror}") from None
        self.dialect = dialect((99, 1))
        text = str(self.query("SELECT version()").scalar())
        year, month = text.split(".")[:2]
        self.dialect = dialect((int(year), int(month)))

    def create(self, *, ttl_days: int = 0) -> None:
        """Makes the tables and views that are missing, see the base class."""
        with _guard:
            hold, self._hold = self._hold, True
            try:
                make_tables(self, ttl_days)
            finally:
                self._hold = hold
                self._release_unless_held()

    def insert_prepared(self, table: Table, columns: Columns, *, token: str = "") -> None:
        """Adds rows of one day, see the base class; the engine knows a repetition by its token."""
        import pyarrow

        rows = length(columns)
        arrays = {name: _arrow(pyarrow, kind, columns[name], rows) for name, kind in table.kinds.items()}
        given = pyarrow.table(arrays)
        taken = ", ".join(
            f"fromUnixTimestamp64Nano({name}, 'UTC')" if kind == TIME else name
            for name, kind in table.kinds.items()
        )
        # One thread: the processor's other cores are for the trading.
        settings = "max_threads = 1, max_insert_block_size = 1048576, min_insert_block_size_rows = 1048576"
        if token:
            settings += f", insert_deduplication_token = '{token}'"
        into = f"INSERT INTO {DATABASE}.{table.name} ({', '.join(arrays)}) SETTINGS {settings}"

        def insert(session: Any) -> None:
            rows_given = given  # the engine looks for the name among our variables
            session.query(f"{into} SELECT {taken} FROM Python(rows_given)")
            del rows_given

        self._do(insert)

    def query(self, sql: str) -> Result:
        """Runs a statement, see the base class."""
        import pyarrow

        data = self._do(lambda session: session.query(sql, "Arrow").bytes())
        if not data:
            return Result([], [], [])
        table = pyarrow.ipc.open_file(pyarrow.BufferReader(data)).read_all()
        return Result(
            list(table.column_names),
            [str(kind) for kind in table.schema.types],
            [_array(pyarrow, column) for column in table.columns],
        )

    def settle(self, token: str) -> None:
        """An insert of this process has ended with its call, one of another with its turn."""

    def idle(self) -> None:
        """Lets another process in, if one waits."""
        with _guard:
            if self._session is not None and self._somebody_waits():
                self._let_go()

    def close(self) -> None:
        """Gives the directory back."""
        with _guard:
            self._let_go()

    # --- taking turns ---------------------------------------------------------------------------

    def _do(self, call: Callable[[Any], T]) -> T:
        with _guard:
            if self._session is not None and self._hold and self._somebody_waits():
                self._let_go()
            session = self._opened()
            try:
                return call(session)
            except RuntimeError as error:
                self._let_go()
                raise StoreError(f"{self.url}: {_first_line(str(error))}") from None
            except BaseException:
                self._let_go()
                raise
            finally:
                self._release_unless_held()

    def _release_unless_held(self) -> None:
        if not self._hold:
            self._let_go()

    def _opened(self) -> Any:
        global _open
        if self._session is not None:
            return self._session
        if _open is not None:
            _open._let_go()
        self._locks = [self._file("ringbook.turn")]
        try:
            deadline = time.monotonic() + WAIT_S
            self._lock(self._locks[0], deadline)
            self._locks.append(self._file("ringbook.lock"))
            self._lock(self._locks[1], deadline)
            os.close(self._locks.pop(0))
            from chdb.session import Session

            try:
                self._session = Session(str(self._dir))
                self._session.query(f"CREATE DATABASE IF NOT EXISTS {DATABASE}")
                self._session.query(f"USE {DATABASE}")
            except RuntimeError as error:
                text = _first_line(str(error))
                raise StoreUnavailable(f"{self.url}: cannot be opened: {text}") from None
            _open = self
            return self._session
        except BaseException:
            self._let_go()
            raise

    def _file(self, name: str) -> int:
        try:
            return os.open(self._dir / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreUnavailable(f"{self._dir / name}: {error.strerror}") from None

    def _lock(self, fd: int, deadline: float) -> None:
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise StoreUnavailable(f"{self.url}: another process has it open") from None
            time.sleep(POLL_S)

    def _somebody_waits(self) -> bool:
        fd = self._file("ringbook.turn")
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return False
        except BlockingIOError:
            return True
        finally:
            os.close(fd)

    def _let_go(self) -> None:
        global _open
        if self._session is not None:
            self._session.close()
            self._session = None
        if _open is self:
            _open = None
        while self._locks:
            os.close(self._locks.pop())


def _first_line(text: str) -> str:
    return " ".join(text.split("Stack trace:")[0].split()).rstrip(". ")


def _arrow(pyarrow: Any, kind: str, column: np.ndarray, rows: int) -> Any:
    if kind in (MONEY, MAYBE_MONEY):
        return pyarrow.array(column, pyarrow.decimal128(38, MONEY_DIGITS))
    if kind in (WORD, TEXT):
        if column.ndim == 0:
            codes = pyarrow.array(np.zeros(rows, np.int32))
            return pyarrow.DictionaryArray.from_arrays(codes, pyarrow.array([column.item()]))
        made = pyarrow.array(filled(column, rows), pyarrow.string())
        return made.dictionary_encode() if kind == WORD else made
    return pyarrow.array(column)


def _array(pyarrow: Any, column: Any) -> np.ndarray:
    kind = column.type
    if pyarrow.types.is_timestamp(kind) and column.null_count == 0:
        return column.cast(pyarrow.timestamp("ns")).to_numpy()
    if (pyarrow.types.is_integer(kind) or pyarrow.types.is_floating(kind)) and column.null_count == 0:
        return column.to_numpy()
    made = np.empty(len(column), dtype=object)
    made[:] = column.to_pylist()
    return made
