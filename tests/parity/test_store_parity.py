"""A backtest from a store is the backtest from npz, byte by byte, on the real recording."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from engine.backtest.config import AssetConfig, BacktestConfig, StrategyConfig
from engine.backtest.data import save_events
from engine.backtest.runner import BacktestRunner
from engine.feeds.stored import StoredSource
from engine.research.provenance import digest
from engine.storage.reader import write_market
from tests.kit.clickhouse_server import Server, require
from tests.kit.recordings import LOT_SIZE, TICK_SIZE, events
from tests.kit.stores import store_of

pytestmark = pytest.mark.recording

PARAMS = {"half_spread": 5.0, "skew": 2.0, "order_qty": 0.01, "max_position": 0.1}


def backtest(data) -> str:
    config = BacktestConfig(
        assets=[
            AssetConfig(
                symbol="BTCUSDT", tick_size=TICK_SIZE["usdm"], lot_size=LOT_SIZE["usdm"],
                maker_fee=-0.00005, taker_fee=0.0007, entry_latency_ns=1_000_000,
            )
        ],
        strategies=[StrategyConfig(id="mm", cls="engine.strategy.native:MarketMaker", params=PARAMS)],
        equity_sample_ns=1_000_000_000,
    )  # fmt: skip
    result = BacktestRunner().run(config, {"BTCUSDT": [data]})
    assert len(result.fills) > 50
    told = hashlib.sha256()
    for part in (result.fills, result.orders, result.equity):
        told.update(np.ascontiguousarray(part).view(np.uint8))
    told.update(repr((result.states, result.events, result.first_ts, result.last_ts)).encode())
    return told.hexdigest()


@pytest.fixture(scope="module")
def from_npz(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    path = tmp_path_factory.mktemp("npz") / "usdm.npz"
    save_events(path, events("usdm"))
    return path, backtest(path)


@pytest.mark.parametrize("kind", ["clickhouse", "chdb"])
def test_a_backtest_from_a_store_has_the_hash_of_the_one_from_npz(kind, tmp_path, from_npz):
    rows, (_, wanted) = events("usdm"), from_npz
    server = Server(tmp_path / "server", require()) if kind == "clickhouse" else None
    try:
        if server is not None:
            server.start()
        with store_of(kind, tmp_path, server) as store:
            assert write_market(store, "BTCUSDT", "usdm", [rows]) == (len(rows), len(rows))
            url = store.url
        source = StoredSource("BTCUSDT", f"{url}?run=usdm")
        assert digest(source) == digest(rows)
        assert backtest(source) == wanted
    finally:
        if server is not None:
            server.kill()
