"""Small Binance captures made of dictionaries, for tests of parsing and validation."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

START_NS = 1_723_161_255_000_000_000
START_MS = 1_723_161_255_000


def line(
    local_offset_ns: int, data: dict[str, Any], *, stream: str | None = "x", spaces: bool = False
) -> bytes:
    """One line of a capture; ``stream`` None makes it a plain message."""
    message = data if stream is None else {"stream": stream, "data": data}
    separators = (", ", ": ") if spaces else (",", ":")
    return f"{START_NS + local_offset_ns} {json.dumps(message, separators=separators)}\n".encode()


def depth(
    ms: int, first: int, last: int, prev: int | None, bids: Iterable = (), asks: Iterable = (), **more
) -> dict:
    """A depth update; ``prev`` None makes it spot's, without ``T`` and ``pu``."""
    futures = {} if prev is None else {"T": START_MS + ms, "pu": prev}
    return {
        "e": "depthUpdate",
        "E": START_MS + ms,
        "s": "BTCUSDT",
        "U": first,
        "u": last,
        **futures,
        "b": [list(level) for level in bids],
        "a": [list(level) for level in asks],
        **more,
    }


def trade(ms: int, px: str, qty: str, maker: bool = False, **more) -> dict:
    """A trade of futures; ``X=None`` makes it spot's."""
    data = {"e": "trade", "E": START_MS + ms, "T": START_MS + ms, "s": "BTCUSDT", "t": 1, "p": px, "q": qty}
    data |= {"X": "MARKET", "m": maker} | more
    return {key: value for key, value in data.items() if value is not None}


def snapshot(ms: int | None, last: int, bids: Iterable, asks: Iterable) -> dict:
    """A REST snapshot; ``ms`` None makes it spot's, without times."""
    times = {} if ms is None else {"E": START_MS + ms, "T": START_MS + ms}
    return {"lastUpdateId": last, **times, "bids": [list(x) for x in bids], "asks": [list(x) for x in asks]}


def write(path: Path, lines: Iterable[bytes]) -> Path:
    """Writes a capture, gzipped when its name ends in .gz."""
    content = b"".join(lines)
    path.write_bytes(gzip.compress(content, 1, mtime=0) if path.suffix == ".gz" else content)
    return path
