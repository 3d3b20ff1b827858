"""Funding payments of a polled backtest: sums computed by hand, to the nanosecond, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit

from engine.backtest import hbt
from engine.core.errors import ConfigError, DataError
from engine.core.types import event_dtype
from tests.kit.markets import LOT_SIZE, START, TICK_SIZE, random_market

SECOND = 1_000_000_000
BOTH = hbt.EXCH_EVENT | hbt.LOCAL_EVENT
ENTRY, RESPONSE = 100_000_000, 300_000_000
FEED = 50_000_000


def at(seconds: float) -> int:
    return START + round(seconds * SECOND)


def market(*more) -> np.ndarray:
    """A bid at 100 and an ask at 101, others of (seconds, side, price, quantity), a last bid at 60 s."""
    described = [(0, 1, 100.0, 5.0), (0, -1, 101.0, 5.0), *more, (60, 1, 90.0, 1.0)]
    events = np.zeros(len(described), event_dtype)
    for event, (seconds, side, px, qty) in zip(events, described, strict=True):
        event["ev"] = BOTH | hbt.DEPTH_EVENT | (hbt.BUY_EVENT if side > 0 else hbt.SELL_EVENT)
        event["exch_ts"] = at(seconds)
        event["local_ts"] = at(seconds) + FEED
        event["px"], event["qty"] = px, qty
    return events


def backtest(events, rates=None, **settings):
    made = hbt.BacktestAsset().data(events).tick_size(0.5).lot_size(0.1)
    for name, arguments in {"constant_order_latency": (ENTRY, RESPONSE), **settings}.items():
        getattr(made, name)(*arguments)
    return hbt.HashMapMarketDepthBacktest([made if rates is None else made.funding(rates)])


def holding(rates, side=1, events=None, **settings):
    """A backtest at one second, with a position of 2 bought at 101 or sold at 100."""
    run = backtest(market() if events is None else events, rates, **settings)
    run.elapse(SECOND)
    submit = run.submit_buy_order if side > 0 else run.submit_sell_order
    submit(0, 1, 101.0 if side > 0 else 100.0, 2.0, hbt.IOC, hbt.LIMIT, True)
    assert run.position(0) == 2.0 * side
    return run


@njit
def compiled_paid(hbt):
    return hbt.funding_paid(0)


@pytest.mark.parametrize(
    ("asset", "size", "side", "rate", "paid"),
    [
        ("linear_asset", 1.0, 1, 0.0001, 0.0001 * 2.0 * 100.5),
        ("linear_asset", 10.0, -1, 0.0001, -0.0001 * 10.0 * 2.0 * 100.5),
        ("linear_asset", 1.0, 1, -0.0003, -0.0003 * 2.0 * 100.5),
        ("inverse_asset", 100.0, 1, 0.0001, 0.0001 * 100.0 * 2.0 / 100.5),
        ("inverse_asset", 100.0, -1, -0.0001, 0.0001 * 100.0 * 2.0 / 100.5),
    ],
)
def test_a_payment_is_the_rate_of_the_value_at_the_mid(asset, size, side, rate, paid):
    run = holding([(at(10), rate)], side, **{asset: (size,)})
    before = run.state_values(0).arr.copy()
    run.elapse(at(10) - run.current_timestamp - 1)
    assert run.funding_paid(0) == 0.0
    run.elapse(1)
    assert run.funding_paid(0) == compiled_paid(run) == pytest.approx(paid, rel=1e-15)
    run.elapse(20 * SECOND)
    assert run.funding_paid(0) == pytest.approx(paid, rel=1e-15)
    # hftbacktest's numbers are as they were.
    assert run.state_values(0).arr.tobytes() == before.tobytes()


def test_a_mark_price_values_the_position_and_payments_add_up():
    rates = [(at(10), 0.001, 90.0), (at(20), 0.002, float("nan")), (at(30), -0.001, 110.0)]
    run = holding(rates, events=market((15, -1, 101.0, 0.0), (15, -1, 104.0, 1.0)))
    expected = [0.001 * 2 * 90, 0.001 * 2 * 90 + 0.002 * 2 * 102, 0.18 + 0.408 - 0.001 * 2 * 110]
    for paid in expected:
        run.elapse(10 * SECOND)
        assert run.funding_paid(0) == pytest.approx(paid, rel=1e-15)


def test_only_what_we_know_of_by_then_pays():
    # The answer comes at 1.4 s exactly, and with it the position.
    for ts, paid in ((at(1.4) - 1, 0.0), (at(1.4), 2.0 * 100.5 * 0.01)):
        run = holding([(ts, 0.01)])
        assert run.current_timestamp == at(1.4)
        assert run.funding_paid(0) == pytest.approx(paid)
        run.elapse(SECOND)
        assert run.funding_paid(0) == pytest.approx(paid)
    # So does the row that moves the mid, at 10 s and the feed's latency.
    rows = market((10, 1, 100.5, 1.0))
    for ts, mid in ((at(10) + FEED - 1, 100.5), (at(10) + FEED, 100.75)):
        run = holding([(ts, 0.01)], events=rows)
        run.elapse(20 * SECOND)
        assert run.funding_paid(0) == pytest.approx(0.01 * 2.0 * mid, rel=1e-15)


def test_others_answers_after_a_payment_do_not_count_for_it():
    # Waiting for an order that has no answer, while another fills after the payment.
    run = backtest(market(), [(at(1.2), 0.01)])
    run.elapse(SECOND)
    run.submit_buy_order(0, 1, 101.0, 2.0, hbt.IOC, hbt.LIMIT, False)
    assert run.wait_order_response(0, 99, 5 * SECOND) == 0
    assert (run.position(0), run.funding_paid(0)) == (2.0, 0.0)


def test_a_book_without_two_sides_is_valued_at_our_last_fill():
    run = holding([(at(10), 0.01)], events=market((5, -1, 101.0, 0.0)))
    run.elapse(20 * SECOND)
    assert np.isnan(run.depth(0).best_ask)
    assert run.funding_paid(0) == pytest.approx(0.01 * 2.0 * 101.0, rel=1e-15)


def test_nothing_is_paid_before_there_is_a_position_nor_after_the_recording():
    end = at(60) + FEED
    for step in (SECOND // 3, 7 * SECOND, 1000 * SECOND):
        run = holding([(at(0) - SECOND, 0.5), (at(0.5), 0.5), (end - 1, 0.25), (end, 0.5), (end + 1, 0.5)])
        while run.elapse(step) == 0:
            pass
        assert run.funding_paid(0) == pytest.approx(0.25 * 2.0 * 100.5, rel=1e-15)


def test_every_asset_pays_its_own():
    def asset(rates):
        made = hbt.BacktestAsset().data(market()).tick_size(0.5).lot_size(0.1)
        return made if rates is None else made.funding(rates)

    run = hbt.HashMapMarketDepthBacktest([asset(None), asset([(at(5), 0.01)]), asset([(at(6), 0.02)])])
    run.elapse(SECOND)
    for number in range(3):
        run.submit_buy_order(number, 1, 101.0, 1.0, hbt.IOC, hbt.LIMIT, True)
    run.elapse(10 * SECOND)
    assert [run.funding_paid(n) for n in range(3)] == pytest.approx([0.0, 1.005, 2.01], rel=1e-15)
    with pytest.raises(IndexError, match="asset number 3"):
        run.funding_paid(3)


def test_rates_come_as_tuples_arrays_and_files(tmp_path):
    tuples = [(at(10), 0.001), (at(20), 0.002)]
    fields = np.array(tuples, [("ts", "i8"), ("rate", "f8")])
    marked = np.array([(*row, np.nan) for row in tuples], [*fields.dtype.descr, ("mark_price", "f8")])
    np.savez(tmp_path / "rates.npz", data=fields)
    np.save(tmp_path / "rates.npy", marked)
    sums = set()
    for rates in (
        tuples,
        fields,
        marked,
        np.array(tuples),
        tmp_path / "rates.npz",
        str(tmp_path / "rates.npy"),
    ):
        run = holding(rates)
        run.elapse(30 * SECOND)
        sums.add(run.funding_paid(0))
    assert sums == {0.001 * 201.0 + 0.002 * 201.0}
    assert holding([]).funding_paid(0) == 0.0


@pytest.mark.parametrize(
    ("rates", "error", "message"),
    [
        ([(1, 0.1), (1, 0.1)], DataError, r"funding, row 1, field ts: 1: not after"),
        ([(1, 0.1), (2, float("nan"))], DataError, r"row 1, field rate: nan: a rate is a fraction"),
        ([(1, 1.5)], DataError, r"row 0, field rate"),
        ([(1, 0.1, 0.0)], DataError, r"row 0, field mark_price: 0\.0: not above 0"),
        ([(1, 0.1, float("inf"))], DataError, r"field mark_price: inf: not finite"),
        ([(-1, 0.1)], DataError, r"row 0, field ts: -1: no time"),
        ([(2**63, 0.1)], DataError, r"field ts: 9223372036854775808: no time"),
        ([("x", 0.1)], DataError, r"field ts"),
        ([(1, 0.1), (2, 0.1, 3.0)], ConfigError, "the same for all"),
        ([1, 2], ConfigError, "the same for all"),
        (0.1, ConfigError, "float, it has to be"),
        (np.zeros(3), DataError, r"shape \(3,\)"),
        (np.zeros(3, [("ts", "i8")]), DataError, "have the fields"),
        (np.array(1.0), DataError, r"shape \(\)"),
        (np.zeros((), [("ts", "i8"), ("rate", "f8")]), DataError, r"of shape \(\)"),
        ([(1, [0.1])], DataError, "field rate"),
        ([(1, 0.1), (2, [0.1])], ConfigError, "funding: "),
        ("nowhere.npz", DataError, "no such file"),
    ],
)
def test_rates_that_cannot_be_are_refused(rates, error, message):
    with pytest.raises(error, match=message):
        hbt.BacktestAsset().funding(rates)


def _act(run, rng):
    """Sends an order that may fill at once, the same for the same state of the generator."""
    side, tick = int(rng.choice([-1, 1])), int(rng.integers(990, 1010))
    send = run.submit_buy_order if side > 0 else run.submit_sell_order
    send(0, int(rng.integers(1 << 40)), tick * TICK_SIZE, 3 * LOT_SIZE, hbt.GTC, hbt.LIMIT, False)


def _pass(run, until, rng):
    """Lets time pass up to an instant, cut anyhow; whether the recording goes on."""
    while run.current_timestamp < until:
        left, how = until - run.current_timestamp, rng.integers(4)
        if how == 0:
            over = run.elapse(int(rng.integers(1, left + 1))) == 1
        elif how == 1:
            over = run.wait_next_feed(bool(rng.integers(2)), left) == 1
        elif how == 2:
            over = run.wait_order_response(0, 0, int(rng.integers(1, left + 1))) == 1
        else:
            over = run.elapse(left) == 1
        if over:
            return False
    return True


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_sums_do_not_depend_on_how_time_is_cut(seed):
    events = random_market(seed)
    rng = np.random.default_rng(seed)

    def asset():
        made = hbt.BacktestAsset().data(events).tick_size(TICK_SIZE).lot_size(LOT_SIZE)
        return made.constant_order_latency(2_500, 3_500).partial_fill_exchange()

    whole = hbt.HashMapMarketDepthBacktest([asset()])
    whole.elapse(0)
    first = whole.current_timestamp
    due = np.unique(first + rng.integers(0, 700_000, 30))
    rates = [(int(ts), float(rate)) for ts, rate in zip(due, rng.normal(0.0, 0.01, len(due)), strict=True)]
    acting = [first + 30_000 * n + 500 for n in range(40)]
    orders, paid = np.random.default_rng(seed), 0.0
    for instant, rate in sorted([(ts, None) for ts in acting] + rates, key=lambda item: item[0]):
        if whole.elapse(instant - whole.current_timestamp) == 1:
            break
        if rate is None:
            _act(whole, orders)
        elif whole.position(0) != 0.0:
            mid = (whole.depth(0).best_bid + whole.depth(0).best_ask) / 2.0
            paid += rate * ((whole.fills(0)["px"][-1] if np.isnan(mid) else mid) * whole.position(0))
    cut = hbt.HashMapMarketDepthBacktest([asset().funding(rates)])
    cut.elapse(0)
    orders = np.random.default_rng(seed)
    for instant in acting:
        if not _pass(cut, instant, rng):
            break
        _act(cut, orders)
    assert cut.position(0) == whole.position(0)
    assert len(cut.fills(0)) == len(whole.fills(0)) > 0
    assert cut.funding_paid(0) == pytest.approx(paid, rel=1e-12, abs=1e-15)
