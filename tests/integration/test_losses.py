"""A strategy that is killed is noticed by its leash, one that is stopped by its heartbeats.

The long form, with times, is ``python -m tests.fuzz.losses``.
"""

import pytest

from bridge.sessions import DEAD, SILENT
from tests.fuzz.losses import ORDERS, campaign
from tests.kit.daemons import SIMULATED, daemon


@pytest.mark.parametrize(
    ("how", "times", "misses", "cause"), [("kill", 8, 600, DEAD), ("stop", 2, 3, SILENT)]
)
def test_a_lost_strategys_orders_are_cancelled(how, times, misses, cause):
    with daemon(SIMULATED) as one:
        # With heartbeats that nobody would wait for, whoever is killed is found by the leash alone.
        one.environment["RINGBOOK__BRIDGE__HEARTBEAT_MISSES"] = str(misses)
        one.start()
        took, watcher = campaign(f"ipc://{one.run_path}", how, times, 1)
    assert len(took) == times
    assert watcher.causes[cause] >= times - (how == "stop")
    assert sum(watcher.reasons.values()) == ORDERS * times
    assert set(watcher.reasons) <= {"cancel_on_disconnect", "cancel_requested"}
