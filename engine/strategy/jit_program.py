"""A strategy class taken apart for compiling: parameters, what it keeps, its handlers and methods."""

from __future__ import annotations

import functools
import inspect
import itertools
import typing
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from engine.core.errors import StrategyError
from engine.strategy.base import Strategy
from engine.strategy.jit_core import HANDLERS

SCALARS: dict[type, str] = {int: "i8", float: "f8", bool: "?"}
"""What compiled code can keep besides arrays, with NumPy's codes."""

_KINDS = {int: "int", float: "float", bool: "bool"}


class Array:
    """Declares numbers that a strategy keeps: ``_window = Array(64)``, ``_levels = Array((2, 5), int)``.

    Each strategy has its own, an ordinary NumPy array in Python and in compiled handlers alike.

    Args:
        shape: A length, or a tuple of them.
        kind: ``float``, ``int`` or ``bool``.
        fill: What all its elements are at first.

    Raises:
        StrategyError: The kind is another, or a length is not positive.
    """

    def __init__(self, shape: int | tuple[int, ...], kind: type = float, fill: float = 0) -> None:
        self.shape = (shape,) if isinstance(shape, int) else tuple(shape)
        if kind not in SCALARS:
            raise StrategyError(f"an Array holds float, int or bool, not {kind!r}")
        if not self.shape or not all(isinstance(n, int) and n > 0 for n in self.shape):
            raise StrategyError(f"an Array of shape {self.shape} has no elements")
        self.dtype = np.dtype(SCALARS[kind])
        self.fill = fill

    def __set_name__(self, owner: type, name: str) -> None:
        """Learns the attribute's name."""
        self.name = name

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        """The instance's own array, made when it is first asked for."""
        if instance is None:
            return self
        made = np.full(self.shape, self.fill, self.dtype)
        instance.__dict__[self.name] = made
        return made


class Place(NamedTuple):
    """A line of a strategy."""

    method: str
    path: str
    line: int


class Members(NamedTuple):
    """What handlers find on ``self`` besides parameters and state."""

    handlers: dict[str, Callable[..., Any]]
    methods: dict[str, Callable[..., Any]]
    statics: dict[str, Callable[..., Any]]
    constants: dict[str, int | float | bool]


class Program:
    """A strategy class taken apart for compiling; compiled once, when a strategy of it is first made.

    Args:
        cls: The class.
        compile_program: Makes its code.

    Raises:
        ConfigError: A parameter is declared wrongly.
        StrategyError: The class has what cannot be compiled.
    """

    _serials = itertools.count()

    def __init__(self, cls: type[Strategy], compile_program: Callable[[Program], Any]) -> None:
        self.cls = cls
        self._compile = compile_program
        self.serial = next(self._serials)
        self.specs = cls.specs()
        numbers = [spec for spec in self.specs.values() if spec.kind != "str"]
        fields = {kind: SCALARS[python] for python, kind in _KINDS.items()}
        self.params_dtype = np.dtype([(spec.name, fields[spec.kind]) for spec in numbers], align=True)
        self._state = _state(cls)
        self.state_dtype = np.dtype([(n, dtype) for n, (dtype, _) in self._state.items()], align=True)
        self.members = _members(cls, {*self.specs, *self._state})

    @property
    def name(self) -> str:
        """The class's name."""
        return self.cls.__qualname__

    def records(self) -> tuple[np.ndarray, np.ndarray]:
        """New records of a strategy: parameters, still empty, and state as declared; arrays of one."""
        state = np.zeros(1, self.state_dtype)
        for name, (_, value) in self._state.items():
            state[name] = value
        return np.zeros(1, self.params_dtype), state

    @functools.cached_property
    def _code(self) -> Any:
        return self._compile(self)

    def code(self) -> Any:
        """The compiled handlers, an :class:`engine.strategy.jit_compile.Code`.

        Raises:
            StrategyError: A handler cannot be compiled; the message names it, and the line.
        """
        return self._code


def _state(cls: type[Strategy]) -> dict[str, tuple[np.dtype, Any]]:
    """The strategy's own values by name: dtype and first value."""
    hints = typing.get_type_hints(cls)
    names = [n for base in reversed(cls.__mro__) for n in getattr(base, "__annotations__", {})]
    found: dict[str, tuple[np.dtype, Any]] = {}
    for name in dict.fromkeys(names):
        hint = hints[name]
        if not name.startswith("_") or typing.get_origin(hint) is typing.ClassVar:
            continue
        if isinstance(getattr(cls, name, None), Array):
            continue
        if hint not in SCALARS or not hasattr(cls, name):
            raise StrategyError(
                f"{cls.__qualname__}.{name}: what a compiled strategy keeps is an int, float or bool with a "
                "first value, or an Array"
            )
        value = getattr(cls, name)
        if type(value) is not hint and not (hint is float and type(value) is int):
            raise StrategyError(f"{cls.__qualname__}.{name}: {value!r} is no {hint.__name__}")
        found[name] = np.dtype(SCALARS[hint]), value
    for base in reversed(cls.__mro__):
        for name, item in vars(base).items():
            if isinstance(item, Array) and getattr(cls, name) is item:
                found[name] = np.dtype((item.dtype, item.shape)), item.fill
    return found


def _members(cls: type[Strategy], fields: set[str]) -> Members:
    found = Members({}, {}, {}, {})
    if cls.__init__ is not Strategy.__init__:
        raise StrategyError(f"{cls.__qualname__}.__init__ cannot be compiled: begin in on_start")
    for base in reversed(cls.__mro__[: cls.__mro__.index(Strategy)]):
        for name, item in vars(base).items():
            if name.startswith("__") or name in fields or name == "_specs":
                continue
            if isinstance(item, staticmethod):
                found.statics[name] = item.__func__
            elif inspect.iscoroutinefunction(item) or inspect.isasyncgenfunction(item):
                raise StrategyError(f"{cls.__qualname__}.{name} is async; callbacks are plain functions")
            elif inspect.isgeneratorfunction(item) and name in HANDLERS:
                raise StrategyError(f"{cls.__qualname__}.{name} yields; callbacks are plain functions")
            elif inspect.isfunction(item):
                found.methods[name] = item
                if name in HANDLERS:
                    found.handlers[name] = _checked(cls, name, item)
            elif type(item) in SCALARS:
                found.constants[name] = item
    return found


def _checked(cls: type[Strategy], name: str, handler: Callable[..., Any]) -> Callable[..., Any]:
    expected = list(inspect.signature(getattr(Strategy, name)).parameters)
    given = list(inspect.signature(handler).parameters.values())
    if len(given) != len(expected) or any(item.kind is not item.POSITIONAL_OR_KEYWORD for item in given):
        raise StrategyError(f"{cls.__qualname__}.{name} takes ({', '.join(expected)})")
    return handler
