"""Runs that are kept: a directory each, with configuration, session, metrics, and what they were made with.

A run's name is made of what went in and what came out: the configuration, the recordings' contents, the
strategies' files, the versions, and the result. The same again is the same run, byte for byte.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from engine.backtest.config import BacktestConfig
from engine.backtest.data import Chunked, Recording
from engine.backtest.mids import mids_at
from engine.backtest.result import BacktestResult
from engine.core.errors import ConfigError, DataError
from engine.core.settings import config_hash
from engine.reports.mids import moments
from engine.reports.report import Report
from engine.reports.session import Session, load, mid_dtype, of_backtest
from engine.research.provenance import digest, git_state, strategy_digests, versions

SAMPLE_NS = 1_000_000_000
"""Interval of a kept run's equity samples where its configuration takes none."""

NAME_DIGITS = 12
VARIABLE = "RINGBOOK_RUNS"
LAST = "last"


def default_directory() -> Path:
    """Where runs are kept unless somebody says otherwise: ``RINGBOOK_RUNS``, or in the user's data."""
    if named := os.environ.get(VARIABLE):
        return Path(named).expanduser()
    base = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(base).expanduser() / "ringbook" / "runs"


@dataclass(frozen=True)
class Run:
    """A kept run.

    Attributes:
        path: Its directory.
        about: What it was made with: ``id``, ``kind``, ``config_hash``, ``result_hash``, ``seed``, ``data``,
            ``strategies``, ``git``, ``versions``, ``made``, ``seconds``, ``events``, ``failures``.
    """

    path: Path
    about: dict[str, Any]

    @property
    def id(self) -> str:
        """Its name."""
        return str(self.about["id"])

    def config(self) -> dict[str, Any]:
        """Its configuration, as plain values."""
        return _json(self.path / "config.json")

    def metrics(self) -> dict[str, Any]:
        """What its report says."""
        return _json(self.path / "metrics.json")

    def session(self) -> Session:
        """What it sent, was told and came to."""
        return load(self.path / "session.npz")

    def facts(self) -> dict[str, str]:
        """What a report says of its making."""
        git = self.about["git"]
        commit = git["commit"] or "no repository"
        return {
            "run": self.id,
            "result": str(self.about["result_hash"]),
            "git commit": commit + (" with changes" if git["changed"] else ""),
            "versions": ", ".join(f"{name} {text}" for name, text in self.about["versions"].items()),
            "recordings": ", ".join(f"{one['name']} ({one['digest']})" for one in self.about["data"]),
        }


class Runs:
    """A directory of runs.

    Args:
        directory: It is made when the first run is kept; by default the user's.
        sample_ns: Interval of the equity samples of runs whose configurations take none.
    """

    def __init__(self, directory: str | Path | None = None, *, sample_ns: int = SAMPLE_NS) -> None:
        self.directory = default_directory() if directory is None else Path(directory).expanduser()
        self.sample_ns = sample_ns
        self.last: Run | None = None

    def keep_backtest(
        self, config: BacktestConfig, sources: Sequence[Sequence[Any]], result: BacktestResult
    ) -> Run:
        """Keeps a backtest.

        Args:
            config: What was run.
            sources: The recordings of each asset: arrays or files.
            result: What came of it.

        Raises:
            OSError: The directory cannot be written.
        """
        session = with_mids(of_backtest(result, config), config, sources)
        data = [
            {"symbol": asset.symbol, "name": _name(source, asset.data, place), "digest": digest(source)}
            for asset, part in zip(config.assets, sources, strict=True)
            for place, source in enumerate(part)
        ]
        about = {
            "events": result.events,
            "seconds": result.seconds,
            "failures": [failure._asdict() for failure in result.failures],
        }
        return self.keep(session, config, data=data, about=about)

    def keep(
        self,
        session: Session,
        config: Any,
        *,
        data: Sequence[Mapping[str, Any]] = (),
        about: Mapping[str, Any] | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> Run:
        """Keeps a session; of one that is there already, nothing is written.

        Args:
            session: What to keep.
            config: A struct, whose strategies have ``id`` and ``cls``.
            data: ``symbol``, ``name`` and ``digest`` of each recording.
            about: What else is known of its making, and is no part of its name.
            extra: What else made it what it is, such as its length; a part of its name.

        Raises:
            OSError: The directory cannot be written.
        """
        plain = msgspec.to_builtins(config) | dict(extra or {})
        made_with = {
            "kind": session.kind,
            "config_hash": config_hash(config),
            "seed": session.seed,
            "data": list(data),
            "strategies": strategy_digests({one.id: one.cls for one in config.strategies}),
            "git": git_state(),
            "versions": versions(),
        }
        self.directory.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=".part-", dir=self.directory))
        try:
            (part / "config.json").write_text(_text(plain), encoding="utf-8")
            session.save(part / "session.npz")
            (part / "metrics.json").write_text(_text(Report(session).to_json()), encoding="utf-8")
            result = hashlib.sha256()
            for name in ("session.npz", "metrics.json"):
                result.update((part / name).read_bytes())
            made_with["result_hash"] = result.hexdigest()[:16]
            name = hashlib.sha256(_text([plain, made_with]).encode()).hexdigest()[:NAME_DIGITS]
            told = {"id": name, **made_with, "made": _now(), **(about or {})}
            (part / "run.json").write_text(_text(told), encoding="utf-8")
            self._into_place(part, name)
        finally:
            shutil.rmtree(part, ignore_errors=True)
        self.last = self.read(name)
        return self.last

    def _into_place(self, part: Path, name: str) -> None:
        os.chmod(part, 0o755)
        try:
            os.rename(part, self.directory / name)
        except OSError:
            # It is there already, perhaps since a moment, by another process of a sweep.
            if not (self.directory / name / "run.json").is_file():
                raise

    def read(self, name: str) -> Run:
        """A run by its whole name.

        Raises:
            DataError: It is not there, or damaged.
        """
        path = self.directory / name
        return Run(path, _json(path / "run.json"))

    def all(self) -> list[Run]:
        """All runs, the newest last."""
        if not self.directory.is_dir():
            return []
        names = [one.name for one in self.directory.iterdir() if (one / "run.json").is_file()]
        return sorted((self.read(name) for name in names), key=lambda run: (run.about["made"], run.id))

    def find(self, name: str) -> Run:
        """A run by the beginning of its name, or ``last``.

        Raises:
            ConfigError: There is none, or several begin so.
        """
        runs = self.all()
        if name == LAST and runs:
            return runs[-1]
        found = [run for run in runs if name and run.id.startswith(name)]
        if len(found) == 1:
            return found[0]
        if found:
            raise ConfigError(f"{name!r} could be any of {', '.join(run.id for run in found)}")
        raise ConfigError(f"no run {name!r} in {self.directory}")


def with_mids(session: Session, config: BacktestConfig, sources: Sequence[Sequence[Any]]) -> Session:
    """The session with the market's prices at the moments that a report looks at.

    Args:
        session: Of the backtest.
        config: What was run.
        sources: The recordings of each asset.
    """
    parts = []
    for number, (asset, given) in enumerate(zip(config.assets, sources, strict=True)):
        times = moments(session, number)
        rows = np.zeros(len(times), mid_dtype)
        rows["ts"], rows["instrument"] = times, number
        rows["mid"] = mids_at(asset, [Recording(source) for source in given], times)
        parts.append(rows)
    return dataclasses.replace(session, mids=np.concatenate(parts))


def flat(value: Any, path: str = "") -> dict[str, Any]:
    """Values within values by their paths, such as ``strategies[0].params.skew``."""
    if isinstance(value, dict):
        found = {}
        for key, inner in value.items():
            found |= flat(inner, f"{path}.{key}" if path else str(key))
        return found
    if isinstance(value, list):
        found = {}
        for place, inner in enumerate(value):
            found |= flat(inner, f"{path}[{place}]")
        return found
    return {path: value}


def difference(first: Run, second: Run) -> dict[str, list[tuple[str, Any, Any]]]:
    """What differs between two runs: path, the first's value, the second's; by ``made with``, ``config``,
    ``metrics``.

    Args:
        first: The one.
        second: The other.
    """
    told = [
        {k: v for k, v in run.about.items() if k not in ("id", "made", "seconds")} for run in (first, second)
    ]
    return {
        "made with": _differing(*told),
        "config": _differing(first.config(), second.config()),
        "metrics": _differing(first.metrics(), second.metrics()),
    }


def _differing(first: Any, second: Any) -> list[tuple[str, Any, Any]]:
    one, other = flat(first), flat(second)
    paths = [*one, *(path for path in other if path not in one)]
    return [(path, one.get(path), other.get(path)) for path in paths if one.get(path) != other.get(path)]


def _name(source: Any, names: Iterable[str], place: int) -> str:
    if isinstance(source, Chunked):
        return source.name
    if isinstance(source, np.ndarray):
        listed = list(names)
        return Path(listed[place]).name if place < len(listed) else "array"
    return Path(source).name


def _now() -> str:
    return str(np.datetime64("now", "ms"))


def _text(value: Any) -> str:
    return json.dumps(value, indent=1, sort_keys=True, default=str) + "\n"


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(error.strerror or str(error), file=str(path)) from None
    except ValueError as error:
        raise DataError(f"damaged: {error}", file=str(path)) from None
