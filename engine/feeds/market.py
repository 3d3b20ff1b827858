"""The simulated market of agents as a feed: levels and trades of a matching engine, received with latency."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from engine.core.errors import ConfigError
from engine.core.types import event_dtype
from engine.feeds.base import EventSource, from_row
from engine.matching.laws import Law, load_law
from engine.matching.population import Population

LAST_TS = 1 << 62
"""No market goes on beyond this time."""


class AgentMarket(EventSource):
    """A simulated market of one instrument: the same arguments give the same bytes on every machine.

    It opens with a clear of both sides and a snapshot; trades are printed with the taker's side before the
    levels they changed, and ``local_ts`` is in order.

    Args:
        symbol: The instrument; two symbols of one seed are different markets.
        law: What it is made by: a law, a TOML file, or None for the packaged law.
        seed: What the market depends on, at least 0.
        tick_size: The price of one tick; the law's by default.
        lot_size: The quantity of one lot; the law's by default.
        start_px: The price at the start, at least 12,288 ticks; the law's by default.
        start_ts: When the market opens, nanoseconds since the epoch.
        rate: How many times as fast everything happens.
        seconds: How long the market lasts; for ever by default.
        epoch: Counts restarts: a feed that resumes a market at a later ``start_ts`` and ``start_px`` gets
            other draws by another epoch.
        chunk_rows: Rows of a chunk; the market does not depend on it.

    Raises:
        ConfigError: An argument is out of its range, or the law is wrong; the message names it.
    """

    def __init__(
        self,
        symbol: str,
        *,
        law: Law | str | Path | None = None,
        seed: int = 7,
        tick_size: float | None = None,
        lot_size: float | None = None,
        start_px: float | None = None,
        start_ts: int = 1_704_067_200_000_000_000,
        rate: float = 1.0,
        seconds: float | None = None,
        epoch: int = 0,
        chunk_rows: int = 4096,
    ) -> None:
        law = law if isinstance(law, Law) else load_law(law)
        tick_size = law.market.tick_size if tick_size is None else tick_size
        lot_size = law.market.lot_size if lot_size is None else lot_size
        start_px = law.market.start_price if start_px is None else start_px

        def need(ok: bool, text: str) -> None:
            if not ok:
                raise ConfigError(f"simulated market {symbol}: {text}")

        need(0.0 < tick_size < 1e12, f"tick_size must be above 0, not {tick_size}")
        need(0.0 < lot_size < 1e12, f"lot_size must be above 0, not {lot_size}")
        ticks = start_px / tick_size
        need(12_288 < ticks <= 1e9, f"start_px must be 12,288 to 10**9 ticks, not {ticks}")
        need(0.001 <= rate <= 1000.0, f"rate must be 0.001 to 1000, not {rate}")
        need(0 <= start_ts < LAST_TS, f"start_ts must be 0 to 2**62, not {start_ts}")
        need(seconds is None or 0 <= seconds < 4e9, f"seconds must be 0 to 4e9, not {seconds}")
        need(0 <= seed < 2**64, f"seed must be 0 to 2**64, not {seed}")
        need(0 <= epoch < 2**32, f"epoch must be 0 to 2**32, not {epoch}")
        need(chunk_rows >= 1, f"chunk_rows must be at least 1, not {chunk_rows}")
        self.symbol = symbol
        self.name = f"simulated market {symbol}, law {law.name}, seed {seed}"
        self.law = law
        self.seed = int(seed)
        self.tick_size = float(tick_size)
        self.lot_size = float(lot_size)
        self.start_px = float(start_px)
        self.start_ts = int(start_ts)
        self.rate = float(rate)
        self.seconds = seconds
        self.epoch = int(epoch)
        self.chunk_rows = int(chunk_rows)

    @property
    def rows(self) -> int:
        """0: how many rows there will be is not known before they are made."""
        return 0

    def population(self, agents: bool = True) -> Population:
        """The agents and their matcher, at the opening; what they depend on is in this source's arguments.

        Args:
            agents: False for a market that waits for others to trade on it.
        """
        # FNV-1a of what tells markets of one seed apart; Python's own hash of text is salted.
        digest = 0xCBF29CE484222325
        for byte in f"{self.symbol}\0{self.epoch}\0{self.seed}".encode():
            digest = (digest ^ byte) * 0x100000001B3 & (2**64 - 1)
        return Population(
            self.law,
            seed=digest,
            start_ts=self.start_ts,
            speed=self.rate,
            tick_size=self.tick_size,
            lot_size=self.lot_size,
            start_tick=round(self.start_px / self.tick_size),
            agents=agents,
        )

    def chunks(self, start: int = 0) -> Iterator[np.ndarray]:
        """Begins a pass over the market; see :meth:`EventSource.chunks`."""
        return from_row(self._chunks(), start)

    def _end(self, seconds: float | None) -> int:
        return LAST_TS if seconds is None else min(self.start_ts + int(seconds * 1_000_000_000), LAST_TS)

    def _chunks(self) -> Iterator[np.ndarray]:
        market, end = self.population(), self._end(self.seconds)
        while True:
            rows = np.empty(self.chunk_rows, event_dtype)
            n = market.fill(rows, end)
            if n:
                yield rows[:n]
            if n < self.chunk_rows:
                return

    def generate(self, seconds: float) -> np.ndarray:
        """The first seconds of the market in one array.

        Args:
            seconds: Of market time, at least 0.

        Returns:
            An ``event_dtype`` array.
        """
        market, end = self.population(), self._end(seconds)
        chunks = []
        while not chunks or len(chunks[-1]) == 1 << 16:
            rows = np.empty(1 << 16, event_dtype)
            chunks.append(rows[: market.fill(rows, end)])
        return np.concatenate(chunks)
