"""One raw Binance message, decoded the plain way: what the fast parser falls back to, and its oracle.

Exchange times. Futures messages carry the transaction time ``T``. Spot's depth updates have only the
event time ``E``; spot's book ticker and REST snapshots have no time at all and return -1: the parser
then gives the ticker the newest exchange time seen, and the snapshot that of the last update it includes.
"""

from __future__ import annotations

import math
import re
from typing import Any, NamedTuple

import msgspec

from engine.core.types import (
    BUY_EVENT,
    DEPTH_CLEAR_EVENT,
    DEPTH_EVENT,
    DEPTH_SNAPSHOT_EVENT,
    SELL_EVENT,
    TRADE_EVENT,
)

TRADE, DEPTH, BOOK_TICKER, MARK_PRICE, SNAPSHOT, OTHER = range(1, 7)
INDEX_PRICE_ROW, MARK_PRICE_ROW, FUNDING_RATE_ROW, BEST_BID_ROW, BEST_ASK_ROW = range(100, 105)

MAX_LINE = 64 << 20
"""A line longer than this is refused: a full REST snapshot is below one megabyte."""

_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]+)?", re.ASCII)
_NANOSECONDS = {13: 1_000_000, 16: 1_000, 19: 1}

Row = tuple[int, float, float]


class Refused(Exception):
    """A line cannot be used; the parser adds file, line and byte."""

    def __init__(self, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class Decoded(NamedTuple):
    """What a line says: ids are -1 where absent, ``exch_ts`` too; rows are (ev, px, qty)."""

    kind: int
    name: str
    local_ts: int
    exch_ts: int
    timed: bool
    first_id: int
    last_id: int
    prev_id: int
    symbol: str
    rows: list[Row]


def decode(line: bytes, marks: bool, ticker: bool) -> Decoded | None:
    """Decodes ``<local_ns> <json>``.

    Args:
        line: One line, without its newline.
        marks: Whether mark price updates make rows.
        ticker: Whether the book ticker makes rows.

    Returns:
        The message; None for a blank line.

    Raises:
        Refused: The line is no message, or lacks a field, or has an impossible value.
    """
    stripped = line.strip()
    if not stripped:
        return None
    stamp, _, text = stripped.partition(b" ")
    if not stamp.isdigit():
        raise Refused(f"the local timestamp {_shown(stamp)} is not a number", "local_ts")
    if len(stamp) != 19 or stamp[:1] == b"0" or int(stamp) >= 1 << 63:
        raise Refused(f"the local timestamp {_shown(stamp)} is not in nanoseconds (19 digits)", "local_ts")
    try:
        message = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refused(f"not JSON: {error}") from None
    if not isinstance(message, dict):
        raise Refused("the message is not a JSON object")
    if "data" in message or "stream" in message:
        message = message.get("data")
        if not isinstance(message, dict):
            raise Refused("the stream's data is not a JSON object", "data")
    return _message(message, int(stamp), marks, ticker)


def _message(data: dict[str, Any], local_ts: int, marks: bool, ticker: bool) -> Decoded:
    event = data.get("e")
    if event is None and "bids" not in data and {"u", "b", "B", "a", "A"} <= data.keys():
        event = "bookTicker"
    timed, exch_ts, rows, kind, name = "T" in data, -1, [], OTHER, ""
    if event == "trade":
        kind = TRADE
        if data.get("X", "MARKET") == "MARKET":
            exch_ts, rows = _time(data, "T"), [_trade(data)]
    elif event == "depthUpdate":
        kind = DEPTH
        exch_ts = _time(data, "T" if timed else "E")
        rows = _levels(data, "b", DEPTH_EVENT | BUY_EVENT) + _levels(data, "a", DEPTH_EVENT | SELL_EVENT)
        _id(data, "U", required=True), _id(data, "u", required=True)
    elif event == "bookTicker":
        kind = BOOK_TICKER
        if ticker:
            exch_ts = _time(data, "T") if timed else -1
            rows = [(BEST_BID_ROW, _px(data, "b"), _px(data, "B"))]
            rows.append((BEST_ASK_ROW, _px(data, "a"), _px(data, "A")))
    elif event == "markPriceUpdate":
        kind = MARK_PRICE
        if marks:
            exch_ts = _time(data, "T")
            rows = [(INDEX_PRICE_ROW, _px(data, "i"), 0.0), (MARK_PRICE_ROW, _px(data, "p"), 0.0)]
            rows.append((FUNDING_RATE_ROW, _number(_get(data, "r"), "r"), 0.0))
    elif event is None and ("lastUpdateId" in data or "bids" in data):
        kind = SNAPSHOT
        exch_ts = _time(data, "T") if timed else -1
        rows = _side(data, "bids", BUY_EVENT) + _side(data, "asks", SELL_EVENT)
    else:
        name = _name(data, event)
    last = _id(data, "lastUpdateId", required=not timed) if kind == SNAPSHOT else _id(data, "u")
    symbol = data.get("s", data.get("symbol")) if kind != OTHER else None
    return Decoded(
        kind,
        name,
        local_ts,
        exch_ts,
        timed,
        _id(data, "U"),
        last,
        _id(data, "pu"),
        symbol if isinstance(symbol, str) else "",
        rows,
    )


def _name(data: dict[str, Any], event: Any) -> str:
    """What to count a message as that makes no rows."""
    if isinstance(event, str):
        return event
    if "code" in data and "msg" in data:
        return "error"
    if "result" in data and "id" in data:
        return "reply"
    raise Refused("neither a market message nor a depth snapshot: no field e and no lastUpdateId", "e")


def _trade(data: dict[str, Any]) -> Row:
    maker = _get(data, "m")
    if not isinstance(maker, bool):
        raise Refused(f"{_shown(maker)} is not true or false", "m")
    return TRADE_EVENT | (SELL_EVENT if maker else BUY_EVENT), _px(data, "p"), _px(data, "q")


def _levels(data: dict[str, Any], field: str, ev: int) -> list[Row]:
    levels = _get(data, field)
    if not isinstance(levels, list):
        raise Refused("not a list of levels", field)
    rows = []
    for level in levels:
        if not isinstance(level, list) or len(level) < 2:
            raise Refused(f"{_shown(level)} is not a level of price and quantity", field)
        rows.append((ev, _positive(level[0], field), _positive(level[1], field)))
    return rows


def _side(data: dict[str, Any], field: str, side: int) -> list[Row]:
    """A snapshot's side: cleared down to its last level, then set."""
    rows = _levels(data, field, DEPTH_SNAPSHOT_EVENT | side)
    return [(DEPTH_CLEAR_EVENT | side, rows[-1][1], 0.0), *rows] if rows else []


def _get(data: dict[str, Any], field: str) -> Any:
    if field not in data:
        raise Refused("missing", field)
    return data[field]


def _px(data: dict[str, Any], field: str) -> float:
    return _positive(_get(data, field), field)


def _positive(value: Any, field: str) -> float:
    number = _number(value, field)
    if number < 0 or (number == 0 and math.copysign(1.0, number) < 0):
        raise Refused(f"{_shown(value)} is negative", field)
    return number


def _number(value: Any, field: str) -> float:
    if isinstance(value, str):
        if not _NUMBER.fullmatch(value):
            raise Refused(f"{_shown(value)} is not a number", field)
    elif isinstance(value, bool) or not isinstance(value, int | float):
        raise Refused(f"{_shown(value)} is not a number", field)
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise Refused(f"{_shown(value)} is too large", field)
    return number


def _time(data: dict[str, Any], field: str) -> int:
    """A Binance time in nanoseconds; the number of digits tells milli-, micro- and nanoseconds apart."""
    value = _get(data, field)
    scale = _NANOSECONDS.get(len(str(value))) if isinstance(value, int) and value > 0 else None
    if isinstance(value, bool) or scale is None or value * scale >= 1 << 63:
        raise Refused(f"{_shown(value)} is not a time in milliseconds since 1970", field)
    return value * scale


def _id(data: dict[str, Any], field: str, required: bool = False) -> int:
    value = data.get(field)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 63:
        return value
    if required:
        raise Refused("missing" if value is None else f"{_shown(value)} is not an update id", field)
    return -1


def _shown(value: Any) -> str:
    text = repr(value.decode("latin-1") if isinstance(value, bytes) else value)
    return text if len(text) <= 40 else f"{text[:37]}..."
