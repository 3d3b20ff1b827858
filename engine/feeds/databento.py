"""Databento's market-by-order recordings and their way to event arrays; dbn.py reads the files."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from engine.core.errors import ConfigError, DataError
from engine.core.types import (
    ADD_ORDER_EVENT,
    BUY_EVENT,
    CANCEL_ORDER_EVENT,
    DEPTH_CLEAR_EVENT,
    FILL_EVENT,
    MODIFY_ORDER_EVENT,
    SELL_EVENT,
    TRADE_EVENT,
    event_dtype,
)
from engine.feeds.capture import Conversion, Progress
from engine.feeds.dbn import Header, Reader
from engine.feeds.ordering import correct_event_order, latency_shift

FLAG_SNAPSHOT = 0x20
UNDEF_PRICE = 2**63 - 1

_KINDS = {
    "A": ("add", ADD_ORDER_EVENT),
    "C": ("cancel", CANCEL_ORDER_EVENT),
    "M": ("modify", MODIFY_ORDER_EVENT),
    "R": ("clear", DEPTH_CLEAR_EVENT),
    "T": ("trade", TRADE_EVENT),
    "F": ("fill", FILL_EVENT),
}
_SIDES = {"B": BUY_EVENT, "A": SELL_EVENT, "N": 0}
_NOTHING = ord("N")
_NEEDS_PRICE = (ADD_ORDER_EVENT, MODIFY_ORDER_EVENT, TRADE_EVENT)


def convert(
    path: str | Path,
    *,
    symbol: str | None = None,
    base_latency: int = 0,
    compat: str = "",
    progress: Progress | None = None,
) -> Conversion:
    """Converts a market-by-order recording; rows and fields are those of hftbacktest's converter.

    Two things differ: times are exact, where hftbacktest's go through microseconds and a double, and
    the rows of a snapshot have the time at which it was received on both clocks even if no clear comes
    before them, since they tell of orders that are hours old (``compat="2.4"`` leaves those as they are).

    Args:
        path: The file, compressed with zstd or not.
        symbol: The raw symbol to take; needed when the file has several.
        base_latency: Nanoseconds added to the correction of a negative feed latency, if there is one.
        compat: ``"2.4"`` for hftbacktest's times of a snapshot without a clear.
        progress: Called with the number of bytes of the file read since the last call.

    Returns:
        Events with the record's flags in ``ival``; ``lines`` is the number of its records.

    Raises:
        DataError: The file is unreadable, truncated or corrupt, has another schema, several symbols or not
            the one asked for; the error names its record.
        ConfigError: It is compressed and the extra ``databento`` is not installed, or ``compat`` is unknown.
    """
    if compat not in ("", "2.4"):
        raise ConfigError(f"compat {compat!r} is neither empty nor 2.4")
    name = str(path)
    reader = Reader(path, progress)
    wanted = _wanted(reader.header(), symbol, name)
    parts, seen, taken = [], 0, 0
    for block in reader.records():
        chosen = np.ones(len(block), bool) if wanted is None else np.isin(block["instrument_id"], wanted)
        taken += int(np.count_nonzero(chosen))
        # Records may say that nothing happened to any order.
        where = np.flatnonzero(chosen & (block["action"] != _NOTHING))
        parts.append(_rows(block[where], name, seen + where))
        seen += len(block)
    rows = np.concatenate(parts) if parts else np.empty(0, event_dtype)
    if len(rows) == 0:
        raise DataError("no market events in it", file=name)
    _stamp_snapshots(rows, compat)
    shift = latency_shift(rows, base_latency)
    kinds = rows["ev"] & 0xFF
    messages = {what: int(np.count_nonzero(kinds == kind)) for what, kind in _KINDS.values()}
    return Conversion(
        correct_event_order(rows, shift),
        _symbol(reader.header(), symbol),
        taken,
        {what: count for what, count in messages.items() if count},
        shift,
        0,
        0,
    )


# --- rows ------------------------------------------------------------------------------------------


def _lookup(
    values: np.ndarray, table: dict[str, int], name: str, field: str, number: np.ndarray
) -> np.ndarray:
    """The number of each character; DataError names the first record with another one."""
    known = np.full(256, -1, np.int64)
    for character, value in table.items():
        known[ord(character)] = value
    found = known[values]
    if (bad := np.flatnonzero(found < 0)).size:
        what = chr(values[bad[0]])
        raise DataError(
            f"{what!r} is none of {', '.join(table)}", file=name, row=int(number[bad[0]]), field=field
        )
    return found


def _rows(records: np.ndarray, name: str, number: np.ndarray) -> np.ndarray:
    """Events of records in their order, without EXCH and LOCAL flags; ``number`` is theirs in the file."""
    rows = np.zeros(len(records), event_dtype)
    kinds = {character: kind for character, (_, kind) in _KINDS.items()}
    kind = _lookup(records["action"], kinds, name, "action", number)
    rows["ev"] = kind | _lookup(records["side"], _SIDES, name, "side", number)
    for source, field in (("ts_event", "exch_ts"), ("ts_recv", "local_ts")):
        if (bad := np.flatnonzero(records[source] >= 2**62)).size:
            raise DataError("no time of day", file=name, row=int(number[bad[0]]), field=source)
        rows[field] = records[source]
    without = records["price"] == UNDEF_PRICE
    if (bad := np.flatnonzero(without & np.isin(kind, _NEEDS_PRICE))).size:
        raise DataError("the price is undefined", file=name, row=int(number[bad[0]]), field="price")
    rows["px"] = np.where(without, np.nan, records["price"] / 1e9)
    rows["qty"] = records["size"]
    rows["order_id"] = records["order_id"]
    rows["ival"] = records["flags"]
    return rows


def _stamp_snapshots(rows: np.ndarray, compat: str) -> None:
    """Gives the rows of a snapshot the local time on both clocks."""
    message = np.cumsum(np.diff(rows["local_ts"], prepend=rows["local_ts"][0]) != 0)
    clears = np.flatnonzero((rows["ev"] & 0xFF) == DEPTH_CLEAR_EVENT)
    last = np.searchsorted(clears, np.arange(len(rows)), side="right") - 1
    snapshot = np.zeros(len(rows), bool)
    if clears.size:
        snapshot = (last >= 0) & (message == message[clears[np.maximum(last, 0)]])
    if not compat:
        snapshot |= (rows["ival"] & FLAG_SNAPSHOT) != 0
    rows["exch_ts"][snapshot] = rows["local_ts"][snapshot]


# --- symbols -----------------------------------------------------------------------------------------


def _wanted(header: Header, symbol: str | None, name: str) -> list[int] | None:
    """The instrument ids to take; None for all."""
    known = sorted(set(header.symbols.values()))
    if symbol is None:
        if len(known) > 1:
            raise DataError(f"has several symbols, name one: {', '.join(known)}", file=name)
        return None
    wanted = [number for number, raw in header.symbols.items() if raw == symbol]
    if not wanted:
        raise DataError(f"has no symbol {symbol!r}, only: {', '.join(known) or 'unnamed ones'}", file=name)
    return wanted


def _symbol(header: Header, symbol: str | None) -> str | None:
    return symbol if symbol is not None else next(iter(header.symbols.values()), None)
