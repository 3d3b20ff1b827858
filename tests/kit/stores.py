"""Rows for tests of stores, and stores to put them into."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.storage.base import Store
from engine.storage.store import open_store
from tests.kit.clickhouse_server import Server, require

NOON = 1_700_049_600_000_000_000
"""Noon of some day, UTC."""


def market_rows(n: int, first: int = 1, *, run: str = "run", symbol: str = "BTCUSDT") -> dict[str, Any]:
    """Columns of ``market_data`` that tell their own id in every field.

    Args:
        n: Rows.
        first: The first id.
        run: Their run.
        symbol: Their symbol.
    """
    ids = np.arange(first, first + n, dtype=np.uint64)
    times = NOON + ids.astype(np.int64) * 1_000
    return {
        "symbol": symbol,
        "time": times,
        "id": ids,
        "run_id": run,
        "ev": np.full(n, 0xE0000001, np.uint64),
        "exch_ts": times - 500,
        "local_ts": times,
        "px": ids * 0.1,
        "qty": ids * 0.5,
        "order_id": ids,
        "ival": -ids.astype(np.int64),
        "fval": np.full(n, np.nan),
    }


def store_of(kind: str, directory: Path, server: Server | None = None) -> Store:
    """A store of some engine.

    Args:
        kind: ``clickhouse``, ``chdb`` or ``parquet``.
        directory: Where an engine without a server keeps it.
        server: The server; None skips a test of it.
    """
    if kind == "clickhouse":
        require()
        assert server is not None
        return open_store(f"{server.url.split('/ringbook')[0]}/{directory.name.replace('-', '_')}?timeout=5")
    if kind == "chdb":
        pytest.importorskip("chdb", reason="the extra 'embedded' is not installed")
    return open_store(f"{kind}://{directory / 'store'}", hold=True)
