"""A law's market made as busy as its recording, with the packaged law as the example."""

from dataclasses import replace

import numpy as np
import pytest

from engine.core.types import event_dtype
from engine.matching.calibrate import SECONDS, calibrated, market_orders
from engine.matching.laws import load_law
from engine.matching.observe import observe
from engine.matching.population import Population


def test_market_orders_are_counted_as_in_a_recording():
    law = load_law(None)
    plain = replace(law, fair=replace(law.fair, activity=0.0, news=0.0))
    market = Population(
        plain,
        seed=1,
        start_ts=0,
        speed=1.0,
        tick_size=law.market.tick_size,
        lot_size=law.market.lot_size,
        start_tick=round(law.market.start_price / law.market.tick_size),
    )
    rows = np.zeros(4_000_000, event_dtype)
    n = market.fill(rows, SECONDS * 1_000_000_000)
    seen = observe(rows[:n], law.market.tick_size, law.market.lot_size)
    assert market_orders(law) == len(seen.take_ts)


def test_the_packaged_law_has_as_many_market_orders_as_its_recording():
    law = load_law(None)
    recorded = law.measured["market_orders_per_second"]
    assert market_orders(law) / SECONDS == pytest.approx(recorded, rel=0.1)


@pytest.mark.parametrize("rate", [8.0, 12.0])
def test_a_market_that_is_too_busy_is_calmed_to_the_rate(rate):
    law = load_law(None)
    calm, factor = calibrated(law, rate)
    assert 0.0 <= factor < 1.0
    assert market_orders(calm) / SECONDS == pytest.approx(rate, rel=0.1)
    assert calm.takers.self_excite == pytest.approx([factor * x for x in law.takers.self_excite], rel=1e-4)
    assert replace(calm, takers=law.takers) == law


def test_a_market_with_too_few_is_left_as_it_was_fitted():
    law = load_law(None)
    same, factor = calibrated(law, 100.0)
    assert (same, factor) == (law, 1.0)
