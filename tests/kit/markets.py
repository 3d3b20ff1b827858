"""Small generated recordings for comparing engines: ties in time, crossings, clears, one-sided rows."""

from __future__ import annotations

import numpy as np

from engine.core.types import (
    BUY_EVENT,
    DEPTH_CLEAR_EVENT,
    DEPTH_EVENT,
    DEPTH_SNAPSHOT_EVENT,
    EXCH_EVENT,
    LOCAL_EVENT,
    SELL_EVENT,
    TRADE_EVENT,
    event_dtype,
)

TICK_SIZE = 0.5
LOT_SIZE = 0.01
START = 1_700_000_000_000_000_000


def random_market(
    seed: int, rows: int = 400, *, step_ns: int = 1_000, max_latency: int = 8, middle: int = 1000
) -> np.ndarray:
    """A nonsensical but valid recording.

    Args:
        seed: Of everything.
        rows: Number of events, before rows are split by side.
        step_ns: All times are multiples of it, so that many coincide.
        max_latency: Feed latency in steps, at most.
        middle: Tick around which prices walk.

    Returns:
        ``event_dtype`` array that is in order on both clocks.
    """
    rng = np.random.default_rng(seed)
    events = np.zeros(rows, event_dtype)
    exch = START + np.cumsum(rng.choice([0, 0, 1, 1, 2, 5], rows)) * step_ns
    local = np.maximum.accumulate(exch + rng.integers(0, max_latency + 1, rows) * step_ns)
    walk = middle + np.cumsum(rng.choice([-1, 0, 0, 0, 1], rows))
    kinds = rng.choice(
        [DEPTH_EVENT, TRADE_EVENT, DEPTH_SNAPSHOT_EVENT, DEPTH_CLEAR_EVENT],
        rows,
        p=[0.72, 0.24, 0.03, 0.01],
    )
    buy = rng.random(rows) < 0.5
    away = rng.choice([-1, 0, 1, 1, 2, 3, 5], rows)
    ticks = np.where(
        kinds == TRADE_EVENT, walk + rng.integers(-2, 3, rows), walk + np.where(buy, -away, away)
    )
    events["ev"] = kinds.astype(np.uint64) | np.where(buy, BUY_EVENT, SELL_EVENT).astype(np.uint64)
    whole = (kinds == DEPTH_CLEAR_EVENT) & (rng.random(rows) < 0.3)
    events["ev"][whole] = DEPTH_CLEAR_EVENT
    events["px"] = ticks * TICK_SIZE
    lots = rng.choice([0, 1, 2, 3, 10, 40], rows)
    lots[kinds == TRADE_EVENT] += 1
    events["qty"] = lots * LOT_SIZE
    events["exch_ts"], events["local_ts"] = exch, local
    return _split(events, rng)


def _split(events: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Flags most rows for both sides, some for one side only, some as a row for each side."""
    both = np.uint64(EXCH_EVENT | LOCAL_EVENT)
    choice = rng.random(len(events))
    out = []
    for event, c in zip(events, choice, strict=True):
        if c < 0.8:
            out.append((event, both))
        elif c < 0.9:
            out += [(event, np.uint64(EXCH_EVENT)), (event, np.uint64(LOCAL_EVENT))]
        else:
            out.append((event, np.uint64(EXCH_EVENT if c < 0.95 else LOCAL_EVENT)))
    result = np.zeros(len(out), event_dtype)
    for i, (event, flags) in enumerate(out):
        result[i] = event
        result["ev"][i] |= flags
    return result
