"""Sessions for reports: a journal's run, or one on the market within, repeated to see the market again."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from engine.backtest.config import BacktestConfig
from engine.backtest.result import BacktestResult
from engine.core.errors import DataError
from engine.journal.reader import JournalReader
from engine.reports.mids import moments
from engine.reports.session import Session, load, mid_dtype, of_backtest, sample_dtype
from engine.runtime.engine import EngineLoop
from engine.runtime.recovery import Beginning, Replay, beginning, newest_run, private_loop, quiet_log
from engine.runtime.session import MarketRunner, samples

SAMPLE_NS = 1_000_000_000


def session_of(journal: str | Path, *, sample_ns: int = SAMPLE_NS) -> Session:
    """Repeats a journal's run, twice: the second time it is known when to look at the market.

    Args:
        journal: The folder of a daemon's journals, of which the newest is taken, or one of them.
        sample_ns: Interval of the samples.

    Raises:
        JournalError: There is no journal, or it is broken.
        RecordsRemoved: It does not reach back to the run's beginning.
        ReplayDiverged: The run did something else: another build, other strategies or parameters.
        DataError: There was no market.
    """
    directory = newest_run(journal)
    with tempfile.TemporaryDirectory(prefix="ringbook-report-") as folder:
        file = Path(folder) / "session.npz"
        session = _first(directory, file, sample_ns)
    return _second(directory, session)


def run_market(
    config: BacktestConfig, seconds: float, runner: MarketRunner | None = None
) -> tuple[BacktestResult, Session]:
    """Runs strategies on the market within, twice: the second time it is known when to look at it.

    Args:
        config: What to run, with equity samples.
        seconds: Of market time.
        runner: What runs it the first time; a plain one by default.

    Returns:
        The first run's result, and the session with prices of the second, which are the same.

    Raises:
        ConfigError, CapacityError: As :meth:`engine.runtime.session.MarketRunner.run`.
    """
    result = (runner or MarketRunner()).run(config, seconds)
    session = replace(of_backtest(result, config), kind="market")
    times = [moments(session, number) for number in range(len(session.instruments))]
    look = np.unique(np.concatenate(times))
    again = MarketRunner(look=look)
    again.run(config, seconds)
    rows = np.zeros(sum(map(len, times)), mid_dtype)
    rows["ts"] = np.concatenate(times)
    rows["instrument"] = np.repeat(np.arange(len(times)), [len(one) for one in times])
    rows["mid"] = again.seen[np.searchsorted(look, rows["ts"]), rows["instrument"]] if len(rows) else 0.0
    return result, replace(session, mids=rows)


def _again(directory: Path, result: str) -> tuple[Beginning, EngineLoop, Replay]:
    begun = beginning(directory)
    begun.config.engine.result = result
    loop = private_loop(begun.config, begun.switches, quiet_log())
    return begun, loop, Replay(loop, JournalReader(directory, after=0))


def _first(directory: Path, file: Path, sample_ns: int) -> Session:
    """The session, with its samples."""
    _, loop, run = _again(directory, str(file))
    kernel = loop.kernel
    rows: list[tuple] = []
    while (after := run.next_ts) is not None:
        # The next multiple at or after what comes next: silent hours cost nothing.
        at = max(-(-after // sample_ns), 1) * sample_ns
        run.run(at)
        if run.next_ts is None and loop.now < at:
            at = loop.now
        rows += samples(kernel, at)
    if not loop.save(run.reached().ts):
        raise DataError("the run never saw a market", file=str(directory))
    taken = np.array(rows, sample_dtype)
    session = load(file)
    return replace(session, samples=taken[taken["ts"] >= session.first_ts])


def _second(directory: Path, session: Session) -> Session:
    """The session, with the market's prices where a report looks."""
    _, loop, run = _again(directory, "")
    parts = []
    for number in range(len(session.instruments)):
        times = moments(session, number)
        rows = np.zeros(len(times), mid_dtype)
        rows["ts"], rows["instrument"] = times, number
        parts.append(rows)
    found = np.concatenate(parts)
    order = np.argsort(found["ts"], kind="stable")
    symbols = loop.kernel.symbols
    for place in order.tolist():
        run.run(int(found["ts"][place]))
        found["mid"][place] = loop.kernel.book(symbols[found["instrument"][place]]).mid
    return replace(session, mids=found)
