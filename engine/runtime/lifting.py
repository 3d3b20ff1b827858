"""Limits that are lifted while an engine runs: the value of each that limits nothing, by its type."""

from __future__ import annotations

import math
from typing import Any

import msgspec
from msgspec import inspect

from engine.core.errors import ConfigError
from engine.risk.limits import RiskLimits


def _nothing(field: inspect.Field) -> Any:
    """What a field holds when it limits nothing: infinity, the largest integer, false, or nothing at all."""
    kinds = field.type.types if isinstance(field.type, inspect.UnionType) else (field.type,)
    for kind in kinds:
        if isinstance(kind, inspect.FloatType):
            return kind.le if kind.le is not None else math.inf
        if isinstance(kind, inspect.IntType):
            return kind.le if kind.le is not None else 2**63 - 1
        if isinstance(kind, inspect.BoolType):
            return False
        if isinstance(kind, inspect.VarTupleType):
            return ()
    return None


NOTHING: dict[str, Any] = {field.name: _nothing(field) for field in inspect.type_info(RiskLimits).fields}
"""By limit, the value that lifts it; None for what says how another one works."""
# Of these the smallest value limits least.
NOTHING |= {"duplicate_window_ns": 0, "cancel_reserve": 0}


def lifted(limits: dict[str, Any]) -> dict[str, Any]:
    """Limits as the kernel takes them: infinity and null lift one.

    Args:
        limits: New values by name.

    Raises:
        ConfigError: A limit is unknown, of a wrong type or out of range.
    """
    unknown = sorted(set(limits) - set(NOTHING))
    if unknown:
        raise ConfigError(f"unknown limit {', '.join(unknown)}; known are {', '.join(NOTHING)}")
    made = {
        name: NOTHING[name] if value is None or value == math.inf else value for name, value in limits.items()
    }
    try:
        msgspec.convert(made, RiskLimits)
    except msgspec.ValidationError as error:
        raise ConfigError(str(error)) from None
    return made


def limiting(name: str, value: Any) -> bool:
    """Whether a limit's value limits anything."""
    return value is not None and value != NOTHING[name]
