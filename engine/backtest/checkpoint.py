"""Checkpoints of a backtest: enough to bring another run of it to where this one was, and to go on there.

A run follows from its data and from what its strategies do, and compiled strategies follow from both. So a
checkpoint holds what Python strategies asked for, call by call, and what they hold now. Resuming replays the
recordings with those calls in place of the strategies' callbacks, which takes as long as the engine needs for
the rows, compares what came of it with what was there, and gives the strategies back what they held.

A directory holds one run: ``checkpoint.json``, which is replaced as a whole and last; ``calls.bin``, which
grows; and the strategies' state as a pickle, so resume only checkpoints that you trust.
"""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import IO, Any

import msgspec
import numpy as np

from engine import __version__
from engine.backtest.config import BacktestConfig
from engine.backtest.recorder import Recorder
from engine.core.errors import CheckpointError, ConfigError
from engine.core.settings import config_hash
from engine.kernel import Kernel
from engine.strategy.holdings import Pickler, Unpickler, restore
from engine.strategy.script import call_dtype

FORMAT = 1
"""Of the files; others are not read."""

MANIFEST = "checkpoint.json"
CALLS = "calls.bin"


class Place(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """Where a run was.

    Attributes:
        format: ``FORMAT``.
        version: Of Ringbook.
        config_hash: Of the configuration.
        rows: Of all recordings.
        until: The run had done everything strictly before this time.
        events: Rows that had been read.
        state_hash: Of the kernel.
        callbacks: Of Python strategies.
        calls: Entries of the calls that had been made.
        logged: Fills, order updates and equity samples.
        state: The file of the strategies' state.
    """

    format: int
    version: str
    config_hash: str
    rows: int
    until: int
    events: int
    state_hash: int
    callbacks: int
    calls: int
    logged: tuple[int, int, int]
    state: str


class Checkpoints:
    """The checkpoints of one run, in a directory.

    Args:
        directory: Made if it is not there.
        config: Of the run.
        rows: Of all its recordings.
        every: Rows between two checkpoints, at least.
        resume: Go on from the checkpoint that is there.

    Raises:
        ConfigError: ``every`` is not positive, there is nothing to resume, or something that a new run would
            overwrite.
        CheckpointError: What is there cannot be read.
    """

    def __init__(
        self, directory: str | Path, config: BacktestConfig, rows: int, *, every: int, resume: bool
    ) -> None:
        if every < 1:
            raise ConfigError(f"a checkpoint every {every} rows: at least 1")
        self._directory = Path(directory)
        self._config_hash, self._rows = config_hash(config), rows
        self._every = every
        self._saved: Place | None = None
        self._calls = 0
        self._events = 0
        there = (self._directory / MANIFEST).exists()
        if there and not resume:
            raise ConfigError(f"{self._directory} holds a checkpoint: resume it, or name another directory")
        if resume:
            if not there:
                raise ConfigError(f"{self._directory} holds no checkpoint to resume")
            self._saved = self._read()

    # --- a run ------------------------------------------------------------------------------------------

    def begin(self, kernel: Kernel) -> int | None:
        """Before the strategies start: has their calls written down, or played.

        Returns:
            The time up to which the run is to be brought before :meth:`reached`; None for a new run.

        Raises:
            CheckpointError: The checkpoint is of another run, or damaged.
        """
        saved = self._saved
        if saved is None:
            self._directory.mkdir(parents=True, exist_ok=True)
            (self._directory / CALLS).write_bytes(b"")
            kernel.script.record()
            return None
        for name, ours in (
            ("version", __version__),
            ("config_hash", self._config_hash),
            ("rows", self._rows),
        ):
            if getattr(saved, name) != ours:
                raise CheckpointError(f"{self._directory}: {name} was {getattr(saved, name)}, is {ours}")
        path = self._directory / CALLS
        if path.stat().st_size < saved.calls * call_dtype.itemsize:
            raise CheckpointError(f"{path}: truncated")
        # What was written after the checkpoint is part of nothing.
        os.truncate(path, saved.calls * call_dtype.itemsize)
        calls = np.fromfile(path, call_dtype)
        self._texts, self._state = self._load_state(kernel, saved)
        kernel.script.play(calls, self._texts)
        self._calls, self._events = saved.calls, saved.events
        return saved.until

    def reached(self, kernel: Kernel, recorder: Recorder) -> None:
        """When a resumed run has been brought to its place: gives the strategies what they held.

        Raises:
            CheckpointError: The run is not where it was: its data or models are others.
        """
        saved = self._saved
        assert saved is not None
        script = kernel.script
        for name, was, now in (
            ("calls left", 0, script.left),
            ("callbacks", saved.callbacks, script.callbacks),
            ("fills, order updates and samples", saved.logged, recorder.counts),
            ("state hash", saved.state_hash, kernel.state_hash()),
        ):
            if was != now:
                raise CheckpointError(f"{self._directory}: the run is another: {name} {now}, not {was}")
        script.record()
        parts = kernel.parts()
        for name, state in self._state.items():
            restore(parts["strategy", name], state)

    def due(self, events: int) -> bool:
        """Whether the next checkpoint is due, with so many rows read."""
        return events - self._events >= self._every

    def save(self, kernel: Kernel, recorder: Recorder, until: int, events: int) -> None:
        """Makes a checkpoint of a run that has done everything strictly before ``until``.

        Raises:
            CheckpointError: A strategy holds what cannot be kept.
        """
        old = self._saved
        state = f"strategies-{events}.pickle"
        _write(self._directory / state, self._dump_state(kernel))
        calls = kernel.script.take()
        with open(self._directory / CALLS, "ab") as file:
            file.write(calls.tobytes())
            _sync(file)
        self._calls += len(calls)
        self._events = events
        self._saved = Place(
            format=FORMAT,
            version=__version__,
            config_hash=self._config_hash,
            rows=self._rows,
            until=until,
            events=events,
            state_hash=kernel.state_hash(),
            callbacks=kernel.script.callbacks,
            calls=self._calls,
            logged=recorder.counts,
            state=state,
        )
        draft = self._directory / f"{MANIFEST}.new"
        _write(draft, json.dumps(msgspec.to_builtins(self._saved), indent=2).encode())
        os.replace(draft, self._directory / MANIFEST)
        if old is not None and old.state != state:
            (self._directory / old.state).unlink(missing_ok=True)

    # --- files ------------------------------------------------------------------------------------------

    def _read(self) -> Place:
        path = self._directory / MANIFEST
        try:
            place = msgspec.json.decode(path.read_bytes(), type=Place)
        except msgspec.DecodeError as error:
            raise CheckpointError(f"{path}: {error}") from error
        if place.format != FORMAT or Path(place.state).name != place.state:
            raise CheckpointError(f"{path}: format {place.format}, this version reads {FORMAT}")
        return place

    def _dump_state(self, kernel: Kernel) -> bytes:
        parts = kernel.parts()
        file = io.BytesIO()
        states = {}
        for kind, name in parts:
            if kind == "strategy":
                states[name] = parts[kind, name].__getstate__()
                # Said of the one that it is about.
                try:
                    Pickler(io.BytesIO(), parts).dump(states[name])
                except Exception as error:
                    text = f"strategy {name} holds what cannot be kept: {type(error).__name__}: {error}"
                    raise CheckpointError(
                        f"{text}; __getstate__ and __setstate__ can leave it out"
                    ) from error
        Pickler(file, parts).dump((kernel.script.texts, states))
        return file.getvalue()

    def _load_state(self, kernel: Kernel, saved: Place) -> tuple[list[Any], dict[str, Any]]:
        path = self._directory / saved.state
        try:
            with open(path, "rb") as file:
                return Unpickler(file, kernel.parts()).load()
        except Exception as error:
            raise CheckpointError(f"{path}: {type(error).__name__}: {error}") from error


def _sync(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())


def _write(path: Path, content: bytes) -> None:
    with open(path, "wb") as file:
        file.write(content)
        _sync(file)
