"""What a sweep runs: a base configuration, and every point of a grid or some points drawn at random."""

from __future__ import annotations

import copy
import hashlib
import itertools
import json
import math
import re
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

import numpy as np

from engine.backtest.config import BacktestConfig, check
from engine.core import settings
from engine.core.errors import ConfigError

MOST = 1_000_000
"""Points of a sweep."""
_STEP = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)((?:\[\d+\])*)\Z")
_RANGE = re.compile(r"(\d{4})(-?)(\d\d)\2(\d\d)\.\.(\d{4})\2(\d\d)\2(\d\d)\Z")
PLACES = ("symbol", "day")


@dataclass(frozen=True)
class Between:
    """A range that values are drawn from.

    Attributes:
        low: Least.
        high: Greatest.
        log: Whether every order of magnitude is as likely as another.
    """

    low: float | int
    high: float | int
    log: bool = False

    def draw(self, rng: np.random.Generator) -> float | int:
        """A value: whole where both ends are."""
        if self.log:
            value = math.exp(rng.uniform(math.log(self.low), math.log(self.high)))
        elif isinstance(self.low, int) and isinstance(self.high, int):
            return int(rng.integers(self.low, self.high, endpoint=True))
        else:
            value = float(rng.uniform(self.low, self.high))
        # Twelve figures survive being written down and read again.
        return float(f"{min(max(value, self.low), self.high):.12g}")


@dataclass(frozen=True)
class Plan:
    """A sweep.

    Attributes:
        base: The configuration, as plain values; ``{symbol}`` and ``{day}`` in it stand for what is swept.
        grid: Values by key: a parameter of the strategies, or a path such as ``assets[0].queue_n``.
        draws: Ranges by key; the grid is then drawn from too.
        samples: Points to draw; 0 takes every point of the grid.
        seed: Of the drawing.
        symbols: What ``{symbol}`` stands for.
        days: What ``{day}`` stands for.
    """

    base: dict[str, Any]
    grid: dict[str, list[Any]] = field(default_factory=dict)
    draws: dict[str, Between] = field(default_factory=dict)
    samples: int = 0
    seed: int = 0
    symbols: tuple[str, ...] = ()
    days: tuple[str, ...] = ()

    def points(self) -> list[dict[str, Any]]:
        """What is chosen for each run, in order; the same plan gives the same.

        Raises:
            ConfigError: There are none or too many, or a key is swept twice.
        """
        axes: dict[str, list[Any]] = {}
        for name, values in (("symbol", self.symbols), ("day", self.days)):
            if values:
                axes[name] = list(values)
        for key in (*self.grid, *self.draws):
            if key in axes or (key in self.grid and key in self.draws):
                raise ConfigError(f"{key} is swept twice")
        axes |= self.grid
        size = math.prod(len(values) for values in axes.values())
        if self.samples:
            size = self.samples
        elif self.draws:
            raise ConfigError("ranges are drawn from: say how many samples")
        if not 0 < size <= MOST:
            raise ConfigError(f"a sweep of {size:,} runs: at least one and at most {MOST:,}")
        if not self.samples:
            names = list(axes)
            return [dict(zip(names, values, strict=True)) for values in itertools.product(*axes.values())]
        rng = np.random.default_rng(self.seed)
        found = []
        for _ in range(self.samples):
            point = {name: values[int(rng.integers(len(values)))] for name, values in axes.items()}
            found.append(point | {name: between.draw(rng) for name, between in self.draws.items()})
        return found

    def config(self, point: dict[str, Any]) -> BacktestConfig:
        """The configuration of a point.

        Args:
            point: One of :meth:`points`.

        Raises:
            ConfigError: A key is not there, or the configuration is wrong with what was chosen.
        """
        places = {name: str(point[name]) for name in PLACES if name in point}
        values = _filled(copy.deepcopy(self.base), places) if places else copy.deepcopy(self.base)
        for key, value in point.items():
            if key not in PLACES:
                _set(values, key, value)
        source = "sweep, " + (", ".join(f"{k}={v}" for k, v in point.items()) or "base")
        config = settings.convert(values, BacktestConfig, source=source)
        check(config, source)
        return config

    def digest(self) -> str:
        """16 hex digits that tell a plan from another."""
        draws = {key: [one.low, one.high, one.log] for key, one in self.draws.items()}
        whole = [self.base, self.grid, draws, self.samples, self.seed, self.symbols, self.days]
        return hashlib.sha256(json.dumps(whole, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _filled(value: Any, places: dict[str, str]) -> Any:
    """Texts with ``{symbol}`` and ``{day}`` replaced, wherever they are."""
    if isinstance(value, str):
        for name, text in places.items():
            value = value.replace(f"{{{name}}}", text)
        return value
    if isinstance(value, dict):
        return {key: _filled(inner, places) for key, inner in value.items()}
    if isinstance(value, list):
        return [_filled(inner, places) for inner in value]
    return value


def _set(values: dict[str, Any], key: str, value: Any) -> None:
    """Sets a value by its path, or a parameter of every strategy where it is only a name."""
    if "." not in key and "[" not in key and key not in BacktestConfig.__struct_fields__:
        strategies = values.get("strategies") or []
        for strategy in strategies:
            strategy.setdefault("params", {})[key] = value
        return
    node: Any = values
    *way, last = _path(key)
    try:
        for step in way:
            node = node.setdefault(step, {}) if isinstance(node, dict) else node[step]
        if isinstance(node, list):
            node[last]
        node[last] = value
    except (IndexError, KeyError, TypeError, AttributeError):
        raise ConfigError(f"{key}: the configuration has no such place") from None


def _path(key: str) -> list[str | int]:
    found: list[str | int] = []
    for part in key.split("."):
        match = _STEP.match(part)
        if match is None:
            raise ConfigError(f"{key!r} is neither a parameter's name nor a path such as assets[0].queue_n")
        found.append(match[1])
        found += [int(number) for number in re.findall(r"\d+", match[2])]
    return found


def values_of(text: str) -> tuple[str, list[Any]]:
    """``NAME=V1,V2`` as its name and values, which are read as TOML.

    Args:
        text: What the user wrote.

    Raises:
        ConfigError: It is something else.
    """
    name, equals, raw = text.partition("=")
    values = settings.toml_value(f"[{raw}]")
    if not isinstance(values, list):
        values = [settings.toml_value(one.strip()) for one in raw.split(",")]
    if not equals or not name or not values:
        raise ConfigError(f"{text!r}: expected NAME=VALUE,VALUE,...")
    return name, values


def between_of(text: str) -> tuple[str, Between]:
    """``NAME=LOW..HIGH``, or ``NAME=log:LOW..HIGH``, as its name and range.

    Args:
        text: What the user wrote.

    Raises:
        ConfigError: It is something else, or there is nothing between the ends.
    """
    name, equals, raw = text.partition("=")
    log = raw.startswith("log:")
    low_text, dots, high_text = raw.removeprefix("log:").partition("..")
    low, high = settings.toml_value(low_text), settings.toml_value(high_text)
    if not (equals and name and dots) or any(
        isinstance(end, bool) or not isinstance(end, int | float) or not math.isfinite(end)
        for end in (low, high)
    ):
        raise ConfigError(f"{text!r}: expected NAME=LOW..HIGH or NAME=log:LOW..HIGH")
    if low > high or (log and low <= 0):
        raise ConfigError(f"{text!r}: from a lower to a higher value, above 0 where it is logarithmic")
    return name, Between(low, high, log)


def days_of(texts: list[str]) -> tuple[str, ...]:
    """Days as they were written; ``20240808..20240810`` and ``2024-08-08..2024-08-10`` are all between.

    Args:
        texts: What the user wrote.

    Raises:
        ConfigError: A range is of no days.
    """
    found: list[str] = []
    for text in texts:
        match = _RANGE.match(text)
        if match is None:
            if ".." in text:
                raise ConfigError(f"{text!r}: expected a day, or YYYYMMDD..YYYYMMDD")
            found.append(text)
            continue
        try:
            first, last = (date(*(int(match[i]) for i in places)) for places in ((1, 3, 4), (5, 6, 7)))
        except ValueError as error:
            raise ConfigError(f"{text!r}: {error}") from None
        form = f"%Y{match[2]}%m{match[2]}%d"
        days = [(first + timedelta(n)).strftime(form) for n in range((last - first).days + 1)]
        if not days:
            raise ConfigError(f"{text!r}: ends before it begins")
        found += days
    return tuple(found)
