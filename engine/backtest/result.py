"""What a backtest has come to: fills, orders, equity, where strategies ended, and what they said."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from engine.backtest.config import BacktestConfig
from engine.backtest.recorder import Recorder
from engine.core.settings import config_hash
from engine.core.types import Reason
from engine.kernel import Kernel
from engine.strategy.status import StrategyWarning

if TYPE_CHECKING:
    from engine.strategy.status import StrategyFailure
    from engine.strategy.views import StateValues


class StrategyState(NamedTuple):
    """Where a strategy ended in an asset; ``values`` are the kernel's ``StateValues``."""

    strategy: str
    symbol: str
    values: StateValues


@dataclass(frozen=True)
class BacktestResult:
    """What a backtest came to.

    Attributes:
        fills: ``fill_dtype`` array in the order in which strategies learned of them.
        orders: Every order update: ``ts``, ``order``, ``prev_status``.
        equity: Equity samples; empty unless ``equity_sample_ns`` is set.
        states: Position, balance, fee and counters of each strategy in each of its assets.
        strategies: Ids by slot number.
        symbols: Symbols by instrument number.
        lot_sizes: By instrument number.
        mids: Last middle price by instrument number; NaN without a market.
        events: Rows of data replayed.
        first_ts: Earliest time of the data.
        last_ts: Latest time of the data.
        seconds: Wall time of the replay, with the reading of its data.
        config_hash: Of the configuration.
        seed: Of the configuration.
        logs: What strategies logged: time, step, strategy, level, text.
        failures: What strategies raised, earliest first; a strategy that raised was stopped there.
    """

    fills: np.ndarray
    orders: np.ndarray
    equity: np.ndarray
    states: list[StrategyState]
    strategies: tuple[str, ...]
    symbols: tuple[str, ...]
    lot_sizes: tuple[float, ...]
    mids: tuple[float, ...]
    events: int
    first_ts: int
    last_ts: int
    seconds: float
    config_hash: str
    seed: int
    logs: list[tuple[int, int, str, str, str]]
    failures: list[StrategyFailure]

    @property
    def events_per_second(self) -> float:
        """Rows replayed per second of wall time."""
        return self.events / self.seconds if self.seconds > 0 else 0.0

    def totals(self) -> dict[str, float]:
        """The states summed over strategies and assets."""
        names = (
            "position",
            "balance",
            "fee",
            "funding",
            "equity",
            "num_trades",
            "trading_volume",
            "trading_value",
        )
        return {name: sum(getattr(state.values, name) for state in self.states) for name in names}

    def fill_records(self) -> list[dict[str, Any]]:
        """The fills as plain dicts: ``ts`` (at the venue), ``strategy``, ``symbol``, ``side``, ...

        Prices and quantities are in price and quantity units, to 12 digits, without the noise of ticks
        times tick size; ``reason`` is a lower-case ``Reason`` name.
        """
        return [
            {
                "ts": int(fill["exch_ts"]),
                "strategy": self.strategies[fill["strategy"]],
                "symbol": self.symbols[fill["instrument"]],
                "side": "buy" if fill["side"] > 0 else "sell",
                "px": _tidy(fill["px"]),
                "qty": _tidy(fill["qty"] * self.lot_sizes[fill["instrument"]]),
                "fee": float(fill["fee"]),
                "reason": Reason(fill["reason"]).name.lower(),
            }
            for fill in self.fills
        ]

    def to_json(self) -> dict[str, Any]:
        """What ``ringbook backtest --json`` prints; a value that is not a number (no market) is None."""
        totals = {
            name: None if isinstance(value, float) and math.isnan(value) else value
            for name, value in self.totals().items()
        }
        return {
            "events": self.events,
            "events_per_second": self.events_per_second,
            **totals,
            "fills": self.fill_records(),
            "failures": [failure._asdict() for failure in self.failures],
            "config_hash": self.config_hash,
            "seed": self.seed,
        }


def _tidy(value: float) -> float:
    return float(f"{value:.12g}")


def states_of(kernel: Kernel) -> list[StrategyState]:
    """What each strategy has come to in each of its assets."""
    return [
        StrategyState(name, symbol, kernel.state(name, symbol))
        for name in kernel.strategy_names
        for symbol in kernel.strategy(name).symbols
    ]


def result_of(
    config: BacktestConfig,
    kernel: Kernel,
    recorder: Recorder,
    *,
    events: int,
    first_ts: int,
    last_ts: int,
    seconds: float,
) -> BacktestResult:
    """Gathers what a run has come to, and warns of the strategies that raised.

    Args:
        config: The run's.
        kernel: Stopped, all its outputs recorded.
        recorder: What has been recorded.
        events: Rows of data replayed.
        first_ts: Earliest time of the data.
        last_ts: Latest time of the data.
        seconds: Wall time of the run.
    """
    failures = kernel.failures()
    for failure in failures:
        warnings.warn(failure.line(), StrategyWarning, stacklevel=4)
    return BacktestResult(
        fills=recorder.fill_array(),
        orders=recorder.order_array(),
        equity=recorder.sample_array(),
        states=states_of(kernel),
        strategies=kernel.strategy_names,
        symbols=kernel.symbols,
        lot_sizes=tuple(asset.lot_size for asset in config.assets),
        mids=tuple(kernel.book(symbol).mid for symbol in kernel.symbols),
        events=events,
        first_ts=first_ts,
        last_ts=last_ts,
        seconds=seconds,
        config_hash=config_hash(config),
        seed=config.seed,
        logs=kernel.take_logs(),
        failures=failures,
    )
