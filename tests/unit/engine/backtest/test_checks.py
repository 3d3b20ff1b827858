"""The one pass over a recording, held against its rules in plain Python."""

from __future__ import annotations

import math

import numpy as np
import pytest

from engine.backtest.checks import FAULTS, first_fault
from engine.backtest.data import load_events
from engine.core.errors import DataError
from engine.core.types import EXCH_EVENT, LOCAL_EVENT, event_dtype

DEPTH, TRADE, SNAPSHOT, BBO = 1, 2, 4, 5


def row(px: float, qty: float, kind: int = DEPTH) -> np.ndarray:
    """One row that both sides see."""
    event = np.zeros(1, event_dtype)
    event["ev"] = EXCH_EVENT | LOCAL_EVENT | kind
    event["px"], event["qty"] = px, qty
    return event


def fits(px: float, qty: float, tick_size: float, lot_size: float) -> bool:
    """The rule for depth rows, with divisions."""
    ticks, lots = px / tick_size, qty / lot_size
    if not abs(ticks) < 4e18 or not 0 <= lots < 4e18:
        return False
    whole = math.floor(abs(ticks) + 0.5)
    return abs(abs(ticks) - whole) <= 1e-3 + 1e-12 * abs(ticks)


@pytest.mark.parametrize(
    ("px", "qty", "field", "words"),
    [
        (100.05, 1.0, "px", "multiple of the tick size 0.1"),
        (1e20, 1.0, "px", "too many ticks of 0.1"),
        (100.0, -0.001, "qty", "negative"),
        (100.0, 1e17, "qty", "too many lots of 0.001"),
    ],
)
@pytest.mark.parametrize("kind", [DEPTH, SNAPSHOT, BBO])
def test_misfit_names_file_row_and_field(px, qty, field, words, kind):
    events = np.concatenate([row(100.0, 1.0), row(px, qty, kind)])
    with pytest.raises(DataError, match=words) as error:
        load_events(events, name="a.npz", sizes=(0.1, 0.001))
    assert "a.npz" in str(error.value)
    assert "row 1" in str(error.value)
    assert field in str(error.value)


def test_only_depth_has_to_fit_and_only_when_asked():
    events = np.concatenate([row(100.05, 1.0, TRADE), row(100.05, -1.0, TRADE)])
    assert load_events(events, sizes=(0.1, 0.001)) is events
    off_grid = row(100.05, 1.0)
    assert load_events(off_grid) is off_grid


@pytest.mark.parametrize("tick_size", [0.1, 0.25, 1e-5, 1 / 3, 7.0])
def test_sieve_lets_nothing_pass_that_the_rule_refuses(tick_size):
    random = np.random.default_rng(5)
    sizes = (tick_size, 0.001)
    for scale in (1.0, 1e6, 1e12, 1e15, 1e18, 4e18, 1e19):
        ticks = random.integers(-1000, 1000, 300) + scale * random.choice([-1.0, 1.0], 300)
        off = random.choice([0.0, 0.5, 0.9e-3, 0.95e-3, 1e-3, 1.05e-3, -0.999e-3, -1.001e-3], 300)
        for px in (ticks + off) * tick_size:
            found, fault, _ = first_fault(row(px, 1.0), None, sizes)
            assert (found == -1) == fits(px, 1.0, *sizes), (px, FAULTS.get(fault))
