"""Journals for tests: a recording's market records appended as the engine does, and copied to disk."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np

from engine.core.types import (
    BUY_EVENT,
    DEPTH_EVENT,
    SELL_EVENT,
    TRADE_EVENT,
    event_dtype,
)
from engine.feeds.merge import Merger
from engine.feeds.ordering import correct_event_order
from engine.feeds.replay import NpzSource
from engine.journal.files import Files
from engine.journal.journaller import Journaller
from engine.journal.retention import remove_segments
from engine.journal.segments import Sizes
from engine.journal.snapshots import KEEP, Snapshot, adopt_snapshot, draft_snapshot, list_snapshots
from engine.journal.wal import Journal, RecordType

SIZES = Sizes(segment=1 << 20, block=4096, batch=1 << 19)


def crossing_events(count: int = 400, seed: int = 1) -> np.ndarray:
    """A recording whose exchange and local orders disagree here and there."""
    rng = np.random.default_rng(seed)
    events = np.zeros(count, event_dtype)
    events["exch_ts"] = 1_700_000_000_000_000_000 + np.cumsum(rng.integers(1, 1_000_000, count))
    events["local_ts"] = events["exch_ts"] + rng.integers(100_000, 3_000_000, count)
    buys = rng.random(count) < 0.5
    events["ev"] = np.where(rng.random(count) < 0.2, TRADE_EVENT, DEPTH_EVENT) | np.where(
        buys, BUY_EVENT, SELL_EVENT
    )
    events["px"] = np.where(buys, 100.0, 100.5) + 0.1 * rng.integers(0, 4, count) * np.where(buys, -1, 1)
    events["qty"] = rng.integers(1, 50, count)
    return correct_event_order(events)


def write_journal(
    directory: Path, recordings: dict[str, np.ndarray], *, flags: int = 48, end: bool = True, cut: int = 0
) -> int:
    """Journals recordings as an engine does that replays them.

    Args:
        directory: Where the buffer and the journal go.
        recordings: By symbol.
        flags: Only records with one of these ring flags.
        end: Whether the run ends in good order.
        cut: Records to leave out at the end.

    Returns:
        Records in the journal.
    """
    merger = Merger([NpzSource(symbol, rows) for symbol, rows in recordings.items()], 0)
    items = merger.read(10 * sum(map(len, recordings.values())))
    with Journal.create(directory / "buffer", run_id=bytes(range(16)), capacity=1 << 22) as buffer:
        meta = {"instruments": [{"symbol": symbol} for symbol in recordings], "build": "test"}
        buffer.append_time(RecordType.META, 0, msgspec.msgpack.encode(meta))
        for item in items[: len(items) - cut]:
            if int(item["flags"]) & flags:
                buffer.append(
                    RecordType.MARKET,
                    int(item["ts"]).to_bytes(8, "little") + item["event"].tobytes(),
                    flags=int(item["flags"]),
                    instrument=int(item["instrument"]),
                )
        with Journaller(buffer, directory / "journal", sizes=SIZES) as journaller:
            journaller.drain()
            if end:
                buffer.append_time(RecordType.END, 0)
                buffer.end()
                journaller.run(lambda: False)
        return buffer.durable_seq


def snapshot_and_remove(
    directory: str, *, seq: int, state_hash: int, state: bytes, run_id: bytes, files: Files
) -> Snapshot:
    """What becomes of a snapshot and of the segments before the older one, where no run is behind it.

    Args:
        directory: The journal's.
        seq: The last record that it includes.
        state_hash: Its.
        state: Any bytes.
        run_id: 16 bytes.
        files: The system.
    """
    made = draft_snapshot(
        directory, seq=seq, ts=seq * 10, state_hash=state_hash, state=state, run_id=run_id, files=files
    )
    found = adopt_snapshot(made, lambda snapshot: None, files=files)
    kept = list_snapshots(files, directory)
    if len(kept) == KEEP:
        remove_segments(directory, kept[0].seq, 0, files=files)
    return found
