"""What strategies in Python hold, pickled and given back: for checkpoints of backtests and snapshots of runs.

A strategy that belongs to a kernel may hold on to its context, to books and to other strategies; those are
kept by name, because another kernel has its own. ``__getstate__`` and ``__setstate__`` choose what is kept,
as ever. Reading a pickle runs what is in it, so only files of the user's own are to be read.
"""

from __future__ import annotations

import io
import pickle
import random
from typing import IO, Any

import numpy as np

from engine.core.errors import ImageError, NotKept

_SETS = (pickle.EMPTY_SET, pickle.FROZENSET)

Parts = dict[tuple[str, str], Any]
"""What strategies may hold on to, by names that hold in any run of the same; see ``Kernel.parts``."""


def dump(parts: Parts) -> bytes:
    """What all strategies in Python hold, and the generators that they may draw from.

    Args:
        parts: Of their kernel.

    Raises:
        NotKept: A strategy holds what cannot be pickled, or a set, whose order would not come back.
    """
    states = {name: part.__getstate__() for (kind, name), part in parts.items() if kind == "strategy"}
    if not states:
        return b""
    for name, state in states.items():
        # Said of the one that it is about.
        _pickled(name, state, parts)
    # And all in one, because strategies may share what they hold.
    return _pickled("", (states, random.getstate(), np.random.get_state()), parts)


def _pickled(name: str, state: Any, parts: Parts) -> bytes:
    file = io.BytesIO()
    try:
        Pickler(file, parts).dump(state)
        if any(code in file.getvalue() for code in _SETS):
            _Orders(io.BytesIO(), parts).dump(state)
    except Exception as error:
        text = f"strategy {name} holds what cannot be kept: {type(error).__name__}: {error}"
        raise NotKept(f"{text}; __getstate__ and __setstate__ can leave it out") from error
    return file.getvalue()


def load(data: bytes, parts: Parts) -> dict[str, Any]:
    """What strategies held, by name, for :func:`restore`; random generators are set at once.

    Args:
        data: As :func:`dump` gave it.
        parts: Of the kernel that it is for.

    Raises:
        ImageError: It cannot be read here.
    """
    if not data:
        return {}
    try:
        states, drawn, numpy_drawn = Unpickler(io.BytesIO(data), parts).load()
        random.setstate(drawn)
        np.random.set_state(numpy_drawn)
        return states
    except Exception as error:
        raise ImageError(f"the strategies' state: {type(error).__name__}: {error}") from error


def restore(strategy: Any, state: Any) -> None:
    """Gives a strategy back what it held, as ``copy`` and ``pickle`` do with a state.

    Args:
        strategy: The strategy.
        state: What its ``__getstate__`` gave.
    """
    if hasattr(strategy, "__setstate__"):
        strategy.__setstate__(state)
        return
    values, slots = state if isinstance(state, tuple) else (state, None)
    strategy.__dict__.clear()
    strategy.__dict__.update(values or {})
    for name, value in (slots or {}).items():
        setattr(strategy, name, value)


class Pickler(pickle.Pickler):
    """Keeps what belongs to the kernel by name: the other run has its own.

    Args:
        file: Where it goes.
        parts: What belongs to the kernel.
    """

    def __init__(self, file: IO[bytes], parts: Parts) -> None:
        super().__init__(file)
        self._names = {id(part): name for name, part in parts.items()}

    def persistent_id(self, obj: Any) -> tuple[str, str] | None:
        """The name of what is the kernel's; None of everything else."""
        return self._names.get(id(obj))


class _Orders(pickle._Pickler):
    """Refuses sets: the order of their items hangs on all that was ever in them, and only these are kept."""

    dispatch = dict(pickle._Pickler.dispatch)

    def __init__(self, file: IO[bytes], parts: Parts) -> None:
        super().__init__(file)
        self._names = {id(part): name for name, part in parts.items()}

    def persistent_id(self, obj: Any) -> tuple[str, str] | None:
        return self._names.get(id(obj))

    def save_set(self, obj: set[Any] | frozenset[Any]) -> None:
        """Takes a frozen set that would come back in the same order, and nothing else."""
        if type(obj) is set or list(frozenset(list(obj))) != list(obj):
            raise NotKept("a set, whose order would be another: a dict keeps it")
        pickle._Pickler.save_frozenset(self, obj)

    dispatch[set] = save_set
    dispatch[frozenset] = save_set


class Unpickler(pickle.Unpickler):
    """Gives what belongs to the kernel by its name.

    Args:
        file: Where it comes from.
        parts: What belongs to the kernel.
    """

    def __init__(self, file: IO[bytes], parts: Parts) -> None:
        super().__init__(file)
        self._parts = parts

    def persistent_load(self, pid: tuple[str, str]) -> object:
        """The part of that name."""
        return self._parts[pid]
