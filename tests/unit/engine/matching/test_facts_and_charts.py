"""Stylised facts: gathering by hand, the simulated market beside the real one; charts are well-formed."""

import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from engine.core.types import event_dtype
from engine.feeds.market import AgentMarket
from engine.matching.charts import Chart, page
from engine.matching.compare import picture, table
from engine.matching.facts import facts, gathered
from tests.kit.recordings import events

BUY, SELL = 1 << 29, 1 << 28


@pytest.fixture(scope="module")
def simulated():
    return facts(AgentMarket("X", seed=2).generate(240), 0.1, 0.001)


def test_changes_are_gathered_at_the_ends_of_intervals():
    rows = np.zeros(6, event_dtype)
    rows["ev"] = [1 | BUY, 1 | BUY, 2 | BUY, 1 | SELL, 1 | BUY, 1 | BUY]
    rows["exch_ts"] = [10, 20, 30, 40, 99, 100]
    rows["local_ts"] = rows["exch_ts"] + 5
    rows["px"] = [1.0, 1.0, 2.0, 1.0, 3.0, 1.0]
    rows["qty"] = [1, 2, 3, 4, 5, 6]
    found = gathered(rows, 100)
    assert found["exch_ts"].tolist() == [30, 100, 100, 100, 200]
    assert found["local_ts"].tolist() == [35, 105, 105, 105, 205]
    assert found["qty"].tolist() == [3, 2, 4, 5, 6]
    assert rows["exch_ts"].tolist() == [10, 20, 30, 40, 99, 100]


def test_the_simulated_market_looks_like_a_busy_perpetual(simulated):
    figures = simulated.figures
    assert figures["spread_one_tick"] > 0.9
    assert 1000 < figures["best_lots_mean"] < 12000
    assert 8 < figures["market_orders_per_second"] < 50
    assert 30 < figures["volatility_1s"] < 200
    assert figures["sign_autocorrelation_1"] > 0.1
    assert figures["excess_kurtosis_1s"] > 2
    assert figures["impact_1s_of_largest_percent"] > 30
    assert np.all(np.diff(simulated.tails.y) <= 0)


@pytest.mark.recording
def test_it_is_laid_beside_the_real_one(simulated):
    real = facts(events("usdm"), 0.1, 0.001)
    for key, low, high in (
        ("best_lots_mean", 0.4, 2.5),
        ("market_orders_per_second", 0.4, 2.5),
        ("level_changes_per_second", 0.5, 2.0),
        ("volatility_1s", 0.4, 2.5),
        ("volatility_10s", 0.4, 2.5),
        ("mid_moves_per_second", 0.4, 3.0),
        ("impact_1s_of_largest_percent", 0.3, 3.0),
    ):
        assert low < simulated.figures[key] / real.figures[key] < high, key
    text = table(real, simulated)
    assert text.count("\n") > 10
    drawing = ElementTree.fromstring(picture(real, simulated))
    words = [item.text for item in drawing.iter("{http://www.w3.org/2000/svg}text")]
    for title in (
        "Spread",
        "Depth profile",
        "Return tails, 1 s",
        "Volatility clustering",
        "Impact after 1 s",
    ):
        assert title in words


@pytest.mark.parametrize("log", [False, True])
def test_a_chart_of_odd_values_is_well_formed(log):
    x = np.array([-1.0, 0.0, 1.0, np.nan, 5.0])
    odd = Chart(
        "a < b & c", "x", "y", [("one", x, x), ("none", x[:0], x[:0]), ("same", x[2:3], x[2:3])], log, log
    )
    drawing = ElementTree.fromstring(page([odd, odd, odd]))
    assert "a < b & c" in [item.text for item in drawing.iter("{http://www.w3.org/2000/svg}text")]
