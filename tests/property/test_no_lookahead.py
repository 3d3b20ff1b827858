"""What a strategy does depends on nothing that comes later, and on no market that it does not trade."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from engine.backtest.config import AssetConfig, BacktestConfig, StrategyConfig
from engine.backtest.result import BacktestResult
from engine.backtest.runner import BacktestRunner
from engine.core.types import EXCH_EVENT, LOCAL_EVENT
from tests.kit.markets import LOT_SIZE, TICK_SIZE, random_market

CROSSER = "tests/kit/crosser.py:Crosser"
MAKER = "engine.strategy.native:MarketMaker"
TALKER = "tests/kit/talker.py:Talker"


def run(data: dict[str, np.ndarray], cls: str, interval: int, latency: int) -> BacktestResult:
    """Runs a strategy that trades A on all the markets of ``data``."""
    assets = [
        AssetConfig(
            symbol=symbol,
            tick_size=TICK_SIZE,
            lot_size=LOT_SIZE,
            entry_latency_ns=latency,
            response_latency_ns=latency // 2,
            queue_model="power_prob_queue_model3",
        )
        for symbol in data
    ]
    strategy = StrategyConfig(id="s", cls=cls, symbols=["A"], params={"interval_ns": interval})
    return BacktestRunner().run(BacktestConfig(assets=assets, strategies=[strategy]), data)


def seen(events: np.ndarray, flag: int, field: str) -> np.ndarray:
    """When one side sees each row; never, where it does not."""
    times = events[field].copy()
    times[events["ev"] & np.uint64(flag) == 0] = np.iinfo(np.int64).max
    return times


def change_the_future(events: np.ndarray, now: int, random: np.random.Generator) -> np.ndarray:
    """Delays what a side has not seen at ``now``; alters and drops rows that nobody has seen."""
    first_seen = np.minimum(seen(events, EXCH_EVENT, "exch_ts"), seen(events, LOCAL_EVENT, "local_ts"))
    later = first_seen > now
    changed = events.copy()
    n = int(later.sum())
    delay = int(random.integers(0, 20_000))
    for field in ("exch_ts", "local_ts"):
        changed[field][events[field] > now] += delay
    changed["px"][later] += TICK_SIZE * random.integers(-5, 6, n)
    changed["qty"][later] = LOT_SIZE * random.integers(0, 50, n)
    keep = ~later
    keep[later] = random.random(n) < 0.8
    keep[-1] = True
    return changed[keep]


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32),
    st.integers(60, 500),
    st.floats(0.05, 0.95),
    st.sampled_from([CROSSER, MAKER, TALKER]),
    st.integers(1, 20),
    st.sampled_from([0, 1_000, 7_500]),
)
def test_the_past_is_the_same_whatever_the_future(seed, rows, part, cls, interval, latency):
    events = random_market(seed, rows)
    now = int(np.quantile(events["local_ts"], part))
    assume(now < events["exch_ts"][-1])
    one = run({"A": events}, cls, interval * 1_000, latency)
    changed = change_the_future(events, now, np.random.default_rng(seed))
    other = run({"A": changed}, cls, interval * 1_000, latency)
    assert one.orders[one.orders["ts"] <= now].tobytes() == other.orders[other.orders["ts"] <= now].tobytes()
    assert one.fills[one.fills["local_ts"] <= now].tobytes() == (
        other.fills[other.fills["local_ts"] <= now].tobytes()
    )


def test_the_change_reaches_what_comes_after():
    events = random_market(3, 400)
    now = int(np.quantile(events["local_ts"], 0.3))
    one = run({"A": events}, CROSSER, 5_000, 1_000)
    other = run({"A": change_the_future(events, now, np.random.default_rng(3))}, CROSSER, 5_000, 1_000)
    assert (one.orders["ts"] <= now).sum() > 0
    assert one.orders.tobytes() != other.orders.tobytes()


@pytest.mark.parametrize("cls", [CROSSER, MAKER])
@pytest.mark.parametrize("riders", [1, 3])
def test_markets_that_ride_along_change_nothing(cls, riders):
    events = random_market(11, 500)
    others = {}
    for i in range(riders):
        moved = events.copy()
        moved["px"] += 10 * (i + 1) * TICK_SIZE
        others[f"B{i}"] = moved
    alone = run({"A": events}, cls, 5_000, 1_000)
    together = run({"A": events} | others, cls, 5_000, 1_000)
    assert len(alone.fills) > 0
    assert alone.fills.tobytes() == together.fills.tobytes()
    assert alone.orders.tobytes() == together.orders.tobytes()
