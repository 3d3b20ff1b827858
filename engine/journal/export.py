"""What a journal holds, for people and other programs: records as dictionaries, markets as recordings."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np

from engine.core.errors import DataError
from engine.core.types import (
    BUY_EVENT,
    DEPTH_BBO_EVENT,
    DEPTH_CLEAR_EVENT,
    DEPTH_EVENT,
    DEPTH_SNAPSHOT_EVENT,
    EXCH_EVENT,
    LOCAL_EVENT,
    SELL_EVENT,
    TRADE_EVENT,
    event_dtype,
    order_dtype,
)
from engine.journal.disk import Record
from engine.journal.files import Files
from engine.journal.reader import JournalReader, market_chunks, market_dtype
from engine.journal.retention import first_record
from engine.journal.wal import RecordType

AS_EXCH, AS_LOCAL = 16, 32
"""A market record's flags: as the venue saw it, as we saw it; those of the ring's records."""
TWO_SIDED = EXCH_EVENT | LOCAL_EVENT
BLOBS = frozenset({RecordType.SIGNAL, RecordType.CONTROL, RecordType.REPLY, RecordType.META})
"""Types whose body is msgpack."""
KINDS = {
    DEPTH_EVENT: "depth",
    TRADE_EVENT: "trade",
    DEPTH_CLEAR_EVENT: "clear",
    DEPTH_SNAPSHOT_EVENT: "snapshot",
    DEPTH_BBO_EVENT: "bbo",
}
"""What the kinds of rows are called in jsonl; another kind has its number."""

_FIELDS = {
    RecordType.MARKET: event_dtype,
    RecordType.ORDER_REQUEST: order_dtype,
    RecordType.ORDER: order_dtype,
    RecordType.REPORT: order_dtype,
    RecordType.TIMER: np.dtype([("key", "<i8")]),
    RecordType.SILENCE: np.dtype([("silence", "<i8")]),
    RecordType.STATE_HASH: np.dtype([("state_hash", "<u8")]),
    RecordType.SNAPSHOT: np.dtype([("state_hash", "<u8")]),
    RecordType.OUTPUT: np.dtype([("count", "<u8"), ("outputs_hash", "<u8")]),
    RecordType.SENT: np.dtype(
        [
            ("local_ts", "<i8"),
            ("received", "<i8"),
            ("sent", "<i8"),
            ("order_id", "<u8"),
            ("req", "u1"),
            ("_pad", "V7"),
        ]
    ),
}


def type_name(number: int) -> str:
    """What a record's type is called; an unknown one has its number.

    Args:
        number: Of a ``RecordType``.
    """
    try:
        return RecordType(number).name
    except ValueError:
        return str(number)


def as_dict(record: Record) -> dict[str, Any]:
    """A record with everything in it that can be read, fit for JSON.

    Args:
        record: One of the journal.
    """
    shown = {
        "seq": record.seq,
        "type": type_name(record.type),
        "ts": record.ts,
        "t_mono": record.t_mono,
        "flags": record.flags,
        "instrument": record.instrument,
        "strategy": record.strategy,
    }
    dtype = _FIELDS.get(record.type)
    if record.type in BLOBS:
        try:
            shown["message"] = _plain(msgspec.msgpack.decode(record.body))
        except msgspec.DecodeError:
            shown["body"] = record.body.hex()
    elif dtype is not None and len(record.body) >= dtype.itemsize:
        row = np.frombuffer(record.body, dtype, 1)[0]
        shown |= {name: _plain(row[name].item()) for name in dtype.names if not name.startswith("_")}
    elif record.body:
        shown["body"] = record.body.hex()
    return shown


def _plain(value: Any) -> Any:
    """JSON knows no NaN and no bytes."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def symbols(directory: str | os.PathLike[str], *, files: Files | None = None) -> list[str]:
    """The instruments' names, in the order of their numbers; empty where no run has said them.

    Args:
        directory: The journal's.
        files: The system's files by default.
    """
    first = first_record(directory, files=files)
    for record in itertools.chain([] if first is None else [first], JournalReader(directory, files=files)):
        if record.type != RecordType.META:
            continue
        try:
            meta = msgspec.msgpack.decode(record.body)
        except msgspec.DecodeError:
            continue
        listed = meta.get("instruments") if isinstance(meta, dict) else None
        if listed:
            return [str(item.get("symbol", "")) if isinstance(item, dict) else str(item) for item in listed]
    return []


def recording(
    directory: str | os.PathLike[str], instrument: int | None = None, *, files: Files | None = None
) -> tuple[np.ndarray, bool]:
    """The market records of one instrument as rows of a recording.

    A row that the journal has as the venue saw it and as we saw it is one row again; one that it has from one
    side only (as at its end) keeps that side's flag only.

    Args:
        directory: The journal's.
        instrument: Its number; by default the only one there is.
        files: The system's files by default.

    Returns:
        ``event_dtype`` array, and whether it has only what we saw: then the rows have both flags, and the
        venue's order may have to be made.

    Raises:
        DataError: No market records, or of several instruments and none was named.
    """
    chunks = list(market_chunks(JournalReader(directory, files=files)))
    rows = np.concatenate(chunks) if chunks else np.empty(0, market_dtype)
    found = np.unique(rows["instrument"])
    if instrument is not None:
        rows = rows[rows["instrument"] == instrument]
    elif len(found) > 1:
        raise DataError(f"holds several instruments, name one of {found.tolist()}", file=os.fspath(directory))
    if len(rows) == 0:
        raise DataError("holds no market records of it", file=os.fspath(directory))
    exch = rows["event"][(rows["flags"] & AS_EXCH) != 0]
    local = rows["event"][(rows["flags"] & AS_LOCAL) != 0]
    if len(exch) == 0:
        return local.copy(), True
    return _joined(exch, local), False


def _joined(exch: np.ndarray, local: np.ndarray) -> np.ndarray:
    """Rows of both sides in one array, those that both have as one row."""
    both_e, both_l = ((rows["ev"] & TWO_SIDED) == TWO_SIDED for rows in (exch, local))
    pairs = min(np.count_nonzero(both_e), np.count_nonzero(both_l))
    # A row's place is how many shared rows come before it; the venue's own rows go first.
    at_e, at_l = np.cumsum(both_e) - both_e, np.cumsum(both_l) - both_l
    if not np.array_equal(exch[both_e][:pairs], local[both_l][:pairs]):
        pairs = 0
        at_e, at_l = np.arange(len(exch)), np.arange(len(local))
    shared = both_e & (at_e < pairs)
    exch, local = exch.copy(), local.copy()
    exch["ev"][~shared] &= ~np.uint64(LOCAL_EVENT)
    local["ev"] &= ~np.uint64(EXCH_EVENT)
    only = ~(both_l & (at_l < pairs))
    rows = np.concatenate([exch, local[only]])
    place = np.concatenate([at_e, at_l[only]])
    rank = np.concatenate([np.where(shared, 2, 0), np.ones(np.count_nonzero(only), np.int64)])
    return rows[np.lexsort((rank, place))]


def platform_rows(events: np.ndarray) -> Iterator[dict[str, Any]]:
    """Rows as other platforms write them, one dictionary a line of jsonl.

    Args:
        events: ``event_dtype`` array.

    Yields:
        ``exch_ts, local_ts, side, price, qty, type``, and ``order_id`` where there is one. A row that only
        one side sees has null for the time of the other.
    """
    for event in events:
        ev = int(event["ev"])
        row: dict[str, Any] = {
            "exch_ts": int(event["exch_ts"]) if ev & EXCH_EVENT else None,
            "local_ts": int(event["local_ts"]) if ev & LOCAL_EVENT else None,
            "side": "buy" if ev & BUY_EVENT else "sell" if ev & SELL_EVENT else None,
            "price": _plain(float(event["px"])),
            "qty": _plain(float(event["qty"])),
            "type": KINDS.get(ev & 0xFF, ev & 0xFF),
        }
        if event["order_id"]:
            row["order_id"] = int(event["order_id"])
        yield row
