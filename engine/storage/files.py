"""Parquet files, where no ClickHouse is: one file an insert, whole or not at all, read with polars' SQL.

``DIRECTORY/TABLE/DAY/TOKEN.parquet``. A repeated insert has the name of the one before it and changes
nothing.
There are no views, and SQL is what polars understands of it.
"""

from __future__ import annotations

import os
import re
import uuid
from pathlib import Path
from typing import Any

import numpy as np

from engine.core.errors import StoreError, StoreUnavailable
from engine.storage.base import Result, Store, table_named
from engine.storage.columns import Columns, filled, length
from engine.storage.schema import (
    DAY_NS,
    F64,
    I64,
    MAYBE_MONEY,
    MONEY,
    MONEY_DIGITS,
    TABLES,
    TEXT,
    TIME,
    U8,
    U32,
    U64,
    WORD,
    Table,
    dialect,
)

_UNSAFE = re.compile(r"[^\w.-]+")

ADDED = {"orders": ("tick_to_trade_ns",)}
"""Columns that files of earlier versions lack."""


class ParquetStore(Store):
    """A directory with a folder a table.

    Args:
        directory: Where.
    """

    def __init__(self, directory: Path) -> None:
        self.url = f"parquet://{directory}"
        self.database = ""
        self.dialect = dialect((18, 16))
        self._dir = directory

    def create(self, *, ttl_days: int = 0) -> None:
        """Makes the folders that are missing. Files are kept, whatever ``ttl_days`` says.

        Args:
            ttl_days: Not for files: with one, the caller is told.

        Raises:
            StoreError: A TTL was asked for.
        """
        if ttl_days:
            raise StoreError(f"{self.url}: files have no TTL; remove the folders of old days")
        try:
            for name in TABLES:
                (self._dir / name).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"{error.filename}: {error.strerror}") from None

    def insert_prepared(self, table: Table, columns: Columns, *, token: str = "") -> None:
        """Adds rows of one day as a file of its own, see the base class."""
        rows = length(columns)
        folder = self._dir / table.name / str(np.datetime64(int(columns["time"][0]) // DAY_NS, "D"))
        path = folder / f"{_UNSAFE.sub('-', token) or uuid.uuid4().hex}.parquet"
        if path.exists():
            return
        draft = path.with_suffix(f".{os.getpid()}.new")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            frame(table, columns, rows).write_parquet(draft, compression="zstd")
            draft.replace(path)
        except OSError as error:
            raise StoreUnavailable(f"{path}: {error.strerror or error}") from None

    def query(self, sql: str) -> Result:
        """Runs a statement of polars' SQL, see the base class."""
        import polars

        tables = {name: self._scan(table) for name, table in TABLES.items() if name in sql}
        try:
            found = polars.SQLContext(tables).execute(sql, eager=True)
        except polars.exceptions.PolarsError as error:
            raise StoreError(f"{self.url}: {str(error).splitlines()[0]}") from None
        columns = [_array(polars, column) for column in found.get_columns()]
        return Result(found.columns, [str(kind) for kind in found.dtypes], columns)

    def epoch_second(self, column: str) -> str:
        """See the base class."""
        return f"CAST({column} AS BIGINT) // 1000000000"

    def time_within(self, begin: int, end: int) -> str:
        """See the base class."""
        return f"CAST(time AS BIGINT) >= {begin} AND CAST(time AS BIGINT) < {end}"

    def settle(self, token: str) -> None:
        """A file is there or not."""

    def present(
        self, table: str, run_id: str, first: int, last: int, begin: int, end: int, symbol: str | None = None
    ) -> np.ndarray:
        """The ids of a run that are stored, see the base class."""
        import polars

        ids = polars.col("id")
        wanted = (polars.col("run_id") == run_id) & ids.is_between(first, last)
        if symbol is not None:
            wanted &= polars.col("symbol") == symbol
        found = self._scan(table_named(table)).filter(wanted).select(ids).collect()
        return np.sort(found["id"].to_numpy())

    def close(self) -> None:
        """Nothing is open."""

    def _scan(self, table: Table) -> Any:
        import polars

        files = sorted((self._dir / table.name).glob("*/*.parquet"))
        types = _types(polars)
        schema = {column.name: types[column.kind] for column in table.columns}
        if not files:
            return polars.LazyFrame(schema=schema)
        added = ADDED.get(table.name)
        if added is None:
            return polars.scan_parquet(files)
        # As ClickHouse has it: rows from before a column was added have its empty value.
        found = polars.scan_parquet(files, schema=schema, missing_columns="insert")
        return found.with_columns(polars.col(*added).fill_null(0))


def _types(polars: Any) -> dict[str, Any]:
    return {
        WORD: polars.String,
        TEXT: polars.String,
        TIME: polars.Datetime("ns", "UTC"),
        MONEY: polars.Decimal(38, MONEY_DIGITS),
        MAYBE_MONEY: polars.Decimal(38, MONEY_DIGITS),
        U8: polars.UInt8,
        U32: polars.UInt32,
        U64: polars.UInt64,
        I64: polars.Int64,
        F64: polars.Float64,
    }


def frame(table: Table, columns: Columns, rows: int) -> Any:
    """Prepared rows as a polars frame, with the table's types.

    Args:
        table: The table.
        columns: Of :func:`engine.storage.columns.prepare`.
        rows: How many there are.
    """
    import polars

    types = _types(polars)
    made = []
    for name, kind in table.kinds.items():
        column = columns[name]
        if column.ndim == 0:
            made.append(polars.repeat(column.item(), rows, eager=True, dtype=types[kind]).alias(name))
        elif kind == TIME:
            made.append(polars.Series(name, column).cast(types[kind]))
        elif column.dtype == object:
            made.append(polars.Series(name, filled(column, rows).tolist(), dtype=types[kind]))
        else:
            made.append(polars.Series(name, column, dtype=types[kind]))
    return polars.DataFrame(made)


def _array(polars: Any, column: Any) -> np.ndarray:
    if column.null_count() == 0 and (column.dtype.is_numeric() and not column.dtype.is_decimal()):
        return column.to_numpy()
    if column.null_count() == 0 and isinstance(column.dtype, polars.Datetime):
        return column.dt.replace_time_zone(None).dt.cast_time_unit("ns").to_numpy()
    made = np.empty(len(column), dtype=object)
    made[:] = column.to_list()
    return made
