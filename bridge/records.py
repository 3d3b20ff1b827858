"""Ring records as messages of the protocol: names for codes, symbols for instruments."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Iterator, Sequence
from struct import Struct
from typing import Any, Literal

import msgspec
import numpy as np

from bridge import protocol as p
from bridge.layouts import reader
from bridge.ordernews import orders
from engine.core.errors import RingCorrupt
from engine.core.types import (
    Reason,
    StrategyState,
    TradingState,
    fill_dtype,
)
from engine.runtime.records import (
    SLOT_BYTES,
    FeedState,
    Flag,
    JournalState,
    Kind,
    fill_record_dtype,
    header_dtype,
    position_record_dtype,
    record_dtype,
    status_record_dtype,
)

# Rows of records as tuples.
Header = namedtuple("Header", header_dtype.names, rename=True)
FillRow = namedtuple("FillRow", fill_record_dtype.names, rename=True)
FillFields = namedtuple("FillFields", fill_dtype.names, rename=True)
PositionRow = namedtuple("PositionRow", position_record_dtype.names, rename=True)
StatusRow = namedtuple("StatusRow", status_record_dtype.names, rename=True)

REASON = {int(code): "" if code == Reason.NONE else code.name.lower() for code in Reason}
TRADING_STATE = {int(code): code.name for code in TradingState}
STRATEGY_STATE = {int(code): code.name.capitalize() for code in StrategyState}
FEED_STATE = {int(code): code.name.lower() for code in FeedState}
JOURNAL_STATE = {int(code): code.name.lower() for code in JournalState}
SIDE: dict[int, p.Side] = {1: "buy", -1: "sell"}

ORDER = int(Kind.ORDER)
_HEADER_FIELDS = list(header_dtype.names)
_HEADER = len(Header._fields)
_KIND = Struct("=H").unpack_from
# Of each kind: how a record is read, and how many fields of its payload are those of one record in it.
_READERS = {
    int(kind): (reader(header_dtype, dtype).unpack_from, _HEADER + inner)
    for kind, dtype, inner in (
        (Kind.FILL, fill_record_dtype, len(FillFields._fields)),
        (Kind.POSITION, position_record_dtype, 0),
        (Kind.STATUS, status_record_dtype, 0),
    )
}


def runs(records: np.ndarray) -> Iterator[tuple[int, Sequence[Any], Any]]:
    """Cuts a batch of anything but market data into runs of one kind.

    Args:
        records: Array of ``record_dtype``, shape (n,), or the bytes of such, shape (n, 256).

    Yields:
        Kind, headers, and the payloads: a list of tuples, or the records themselves where they are blobs. An
        :class:`bridge.ordernews.OrderNews` is both.
    """
    begin, n = 0, len(records)
    slots = records if records.ndim == 2 else records.view(np.uint8).reshape(-1, SLOT_BYTES)
    while begin < n:
        (kind,), end = _KIND(records, begin * SLOT_BYTES), begin + 1
        while end < n and _KIND(records, end * SLOT_BYTES)[0] == kind:
            end += 1
        if kind == ORDER:
            news = orders(slots, begin, end)
            begin = end
            yield kind, news, news
            continue
        first, last = begin * SLOT_BYTES, end * SLOT_BYTES
        known = _READERS.get(kind)
        if known is None:
            part = as_records(records[begin:end])
            begin = end
            yield kind, [Header(*row) for row in part[_HEADER_FIELDS].tolist()], part
            continue
        begin = end
        read, after = known
        headers, rows = [], []
        for place in range(first, last, SLOT_BYTES):
            values = read(records, place)
            headers.append(Header._make(values[:_HEADER]))
            inner = values[_HEADER:after]
            rows.append((inner, *values[after:]) if inner else values[after:])
        yield kind, headers, rows


def last_trades(records: np.ndarray, instrument: int, most: int) -> tuple[np.ndarray, int]:
    """Leaves out all but an instrument's last trades.

    Args:
        records: Array of ``record_dtype``, shape (n,), of ``market_out``.
        instrument: Whose trades.
        most: How many to keep.

    Returns:
        The other records and those trades, in their order, and how many trades were left out.
    """
    places = np.flatnonzero((records["kind"] == Kind.TRADE) & (records["instrument"] == instrument))
    if len(places) <= most:
        return records, 0
    keep = np.ones(len(records), bool)
    keep[places[: len(places) - most]] = False
    return records[keep], len(places) - most


def since_snapshot(records: np.ndarray) -> tuple[np.ndarray, list[int]]:
    """Leaves out the changes of books that a later whole snapshot in the same array makes void.

    Args:
        records: Array of ``record_dtype``, shape (n,), of ``market_out``.

    Returns:
        The records that count, in their order, and the instruments of which some were left out.
    """
    depth = records["kind"] == Kind.DEPTH
    flags, instruments = records["flags"], records["instrument"]
    keep = np.ones(len(records), bool)
    skipped = []
    for instrument in np.unique(instruments[depth]).tolist():
        places = np.flatnonzero(depth & (instruments == instrument))
        last = np.flatnonzero(flags[places] & int(Flag.LAST))
        whole = last[(flags[places[last]] & int(Flag.SNAPSHOT)) != 0]
        before = last[last < whole[-1]] if len(whole) else whole
        if len(before):
            keep[places[: before[-1] + 1]] = False
            skipped.append(instrument)
    return records[keep], skipped


def as_records(slots: np.ndarray) -> np.ndarray:
    """What a ring's ``pop_many`` returns, seen as records."""
    return slots.view(record_dtype).reshape(-1)


def fill(row: FillRow, header: Header, epoch: int, seq: int, strategy_id: str, symbol: str) -> p.Fill:
    """A FILL record."""
    one = FillFields(*row.fill)
    return p.Fill(
        epoch,
        seq,
        header.ts,
        one.exch_ts,
        strategy_id,
        symbol,
        one.order_id,
        one.client_order_id,
        SIDE[one.side],
        one.px,
        row.qty,
        one.fee,
        bool(one.is_maker),
        one.mid_price,
        REASON[one.reason],
        row.position,
    )


def position(
    row: PositionRow, header: Header, epoch: int, seq: int, strategy_id: str, symbol: str
) -> p.PositionSnapshot:
    """A POSITION record."""
    return p.PositionSnapshot(
        epoch,
        seq,
        header.ts,
        strategy_id,
        symbol,
        row.position,
        row.avg_px,
        row.mid_px,
        row.realized_pnl,
        row.unrealized_pnl,
        row.fee,
        row.balance,
        row.equity,
        row.trading_volume,
        row.trading_value,
        row.num_trades,
        row.open_orders,
    )


def engine_status(
    row: StatusRow, header: Header, epoch: int, seq: int, engine: str, mode: p.Mode, sessions: int
) -> p.EngineStatus:
    """A STATUS record."""
    return p.EngineStatus(
        epoch,
        seq,
        row.wall_ts,
        engine,
        mode,
        TRADING_STATE[row.trading_state],
        FEED_STATE[row.feed_state],
        row.feed_wall_ts,
        row.market_ts,
        header.step,
        row.events,
        row.orders,
        row.fills,
        row.denied,
        row.conflated,
        row.dropped,
        row.events_per_second,
        row.loop_ns,
        sessions,
        JOURNAL_STATE[row.journal_state],
        row.accepted_seq,
        row.durable_seq,
    )


class StrategyBlob(msgspec.Struct):
    """What a STRATEGY blob holds; the header has the slot."""

    strategy_id: str
    state: str
    kind: Literal["python", "native", "external"] = "python"
    message: str = ""
    symbols: list[str] = []
    params: list[dict[str, Any]] = []
    switches: list[p.SwitchInfo] = []


class ReplyBlob(msgspec.Struct):
    """What a REPLY blob holds."""

    request_id: int
    success: bool
    message: str = ""
    strategy_state: str = ""
    trading_state: str = ""
    current_params: dict[str, Any] = {}
    slot: int | None = None
    details: dict[str, Any] = {}
    journal_seq: int = 0


class LogBlob(msgspec.Struct):
    """What a LOG blob holds."""

    level: str
    source: str
    text: str


_BLOBS: dict[int, type[msgspec.Struct]] = {
    Kind.STRATEGY: StrategyBlob,
    Kind.REPLY: ReplyBlob,
    Kind.LOG: LogBlob,
}


def blob(kind: int, message: Any) -> Any:
    """A joined blob as its struct.

    Raises:
        RingCorrupt: It is not what its kind says.
    """
    try:
        return msgspec.convert(message, _BLOBS[kind])
    except (KeyError, msgspec.ValidationError) as error:
        raise RingCorrupt(f"a blob of kind {kind}: {error}") from None
