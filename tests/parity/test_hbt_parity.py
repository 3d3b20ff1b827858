"""Random calls on hftbacktest and on our face: results, times, state values, books and orders agree."""

from __future__ import annotations

import hftbacktest
import numpy as np
import pytest

from engine.backtest import hbt
from tests.kit.markets import LOT_SIZE, TICK_SIZE, random_market
from tests.kit.programs import COLUMNS, first_difference, random_program, rows_before, run_program
from tests.kit.recordings import LOT_SIZE as REAL_LOT
from tests.kit.recordings import TICK_SIZE as REAL_TICK
from tests.kit.recordings import events

QUEUES = {
    "risk_adverse_queue_model": (),
    "log_prob_queue_model": (),
    "log_prob_queue_model2": (),
    "power_prob_queue_model": (2.0,),
    "power_prob_queue_model2": (3.0,),
    "power_prob_queue_model3": (2.5,),
}
EXCHANGES = ("no_partial_fill_exchange", "partial_fill_exchange")
QUEUE_FRONT, FILLED = 1, 3


KEPT = []
"""hftbacktest keeps the addresses of arrays, not the arrays; and an offset it adds to the caller's."""


def described(package, rows, **settings):
    """An asset of either package: its builder's methods by name, with their arguments."""
    KEPT.append(arrays := [[array.copy() for array in rows], {}])
    asset = package.BacktestAsset().data(arrays[0]).last_trades_capacity(10)
    for name, arguments in settings.items():
        arrays[1][name] = [item.copy() if isinstance(item, np.ndarray) else item for item in arguments]
        getattr(asset, name)(*arrays[1][name])
    return asset


@pytest.fixture(autouse=True)
def forget_arrays():
    """Lets the arrays of a test go after it."""
    yield
    KEPT.clear()


def small(**settings):
    return {"tick_size": (TICK_SIZE,), "lot_size": (LOT_SIZE,), **settings}


def compare(assets, programs, depth="HashMap") -> int:
    """Fails unless both packages show the same after each call; how many calls that were.

    hftbacktest's calls are made until it fails or fills at no price (see ``run_program``). Its partial fills
    leave an order that is filled to the last lot in its queue; what differs after that is not compared.
    """
    logs, made, theirs = [], [], None
    for package, options in ((hftbacktest, {}), (hbt, {"compat": "2.4"})):
        backtest = getattr(package, f"{depth}MarketDepthBacktest")(
            [described(package, rows, **settings) for rows, settings in assets], **options
        )
        calls = 0
        for number, program in enumerate(programs):
            out = np.zeros((len(program), len(COLUMNS)))
            calls += (n := run_program(backtest, number, program, out))
            logs.append(out[:n])
            if n < len(program):
                break
        made.append(calls)
        theirs = theirs or len(logs)
        if package is hbt:
            backtest.check_invariants()
            order_logs = [backtest.order_log(number) for number in range(len(assets))]
    for number in range(theirs):
        log = order_logs[number]
        n = min(len(logs[number]), len(logs[theirs + number]))
        certain = n
        if "partial_fill_exchange" in assets[number][1]:
            eaten = log["answer"] & (log["status"] == FILLED) & (log["reason"] == QUEUE_FRONT)
            certain = rows_before(logs[theirs + number][:n], log["exch_ts"][eaten])
        ours, theirs_rows = logs[theirs + number], logs[number]
        difference = first_difference(theirs_rows[:certain], ours[:certain], programs[number], log)
        assert not difference, difference
        if first_difference(theirs_rows[:n], ours[:n], programs[number], log):
            return n
    return made[0]


@pytest.mark.parametrize("exchange", EXCHANGES)
@pytest.mark.parametrize("queue", QUEUES)
def test_queues_and_exchanges(queue, exchange):
    latencies = [(0, 0), (1000, 1000), (2000, 3000), (500, 0)]
    compared = 0
    for seed in range(16):
        settings = small(
            **{queue: QUEUES[queue], exchange: (), "constant_order_latency": latencies[seed % 4]},
            linear_asset=(1.0,),
            trading_value_fee_model=(-1e-4, 5e-4),
        )
        market = random_market(seed, 600)
        compared += compare([([market], settings)], [random_program(seed, 300, step_ns=1000)])
    assert compared > 16 * 150


@pytest.mark.parametrize(
    "fees", ["trading_value_fee_model", "trading_qty_fee_model", "flat_per_trade_fee_model"]
)
@pytest.mark.parametrize("kind", ["linear_asset", "inverse_asset"])
def test_fees_and_kinds_of_assets(kind, fees):
    for seed in range(100, 104):
        settings = small(
            **{kind: (10.0,), fees: (-0.002, 0.05)},
            constant_order_latency=(1000, 2000),
            log_prob_queue_model=(),
        )
        compare([([random_market(seed, 600)], settings)], [random_program(seed, 300, step_ns=1000)])


def test_the_range_of_interest_has_the_same_market():
    for seed in range(200, 208):
        settings = small(roi_lb=(0.0,), roi_ub=(5000.0,), constant_order_latency=(1000, 2000))
        market = random_market(seed, 600)
        # hftbacktest's one-sided clears of this depth clear other levels (docs/parity.md).
        market = market[(market["ev"] & np.uint64(0xFF)) != hbt.DEPTH_CLEAR_EVENT]
        program = random_program(seed, 300, step_ns=1000)
        compare([([market], settings)], [program], "ROIVector")


def test_several_files():
    for seed in range(300, 308):
        market = random_market(seed, 600)
        parts = [part.copy() for part in np.split(market, [1, 200, 201, 450])]
        settings = small(constant_order_latency=(1000, 2000), parallel_load=(False,))
        compare([(parts, settings)], [random_program(seed, 300, step_ns=1000)])


def test_assets_with_different_models_take_turns():
    for seed in range(400, 408):
        first = small(constant_order_latency=(1000, 2000), power_prob_queue_model=(2.0,))
        second = small(constant_order_latency=(0, 0), partial_fill_exchange=(), inverse_asset=(1.0,))
        markets = [random_market(seed, 300), random_market(seed + 1000, 600)]
        programs = [random_program(seed, 120, step_ns=1000), random_program(seed + 1, 120, step_ns=1000)]
        compare([([markets[0]], first), ([markets[1]], second)], programs)


def recorded_latencies(market, seed: int, *, refusals: bool) -> np.ndarray:
    """Order latencies over a market's time: some lines of steps, some of them refused."""
    rng = np.random.default_rng(seed)
    rows = np.zeros(
        40, np.dtype([(n, "i8") for n in ("req_ts", "exch_ts", "resp_ts", "_padding")], align=True)
    )
    rows["req_ts"] = np.linspace(market["exch_ts"][0] - 50_000, market["local_ts"][-1], 40).astype(np.int64)
    rows["exch_ts"] = rows["req_ts"] + rng.integers(0, 5000, 40)
    rows["resp_ts"] = rows["exch_ts"] + rng.integers(0, 5000, 40)
    rows["exch_ts"] = np.maximum.accumulate(rows["exch_ts"])
    rows["resp_ts"] = np.maximum(rows["resp_ts"], rows["exch_ts"])
    if refusals:
        rows["exch_ts"][rng.random(40) < 0.2] = 0
    return rows


@pytest.mark.parametrize("refusals", [False, True])
def test_interpolated_latencies(refusals):
    for seed in range(500, 508):
        market = random_market(seed, 600)
        rows = recorded_latencies(market, seed, refusals=refusals)
        settings = small(intp_order_latency=(rows, 700 if seed % 2 else 0))
        compare([([market], settings)], [random_program(seed, 300, step_ns=1000)])


def test_latency_offset():
    for seed in range(600, 604):
        market = random_market(seed, 600)
        market["local_ts"] += 20_000
        for offset in (500, -15_000):
            settings = small(constant_order_latency=(1000, 2000), latency_offset=(offset,))
            compare([([market], settings)], [random_program(seed, 300, step_ns=1000)])


def test_initial_snapshot():
    for seed in range(700, 704):
        levels = random_market(seed, 40)
        levels = levels[(levels["ev"] & np.uint64(0xFF)) == 1]
        below = (levels["ev"] & np.uint64(hbt.BUY_EVENT)) != 0
        levels["px"] = (
            np.where(below, 490.0, 510.0) + np.where(below, -1, 1) * np.arange(len(levels)) * TICK_SIZE
        )
        levels["ev"] = (levels["ev"] & ~np.uint64(0xFF)) | np.uint64(hbt.DEPTH_SNAPSHOT_EVENT)
        settings = small(initial_snapshot=(levels,), constant_order_latency=(1000, 2000))
        compare([([random_market(seed, 600)], settings)], [random_program(seed, 300, step_ns=1000)])


@pytest.mark.recording
@pytest.mark.parametrize("exchange", EXCHANGES)
@pytest.mark.parametrize("name", ["usdm", "cm", "spot"])
def test_real_recordings(name, exchange):
    tick_size, lot_size = REAL_TICK[name], REAL_LOT[name]
    settings = {
        "tick_size": (tick_size,),
        "lot_size": (lot_size,),
        "inverse_asset" if name == "cm" else "linear_asset": (100.0 if name == "cm" else 1.0,),
        "trading_value_fee_model": (-0.00005, 0.0007),
        "constant_order_latency": (5_000_000, 7_000_000),
        "power_prob_queue_model": (2.0,),
        exchange: (),
    }
    for seed in range(2):
        program = random_program(seed, 3000, step_ns=10_000_000, lot_size=lot_size)
        assert compare([([events(name)], settings)], [program]) > 500


@pytest.mark.recording
@pytest.mark.parametrize("depth", ["HashMap", "ROIVector"])
def test_market_by_order(depth):
    settings = {
        "tick_size": (REAL_TICK["cme"],),
        "lot_size": (REAL_LOT["cme"],),
        "linear_asset": (50.0,),
        "constant_order_latency": (1_000_000, 1_500_000),
        "l3_fifo_queue_model": (),
        "flat_per_trade_fee_model": (0.5, 1.0),
        "roi_lb": (0.0,),
        "roi_ub": (6000.0,),
    }
    rows = events("cme")
    span = int(rows["local_ts"][-1] - rows["local_ts"][0])
    for seed in range(3):
        program = random_program(800 + seed, 2000, step_ns=span // 8000, lot_size=REAL_LOT["cme"])
        assert compare([([rows], settings)], [program], depth) > 300
