"""The simulated market of agents as a feed: levels and trades of a matching engine, received with latency."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from engine.feeds.generated import START_TS, GeneratedMarket
from engine.matching.laws import Law, load_law
from engine.matching.population import Population

TICKS = (12_289, 10**9)
"""Between these a market has to open, so that its prices stay above 0 and its book in its window."""


class AgentMarket(GeneratedMarket):
    """A simulated market of one instrument: the same arguments give the same bytes on every machine.

    It opens with a clear of both sides and a snapshot; trades are printed with the taker's side before the
    levels they changed, and ``local_ts`` is in order.

    Args:
        symbol: The instrument; two symbols of one seed are different markets.
        law: What it is made by: a law, a TOML file, or None for the packaged law.
        seed: What the market depends on, at least 0.
        tick_size: The price of one tick; the law's by default.
        lot_size: The quantity of one lot; the law's by default.
        start_px: The price at the start, at least 12,289 ticks; the law's by default.
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
        start_ts: int = START_TS,
        rate: float = 1.0,
        seconds: float | None = None,
        epoch: int = 0,
        chunk_rows: int = 4096,
    ) -> None:
        law = law if isinstance(law, Law) else load_law(law)
        super().__init__(
            symbol,
            f"simulated market {symbol}, law {law.name}, seed {seed}",
            seed=seed,
            tick_size=law.market.tick_size if tick_size is None else tick_size,
            lot_size=law.market.lot_size if lot_size is None else lot_size,
            start_px=law.market.start_price if start_px is None else start_px,
            start_ts=start_ts,
            rate=rate,
            seconds=seconds,
            epoch=epoch,
            chunk_rows=chunk_rows,
            ticks=TICKS,
        )
        self.law = law

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

    def _begin(self, end: int) -> Callable[[np.ndarray], int]:
        market = self.population()
        return lambda rows: market.fill(rows, end)
