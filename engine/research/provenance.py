"""What a run was made with: versions, the state of the repository, contents of recordings and strategies."""

from __future__ import annotations

import functools
import hashlib
import platform
import subprocess
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from engine import __version__
from engine.backtest.data import Chunked
from engine.core.errors import DataError

PACKAGES = ("numpy", "hftbacktest", "numba")
WHOLE = 64 << 20
"""Files up to so many bytes are read whole for their digest; of greater ones as much at either end."""


@functools.cache
def versions() -> dict[str, str]:
    """Of Ringbook, Python and the packages that results can depend on."""
    found = {"ringbook": __version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


@functools.cache
def git_state(directory: str = ".") -> dict[str, Any]:
    """The commit that a directory is at, None outside of a repository, and whether files differ from it.

    Args:
        directory: Where strategies usually are: that of the command.
    """
    commit = _git(directory, "rev-parse", "HEAD")
    if commit is None:
        return {"commit": None, "changed": False}
    return {"commit": commit, "changed": bool(_git(directory, "status", "--porcelain", "-uno"))}


def _git(directory: str, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", directory, *arguments], capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def digest(source: np.ndarray | str | Path | Chunked) -> str:
    """16 hex digits that say what a recording holds; of a large file its size and both ends count.

    Args:
        source: Events, a file, or what gives them in chunks.

    Raises:
        DataError: The file cannot be read.
    """
    if isinstance(source, Chunked):
        # The same digest as an array of these rows has.
        read = hashlib.blake2b(digest_size=8)
        for chunk in source.chunks():
            read.update(np.ascontiguousarray(chunk).view(np.uint8))
        return read.hexdigest()
    if isinstance(source, np.ndarray):
        return hashlib.blake2b(np.ascontiguousarray(source).view(np.uint8), digest_size=8).hexdigest()
    found = hashlib.blake2b(digest_size=8)
    try:
        with open(source, "rb") as file:
            size = file.seek(0, 2)
            file.seek(0)
            found.update(size.to_bytes(8, "little"))
            if size <= 2 * WHOLE:
                while block := file.read(1 << 20):
                    found.update(block)
            else:
                found.update(file.read(WHOLE))
                file.seek(-WHOLE, 2)
                found.update(file.read(WHOLE))
    except OSError as error:
        raise DataError(error.strerror or str(error), file=str(source)) from None
    return found.hexdigest()


def strategy_digests(classes: Mapping[str, str]) -> dict[str, str]:
    """By strategy: its class, and the digest of the file where it was named by one.

    Args:
        classes: ``package.module:Class`` or ``path/to/file.py:Class`` by strategy.
    """
    found = {}
    for name, cls in classes.items():
        path = Path(cls.rpartition(":")[0]).expanduser()
        found[name] = f"{cls} {digest(path)}" if path.suffix == ".py" and path.is_file() else cls
    return found
