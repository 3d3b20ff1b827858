"""Runs the points of a sweep, on this machine's cores or a Dask cluster, and goes on after a stop.

Every point that is done is a line of ``results.jsonl``; whoever goes on reads them and runs the rest. A
point's result depends on its configuration and data only, so it is the same wherever and whenever it was run.
"""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from engine.backtest.config import BacktestConfig
from engine.core.errors import ConfigError, DataError, RingbookError
from engine.feeds.replay import open_source
from engine.feeds.stored import is_stored
from engine.feeds.tabular import SUFFIXES
from engine.research.plan import Plan
from engine.research.runs import Runs

TRIES = 3
"""How often a point is tried whose worker died."""

MARKOUT_MS = 1000


@dataclass(frozen=True)
class Task:
    """A point on its way to a worker.

    Attributes:
        number: Its place in the plan.
        point: What was chosen.
        config: Its configuration, as JSON.
        data: Prepared recordings by symbol; None leaves them to the configuration.
        keep: Where the whole run is kept, if it is.
    """

    number: int
    point: dict[str, Any]
    config: bytes
    data: dict[str, list[str]] | None = None
    keep: str | None = None


def run_task(task: Task) -> dict[str, Any]:
    """Runs a point, here or wherever it was sent.

    Args:
        task: Which.

    Returns:
        A line of the results; ``error`` in place of numbers where it could not be run.
    """
    from engine.backtest.runner import BacktestRunner

    told: dict[str, Any] = {"number": task.number, "point": task.point}
    config = msgspec.json.decode(task.config, type=BacktestConfig)
    data = None
    if task.data is not None:
        data = {symbol: [_opened(symbol, file) for file in files] for symbol, files in task.data.items()}
    try:
        with tempfile.TemporaryDirectory(prefix="ringbook-sweep-") as scratch:
            runs = Runs(task.keep or scratch)
            # Every processor has a point of its own to work on.
            result = BacktestRunner(runs=runs, threads=1).run(config, data)
            run = runs.last
            told |= {"config_hash": run.about["config_hash"], "result_hash": run.about["result_hash"]}
            told |= {"run": run.id if task.keep else None, "metrics": summary(run.metrics())}
            if result.failures:
                told["error"] = result.failures[0].line()
    except RingbookError as error:
        told["error"] = f"{type(error).__name__}: {error}"
    return told


def _opened(symbol: str, file: str) -> Any:
    """What the runner takes for a recording: one in a store, or a table's file, is read by its source."""
    if is_stored(file) or Path(file).suffix in SUFFIXES:
        return open_source(symbol, file)
    return np.load(file, mmap_mode="r") if file.endswith(".npy") else file


def summary(metrics: dict[str, Any]) -> dict[str, float | None]:
    """The numbers that sweeps rank by.

    Args:
        metrics: What a report says.
    """
    every = metrics["all"]
    markout = next(one["mean"] for one in every["markouts_bps"]["all"] if one["ms"] == MARKOUT_MS)
    returns, execution = every["returns"], every["execution"]
    found = {name: every["pnl"][name] for name in ("profit", "spread", "inventory", "fees", "funding")}
    found |= {name: returns[name] for name in ("sr", "sortino", "max_drawdown", "over_max_drawdown")}
    found |= {name: returns[name] for name in ("over_trade", "turnover")}
    names = (
        "fills",
        "orders",
        "fill_ratio",
        "maker_ratio",
        "order_to_trade",
        "queue_depletion",
        "slippage_bps",
    )
    found |= {name: execution[name] for name in names}
    return found | {"markout_1s_bps": markout}


class Sweep:
    """A sweep in a directory of its own: ``plan.json``, ``results.jsonl``, ``data`` and, if kept, ``runs``.

    Args:
        plan: What to run.
        directory: Made where it is not there.
        resume: Go on with what is there.
        keep: Keep every run whole, not only its numbers.

    Raises:
        ConfigError: Something is there already and is not to be resumed, or is another plan's.
    """

    def __init__(
        self, plan: Plan, directory: str | Path, *, resume: bool = False, keep: bool = False
    ) -> None:
        self.plan, self.directory = plan, Path(directory)
        self._keep = str((self.directory / "runs").absolute()) if keep else None
        self._results = self.directory / "results.jsonl"
        about = self.directory / "plan.json"
        told = {"digest": plan.digest(), "runs": len(plan.points())}
        if about.is_file():
            there = json.loads(about.read_text(encoding="utf-8"))
            if not resume:
                raise ConfigError(f"{self.directory}: a sweep is there already: --resume goes on with it")
            if there != told:
                raise ConfigError(f"{self.directory}: is another sweep's, with other keys, values or files")
        elif resume:
            raise ConfigError(f"{self.directory}: no sweep is there to go on with")
        self.directory.mkdir(parents=True, exist_ok=True)
        about.write_text(json.dumps(told) + "\n", encoding="utf-8")
        self.results = self._read()

    def _read(self) -> dict[int, dict[str, Any]]:
        """What is done; a last line that a stop has cut is taken off the file."""
        try:
            text = self._results.read_bytes()
        except FileNotFoundError:
            return {}
        whole = text[: text.rfind(b"\n") + 1]
        if len(whole) < len(text):
            os.truncate(self._results, len(whole))
        rows = [json.loads(line) for line in whole.splitlines()]
        return {row["number"]: row for row in rows}

    def tasks(self) -> list[Task]:
        """What is still to be run.

        Raises:
            ConfigError: A configuration is wrong; nothing has been run then.
            DataError: A recording is not there.
        """
        prepared: dict[str, str] = {}
        found = []
        for number, point in enumerate(self.plan.points()):
            config = self.plan.config(point)
            data = {
                asset.symbol: [self._prepare(file, prepared) for file in asset.data]
                for asset in config.assets
            }
            if number not in self.results:
                found.append(Task(number, point, msgspec.json.encode(config), data, self._keep))
        return found

    def _prepare(self, file: str, done: dict[str, str]) -> str:
        """A recording as workers read it: a raw capture is converted once, not once a run."""
        if is_stored(file):
            return file
        if file not in done:
            path = Path(file).expanduser().absolute()
            if not path.is_file():
                raise DataError("No such file or directory", file=file)
            readable = path.suffix in (".npz", ".npy", *SUFFIXES)
            done[file] = str(path) if readable else self._converted(path)
        return done[file]

    def _converted(self, path: Path) -> str:
        from engine.feeds import capture, databento
        from engine.feeds.dbn import is_databento

        folder = (self.directory / "data").absolute()
        folder.mkdir(exist_ok=True)
        stat = path.stat()
        target = folder / f"{path.name}-{stat.st_size}-{stat.st_mtime_ns}.npy"
        if not target.is_file():
            part = folder / f".{target.name}"
            with open(part, "wb") as out:
                np.save(out, (databento if is_databento(path) else capture).convert(path).events)
            os.replace(part, target)
        return str(target)

    def run(
        self,
        execute: Callable[[list[Task]], Iterator[dict[str, Any]]],
        progress: Callable[[int, int], None] | None = None,
    ) -> list[dict[str, Any]]:
        """Runs what is left and returns everything, in the plan's order.

        Args:
            execute: Runs tasks and yields their lines as they come: ``on_cores`` or ``on_dask``.
            progress: Called with how many are done and how many there are.
        """
        tasks = self.tasks()
        total = len(self.results) + len(tasks)
        with open(self._results, "ab") as file:
            if progress is not None:
                progress(len(self.results), total)
            for row in execute(tasks):
                file.write(json.dumps(row).encode() + b"\n")
                file.flush()
                self.results[row["number"]] = row
                if progress is not None:
                    progress(len(self.results), total)
        return [self.results[number] for number in sorted(self.results)]


def ranked(rows: list[dict[str, Any]], by: str, *, ascending: bool = False) -> list[dict[str, Any]]:
    """Results by one of their numbers, the best first; those without it last, in the plan's order.

    Args:
        rows: What :meth:`Sweep.run` returned.
        by: Name of a number of :func:`summary`.
        ascending: Whether less is better.

    Raises:
        ConfigError: There is no such number.
    """
    names = {name for row in rows for name in row.get("metrics", {})}
    if names and by not in names:
        raise ConfigError(f"cannot rank by {by!r}, only by {', '.join(sorted(names))}")

    def key(row: dict[str, Any]) -> tuple[bool, float, int]:
        value = row.get("metrics", {}).get(by)
        missing = value is None or not math.isfinite(value)
        return missing, 0.0 if missing else (value if ascending else -value), row["number"]

    return sorted(rows, key=key)


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def on_cores(
    workers: int | None = None, run: Callable[[Task], dict[str, Any]] = run_task
) -> Callable[[list[Task]], Iterator[dict[str, Any]]]:
    """Runs tasks in processes of this machine; one that dies is replaced, and its points are run again.

    Args:
        workers: How many; one a core by default.
        run: What a worker does.
    """

    def execute(tasks: list[Task]) -> Iterator[dict[str, Any]]:
        count = max(1, min(workers or cores(), len(tasks)))
        left, tries = list(reversed(tasks)), dict.fromkeys((task.number for task in tasks), 0)
        while left:
            context = multiprocessing.get_context("spawn")
            with ProcessPoolExecutor(count, mp_context=context, initializer=_end_with_parent) as pool:
                yield from _until_broken(pool, run, left, tries, 2 * count)

    return execute


def _end_with_parent() -> None:
    """Has this worker end when the sweep was killed: nothing else would tell it."""

    def watch() -> None:
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _until_broken(
    pool: ProcessPoolExecutor,
    run: Callable[[Task], dict[str, Any]],
    left: list[Task],
    tries: dict[int, int],
    most: int,
) -> Iterator[dict[str, Any]]:
    """Runs tasks until all are done or a process died; ``left`` is what is still to be run then."""
    running: dict[Future, Task] = {}
    try:
        while left or running:
            while left and len(running) < most:
                task = left.pop()
                running[pool.submit(run, task)] = task
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                row = future.result()
                del running[future]
                yield row
    except BrokenProcessPool:
        for future, task in list(running.items()):
            if future.done() and future.exception() is None:
                yield future.result()
                continue
            tries[task.number] += 1
            if tries[task.number] >= TRIES:
                raise ConfigError(f"workers died {TRIES} times on {task.point}: too little memory?") from None
            left.append(task)


def on_dask(address: str) -> Callable[[list[Task]], Iterator[dict[str, Any]]]:
    """Runs tasks on a Dask cluster; one whose worker dies is run by another.

    Args:
        address: Of the scheduler, such as ``tcp://host:8786``. Its workers need Ringbook and the recordings
            at the same places.

    Raises:
        ConfigError: ``distributed`` is not installed, or nobody answers there.
    """
    try:
        from distributed import Client, as_completed
    except ImportError:
        raise ConfigError("a Dask cluster needs the extra 'distributed'") from None
    try:
        client = Client(address, timeout="10s")
    except (OSError, ValueError) as error:
        raise ConfigError(f"--scheduler {address}: {error or 'nobody answers'}") from None

    def execute(tasks: list[Task]) -> Iterator[dict[str, Any]]:
        with client:
            futures = [client.submit(run_task, task, pure=False, retries=TRIES) for task in tasks]
            for future in as_completed(futures):
                yield future.result()
                future.release()

    return execute
