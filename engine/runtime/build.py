"""What a run's state depends on besides its inputs: this build, and the code of its strategies."""

from __future__ import annotations

import functools
import hashlib
import importlib.machinery
import sys
from collections.abc import Mapping
from pathlib import Path

import engine
from engine.backtest.config import StrategyConfig

PARTS = (
    "core",
    "book",
    "matching",
    "factors",
    "risk",
    "strategy",
    "gateways",
    "backtest",
    "runtime",
)
"""Packages of the engine that an input goes through; the kernel lies beside them."""
CODE = (".py", *importlib.machinery.EXTENSION_SUFFIXES)


def strategies_code(strategies: list[StrategyConfig]) -> dict[str, str]:
    """The hashes of the files that strategies are in, by the strategies' names; those must be loaded.

    Args:
        strategies: As they are configured. Those of Ringbook itself belong to the build.
    """
    found = {}
    root = Path(engine.__file__).resolve().parent
    for chosen in strategies:
        where = chosen.cls.rpartition(":")[0]
        name = where if where.endswith(".py") else getattr(sys.modules.get(where), "__file__", None)
        if name is None or (path := Path(name).expanduser().resolve()).is_relative_to(root):
            continue
        found[chosen.id] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def build_hash(code: Mapping[str, str]) -> str:
    """SHA-256, hex, over whatever decides what the engine makes of an input.

    Args:
        code: As :func:`strategies_code` gives it.
    """
    digest = hashlib.sha256(_own_files())
    for name in sorted(code):
        digest.update(f"{name}\0{code[name]}\0".encode())
    return digest.hexdigest()


@functools.cache
def _own_files() -> bytes:
    """Of Ringbook's own files, which a running process has loaded."""
    digest = hashlib.sha256(engine.__version__.encode())
    root = Path(engine.__file__).parent
    files = [path for part in PARTS for path in (root / part).rglob("*")] + list(root.glob("kernel*"))
    for path in sorted(files):
        if path.name.endswith(CODE) and path.is_file():
            digest.update(path.relative_to(root).as_posix().encode() + b"\0")
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.digest()
