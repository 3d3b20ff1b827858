"""Configuration files: TOML (JSON, or YAML with the extra) into typed structs, unknown keys fatal.

The environment overrides a key as ``RINGBOOK__SECTION__KEY``; lists are reached by index
(``RINGBOOK__INSTRUMENTS__0__TICK_SIZE``). Values from the environment are parsed as TOML values, and
taken as text where they are not one.
"""

from __future__ import annotations

import hashlib
import json
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from engine.core.errors import ConfigError

T = TypeVar("T")
PREFIX = "RINGBOOK__"


def read_file(path: str | Path) -> dict[str, Any]:
    """Reads a configuration file as plain values.

    Args:
        path: A ``.toml``, ``.json``, ``.yaml`` or ``.yml`` file.

    Raises:
        ConfigError: The file cannot be read or parsed; the message names file and line.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 at byte {error.start}") from None
    try:
        if path.suffix in (".yaml", ".yml"):
            try:
                import yaml
            except ImportError:
                raise ConfigError(f"{path}: YAML needs the extra: pip install 'ringbook[yaml]'") from None
            try:
                values = yaml.safe_load(text)
            except yaml.YAMLError as error:
                raise ConfigError(f"{path}: {' '.join(str(error).split())}") from None
        elif path.suffix == ".json":
            values = json.loads(text)
        else:
            values = tomllib.loads(text)
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from None
    except RecursionError:
        raise ConfigError(f"{path}: nested too deeply") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: the top level must be a table, not {type(values).__name__}")
    return values


def apply_environment(values: dict[str, Any], environ: Mapping[str, str]) -> dict[str, Any]:
    """Overlays ``RINGBOOK__SECTION__KEY`` variables on configuration values, in place.

    Args:
        values: The nested configuration.
        environ: The environment; only names that start with ``RINGBOOK__`` count.

    Raises:
        ConfigError: A variable's path does not lead to a table or an existing list element.
    """
    for name in sorted(environ):
        if not name.startswith(PREFIX):
            continue
        parts = name[len(PREFIX) :].lower().split("__")
        node: Any = values
        for part in parts[:-1]:
            node = _descend(node, part, name)
        raw = environ[name]
        value = toml_value(raw)
        if isinstance(node, list):
            index = _index(node, parts[-1], name)
            node[index] = value
        elif isinstance(node, dict):
            node[parts[-1]] = value
        else:
            raise ConfigError(f"environment {name}: {parts[-1]} is below a plain value")
    return values


def toml_value(text: str) -> Any:
    """The TOML value that a text is, or the text itself where it is none or more than one."""
    try:
        values = tomllib.loads(f"v = {text}")
    except (tomllib.TOMLDecodeError, RecursionError):
        return text
    return values["v"] if len(values) == 1 else text


def _index(node: list[Any], part: str, name: str) -> int:
    if not part.isdecimal() or int(part) >= len(node):
        raise ConfigError(f"environment {name}: no element {part} in a list of {len(node)}")
    return int(part)


def _descend(node: Any, part: str, name: str) -> Any:
    if isinstance(node, list):
        return node[_index(node, part, name)]
    if isinstance(node, dict):
        return node.setdefault(part, {})
    raise ConfigError(f"environment {name}: {part} is below a plain value")


def convert(values: Mapping[str, Any], kind: type[T], *, source: str = "configuration") -> T:
    """Turns plain values into a struct.

    Args:
        values: What :func:`read_file` returned.
        kind: A ``msgspec.Struct`` made with ``forbid_unknown_fields=True``.
        source: What error messages name as the origin.

    Raises:
        ConfigError: Wrong type, missing or unknown key; the message has the key's path.
    """
    try:
        return msgspec.convert(values, kind)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{source}: {error}") from None


def load(path: str | Path, kind: type[T], environ: Mapping[str, str] | None = None) -> T:
    """Reads, overlays the environment and converts: the whole way from a file to a struct.

    Args:
        path: The configuration file.
        kind: The struct to make of it.
        environ: The environment; ``os.environ`` by default.

    Raises:
        ConfigError: As :func:`read_file`, :func:`apply_environment` and :func:`convert`.
    """
    values = apply_environment(read_file(path), os.environ if environ is None else environ)
    return convert(values, kind, source=str(path))


def config_hash(config: Any) -> str:
    """The first 16 hex digits of SHA-256 over the canonical JSON of a configuration."""
    plain = msgspec.to_builtins(config)
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
