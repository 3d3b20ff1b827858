"""Parameters of strategies: declared as annotated class attributes, typed, ranged, changed all or nothing."""

from __future__ import annotations

import math
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple

from engine.core.errors import ConfigError

KINDS: dict[type, Literal["int", "float", "bool", "str"]] = {
    int: "int",
    float: "float",
    bool: "bool",
    str: "str",
}


@dataclass(frozen=True)
class Range:
    """Limits and a line of documentation of a parameter, for use in ``Annotated``.

    Attributes:
        ge: The least value allowed, or None.
        le: The greatest value allowed, or None.
        doc: What the parameter does, in one line.
    """

    ge: float | None = None
    le: float | None = None
    doc: str = ""


class ParamSpec(NamedTuple):
    """A declared parameter."""

    name: str
    kind: Literal["int", "float", "bool", "str"]
    default: Any
    ge: float | None = None
    le: float | None = None
    doc: str = ""


def declared(cls: type) -> dict[str, ParamSpec]:
    """The parameters of a class, its bases' first, in the order of their declaration.

    A parameter is a public annotated class attribute with a default whose type is int, float, bool or
    str, plain or as ``Annotated[type, Range(...)]`` or ``Annotated[type, "documentation"]``.

    Args:
        cls: The strategy's class.

    Raises:
        ConfigError: An annotation cannot be resolved, has another type, or its default breaks its limits.
    """
    try:
        hints = typing.get_type_hints(cls, include_extras=True)
    except NameError as error:
        raise ConfigError(f"{cls.__qualname__}: an annotation cannot be resolved: {error}") from None
    names = [n for base in reversed(cls.__mro__) for n in getattr(base, "__annotations__", {})]
    found: dict[str, ParamSpec] = {}
    for name in dict.fromkeys(names):
        hint = hints[name]
        if name.startswith("_") or typing.get_origin(hint) is typing.ClassVar or not hasattr(cls, name):
            continue
        found[name] = _spec(cls, name, hint)
    return found


def _spec(cls: type, name: str, hint: Any) -> ParamSpec:
    ge: float | None = None
    le: float | None = None
    doc = ""
    if typing.get_origin(hint) is Annotated:
        hint, *notes = typing.get_args(hint)
        for note in notes:
            if isinstance(note, Range):
                ge, le, doc = note.ge, note.le, note.doc or doc
            elif isinstance(note, str):
                doc = note
    if hint not in KINDS:
        raise ConfigError(
            f"{cls.__qualname__}.{name}: a parameter is int, float, bool or str, not {hint!r}; "
            "what is no parameter needs a leading underscore or ClassVar"
        )
    spec = ParamSpec(name, KINDS[hint], getattr(cls, name), ge, le, doc)
    return spec._replace(default=check_value(spec, spec.default, cls.__qualname__))


def check_value(spec: ParamSpec, value: Any, owner: str) -> Any:
    """The value as the parameter's type.

    Args:
        spec: The parameter.
        value: What was given; an int is taken for a float, nothing else is converted.
        owner: Whose parameter it is, for the message.

    Raises:
        ConfigError: The type is wrong, the number is not finite or out of range.
    """
    where = f"{owner}.{spec.name}"
    if spec.kind == "float" and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value).__name__ != spec.kind:
        raise ConfigError(f"{where}: expected {spec.kind}, got {type(value).__name__} {value!r}")
    if spec.kind in ("int", "float"):
        if not math.isfinite(value):
            raise ConfigError(f"{where}: {value} is not a finite number")
        if spec.ge is not None and value < spec.ge:
            raise ConfigError(f"{where}: {value} is below {spec.ge:g}")
        if spec.le is not None and value > spec.le:
            raise ConfigError(f"{where}: {value} is above {spec.le:g}")
    return value


def check(specs: Mapping[str, ParamSpec], values: Mapping[str, Any], owner: str) -> dict[str, Any]:
    """All given values checked; nothing is returned unless all are right.

    Args:
        specs: The declared parameters.
        values: Names and values.
        owner: Whose parameters they are, for the message.

    Raises:
        ConfigError: A name is unknown (the message lists the known ones), or as :func:`check_value`.
    """
    unknown = sorted(set(values) - set(specs))
    if unknown:
        known = ", ".join(specs) or "none"
        raise ConfigError(f"{owner}: unknown parameter {', '.join(unknown)}; it has {known}")
    return {name: check_value(specs[name], value, owner) for name, value in values.items()}
