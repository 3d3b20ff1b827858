"""What makes the difference of two sessions: causes that are known are found, and parts make the whole."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from engine.core.errors import DataError
from engine.core.types import Status
from engine.reports.align import lives
from engine.reports.compare import PARTS, compare
from tests.kit.sessions import books, cancelled, filled, made, market, resting, session

POWER = "power_prob_queue_model3"


@pytest.fixture(scope="module")
def events():
    return market()


@pytest.fixture(scope="module")
def base(events):
    one = session(events)
    assert len(one.fills) > 50
    return one


def parts(found):
    """The parts that are not nothing."""
    assert sum(found.part(name) for name in PARTS) == found.difference
    return {name for name in PARTS if found.part(name)}


def test_a_session_does_not_differ_from_itself(base):
    found = compare(base, base)
    assert parts(found) == set()
    assert found.fraction == 0.0
    assert (found.only_live, found.only_backtest) == (0, 0)
    assert found.pairs == found.same_instant == len(lives(base)) > 500


def test_other_fees_are_fees(base, events):
    dearer = session(events, maker_fee=0.0002)
    found = compare(dearer, base)
    assert parts(found) == {"fees"}
    paid = [sum(account.fee for account in one.accounts) for one in (dearer, base)]
    assert float(found.difference) == pytest.approx(paid[1] - paid[0], rel=1e-12)


def test_another_queue_model_is_the_queue(base, events):
    found = compare(session(events, queue_model=POWER), base)
    assert parts(found) == {"queue"}
    assert found.same_instant == found.pairs


@pytest.mark.parametrize("slower", ["entry_latency_ns", "cancel_latency_ns"])
def test_another_latency_is_latency(base, events, slower):
    late = session(events, **{slower: 20_000_000})
    for found in (compare(late, base), compare(base, late)):
        assert parts(found) == {"latency"}
        assert (found.only_live, found.only_backtest) == (0, 0)


def test_takers_that_come_later_get_other_prices(events):
    sessions = [
        session(events, params={"taking": True}, entry_latency_ns=ns) for ns in (30_000_000, 1_000_000)
    ]
    found = compare(*sessions)
    assert parts(found) == {"latency"}
    assert found.delays[0][0] == 30_000_000
    assert found.delays[1][0] == 1_000_000


def test_orders_that_one_session_never_sent_are_missed_fills(base):
    traded = np.unique(base.fills["order_id"])[::3]
    short = replace(
        base,
        fills=base.fills[~np.isin(base.fills["order_id"], traded)],
        orders=base.orders[~np.isin(base.orders["order_id"], traded)],
    )
    found = compare(books(short), base)
    assert parts(found) == {"missed"}
    assert found.only_backtest == len(traded)
    assert sum(row.lots["missed"] for row in found.rows) == base.fills["qty"].sum() - short.fills["qty"].sum()


def test_an_order_that_our_checks_denied_is_a_missed_fill():
    denied = [(10, 1, 1, 200, 5, Status.DENIED, Status.NEW, 0, Status.NONE)]
    there = [*resting(7, 10, 20), *filled(7, 50)]
    found = compare(made(denied, []), made(there, [(50, 7, 1, 200, 5, 0.25)]))
    assert parts(found) == {"missed"}
    assert found.difference == 0.25


@pytest.mark.parametrize(
    ("other", "cause"),
    [
        # The order that was not filled at 50, where the one that arrived at 20 was.
        (resting(1, 10, 20), "queue"),
        (resting(1, 10, 15), "queue"),
        (resting(1, 10, 21), "latency"),
        (resting(1, 10, 60), "latency"),
        ([*resting(1, 10, 20), *cancelled(1, 40)], "latency"),
        ([*resting(1, 10, 20), *cancelled(1, 50)], "queue"),
        (resting(1, 10, 20)[:1], "latency"),
    ],
)
@pytest.mark.parametrize("swap", [False, True])
def test_where_the_other_order_was_says_the_cause(other, cause, swap):
    idle = made(other, [])
    active = made([*resting(7, 10, 20), *filled(7, 50)], [(50, 7, 1, 200, 5, 0.25)])
    found = compare(active, idle) if swap else compare(idle, active)
    assert parts(found) == {cause}
    assert found.difference == (-0.25 if swap else 0.25)


def test_a_price_change_that_came_too_late_is_latency():
    asked = (30, 1, 1, 200, 5, Status.NEW, Status.REPLACED, 20, Status.NEW)

    def moved(at):
        return [
            *resting(1, 10, 20, tick=198),
            asked,
            (at + 1, 1, 1, 200, 5, Status.NEW, Status.NONE, at, Status.NEW),
        ]

    active = made([*moved(40), *filled(1, 50)], [(50, 1, 1, 200, 5, 0.25)])
    assert parts(compare(made(moved(45), []), active)) == {"latency"}
    assert parts(compare(made(moved(55), []), active)) == {"latency"}
    assert parts(compare(made(moved(40), []), active)) == {"queue"}


def test_lots_are_matched_across_partial_fills():
    ours = [(50, 1, 1, 200, 2, 0.2), (60, 1, 1, 200, 3, 0.3)]
    theirs = [(50, 1, 1, 200, 4, 0.8)]
    orders = resting(1, 10, 20)
    found = compare(made(orders, ours), made(orders, theirs))
    row = found.rows[0]
    # Four lots are in both: they cost 0.4 here and 0.8 there; one is ours alone, at the mark.
    assert float(row.parts["fees"]) == pytest.approx(0.4)
    assert float(row.parts["queue"]) == pytest.approx(-0.1)
    assert row.lots["queue"] == 1
    assert sum(row.parts.values()) == row.difference


@pytest.mark.parametrize("asset", ["linear", "inverse"])
def test_other_last_prices_are_marks(asset):
    orders, fills = [*resting(1, 10, 20), *filled(1, 50)], [(50, 1, 1, 200, 5, 0.25)]
    found = compare(*(made(orders, fills, mid=mid, asset=asset) for mid in (101.0, 100.0)))
    assert parts(found) == {"mark"}
    wanted = 0.5 * 1.0 if asset == "linear" else 0.5 * (1 / 100 - 1 / 101)
    assert float(found.difference) == pytest.approx(wanted)


def test_funding_is_a_part_of_its_own(base):
    def paying(amount):
        return replace(
            base,
            accounts=tuple(replace(a, funding=amount, equity=a.equity - amount) for a in base.accounts),
        )

    found = compare(paying(3.5), paying(1.0))
    assert parts(found) == {"funding"}
    assert found.difference == -2.5


def test_orders_of_the_owners_id_are_pairs_at_any_price():
    def with_client_id(one, client):
        one.orders["client_order_id"], one.fills["client_order_id"] = client, client
        return one

    ours = made([*resting(1, 10, 20, tick=201), *filled(1, 50, tick=201)], [(50, 1, 1, 201, 5, 0.0)])
    theirs = made([*resting(9, 12, 20), *filled(9, 50)], [(50, 9, 1, 200, 5, 0.0)])
    assert compare(with_client_id(ours, 44), with_client_id(theirs, 44)).pairs == 1
    assert compare(with_client_id(ours, 44), with_client_id(theirs, 45)).pairs == 0


def test_the_window_says_which_orders_may_be_the_same():
    ours = made([*resting(1, 10, 20), *filled(1, 50)], [(50, 1, 1, 200, 5, 0.25)])
    theirs = made([*resting(1, 110, 120), *filled(1, 150)], [(150, 1, 1, 200, 5, 0.25)])
    assert compare(ours, theirs, window_ns=100).pairs == 1
    apart = compare(ours, theirs, window_ns=99)
    assert (apart.pairs, apart.only_live, apart.only_backtest) == (0, 1, 1)
    assert apart.difference == 0


def test_what_cannot_be_compared_is_refused(base):
    late = replace(base, last_ts=base.last_ts + 2_000_000_000)
    with pytest.raises(DataError, match=r"ends 2\.000 s after the backtest"):
        compare(late, base)
    early = replace(base, first_ts=base.first_ts - 1_500_000_000)
    with pytest.raises(DataError, match=r"begins 1\.500 s before"):
        compare(early, base)
    compare(late, base, slack_ns=2_000_000_000)
    finer = replace(base, instruments=(replace(base.instruments[0], tick_size=0.01),))
    with pytest.raises(DataError, match=r"BTCUSDT: tick_size is 0\.1 in the live session, 0\.01"):
        compare(base, finer)
    other = replace(
        base,
        instruments=(replace(base.instruments[0], symbol="Y"),),
        accounts=(replace(base.accounts[0], symbol="Y"),),
    )
    with pytest.raises(DataError, match="BTCUSDT is in the live session only"):
        compare(base, other)
    renamed = replace(base, strategies=("d",), accounts=(replace(base.accounts[0], strategy="d"),))
    with pytest.raises(DataError, match="trades BTCUSDT in the"):
        compare(base, renamed)


def test_logs_that_do_not_make_the_books_are_refused(base):
    with pytest.raises(DataError, match="it began with a position, or its log is not whole"):
        compare(replace(base, fills=base.fills[1:]), base)
    cheated = replace(base, accounts=(replace(base.accounts[0], equity=base.accounts[0].equity + 1.0),))
    with pytest.raises(DataError, match="its books say"):
        compare(base, cheated)
    with pytest.raises(DataError, match="no market in it"):
        compare(*[made(resting(1, 10, 20), [(50, 1, 1, 200, 5, 0.25)], mid=float("nan"))] * 2)


def test_json_adds_up_and_has_no_nan(base, events):
    found = compare(session(events, queue_model=POWER, maker_fee=0.0002), base).to_json()
    assert sum(found["parts"].values()) == pytest.approx(found["difference"], rel=1e-12)
    assert found["difference"] == pytest.approx(found["live"] - found["backtest"], rel=1e-9)
    assert found["orders"]["in_both"] > 0
    assert found["rows"][0]["lots"]["queue"] > 0
