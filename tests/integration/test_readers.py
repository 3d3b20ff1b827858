"""Subscribers that are stopped harm nobody, and are right again once they go on.

The long form is ``python -m tests.fuzz.readers``.
"""

from __future__ import annotations

from tests.fuzz.readers import campaign


def test_stopped_subscribers_cost_nobody_a_message():
    # More than the bridge keeps for replays, so that the stopped client needs a snapshot.
    result = campaign(20, 4000, 1.5)
    assert result.heard == result.published
    assert result.changes == 6016
    assert result.gaps == 0
