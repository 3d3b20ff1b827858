"""A ClickHouse server over its native protocol: one client a thread, dropped after any error.

An insert's token is its query id, of which a server runs one at a time. A server names the columns that it
wants only once it runs the statement, and a client sends no row before that: rows that somebody has sent
therefore belong to a statement that is listed as running until they are stored or thrown away. That is what
makes :meth:`ServerStore.settle` a proof, and what an answer that came too late is settled by.
"""

from __future__ import annotations

import importlib.util
import logging
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from engine.core.errors import StoreError, StoreUnavailable
from engine.storage.base import Result, Store, quote
from engine.storage.columns import Columns, filled, length
from engine.storage.schema import TIME, Dialect, Table, dialect
from engine.storage.statements import make_tables

CONNECT_S = 5.0
TIMEOUT_S = 30.0
"""How long the server may be silent within a statement."""
SETTLE_POLL_S = 0.05
MAX_BLOCK = 1 << 20
"""Rows that go in one block; more are several, and then not there all together or not at all."""
TRANSIENT = frozenset({32, 40, 159, 164, 202, 203, 209, 210, 216, 236, 241, 242, 243, 252, 271, 394})
"""The server's codes for: busy, full, read only, shutting down, or garbled on the way."""
_OPTIONS = frozenset({"timeout", "compression", "password_file", "secure", "verify", "ca_certs"})
_NAME = re.compile(r"[A-Za-z_]\w*")

T = TypeVar("T")


class ServerStore(Store):
    """A database on a server.

    Args:
        host: The server's.
        port: Of its native protocol.
        database: Whose tables are meant.
        user: As whom.
        password: The user's.
        options: ``timeout`` (seconds the server may be silent), ``compression`` (``lz4`` or ``none``),
            ``password_file`` (which only its owner may read), ``secure``, ``verify`` (0 or 1),
            ``ca_certs`` (a file).

    Raises:
        StoreError: An option is wrong, or the driver is not installed with NumPy.
        StoreUnavailable: The server does not answer.
    """

    def __init__(
        self, host: str, port: int, *, database: str, user: str, password: str, options: dict[str, str]
    ) -> None:
        self.url = f"clickhouse://{host}:{port}/{database}"
        self.database = database
        if unknown := set(options) - _OPTIONS:
            raise StoreError(f"{self.url}: unknown option {sorted(unknown)[0]!r}")
        if not _NAME.fullmatch(database):
            raise StoreError(f"{self.url}: {database!r} is no name of a database")
        if importlib.util.find_spec("pandas") is None:
            raise StoreError("a ClickHouse server needs the extra: pip install 'ringbook[clickhouse]'")
        self._timeout = _number(self.url, options)
        packed = importlib.util.find_spec("lz4") and importlib.util.find_spec("clickhouse_cityhash")
        compression = options.get("compression", "lz4" if packed else "none")
        if compression not in ("lz4", "none"):
            raise StoreError(f"{self.url}: compression is lz4 or none, not {compression}")
        self._arguments: dict[str, Any] = {
            "host": host,
            "port": port,
            "user": user,
            "password": _password(self.url, password, options),
            "client_name": "ringbook",
            "connect_timeout": min(CONNECT_S, self._timeout),
            "send_receive_timeout": self._timeout,
            "sync_request_timeout": min(CONNECT_S, self._timeout),
            "compression": False if compression == "none" else compression,
            "settings": {"use_numpy": True, "insert_block_size": MAX_BLOCK},
        }
        if options.get("secure") == "1":
            self._arguments |= {"secure": True, "verify": options.get("verify", "1") == "1"}
            if "ca_certs" in options:
                self._arguments["ca_certs"] = options["ca_certs"]
        self._local = threading.local()
        self._clients: list[Any] = []
        self._guard = threading.Lock()
        # Columns without an array type of their own are told in a warning for every block.
        logging.getLogger("clickhouse_driver.columns.service").setLevel(logging.ERROR)
        # What goes wrong is raised; the driver would tell it a second time, with a traceback.
        logging.getLogger("clickhouse_driver.connection").setLevel(logging.CRITICAL)
        self._home = False
        self.dialect: Dialect = dialect(_version(str(self.query("SELECT version()").scalar())))
        self._home = True

    def create(self, *, ttl_days: int = 0) -> None:
        """Makes the tables and views that are missing, see the base class."""
        self._home = False
        try:
            make_tables(self, ttl_days)
        finally:
            self._home = True

    def insert_prepared(self, table: Table, columns: Columns, *, token: str = "") -> None:
        """Adds rows of one day: one block, so all of them or none where there are no more than a block's."""
        rows = length(columns)
        values = [
            _times(column) if kind == TIME and self.dialect.has_times else filled(column, rows)
            for kind, column in zip(table.kinds.values(), columns.values(), strict=True)
        ]
        names = ", ".join(columns)
        settings = {"insert_deduplication_token": token} if token and self.dialect.tokens else None
        sql = f"INSERT INTO {self.database}.{table.name} ({names}) VALUES"
        self._do(
            lambda client: client.execute(
                sql, values, columnar=True, query_id=token or None, settings=settings
            )
        )

    def query(self, sql: str) -> Result:
        """Runs a statement, see the base class."""
        found = self._do(lambda client: client.execute(sql, columnar=True, with_column_types=True))
        if not isinstance(found, tuple):
            return Result([], [], [])
        columns, described = found
        names, types = [name for name, _ in described], [kind for _, kind in described]
        if not columns:
            columns = [()] * len(names)
        return Result(
            names, types, [_array(column, kind) for column, kind in zip(columns, types, strict=True)]
        )

    def settle(self, token: str) -> None:
        """Waits until no insert of that name runs any more, see the base class."""
        deadline = time.monotonic() + self._timeout
        # A day is appended to the token of an insert.
        sql = f"SELECT count() FROM system.processes WHERE startsWith(query_id, {quote(token)})"
        while self.query(sql).scalar():
            if time.monotonic() > deadline:
                raise StoreUnavailable(f"{self.url}: an earlier insert of {token} still runs")
            time.sleep(SETTLE_POLL_S)

    def close(self) -> None:
        """Closes the clients of all threads."""
        with self._guard:
            for client in self._clients:
                client.disconnect()
            self._clients.clear()
        self._local = threading.local()

    # --- clients --------------------------------------------------------------------------------

    def _client(self) -> Any:
        client = getattr(self._local, "client", None)
        if client is None:
            from clickhouse_driver import Client

            client = self._local.client = Client(**self._arguments)
            self._local.home = False
            with self._guard:
                self._clients.append(client)
        if self._home and not self._local.home:
            client.execute(f"USE {self.database}")
            self._local.home = True
        return client

    def _drop(self) -> None:
        client = getattr(self._local, "client", None)
        if client is not None:
            self._local.client = None
            with self._guard:
                if client in self._clients:
                    self._clients.remove(client)
            client.disconnect()

    def _do(self, call: Callable[[Any], T]) -> T:
        """Does something with this thread's client, which does not outlive an error."""
        from clickhouse_driver.errors import Error, ServerException

        try:
            return call(self._client())
        except ServerException as error:
            self._drop()
            text = f"{self.url}: {_first_line(error.message)}"
            kind = StoreUnavailable if error.code in TRANSIENT else StoreError
            raise kind(text) from None
        except (Error, OSError, EOFError) as error:
            self._drop()
            raise StoreUnavailable(f"{self.url}: {_first_line(str(error)) or type(error).__name__}") from None
        except BaseException as error:
            # Half a packet, or an interrupt in the middle of one: what comes next would be its other half.
            self._drop()
            if not isinstance(error, Exception):
                raise
            raise StoreUnavailable(f"{self.url}: {type(error).__name__}: {error}") from error


def _number(url: str, options: dict[str, str]) -> float:
    text = options.get("timeout", str(TIMEOUT_S))
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.01 <= value <= 3600:
        raise StoreError(f"{url}: timeout is 0.01 to 3600 seconds, not {text}")
    return value


def _password(url: str, given: str, options: dict[str, str]) -> str:
    name = options.get("password_file")
    if name is None:
        return given
    try:
        path = Path(name).expanduser()
        if path.stat().st_mode & 0o077:
            raise StoreError(f"{url}: others may read {name}: chmod 600 it")
        return path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise StoreError(f"{url}: password_file {name}: {error.strerror}") from None


def _version(text: str) -> tuple[int, int]:
    year, month, *_ = (*text.split("."), "0", "0")
    return int(year), int(month)


def _first_line(text: str) -> str:
    line = text.split("Stack trace:")[0].split("\n")
    return (
        " ".join(part.strip() for part in line if part.strip()).removeprefix("DB::Exception: ").rstrip(". ")
    )


def _times(column: np.ndarray) -> np.ndarray:
    return column.view("datetime64[ns]")


def _array(column: Any, kind: str) -> np.ndarray:
    """A column as :class:`Result` promises it."""
    if not isinstance(column, np.ndarray):
        # A categorical of pandas, or a tuple of what has no array type.
        made = np.empty(len(column), dtype=object)
        made[:] = list(column)
        return made
    if column.dtype.kind == "M":
        return column.astype("datetime64[ns]")
    if column.dtype.kind in "US":
        return column.astype(object)
    return column
