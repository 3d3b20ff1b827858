"""Subscribers that are stopped harm nobody, and are right again once they go on.

The long form is ``python -m tests.fuzz.readers``.
"""

from __future__ import annotations

from tests.fuzz.readers import campaign


def test_stopped_subscribers_cost_nobody_a_message():
    # More than the bridge keeps for replays, so that the stopped clients need a snapshot.
    result = campaign(12, 6000, 2.0, clients=2)
    assert result.well, result.text(12)
    assert result.changes >= 12_000
    assert result.heard.messages > 0
    assert len(result.healed_s) == 2
