"""Any commands: every matcher answers like the oracle, and what its events tell is its state."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.matching.naive import NaiveMatcher
from engine.matching.records import AllocationRule, Code, Kind, Life, OrderType, Phase, command_dtype
from tests.fuzz.matching_compare import Difference, compare, describe, shrink
from tests.fuzz.matching_coverage import Coverage
from tests.fuzz.matching_flow import draw
from tests.kit.matching import BUY, IMPLEMENTATIONS, SELL, Planted

pytestmark = pytest.mark.parametrize("name", sorted(IMPLEMENTATIONS))

OWNERS = 3
EDGES = [0, -1, 2**31 - 1, 2**31, -(2**31), 2**32 - 1, 2**32, 2**63 - 1, -(2**63)]


def mostly(usual, *rare):
    """The usual values, and now and then one that is not."""
    return st.one_of(usual, usual, usual, usual, st.sampled_from(rare))


ids = mostly(st.integers(1, 12), 0, 2**64 - 1)
prices = mostly(st.integers(96, 104), *EDGES)
quantities = mostly(st.integers(1, 12), *EDGES)
owners = mostly(st.integers(1, OWNERS), 0, OWNERS + 1)
common = {"order_id": ids, "owner": owners, "ts": st.sampled_from([0, 0, 0, 1, 5, -1])}
ADD = st.fixed_dictionaries(
    {
        **common,
        "kind": st.just(Kind.ADD),
        "side": mostly(st.sampled_from([BUY, SELL]), 0, 2),
        "px": prices,
        "qty": quantities,
        "stop_px": prices,
        "expire_ts": st.integers(0, 40),
        "display_qty": st.sampled_from([0, 0, 0, 1, 2, 5, 2**32 - 1]),
        "order_type": mostly(st.sampled_from([*OrderType, OrderType.LIMIT]), 4),
        "time_in_force": mostly(st.sampled_from([*Life, Life.GTC, Life.IOC]), 6),
        "self_trade": mostly(st.integers(0, 4), 5),
        "flags": mostly(st.sampled_from([0, 0, 1, 2, 4]), 3, 5, 6, 7, 8),
    }
)
CHANGE = st.fixed_dictionaries(
    {
        **common,
        "kind": st.sampled_from([Kind.CANCEL, Kind.MODIFY, Kind.MODIFY, Kind.REDUCE]),
        "px": prices,
        "qty": quantities,
        "stop_px": prices,
    }
)
REST = st.one_of(
    st.fixed_dictionaries({"kind": st.just(Kind.PHASE), "qty": mostly(st.sampled_from(list(Phase)), -1, 4)}),
    st.fixed_dictionaries({"kind": st.just(Kind.BANDS), "px": prices, "stop_px": prices}),
    st.fixed_dictionaries({"kind": st.just(Kind.MASS_CANCEL), "owner": owners, "side": st.integers(-1, 2)}),
    st.fixed_dictionaries({"kind": mostly(st.just(Kind.TIME), 0, 9), "ts": st.integers(0, 10)}),
)
COMMANDS = st.lists(st.one_of(ADD, ADD, ADD, CHANGE, REST), min_size=1, max_size=40)
SETTINGS = st.fixed_dictionaries(
    {
        "allocation": st.sampled_from(list(AllocationRule)),
        "top_share": st.sampled_from([0, 40, 100]),
        "min_allocation": st.sampled_from([0, 2]),
        "protection_ticks": st.sampled_from([0, 2]),
        "max_orders": st.sampled_from([3, 64]),
        "levels": st.booleans(),
    }
)


def rows_of(commands):
    """The commands as an array; a ``ts`` is a step from the one before."""
    rows = np.zeros(len(commands), command_dtype)
    now = 0
    for row, fields in zip(rows, commands, strict=True):
        for field, value in fields.items():
            row[field] = value
        row["ts"] = now + fields.get("ts", 0)
        now = max(now, int(row["ts"]))
    return rows


@settings(max_examples=150, deadline=None)
@given(matcher_settings=SETTINGS, commands=COMMANDS)
def test_every_answer_is_the_oracles_and_the_events_tell_the_state(name, matcher_settings, commands):
    rows = rows_of(commands)
    matcher_settings["max_owners"] = OWNERS
    fast, slow = IMPLEMENTATIONS[name](**matcher_settings), NaiveMatcher(**matcher_settings)
    for item in compare(fast, slow, rows, batch=1, audit=True):
        assert not isinstance(item, Difference), "\n".join([*map(describe, rows), item.what])


@settings(max_examples=100, deadline=None)
@given(matcher_settings=SETTINGS, commands=COMMANDS)
def test_a_refused_command_changes_nothing(name, matcher_settings, commands):
    matcher = IMPLEMENTATIONS[name](**matcher_settings, max_owners=OWNERS)
    rows = rows_of(commands)
    rows["ts"] = np.minimum(rows["ts"], 0)
    before = matcher.state_hash()
    for number in range(len(rows)):
        results, events = matcher.apply(rows[number : number + 1])
        after = matcher.state_hash()
        if results["code"][0] != Code.OK:
            assert (after, len(events)) == (before, 0)
        before = after


@pytest.mark.parametrize("chunk", range(6))
def test_random_chunks_of_the_differential_run(name, chunk):
    matcher_settings, commands = draw(2, chunk, 1024)
    fast, slow = IMPLEMENTATIONS[name](**matcher_settings), NaiveMatcher(**matcher_settings)
    coverage = Coverage()
    for item in compare(fast, slow, commands, audit=matcher_settings["events"] == "all"):
        assert not isinstance(item, Difference), item.what
        coverage.take(matcher_settings, *item)
    assert coverage.commands == 1024
    assert coverage.counts["code ADD OK"] > 20


def test_a_planted_fault_is_found_and_cut_down_to_few_commands(name):
    def fails(commands):
        pair = Planted(max_owners=4), IMPLEMENTATIONS[name](max_owners=4)
        return any(isinstance(item, Difference) for item in compare(*pair, commands, batch=len(commands)))

    for chunk in range(40):
        _, commands = draw(3, chunk, 1024)
        if fails(commands):
            few = shrink(fails, commands)
            kinds = [Kind(int(kind)).name for kind in few["kind"]]
            assert sorted(kinds)[:2] == ["ADD", "ADD"]
            assert kinds[-1] in ("REDUCE", "MODIFY", "ADD")
            assert len(few) <= 4
            return
    pytest.fail("the planted fault was not found")
