"""Market laws: the figures a simulated market is made by, as readable TOML, checked key by key.

A law holds rates, distributions and provenance, never data, and no seed: the same law gives as many
markets as there are seeds. `fit.py` measures one on a recording; `default.toml` is packaged.
"""

from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass, field, fields
from itertools import pairwise
from pathlib import Path
from typing import Any

from engine.core.errors import ConfigError

PROBABILITIES = (
    0.0, 0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999, 1.0,
)  # fmt: skip
"""Of the quantiles in a law; between two of them a distribution is linear."""

FORMAT = 1
MAX_REACH = 4096
"""Ticks from the best that the crowd's orders reach at most."""
DEFAULT = Path(__file__).with_name("default.toml")
_QUANTILES = len(PROBABILITIES)


def _number(default: float, low: float, high: float) -> Any:
    return field(default=default, metadata={"low": low, "high": high})


def _numbers(low: float, high: float, count: int | None = None, rising: bool = False) -> Any:
    return field(metadata={"low": low, "high": high, "count": count, "rising": rising})


def _sizes() -> Any:
    return _numbers(1, 1e9, _QUANTILES, rising=True)


@dataclass(frozen=True)
class Market:
    """The instrument."""

    tick_size: float = _number(0.1, 1e-12, 1e12)
    lot_size: float = _number(0.001, 1e-12, 1e12)
    start_price: float = _number(60000.0, 1e-9, 1e15)


@dataclass(frozen=True, kw_only=True)
class Crowd:
    """Limit orders and their cancellations, by distance in ticks from the best of their side.

    Attributes:
        edges: Bins of distance: bin i holds distances from ``edges[i]`` to below ``edges[i + 1]``.
        placed: Limit orders a second in each bin, both sides together.
        cancelled: Cancellations a second of one resting order in each bin.
        mean_lots: Of a limit order in each bin; the quantiles that follow are scaled to it.
        touch: Quantiles of the lots of an order at the best.
        near: The same for those behind it, below ``far_from``.
        far: The same for those from ``far_from`` on.
        far_from: In ticks.
    """

    edges: tuple[float, ...] = _numbers(0, MAX_REACH, rising=True)
    placed: tuple[float, ...] = _numbers(0, 1e6)
    cancelled: tuple[float, ...] = _numbers(1e-6, 1e4)
    mean_lots: tuple[float, ...] = _numbers(1, 1e8)
    touch: tuple[float, ...] = _sizes()
    near: tuple[float, ...] = _sizes()
    far: tuple[float, ...] = _sizes()
    far_from: float = _number(96, 1, MAX_REACH)


@dataclass(frozen=True, kw_only=True)
class Takers:
    """Market orders: a Hawkes process; each order brings about others of its own and of the other side."""

    base: float = _number(3.0, 0, 1e6)
    decay: tuple[float, ...] = _numbers(1e-3, 1e6, rising=True)
    self_excite: tuple[float, ...] = _numbers(0, 1)
    cross_excite: tuple[float, ...] = _numbers(0, 1)
    lots: tuple[float, ...] = _sizes()


@dataclass(frozen=True, kw_only=True)
class Fair:
    """The fair value, which the informed know, and how the market follows the flow.

    Attributes:
        volatility: Ticks in the square root of a second.
        jumps: Moves of it a second.
        moves: Quantiles of their sizes in ticks, before they are scaled to the volatility.
        again: How likely a move brings about another one soon after.
        along: How likely that one goes the same way.
        follow: How much of the gaps that trades leave is closed in their direction, 0 to 1.
        activity: How far calm and busy times differ, 0 (not at all) to 0.9. Four regimes that change
            every 2, 16, 128 and 1,024 seconds on average multiply all rates by 1 plus or minus so much.
        news: Shocks an hour.
        news_ticks: Their mean size.
    """

    volatility: float = _number(70.0, 0, 1e5)
    jumps: float = _number(1.4, 1e-6, 1e4)
    moves: tuple[float, ...] = _numbers(0.5, 1e5, _QUANTILES, rising=True)
    again: float = _number(0.0, 0, 0.9)
    along: float = _number(0.5, 0, 1)
    follow: float = _number(0.6, 0, 1)
    activity: float = _number(0.25, 0, 0.9)
    news: float = _number(6.0, 0, 1e5)
    news_ticks: float = _number(400.0, 0, 1e5)


@dataclass(frozen=True, kw_only=True)
class Agents:
    """Who trades besides the crowd: how many of each, their orders' lots, how often each looks a second."""

    makers: int = _number(4, 1, 8)
    maker_lots: int = _number(100, 1, 1_000_000)
    maker_looks: float = _number(100.0, 0.01, 1e5)
    maker_levels: int = _number(2, 1, 4)
    informed: int = _number(2, 0, 8)
    informed_lots: int = _number(20_000, 1, 1_000_000)
    informed_looks: float = _number(10.0, 0.001, 1e5)
    informed_edge: float = _number(10, 0, 1e5)
    momentum: int = _number(3, 0, 8)
    momentum_lots: int = _number(200, 1, 1_000_000)
    momentum_looks: float = _number(0.5, 0.001, 1e5)
    momentum_edge: float = _number(80, 0, 1e5)
    reversion: int = _number(3, 0, 8)
    reversion_lots: int = _number(200, 1, 1_000_000)
    reversion_looks: float = _number(0.5, 0.001, 1e5)
    reversion_edge: float = _number(80, 0, 1e5)


@dataclass(frozen=True)
class Feed:
    """Latency from the exchange to whoever listens: quantiles in nanoseconds."""

    latency: tuple[float, ...] = _numbers(0, 1e11, _QUANTILES, rising=True)


@dataclass(frozen=True)
class Law:
    """What a simulated market is made by.

    Attributes:
        name: Of the law.
        market: The instrument.
        crowd: Limit orders and cancellations.
        takers: Market orders.
        fair: The fair value, activity and news.
        agents: Everybody else.
        feed: Latency.
        provenance: What was fitted on what, and what was assumed; text and numbers.
        measured: Further figures of the recording, which the market is not made by.
    """

    name: str
    market: Market
    crowd: Crowd
    takers: Takers
    fair: Fair
    agents: Agents
    feed: Feed
    provenance: dict[str, Any] = field(default_factory=dict)
    measured: dict[str, Any] = field(default_factory=dict)


_SECTIONS: dict[str, type] = {
    "market": Market,
    "crowd": Crowd,
    "takers": Takers,
    "fair": Fair,
    "agents": Agents,
    "feed": Feed,
}


def load_law(path: str | Path | None = None) -> Law:
    """Reads a law.

    Args:
        path: A TOML file; the packaged law by default.

    Raises:
        ConfigError: The file is missing or no TOML, or a key is missing, unknown, of another type or out
            of its range; the message names file, key and limit.
    """
    path = DEFAULT if path is None else Path(path)
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not TOML: {error}") from None
    return law_of(data, str(path))


def law_of(data: dict[str, Any], name: str = "law") -> Law:
    """Makes a law of what a TOML file holds.

    Args:
        data: Tables of keys.
        name: What errors name as the file.

    Raises:
        ConfigError: As :func:`load_law`.
    """
    if data.get("format") != FORMAT:
        raise ConfigError(f"{name}: format must be {FORMAT}, not {data.get('format')!r}")
    unknown = set(data) - {"format", "name", "provenance", "measured", *_SECTIONS}
    if unknown:
        raise ConfigError(f"{name}: {sorted(unknown)[0]} is no part of a market law")
    title = data.get("name", "")
    if not isinstance(title, str):
        raise ConfigError(f"{name}: name must be text")
    parts: dict[str, Any] = {}
    for section, kind in _SECTIONS.items():
        parts[section] = _section(kind, data.get(section), f"{name}: {section}")
    for key in ("provenance", "measured"):
        value = data.get(key, {})
        if not isinstance(value, dict):
            raise ConfigError(f"{name}: {key} must be a table")
        parts[key] = value
    law = Law(title, **parts)
    _check_together(law, name)
    return law


def _section(kind: type, table: Any, where: str) -> Any:
    if not isinstance(table, dict):
        raise ConfigError(f"{where}: the table is missing")
    known = {item.name for item in fields(kind)}
    unknown = set(table) - known
    if unknown:
        raise ConfigError(f"{where}.{sorted(unknown)[0]} is not known")
    values = {}
    for item in fields(kind):
        if item.name not in table:
            raise ConfigError(f"{where}.{item.name} is missing")
        values[item.name] = _value(item, table[item.name], f"{where}.{item.name}")
    return kind(**values)


def _value(item: Any, value: Any, where: str) -> Any:
    low, high = item.metadata["low"], item.metadata["high"]
    if "rising" not in item.metadata:
        whole = item.type == "int"
        if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
            raise ConfigError(f"{where} must be a {'whole ' if whole else ''}number, not {value!r}")
        if not low <= value <= high:
            raise ConfigError(f"{where} must be {low:g} to {high:g}, not {value}")
        return value
    if not isinstance(value, list) or not value:
        raise ConfigError(f"{where} must be a list of numbers")
    count = item.metadata["count"]
    if count is not None and len(value) != count:
        raise ConfigError(f"{where} must have {count} numbers, not {len(value)}")
    for i, number in enumerate(value):
        if isinstance(number, bool) or not isinstance(number, (int, float)) or not low <= number <= high:
            raise ConfigError(f"{where}[{i}] must be a number from {low:g} to {high:g}, not {number!r}")
        if i and item.metadata["rising"] and number < value[i - 1]:
            raise ConfigError(f"{where}[{i}] must not be less than the number before it, not {number!r}")
    return tuple(float(number) for number in value)


def _check_together(law: Law, name: str) -> None:
    crowd, takers = law.crowd, law.takers
    bins = len(crowd.edges) - 1
    if not 1 <= bins <= 32:
        raise ConfigError(f"{name}: crowd.edges must be 2 to 33 numbers, not {bins + 1}")
    if crowd.edges[0] != 0 or any(b <= a or b != int(b) for a, b in pairwise(crowd.edges)):
        raise ConfigError(f"{name}: crowd.edges must be whole numbers that rise from 0")
    for key in ("placed", "cancelled", "mean_lots"):
        if len(getattr(crowd, key)) != bins:
            raise ConfigError(f"{name}: crowd.{key} must have {bins} numbers, one a bin of crowd.edges")
    if crowd.placed[0] <= 0:
        raise ConfigError(f"{name}: crowd.placed[0] must be above 0: somebody has to quote at the best")
    kernels = len(takers.decay)
    if kernels > 3:
        raise ConfigError(f"{name}: takers.decay must have 1 to 3 numbers, not {kernels}")
    for key in ("self_excite", "cross_excite"):
        if len(getattr(takers, key)) != kernels:
            raise ConfigError(f"{name}: takers.{key} must have {kernels} numbers, one a decay")
    branching = sum(takers.self_excite) + sum(takers.cross_excite)
    if branching > 0.95:
        raise ConfigError(f"{name}: takers.self_excite and .cross_excite add up to {branching:g}, above 0.95")
    ticks = law.market.start_price / law.market.tick_size
    if not 2 * MAX_REACH <= ticks <= 1e9:
        raise ConfigError(f"{name}: market.start_price must be {2 * MAX_REACH} to 1e+09 ticks, not {ticks:g}")


def law_text(law: Law) -> str:
    """The law as TOML; :func:`law_of` makes the same law of it.

    Args:
        law: Any.
    """
    lines = [f"format = {FORMAT}", f"name = {_toml(law.name)}"]
    for section in ("provenance", *_SECTIONS, "measured"):
        part = getattr(law, section)
        table = part if isinstance(part, dict) else {f.name: getattr(part, f.name) for f in fields(part)}
        lines += ["", f"[{section}]", *(f"{key} = {_toml(value)}" for key, value in table.items())]
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return '"' + "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in escaped) + '"'
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ConfigError(f"a law cannot hold {value}")
        return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(value)
    return str(value)
