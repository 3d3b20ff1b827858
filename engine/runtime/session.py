"""Runs strategies on a market within, in this process and as fast as it goes, to the result of a backtest."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from engine.backtest.config import BacktestConfig, check
from engine.backtest.recorder import Recorder, market_entry_dtype
from engine.backtest.result import BacktestResult, result_of, states_of
from engine.backtest.runner import seat
from engine.core.errors import ConfigError
from engine.feeds.market import AgentMarket
from engine.gateways.market import MarketDriver, MarketVenue
from engine.kernel import Kernel
from engine.matching.laws import Law
from engine.reports.session import sample_dtype

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
        look: Increasing times, in nanoseconds, at which the middle prices are looked at.
        keep_market: Whether the market data that the strategies are shown are kept: 88 bytes a row, beyond
            some megabytes in a temporary file.

    Attributes:
        seen: What was seen then: a row of middle prices, one an instrument, for each time.
        market: The market data of the last run, if they were kept: ``ts``, ``event`` and ``instrument``.
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
        look: np.ndarray | None = None,
        keep_market: bool = False,
    ) -> None:
        self._look = np.empty(0, np.int64) if look is None else look
        self.seen = np.empty((0, 0))
        self._keep_market, self.market = keep_market, np.empty(0, market_entry_dtype)
        self._law, self._start_px, self._rate, self._agents = law, start_px, rate, agents
        self._check_invariants, self._progress = check_invariants, progress

    def run(self, config: BacktestConfig, seconds: float, *, source: str = "configuration") -> BacktestResult:
        """Runs one session; the same configuration, with its seed, gives the same bytes.

        Args:
            config: What to run; the assets' ``data``, queue and exchange models do not count.
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
        recorder = Recorder(market=self._keep_market)
        driver = MarketDriver(kernel, venue, recorder)
        started = time.perf_counter()
        kernel.start(first)
        rows, seen = [], []
        sample = config.equity_sample_ns
        stops = set(range(0, duration, STEP_NS)) | {duration} | {int(t) - first for t in self._look}
        stops |= set(range(0, duration + 1, sample)) if sample else set()
        looked = {int(t) - first for t in self._look}
        for done in sorted(stop for stop in stops if 0 <= stop <= duration):
            driver.run(first + done)
            if sample and done % sample == 0:
                rows += samples(kernel, first + done)
            if done in looked:
                seen.append([kernel.book(symbol).mid for symbol in kernel.symbols])
            if done and (done % STEP_NS == 0 or done == duration):
                self._between(kernel, venue, done / duration)
        self.seen = np.array(seen)
        kernel.stop()
        driver.finish()
        self.market = recorder.market_array()
        result = result_of(
            config,
            kernel,
            recorder,
            events=driver.events,
            first_ts=first,
            last_ts=first + duration,
            seconds=time.perf_counter() - started,
        )
        return replace(result, equity=np.array(rows, sample_dtype)) if sample else result

    def _between(self, kernel: Kernel, venue: MarketVenue, done: float) -> None:
        if self._check_invariants:
            venue.check_invariants()
            kernel.check_invariants()
        if self._progress is not None:
            self._progress(done)


def samples(kernel: Kernel, ts: int) -> list[tuple]:
    """Rows of ``sample_dtype``: where each strategy stands in each of its instruments.

    Args:
        kernel: Whose strategies.
        ts: Now.
    """
    rows = []
    for state in states_of(kernel):
        v = state.values
        place = kernel.symbols.index(state.symbol), kernel.strategy_names.index(state.strategy)
        mid = kernel.book(state.symbol).mid
        rows.append((ts, mid, v.position, v.balance, v.fee, v.funding, v.equity, *place))
    return rows
