"""Finds a strategy's class by name: ``package.module:Class`` or ``path/to/file.py:Class``."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from engine.core.errors import ConfigError
from engine.strategy.base import Strategy
from engine.strategy.native import NativeStrategy


def load(name: str) -> type[Strategy] | type[NativeStrategy]:
    """Loads a strategy's class.

    Args:
        name: ``package.module:Class``, or ``path/to/file.py:Class`` (absolute, or relative to the
            working directory).

    Raises:
        ConfigError: The name has another form, the module or file is missing or fails to load, or what
            it names is no strategy; the message says which, and lists the strategies that are there.
    """
    return find(name, (Strategy, NativeStrategy), "strategy")


def find(name: str, bases: tuple[type, ...], what: str) -> Any:
    """Loads a class of any kind.

    Args:
        name: As :func:`load` takes it.
        bases: What it has to be a subclass of; one of them is enough.
        what: What such a class is called in messages; its plural ends in s, or y becomes ies.

    Raises:
        ConfigError: As :func:`load`.
    """
    where, colon, attribute = name.rpartition(":")
    if not colon or not where or not attribute:
        raise ConfigError(f"{what} {name!r}: expected package.module:Class or path/to/file.py:Class")
    named = f"{what} {name!r}"
    module = _load_file(named, Path(where)) if where.endswith(".py") else _load_module(named, where)
    found = getattr(module, attribute, None)
    if isinstance(found, type) and issubclass(found, bases):
        return found
    there = [
        key
        for key, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, bases) and value not in bases
    ]
    problem = f"{where} has no {attribute}" if found is None else f"{attribute} is no {what}"
    plural = f"{what[:-1]}ies" if what.endswith("y") else f"{what}s"
    raise ConfigError(f"{named}: {problem}; {plural} there: {', '.join(there) or 'none'}")


def create(cls: type, params: Mapping[str, Any]) -> Any:
    """Makes an object of a class that was loaded.

    Args:
        cls: What :func:`load` or :func:`find` returned.
        params: Values of its parameters.

    Raises:
        ConfigError: A parameter is wrong, or the class's own constructor raised.
    """
    try:
        return cls(**params)
    except ConfigError:
        raise
    except (Exception, SystemExit) as error:
        raise ConfigError(f"{cls.__qualname__} cannot be made: {_line(error)}") from error


def _load_module(name: str, module: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        # A module that is there but misses one of its own imports must not be called missing itself.
        missing = f"module {error.name} not found"
        raise ConfigError(f"{name}: {missing}") from error
    except (Exception, SystemExit) as error:
        raise ConfigError(f"{name}: {module} fails to load: {_line(error)}") from error


def _load_file(name: str, path: Path) -> ModuleType:
    path = path.expanduser().resolve()
    if not path.is_file():
        raise ConfigError(f"{name}: no file {path}")
    # The path's digest keeps two files of one name apart in sys.modules.
    module_name = f"ringbook_strategy_{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    if module_name in sys.modules:
        return sys.modules[module_name]
    spec = importlib.util.spec_from_file_location(module_name, path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"{name}: {path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    # Annotations are resolved through sys.modules, so the module must be there while it loads.
    sys.modules[module_name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[module_name]
        raise ConfigError(f"{name}: {path} fails to load: {_line(error)}") from error
    return module


def _line(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]
