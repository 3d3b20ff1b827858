"""The simulator's short form, and bugs planted for it to find."""

from __future__ import annotations

import itertools
import math
import random
import re

import msgspec
import numpy as np
import pytest

from engine.core.types import Status, order_dtype
from engine.runtime.records import Kind, order_record_dtype, record_dtype
from tests.simulation import run
from tests.simulation.plan import Plan
from tests.simulation.run import main, simulate
from tests.simulation.world import World

SEEDS, SECONDS = 2000, 8.0
"""The short form: so many worlds, or as many as a slow machine gets to in that time."""


def test_no_world_breaks_an_invariant():
    found = simulate(range(SEEDS), seconds=SECONDS)
    assert found.error is None, f"{found.error!r}; repeat it with: {found.command}"
    for what in ("orders", "fills", "denied"):
        assert found.tally[what] > found.worlds / 2, what


def test_a_world_with_a_market_within_adds_up_to_nothing():
    seeds = [seed for seed in range(300) if Plan.of(random.Random(seed)).market][:12]
    found = simulate(seeds)
    assert found.error is None, f"{found.error!r}; repeat it with: {found.command}"
    assert found.tally["fills"] > 0


def test_an_order_may_become_smaller_under_a_limit_that_was_lowered_since():
    found = simulate([26_119])
    assert found.error is None, f"{found.error!r}; repeat it with: {found.command}"


def test_an_engine_that_dies_comes_back_as_it_was():
    found = simulate(with_journal(8))
    assert found.error is None, f"{found.error!r}; repeat it with: {found.command}"
    assert found.tally["deaths"] > 8


def test_an_engine_comes_back_from_snapshots_too_and_where_old_segments_have_gone():
    found = simulate(with_journal(30))
    assert found.error is None, f"{found.error!r}; repeat it with: {found.command}"
    assert found.tally["from_snapshots"] > 10
    assert found.tally["removed"] > 1


def with_journal(n):
    """The first seeds whose worlds keep a journal."""
    seeds = (seed for seed in range(10_000) if Plan.of(random.Random(seed)).journal)
    return list(itertools.islice(seeds, n))


# --- bugs -------------------------------------------------------------------------------------------


def lost_request(world):
    """The bridge took a request, and the engine never gets it."""
    if world.step_number == 5 and len(world.rings["orders_in"]):
        world.rings["orders_in"].pop()


def request_from_nowhere(world):
    """The engine gets a request that no trader sent, by a number of its own."""
    trader = world.traders["ada"]
    if world.step_number == 4 and trader.connected:
        record = world._request(trader)
        record["payload"].view(order_record_dtype)["order"]["req"] = Status.NEW
        record["payload"].view(order_record_dtype)["order"]["client_order_id"] = 1_000_000
        world.rings["orders_in"].push(record.tobytes())


def limits_forgotten(world):
    """The limits of everybody are gone, and nobody was told."""
    for name in world.kernel.strategy_names:
        world.kernel.update_limits(name, "", max_position=math.inf)


def orders_left_behind(world):
    """A trader who hangs up leaves the orders at the venue."""
    kernel = world.kernel
    world.engine._commands._handlers["disconnect"] = lambda message: kernel.disconnect_external(
        message["strategy_id"], "keep"
    )


def filled_twice(world):
    """The venue reports the execution of an order that it goes on to hold."""
    for order_id, one in world.ledger.live.items():
        if one.req == Status.NONE and one.leaves == one.qty and not one.changed:
            report = np.zeros(1, order_dtype)
            report["order_id"], report["client_order_id"], report["strategy"] = order_id, one.client, one.slot
            report["side"], report["qty"], report["price_tick"] = one.side, one.qty, 600_000
            report["status"], report["exec_qty"], report["cum_exec_qty"] = Status.FILLED, one.qty, one.qty
            report["exec_price_tick"] = 600_000
            world.kernel.report(report, world.kernel.now)
            world.engine.drain()
            return


def update_swallowed(world):
    """One record of what happened to an order is lost between the engine and the bridge."""
    records = world.rings["orders_out"].pop_many()
    kinds = records.view(record_dtype).reshape(-1)["kind"]
    keep = np.ones(len(records), bool)
    keep[np.flatnonzero(kinds == Kind.ORDER)[:1]] = False
    world.rings["orders_out"].push_many(records[keep])


def changed_behind_the_journal(world):
    """Something changes the engine that its journal knows nothing of."""
    if world.step_number == 2:
        world.kernel.pause("mm")


def snapshot_without_the_venue(world):
    """What is on its way to the venue, and rests there, is not written down: it is as at the beginning."""
    if world.kept is not None and world.step_number == 1:
        venue = world._another().driver.venue.written()
        world.kept.spoil = lambda image: msgspec.structs.replace(image, venue=venue)


def removed_too_early(world):
    """Segments go which the older snapshot does not include: the newer one needs them here."""
    if world.kept is not None and world.step_number == 1:
        world.kept.needed = lambda seq: seq + 10**9


@pytest.mark.parametrize(
    ("plant", "said"),
    [
        (snapshot_without_the_venue, "comes back as|the run had|still live after a stop"),
        (removed_too_early, "what was before it has been removed"),
    ],
)
def test_a_bug_of_snapshots_and_of_removal_is_found(plant, said):
    found = simulate(with_journal(40), plant)
    assert re.search(said, str(found.error)), found.error
    assert simulate([found.seed]).error is None


def test_what_the_journal_does_not_know_is_found():
    found = simulate(with_journal(20), changed_behind_the_journal)
    assert re.search(r"comes back as|the run had", str(found.error))
    assert simulate([found.seed]).error is None


@pytest.mark.parametrize(
    ("plant", "said"),
    [
        (lost_request, r"order \d+ was taken from it once and answered 0 times"),
        (request_from_nowhere, r"orders that no trader sent: \[\(\d, 1000000\)\]"),
        (limits_forgotten, r"order \d+ could lead to \d+, \d+ may be"),
        (orders_left_behind, r"(ada|bob) has left, and nobody cancels its order"),
        (filled_twice, r"order \d+ has ended and comes back as"),
        (update_swallowed, r"orders are live, \d+ by their updates|order \d+ begins as"),
    ],
)
def test_a_planted_bug_is_found(plant, said):
    found = simulate(range(400), plant)
    assert re.search(said, str(found.error))
    assert found.command == f"python -m tests.simulation.run --seed {found.seed}"
    # The seed alone repeats it, and without the bug that world is well.
    assert str(simulate([found.seed], plant).error) == str(found.error)
    assert simulate([found.seed]).error is None


def test_the_command_says_what_fails_and_how_to_repeat_it(monkeypatch, capsys):
    class Broken(World):
        def check(self):
            super().check()
            assert self.step_number < 6, "the sixth step"

    assert main(["--seeds", "3"]) == 0
    assert "3 worlds" in capsys.readouterr().out
    monkeypatch.setattr(run, "World", Broken)
    assert main(["--seeds", "50", "--start", "10"]) == 1
    out = capsys.readouterr().out
    seed = out.rsplit(None, 1)[1]
    assert f"seed {seed} fails: AssertionError: the sixth step" in out
    assert main(["--seed", seed]) == 1
