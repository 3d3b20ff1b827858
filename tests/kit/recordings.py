"""The real recordings beside the project: their paths, and their events converted once a user and version."""

from __future__ import annotations

import functools
import hashlib
import os
import tempfile
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT.parent / "shared" / "data"

FILES = {
    "usdm": "binance_usdm_btcusdt_20240808.gz",
    "cm": "binance_cm_btcusd_perp_20240808.gz",
    "spot": "binance_spot_btcusdt_20240808.gz",
    "cme": "cme_esh4_20231225.mbo.dbn.zst",
}
TICK_SIZE = {"usdm": 0.1, "cm": 0.1, "spot": 0.01, "cme": 0.25}
LOT_SIZE = {"usdm": 0.001, "cm": 1.0, "spot": 0.00001, "cme": 1.0}

_CONVERTER = (
    "engine/core/types.pxd",
    "engine/feeds/binance/messages.py",
    "engine/feeds/binance/parse.pyx",
    "engine/feeds/binance/scan.pxd",
    "engine/feeds/binance/scan.pyx",
    "engine/feeds/capture.py",
    "engine/feeds/databento.py",
    "engine/feeds/dbn.py",
    "engine/feeds/ordering.pyx",
)


def recording(name: str) -> Path:
    """The path of a real recording, or a skip that says why there is none.

    Args:
        name: ``usdm``, ``cm``, ``spot`` or ``cme``.
    """
    path = DATA / FILES[name]
    if not path.is_file() and os.environ.get("CI"):
        pytest.fail(f"CI must have the real recordings, and {path.name} is not in {DATA}")
    if not path.is_file():
        pytest.skip(f"the real recording {path.name} is not in {DATA}")
    return path


@functools.cache
def events(name: str) -> np.ndarray:
    """The events of a recording as its converter makes them; read-only, since tests share it.

    Args:
        name: ``usdm``, ``cm``, ``spot`` or ``cme`` (market by order).

    Returns:
        An ``event_dtype`` array, sorted by both clocks.
    """
    source = recording(name)
    cached = _cache_dir() / f"{name}-{_version(source)}.npy"
    try:
        data = np.load(cached)
    except (OSError, ValueError):
        data = _convert(source)
        _write(cached, data)
    data.flags.writeable = False
    return data


SNAPSHOT_FLAG = 0x20


@functools.cache
def session(name: str) -> np.ndarray:
    """The events of a market-by-order recording with its snapshot just before the first other row.

    The snapshot is a day's first record, hours before the session: a strategy would poll all that time.

    Args:
        name: ``cme``.
    """
    data = events(name).copy()
    snapshot = (data["ival"] & SNAPSHOT_FLAG) != 0
    first = data["exch_ts"][~snapshot][0] - 1
    data["exch_ts"][snapshot] = data["local_ts"][snapshot] = first
    data.flags.writeable = False
    return data


def _convert(source: Path) -> np.ndarray:
    from engine.feeds import capture, databento
    from engine.feeds.dbn import is_databento

    convert = databento.convert if is_databento(source) else capture.convert
    return convert(source).events


def _version(source: Path) -> str:
    """What the cached array depends on: the converter's sources and the recording."""
    digest = hashlib.sha256()
    for path in _CONVERTER:
        digest.update((ROOT / path).read_bytes())
    stat = source.stat()
    digest.update(f"{stat.st_size} {stat.st_mtime_ns}".encode())
    return digest.hexdigest()[:16]


def _cache_dir() -> Path:
    directory = Path(tempfile.gettempdir()) / f"ringbook-tests-{os.getuid()}"
    directory.mkdir(mode=0o700, exist_ok=True)
    if directory.stat().st_uid != os.getuid():
        pytest.fail(f"{directory} belongs to somebody else")
    return directory


def _write(path: Path, data: np.ndarray) -> None:
    """Writes a file that a parallel test session sees whole or not at all."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".npy")
    with os.fdopen(handle, "wb") as file:
        np.save(file, data)
    os.replace(temporary, path)
