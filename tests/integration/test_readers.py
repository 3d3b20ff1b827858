"""Subscribers that are stopped harm nobody, and are right again once they go on.

The long forms are ``python -m tests.fuzz.readers`` and ``python -m tests.fuzz.unnoticed``.
"""

from __future__ import annotations

from tests.fuzz import unnoticed
from tests.fuzz.readers import campaign
from tests.kit.quiet_engine import Timing


def test_stopped_subscribers_cost_nobody_a_message():
    # More than the bridge keeps for replays, so that the stopped clients need a snapshot.
    result = campaign(12, 6000, 2.0, clients=2)
    assert result.well, result.text(12)
    assert result.changes >= 12_000
    assert result.heard.messages > 0
    assert len(result.healed_s) == 2


def test_an_engine_is_timed_beside_stopped_subscribers(tmp_path):
    result = unnoticed.campaign(tmp_path, 5, 5000, Timing(1, 0.3))
    assert result.engine.steps > 0
    taken = (result.engine.quiet, result.engine.control, result.engine.stranger, result.engine.loaded)
    assert all(len(values) == 1 and values[0] > 0 for values in taken)
    assert result.rate > 0
    assert "p99.9" in result.text()
