"""Where the compiled matcher keeps things: far levels, the moving window, the index, what is full."""

from __future__ import annotations

import numpy as np
import pytest

from engine.core.errors import ConfigError
from engine.matching.engine import MatchingEngine
from engine.matching.naive import NaiveMatcher
from engine.matching.records import Code, Kind, command_dtype

BUY, SELL = 1, -1


def orders(ids, px, side=BUY, qty=1) -> np.ndarray:
    """New orders of owner 1."""
    commands = np.zeros(len(ids), command_dtype)
    commands["kind"] = Kind.ADD
    commands["owner"] = 1
    commands["order_id"] = ids
    commands["px"] = px
    commands["side"] = side
    commands["qty"] = qty
    return commands


@pytest.mark.parametrize("side", [BUY, SELL])
@pytest.mark.parametrize("step", [1, 63, 700, 1_000_003])
def test_levels_far_from_the_best_are_levels_too(side, step):
    engine = MatchingEngine(max_orders=1_001, window=1_024)
    px = np.random.default_rng(3).permutation(1_000) * step * side - 500 * step * side
    engine.apply(orders(np.arange(1, 1_001), px, side))
    engine.check_invariants()
    assert engine.depth(side, 1_000)["px"].tolist() == sorted(px.tolist(), reverse=side == BUY)
    taker = orders([5_000], -side * (2**31 - 1), -side, 1_000)
    assert engine.apply(taker)[0]["exec_qty"][0] == 1_000
    assert len(engine) == 0
    engine.check_invariants()


@pytest.mark.parametrize("factor", [1, 4, 8, 2**20, 2**32, 2**40, 2**53])
def test_ids_of_every_pattern_are_found_again(factor):
    engine = MatchingEngine(max_orders=2_000, events="none", levels=False)
    ids = np.arange(1, 2_001, dtype=np.uint64) * np.uint64(factor)
    assert not engine.apply(orders(ids, 100))[0]["code"].any()
    engine.check_invariants()
    cancels = np.zeros(2_000, command_dtype)
    cancels["kind"], cancels["owner"] = Kind.CANCEL, 1
    cancels["order_id"] = np.random.default_rng(1).permutation(ids)
    assert not engine.apply(cancels[:1_500])[0]["code"].any()
    engine.check_invariants()
    assert (engine.apply(cancels)[0]["code"] != 0).tolist() == [True] * 1_500 + [False] * 500
    assert len(engine) == 0
    engine.check_invariants()


def colliding(count: int, bits: int, last: bool) -> list[int]:
    """Ids that belong to the first or last eight of 2**bits places: what orders.pxd calls the bad case."""
    wanted = 2 ** (bits - 2) - 2 if last else 0
    found, order_id = [], 0
    while len(found) < count:
        order_id += 1
        x = order_id >> 2
        x = (x ^ (x >> 32)) * 0x9E3779B97F4A7C15 % 2**64
        if 0 <= (x >> (66 - bits)) - wanted < 2:
            found.append(order_id)
    return found


@pytest.mark.parametrize("last", [False, True])
def test_ids_made_to_collide_cost_a_scan_and_nothing_else(last):
    ids = colliding(2_400, 13, last)
    engine = MatchingEngine(max_orders=4_096, events="none", levels=False)
    for turn in range(3):
        assert not engine.apply(orders(ids, 100))[0]["code"].any()
        engine.check_invariants()
        assert engine.add(1, ids[turn], BUY, 100, 1)["code"] == Code.ORDER_ID_EXIST
        for order_id in ids[turn::3] + ids[(turn + 1) % 3 :: 3] + ids[(turn + 2) % 3 :: 3]:
            assert engine.cancel(1, order_id)["code"] == 0
        engine.check_invariants()
        assert engine.cancel(1, ids[0])["code"] == Code.ORDER_NOT_FOUND


def test_a_full_matcher_refuses_and_changes_nothing():
    engine = MatchingEngine(max_orders=3)
    engine.apply(orders([1, 2, 3], [98, 99, 100]))
    before = engine.state_hash()
    assert engine.add(1, 4, SELL, 100, 1)["code"] == Code.FULL
    assert engine.state_hash() == before
    engine.cancel(1, 2)
    assert engine.add(1, 4, SELL, 100, 1)["exec_qty"] == 1


@pytest.mark.parametrize("window", [1_024, 16_384])
def test_a_market_that_travels_far_keeps_to_the_oracle(window):
    rng = np.random.default_rng(11)
    commands = orders(np.arange(1, 1_201), 0, qty=rng.integers(1, 9, 1_200))
    commands["side"] = rng.choice([BUY, SELL], 1_200)
    drift = np.cumsum(rng.integers(-400, 500, 1_200))
    commands["px"] = drift - commands["side"] * (rng.integers(0, 30, 1_200) ** 3)
    ours, oracle = MatchingEngine(window=window), NaiveMatcher()
    results, events = ours.apply(commands)
    expected, told = oracle.apply(commands)
    assert results.tobytes() == expected.tobytes()
    assert events.tobytes() == told.tobytes()
    assert ours.state_hash() == oracle.state_hash()
    ours.check_invariants()


@pytest.mark.parametrize("events", ["all", "trades", "none"])
@pytest.mark.parametrize("levels", [True, False])
def test_what_is_put_out_changes_nothing_else(events, levels):
    rng = np.random.default_rng(5)
    commands = orders(np.arange(1, 2_001), rng.integers(90, 111, 2_000), rng.choice([BUY, SELL], 2_000))
    full, less = MatchingEngine(), MatchingEngine(events=events, levels=levels)
    results, _ = full.apply(commands)
    fewer, told = less.apply(commands)
    names = ["exec_qty", "exec_value", "leaves_qty", "px", "code"]
    assert (results[names] == fewer[names]).all()
    assert int(fewer["n_events"].sum()) == len(told) == less.last_seq
    assert (less.depth(BUY, 50) == full.depth(BUY, 50)).all()


def test_events_have_three_settings():
    with pytest.raises(ConfigError, match="'some'"):
        MatchingEngine(events="some")
