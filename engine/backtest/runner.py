"""Runs a backtest: from a configuration (and perhaps arrays) to a result."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import msgspec
import numpy as np

from engine.backtest.checkpoint import Checkpoints
from engine.backtest.config import AssetConfig, BacktestConfig, check
from engine.backtest.data import Chunks, Recording, asset_chunks
from engine.backtest.files import CHUNK_ROWS
from engine.backtest.recorder import Recorder
from engine.backtest.result import BacktestResult, result_of
from engine.backtest.scheduler import Scheduler
from engine.backtest.source import check_threads
from engine.core.errors import ConfigError, DataError
from engine.kernel import Kernel
from engine.risk.limits import RiskLimits
from engine.strategy.loader import create, load

Progress = Callable[[float], None]

Data = np.ndarray | str | Path
"""A recording: events, or the file that holds them."""


class KeepsRuns(Protocol):
    """Whoever keeps what runs came to, such as ``engine.research.runs.Runs``."""

    sample_ns: int

    def keep_backtest(
        self, config: BacktestConfig, sources: Sequence[Sequence[Data]], result: BacktestResult
    ) -> Any:
        """Keeps a run."""


CHECKS = 200
"""Parts a run is cut into at least when its invariants are checked between them."""

CHECKPOINT_ROWS = 10_000_000
"""Rows between two checkpoints unless something else is asked for."""

TAIL_ROUND_TRIPS = 100
"""How long a run goes on after the last row, in round trips to the slowest venue, though requests are still
on their way: a strategy that asks for something at every poll would otherwise never end."""


class BacktestRunner:
    """Runs backtests.

    Args:
        progress: Called now and then with the part of the rows that has been read, 0 to 1.
        stepwise: Merge event by event; slow, with the same results, for checking.
        check_invariants: Check every venue's structures now and then.
        on_error: What follows when a strategy raises. ``stop``, as in the daemon: it is stopped, its orders
            are cancelled, everything else goes on, and the result's ``failures`` and a ``StrategyWarning``
            say so. ``raise``: the run ends with a ``StrategyError``, without a result.
        checkpoint: A directory that the run is kept in now and then, so that it can be resumed.
        every: Rows between two checkpoints, at least.
        resume: Go on from the checkpoint in that directory: of the same configuration and data, the result is
            the same, byte for byte, as without a stop.
        runs: Where what the run came to is kept; it has equity samples then, whatever the configuration says.
        chunk_rows: Rows of a recording that are in memory at a time (there are a few such chunks an asset);
            results do not depend on it. Failures, invariants and progress are looked at after each.
        threads: 1 does everything when it is needed; with 2 a thread of its own prepares the recordings ahead
            while the run lasts. Results do not depend on it.

    Raises:
        ConfigError: ``on_error`` is neither, ``chunk_rows`` is not positive, ``threads`` is neither 1 nor 2,
            or there is no directory to resume from.
    """

    def __init__(
        self,
        *,
        progress: Progress | None = None,
        stepwise: bool = False,
        check_invariants: bool = False,
        on_error: Literal["stop", "raise"] = "stop",
        chunk_rows: int | None = None,
        checkpoint: str | Path | None = None,
        every: int = CHECKPOINT_ROWS,
        resume: bool = False,
        runs: KeepsRuns | None = None,
        threads: int = 1,
    ) -> None:
        check_threads(threads)
        if chunk_rows is not None and chunk_rows < 1:
            raise ConfigError(f"chunk_rows {chunk_rows} is not positive")
        if on_error not in ("stop", "raise"):
            raise ConfigError(f"on_error {on_error!r} is neither stop nor raise")
        self._progress = progress
        self._stepwise = stepwise
        self._check_invariants = check_invariants
        self._on_error = on_error
        if resume and checkpoint is None:
            raise ConfigError("nothing to resume: no checkpoint is named")
        self._checkpoint = checkpoint
        self._every = every
        self._resume = resume
        self._runs = runs
        self._chunk_rows = chunk_rows
        self._threads = threads

    def run(
        self,
        config: BacktestConfig,
        data: Mapping[str, Data | Sequence[Data]] | None = None,
        *,
        source: str = "configuration",
    ) -> BacktestResult:
        """Runs one backtest.

        Args:
            config: What to run.
            data: Event arrays or files by symbol, in place of the assets' ``data``.
            source: What error messages call the configuration.

        Raises:
            ConfigError: The configuration is wrong, a strategy does not load or has no such parameter.
            DataError: A recording is missing or wrong; the message names file, row and field.
            StrategyError: A strategy raised, with ``on_error="raise"``; its exception is the cause.
            CapacityError: A fixed capacity, such as ``max_orders``, was exceeded.
            CheckpointError: A strategy holds what cannot be kept, or the checkpoint is of another run.
        """
        check(config, source)
        parts = [_recordings(asset, index, data or {}, source) for index, asset in enumerate(config.assets)]
        total = sum(recording.rows for part in parts for recording in part)
        rows = self._rows_of_a_chunk(total)
        checkpoints = None
        if self._checkpoint is not None:
            checkpoints = Checkpoints(self._checkpoint, config, total, every=self._every, resume=self._resume)
        kernel = Kernel(config.assets, max_orders=config.max_orders, seed=config.seed)
        try:
            seat(kernel, config, source)
            given = [
                asset_chunks(asset, part, rows) for asset, part in zip(config.assets, parts, strict=True)
            ]
            result = self._run(config, kernel, given, total, checkpoints)
        finally:
            kernel.release()
        if self._runs is not None:
            sources = [_sources(asset, data or {})[0] for asset in config.assets]
            self._runs.keep_backtest(config, sources, result)
        return result

    def _run(
        self,
        config: BacktestConfig,
        kernel: Kernel,
        data: list[Chunks],
        total: int,
        checkpoints: Checkpoints | None,
    ) -> BacktestResult:
        recorder = Recorder()
        started = time.perf_counter()
        scheduler = Scheduler(
            kernel,
            recorder,
            config.assets,
            data,
            config.max_orders,
            config.equity_sample_ns or (0 if self._runs is None else self._runs.sample_ns),
            self._stepwise,
            self._threads,
        )
        try:
            first, last = self._replay(kernel, recorder, scheduler, total, checkpoints)
        finally:
            scheduler.close()
        return result_of(
            config,
            kernel,
            recorder,
            events=scheduler.events,
            first_ts=first,
            last_ts=last,
            seconds=time.perf_counter() - started,
        )

    def _rows_of_a_chunk(self, total: int) -> int:
        if self._chunk_rows is not None:
            return self._chunk_rows
        return max(1, min(CHUNK_ROWS, total // CHECKS)) if self._check_invariants else CHUNK_ROWS

    def _replay(
        self,
        kernel: Kernel,
        recorder: Recorder,
        scheduler: Scheduler,
        total: int,
        checkpoints: Checkpoints | None,
    ) -> tuple[int, int]:
        """Runs from the first row to some round trips after the last; returns both rows' times."""
        first = scheduler.first_ts
        if first is None:
            raise DataError("the recordings hold no events")
        resumed = None if checkpoints is None else checkpoints.begin(kernel)
        kernel.start(first)
        scheduler.begin()
        if resumed is not None:
            scheduler.run_until(resumed)
            checkpoints.reached(kernel, recorder)
        reached = None
        while (horizon := scheduler.horizon) is not None:
            if horizon == reached:
                # Rows that are not in order. Whoever goes on comes to the one that says so.
                scheduler.run_until()
                break
            self._step(kernel, scheduler, horizon + 1, scheduler.events / total)
            if checkpoints is not None and checkpoints.due(scheduler.events):
                checkpoints.save(kernel, recorder, horizon + 1, scheduler.events)
            reached = horizon
        last = scheduler.last_ts
        tail = min(TAIL_ROUND_TRIPS * scheduler.round_trip, 1 << 60)
        self._step(kernel, scheduler, last + tail + 1, 1.0)
        scheduler.advance(last)
        kernel.stop()
        if self._on_error == "raise":
            kernel.raise_failures()
        scheduler.finish()
        return first, last

    def _step(self, kernel: Kernel, scheduler: Scheduler, until: int, done: float) -> None:
        scheduler.run_until(until)
        if self._on_error == "raise":
            kernel.raise_failures()
        if self._check_invariants:
            scheduler.check_invariants()
            kernel.check_invariants()
        if self._progress is not None:
            self._progress(done)


def _recordings(
    asset: AssetConfig, index: int, data: Mapping[str, Data | Sequence[Data]], source: str
) -> list[Recording]:
    """An asset's recordings in order, with what errors call them."""
    sources, names = _sources(asset, data)
    if not sources:
        raise ConfigError(f"{source}: $.assets[{index}].data: names no recording")
    return [Recording(item, name) for item, name in zip(sources, names, strict=True)]


def _sources(
    asset: AssetConfig, data: Mapping[str, Data | Sequence[Data]]
) -> tuple[Sequence[Data], Sequence[str]]:
    """Where an asset's events come from, and what errors call that."""
    sources: Sequence[Data] = asset.data
    names: Sequence[str] = asset.data
    if asset.symbol in data:
        given = data[asset.symbol]
        sources = [given] if isinstance(given, np.ndarray | str | Path) else list(given)
        # Whoever loads the configured files for us, as the command line does, wants their names in errors.
        if len(asset.data) != len(sources):
            names = [f"{asset.symbol}[{i}]" for i in range(len(sources))]
    return sources, names


def seat(kernel: Kernel, config: BacktestConfig, source: str = "configuration") -> None:
    """Seats the configured strategies.

    Args:
        kernel: Not started yet.
        config: With the kernel's assets.
        source: What error messages call the configuration.

    Raises:
        ConfigError: A strategy does not load, or has no such parameter or limit.
    """
    try:
        kernel.set_risk(config.risk)
    except ConfigError as error:
        raise ConfigError(f"{source}: $.risk: {error}") from None
    for index, entry in enumerate(config.strategies):
        where = f"{source}: $.strategies[{index}]"
        try:
            limits = msgspec.convert(entry.limits, RiskLimits)
        except msgspec.ValidationError as error:
            raise ConfigError(f"{where}.limits: {error}") from None
        try:
            strategy = create(load(entry.cls), entry.params)
            kernel.add_strategy(entry.id, strategy, entry.symbols or None, limits)
        except ConfigError as error:
            raise ConfigError(f"{where}: {error}") from error
