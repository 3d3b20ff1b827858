"""The matcher's plain orders: queues, trades, answers and events."""

from __future__ import annotations

import numpy as np
import pytest

from engine.core.errors import ConfigError, InvalidOrder
from engine.matching.engine import MatchingEngine
from engine.matching.records import EventKind, Kind, OrderType, command_dtype

BUY, SELL = 1, -1


def told(engine: MatchingEngine) -> list[tuple]:
    """The events that were not taken yet, as (kind, order id, price, quantity)."""
    return [
        (EventKind(e["kind"]).name, int(e["order_id"]), int(e["px"]), int(e["qty"]))
        for e in engine.take_events()
    ]


def test_an_order_rests_and_is_taken_in_time_order():
    engine = MatchingEngine(max_orders=10)
    engine.add(1, 1, BUY, 100, 5)
    engine.add(2, 2, BUY, 100, 5)
    told(engine)
    result = engine.add(3, 3, SELL, 99, 7)
    assert (result["code"], result["exec_qty"], result["exec_value"], result["leaves_qty"]) == (0, 7, 700, 0)
    assert told(engine) == [
        ("ACCEPTED", 3, 99, 7),
        ("TRADE", 1, 100, 5),
        ("REMOVED", 1, 100, 0),
        ("TRADE", 2, 100, 2),
        ("CHANGED", 2, 100, 3),
        ("LEVEL", 0, 100, 3),
    ]
    assert [engine.position(owner) for owner in (1, 2, 3)] == [5, 2, -7]
    assert (engine.last_px, engine.best(BUY), engine.best(SELL)) == (100, 100, None)
    engine.check_invariants()


def test_a_market_order_takes_and_its_rest_ends():
    engine = MatchingEngine(max_orders=10)
    engine.add(1, 1, SELL, 100, 2)
    engine.add(1, 2, SELL, 103, 2)
    told(engine)
    result = engine.add(2, 3, BUY, 0, 9, order_type=OrderType.MARKET, life=3)
    assert (result["code"], result["exec_qty"], result["exec_value"]) == (0, 4, 406)
    assert told(engine)[-3:] == [("ENDED", 3, 0, 5), ("LEVEL", 0, 100, 0), ("LEVEL", 0, 103, 0)]
    assert engine.add(2, 4, BUY, 0, 9, order_type=OrderType.MARKET, life=3)["code"] == 117


def test_commands_in_an_array_do_what_they_do_one_by_one():
    rng = np.random.default_rng(7)
    commands = np.zeros(3_000, command_dtype)
    commands["kind"] = rng.choice(
        [Kind.ADD, Kind.CANCEL, Kind.MODIFY, Kind.REDUCE], 3_000, p=[0.6, 0.2, 0.1, 0.1]
    )
    commands["order_id"] = rng.integers(1, 300, 3_000)
    commands["px"] = rng.integers(90, 111, 3_000)
    commands["qty"] = rng.integers(1, 20, 3_000)
    commands["side"] = rng.choice([BUY, SELL], 3_000)
    commands["owner"] = 1
    together, alone = MatchingEngine(max_orders=200), MatchingEngine(max_orders=200)
    results, events = together.apply(commands)
    for i in range(len(commands)):
        result, told_now = alone.apply(commands[i : i + 1])
        assert result[0] == results[i]
        seq = int(told_now["seq"][-1]) if len(told_now) else alone.last_seq
        assert seq == alone.last_seq
        alone.check_invariants()
    assert together.state_hash() == alone.state_hash()
    assert (events["seq"] == np.arange(1, len(events) + 1)).all()


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        (lambda: MatchingEngine(max_orders=0), ConfigError),
        (lambda: MatchingEngine(window=1000), ConfigError),
        (lambda: MatchingEngine(allocation=3), ConfigError),
        (lambda: MatchingEngine().apply(np.zeros(3)), InvalidOrder),
        (lambda: MatchingEngine().apply(np.zeros(6, command_dtype)[::2]), InvalidOrder),
        (lambda: MatchingEngine().apply(np.zeros(2, command_dtype), np.zeros(2)), InvalidOrder),
        (lambda: MatchingEngine().add(1, -1, BUY, 1, 1), InvalidOrder),
        (lambda: MatchingEngine().add(1, 1, BUY, 1.5, 1), InvalidOrder),
        (lambda: MatchingEngine().best(0), InvalidOrder),
        (lambda: MatchingEngine().position(0), InvalidOrder),
    ],
)
def test_misuse_raises_a_named_error(wrong, error):
    with pytest.raises(error):
        wrong()
