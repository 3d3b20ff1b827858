"""Where a profit came from, slippage and markouts, by hand and against slow twins."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from engine.reports import money
from engine.reports.mids import HORIZONS_NS, Mids, of_session
from engine.reports.report import Report
from tests.kit.reported import SECOND, backtested, by_hand


def test_a_profit_by_hand():
    """Bought 2 at 99 with the mid at 100, sold 1 at 104 with the mid at 103, the last mid is 101."""
    one = by_hand(
        [
            {"side": 1, "qty": 2, "px": 99, "fee": 0.5, "mid_price": 100, "local_ts": 1},
            {"side": -1, "qty": 1, "px": 104, "fee": -0.25, "mid_price": 103, "local_ts": 2},
        ],
        last_mid=101.0,
        funding=0.125,
    )
    found = money.attribution(one, "s", "X")
    assert found.spread == 2 * 1 + 1
    assert found.inventory == 2 * 3 + 1 * (101 - 103)
    assert found.fees == Fraction(-1, 4)
    assert found.funding == Fraction(-1, 8)
    assert found.profit == (-2 * 99 + 104 + 101) - Fraction(3, 8)


def test_an_inverse_profit_by_hand():
    one = by_hand(
        [{"side": 1, "qty": 100, "px": 50, "fee": 0.0, "mid_price": 64, "local_ts": 1}],
        asset="inverse",
        last_mid=128.0,
    )
    found = money.attribution(one, "s", "X")
    assert found.spread == 100 * (Fraction(1 / 50) - Fraction(1, 64))
    assert found.inventory == 100 * (Fraction(1, 64) - Fraction(1, 128))
    assert found.profit == found.spread + found.inventory


def test_no_market_is_all_inventory():
    one = by_hand(
        [
            {"side": 1, "qty": 1, "px": 90, "mid_price": math.nan, "local_ts": 1},
            {"side": -1, "qty": 1, "px": 95, "mid_price": math.nan, "local_ts": 2},
        ],
        last_mid=math.nan,
    )
    found = money.attribution(one, "s", "X")
    assert (found.spread, found.inventory, found.profit) == (0, 5, 5)


@pytest.mark.parametrize("kind", ["linear", "inverse"])
def test_parts_add_up_exactly_and_to_the_books(kind):
    session = backtested(20.0, kind)
    total = money.NOTHING
    for account in session.accounts:
        found = money.attribution(session, account.strategy, account.symbol)
        assert found.profit == found.spread + found.inventory + found.fees + found.funding
        scale = max(account.trading_value, 1.0)
        assert float(found.profit) == pytest.approx(account.equity, abs=1e-12 * scale)
        assert float(found.fees) == pytest.approx(-account.fee, rel=1e-12)
        total += found
    report = Report(session)
    assert report.whole.attribution == total
    assert sum((part.attribution for part in report.cells), money.NOTHING) == total


def test_the_course_of_the_parts_ends_where_they_do():
    session = backtested()
    for account in session.accounts:
        exact = money.attribution(session, account.strategy, account.symbol)
        if exact.spread == 0:
            continue
        course = money.attribution_over_time(session, account.strategy, account.symbol)
        assert course["spread"][-1] == pytest.approx(float(exact.spread), rel=1e-9)
        assert course["fees"][-1] == pytest.approx(float(exact.fees), rel=1e-9)
        number = [one.symbol for one in session.instruments].index(account.symbol)
        meta = session.instruments[number]
        last = session.fills[
            (session.fills["instrument"] == number)
            & (session.fills["strategy"] == session.strategies.index(account.strategy))
        ][-1]
        since = (meta.mid - last["mid_price"]) * account.position * meta.contract_size
        assert course["inventory"][-1] + since == pytest.approx(float(exact.inventory), abs=1e-7)


def test_markouts_and_slippage_by_hand():
    mids = Mids(
        by_hand(mids=[(0, 100.0), (SECOND, 101.0), (SECOND + 100_000_000, 102.0), (3 * SECOND, 99.0)]).mids
    )
    fills = by_hand(
        [
            {"side": 1, "px": 100, "local_ts": SECOND, "qty": 1},
            {"side": -1, "px": 200, "local_ts": SECOND, "qty": 1},
        ]
    ).fills
    found = money.markouts_bps(fills, mids)
    by = {horizon: found[:, place] for place, horizon in enumerate(HORIZONS_NS)}
    assert by[100_000_000] == pytest.approx([200.0, 1e4 * (200 - 102) / 200])
    assert by[SECOND] == pytest.approx([200.0, 1e4 * (200 - 102) / 200])
    assert by[2 * SECOND] == pytest.approx([-100.0, 1e4 * (200 - 99) / 200])
    assert np.isnan(by[5 * SECOND]).all(), "nothing is known of what comes after the end"
    slip = money.slippage_bps(fills, np.array([0, SECOND]), mids)
    assert slip == pytest.approx([0.0, -1e4 * (200 - 101) / 101])


def test_markouts_are_those_of_a_slow_look():
    session = backtested()
    mids = of_session(session)
    found = money.markouts_bps(session.fills, mids)
    rng = np.random.default_rng(3)
    for place in rng.choice(len(session.fills), 25, replace=False):
        fill = session.fills[place]
        known = session.mids[session.mids["instrument"] == fill["instrument"]]
        for column, horizon in enumerate(HORIZONS_NS):
            at = int(fill["local_ts"]) + horizon
            if at > session.last_ts:
                continue
            mid = known["mid"][known["ts"] == at]
            assert len(mid) == 1, "a report asks for every price that it needs"
            want = 1e4 * fill["side"] * (mid[0] - fill["px"]) / fill["px"]
            assert found[place, column] == pytest.approx(want)


def test_a_weighted_mean_and_its_error():
    values, weights = np.array([1.0, 3.0, math.nan, 5.0]), np.array([1.0, 1.0, 7.0, 2.0])
    found = money.weighted(values, weights)
    assert (found.count, found.mean) == (3, 3.5)
    assert found.error == pytest.approx(math.sqrt(6.25 + 0.25 + 4 * 2.25) / 4 * math.sqrt(3 / 2))
    assert math.isnan(money.weighted(np.array([math.nan]), np.array([1.0])).mean)
    same = money.weighted(np.full(9, 2.0), np.ones(9))
    assert (same.mean, same.error) == (2.0, 0.0)
