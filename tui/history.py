"""A time series of bounded length for the chart: when it is full, every second point goes. No Textual."""

from __future__ import annotations

import math

from tui.format import SECOND


class History:
    """Points at least ``interval`` nanoseconds apart; the newest value is always the last point's.

    Args:
        capacity: Most points held; at that many, every second goes and the interval doubles.
        interval: Least distance of two points at first.
    """

    def __init__(self, capacity: int = 2048, interval: int = SECOND // 10) -> None:
        self.capacity = capacity
        self.first_interval = self.interval = interval
        self.times: list[int] = []
        self.values: list[float] = []

    def add(self, ts: int, value: float) -> None:
        """Takes in a value; time that goes back starts a new series.

        A value that is not finite is no point: equity is NaN while a book has only one side.
        """
        if not math.isfinite(value):
            return
        times, values = self.times, self.values
        if times and ts < times[-1]:
            times.clear()
            values.clear()
            self.interval = self.first_interval
        if len(times) > 1 and times[-1] - times[-2] < self.interval:
            # The last point is still too close to the one before: it moves along until it is not.
            times[-1], values[-1] = ts, value
            return
        times.append(ts)
        values.append(value)
        if len(times) >= self.capacity:
            self.times, self.values = times[::2], values[::2]
            if self.times[-1] != ts:
                self.times.append(ts)
                self.values.append(value)
            self.interval *= 2
