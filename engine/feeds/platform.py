"""Market data as other platforms write them: jsonl with both times, side, price, quantity and type."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import numpy as np

from engine.core.errors import DataError
from engine.core.types import (
    ADD_ORDER_EVENT,
    BUY_EVENT,
    CANCEL_ORDER_EVENT,
    DEPTH_BBO_EVENT,
    DEPTH_CLEAR_EVENT,
    DEPTH_EVENT,
    DEPTH_SNAPSHOT_EVENT,
    EXCH_EVENT,
    FILL_EVENT,
    LOCAL_EVENT,
    MODIFY_ORDER_EVENT,
    SELL_EVENT,
    TRADE_EVENT,
    event_dtype,
)
from engine.feeds.capture import Conversion, Progress, text_blocks
from engine.feeds.ordering import correct_event_order, latency_shift

TYPES: dict[str | int, int] = {
    "depth": DEPTH_EVENT,
    "trade": TRADE_EVENT,
    "clear": DEPTH_CLEAR_EVENT,
    "snapshot": DEPTH_SNAPSHOT_EVENT,
    "bbo": DEPTH_BBO_EVENT,
    "add": ADD_ORDER_EVENT,
    "cancel": CANCEL_ORDER_EVENT,
    "modify": MODIFY_ORDER_EVENT,
    "fill": FILL_EVENT,
}
TYPES |= {kind: kind for kind in TYPES.values()}
SIDES: dict[str | int | None, int] = {
    "buy": BUY_EVENT, "bid": BUY_EVENT, 1: BUY_EVENT,
    "sell": SELL_EVENT, "ask": SELL_EVENT, -1: SELL_EVENT,
    None: 0, "": 0, 0: 0,
}  # fmt: skip


class Line(msgspec.Struct):
    """A line; what else it says is ignored. A trade's side is that of who took liquidity."""

    exch_ts: int | None
    local_ts: int | None
    price: float | None
    qty: float | None
    type: str | int
    side: str | int | None = None
    order_id: int = 0
    symbol: str | None = None


def is_platform(line: bytes) -> bool:
    """Whether a line is one of such a file.

    Args:
        line: The line, without its end.
    """
    return line.lstrip().startswith(b"{") and b'"exch_ts"' in line and b'"local_ts"' in line


def convert(
    path: str | Path,
    *,
    symbol: str | None = None,
    base_latency: int = 0,
    progress: Progress | None = None,
) -> Conversion:
    """Converts a file of lines like ``{"exch_ts", "local_ts", "side", "price", "qty", "type"}``.

    Times are nanoseconds. A line that only the venue or only we saw has null for the other time.

    Args:
        path: The file, plain or gzipped.
        symbol: Which one to take of lines that name one.
        base_latency: Nanoseconds added to the correction of a negative feed latency, if there is one.
        progress: Called with the number of bytes of the file read since the last call.

    Raises:
        DataError: The file is unreadable or a line is wrong; the error names line and field.
    """
    rows: list[tuple[int, int, int, float, float, int, int, float]] = []
    counted: dict[str, int] = {}
    seen: dict[str, int] = {}
    decoder = msgspec.json.Decoder(Line, strict=False)
    number = 0
    for number, text in enumerate(_lines(path, progress), 1):
        if not text.strip():
            continue
        try:
            line = decoder.decode(text)
            row = _row(line)
        except (msgspec.MsgspecError, _Wrong) as error:
            raise DataError(str(error), file=str(path), line=number) from None
        if line.symbol is not None:
            seen.setdefault(line.symbol, number)
            if symbol is not None and line.symbol != symbol:
                continue
        rows.append(row)
        counted[str(line.type)] = counted.get(str(line.type), 0) + 1
    if symbol is None and len(seen) > 1:
        raise DataError(f"has several symbols, name one: {', '.join(seen)}", file=str(path), field="symbol")
    if not rows:
        raise DataError("no market events in it", file=str(path))
    events = np.array(rows, event_dtype)
    one_sided = (events["ev"] & np.uint64(EXCH_EVENT | LOCAL_EVENT)) != 0
    if one_sided.any():
        return _already_split(path, events, symbol, number, counted)
    shift = latency_shift(events, base_latency)
    return Conversion(correct_event_order(events, shift), symbol, number, counted, shift, 0, 0)


class _Wrong(Exception):
    """A line that is JSON, but no event."""


def _row(line: Line) -> tuple[int, int, int, float, float, int, int, float]:
    kind, side = line.type, line.side
    kind = TYPES.get(kind.lower() if isinstance(kind, str) else kind)
    if kind is None:
        raise _Wrong(
            f"field type: {line.type!r} is none of {', '.join(k for k in TYPES if isinstance(k, str))}"
        )
    flag = SIDES.get(side.lower() if isinstance(side, str) else side)
    if flag is None:
        raise _Wrong(f"field side: {side!r} is neither buy nor sell")
    if line.exch_ts is None and line.local_ts is None:
        raise _Wrong("fields exch_ts and local_ts: one of them is needed")
    for field in ("price", "qty"):
        if getattr(line, field) is None and kind != DEPTH_CLEAR_EVENT:
            raise _Wrong(f"field {field}: missing")
    ev = kind | flag
    if line.exch_ts is None or line.local_ts is None:
        ev |= LOCAL_EVENT if line.exch_ts is None else EXCH_EVENT
    exch_ts = line.local_ts if line.exch_ts is None else line.exch_ts
    local_ts = line.exch_ts if line.local_ts is None else line.local_ts
    if not (0 <= exch_ts < 1 << 63 and 0 <= local_ts < 1 << 63 and 0 <= line.order_id < 1 << 64):
        raise _Wrong("field exch_ts, local_ts or order_id: beyond 64 bits")
    return ev, exch_ts, local_ts, line.price or 0.0, line.qty or 0.0, line.order_id, 0, 0.0


def _already_split(
    path: str | Path, events: np.ndarray, symbol: str | None, lines: int, counted: dict[str, int]
) -> Conversion:
    """Lines of one side only: the file is in an order already, which stays as it is when it is right."""
    both = (events["ev"] & np.uint64(EXCH_EVENT | LOCAL_EVENT)) == 0
    events["ev"][both] |= np.uint64(EXCH_EVENT | LOCAL_EVENT)
    for flag, field in ((EXCH_EVENT, "exch_ts"), (LOCAL_EVENT, "local_ts")):
        times = events[field][(events["ev"] & np.uint64(flag)) != 0]
        if len(times) and (np.diff(times) < 0).any():
            raise DataError(
                "lines of one side only have to be in that side's order", file=str(path), field=field
            )
    return Conversion(events, symbol, lines, counted, 0, 0, 0)


def _lines(path: str | Path, progress: Progress | None) -> Iterator[bytes]:
    rest = b""
    with closing(text_blocks(path, progress)) as blocks:
        for block in blocks:
            *whole, rest = (rest + block).split(b"\n")
            yield from whole
    if rest:
        yield rest
