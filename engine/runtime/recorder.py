"""The recorder process: follows the journal, and brings what is in it to the store; see docs/storage.md.

The engine knows nothing of it. It reads files that the journaller has made durable, so that a store which is
away, slow or gone costs the trading nothing; what the store has not taken waits in the spool.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from engine.core.errors import RingbookError
from engine.journal.wal import Journal
from engine.runtime.config import DaemonConfig
from engine.runtime.lag import Lag
from engine.runtime.recording import Recording
from engine.runtime.recovery import run_directory
from engine.runtime.rundir import RunDir
from engine.storage.base import Store
from engine.storage.spool import Spool
from engine.storage.store import open_store
from engine.storage.writer import Writer

END_S = 1.0
"""How long it waits for the last ones when it is told to stop."""
PATIENCE_S = 2.5
"""How long after being told it still tries to store: less than a supervisor waits."""
REFUSED_S = 0.5
"""How long it waits for a disk that has refused."""
MAX_PAUSE = 10
"""How much rarer it looks for more when the store is behind."""
RUNS = "runs.json"
EVERYTHING = 2**64 - 1


class Recorder:
    """Records the runs of one daemon.

    Args:
        config: The daemon's.
        run: Its directory.
        log: Told what goes wrong.

    Raises:
        StoreError: Another recorder has the spool.
    """

    def __init__(self, config: DaemonConfig, run: RunDir, log: logging.Logger) -> None:
        self._log, self._config = log, config.recorder
        self._every = config.journal.snapshot_records
        self._flush_s = config.recorder.flush_ms / 1e3
        self._path = spool_directory(config)
        self._spool = Spool(self._path, limit=config.recorder.spool_mb << 20)
        self._writer = Writer(self._spool, self._opened, log)
        self._buffer = Journal.attach(run.journal_buffer, read_only=True)
        self._run_id = self._buffer.run_id.hex()
        self._current = run_directory(config, self._buffer.run_id)
        self._lag = Lag(self._spool, self._writer.written, self._current, run.recorder_file)
        self._lags = [self._lag]
        self._earlier = [path for path in self._runs() if path.name != self._run_id]
        self._note_runs()

    @property
    def still_stores(self) -> bool:
        """Whether a statement has not come back although it was given up."""
        return self._writer.alive

    def _opened(self) -> Store:
        return open_store(self._config.store, hold=True, ttl_days=self._config.ttl_days)

    def run(self, on_ready: Callable[[], None], stopped: Callable[[], bool]) -> None:
        """Records until the run has ended or it is told to stop.

        Args:
            on_ready: Called once it has begun.
            stopped: Whether it is to stop.

        Raises:
            JournalError: The journal is damaged.
        """
        self._told = time.monotonic()
        self._writer.start()
        on_ready()
        try:
            while not self._buffer.durable_seq and not stopped():
                time.sleep(0.01)
            for directory in self._earlier:
                self._catch_up(directory, stopped)
            if self._buffer.durable_seq:
                self._follow(self._recording(self._current), stopped)
        finally:
            self._look()
            if not self._writer.stop(max(0.5, self._told + PATIENCE_S - time.monotonic())):
                self._log.info("%d batches are left for the next start, in %s", len(self._spool), self._path)
            for lag in self._lags:
                lag.look()
                lag.tell()
            self._spool.close()
            self._buffer.close()

    def _recording(self, directory: Path) -> Recording:
        return Recording(
            self._spool,
            directory,
            self._log,
            market=self._config.market_data,
            interval_ns=self._config.position_ms * 1_000_000,
            every=self._every,
        )

    def _follow(self, recording: Recording, stopped: Callable[[], bool]) -> None:
        while not stopped() and not recording.ended:
            began = time.monotonic()
            if not self._step(recording, self._buffer.durable_seq, self._lag):
                continue
            while time.monotonic() < began + self._pause() and not stopped():
                time.sleep(min(0.02, self._flush_s))
                self._look()
        self._told = time.monotonic()
        deadline = self._told + END_S
        while self._buffer.durable_seq < self._buffer.accepted_seq and time.monotonic() < deadline:
            time.sleep(0.005)
        while not self._step(recording, self._buffer.durable_seq, self._lag) and time.monotonic() < deadline:
            pass
        if recording.ended or (recording.lost and self._buffer.ended):
            self._done(recording, self._lag)

    def _pause(self) -> float:
        """Seconds between two looks: a store that is behind gets fewer and larger batches."""
        return self._flush_s * min(MAX_PAUSE, 1 + len(self._spool) // 4)

    def _catch_up(self, directory: Path, stopped: Callable[[], bool]) -> None:
        """Adds what an earlier run has left, of which nothing more will come."""
        try:
            recording = self._recording(directory)
        except RingbookError as error:
            self._log.warning("run %s cannot be recorded any more: %s", directory.name, error)
            self._forget(directory)
            return
        lag = Lag(self._spool, self._writer.written, directory)
        self._lags.append(lag)
        while not stopped():
            if self._step(recording, EVERYTHING, lag):
                self._done(recording, lag)
                return

    def _step(self, recording: Recording, limit: int, lag: Lag) -> bool:
        """One step, or what of it the disk has room for; whether nothing is left to do."""
        began = time.time_ns()
        try:
            whole = recording.step(limit)
        except OSError as error:
            self._refused(error)
            return False
        lag.left_out = recording.left_out
        if whole:
            lag.stepped(recording.seq, began)
        self._look()
        return whole

    def _look(self) -> None:
        """Says what has been stored since the last look."""
        for lag in self._lags:
            lag.look()
        self._lags = [lag for lag in self._lags if lag is self._lag or not lag.done]

    def _done(self, recording: Recording, lag: Lag) -> None:
        began = time.time_ns()
        try:
            recording.finish()
        except OSError as error:
            self._refused(error)
            return
        lag.stepped(recording.seq, began)
        self._forget(self._current.with_name(recording.run_id))
        self._spool.forget(recording.run_id)

    def _refused(self, error: OSError) -> None:
        self._log.warning("%s: %s; trying again", self._path, error.strerror or error)
        time.sleep(REFUSED_S)

    # --- which runs are not recorded whole ------------------------------------------------------

    def _runs(self) -> list[Path]:
        try:
            return [Path(text) for text in json.loads((self._path / RUNS).read_text())]
        except (FileNotFoundError, ValueError):
            return []

    def _note_runs(self) -> None:
        draft = self._path / f"{RUNS}.new"
        draft.write_text(json.dumps([str(path) for path in (*self._earlier, self._current)]))
        draft.replace(self._path / RUNS)

    def _forget(self, directory: Path) -> None:
        """A run is in the spool whole."""
        paths = [path for path in self._runs() if path.name != directory.name]
        draft = self._path / f"{RUNS}.new"
        draft.write_text(json.dumps([str(path) for path in paths]))
        draft.replace(self._path / RUNS)


def spool_directory(config: DaemonConfig) -> Path:
    """Where a daemon's recorder keeps what is not stored yet."""
    if config.recorder.spool:
        return Path(config.recorder.spool).expanduser().absolute()
    return Path(config.journal.dir).expanduser().absolute() / f"recorder-{config.engine.name}"


def main(config: DaemonConfig, run: RunDir, log: logging.Logger, on_ready: Callable[[], None]) -> None:
    """The process.

    Args:
        config: The daemon's.
        run: Its directory.
        log: Its log.
        on_ready: Called once it records.
    """
    asked: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: asked.append(number))
    # The engine and whoever trades with it go first.
    os.nice(5)
    recorder = Recorder(config, run, log)
    recorder.run(on_ready, lambda: bool(asked))
    if recorder.still_stores:
        # Within a statement that takes its time: the batch is in doubt, as after any other end.
        logging.shutdown()
        os._exit(0)
