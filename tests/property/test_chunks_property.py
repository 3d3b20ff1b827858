"""How a recording is cut into files, and files into chunks, changes nothing: the same bytes come out."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.backtest.config import AssetConfig, BacktestConfig, StrategyConfig
from engine.backtest.data import save_events
from engine.backtest.runner import BacktestRunner
from engine.core.errors import DataError
from tests.kit.markets import LOT_SIZE, TICK_SIZE, random_market

STRATEGIES = {
    "maker": ("engine.strategy.native:MarketMaker", {"interval_ns": 7_000, "half_spread": 0.5}),
    "crosser": ("tests/kit/crosser.py:Crosser", {"interval_ns": 9_000, "order_qty": 2 * LOT_SIZE}),
    "talker": ("tests/kit/talker.py:Talker", {}),
}


def configure(symbols, strategy: str) -> BacktestConfig:
    assets = [
        AssetConfig(
            symbol=symbol,
            tick_size=TICK_SIZE,
            lot_size=LOT_SIZE,
            entry_latency_ns=2_000,
            response_latency_ns=1_000,
            queue_model="power_prob_queue_model3",
        )
        for symbol in symbols
    ]
    cls, params = STRATEGIES[strategy]
    if strategy == "maker":
        params = params | {"order_qty": 2 * LOT_SIZE, "max_position": 11 * LOT_SIZE}
    one = StrategyConfig(id="s", cls=cls, params=params)
    return BacktestConfig(assets=assets, strategies=[one], equity_sample_ns=50_000)


def write(folder: Path, name: str, kind: str, events: np.ndarray) -> Path:
    path = folder / f"{name}.{'npy' if kind == 'npy' else 'npz'}"
    if kind == "npy":
        np.save(path, events)
    elif kind == "numpy":
        np.savez(path, data=events)
    else:
        save_events(path, events, compress=kind == "deflated")
    return path


def pieces(draw, events: np.ndarray) -> list[np.ndarray]:
    cuts = draw(st.lists(st.integers(0, len(events)), max_size=4).map(sorted))
    return np.split(events, cuts)


def same(one, other) -> None:
    for name in ("fills", "orders", "equity"):
        assert getattr(one, name).tobytes() == getattr(other, name).tobytes()
    for name in ("states", "logs", "events", "first_ts", "last_ts", "config_hash"):
        assert repr(getattr(one, name)) == repr(getattr(other, name))


kinds = st.sampled_from(["array", "npy", "stored", "deflated", "numpy"])


@settings(max_examples=60, deadline=None)
@given(st.data(), st.sampled_from(sorted(STRATEGIES)), st.integers(1, 2), st.integers(1, 200))
def test_results_depend_on_neither_chunks_nor_files(data, strategy, n_assets, rows):
    symbols = ["A", "B"][:n_assets]
    config = configure(symbols, strategy)
    markets = {
        symbol: random_market(data.draw(st.integers(0, 2**32)), data.draw(st.integers(1, 400)))
        for symbol in symbols
    }
    whole = BacktestRunner().run(config, markets)
    with tempfile.TemporaryDirectory() as folder:
        given_data = {}
        for symbol, events in markets.items():
            parts = pieces(data.draw, events)
            for i, part in enumerate(parts):
                kind = data.draw(kinds)
                if kind != "array":
                    parts[i] = write(Path(folder), f"{symbol}{i}", kind, part)
            given_data[symbol] = parts
        same(BacktestRunner(chunk_rows=rows).run(config, given_data), whole)
        same(BacktestRunner(chunk_rows=rows, stepwise=True).run(config, given_data), whole)


@settings(max_examples=60, deadline=None)
@given(
    st.data(),
    st.sampled_from([("qty", np.nan), ("px", np.inf), ("ev", 0), ("exch_ts", 1), ("local_ts", 2**63 - 1)]),
    st.integers(1, 200),
)
def test_a_faulty_row_is_named_wherever_it_is(data, fault, rows):
    events = random_market(data.draw(st.integers(0, 2**32)), 200)
    # The first row's times are earlier than no other's, and a side that sees no row has no order.
    both = np.flatnonzero((events["ev"] >> np.uint64(30)) == 3)
    bad = int(
        data.draw(st.sampled_from(both[(both > 0) & (events["ev"][both] & np.uint64(0xFF) != 3)].tolist()))
    )
    field, value = fault
    events[field][bad] = value
    with tempfile.TemporaryDirectory() as folder:
        files, starts, first = [], [], 0
        for i, part in enumerate(pieces(data.draw, events)):
            files.append(write(Path(folder), str(i), data.draw(kinds.filter(lambda k: k != "array")), part))
            starts.append(first)
            first += len(part)
        where = max(i for i, start in enumerate(starts) if start <= bad)
        with pytest.raises(DataError) as caught:
            BacktestRunner(chunk_rows=rows).run(configure(["A"], "maker"), {"A": files})
    error = caught.value
    assert (error.field, error.row) == (field, bad - starts[where])
    assert error.file == f"A[{where}]"
