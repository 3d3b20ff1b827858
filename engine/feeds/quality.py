"""What is wrong with a recording or a capture: gaps, order, crossed books, impossible values, latency.

A *problem* is something that a backtest would get wrong results from; a *note* is worth knowing only.
Recordings count rows from 0, as NumPy does; captures count lines from 1, as editors do.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from engine.backtest.data import as_events
from engine.backtest.files import read_array
from engine.core.errors import DataError
from engine.core.types import (
    ADD_ORDER_EVENT,
    CANCEL_ORDER_EVENT,
    DEPTH_BBO_EVENT,
    DEPTH_CLEAR_EVENT,
    DEPTH_EVENT,
    DEPTH_SNAPSHOT_EVENT,
    EXCH_EVENT,
    FILL_EVENT,
    LOCAL_EVENT,
    MODIFY_ORDER_EVENT,
    TRADE_EVENT,
    event_dtype,
)
from engine.feeds.capture import Progress, parse
from engine.feeds.crossed import crossed_messages
from engine.feeds.formats import recognise
from engine.feeds.sequence import sequence_problems

QUANTILES = {"p0": 0.0, "p1": 0.01, "p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999, "max": 1.0}

KINDS = {
    DEPTH_EVENT: "depth",
    TRADE_EVENT: "trade",
    DEPTH_CLEAR_EVENT: "depth_clear",
    DEPTH_SNAPSHOT_EVENT: "depth_snapshot",
    DEPTH_BBO_EVENT: "depth_bbo",
    ADD_ORDER_EVENT: "add_order",
    CANCEL_ORDER_EVENT: "cancel_order",
    MODIFY_ORDER_EVENT: "modify_order",
    FILL_EVENT: "fill",
    100: "index_price",
    101: "mark_price",
    102: "funding_rate",
    103: "best_bid",
    104: "best_ask",
}

_BLOCK = 1 << 20
_BY_ORDER = (ADD_ORDER_EVENT, CANCEL_ORDER_EVENT, MODIFY_ORDER_EVENT)
_NEEDS_QTY = (TRADE_EVENT, DEPTH_SNAPSHOT_EVENT, ADD_ORDER_EVENT)
_MAY_BE_NAN = (DEPTH_CLEAR_EVENT, CANCEL_ORDER_EVENT, FILL_EVENT)


@dataclass
class Problem:
    """One kind of problem: how often it occurs, and where first (rows of a recording, lines of a capture)."""

    name: str
    message: str
    count: int
    where: list[int]


@dataclass
class Report:
    """What a file holds and what is wrong with it; times are nanoseconds."""

    file: str
    format: str
    unit: str
    rows: int
    exch_rows: int | None = None
    local_rows: int | None = None
    lines: int | None = None
    symbol: str | None = None
    tick_size: float | None = None
    lot_size: float | None = None
    first_exch_ts: int | None = None
    last_exch_ts: int | None = None
    first_local_ts: int | None = None
    last_local_ts: int | None = None
    kinds: dict[str, dict[str, int]] = field(default_factory=dict)
    messages: dict[str, int] = field(default_factory=dict)
    latency_ns: dict[str, int] = field(default_factory=dict)
    longest_silence_ns: int = 0
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    def as_dict(self) -> dict[str, Any]:
        """The report as plain values, for JSON; what does not apply to the format is left out."""
        return {"clean": self.clean} | {k: v for k, v in asdict(self).items() if v is not None}


@dataclass(frozen=True)
class Limits:
    """What is looked for.

    Attributes:
        max_silence_ns: Longer without any event is a gap.
        shown: How many places of each problem are kept.
        tick_size: The price of one tick; inferred from the prices when None.
        lot_size: The quantity of one lot; inferred from the quantities when None.
    """

    max_silence_ns: int = 10_000_000_000
    shown: int = 10
    tick_size: float | None = None
    lot_size: float | None = None


def examine(path: str | Path, limits: Limits | None = None, progress: Progress | None = None) -> Report:
    """Examines an npz or npy recording, or a raw Binance capture; its first bytes tell which.

    Args:
        path: The file.
        limits: What to look for.
        progress: For captures: called with the number of bytes of the file read since the last call.

    Raises:
        DataError: The file cannot be read or parsed at all.
    """
    limits = limits or Limits()
    try:
        with open(path, "rb") as file:
            magic = file.read(6)
    except OSError as error:
        raise DataError(error.strerror or str(error), file=str(path)) from None
    if magic[:2] == b"PK" or magic == b"\x93NUMPY":
        return examine_events(as_events(read_array(path), str(path)), str(path), limits)
    form = recognise(path)
    if form != "binance":
        raise DataError(f"a file of the format {form}: convert it and validate the recording", file=str(path))
    return _examine_capture(path, limits, progress)


def examine_events(events: np.ndarray, name: str = "events", limits: Limits | None = None) -> Report:
    """Examines the events of a recording.

    Args:
        events: ``event_dtype`` array of any order and content.
        name: What the report names as the file.
        limits: What to look for.
    """
    limits = limits or Limits()
    local = (events["ev"] & np.uint64(LOCAL_EVENT)) != 0
    exch = (events["ev"] & np.uint64(EXCH_EVENT)) != 0
    report = Report(name, "recording", "row", len(events), int(exch.sum()), int(local.sum()))
    find = _Finder(report, limits, None)
    find("no_side", "neither EXCH nor LOCAL is set, so nobody sees the event", ~(local | exch))
    find("exch_order", "exchange events go back in time", _decreasing(events["exch_ts"], exch))
    find("local_order", "local events go back in time", _decreasing(events["local_ts"], local))
    latency = events["local_ts"] - events["exch_ts"]
    find("negative_latency", "the event was seen before it happened", local & (latency < 0))
    _common(report, find, events, latency[local], limits, local)
    _crossed(report, find, events, limits, LOCAL_EVENT)
    return report


def _examine_capture(path: str | Path, limits: Limits, progress: Progress | None) -> Report:
    parser = parse(path, marks=True, progress=progress)
    events, marks = parser.take(), parser.take_marks()
    if len(events) == 0:
        raise DataError("no market events in it", file=str(path))
    report = Report(str(path), "capture", "line", len(events), lines=parser.lines, symbol=parser.symbol)
    report.messages = parser.counts
    # Rows of a message follow each other, so a row belongs to the last message that begins at or before.
    filled = marks[marks["rows"] > 0]
    lines = filled["line"][np.searchsorted(filled["row"], np.arange(len(events)), side="right") - 1]
    find = _Finder(report, limits, lines)
    first_of_message = np.zeros(len(events), bool)
    first_of_message[filled["row"]] = True
    back = _decreasing(events["local_ts"], np.ones(len(events), bool))
    find("local_order", "local timestamps go back in time", back)
    for problem in sequence_problems(marks, limits.shown):
        report.problems.append(Problem(*problem))
    latency = events["local_ts"] - events["exch_ts"]
    _common(report, find, events, latency[first_of_message], limits, first_of_message)
    _crossed(report, find, events, limits, 0)
    if latency.min() < 0:
        report.notes.append(
            f"the local clock is {-latency.min():,} ns behind at most; converting shifts local times by that"
        )
    if not (marks["kind"] == 5).any():
        report.notes.append("no depth snapshot: the book begins empty and fills as levels change")
    elif parser.replayed or parser.stale:
        report.notes.append(
            f"the snapshot came late: {parser.replayed} rows of newer updates are repeated after it, "
            f"{parser.stale} updates older than it are left out"
        )
    return report


class _Finder:
    """Adds a problem to a report when a mask has any row, with the first of them."""

    def __init__(self, report: Report, limits: Limits, lines: np.ndarray | None) -> None:
        self.report, self.shown, self.lines = report, limits.shown, lines

    def __call__(self, name: str, message: str, mask: np.ndarray) -> None:
        rows = np.flatnonzero(mask)
        if rows.size:
            self.add(name, message, int(rows.size), rows[: self.shown])

    def add(self, name: str, message: str, count: int, rows: np.ndarray | list[int]) -> None:
        rows = np.asarray(rows, np.int64)
        where = rows if self.lines is None else self.lines[rows]
        self.report.problems.append(Problem(name, message, count, where.tolist()))


def _common(
    report: Report, find: _Finder, events: np.ndarray, latency: np.ndarray, limits: Limits, seen: np.ndarray
) -> None:
    """Values, silence, latency and counts, which recordings and captures have in common."""
    ev, px, qty = events["ev"], events["px"], events["qty"]
    kind = ev & np.uint64(0xFF)
    needs_number = ~np.isin(kind, _MAY_BE_NAN)
    find(
        "not_finite",
        "price or quantity is NaN or infinite",
        needs_number & ~(np.isfinite(px) & np.isfinite(qty)),
    )
    find("negative_qty", "the quantity is negative", qty < 0)
    find("zero_qty", "no quantity where there has to be one", np.isin(kind, _NEEDS_QTY) & (qty == 0))
    find("no_kind", "the event has no kind", kind == 0)
    if len(events) == 0:
        return
    rows = np.flatnonzero(seen)
    if rows.size > 1:
        silence = np.diff(events["local_ts"][rows])
        report.longest_silence_ns = int(silence.max())
        after = np.zeros(len(events), bool)
        after[rows[1:][silence > limits.max_silence_ns]] = True
        find("silence", f"nothing for more than {limits.max_silence_ns / 1e9:g} s before it", after)
    if latency.size:
        values = np.quantile(latency, list(QUANTILES.values()), method="lower")
        report.latency_ns = {name: int(value) for name, value in zip(QUANTILES, values, strict=True)}
    report.kinds = count_kinds(events)
    for clock in ("exch_ts", "local_ts"):
        setattr(report, f"first_{clock}", int(events[clock].min()))
        setattr(report, f"last_{clock}", int(events[clock].max()))


def count_kinds(events: np.ndarray) -> dict[str, dict[str, int]]:
    """Counts rows by kind, and by side (buy, sell, none) within a kind.

    Args:
        events: ``event_dtype`` array.
    """
    counts = np.zeros(256 << 2, np.int64)
    # In blocks, since the events may be more than memory holds.
    for first in range(0, len(events), _BLOCK):
        ev = events["ev"][first : first + _BLOCK]
        codes = (ev & np.uint64(0xFF)) << np.uint64(2) | (ev >> np.uint64(28)) & np.uint64(3)
        counts += np.bincount(codes.astype(np.int64), minlength=len(counts))
    result: dict[str, dict[str, int]] = {}
    for code in np.flatnonzero(counts).tolist():
        kind = KINDS.get(code >> 2, f"kind_{code >> 2}")
        sides = result.setdefault(kind, {"buy": 0, "sell": 0, "none": 0})
        # Both flags at once count as a buy, as hftbacktest reads them.
        sides["buy" if code & 2 else "sell" if code & 1 else "none"] += int(counts[code])
    return result


def _crossed(report: Report, find: _Finder, events: np.ndarray, limits: Limits, view: int) -> None:
    kind = events["ev"] & np.uint64(0xFF)
    if np.isin(kind, _BY_ORDER).any():
        report.notes.append("crossed books are not looked for: the recording is market by order")
        return
    levels = events[(kind == DEPTH_EVENT) | (kind == DEPTH_SNAPSHOT_EVENT)]
    report.tick_size = limits.tick_size or infer_step(levels["px"])
    report.lot_size = limits.lot_size or infer_step(levels["qty"])
    if report.tick_size is None or report.lot_size is None:
        report.notes.append("crossed books are not looked for: there is no depth to infer a tick size from")
        return
    count, rows, refused = crossed_messages(
        np.ascontiguousarray(events, event_dtype), report.tick_size, report.lot_size, view, limits.shown
    )
    if count:
        find.add("crossed", "a message leaves bids at or above asks", count, rows)
    if refused:
        report.notes.append(f"the book refused {refused} rows of impossible price or quantity")


def infer_step(values: np.ndarray) -> float | None:
    """The greatest decimal step of which all values are multiples: a tick or lot size.

    Args:
        values: Prices or quantities; those that are not positive and finite are ignored.

    Returns:
        The step, or None when there is no value or no step of at least 1e-12 fits.
    """
    values = np.unique(values[np.isfinite(values) & (values > 0)])
    if values.size == 0:
        return None
    for digits in range(13):
        scaled = values * 10.0**digits
        if scaled[-1] >= 2.0**53:
            break
        whole = np.rint(scaled)
        if (whole / 10.0**digits == values).all():
            return int(np.gcd.reduce(whole.astype(np.int64))) / 10**digits
    return None


def _decreasing(times: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Marks the rows of a mask that are earlier than the latest before them."""
    result = np.zeros(len(times), bool)
    rows = np.flatnonzero(mask)
    if rows.size:
        seen = times[rows]
        result[rows] = seen < np.maximum.accumulate(seen)
    return result
