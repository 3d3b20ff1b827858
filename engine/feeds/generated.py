"""What the simulated markets share: their arguments, and how their rows are handed out."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator

import numpy as np

from engine.core.errors import ConfigError
from engine.core.types import event_dtype
from engine.feeds.base import EventSource, from_row

START_TS = 1_704_067_200_000_000_000
"""When a market opens that is not told when: the beginning of 2024, in nanoseconds."""

LAST_TS = 1 << 62
"""No market goes on beyond this time."""

_ROWS = 1 << 16


class GeneratedMarket(EventSource):
    """A simulated market of one instrument, whose rows follow from its arguments.

    Args:
        symbol: The instrument.
        name: What errors name as the origin.
        seed: At least 0.
        tick_size: The price of one tick.
        lot_size: The quantity of one lot.
        start_px: The price at the start.
        start_ts: When the market opens, nanoseconds since the epoch.
        rate: How many times as fast everything happens.
        seconds: How long the market lasts; None for ever.
        epoch: Counts restarts.
        chunk_rows: Rows of a chunk.
        ticks: Between how many ticks ``start_px`` has to be.

    Raises:
        ConfigError: An argument is out of its range; the message names it.
    """

    def __init__(
        self,
        symbol: str,
        name: str,
        *,
        seed: int,
        tick_size: float,
        lot_size: float,
        start_px: float,
        start_ts: int,
        rate: float,
        seconds: float | None,
        epoch: int,
        chunk_rows: int,
        ticks: tuple[int, int],
    ) -> None:
        def need(ok: bool, text: str) -> None:
            if not ok:
                raise ConfigError(f"simulated market {symbol}: {text}")

        need(0.0 < tick_size < 1e12, f"tick_size must be above 0, not {tick_size}")
        need(0.0 < lot_size < 1e12, f"lot_size must be above 0, not {lot_size}")
        least, most = ticks
        opening = start_px / tick_size
        need(least <= opening <= most, f"start_px must be {least:,} to {most:,} ticks, not {opening}")
        need(0.001 <= rate <= 1000.0, f"rate must be 0.001 to 1000, not {rate}")
        need(0 <= start_ts < LAST_TS, f"start_ts must be 0 to 2**62, not {start_ts}")
        need(seconds is None or 0 <= seconds < 4e9, f"seconds must be 0 to 4e9, not {seconds}")
        need(0 <= seed < 2**64, f"seed must be 0 to 2**64, not {seed}")
        need(0 <= epoch < 2**32, f"epoch must be 0 to 2**32, not {epoch}")
        need(chunk_rows >= 1, f"chunk_rows must be at least 1, not {chunk_rows}")
        self.symbol = symbol
        self.name = name
        self.seed = int(seed)
        self.tick_size = float(tick_size)
        self.lot_size = float(lot_size)
        self.start_px = float(start_px)
        self.start_ts = int(start_ts)
        self.rate = float(rate)
        self.seconds = seconds
        self.epoch = int(epoch)
        self.chunk_rows = int(chunk_rows)

    @abstractmethod
    def _begin(self, end: int) -> Callable[[np.ndarray], int]:
        """Begins a market: what fills an array with its next rows up to ``end`` and returns how many."""

    @property
    def rows(self) -> int:
        """0: how many rows there will be is not known before they are made."""
        return 0

    def chunks(self, start: int = 0) -> Iterator[np.ndarray]:
        """Begins a pass over the market; see :meth:`EventSource.chunks`."""
        return from_row(self._chunks(self.seconds, self.chunk_rows), start)

    def generate(self, seconds: float) -> np.ndarray:
        """The first seconds of the market in one array.

        Args:
            seconds: Of market time, at least 0.

        Returns:
            An ``event_dtype`` array.
        """
        return np.concatenate([np.empty(0, event_dtype), *self._chunks(seconds, _ROWS)])

    def _chunks(self, seconds: float | None, chunk_rows: int) -> Iterator[np.ndarray]:
        end = LAST_TS if seconds is None else min(self.start_ts + int(seconds * 1_000_000_000), LAST_TS)
        fill = self._begin(end)
        n = chunk_rows
        while n == chunk_rows:
            rows = np.empty(chunk_rows, event_dtype)
            n = fill(rows)
            if n:
                yield rows[:n]
