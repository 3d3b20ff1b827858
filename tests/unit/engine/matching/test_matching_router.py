"""The router: each command at its instrument, mass cancels and the like at all of them."""

from __future__ import annotations

import numpy as np
import pytest

from engine.core.errors import ConfigError, InvalidOrder
from engine.matching.engine import MatchingEngine
from engine.matching.records import Code, EventKind, Kind, command_dtype
from engine.matching.router import EVERY, MatchingRouter

UNKNOWN_INSTRUMENT = 81  # core/codes.pxd


def market(n: int = 3) -> MatchingRouter:
    return MatchingRouter(MatchingEngine(max_orders=10, instrument=i, levels=False) for i in range(n))


def commands(*rows: dict) -> np.ndarray:
    table = np.zeros(len(rows), command_dtype)
    for at, row in enumerate(rows):
        for name, value in ({"kind": Kind.ADD, "owner": 1, "qty": 1, "px": 100, "side": 1} | row).items():
            table[at][name] = value
    return table


def test_each_instrument_has_its_own_book_and_ids():
    router = market()
    results, events = router.apply(
        commands(
            {"order_id": 7}, {"order_id": 7, "instrument": 2}, {"order_id": 7, "instrument": 2, "side": -1}
        )
    )
    assert results["code"].tolist() == [Code.OK, Code.OK, Code.ORDER_ID_EXIST]
    assert events["instrument"].tolist() == [0, 0, 2, 2]
    assert events["seq"].tolist() == [1, 2, 1, 2]
    assert [len(engine) for engine in router.engines] == [1, 0, 1]


def test_a_mass_cancel_goes_over_all_instruments():
    router = market()
    router.apply(commands(*({"order_id": i + 1, "instrument": i % 3, "owner": 1 + i % 2} for i in range(9))))
    results, events = router.apply(
        commands({"kind": Kind.MASS_CANCEL, "owner": 1, "side": 0, "instrument": EVERY})
    )
    ended = events[events["kind"] == EventKind.ENDED]
    assert results["code"][0] == Code.OK
    assert int(results["n_events"][0]) == len(events) == 10
    assert ended["order_id"].tolist() == [1, 7, 5, 3, 9]
    assert [len(engine) for engine in router.engines] == [1, 2, 1]


def test_what_cannot_be_routed_is_refused():
    router = market()
    results, events = router.apply(
        commands({"order_id": 1, "instrument": 3}, {"order_id": 1, "instrument": EVERY})
    )
    assert results["code"].tolist() == [UNKNOWN_INSTRUMENT, Code.INVALID_REQUEST]
    assert len(events) == 0
    with pytest.raises(InvalidOrder):
        router.apply(np.zeros(2))
    with pytest.raises(ConfigError):
        MatchingRouter([])
    with pytest.raises(ConfigError):
        MatchingRouter([MatchingEngine(instrument=1)])
