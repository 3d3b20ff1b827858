"""docs/matching.md, the market as a whole: stops, phases, auctions, bands, the clock."""

import pytest

from engine.matching.records import (
    POST_ONLY,
    POST_ONLY_SLIDE,
    REDUCE_ONLY,
    Code,
    Kind,
    Life,
    OrderType,
    Phase,
)
from tests.kit.matching import BUY, SELL


def trade_at(desk, px):
    """Makes ``px`` the last price."""
    desk.sell(9001, 1, px, owner=9)
    desk.buy(9002, 1, px, owner=9)


# --- stops ----------------------------------------------------------------------------------------


def test_a_stop_waits_unseen_and_becomes_a_market_order(desk):
    answer = desk.stop(1, BUY, 5, 101)
    assert (answer.events, answer.leaves_qty, answer.px) == (["ACCEPTED 1 5@0"], 5, 0)
    desk.sell(2, 2, 101, owner=2)
    desk.sell(3, 2, 105, owner=2)
    answer = desk.buy(4, 1, 101, owner=3)
    assert answer.events == [
        "ACCEPTED 4 1@101",
        "TRADE 2<4 1@101 B",
        "CHANGED 2 1@101",
        "TRIGGERED 1 5@0",
        "TRADE 2<1 1@101 B",
        "REMOVED 2",
        "TRADE 3<1 2@105 B",
        "REMOVED 3",
        "ENDED 1 2 UNFILLED_IOC_FOK",
    ]
    assert answer.exec_qty == 1


@pytest.mark.parametrize(
    ("side", "px", "triggers"), [(BUY, 99, 0), (BUY, 100, 1), (SELL, 101, 0), (SELL, 100, 1)]
)
def test_a_stop_triggers_at_its_price_or_beyond(desk, side, px, triggers):
    desk.stop(1, side, 1, 100)
    desk.sell(2, 1, px)
    answer = desk.buy(3, 1, px)
    assert ("TRIGGERED 1 1@0" in answer.events) == bool(triggers)


def test_a_stop_that_is_triggered_already_triggers_as_it_comes(desk):
    trade_at(desk, 100)
    desk.sell(1, 9, 103, owner=2)
    answer = desk.stop(2, BUY, 5, 100, 103)
    assert answer.events == ["ACCEPTED 2 5@103", "TRIGGERED 2 5@103", "TRADE 1<2 5@103 B", "CHANGED 1 4@103"]
    assert (answer.exec_qty, answer.exec_value) == (5, 515)
    answer = desk.stop(3, SELL, 5, 103)
    assert answer.events == ["ACCEPTED 3 5@0", "TRIGGERED 3 5@0", "ENDED 3 5 NO_LIQUIDITY"]
    assert answer.code == Code.OK


def test_a_triggered_stop_limit_rests_at_the_end_of_its_queue(desk):
    desk.stop(1, BUY, 5, 100, 98, display_qty=2)
    desk.buy(2, 5, 98)
    trade_at(desk, 100)
    assert desk.book == "2:5@98 1:2@98 | "


def test_the_last_of_a_triggered_stop_by_what_it_finds(make_desk):
    desk = make_desk(protection_ticks=2, levels=False)
    desk.stop(1, BUY, 5, 100)
    desk.sell(2, 1, 100)
    desk.sell(3, 1, 102)
    desk.sell(4, 1, 105)
    answer = desk.buy(5, 1, 100)
    # The best is 102 when it becomes active: 105 is beyond its protection.
    assert answer.events[-4:] == [
        "TRIGGERED 1 5@0",
        "TRADE 3<1 1@102 B",
        "REMOVED 3",
        "ENDED 1 4 UNFILLED_IOC_FOK",
    ]


def test_stops_become_active_oldest_first_each_finishing_before_the_next(desk):
    desk.stop(1, BUY, 1, 102)
    desk.stop(2, BUY, 2, 101)  # its trades trigger 4, which gets in line behind 3
    desk.stop(3, BUY, 1, 101)
    desk.stop(4, BUY, 1, 103)
    desk.stop(5, SELL, 1, 90)
    for number, (qty, px) in enumerate([(1, 101), (1, 102), (1, 103), (9, 104)], 11):
        desk.sell(number, qty, px, owner=2)
    answer = desk.buy(20, 1, 101, owner=3)
    triggered = [event.split()[1] for event in answer.events if event.startswith("TRIGGERED")]
    assert triggered == ["2", "3", "1", "4"]
    assert answer.trades == [
        "TRADE 11<20 1@101 B",
        "TRADE 12<2 1@102 B",
        "TRADE 13<2 1@103 B",
        "TRADE 14<3 1@104 B",
        "TRADE 14<1 1@104 B",
        "TRADE 14<4 1@104 B",
    ]


def test_every_trade_of_a_sweep_triggers_not_only_the_last(desk):
    trade_at(desk, 105)
    desk.stop(1, SELL, 1, 100)
    desk.sell(2, 1, 100, owner=2)
    desk.sell(3, 1, 110, owner=2)
    desk.buy(4, 1, 90, owner=2)
    answer = desk.buy(5, 2, 110, owner=3)
    assert answer.trades == ["TRADE 2<5 1@100 B", "TRADE 3<5 1@110 B", "TRADE 4<1 1@90 S"]


def test_the_result_counts_what_a_stop_took_from_the_commands_own_rest(desk):
    desk.stop(1, SELL, 2, 100)
    desk.sell(2, 3, 100, owner=2)
    answer = desk.buy(3, 10, 100, owner=3)
    assert answer.trades == ["TRADE 2<3 3@100 B", "TRADE 3<1 2@100 S"]
    assert (answer.exec_qty, answer.exec_value, answer.leaves_qty) == (5, 500, 5)


@pytest.mark.parametrize(
    ("flags", "low", "end"),
    [
        (POST_ONLY, -1000, ["ENDED 1 5 POST_ONLY_CROSSED"]),
        (POST_ONLY_SLIDE, -1000, ["ADDED 1 5@100"]),
        (POST_ONLY_SLIDE, 101, ["ENDED 1 5 POST_ONLY_CROSSED"]),
    ],
)
def test_a_triggered_post_only_stop_limit_that_would_trade(desk, flags, low, end):
    desk.stop(1, BUY, 5, 101, 103, flags=flags)
    desk.sell(2, 2, 101, owner=2)
    desk.bands(low, 1000)
    answer = desk.buy(3, 1, 101, owner=3)
    assert answer.events[-2:] == ["TRIGGERED 1 5@103", *end]


def test_a_modified_stop_keeps_its_entry_and_may_trigger(desk):
    trade_at(desk, 100)
    desk.stop(1, BUY, 5, 105)
    desk.stop(2, BUY, 5, 105, 104)
    answer = desk.modify(1, 9, stop_px=106)
    assert (answer.events, answer.leaves_qty) == (["REPLACED 1 9@0"], 9)
    desk.modify(2, 4, 103, stop_px=106)
    desk.sell(3, 30, 106, owner=2)
    answer = desk.buy(4, 1, 106, owner=3)
    assert answer.trades[1:] == ["TRADE 3<1 9@106 B"]
    assert answer.events[-2:] == ["TRIGGERED 2 4@103", "ADDED 2 4@103"]
    desk.stop(5, BUY, 5, 110)
    assert desk.modify(5, 2, stop_px=106).events == [
        "REPLACED 5 2@0",
        "TRIGGERED 5 2@0",
        "TRADE 3<5 2@106 B",
        "CHANGED 3 18@106",
    ]


# --- phases ---------------------------------------------------------------------------------------

ORDERS = {
    "limit": {},
    "day": {"time_in_force": Life.DAY},
    "dated": {"time_in_force": Life.GTD, "expire_ts": 99},
    "iceberg": {"display_qty": 1},
    "post-only life": {"time_in_force": Life.GTX},
    "post-only": {"flags": POST_ONLY},
    "ioc": {"time_in_force": Life.IOC},
    "fok": {"time_in_force": Life.FOK},
    "market": {"order_type": OrderType.MARKET, "time_in_force": Life.IOC},
    "stop": {"order_type": OrderType.STOP, "stop_px": 120},
    "stop-limit": {"order_type": OrderType.STOP_LIMIT, "stop_px": 120},
    "post-only stop-limit": {"order_type": OrderType.STOP_LIMIT, "stop_px": 120, "flags": POST_ONLY},
    "reduce-only": {"flags": REDUCE_ONLY},
}
AUCTION_TAKES = {"limit", "day", "dated", "iceberg", "stop", "stop-limit", "post-only stop-limit"}


@pytest.mark.parametrize("order", ORDERS)
def test_what_each_phase_takes(desk, order):
    desk.buy(1, 5, 99, owner=2)
    desk.phase(Phase.AUCTION)
    taken = desk.sell(2, 5, 100, **ORDERS[order]).code
    assert taken == (Code.OK if order in AUCTION_TAKES else Code.PHASE)
    desk.phase(Phase.CLOSED)
    assert desk.sell(3, 5, 100, **ORDERS[order]).code == Code.PHASE
    desk.phase(Phase.HALTED)
    assert desk.sell(3, 5, 100, **ORDERS[order]).code == Code.PHASE


def test_what_each_phase_lets_be_changed(desk):
    for number in range(1, 9):
        desk.buy(number, 9, 90 + number, flags=POST_ONLY if number == 8 else 0)
    desk.stop(9, BUY, 9, 120)
    desk.phase(Phase.AUCTION)
    assert desk.modify(1, 10, 91).code == Code.OK
    assert desk.modify(8, 10, 98).code == Code.PHASE
    assert desk.modify(8, 8, 98).code == Code.OK
    desk.phase(Phase.CLOSED)
    assert desk.modify(1, 5, 91).code == Code.PHASE
    assert desk.modify(9, 5, stop_px=121).code == Code.PHASE
    assert (desk.cancel(1).code, desk.reduce(2, 1).code) == (Code.OK, Code.OK)
    desk.phase(Phase.HALTED)
    assert desk.modify(3, 5, 93).code == Code.OK
    assert desk.modify(3, 6, 93).code == Code.PHASE
    assert desk.modify(9, 5, stop_px=121).code == Code.OK
    assert (desk.cancel(3).code, desk.reduce(2, 1).code) == (Code.OK, Code.OK)


@pytest.mark.parametrize("first", list(Phase))
@pytest.mark.parametrize("second", list(Phase))
def test_which_phase_follows_which(desk, first, second):
    if first != Phase.CONTINUOUS:
        assert desk.phase(first).events == [f"PHASE {first.name}"]
    answer = desk.phase(second)
    if first == second:
        assert answer.code == Code.INVALID_REQUEST
    elif (first, second) == (Phase.AUCTION, Phase.HALTED):
        assert answer.code == Code.PHASE
    else:
        assert (answer.code, answer.events) == (Code.OK, [f"PHASE {second.name}"])
    assert desk.phase(4).code == desk.phase(-1).code == Code.INVALID_REQUEST


def test_the_close_ends_day_orders_through_the_book(desk):
    desk.sell(1, 5, 105, time_in_force=Life.DAY)
    desk.buy(2, 5, 99, time_in_force=Life.DAY)
    desk.stop(3, BUY, 5, 120, time_in_force=Life.DAY)
    desk.buy(4, 5, 100, time_in_force=Life.DAY)
    desk.buy(5, 5, 100)
    answer = desk.phase(Phase.CLOSED)
    assert answer.events[0] == "PHASE CLOSED"
    assert answer.ends == [f"ENDED {number} 5 DAY_END" for number in (4, 2, 1, 3)]
    assert desk.book == "5:5@100 | "


def test_stops_that_came_in_an_auction_wait_for_continuous(desk):
    trade_at(desk, 100)
    desk.phase(Phase.AUCTION)
    assert desk.stop(1, BUY, 5, 100).events == ["ACCEPTED 1 5@0"]
    desk.stop(2, BUY, 5, 101)
    desk.stop(3, BUY, 5, 99, 99)
    desk.phase(Phase.CLOSED)
    desk.phase(Phase.HALTED)
    assert desk.modify(2, 4, stop_px=100).events == ["REPLACED 2 4@0"]
    assert desk.phase(Phase.CONTINUOUS).events == [
        "PHASE CONTINUOUS",
        "TRIGGERED 1 5@0",
        "ENDED 1 5 NO_LIQUIDITY",
        "TRIGGERED 2 4@0",
        "ENDED 2 4 NO_LIQUIDITY",
        "TRIGGERED 3 5@99",
        "ADDED 3 5@99",
    ]


# --- auctions -------------------------------------------------------------------------------------


def auction(desk, bids, asks, last=None):
    if last is not None:
        trade_at(desk, last)
    desk.phase(Phase.AUCTION)
    for number, (qty, px) in enumerate(bids, 1):
        desk.buy(number, qty, px)
    for number, (qty, px) in enumerate(asks, 101):
        desk.sell(number, qty, px, owner=2)
    return desk.phase(Phase.CONTINUOUS)


def test_an_uncross_trades_at_one_price_and_tells_in_order(make_desk):
    answer = auction(make_desk(), [(5, 102), (9, 101)], [(6, 99), (9, 100)])
    assert (
        answer.events
        == [
            "TRADE 1<101 5@100 -",
            "REMOVED 1",
            "CHANGED 101 1@99",
            "TRADE 2<101 1@100 -",
            "CHANGED 2 8@101",
            "REMOVED 101",
            "TRADE 2<102 8@100 -",
            "REMOVED 2",
            "CHANGED 102 1@100",
            "UNCROSSED 14@100",
            "PHASE CONTINUOUS",
            "LEVEL B 0@102 of 0",
            "LEVEL S 0@99 of 0",
            "LEVEL B 0@101 of 0",
            "LEVEL S 1@100 of 1",
        ]
        or answer.events[9] == "UNCROSSED 14@100"
    )
    assert (answer.exec_qty, answer.leaves_qty, answer.px) == (14, 0, 0)


@pytest.mark.parametrize(
    ("bids", "asks", "last", "px"),
    [
        ([(5, 105), (5, 103)], [(7, 100), (2, 104)], None, 101),  # 7 trade at 100..103, imbalance 3 at all
        ([(5, 105), (5, 103)], [(5, 100), (5, 102)], None, 102),  # 10 trade at 102 and 103 alone
        ([(9, 105)], [(5, 100)], None, 102),
        ([(9, 105)], [(5, 100)], 103, 103),  # nearest to the last price
        ([(9, 105)], [(5, 100)], 200, 105),
        ([(9, 105)], [(5, 100)], -7, 100),
        (
            [(4, 105), (5, 101)],
            [(4, 100), (3, 103)],
            None,
            102,
        ),  # 4 trade all over; the imbalance is 0 at 102 only
        ([(5, -1)], [(5, -4)], None, -3),  # the middle, rounded down
        ([(5, 103), (2, 100)], [(5, 100), (2, 103)], 50, 101),  # 101 and 102 leave nothing, 100 and 103 two
    ],
)
def test_the_price_of_an_uncross(desk, bids, asks, last, px):
    answer = auction(desk, bids, asks, last)
    assert [event.split("@")[1] for event in answer.events if event.startswith("UNCROSSED")] == [str(px)]


def test_an_uncross_trades_hidden_quantity_slice_by_slice(desk):
    desk.phase(Phase.AUCTION)
    desk.buy(1, 5, 100, display_qty=2)
    desk.buy(2, 2, 100)
    desk.sell(3, 6, 100, owner=2)
    answer = desk.phase(Phase.CONTINUOUS)
    assert answer.trades == ["TRADE 1<3 2@100 -", "TRADE 2<3 2@100 -", "TRADE 1<3 2@100 -"]
    assert answer.events[:4] == ["TRADE 1<3 2@100 -", "REMOVED 1", "ADDED 1 2@100", "CHANGED 3 4@100"]
    assert desk.book == "1:1@100 | "


def test_an_uncross_knows_no_self_trade_policy(desk):
    desk.phase(Phase.AUCTION)
    desk.buy(1, 5, 100, self_trade=3)
    desk.sell(2, 5, 100, self_trade=3)
    assert desk.phase(Phase.CLOSED).trades == ["TRADE 1<2 5@100 -"]


def test_a_book_that_does_not_cross_does_not_uncross(desk):
    answer = auction(desk, [(5, 99)], [(5, 100)])
    assert (answer.events, answer.exec_qty) == (["PHASE CONTINUOUS"], 0)


def test_the_value_of_an_uncross_wraps(desk):
    desk.phase(Phase.AUCTION)
    for number in range(4):
        desk.buy(10 + number, 2**32 - 1, 2**31 - 1)
        desk.sell(20 + number, 2**32 - 1, 2**31 - 1)
    answer = desk.phase(Phase.CLOSED)
    assert answer.exec_qty == 4 * (2**32 - 1)
    assert (answer.exec_value - answer.exec_qty * (2**31 - 1)) % 2**64 == 0


def test_stops_that_the_uncross_triggers_come_after_it(desk):
    desk.stop(1, BUY, 5, 101)
    desk.stop(2, SELL, 5, 100, time_in_force=Life.DAY)
    desk.phase(Phase.AUCTION)
    desk.buy(3, 5, 101)
    desk.sell(4, 9, 101)
    answer = desk.phase(Phase.CONTINUOUS)
    assert answer.events[-5:] == [
        "PHASE CONTINUOUS",
        "TRIGGERED 1 5@0",
        "TRADE 4<1 4@101 B",
        "REMOVED 4",
        "ENDED 1 1 UNFILLED_IOC_FOK",
    ]
    assert answer.exec_qty == 5


# --- bands and the clock --------------------------------------------------------------------------


def test_bands_refuse_what_comes_and_leave_what_rests(desk):
    desk.buy(1, 5, 90)
    assert (desk.bands(95, 105).code, desk.bands(95, 105).events) == (Code.OK, [])
    assert desk.book == "1:5@90 | "
    assert desk.buy(2, 5, 94).code == desk.sell(2, 5, 106).code == Code.PRICE_BAND
    assert desk.stop(2, BUY, 5, 106).code == desk.stop(2, BUY, 5, 105, 106).code == Code.PRICE_BAND
    assert desk.buy(2, 5, 95).code == desk.sell(3, 5, 105).code == Code.OK
    assert desk.modify(1, 4, 90).code == Code.PRICE_BAND
    assert desk.reduce(1, 1).code == Code.OK
    assert desk.sell(4, 2, 95, owner=2).exec_qty == 2


def test_bands_that_are_none(desk):
    edge = 2**31 - 1
    assert (
        desk.bands(5, 4).code
        == desk.bands(-edge - 1, 0).code
        == desk.bands(0, edge + 1).code
        == Code.BAD_TICK
    )
    assert desk.bands(4, 4).code == desk.bands(-edge, edge).code == Code.OK


def test_dated_orders_end_by_date_then_by_entry(make_desk):
    desk = make_desk()
    for number, date in ((1, 30), (2, 20), (3, 30), (4, 31)):
        desk.buy(number, 5, 100, time_in_force=Life.GTD, expire_ts=date)
    desk.stop(5, BUY, 5, 120, time_in_force=Life.GTD, expire_ts=20)
    assert desk.send(Kind.TIME, ts=19).events == []
    assert desk.send(Kind.TIME, ts=30).events == [
        "REMOVED 2",
        "ENDED 2 5 EXPIRED_TIME",
        "ENDED 5 5 EXPIRED_TIME",
        "REMOVED 1",
        "ENDED 1 5 EXPIRED_TIME",
        "REMOVED 3",
        "ENDED 3 5 EXPIRED_TIME",
        "LEVEL B 5@100 of 1",
    ]


def test_the_clock_goes_first_even_where_the_command_is_refused(desk):
    desk.sell(1, 5, 100, time_in_force=Life.GTD, expire_ts=10)
    answer = desk.market(2, BUY, 5, ts=10)
    assert (answer.code, answer.events) == (Code.NO_LIQUIDITY, ["REMOVED 1", "ENDED 1 5 EXPIRED_TIME"])
    assert desk.sell(1, 5, 100).code == Code.OK


def test_a_date_that_is_past_is_refused_and_counts_only_for_dated_orders(desk):
    fields = {"expire_ts": 10, "ts": 10}
    assert desk.buy(1, 5, 100, time_in_force=Life.GTD, **fields).code == Code.EXPIRED
    assert desk.buy(1, 5, 100, **fields).code == Code.OK
    assert desk.send(Kind.TIME, ts=11).events == []


def test_time_does_not_go_back(desk):
    desk.send(Kind.TIME, ts=10)
    assert desk.buy(1, 5, 100, ts=9).code == Code.UNSORTED
    assert desk.book == " | "
    assert desk.buy(1, 5, 100, ts=10).code == Code.OK
