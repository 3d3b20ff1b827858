"""What a recording's participants did: by hand on a few rows, and what is known of the real recording."""

import tomllib

import numpy as np
import pytest

from engine.core.errors import DataError
from engine.core.types import event_dtype
from engine.matching.fit import fit
from engine.matching.laws import law_of, law_text
from engine.matching.observe import observe
from tests.kit.recordings import events

BUY, SELL = 1 << 29, 1 << 28
BOTH = 3 << 30
SECOND = 1_000_000_000


def rows(*items):
    """(kind, side, time in ms, tick, lots) each."""
    out = np.zeros(len(items), event_dtype)
    for row, (kind, side, ms, tick, lots) in zip(out, items, strict=True):
        row["ev"] = kind | side | BOTH
        row["exch_ts"] = SECOND + ms * 1_000_000
        row["local_ts"] = row["exch_ts"] + 2_000_000
        row["px"], row["qty"] = tick * 0.5, lots * 0.01
    return out


def market():
    return rows(
        (3, BUY, 0, 0, 0),
        (3, SELL, 0, 0, 0),
        (4, BUY, 0, 1000, 50),
        (4, BUY, 0, 998, 20),
        (4, SELL, 0, 1001, 40),
        (4, SELL, 0, 1003, 60),
        (1, BUY, 100, 1000, 70),  # 20 placed at the best
        (2, BUY, 150, 1001, 40),  # a buy takes the best ask and a bit of the next
        (2, BUY, 150, 1003, 10),
        (1, SELL, 200, 1001, 0),  # passed: it all traded
        (1, SELL, 200, 1003, 45),  # 10 traded, 5 cancelled, 2 behind the best before
        (1, BUY, 200, 1002, 5),  # the new best
        (1, BUY, 2000, 998, 0),  # 20 cancelled, 4 behind
    )


def test_changes_by_hand():
    seen = observe(market(), 0.5, 0.01)
    assert seen.change_lots.tolist() == [20, -5, 5, -20]
    assert seen.change_distance.tolist() == [0, 2, 0, 4]
    assert seen.take_side.tolist() == [1]
    assert seen.take_lots.tolist() == pytest.approx([50])
    assert seen.take_sweep.tolist() == [2]
    assert (seen.passed_lots, seen.passed_traded) == (pytest.approx(40), pytest.approx(40))
    assert seen.bid.tolist() == [1000, 1000, 1002, 1002]
    assert seen.ask.tolist() == [1001, 1001, 1003, 1003]
    assert seen.latency.tolist() == [2_000_000] * 4
    assert seen.seconds == 2.0


def test_after_a_clear_nothing_is_known_of_a_level():
    again = rows((3, BUY, 2100, 0, 0), (1, BUY, 2200, 1000, 3), (1, BUY, 2300, 1000, 9))
    seen = observe(np.concatenate((market(), again)), 0.5, 0.01)
    assert seen.change_lots.tolist() == [20, -5, 5, -20, 6]


def test_too_little_is_refused():
    with pytest.raises(DataError, match="less than a second"):
        observe(market()[:9], 0.5, 0.01)
    one_sided = market()
    with pytest.raises(DataError, match="never has both sides"):
        observe(one_sided[(one_sided["ev"] & SELL) == 0], 0.5, 0.01)
    with pytest.raises(DataError, match="needs 50"):
        fit(observe(market(), 0.5, 0.01), name="x", source="y")


@pytest.mark.recording
def test_the_real_recording_makes_a_law():
    seen = observe(events("usdm"), 0.1, 0.001)
    law = fit(seen, name="real", source="usdm")
    assert law == fit(seen, name="real", source="usdm")
    assert law_text(law_of(tomllib.loads(law_text(law)))) == law_text(law)
    assert 300 < law.provenance["seconds"] < 400
    assert 0.95 < law.measured["spread_one_tick"] <= 1.0
    assert 0.2 < sum(law.takers.self_excite) < 0.9
    assert law.measured["sign_autocorrelation"][0] > 0.1
    # Most of what the market moves through trades; the rest is pulled.
    assert 0.5 < law.measured["passed_levels_traded"] < 1.0
