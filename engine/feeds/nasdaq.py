"""NASDAQ's orders as files: TotalView-ITCH 5.0 and LOBSTER's message files, on their way to event arrays.

Both count time from midnight in New York and have no local clock, so ``local_ts`` is ``exch_ts`` plus a
latency that the user gives. They come in order, hence rows go to a ``Spool`` as they are made, unsorted.
"""

from __future__ import annotations

import re
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import Protocol

import numpy as np

from engine.core.errors import DataError
from engine.feeds.capture import Conversion, Progress, read_ahead, text_blocks
from engine.feeds.days import day_of, midnight
from engine.feeds.itch import LENGTHS, ItchParser
from engine.feeds.lobster import LobsterParser
from engine.feeds.spool import Spool

SIDES_UNTIL = date(2014, 7, 14)
"""From this day on NASDAQ calls every hidden order that trades a buy order, so the side says nothing."""

_DAY = 86_400_000_000_000
_ENOUGH = 64
"""Messages at the beginning that have to look like some, or as many as there are in the first block."""

_LOBSTER_NAME = re.compile(r"([A-Z][A-Z.]*)_\d{4}-\d\d-\d\d_")
_LOBSTER_LINE = re.compile(rb"\d+(\.\d+)?,[1-7],-?\d+,-?\d+,-?\d+,-?1(,[^,]*)?")


class _Parser(Protocol):
    def feed(self, block: bytes) -> None: ...
    def close(self) -> None: ...
    def take(self) -> np.ndarray: ...


def convert_itch(
    path: str | Path,
    *,
    symbol: str | None = None,
    day: date | None = None,
    base_latency: int = 0,
    progress: Progress | None = None,
) -> Conversion:
    """Converts one instrument of a TotalView-ITCH 5.0 file, market by order.

    Args:
        path: The file, plain or gzipped, messages with or without their lengths.
        symbol: The instrument; needed when the file has several.
        day: Of the file; by default its name tells.
        base_latency: Nanoseconds from exchange to local times, from 0 to a day.
        progress: Called with the number of bytes of the file read since the last call.

    Returns:
        Events with EXCH and LOCAL flags; ``lines`` is the number of messages about the instrument.

    Raises:
        DataError: The file is unreadable, truncated or corrupt, has several symbols or not the one asked for,
            an order is added twice, was not added or has less left than is taken; the error names the byte.
        ConfigError: This machine has no time zone database.
    """
    name, when, start = _beginning(path, day, base_latency)
    parser = ItchParser(
        symbol,
        midnight=start,
        latency=base_latency,
        hidden_sides=when < SIDES_UNTIL,
        framed=itch_framing(_first_block(path)) is not False,
        file=name,
    )
    events = _parse(parser, path, progress)
    if len(events) == 0:
        raise DataError(f"no market events of {parser.symbol} in it", file=name)
    counts = parser.counts
    return Conversion(events, parser.symbol, sum(counts.values()), counts, 0, 0, 0)


def itch_framing(block: bytes) -> bool | None:
    """Whether messages come behind their lengths; None if these are no messages of ITCH 5.0.

    Args:
        block: The beginning of a file, decompressed.
    """
    return next((framed for framed in (True, False) if _is_chain(block, framed)), None)


def _is_chain(block: bytes, framed: bool) -> bool:
    """Whether each message ends where another begins."""
    at = seen = 0
    while seen < _ENOUGH and at + 3 <= len(block):
        start = at + 2 if framed else at
        length = LENGTHS.get(chr(block[start]))
        if length is None or (framed and int.from_bytes(block[at:start], "big") != length):
            return False
        at = start + length
        seen += 1
    return seen > (0 if framed else 1)


def convert_lobster(
    path: str | Path,
    book: str | Path | None = None,
    *,
    symbol: str | None = None,
    day: date | None = None,
    base_latency: int = 0,
    progress: Progress | None = None,
) -> Conversion:
    """Converts a LOBSTER message file, market by order.

    Args:
        path: The message file, plain or gzipped.
        book: The orderbook file that belongs to it; its first line becomes one order a level, which stands
            for those that were there before the first message.
        symbol: Of the file; by default what its name begins with, if that is one.
        day: Of the file; by default its name tells.
        base_latency: Nanoseconds from exchange to local times, from 0 to a day.
        progress: Called with the number of bytes of the file read since the last call.

    Returns:
        Events with EXCH and LOCAL flags; ``unknown`` counts the messages about orders not in the book.

    Raises:
        DataError: A file is unreadable, truncated or wrong; the error names its line and field.
        ConfigError: This machine has no time zone database.
    """
    name, when, start = _beginning(path, day, base_latency)
    parser = LobsterParser(
        midnight=start,
        latency=base_latency,
        hidden_sides=when < SIDES_UNTIL,
        levels=[] if book is None else _first_levels(book),
        file=name,
    )
    events = _parse(parser, path, progress)
    if len(events) == 0:
        raise DataError("no market events in it", file=name)
    if symbol is None and (found := _LOBSTER_NAME.match(Path(path).name)):
        symbol = found[1]
    return Conversion(events, symbol, parser.line, parser.counts, 0, 0, 0, parser.unknown)


def is_lobster(line: bytes) -> bool:
    """Whether a line is one of a LOBSTER message file.

    Args:
        line: The first of a file, without its end.
    """
    return _LOBSTER_LINE.fullmatch(line.rstrip()) is not None


def _first_levels(path: str | Path) -> list[tuple[int, int, int]]:
    """Side, price and size of the levels that the first line of an orderbook file has, asks before bids."""
    line = _first_block(path).split(b"\n", 1)[0].decode("utf-8", "replace").rstrip()
    fields = line.split(",")
    if len(fields) % 4 or not all(field.lstrip("-").isdecimal() for field in fields):
        raise DataError(
            "no orderbook file: a line is ask price, ask size, bid price, bid size of each level",
            file=str(path),
            line=1,
        )
    numbers = [int(field) for field in fields]
    levels = [
        ((-1, 1)[place % 2], price, size)
        for place, (price, size) in enumerate(zip(numbers[::2], numbers[1::2], strict=True))
    ]
    # Levels that are not there have a price of 9,999,999,999 or its negative.
    levels = [(side, price, size) for side, price, size in levels if abs(price) != 9_999_999_999]
    for _, price, size in levels:
        if not (0 < price <= 2_000_000_000 and 0 <= size < 2**32):
            raise DataError(f"a level of {size} at {price}", file=str(path), line=1)
    if len({(side, price) for side, price, _ in levels}) < len(levels):
        raise DataError("a price twice on a side", file=str(path), line=1)
    return levels


def _beginning(path: str | Path, day: date | None, latency: int) -> tuple[str, date, int]:
    if not 0 <= latency <= _DAY:
        raise DataError(f"the latency {latency} ns is not from 0 to a day of {_DAY}", file=str(path))
    when = day_of(path, day)
    return str(path), when, midnight(when)


def _first_block(path: str | Path) -> bytes:
    with closing(text_blocks(path)) as blocks:
        return next(blocks, b"")


def _parse(parser: _Parser, path: str | Path, progress: Progress | None) -> np.ndarray:
    spool = Spool()
    with closing(read_ahead(text_blocks(path, progress))) as blocks:
        for block in blocks:
            parser.feed(block)
            spool.add(parser.take())
    parser.close()
    spool.add(parser.take())
    return spool.events()
