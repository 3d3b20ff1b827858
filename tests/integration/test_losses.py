"""A strategy that is killed is noticed by its leash, one that is stopped by its heartbeats.

The long form, with times, is ``python -m tests.fuzz.losses``.
"""

import pytest

from bridge.sessions import DEAD, SILENT
from tests.fuzz.losses import JOURNALLED, ORDERS, campaign, taken_in
from tests.kit.daemons import daemon, until


@pytest.mark.parametrize(
    ("how", "times", "misses", "cause"), [("kill", 8, 600, DEAD), ("stop", 2, 3, SILENT)]
)
def test_a_lost_strategys_orders_are_cancelled(how, times, misses, cause):
    with daemon() as one:
        journals = one.folder / "journals"
        one.config.write_text(JOURNALLED.format(name=one.name, journals=journals))
        # With heartbeats that nobody would wait for, whoever is killed is found by the leash alone.
        one.environment["RINGBOOK__BRIDGE__HEARTBEAT_MISSES"] = str(misses)
        one.start()
        moments, heard, watcher = campaign(f"ipc://{one.run_path}", how, times, 1)
        until(lambda: len(taken_in(journals)) == times, "the journal of all losses")
        losses = taken_in(journals)
    assert len(moments) == len(heard) == times
    assert all(lost < then < lost + h for lost, then, h in zip(moments, losses, heard, strict=True))
    assert watcher.causes[cause] >= times - (how == "stop")
    assert sum(watcher.reasons.values()) == ORDERS * times
    assert set(watcher.reasons) <= {"cancel_on_disconnect", "cancel_requested"}
