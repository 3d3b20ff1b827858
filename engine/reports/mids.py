"""The market's middle price at the moments that a report looks at."""

from __future__ import annotations

import math

import numpy as np

from engine.reports.session import Session, mid_dtype

HORIZONS_NS = tuple(ms * 1_000_000 for ms in (100, 200, 500, 1_000, 2_000, 5_000, 10_000, 30_000, 60_000))
"""How long after a fill its markouts are taken."""


class Mids:
    """Looks middle prices up.

    Args:
        rows: ``mid_dtype``, in any order.
    """

    def __init__(self, rows: np.ndarray) -> None:
        order = np.lexsort((rows["ts"], rows["instrument"]))
        rows = rows[order]
        self._by = {}
        for number in np.unique(rows["instrument"]).tolist():
            part = rows[rows["instrument"] == number]
            self._by[number] = (part["ts"].copy(), part["mid"].copy())

    def at(self, instruments: np.ndarray, times: np.ndarray) -> np.ndarray:
        """The last price at or before each moment.

        Args:
            instruments: Numbers.
            times: Nanoseconds.

        Returns:
            As many prices; NaN where none is known yet, and after the last.
        """
        found = np.full(len(times), math.nan)
        for number, (ts, mid) in self._by.items():
            mine = np.flatnonzero(instruments == number)
            place = np.searchsorted(ts, times[mine], side="right") - 1
            known = (place >= 0) & (times[mine] <= ts[-1])
            found[mine[known]] = mid[place[known]]
        return found


def of_session(session: Session) -> Mids:
    """What a session says of the market: its looked-up prices, its samples, and those in its fills.

    Args:
        session: Any.
    """
    parts = [session.mids]
    for rows, ts, mid in ((session.samples, "ts", "mid_price"), (session.fills, "local_ts", "mid_price")):
        part = np.empty(len(rows), mid_dtype)
        part["ts"], part["mid"], part["instrument"] = rows[ts], rows[mid], rows["instrument"]
        parts.append(part)
    return Mids(np.concatenate(parts))


def moments(session: Session, instrument: int) -> np.ndarray:
    """When a report looks at the market in an instrument: around fills, and when orders were sent and ended.

    Args:
        session: Any.
        instrument: Its number.

    Returns:
        Increasing times, within the session.
    """
    fills = session.fills["local_ts"][session.fills["instrument"] == instrument]
    orders = session.orders[session.orders["instrument"] == instrument]
    times = [fills + horizon for horizon in (0, *HORIZONS_NS)]
    found = np.unique(np.concatenate([*times, orders["ts"], orders["local_ts"]]))
    return found[(found >= session.first_ts) & (found <= session.last_ts)]
