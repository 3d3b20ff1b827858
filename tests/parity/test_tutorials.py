"""hftbacktest's tutorial strategies (examples/hftbacktest) on both packages: the same records and results."""

from __future__ import annotations

import importlib.util
import sys
from functools import cache
from pathlib import Path

import hftbacktest
import numpy as np
import pytest
from hftbacktest.stats import InverseAssetRecord, LinearAssetRecord

from engine.backtest import hbt
from tests.kit.recordings import LOT_SIZE, TICK_SIZE, events

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "hftbacktest"
INTERVAL = 100_000_000
CONTRACT = {"usdm": 1.0, "spot": 1.0, "cm": 100.0}

pytestmark = [pytest.mark.recording, pytest.mark.timeout(300)]


@pytest.fixture(autouse=True)
def example_path(monkeypatch):
    """The examples import what they share as scripts do."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    yield
    sys.modules.pop("quoting", None)


@cache
def example(name: str):
    """The module of an example."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def feed_latencies(rows: np.ndarray) -> np.ndarray:
    """Order latencies four times the feed's, one every half second, as a tutorial makes them."""
    both = rows[(rows["ev"] & np.uint64(hbt.EXCH_EVENT)) != 0]
    both = both[np.searchsorted(both["local_ts"], np.arange(both["local_ts"][0], both["local_ts"][-1], 5e8))]
    way = np.abs(both["local_ts"] - both["exch_ts"]) * 2
    made = np.zeros(len(both), np.dtype([(n, "i8") for n in ("req_ts", "exch_ts", "resp_ts", "_padding")]))
    made["req_ts"] = both["local_ts"]
    made["exch_ts"] = np.maximum.accumulate(made["req_ts"] + way)
    made["resp_ts"] = np.maximum.accumulate(made["exch_ts"] + way)
    return made


def described(package, name: str, kept: list, *, latencies: bool = False, queue_n: float = 2.0):
    """An asset of either package on a recording; ``kept`` gets what hftbacktest has only the address of."""
    kept.append(rows := events(name).copy())
    asset = (
        package.BacktestAsset()
        .data([rows])
        .power_prob_queue_model(queue_n)
        .no_partial_fill_exchange()
        .trading_value_fee_model(-0.00005, 0.0007)
        .tick_size(TICK_SIZE[name])
        .lot_size(LOT_SIZE[name])
        .last_trades_capacity(10_000)
        .roi_lb(40_000.0)
        .roi_ub(80_000.0)
    )
    if latencies:
        kept.append(made := feed_latencies(rows))
        asset.intp_order_latency(made)
    else:
        asset.constant_order_latency(5_000_000, 7_000_000)
    return asset.inverse_asset(CONTRACT[name]) if name == "cm" else asset.linear_asset(CONTRACT[name])


def same(theirs: np.ndarray, ours: np.ndarray) -> None:
    """Fails unless two structured arrays agree in every field: integers exactly, numbers to 1e-9."""
    assert theirs.dtype == ours.dtype
    assert len(theirs) == len(ours) > 1000
    for field in theirs.dtype.names:
        if theirs.dtype[field].kind != "f":
            np.testing.assert_array_equal(ours[field], theirs[field], err_msg=field)
            continue
        np.testing.assert_allclose(ours[field], theirs[field], rtol=1e-9, atol=1e-9, err_msg=field)


def run_both(function, names, arguments=(), *, depth="HashMap", trades=20, **described_as):
    """Runs a strategy under both packages and compares everything that hftbacktest's Recorder recorded.

    Returns:
        Our recorder, and what the strategy returned for either.
    """
    recorders, results = [], []
    for package in (hftbacktest, hbt):
        kept = []
        assets = [described(package, name, kept, **described_as) for name in names]
        backtest = getattr(package, f"{depth}MarketDepthBacktest")(assets)
        recorder = package.Recorder(len(names), 100_000)
        results.append(function(backtest, recorder.recorder, *arguments))
        backtest.close()
        recorders.append(recorder)
    for number in range(len(names)):
        same(recorders[0].get(number), recorders[1].get(number))
    assert recorders[1].get(0)["num_trades"][-1] >= trades
    return recorders[1], results


@pytest.mark.parametrize("latencies", [False, True])
@pytest.mark.parametrize("name", ["usdm", "spot", "cm"])
def test_grid_trading(name, latencies):
    lots = {"usdm": 10, "spot": 1000, "cm": 6}[name]
    qty = lots * LOT_SIZE[name]
    step = 100 if name == "spot" else 10
    arguments = (INTERVAL, 2.0 * step, step, 10, 0.2 * step, qty, 10 * qty)
    run_both(example("grid_trading").grid_trading, [name], arguments, latencies=latencies)


def test_glft():
    module = example("glft")
    outs = (np.zeros(10_000, module.calibration_dtype) for _ in range(2))

    def run(backtest, recorder, *arguments):
        return module.glft(backtest, recorder, next(outs), *arguments)

    arguments = (INTERVAL, 600, 50, 70, 0.05, 0.05, 0.01, 0.1)
    _, (theirs, ours) = run_both(run, ["usdm"], arguments)
    same(theirs, ours)
    assert np.isfinite(ours["half_spread"]).sum() > 1000


def test_book_imbalance():
    arguments = (INTERVAL, 0.001, 1200, 20.0, 10.0, 2.0, 1, 0.01, 0.1)
    run_both(example("book_imbalance").book_imbalance, ["usdm"], arguments, depth="ROIVector", queue_n=3.0)


@pytest.mark.parametrize("name", ["usdm", "cm"])
def test_queue_position(name):
    qty = 10 * LOT_SIZE[name]
    arguments = (INTERVAL, 600, 0.49, 1.0, 5, qty, 10 * qty)
    run_both(example("queue_position").queue_position, [name], arguments, depth="ROIVector", queue_n=3.0)


def test_apt():
    arguments = (INTERVAL, 600, 1.0, 0.0001, 0.00001, 1, 0.01, 0.1)
    run_both(example("apt").apt, ["usdm", "spot"], arguments, queue_n=3.0)


def test_many_markets_and_stats():
    arguments = (INTERVAL, 0.99, 1.0, 0.2, np.array([0.01, 6.0]), 10)
    recorder, _ = run_both(example("many_markets").many_markets, ["usdm", "cm"], arguments, latencies=True)
    assert recorder.get(1)["num_trades"][-1] > 20
    linear = LinearAssetRecord(recorder.get(0)).stats(book_size=10_000).summary()
    inverse = InverseAssetRecord(recorder.get(1)).contract_size(100.0).stats(book_size=0.2).summary()
    for summary in (linear, inverse):
        assert summary["start"][0] < summary["end"][0]
        assert np.isfinite(summary["Return"][0])


MAINS = {
    "grid_trading": ["usdm"],
    "glft": ["usdm"],
    "book_imbalance": ["usdm"],
    "queue_position": ["usdm"],
    "apt": ["usdm", "spot"],
    "many_markets": ["usdm", "cm"],
}


@pytest.mark.parametrize("name", MAINS)
def test_what_the_file_runs(name, tmp_path, capsys):
    paths = [tmp_path / f"{number}.npy" for number in range(len(MAINS[name]))]
    for path, source in zip(paths, MAINS[name], strict=True):
        np.save(path, events(source))
    example(name).main(*map(str, paths))
    assert "Return" in capsys.readouterr().out
