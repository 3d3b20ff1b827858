"""A market that a strategy can be right about: its price goes up and down in a triangle for ever."""

from __future__ import annotations

import numpy as np

from engine.core.types import (
    BUY_EVENT,
    DEPTH_EVENT,
    EXCH_EVENT,
    LOCAL_EVENT,
    SELL_EVENT,
    event_dtype,
)

TICK_SIZE = 0.1
LOT_SIZE = 0.001
START = 1_704_067_200_000_000_000


def triangle(
    seconds: float, *, step_ns: int = 20_000_000, half: int = 50, middle: int = 600_000
) -> np.ndarray:
    """A book of one level a side, one tick wide, that moves a tick at every step.

    Args:
        seconds: How long it lasts.
        step_ns: Time between moves.
        half: Steps up, and then down.
        middle: Tick of the bid at the start.

    Returns:
        ``event_dtype`` array.
    """
    steps = int(seconds * 1e9 / step_ns)
    place = np.arange(steps) % (2 * half)
    bids = middle + np.where(place < half, place, 2 * half - place)
    rows: list[tuple[int, int, int, float]] = []
    for step, bid in enumerate(bids.tolist()):
        # Half a step late, so that a strategy that looks once a step acts on a book that is still there.
        ts = START + step * step_ns + (step_ns // 2 if step else 0)
        if step:
            old = int(bids[step - 1])
            rows += [(BUY_EVENT, ts, old, 0.0), (SELL_EVENT, ts, old + 1, 0.0)]
        rows += [(BUY_EVENT, ts, bid, 1.0), (SELL_EVENT, ts, bid + 1, 1.0)]
    events = np.zeros(len(rows), event_dtype)
    for event, (side, ts, tick, qty) in zip(events, rows, strict=True):
        event["ev"] = DEPTH_EVENT | side | EXCH_EVENT | LOCAL_EVENT
        event["exch_ts"], event["local_ts"] = ts, ts + 500_000
        event["px"], event["qty"] = tick * TICK_SIZE, qty
    return events
