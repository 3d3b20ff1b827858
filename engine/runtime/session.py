"""Runs strategies on a market within, in this process and as fast as it goes, to the result of a backtest."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from engine.backtest.config import BacktestConfig, check
from engine.backtest.recorder import Recorder
from engine.backtest.result import BacktestResult, result_of
from engine.backtest.runner import seat
from engine.core.errors import ConfigError
from engine.feeds.market import AgentMarket
from engine.gateways.market import MarketDriver, MarketVenue
from engine.kernel import Kernel
from engine.matching.laws import Law

STEP_NS = 1_000_000_000
"""Market time between two looks at progress and failures."""


class MarketRunner:
    """Runs strategies among the agents of a market law: their orders queue, are consumed and move the price.

    Args:
        law: What the market is made by: a law, a TOML file, or None for the packaged law.
        start_px: The price at the start; the law's by default.
        rate: How many times as fast everything happens.
        agents: False leaves the strategies alone with each other.
        check_invariants: Check all structures after every market second.
        progress: Called now and then with the part of the time that is over, 0 to 1.
    """

    def __init__(
        self,
        *,
        law: Law | str | Path | None = None,
        start_px: float | None = None,
        rate: float = 1.0,
        agents: bool = True,
        check_invariants: bool = False,
        progress: Callable[[float], None] | None = None,
    ) -> None:
        self._law, self._start_px, self._rate, self._agents = law, start_px, rate, agents
        self._check_invariants, self._progress = check_invariants, progress

    def run(self, config: BacktestConfig, seconds: float, *, source: str = "configuration") -> BacktestResult:
        """Runs one session; the same configuration, with its seed, gives the same bytes.

        Args:
            config: What to run; the assets' ``data``, queue and exchange models do not count, nor do
                equity samples.
            seconds: Of market time, above 0.
            source: What error messages call the configuration.

        Raises:
            ConfigError: The configuration or the law is wrong, or ``seconds`` is not positive.
            CapacityError: A fixed capacity, such as ``max_orders``, was exceeded.
        """
        if not 0 < seconds < 1e9:
            raise ConfigError(f"{seconds} seconds are not above 0 and below 10**9")
        check(config, source)
        markets = [
            AgentMarket(
                asset.symbol,
                law=self._law,
                seed=config.seed,
                tick_size=asset.tick_size,
                lot_size=asset.lot_size,
                start_px=self._start_px,
                rate=self._rate,
            )
            for asset in config.assets
        ]
        populations = [market.population(agents=self._agents) for market in markets]
        venue = MarketVenue(config.assets, populations, config.max_orders)
        kernel = Kernel(config.assets, max_orders=config.max_orders, seed=config.seed)
        try:
            seat(kernel, config, source)
            return self._run(config, kernel, venue, markets[0].start_ts, int(seconds * 1e9))
        finally:
            kernel.release()

    def _run(
        self, config: BacktestConfig, kernel: Kernel, venue: MarketVenue, first: int, duration: int
    ) -> BacktestResult:
        recorder = Recorder()
        driver = MarketDriver(kernel, venue, recorder)
        started = time.perf_counter()
        kernel.start(first)
        done = 0
        while done < duration:
            done = min(done + STEP_NS, duration)
            driver.run(first + done)
            if self._check_invariants:
                venue.check_invariants()
                kernel.check_invariants()
            if self._progress is not None:
                self._progress(done / duration)
        kernel.stop()
        driver.finish()
        return result_of(
            config,
            kernel,
            recorder,
            events=driver.events,
            first_ts=first,
            last_ts=first + duration,
            seconds=time.perf_counter() - started,
        )
