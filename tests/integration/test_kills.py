"""Every role of a daemon is killed under the load of a trader, whose own log is as the journal afterwards.

The long form is ``python -m tests.fuzz.kills``.
"""

from __future__ import annotations

from tests.fuzz.kills import Times, session


def test_whoever_is_killed_nothing_is_lost_and_nothing_comes_twice():
    plan = ["engine", "engine", "journaller", "engine", "feed", "bridge"]
    counts = session(plan, 4, Times(), gap=(0.0, 0.5))
    assert counts["executions"] > 100
    assert counts["fills"] > 10
