"""docs/matching.md, answers: every code and its precedence, the fields of events, levels, the hash."""

import numpy as np
import pytest

from engine.matching.naive import NaiveMatcher
from engine.matching.records import (
    POST_ONLY,
    REDUCE_ONLY,
    AllocationRule,
    Code,
    EventKind,
    Kind,
    Life,
    OrderType,
    Phase,
    command_dtype,
)
from tests.kit.matching import BUY, IMPLEMENTATIONS, SELL, Desk, command, text

EDGE = 2**31 - 1
LARGEST = 2**32 - 1
GOOD = {"order_id": 5, "owner": 1, "side": BUY, "px": 100, "qty": 5}
STOP = {"order_type": OrderType.STOP, "stop_px": 120}


@pytest.mark.parametrize(
    "fields",
    [
        {"owner": 0},
        {"owner": 5},
        {"order_id": 0},
        {"side": 0},
        {"side": 2},
        {"side": -2},
        {"order_type": 4},
        {"order_type": 255},
        {"time_in_force": 6},
        {"time_in_force": 255},
        {"flags": 8},
        {"flags": 128},
        {"self_trade": 5},
        *({"order_type": OrderType.MARKET, "time_in_force": life} for life in Life if life not in (2, 3)),
        *({**STOP, "time_in_force": life} for life in (Life.GTX, Life.FOK, Life.IOC)),
        *({**STOP, "order_type": 3, "time_in_force": life} for life in (Life.GTX, Life.FOK, Life.IOC)),
        *({"flags": flag, "time_in_force": life} for flag in (1, 2) for life in (Life.FOK, Life.IOC)),
        *({"flags": flag, "order_type": 1, "time_in_force": Life.IOC} for flag in (1, 2)),
        *({**STOP, "flags": flag} for flag in (1, 2, 4)),
        {**STOP, "order_type": OrderType.STOP_LIMIT, "flags": REDUCE_ONLY},
    ],
)
def test_requests_that_make_no_sense(make_desk, fields):
    desk = make_desk(max_owners=4)
    # With everything else wrong too: this is the first fault.
    fields = {**GOOD, "qty": 0, "px": EDGE + 1, **fields}
    assert desk.send(Kind.ADD, **fields).code == Code.INVALID_REQUEST
    fine = {**fields, "qty": 5, "px": 100}
    assert desk.send(Kind.ADD, **fine).code == Code.INVALID_REQUEST


@pytest.mark.parametrize("kind", [0, 9, 255])
def test_an_unknown_kind(desk, kind):
    assert desk.send(kind, **GOOD).code == Code.INVALID_REQUEST


@pytest.mark.parametrize(
    "fields",
    [
        {"qty": 0},
        {"qty": -1},
        {"qty": LARGEST + 1},
        {"display_qty": 6},
        {"qty": 5001, "display_qty": 5},
        {"order_type": OrderType.MARKET, "time_in_force": Life.IOC, "display_qty": 1},
        {**STOP, "display_qty": 1},
    ],
)
def test_quantities_that_are_none_before_prices(desk, fields):
    assert desk.send(Kind.ADD, **{**GOOD, "px": EDGE + 1, "stop_px": EDGE + 1, **fields}).code == Code.BAD_QTY


def test_the_largest_numbers_are_taken(desk):
    assert desk.buy(2**64 - 1, LARGEST, -EDGE).code == Code.OK
    answer = desk.sell(2**64 - 2, LARGEST, -EDGE, display_qty=LARGEST)
    assert (answer.exec_qty, answer.exec_value) == (LARGEST, -EDGE * LARGEST)


@pytest.mark.parametrize(
    "fields",
    [
        {"px": EDGE + 1},
        {"px": -EDGE - 1},
        {"px": -(2**63)},
        {**STOP, "stop_px": EDGE + 1},
        {**STOP, "order_type": OrderType.STOP_LIMIT, "px": EDGE + 1},
        {**STOP, "order_type": OrderType.STOP_LIMIT, "stop_px": -EDGE - 1},
    ],
)
def test_prices_that_are_none_before_what_is_live(desk, fields):
    desk.buy(5, 1, 90)
    assert desk.send(Kind.ADD, **{**GOOD, **fields}).code == Code.BAD_TICK
    assert desk.send(Kind.ADD, **{**GOOD, **fields, "px": 100, "stop_px": 120}).code == Code.ORDER_ID_EXIST


def test_fields_without_a_meaning_are_not_looked_at(desk):
    desk.sell(1, 9, 100, owner=2)
    wild = {"px": 2**63 - 1, "stop_px": -(2**63), "expire_ts": -1}
    assert desk.market(2, BUY, 1, **wild).code == Code.OK
    assert desk.add(3, BUY, 1, **{**wild, **STOP}).code == Code.OK
    assert desk.buy(4, 1, 90, stop_px=2**63 - 1, expire_ts=-1).code == Code.OK
    assert desk.cancel(4, side=9, qty=-1, order_type=99, flags=255, px=2**63 - 1).code == Code.OK
    assert desk.send(Kind.TIME, **{**wild, "owner": 99, "order_id": 0}).code == Code.OK


def test_faults_in_their_order(make_desk):
    """Takes one fault after the other off a command that has them all, and reads what is left."""
    desk = make_desk(max_orders=3, max_owners=4)
    desk.sell(1, 5, 110, owner=2)
    desk.buy(5, 5, 100, owner=3)
    desk.buy(6, 5, 99)
    desk.bands(90, 115)
    desk.phase(Phase.HALTED, ts=50)
    all_wrong = {
        "ts": 49,
        "kind": Kind.ADD,
        "owner": 9,
        "order_id": 5,
        "side": BUY,
        "px": EDGE + 1,
        "qty": 0,
        "time_in_force": Life.GTD,
        "expire_ts": 1,
        "flags": REDUCE_ONLY | POST_ONLY,
    }
    cures = [
        (Code.UNSORTED, {"ts": 50}),
        (Code.INVALID_REQUEST, {"owner": 1}),
        (Code.BAD_QTY, {"qty": 5}),
        (Code.BAD_TICK, {"px": 116}),
        (Code.ORDER_ID_EXIST, {"order_id": 7}),
        (Code.PHASE, "continuous"),
        (Code.PRICE_BAND, {"px": 112}),
        (Code.EXPIRED, {"expire_ts": 60}),
        (Code.REDUCE_ONLY, "short"),
        (Code.FULL, "room"),
        (Code.POST_ONLY, {"px": 105}),
        (Code.OK, {}),
    ]
    fields = dict(all_wrong)
    for code, cure in cures:
        answer = desk.send(**fields)
        assert answer.code == code
        assert code == Code.OK or answer[1:] == (0, 0, 0, 0, [])
        if cure == "continuous":
            desk.phase(Phase.CONTINUOUS)
        elif cure == "short":
            desk.cancel(6)
            desk.sell(8, 5, 100, owner=1)
            desk.buy(9, 1, 98)
            desk.buy(10, 1, 97)
        elif cure == "room":
            desk.cancel(10)
        else:
            fields |= cure


def test_a_full_matcher_takes_no_order_of_any_type(make_desk):
    desk = make_desk(max_orders=2)
    desk.sell(1, 5, 100, owner=2)
    desk.stop(2, BUY, 5, 120)
    assert desk.buy(3, 1, 100, time_in_force=Life.IOC).code == Code.FULL
    assert desk.market(3, BUY, 1).code == Code.FULL
    assert desk.modify(1, 9, 101, owner=2).code == Code.OK
    desk.cancel(2)
    assert desk.market(3, BUY, 5).code == Code.OK


def test_the_faults_of_cancel_reduce_and_modify_in_their_order(make_desk):
    desk = make_desk(max_owners=4)
    desk.buy(5, 5, 100, display_qty=1)
    desk.stop(6, BUY, 5, 120, 121)
    for kind in (Kind.CANCEL, Kind.REDUCE, Kind.MODIFY):
        wrong = {"owner": 5, "order_id": 0, "qty": 0, "px": EDGE + 1}
        assert desk.send(kind, **wrong).code == Code.INVALID_REQUEST
        assert desk.send(kind, **{**wrong, "owner": 2}).code == Code.INVALID_REQUEST
        assert desk.send(kind, **{**wrong, "owner": 2, "order_id": 99}).code == Code.ORDER_NOT_FOUND
        assert desk.send(kind, **{**wrong, "owner": 2, "order_id": 5}).code == Code.NOT_OWNER
    for qty in (0, -1, LARGEST + 1):
        assert desk.reduce(5, qty).code == Code.BAD_QTY
        assert desk.modify(5, qty, EDGE + 1).code == Code.BAD_QTY
    assert desk.modify(5, 5, 100, owner=0).code == Code.INVALID_REQUEST
    desk.bands(90, 110)
    desk.phase(Phase.CLOSED)
    assert desk.modify(5, 4, EDGE + 1).code == Code.BAD_TICK
    assert desk.modify(6, 4, 121, stop_px=EDGE + 1).code == Code.BAD_TICK
    assert desk.modify(5, 4, 111).code == Code.PHASE
    desk.phase(Phase.CONTINUOUS)
    assert desk.modify(5, 4, 111).code == Code.PRICE_BAND
    assert desk.modify(6, 4, 105, stop_px=111).code == Code.PRICE_BAND
    assert desk.modify(5, 4, 110, stop_px=EDGE + 1).code == Code.OK


def test_mass_cancels_that_make_no_sense(make_desk):
    desk = make_desk(max_owners=4)
    assert desk.send(Kind.MASS_CANCEL, owner=5).code == Code.INVALID_REQUEST
    assert desk.send(Kind.MASS_CANCEL, owner=1, side=2).code == Code.INVALID_REQUEST
    assert desk.send(Kind.MASS_CANCEL, owner=4, side=-1).code == Code.OK


@pytest.mark.parametrize("name", sorted(IMPLEMENTATIONS))
def test_a_refused_command_leaves_the_state_as_it_was(name):
    desk = Desk(IMPLEMENTATIONS[name](max_orders=3))
    desk.sell(1, 5, 100, owner=2)
    desk.buy(2, 5, 99)
    desk.stop(3, BUY, 5, 120)
    before = desk.matcher.state_hash()
    refused = [
        desk.buy(4, 5, 99),
        desk.buy(2, 5, 99),
        desk.buy(0, 5, 99),
        desk.modify(2, 5, EDGE + 1),
        desk.modify(1, 5, 98),
        desk.cancel(77),
        desk.reduce(2, 0),
        desk.bands(2, 1),
        desk.phase(Phase.CONTINUOUS),
        desk.send(99),
    ]
    assert all(answer.code != Code.OK and answer[1:] == (0, 0, 0, 0, []) for answer in refused)
    assert desk.matcher.state_hash() == before
    desk.send(Kind.TIME, ts=1)
    assert desk.matcher.state_hash() != before


# --- events, levels, state ------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(IMPLEMENTATIONS))
def test_every_field_of_the_events_of_a_trade(name):
    matcher = IMPLEMENTATIONS[name](instrument=7)
    matcher.apply(command(Kind.ADD, ts=3, order_id=11, owner=2, side=SELL, px=100, qty=5, instrument=1))
    _, events = matcher.apply(command(Kind.ADD, ts=4, order_id=12, owner=3, side=BUY, px=101, qty=2))
    assert [text(event) for event in events] == [
        "ACCEPTED 12 2@101",
        "TRADE 11<12 2@100 B",
        "CHANGED 11 3@100",
        "LEVEL S 3@100 of 1",
    ]
    names = (
        "seq",
        "ts",
        "order_id",
        "other_id",
        "owner",
        "other_owner",
        "instrument",
        "side",
        "reason",
        "flags",
    )
    assert [tuple(int(event[field]) for field in names) for event in events] == [
        (4, 4, 12, 0, 3, 0, 7, 1, 0, 0),
        (5, 4, 11, 12, 2, 3, 7, 1, 0, 0),
        (6, 4, 11, 0, 2, 0, 7, -1, 0, 0),
        (7, 4, 0, 1, 0, 0, 7, -1, 0, 0),
    ]


def test_each_touched_level_is_told_once_at_the_end_in_order_of_first_touch(make_desk):
    desk = make_desk()
    desk.buy(1, 5, 99, time_in_force=Life.GTD, expire_ts=9)
    desk.sell(2, 5, 100, owner=2)
    desk.sell(3, 5, 101, owner=2)
    answer = desk.buy(4, 12, 101, ts=9)
    assert [event for event in answer.events if event.startswith("LEVEL")] == answer.events[-4:]
    assert answer.events[-4:] == [
        "LEVEL B 0@99 of 0",
        "LEVEL S 0@100 of 0",
        "LEVEL S 0@101 of 0",
        "LEVEL B 2@101 of 1",
    ]


@pytest.mark.parametrize("levels", [True, False])
@pytest.mark.parametrize("events", ["all", "trades", "none"])
def test_what_is_not_put_out_is_not_counted(make_desk, events, levels):
    desk = make_desk(events=events, levels=levels)
    told = [desk.sell(1, 5, 100), desk.buy(2, 2, 100, owner=2), desk.phase(Phase.CLOSED)]
    expected = {
        "all": [
            ["ACCEPTED 1 5@100", "ADDED 1 5@100"],
            ["ACCEPTED 2 2@100", "TRADE 1<2 2@100 B", "CHANGED 1 3@100"],
        ],
        "trades": [["ACCEPTED 1 5@100"], ["ACCEPTED 2 2@100", "TRADE 1<2 2@100 B"]],
        "none": [[], []],
    }[events]
    shown = [["LEVEL S 5@100 of 1"], ["LEVEL S 3@100 of 1"]] if levels else [[], []]
    expected = [mine + level for mine, level in zip(expected, shown, strict=True)]
    assert [answer.events for answer in told[:2]] == expected
    assert told[2].events == ([] if events == "none" else ["PHASE CLOSED"])
    assert told[1].exec_qty == 2


@pytest.mark.parametrize("name", sorted(IMPLEMENTATIONS))
def test_the_hash_is_that_of_the_rules(name):
    matcher = IMPLEMENTATIONS[name](AllocationRule.PRO_RATA, max_owners=9)
    rows = np.concatenate(
        [
            command(Kind.ADD, ts=5, order_id=1, owner=2, side=BUY, px=-3, qty=9, display_qty=4, self_trade=2),
            command(Kind.ADD, ts=5, order_id=2, owner=3, side=SELL, px=-3, qty=1),
            command(Kind.ADD, ts=6, order_id=3, owner=3, side=BUY, stop_px=8, px=9, qty=2, order_type=3),
            command(Kind.BANDS, ts=7, px=-50, stop_px=50),
        ]
    )
    results, events = matcher.apply(rows)
    assert results["code"].tolist() == [0, 0, 0, 0]
    words = [7, 0, -3, 1, -50, 50, len(events)]
    words += [1, 2, -3, 3, 5, 4, 0, 0, 2, 0, 1]
    words += [3, 3, 1, 3, 8, 9, 2, 0, 0, 0, 0, 0]
    words += [2, 1, 3, -1]
    h = 0xCBF29CE484222325
    for word in words:
        h = (h ^ (word % 2**64)) * 0x9E3779B97F4A7C15 % 2**64
        h ^= h >> 32
    assert matcher.state_hash() == h


@pytest.mark.parametrize("name", sorted(IMPLEMENTATIONS))
def test_many_commands_at_once_are_the_same_as_one_by_one(name):
    rows = np.zeros(60, command_dtype)
    rows["kind"], rows["owner"], rows["qty"] = Kind.ADD, 1, 3
    rows["order_id"] = np.arange(1, 61)
    rows["side"] = np.where(np.arange(60) % 3, BUY, SELL)
    rows["px"] = 100 + np.arange(60) % 7
    together, apart = IMPLEMENTATIONS[name](), IMPLEMENTATIONS[name]()
    results, events = together.apply(rows)
    parts = [apart.apply(rows[i : i + 1]) for i in range(60)]
    assert results.tobytes() == b"".join(r.tobytes() for r, _ in parts)
    assert events.tobytes() == b"".join(e.tobytes() for _, e in parts)
    assert together.state_hash() == apart.state_hash()
    assert together.apply(rows[:0])[0].size == 0


def test_the_oracle_notices_a_broken_book():
    oracle = NaiveMatcher()
    oracle.apply(command(Kind.ADD, order_id=1, owner=1, side=BUY, px=100, qty=5))
    oracle.check_invariants()
    oracle.orders[1].shown = 6
    with pytest.raises(AssertionError, match="shown quantities"):
        oracle.check_invariants()
    assert [int(kind) for kind in EventKind] == [1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19]
