"""What a sweep runs: grids, draws, places in a configuration, and what is refused."""

from __future__ import annotations

import math

import pytest

from engine.core.errors import ConfigError
from engine.research.plan import Between, Plan, between_of, days_of, values_of

BASE = {
    "assets": [{"symbol": "{symbol}", "tick_size": 0.1, "lot_size": 0.001, "data": ["{symbol}_{day}.npz"]}],
    "strategies": [{"id": "a", "class": "x:A"}, {"id": "b", "class": "x:B", "params": {"skew": 9.0}}],
}


def test_a_grid_is_every_point_in_order():
    plan = Plan(BASE, {"skew": [1.0, 2.0], "seed": [3, 4]}, symbols=("X", "Y"), days=("20240808",))
    points = plan.points()
    assert len(points) == 8
    assert points[0] == {"symbol": "X", "day": "20240808", "skew": 1.0, "seed": 3}
    assert points[-1] == {"symbol": "Y", "day": "20240808", "skew": 2.0, "seed": 4}
    config = plan.config(points[-1])
    assert config.assets[0].data == ["Y_20240808.npz"]
    assert [one.params for one in config.strategies] == [{"skew": 2.0}, {"skew": 2.0}]
    assert config.seed == 4
    assert plan.base["strategies"][1]["params"] == {"skew": 9.0}, "the base stays as it was"


def test_paths_reach_everything():
    plan = Plan(BASE, {"assets[0].queue_n": [2.0], "strategies[1].params.skew": [5.0]}, symbols=("X",))
    config = plan.config(plan.points()[0])
    assert config.assets[0].queue_n == 2.0
    assert [one.params for one in config.strategies] == [{}, {"skew": 5.0}]


def test_draws_are_the_same_for_the_same_seed():
    def plan(seed):
        ranges = {"skew": Between(0.5, 2.0), "n": Between(1, 3), "size": Between(1e-3, 1e3, log=True)}
        return Plan(BASE, {"k": [10, 20]}, ranges, samples=300, seed=seed, symbols=("X",))

    points = plan(7).points()
    assert points == plan(7).points()
    assert points != plan(8).points()
    assert len(points) == 300
    assert all(0.5 <= p["skew"] <= 2.0 and 1e-3 <= p["size"] <= 1e3 for p in points)
    assert {p["n"] for p in points} == {1, 2, 3}
    assert {p["k"] for p in points} == {10, 20}
    low = sum(p["size"] < 1.0 for p in points)
    assert 110 < low < 190, "half of the magnitudes are below 1"


def test_a_plan_is_told_from_another():
    one = Plan(BASE, {"skew": [1.0]})
    assert one.digest() == Plan(BASE, {"skew": [1.0]}).digest()
    others = [
        Plan(BASE, {"skew": [2.0]}),
        Plan(BASE, {}, {"skew": Between(0, 1)}, 2),
        Plan(BASE, {"skew": [1.0]}, seed=1),
    ]
    assert len({one.digest(), *(other.digest() for other in others)}) == 4


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        (Plan(BASE, {"skew": []}), "0 runs"),
        (Plan(BASE, {"skew": [1]}, {"skew": Between(0, 1)}, 5), "swept twice"),
        (Plan(BASE, {}, {"skew": Between(0, 1)}), "how many samples"),
        (Plan(BASE, {"skew": list(range(1001)), "k": list(range(1000))}), "1,001,000 runs"),
    ],
)
def test_refused_plans(plan, words):
    with pytest.raises(ConfigError, match=words):
        plan.points()


@pytest.mark.parametrize("key", ["assets[1].queue_n", "assets.queue_n", "risk.x.y.z", "a..b", "assets[x]"])
def test_places_that_are_not_there(key):
    with pytest.raises(ConfigError):
        Plan(BASE, {key: [1]}, symbols=("X",)).config({"symbol": "X", key: 1})


def test_values_as_users_write_them():
    assert values_of("skew=1,2.5") == ("skew", [1, 2.5])
    names = ["log_prob_queue_model", "power_prob_queue_model"]
    assert values_of("model=" + ",".join(names)) == ("model", names)
    assert values_of("flag=true,false") == ("flag", [True, False])
    assert between_of("skew=0..2") == ("skew", Between(0, 2))
    assert between_of("skew=0.5..2") == ("skew", Between(0.5, 2))
    assert between_of("s=log:0.001..10") == ("s", Between(0.001, 10, log=True))
    assert days_of(["20240228..20240301", "x"]) == ("20240228", "20240229", "20240301", "x")
    assert days_of(["2024-12-31..2025-01-01"]) == ("2024-12-31", "2025-01-01")


@pytest.mark.parametrize("text", ["skew", "=1", "skew="])
def test_values_that_are_refused(text):
    with pytest.raises(ConfigError):
        values_of(text)


@pytest.mark.parametrize(
    "text", ["skew=1", "skew=2..1", "skew=log:0..1", "skew=a..b", "skew=false..true", "skew=0..inf", "=0..1"]
)
def test_ranges_that_are_refused(text):
    with pytest.raises(ConfigError):
        between_of(text)


@pytest.mark.parametrize("text", ["20240802..20240801", "20240230..20240301", "1..2"])
def test_days_that_are_refused(text):
    with pytest.raises(ConfigError):
        days_of([text])


def test_a_drawn_value_stays_within():
    class Ends:
        def uniform(self, low, high):
            return high

    assert math.isclose(Between(0.1, 0.1 + 1e-13).draw(Ends()), 0.1)
