"""Rows on their way into a store: checked, of one type a kind, in columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Any, TypeAlias

import numpy as np

from engine.core.errors import StoreError
from engine.storage.schema import (
    DAY_NS,
    F64,
    I64,
    MAYBE_MONEY,
    MONEY,
    MONEY_DIGITS,
    TEXT,
    TIME,
    U8,
    U32,
    U64,
    WORD,
    Table,
)

Values: TypeAlias = "np.ndarray | Sequence[Any] | str | int | float"
Columns: TypeAlias = "dict[str, np.ndarray]"

_QUANTUM = Decimal(1).scaleb(-MONEY_DIGITS)
_CONTEXT = Context(prec=38, rounding=ROUND_HALF_EVEN)
_LIMIT = 10.0 ** (38 - MONEY_DIGITS)
DTYPES = {
    TIME: np.dtype(np.int64),
    I64: np.dtype(np.int64),
    U64: np.dtype(np.uint64),
    U32: np.dtype(np.uint32),
    U8: np.dtype(np.uint8),
    F64: np.dtype(np.float64),
}
_EMPTY: dict[str, Any] = {WORD: "", TEXT: "", F64: 0.0, MONEY: 0.0, MAYBE_MONEY: None}


def prepare(table: Table, given: Mapping[str, Values]) -> Columns:
    """Columns in the table's order: numbers as arrays of their type, texts and decimals as objects.

    Args:
        table: The table.
        given: Values by column: an array or a list each, or one value for all rows. A column that is left out
            is empty or zero; ``id`` may not be left out.

    Returns:
        Arrays of one length. Texts that are one value for all rows are a 0-dimensional array of it.

    Raises:
        StoreError: A column is unknown, of another length or not of its kind.
    """
    kinds = table.kinds
    for name in given:
        if name not in kinds:
            raise StoreError(f"{table.name} has no column {name!r}")
    if "id" not in given or np.ndim(given["id"]) != 1:
        raise StoreError(f"{table.name}: rows need their ids, one each")
    rows = len(given["id"])  # type: ignore[arg-type]
    made = {}
    for name, kind in kinds.items():
        value = given.get(name, _EMPTY.get(kind, 0))
        try:
            made[name] = _column(kind, value, rows)
        except (TypeError, ValueError, OverflowError, ArithmeticError) as error:
            raise StoreError(f"{table.name}.{name}: {error}") from None
    return made


def _column(kind: str, value: Any, rows: int) -> np.ndarray:
    one = np.ndim(value) == 0
    if not one and len(value) != rows:
        raise ValueError(f"{len(value)} values for {rows} rows")
    if kind in DTYPES:
        array = np.asarray(value)
        if array.dtype.kind == "M":
            array = array.astype("datetime64[ns]").view(np.int64)
        if kind in (U8, U32, U64) and array.dtype.kind in "if" and np.any(array < 0):
            raise ValueError("a negative number")
        array = array.astype(DTYPES[kind], copy=False)
        return np.full(rows, array) if one else np.ascontiguousarray(array)
    if kind in (WORD, TEXT):
        if one:
            return np.array(_text(value), dtype=object)
        array = np.empty(rows, dtype=object)
        array[:] = [_text(item) for item in value]
        return array
    array = np.empty(rows, dtype=object)
    if one:
        array[:] = [money(value, kind == MAYBE_MONEY)] * rows
    else:
        items = value.tolist() if isinstance(value, np.ndarray) else value
        array[:] = [money(item, kind == MAYBE_MONEY) for item in items]
    return array


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{type(value).__name__} is no text")
    return value


def money(value: Any, missing: bool = False) -> Decimal | None:
    """An amount as it is stored: the shortest decimal of a float, cut to its places.

    Args:
        value: A float, integer or Decimal; None or NaN is a missing one.
        missing: Whether there may be none.

    Raises:
        ValueError: It is missing, infinite or too large.
    """
    if value is None or value != value:
        if missing:
            return None
        raise ValueError("an amount is missing")
    if not -_LIMIT < value < _LIMIT:
        raise ValueError(f"{value} is beyond what money may be")
    exact = value if isinstance(value, Decimal) else Decimal(repr(value))
    return exact.quantize(_QUANTUM, context=_CONTEXT)


def filled(column: np.ndarray, rows: int) -> np.ndarray:
    """A column with one value a row, where it had one for all."""
    return np.full(rows, column.item(), dtype=object) if column.ndim == 0 else column


def length(columns: Mapping[str, np.ndarray]) -> int:
    """Rows of prepared columns."""
    return len(columns["id"])


def taken(columns: Mapping[str, np.ndarray], which: np.ndarray) -> Columns:
    """Some rows of prepared columns.

    Args:
        columns: Of :func:`prepare`.
        which: A mask or the rows' numbers.
    """
    return {name: column if column.ndim == 0 else column[which] for name, column in columns.items()}


def by_day(columns: Columns) -> Iterator[tuple[int, Columns]]:
    """Prepared rows, day by day (UTC): those of one partition."""
    days = columns["time"] // DAY_NS
    if len(days) == 0:
        return
    if days[0] == days[-1] and np.all(days == days[0]):
        yield int(days[0]), columns
        return
    for day in np.unique(days):
        yield int(day), taken(columns, days == day)
