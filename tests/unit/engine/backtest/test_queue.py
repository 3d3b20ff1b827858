"""Queue models against their formulas written plainly."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.backtest.config import AssetConfig
from engine.backtest.queue import follow_queue

LOT = 0.001


def asset(model: str, n: float = 3.0) -> AssetConfig:
    return AssetConfig(symbol="X", tick_size=0.1, lot_size=LOT, queue_model=model, queue_n=n)


def power(x: float, n: float) -> float:
    try:
        value = x**n
    except (OverflowError, ZeroDivisionError):
        return math.inf
    return value if isinstance(value, float) else math.nan


def logarithm(x: float) -> float:
    if 1 + x == 0:
        return -math.inf
    return math.log(1 + x) if 1 + x > 0 else math.nan


def divide(a: float, b: float) -> float:
    if b != 0:
        return a / b
    return math.nan if a == 0 or math.isnan(a) else math.copysign(math.inf, a) * math.copysign(1, b)


def probability(model: str, n: float, front: float, back: float) -> float:
    if model == "power_prob_queue_model":
        return divide(power(back, n), power(back, n) + power(front, n))
    if model == "power_prob_queue_model2":
        return divide(power(back, n), power(back + front, n))
    if model == "log_prob_queue_model":
        return divide(logarithm(back), logarithm(back) + logarithm(front))
    if model == "log_prob_queue_model2":
        return divide(logarithm(back), logarithm(back + front))
    return 1 - power(divide(front, front + back), n)


def smaller(a: float, b: float) -> float:
    if math.isnan(a):
        return b
    return a if math.isnan(b) else min(a, b)


def naive(model: str, n: float, level_qty: float, steps: list) -> list:
    front, traded, places = level_qty, 0.0, []
    for step in steps:
        if step[0] == "trade":
            front -= step[1]
            traded += step[1]
        else:
            _, prev, new = step
            change = prev - new - traded
            traded = 0.0
            if model == "risk_adverse_queue_model" or change < 0:
                front = smaller(front, new)
            else:
                back = prev - front
                prob = probability(model, n, front, back)
                if math.isinf(prob):
                    prob = 1.0
                front = smaller(front - (1 - prob) * change + smaller(back - prob * change, 0.0), new)
        places.append(front)
    return places


MODELS = [
    "risk_adverse_queue_model",
    "log_prob_queue_model",
    "log_prob_queue_model2",
    "power_prob_queue_model",
    "power_prob_queue_model2",
    "power_prob_queue_model3",
]
lots = st.integers(0, 5000).map(lambda n: n * LOT)
step = st.one_of(
    st.tuples(st.just("trade"), lots),
    st.tuples(st.just("depth"), lots, lots),
)


@pytest.mark.parametrize("model", MODELS)
@settings(max_examples=60, deadline=None)
@given(level=lots, steps=st.lists(step, max_size=20), n=st.sampled_from([1.0, 2.0, 3.0]))
def test_the_models_follow_their_formulas(model, level, steps, n):
    places = follow_queue(asset(model, n), level, steps)
    expected = naive(model, n, level, steps)
    for (front, filled), wanted in zip(places, expected, strict=True):
        assert front == pytest.approx(wanted, rel=1e-12, abs=1e-12, nan_ok=True)
        exact = -front / LOT
        if not math.isnan(exact) and abs(exact - 0.5) > 1e-6:
            assert filled == (exact > 0.5)


def test_a_queue_fills_when_a_lot_beyond_it_has_traded():
    steps = [("trade", 1.0), ("trade", 0.5), ("trade", LOT)]
    places = follow_queue(asset("risk_adverse_queue_model"), 1.5, steps)
    assert [filled for _, filled in places] == [False, False, True]


def test_risk_adverse_only_trades_and_shrinking_levels_move_it():
    places = follow_queue(asset("risk_adverse_queue_model"), 2.0, [("depth", 5.0, 4.0), ("depth", 4.0, 1.0)])
    assert [front for front, _ in places] == [2.0, 1.0]


def test_a_decrease_behind_leaves_the_front_alone_at_a_high_power():
    # With 1 in front of 100, nearly all that leaves is taken from behind.
    ((front, _),) = follow_queue(asset("power_prob_queue_model3", 3.0), 1.0, [("depth", 101.0, 91.0)])
    assert 0.99 < front < 1.0
