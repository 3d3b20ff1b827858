"""Funding payments of configured backtests: sums worked out from fills and rows, and what is refused."""

from __future__ import annotations

import json
import math

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.backtest.config import AssetConfig, BacktestConfig, StrategyConfig, check
from engine.backtest.runner import BacktestRunner
from engine.book.naive import NaiveL2
from engine.cli.backtest import summary
from engine.core.errors import ConfigError, DataError
from engine.core.types import BUY_EVENT, DEPTH_EVENT, EXCH_EVENT, LOCAL_EVENT, SELL_EVENT, event_dtype
from tests.kit.markets import LOT_SIZE, START, TICK_SIZE, random_market

SECOND = 1_000_000_000
SCRIPTED = "tests/kit/scripted.py:Scripted"
CROSSER = "tests/kit/crosser.py:Crosser"


def at(seconds: float) -> int:
    return START + round(seconds * SECOND)


def quiet(*more):
    """A bid at 100, an ask at 101, others of (seconds, side, price), and a last bid at 60 s."""
    described = [(0, 1, 100.0), (0, -1, 101.0), *more, (60, 1, 90.0)]
    events = np.zeros(len(described), event_dtype)
    for event, (seconds, side, px) in zip(events, described, strict=True):
        event["ev"] = EXCH_EVENT | LOCAL_EVENT | DEPTH_EVENT | (BUY_EVENT if side > 0 else SELL_EVENT)
        event["exch_ts"] = event["local_ts"] = at(seconds)
        event["px"], event["qty"] = px, 5.0
    return events


def run(funding, *, script=((1, "buy", 202, 2.0),), data=None, sample=0, **keys):
    """Buys 2 at 101 after a second, with latencies of a millisecond."""
    asset = AssetConfig(symbol="A", tick_size=0.5, lot_size=0.1, funding=funding, **keys)
    params = {"interval_ns": SECOND, "script": json.dumps(script)}
    strategy = StrategyConfig(id="s", cls=SCRIPTED, params=params)
    config = BacktestConfig(assets=[asset], strategies=[strategy], equity_sample_ns=sample)
    return BacktestRunner(check_invariants=True).run(config, {"A": quiet() if data is None else data})


def paid(result):
    return result.states[0].values.funding


@pytest.mark.parametrize(
    ("keys", "side", "rate", "expected"),
    [
        ({}, "buy", 0.0001, 0.0001 * 2.0 * 100.5),
        ({"contract_size": 10.0}, "sell", 0.0001, -0.0001 * 10.0 * 2.0 * 100.5),
        ({"asset": "inverse", "contract_size": 100.0}, "buy", -0.0001, -0.0001 * 100.0 * 2.0 / 100.5),
        ({"asset": "inverse", "contract_size": 100.0}, "sell", -0.0001, 0.0001 * 100.0 * 2.0 / 100.5),
    ],
)
def test_a_payment_is_the_rate_of_the_value_at_the_mid(keys, side, rate, expected):
    script = [(1, side, 202 if side == "buy" else 200, 2.0)]
    result, without = run([[at(10), rate]], script=script, **keys), run([], script=script, **keys)
    assert paid(result) == pytest.approx(expected, rel=1e-14)
    before, after = without.states[0].values, result.states[0].values
    assert after.equity == before.equity - after.funding
    assert after[:9] == before[:9]
    assert result.totals()["funding"] == result.to_json()["funding"] == after.funding
    assert f"funding {after.funding:,.6f}" in summary(result)
    assert "funding" not in summary(without)


def test_a_mark_price_counts_instead_and_nan_is_none():
    assert paid(run([[at(10), 0.01, 50.0]])) == pytest.approx(0.01 * 2.0 * 50.0)
    assert paid(run([[at(10), 0.01, math.nan]])) == pytest.approx(0.01 * 2.0 * 100.5)


def test_the_position_is_the_one_known_at_that_instant():
    # Sent at one second, filled a millisecond later, known after another.
    filled = at(1) + 2_000_000
    assert paid(run([[filled - 1, 0.01]])) == 0.0
    assert paid(run([[filled, 0.01]])) == pytest.approx(0.01 * 2.0 * 100.5)
    # Sold again at two seconds: what is done at the instant of a payment comes after it.
    script = [(1, "buy", 202, 2.0), (2, "sell", 200, 2.0)]
    instant = run([[at(2), 0.01]], script=script, entry_latency_ns=0, response_latency_ns=0)
    assert paid(instant) == pytest.approx(0.01 * 2.0 * 100.5)
    assert paid(run([[at(3), 0.01]], script=script)) == 0.0


def test_payments_before_the_data_and_after_its_end_are_not_made():
    ends = [[0, 0.01], [at(-1), 0.01], [at(60), 0.01], [at(70), 0.01]]
    assert paid(run(ends)) == 0.0
    assert paid(run([[at(60) - 1, 0.01]])) > 0.0


def test_without_both_sides_the_last_fill_values_the_position():
    data = quiet((5, -1, 101.0))
    data["qty"][2] = 0.0
    assert paid(run([[at(10), 0.01]], data=data)) == pytest.approx(0.01 * 2.0 * 101.0)


def test_samples_hold_what_has_been_paid_up_to_them():
    result = run([[at(10), 0.01], [at(20) + 1, 0.01]], sample=10 * SECOND)
    each = 0.01 * 2.0 * 100.5
    assert result.equity["funding"] == pytest.approx([each, each, 2 * each, 2 * each, 2 * each])
    plain = run([], sample=10 * SECOND).equity
    assert (result.equity["equity"] == plain["equity"] - result.equity["funding"]).all()
    assert (plain["funding"] == 0.0).all()


def test_files_are_rates_too(tmp_path):
    first, second = tmp_path / "a.npz", tmp_path / "b.npy"
    np.savez(first, data=np.array([(at(10), 0.01)], [("ts", "i8"), ("rate", "f8")]))
    np.save(second, np.array([(at(20), 0.02, 99.0)], [("ts", "i8"), ("rate", "f8"), ("mark_price", "f8")]))
    result = run([], funding_data=[str(first), str(second)])
    assert paid(result) == pytest.approx(0.01 * 2.0 * 100.5 + 0.02 * 2.0 * 99.0)
    with pytest.raises(DataError, match="the last payment of the file before") as refused:
        run([], funding_data=[str(second), str(first)])
    assert (refused.value.file, refused.value.row, refused.value.field) == (str(first), 0, "ts")


def test_what_is_no_rate_is_refused():
    asset = AssetConfig(symbol="A", tick_size=0.5, lot_size=0.1, funding=[[1, 0.1]], funding_data=["x.npy"])
    config = BacktestConfig(assets=[asset], strategies=[StrategyConfig(id="s", cls=SCRIPTED)])
    with pytest.raises(ConfigError, match=r"assets\[0\]\.funding_data: goes in place of funding"):
        check(config)
    with pytest.raises(ConfigError, match="the same for all times"):
        run([[1, 0.1], [2]])
    with pytest.raises(DataError, match="between -1 and 1"):
        run([[1, 1.5]])
    with pytest.raises(DataError, match="not after the time before it"):
        run([[2, 0.1], [2, 0.1]])
    with pytest.raises(DataError, match="No such file"):
        run([], funding_data=["nothing.npy"])


def owed(result, data, funding, strategy):
    """What the fills and our rows say that a strategy owed."""
    sum_, fills = 0.0, result.fills[result.fills["strategy"] == strategy]
    for ts, rate, *mark in funding:
        known = fills[fills["local_ts"] <= ts]
        position = float((known["side"].astype(float) * known["qty"]).sum()) * LOT_SIZE
        book = NaiveL2(TICK_SIZE, LOT_SIZE)
        book.apply(data[data["local_ts"] <= ts], "local")
        px = mark[0] if mark else (book.best_bid + book.best_ask) / 2.0
        if round(position / LOT_SIZE):
            sum_ += rate * (known["px"][-1] if math.isnan(px) else px) * position
    return sum_


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 2**32),
    st.sets(st.integers(-5, 400), max_size=8),
    st.booleans(),
    st.integers(1, 9),
    st.integers(1, 400),
)
def test_every_strategy_pays_what_its_fills_say(seed, times, marked, interval, chunk):
    data = random_market(seed, 300)
    last = max(int(data["exch_ts"].max()), int(data["local_ts"].max()))
    rng = np.random.default_rng(seed)
    funding = [
        [START + t * 1_000, rng.uniform(-0.01, 0.01)] for t in sorted(times) if START + t * 1_000 < last
    ]
    if marked:
        funding = [[*row, rng.uniform(100.0, 900.0)] for row in funding]
    asset = AssetConfig(
        symbol="A",
        tick_size=TICK_SIZE,
        lot_size=LOT_SIZE,
        funding=funding,
        entry_latency_ns=2_000,
        response_latency_ns=1_000,
    )
    strategies = [
        StrategyConfig(id=name, cls=CROSSER, params={"interval_ns": n * 1_000, "order_qty": n * LOT_SIZE})
        for name, n in (("one", interval), ("two", 2 * interval + 1))
    ]
    config = BacktestConfig(assets=[asset], strategies=strategies, equity_sample_ns=7_000)
    result = BacktestRunner(chunk_rows=chunk).run(config, {"A": data})
    for number, state in enumerate(result.states):
        assert state.values.funding == pytest.approx(owed(result, data, funding, number), abs=1e-12)
    stepwise = BacktestRunner(stepwise=True).run(config, {"A": data})
    assert result.equity.tobytes() == stepwise.equity.tobytes()
    # Nothing else has changed.
    free = msgspec.structs.replace(config, assets=[msgspec.structs.replace(asset, funding=[])])
    assert BacktestRunner().run(free, {"A": data}).orders.tobytes() == result.orders.tobytes()
