"""Tardis.dev's csv files of trades and level changes, and their way to one event array."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np

from engine.core.errors import ConfigError, DataError
from engine.core.types import BUY_EVENT, DEPTH_CLEAR_EVENT, DEPTH_SNAPSHOT_EVENT, SELL_EVENT, event_dtype
from engine.feeds.capture import Conversion, Progress, read_ahead, text_blocks
from engine.feeds.ordering import correct_event_order, latency_shift
from engine.feeds.tardis_rows import TRADES, TardisParser

SNAPSHOTS = ("process", "ignore_sod", "ignore")
"""What becomes of snapshots: rows, rows but for that of the day's start, nothing."""

_FIRST_COLUMNS = b"exchange,symbol,timestamp,local_timestamp,"


def convert(
    paths: Sequence[str | Path],
    *,
    symbol: str | None = None,
    snapshots: str = "process",
    base_latency: int = 0,
    progress: Progress | None = None,
) -> Conversion:
    """Converts files of the types ``trades`` and ``incremental_book_L2`` of one symbol to one recording.

    The rows are those of ``hftbacktest.data.utils.tardis.convert`` with the trades first, but for what
    docs/data.md says.

    Args:
        paths: The files, plain or gzipped, in any order; those of a type in the order of their days.
        symbol: Which one to take of files with several.
        snapshots: One of ``SNAPSHOTS``.
        base_latency: Nanoseconds added to the correction of a negative feed latency, if there is one.
        progress: Called with the number of bytes of the files read since the last call.

    Returns:
        Events; ``lines`` counts the lines of all files, ``stale`` the updates before a file's first snapshot,
        which are left out.

    Raises:
        DataError: A file is unreadable, truncated or wrong, has another type or several symbols; the error
            names its line and field.
        ConfigError: ``snapshots`` is none of those.
    """
    if snapshots not in SNAPSHOTS:
        raise ConfigError(f"snapshots {snapshots!r} is none of {', '.join(SNAPSHOTS)}")
    trades, depth = [], []
    lines = stale = 0
    messages = {"trade": 0, "depth": 0, "snapshot": 0}
    for path in paths:
        parser = _parse(path, symbol, progress)
        symbol = parser.symbol if symbol is None else symbol
        rows = parser.take()
        lines += parser.line
        if parser.columns == TRADES:
            messages["trade"] += len(rows)
            trades.append(rows)
            continue
        of_snapshot = int(np.count_nonzero((rows["ev"] & 0xFF) == DEPTH_SNAPSHOT_EVENT))
        messages["snapshot"] += of_snapshot
        messages["depth"] += len(rows) - of_snapshot
        arranged, left_out = _arrange(rows, snapshots)
        depth.append(arranged)
        stale += left_out
    rows = np.concatenate([*trades, *depth]) if trades or depth else np.empty(0, event_dtype)
    del trades, depth
    if len(rows) == 0:
        raise DataError(f"no market events{f' of {symbol}' if symbol else ''} in it", file=str(paths[0]))
    shift = latency_shift(rows, base_latency)
    counted = {what: count for what, count in messages.items() if count}
    return Conversion(correct_event_order(rows, shift), symbol, lines, counted, shift, stale, 0)


def is_tardis(line: bytes) -> bool:
    """Whether a line is the first of a Tardis file, of whatever type.

    Args:
        line: The line, without its end.
    """
    return line.startswith(_FIRST_COLUMNS)


def _parse(path: str | Path, symbol: str | None, progress: Progress | None) -> TardisParser:
    parser = TardisParser(symbol, file=str(path))
    with closing(read_ahead(text_blocks(path, progress))) as blocks:
        for block in blocks:
            parser.feed(block)
    parser.close()
    if parser.columns is None:
        raise DataError("no first line with the columns' names", file=str(path))
    if symbol is None and parser.others:
        names = ", ".join([parser.symbol, *parser.others])
        raise DataError(f"has several symbols, name one: {names}", file=str(path), field="symbol")
    return parser


# --- snapshots -------------------------------------------------------------------------------------------


def _arrange(rows: np.ndarray, snapshots: str) -> tuple[np.ndarray, int]:
    """The rows of a file with its snapshots as a backtest wants them, and how many updates it has lost."""
    snapshot = (rows["ev"] & 0xFF) == DEPTH_SNAPSHOT_EVENT
    edges = np.flatnonzero(np.diff(snapshot, prepend=False, append=False))
    runs = edges.reshape(-1, 2).tolist()
    if not runs:
        return rows, 0
    # What comes before the first snapshot was buffered while it was waited for, and is in it.
    stale = runs[0][0] if snapshots == "process" else 0
    parts, at = [], stale
    for number, (first, behind) in enumerate(runs):
        parts.append(rows[at:first])
        if snapshots == "process" or (snapshots == "ignore_sod" and number > 0):
            for side in (BUY_EVENT, SELL_EVENT):
                parts.append(_side_of(rows[first:behind], side))
        at = behind
    return np.concatenate([*parts, rows[at:]]), stale


def _side_of(snapshot: np.ndarray, side: int) -> np.ndarray:
    """A side's rows behind one that clears its levels as far as the snapshot reaches."""
    levels = snapshot[(snapshot["ev"] & np.uint64(side)) != 0]
    if len(levels) == 0:
        return levels
    clear = np.zeros(1, event_dtype)
    clear["ev"] = side | DEPTH_CLEAR_EVENT
    clear["exch_ts"], clear["local_ts"] = levels["exch_ts"][0], levels["local_ts"][0]
    clear["px"] = levels["px"].min() if side == BUY_EVENT else levels["px"].max()
    return np.concatenate([clear, levels])
