"""The middle price of a recording at given moments, as those who receive it see it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from engine.backtest.config import L3_FIFO, AssetConfig
from engine.backtest.data import Recording, asset_chunks
from engine.backtest.files import CHUNK_ROWS
from engine.book.l2 import L2
from engine.book.l3 import L3
from engine.core.types import LOCAL_EVENT

NO_BID, NO_ASK = np.iinfo(np.int64).min, np.iinfo(np.int64).max


def mids_at(
    asset: AssetConfig, recordings: Sequence[Recording], times: np.ndarray, *, rows: int = CHUNK_ROWS
) -> np.ndarray:
    """Replays an asset's book and looks at it.

    Args:
        asset: Its sizes, queue model and latency offset.
        recordings: In order of time; each can be read once.
        times: Increasing local times, nanoseconds.
        rows: Rows in memory at a time.

    Returns:
        The middle of best bid and ask after everything with a local time of at most each moment; NaN where
        a side was empty.

    Raises:
        DataError: A recording is wrong.
    """
    book = (L3 if asset.queue_model == L3_FIFO else L2)(asset.tick_size, asset.lot_size)
    found = np.full(len(times), np.nan)
    done, last = 0, np.nan
    for events, _, _ in asset_chunks(asset, list(recordings), rows):
        best = book.replay(events, "local")
        seen = (events["ev"] & np.uint64(LOCAL_EVENT)) != 0
        if not seen.any():
            continue
        ts, best = events["local_ts"][seen] + asset.latency_offset, best[seen]
        until = int(np.searchsorted(times, ts[-1], side="left"))
        place = np.searchsorted(ts, times[done:until], side="right") - 1
        empty = (best["bid_tick"] == NO_BID) | (best["ask_tick"] == NO_ASK)
        mid = (best["bid_tick"] * asset.tick_size + best["ask_tick"] * asset.tick_size) / 2.0
        mid[empty] = np.nan
        found[done:until] = np.where(place < 0, last, mid[place])
        done, last = until, float(mid[-1])
    found[done:] = last
    return found
