"""What a store is, whatever engine it has: rows go in, SQL and rows come out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from engine.core.errors import StoreError
from engine.storage.columns import Columns, Values, by_day, length, prepare
from engine.storage.schema import TABLES, Dialect, Table

DATABASE = "ringbook"
"""The database of a store whose URL names none."""


@dataclass(frozen=True)
class Result:
    """What a query gave.

    Attributes:
        names: Of the columns.
        types: The engine's, as text.
        columns: An array each: numbers, times as ``datetime64[ns]`` (UTC), all else as objects.
    """

    names: list[str]
    types: list[str]
    columns: list[np.ndarray]

    def __len__(self) -> int:
        return len(self.columns[0]) if self.columns else 0

    def __getitem__(self, name: str) -> np.ndarray:
        return self.columns[self.names.index(name)]

    def rows(self) -> list[tuple[Any, ...]]:
        """Rows as tuples of Python values; times as integers of nanoseconds."""
        plain = [
            (column.astype(np.int64) if column.dtype.kind == "M" else column).tolist()
            for column in self.columns
        ]
        return list(zip(*plain, strict=True))

    def dicts(self) -> list[dict[str, Any]]:
        """Rows as dictionaries of Python values."""
        return [dict(zip(self.names, row, strict=True)) for row in self.rows()]

    def scalar(self) -> Any:
        """The first value of the first row.

        Raises:
            StoreError: There is none.
        """
        if not len(self):
            raise StoreError("the query gave no row")
        return self.rows()[0][0]


class Store(ABC):
    """A place for tables. One client a thread; threads that share a store are let in by turn.

    Attributes:
        url: What it was opened by, without a password.
        database: Prefix of its tables in SQL; statements may leave it out.
        dialect: What the engine understands.
    """

    url: str
    database: str
    dialect: Dialect

    @abstractmethod
    def create(self, *, ttl_days: int = 0) -> None:
        """Makes the tables and views that are missing, and adds columns that an earlier Ringbook lacked.

        Args:
            ttl_days: Days of event time after which rows are removed; 0 leaves it as it is.

        Raises:
            StoreError: A table is there and a column of it has another type.
        """

    def insert(self, table: str, columns: Mapping[str, Values], *, token: str = "") -> int:
        """Adds rows. Those of several days go in one part a day, one after the other.

        Args:
            table: One of ``TABLES``.
            columns: Values by column, see :func:`engine.storage.columns.prepare`.
            token: Names the insert: an engine that knows tokens ignores the repetition of a recent one, and
                no two of one name ever run at a time.

        Returns:
            Rows given.

        Raises:
            StoreUnavailable: It does not answer; whether the rows are there is not known.
            StoreError: It refuses.
        """
        known = table_named(table)
        ready = prepare(known, columns)
        for day, part in by_day(ready):
            self.insert_prepared(known, part, token=f"{token}-{day}" if token else "")
        return length(ready)

    @abstractmethod
    def insert_prepared(self, table: Table, columns: Columns, *, token: str = "") -> None:
        """Adds rows of one day, which are then there all together or, after an error, in part or not at all.

        Args:
            table: The table.
            columns: Of :func:`engine.storage.columns.prepare`.
            token: As for :meth:`insert`.
        """

    @abstractmethod
    def query(self, sql: str) -> Result:
        """Runs a statement and gives all of its rows.

        Args:
            sql: One statement of the engine's SQL.

        Raises:
            StoreUnavailable: It does not answer.
            StoreError: It refuses; the message is the engine's.
        """

    @abstractmethod
    def settle(self, token: str) -> None:
        """Waits until no insert of that name runs any more.

        Raises:
            StoreUnavailable: One still does.
        """

    def present(
        self, table: str, run_id: str, first: int, last: int, begin: int, end: int, symbol: str | None = None
    ) -> np.ndarray:
        """The ids of a run that are stored, sorted, an id as often as it is there.

        Args:
            table: The table.
            run_id: The run.
            first: Lowest id wanted.
            last: Highest id wanted.
            begin: Earliest time of these rows.
            end: Latest time of these rows.
            symbol: Whose rows; all by default.
        """
        whose = "" if symbol is None else f"symbol = {quote(symbol)} AND "
        found = self.query(
            f"SELECT id FROM {table_named(table).name} WHERE {whose}run_id = {quote(run_id)} "
            f"AND id >= {first} AND id <= {last} "
            f"AND time >= {self.time_literal(begin)} AND time <= {self.time_literal(end)}"
        )
        return np.sort(found["id"].astype(np.uint64))

    def time_literal(self, ns: int) -> str:
        """A time in SQL, for comparison with a column ``time``.

        Args:
            ns: Nanoseconds since the epoch.
        """
        return f"fromUnixTimestamp64Nano({int(ns)})" if self.dialect.has_times else str(int(ns))

    def epoch_second(self, column: str) -> str:
        """The whole seconds since the epoch of a time, in SQL.

        Args:
            column: The time's name.
        """
        number = f"toUnixTimestamp64Nano({column})" if self.dialect.has_times else column
        return f"intDiv({number}, 1000000000)"

    def time_within(self, begin: int, end: int) -> str:
        """A condition in SQL: a row's time lies in a span.

        Args:
            begin: Nanoseconds since the epoch.
            end: The first that does not belong to it.
        """
        return f"time >= {self.time_literal(begin)} AND time < {self.time_literal(end)}"

    def idle(self) -> None:  # noqa: B027
        """Says that nothing is wanted of it now: others may have it."""

    @abstractmethod
    def close(self) -> None:
        """Gives everything back."""

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def table_named(name: str) -> Table:
    """A table.

    Raises:
        StoreError: There is none of that name.
    """
    try:
        return TABLES[name]
    except KeyError:
        raise StoreError(f"no table {name!r}; there are {', '.join(TABLES)}") from None


def quote(text: str) -> str:
    """A text in SQL."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
