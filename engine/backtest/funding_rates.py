"""Funding rates of perpetuals, checked before a backtest begins."""

from __future__ import annotations

from typing import Any

import numpy as np

from engine.backtest.files import read_array
from engine.core.errors import ConfigError, DataError

funding_dtype = np.dtype([("ts", "i8"), ("rate", "f8"), ("mark_price", "f8")])
"""A payment: when, which fraction of a position's value, and the price of that; NaN is the mid price."""

FIELDS = ("ts", "rate", "mark_price")

_NONE = np.zeros(0, funding_dtype)


def _columns(rates: Any, name: str) -> dict[str, np.ndarray]:
    """The columns by name, whatever they came as."""
    if isinstance(rates, list | tuple):
        rows = [row for row in rates if isinstance(row, list | tuple) and len(row) in (2, 3)]
        if len(rows) != len(rates) or any(len(row) != len(rows[0]) for row in rows):
            raise ConfigError("funding: takes (ts, rate) or (ts, rate, mark_price), the same for all times")
        try:
            columns = [np.array(column) for column in zip(*rows, strict=True)]
        except ValueError as error:
            raise ConfigError(f"funding: {error}") from error
        return dict(zip(FIELDS, columns, strict=False))
    if not isinstance(rates, np.ndarray):
        raise ConfigError(f"funding: {type(rates).__name__}, it has to be tuples, an array or a path")
    if rates.dtype.names is not None:
        if not {"ts", "rate"} <= set(rates.dtype.names) <= set(FIELDS):
            raise DataError(f"{rates.dtype}: funding rates have the fields {', '.join(FIELDS)}", file=name)
        return {field: rates[field] for field in rates.dtype.names}
    if rates.ndim != 2 or rates.shape[1] not in (2, 3):
        raise DataError(
            f"an array of shape {rates.shape}: funding rates have two or three columns", file=name
        )
    return {field: rates[:, column] for column, field in enumerate(FIELDS[: rates.shape[1]])}


def funding_rows(rates: Any, name: str) -> np.ndarray:
    """Checks funding rates.

    Args:
        rates: As ``BacktestAsset.funding`` takes them, or the array of a file.
        name: What errors call them.

    Returns:
        A new ``funding_dtype`` array of shape ``(n,)``, times increasing.

    Raises:
        ConfigError: No such thing as funding rates.
        DataError: Other fields or no numbers; times that do not increase, a rate that is no fraction, or
            a mark price that is no price.
    """
    columns = _columns(rates, name)
    n = columns["ts"].size if columns else 0
    rows = np.zeros(n, funding_dtype)
    rows["mark_price"] = np.nan
    for field, column in columns.items():
        if column.ndim != 1 or column.dtype.kind not in "iuf":
            raise DataError(
                f"{column.dtype} of shape {column.shape}, it has to be numbers", file=name, field=field
            )
        if field == "ts":
            wrong = np.flatnonzero(~((column >= 0) & (column < 2**63)))
            if len(wrong):
                raise DataError(f"{column[wrong[0]]}: no time", file=name, row=int(wrong[0]), field=field)
        rows[field] = column
    with np.errstate(invalid="ignore"):
        checks = (
            ("ts", rows["ts"][1:] <= rows["ts"][:-1], 1, "not after the time before it"),
            ("rate", ~(np.abs(rows["rate"]) < 1.0), 0, "a rate is a fraction between -1 and 1"),
            ("mark_price", ~((rows["mark_price"] > 0.0) | np.isnan(rows["mark_price"])), 0, "not above 0"),
            ("mark_price", np.isinf(rows["mark_price"]), 0, "not finite"),
        )
    for field, bad, first, text in checks:
        wrong = np.flatnonzero(bad)
        if len(wrong):
            row = int(wrong[0]) + first
            raise DataError(f"{rows[field][row]}: {text}", file=name, row=row, field=field)
    return rows


def load_funding(asset: Any) -> np.ndarray:
    """All payments of an asset.

    Args:
        asset: What has ``funding`` (rates, or None) and ``funding_data`` (files in time order).

    Returns:
        As :func:`funding_rows`.

    Raises:
        ConfigError: As :func:`funding_rows`.
        DataError: As :func:`funding_rows`; a file is missing or corrupt, or begins before the end of the one
            before it.
    """
    if asset.funding is None and not asset.funding_data:
        return _NONE
    parts = []
    if asset.funding is not None:
        parts.append(funding_rows(asset.funding, "funding"))
    end = -1
    for path in asset.funding_data:
        rows = funding_rows(read_array(path), str(path))
        if len(rows) and rows["ts"][0] <= end:
            text = f"not after {end}, the last payment of the file before"
            raise DataError(f"{rows['ts'][0]}: {text}", file=str(path), row=0, field="ts")
        if len(rows):
            end = int(rows["ts"][-1])
        parts.append(rows)
    return np.concatenate(parts)
