"""DBN files made and read the slow, obvious way: one record after the other, field by field."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from engine.core.types import event_dtype

MBO = struct.Struct("<BBHIQQqIBBccQiI")
UNDEF_PRICE = 2**63 - 1
SNAPSHOT = 0x20


def header(symbols: dict[int, str], version: int = 1, schema: int = 0) -> bytes:
    """A header with one mapping a symbol."""
    width = 22 if version == 1 else 71

    def text(value: str) -> bytes:
        return value.encode().ljust(width, b"\0")

    fixed = b"GLBX.MDP3".ljust(16, b"\0") + struct.pack("<HQQQ", schema, 0, 0, 0)
    fixed += struct.pack("<QBBB", 0, 1, 0, 0) if version == 1 else struct.pack("<BBBH", 1, 0, 0, width)
    fixed = fixed.ljust(100, b"\0") + struct.pack("<I", 0)
    lists = struct.pack("<I", len(symbols)) + b"".join(map(text, symbols.values())) + struct.pack("<II", 0, 0)
    mappings = struct.pack("<I", len(symbols))
    for number, symbol in symbols.items():
        mappings += text(symbol) + struct.pack("<III", 1, 20240101, 20240102) + text(str(number))
    body = fixed + lists + mappings
    return b"DBN" + bytes([version]) + struct.pack("<I", len(body)) + body


def mbo(action: str, side: str, price: int, size: int, order_id: int, ts: int, **more) -> bytes:
    """One record; ``more``: recv (after ts), flags, instrument, length (in units of 4 bytes)."""
    length = more.get("length", 14)
    recv = more.get("recv", ts + 1000)
    fields = (length, 0xA0, 1, more.get("instrument", 7), ts, order_id, price, size, more.get("flags", 0), 0)
    return MBO.pack(*fields, action.encode(), side.encode(), recv, 0, 0).ljust(length * 4, b"\0")


def naive_events(path: Path, symbol_ids: set[int] | None = None) -> np.ndarray:
    """Converts a decompressed file whose times are in order and whose latencies are not negative."""
    data = path.read_bytes()
    at = 8 + struct.unpack_from("<I", data, 4)[0]
    kinds = {b"A": 10, b"C": 11, b"M": 12, b"R": 3, b"T": 2, b"F": 13}
    sides = {b"B": 1 << 29, b"A": 1 << 28, b"N": 0}
    rows, cleared = [], None
    while at < len(data):
        length = data[at] * 4
        if data[at + 1] == 0xA0:
            record = MBO.unpack_from(data, at)
            instrument, exch, order_id, price, size, flags = record[3:9]
            action, side, recv = record[10:13]
            if action != b"N" and (symbol_ids is None or instrument in symbol_ids):
                cleared = recv if action == b"R" else cleared if cleared == recv else None
                if cleared is not None or flags & SNAPSHOT:
                    exch = recv
                px = float("nan") if price == UNDEF_PRICE else price / 1e9
                ev = kinds[action] | sides[side] | 1 << 31 | 1 << 30
                rows.append((ev, exch, recv, px, size, order_id, flags, 0.0))
        at += length
    return np.array(rows, event_dtype)
