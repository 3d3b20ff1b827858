"""Playing recorded time at a chosen speed against an injected clock."""

from __future__ import annotations

import math

from engine.core.clock import Clock

END_OF_TIME = 2**63 - 1


class Pacer:
    """Says when a recorded time is due. It starts counting at the first time it is asked about.

    Args:
        clock: The clock to play against; monotonic for real, simulated in tests.
        speed: Recorded seconds a second; 1 is real time, 0 as fast as it goes.

    Raises:
        ValueError: The speed is negative, infinite or NaN.
    """

    def __init__(self, clock: Clock, speed: float) -> None:
        if not (math.isfinite(speed) and speed >= 0):
            raise ValueError(f"speed {speed}: it must be 0 or more")
        self.speed = speed
        self._clock = clock
        self._anchor: tuple[int, int] | None = None

    def horizon(self, next_ts: int) -> int:
        """The recorded time that the clock has reached: everything up to it is due.

        Args:
            next_ts: The next recorded time; the first one asked about is due at once.

        Returns:
            A recorded time in nanoseconds; the end of time at speed 0.
        """
        if self.speed == 0:
            return END_OF_TIME
        now = self._clock.now()
        if self._anchor is None:
            self._anchor = (now, next_ts)
        started, first_ts = self._anchor
        return first_ts + int((now - started) * self.speed)

    def due(self, ts: int) -> bool:
        """Whether a recorded time has come.

        Args:
            ts: The recorded time in nanoseconds.
        """
        return ts <= self.horizon(ts)

    def delay(self, ts: int) -> int:
        """How long to wait for a recorded time.

        Args:
            ts: The recorded time in nanoseconds.

        Returns:
            Nanoseconds of the clock; 0 when it is due.
        """
        behind = ts - self.horizon(ts)
        return max(0, math.ceil(behind / self.speed)) if self.speed else 0

    def restart(self) -> None:
        """Forgets where it was: the next time asked about is due at once, as after a pause."""
        self._anchor = None
