"""How methods, attributes and fields of what is at an address are told to Numba."""

from __future__ import annotations

from collections.abc import Callable
from inspect import signature
from typing import Any

from numba import types
from numba.extending import overload_attribute, overload_method

from engine.backtest.hbt.types import OFFSETS, address_of, field_of

I64, U64, F64, FLAG = types.int64, types.uint64, types.float64, types.int32


def method(kind: type, name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Registers a function of the object and the arguments as a method of its kind."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        def choose(*args: Any, **kws: Any) -> Callable[..., Any]:
            return function

        # Numba binds arguments by the signature of what chooses.
        choose.__signature__ = signature(function)
        overload_method(kind, name, strict=False)(choose)
        return function

    return register


def attribute(kind: type, name: str, reader: Callable[[Any], Any]) -> None:
    """Registers a function of the object as an attribute."""
    overload_attribute(kind, name, strict=False)(lambda self: reader)


def field(kind: type, name: str, type_: types.Type, offset: str = "") -> Callable[[Any], Any]:
    """Registers a field of the structure as an attribute; also what reads it at an address."""
    read = field_of(type_, OFFSETS[offset or name])
    attribute(kind, name, lambda self: read(address_of(self)))
    return read


def reader(name: str, type_: types.Type) -> Callable[[Any], Any]:
    """What reads a field at an address."""
    return field_of(type_, OFFSETS[name])
