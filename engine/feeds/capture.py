"""Raw captures: files of ``<local_ns> <json>`` lines, plain or gzipped, and their way to event arrays."""

from __future__ import annotations

import contextlib
import queue
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import numpy as np

from engine.core.errors import DataError
from engine.feeds.binance.parse import CaptureParser
from engine.feeds.ordering import correct_event_order, latency_shift

BLOCK = 1 << 18
"""Compressed bytes read at a time."""

MAX_TEXT = 4 << 20
"""Decompressed bytes handed on at a time, whatever a block expands to."""

_AHEAD = 4
_GZIP = b"\x1f\x8b"
_FOREIGN = {
    b"PK\x03\x04": "an npz or zip archive, not a capture",
    b"\x93NUMPY": "an npy array, not a capture",
    b"\x28\xb5\x2f\xfd": "compressed with zstd, decompress it first",
    b"\xfd7zXZ": "compressed with xz, decompress it first",
    b"BZh": "compressed with bzip2, decompress it first",
}

Progress = Callable[[int], None]


class Conversion(NamedTuple):
    """What a capture became.

    Attributes:
        events: ``event_dtype`` array, sorted by both clocks.
        symbol: The symbol of its messages, or None when none names one.
        lines: Lines read, or records of a binary recording.
        messages: Number of messages by kind.
        latency_offset: Nanoseconds added to every local time, see ``ordering.latency_shift``.
        stale: Depth messages left out because a snapshot included them.
        replayed: Rows repeated after a spot snapshot that arrived later than newer updates.
        unknown: Messages about orders that the file had not added, which change nothing in the book.
    """

    events: np.ndarray
    symbol: str | None
    lines: int
    messages: dict[str, int]
    latency_offset: int
    stale: int
    replayed: int
    unknown: int = 0


def text_blocks(path: str | Path, progress: Progress | None = None) -> Iterator[bytes]:
    """Reads a capture in blocks, decompressing gzip (of any number of members).

    Args:
        path: The file; what it is is told by its first bytes, not by its name.
        progress: Called with the number of bytes of the file read since the last call.

    Yields:
        Blocks of text of at most ``MAX_TEXT`` bytes or ``BLOCK``, cut anywhere.

    Raises:
        DataError: The file cannot be read, is no capture, or its gzip data are corrupt or truncated.
    """
    try:
        with open(path, "rb") as file:
            block = file.read(BLOCK)
            if block.startswith(_GZIP):
                yield from _gunzip(file, block, str(path), progress)
                return
            for magic, what in _FOREIGN.items():
                if block.startswith(magic):
                    raise DataError(what, file=str(path))
            while block:
                if progress is not None:
                    progress(len(block))
                yield block
                block = file.read(BLOCK)
    except OSError as error:
        raise DataError(error.strerror or str(error), file=str(path)) from None


def _gunzip(file, block: bytes, name: str, progress: Progress | None) -> Iterator[bytes]:
    member = zlib.decompressobj(wbits=31)
    position = 0
    while block:
        pending = block
        while pending:
            if member.eof:
                # Zeros behind the last member are padding, as for gzip itself.
                pending = pending.lstrip(b"\0") if member.unused_data or pending[:1] == b"\0" else pending
                if not pending:
                    break
                member = zlib.decompressobj(wbits=31)
            try:
                text = member.decompress(pending, MAX_TEXT)
            except zlib.error as error:
                at = position + len(block) - len(pending)
                raise DataError(f"corrupt gzip data near here: {error}", file=name, byte=at) from None
            pending = member.unused_data if member.eof else member.unconsumed_tail
            if text:
                yield text
        position += len(block)
        if progress is not None:
            progress(len(block))
        block = file.read(BLOCK)
    if not member.eof:
        raise DataError("truncated: the gzip data end too early", file=name, byte=position)


def convert(
    path: str | Path,
    *,
    opt: str = "",
    base_latency: int = 0,
    progress: Progress | None = None,
) -> Conversion:
    """Converts a raw Binance capture: USD-M, COIN-M or spot, combined or plain streams, gzipped or not.

    For futures the events equal those of ``hftbacktest.data.utils.binancefutures.convert``, row by row.
    Spot follows the same rules with what its messages have: a depth update happens at ``E``, a trade at
    ``T``; a REST snapshot, which has no time, happens at the last update that it includes, and the
    updates that had arrived before it but are newer are repeated after it on the local side, as a client
    that builds a book has to do; updates older than the snapshot that arrive after it are left out.

    Args:
        path: The capture.
        opt: ``m`` adds mark prices (kinds 100 to 102), ``t`` the book ticker (103, 104), ``mt`` both.
        base_latency: Nanoseconds added to the correction of a negative feed latency, if there is one.
        progress: Called with the number of bytes of the file read since the last call.

    Raises:
        DataError: The file is unreadable, truncated or corrupt; the error names its line or byte.
    """
    parser = parse(path, opt=opt, progress=progress)
    rows = parser.take()
    if len(rows) == 0:
        raise DataError("no market events in it", file=str(path))
    shift = latency_shift(rows, base_latency)
    events = correct_event_order(rows, shift)
    return Conversion(
        events, parser.symbol, parser.lines, parser.counts, shift, parser.stale, parser.replayed
    )


def parse(
    path: str | Path, *, opt: str = "", marks: bool = False, progress: Progress | None = None
) -> CaptureParser:
    """Parses a whole capture; its events stay in the order of arrival until they are ordered.

    Args:
        path: The capture.
        opt: As for :func:`convert`.
        marks: Also keep the sequence numbers of every message, see ``CaptureParser.take_marks``.
        progress: As for :func:`convert`.

    Raises:
        DataError: As :func:`convert`.
    """
    parser = CaptureParser(opt, marks=marks, file=str(path))
    with closing(read_ahead(text_blocks(path, progress))) as blocks:
        for block in blocks:
            parser.feed(block)
    parser.close()
    return parser


def read_ahead(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Runs an iterator in a thread, a few blocks ahead: zlib and the parser both work without the GIL.

    Args:
        blocks: What to read; close the result to end the thread early.
    """
    ready: queue.Queue[bytes | BaseException | None] = queue.Queue(_AHEAD)
    stop = threading.Event()

    def read() -> None:
        last = None
        try:
            for block in blocks:
                ready.put(block)
                if stop.is_set():
                    return
        except BaseException as error:
            last = error
        ready.put(last)

    thread = threading.Thread(target=read, name="ringbook-read", daemon=True)
    thread.start()
    try:
        while (block := ready.get()) is not None:
            if isinstance(block, BaseException):
                raise block
            yield block
    finally:
        # Room for the one block that the thread may still put before it sees that it has to stop.
        stop.set()
        with contextlib.suppress(queue.Empty):
            while True:
                ready.get_nowait()
        thread.join()
