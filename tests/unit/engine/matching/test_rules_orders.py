"""docs/matching.md, order by order: types, times in force, icebergs, post-only, reduce-only."""

import pytest

from engine.matching.records import POST_ONLY, POST_ONLY_SLIDE, REDUCE_ONLY, Code, Life, Phase
from tests.kit.matching import BUY, SELL


def give_position(desk, owner, lots, px=100):
    """Lets ``owner`` buy (or sell) so many lots from owner 9."""
    side = BUY if lots > 0 else SELL
    desk.add(9001, -side, abs(lots), px, owner=9)
    desk.add(9002, side, abs(lots), px, owner=owner)
    assert desk.book == " | "


# --- limit orders ---------------------------------------------------------------------------------


def test_a_limit_order_rests_and_is_told_of(make_desk):
    desk = make_desk()
    answer = desk.buy(1, 5, 100)
    assert answer.events == ["ACCEPTED 1 5@100", "ADDED 1 5@100", "LEVEL B 5@100 of 1"]
    assert (answer.code, answer.exec_qty, answer.leaves_qty, answer.px) == (Code.OK, 0, 5, 100)


def test_a_limit_order_trades_best_price_first_then_first_come_at_the_resting_price(desk):
    desk.sell(1, 5, 101)
    desk.sell(2, 5, 100)
    desk.sell(3, 5, 100)
    answer = desk.buy(4, 12, 102)
    assert answer.events == [
        "ACCEPTED 4 12@102",
        "TRADE 2<4 5@100 B",
        "REMOVED 2",
        "TRADE 3<4 5@100 B",
        "REMOVED 3",
        "TRADE 1<4 2@101 B",
        "CHANGED 1 3@101",
    ]
    assert (answer.exec_qty, answer.exec_value, answer.leaves_qty, answer.px) == (12, 1202, 0, 0)
    assert desk.book == " | 1:3@101"


@pytest.mark.parametrize(
    ("life", "last_event", "leaves"),
    [
        (Life.GTC, "ADDED 2 3@100", 3),
        (Life.DAY, "ADDED 2 3@100", 3),
        (Life.GTD, "ADDED 2 3@100", 3),
        (Life.IOC, "ENDED 2 3 UNFILLED_IOC_FOK", 0),
    ],
)
def test_what_a_limit_order_does_not_trade_rests_or_ends(desk, life, last_event, leaves):
    desk.buy(1, 2, 100)
    answer = desk.sell(2, 5, 100, time_in_force=life, expire_ts=10)
    assert answer.events[1:] == ["TRADE 1<2 2@100 S", "REMOVED 1", last_event]
    assert (answer.exec_qty, answer.leaves_qty, answer.px) == (2, leaves, 100 if leaves else 0)


def test_prices_below_zero_are_prices(desk):
    desk.sell(1, 2, -5)
    answer = desk.buy(2, 2, -3)
    assert answer.trades == ["TRADE 1<2 2@-5 B"]
    assert answer.exec_value == -10


# --- fill or kill ---------------------------------------------------------------------------------


def test_a_fill_or_kill_order_trades_whole_or_changes_nothing(desk):
    desk.sell(1, 2, 100)
    desk.sell(2, 9, 101, display_qty=1)
    desk.sell(3, 9, 103)
    refused = desk.buy(4, 12, 102, time_in_force=Life.FOK)
    assert (refused.code, refused.events) == (Code.FOK, [])
    filled = desk.buy(4, 11, 102, time_in_force=Life.FOK)
    assert (filled.code, filled.exec_qty) == (Code.OK, 11)
    assert desk.book == " | 3:9@103"


def test_a_fill_or_kill_order_does_not_count_on_reduce_only_orders(desk):
    give_position(desk, 2, 5)
    desk.sell(1, 5, 100, owner=2, flags=REDUCE_ONLY)
    assert desk.buy(2, 5, 100, owner=3, time_in_force=Life.FOK).code == Code.FOK
    desk.sell(3, 5, 101, owner=4)
    filled = desk.buy(2, 5, 101, owner=3, time_in_force=Life.FOK)
    assert filled.trades == ["TRADE 1<2 5@100 B"]


@pytest.mark.parametrize(
    ("policy", "countable"),
    [(0, 12), (1, 2), (2, 9), (3, 2), (4, 2)],
)
def test_a_fill_or_kill_order_counts_by_its_self_trade_policy(desk, policy, countable):
    desk.sell(1, 2, 99, owner=2)
    desk.sell(2, 3, 100, owner=2)
    desk.sell(3, 3, 100, owner=1)
    desk.sell(4, 4, 101, owner=2)
    fields = {"time_in_force": Life.FOK, "self_trade": policy}
    assert desk.buy(5, countable + 1, 101, **fields).code == Code.FOK
    answer = desk.buy(5, countable, 101, **fields)
    assert (answer.code, answer.exec_qty) == (Code.OK, countable)


# --- market orders --------------------------------------------------------------------------------


def test_a_market_order_sweeps_and_its_rest_ends(desk):
    desk.sell(1, 2, 100)
    desk.sell(2, 2, 5000)
    answer = desk.market(3, BUY, 5)
    assert answer.events == [
        "ACCEPTED 3 5@0",
        "TRADE 1<3 2@100 B",
        "REMOVED 1",
        "TRADE 2<3 2@5000 B",
        "REMOVED 2",
        "ENDED 3 1 UNFILLED_IOC_FOK",
    ]


@pytest.mark.parametrize(("side", "prices"), [(BUY, (100, 103, 104)), (SELL, (100, 97, 96))])
def test_protection_stops_a_market_order(make_desk, side, prices):
    desk = make_desk(protection_ticks=3)
    for number, px in enumerate(prices, 1):
        desk.add(number, -side, 1, px)
    answer = desk.market(9, side, 3)
    assert (answer.exec_qty, answer.ends) == (2, ["ENDED 9 1 UNFILLED_IOC_FOK"])


@pytest.mark.parametrize("side", [BUY, SELL])
def test_bands_stop_a_market_order_on_its_far_side_only(desk, side):
    desk.add(1, -side, 1, 100 * side)
    desk.add(2, -side, 1, 105 * side)
    desk.add(3, -side, 1, 110 * side)
    desk.bands(*sorted((105 * side, 108 * side)))
    answer = desk.market(4, side, 3)
    assert (answer.exec_qty, answer.ends) == (2, ["ENDED 4 1 UNFILLED_IOC_FOK"])


def test_a_market_order_is_refused_without_anything_opposite(desk):
    desk.buy(1, 1, 100)
    assert desk.market(2, BUY, 1).code == Code.NO_LIQUIDITY
    assert desk.market(2, BUY, 1, time_in_force=Life.FOK).code == Code.FOK


def test_a_market_fill_or_kill_order_counts_to_its_protection(make_desk):
    desk = make_desk(protection_ticks=1)
    desk.sell(1, 1, 100)
    desk.sell(2, 1, 101)
    desk.sell(3, 1, 102)
    assert desk.market(4, BUY, 3, time_in_force=Life.FOK).code == Code.FOK
    assert desk.market(4, BUY, 2, time_in_force=Life.FOK).exec_qty == 2


# --- post-only ------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [{"flags": POST_ONLY}, {"time_in_force": Life.GTX}])
def test_post_only_is_refused_where_it_would_trade(desk, how):
    desk.sell(1, 5, 100)
    assert desk.buy(2, 5, 100, **how).code == Code.POST_ONLY
    assert desk.buy(2, 5, 99, **how).events == ["ACCEPTED 2 5@99", "ADDED 2 5@99"]


def test_a_post_only_order_may_slide_behind_the_best(desk):
    desk.sell(1, 5, 100)
    desk.buy(2, 5, 97)
    answer = desk.buy(3, 5, 105, flags=POST_ONLY_SLIDE)
    assert (answer.events, answer.px) == (["ACCEPTED 3 5@99", "ADDED 3 5@99"], 99)
    answer = desk.sell(4, 5, 95, flags=POST_ONLY_SLIDE, time_in_force=Life.GTX)
    assert answer.px == 100
    desk.bands(100, 200)
    assert desk.buy(5, 5, 100, flags=POST_ONLY_SLIDE).code == Code.PRICE_BAND


def test_a_resting_post_only_order_trades_like_any(desk):
    desk.buy(1, 5, 100, flags=POST_ONLY)
    assert desk.sell(2, 5, 100).exec_qty == 5


# --- icebergs -------------------------------------------------------------------------------------


def test_an_icebergs_next_slice_goes_to_the_end_of_the_queue(desk):
    desk.sell(1, 7, 100, display_qty=3)
    desk.sell(2, 4, 100)
    assert desk.book == " | 1:3@100 2:4@100"
    answer = desk.buy(3, 4, 100)
    assert answer.events[1:] == [
        "TRADE 1<3 3@100 B",
        "REMOVED 1",
        "ADDED 1 3@100",
        "TRADE 2<3 1@100 B",
        "CHANGED 2 3@100",
    ]
    assert desk.book == " | 2:3@100 1:3@100"
    assert desk.buy(4, 7, 100).trades == ["TRADE 2<4 3@100 B", "TRADE 1<4 3@100 B", "TRADE 1<4 1@100 B"]
    assert desk.book == " | "


def test_an_iceberg_takes_with_its_whole_quantity_and_shows_a_slice_of_the_rest(desk):
    desk.sell(1, 5, 100)
    answer = desk.buy(2, 12, 100, display_qty=4)
    assert (answer.exec_qty, answer.leaves_qty) == (5, 7)
    assert desk.book == "2:4@100 | "


def test_a_display_quantity_of_all_is_an_ordinary_order(desk):
    desk.buy(1, 5, 100, display_qty=5)
    desk.modify(1, 9, 100)
    assert desk.book == "1:9@100 | "


def test_an_iceberg_has_at_most_a_thousand_slices(desk):
    assert desk.buy(1, 2001, 100, display_qty=2).code == Code.BAD_QTY
    assert desk.buy(1, 2000, 100, display_qty=2).code == Code.OK
    assert desk.modify(1, 2001, 100).code == Code.BAD_QTY


# --- reduce-only ----------------------------------------------------------------------------------


def test_reduce_only_needs_an_opposite_position(desk):
    assert desk.sell(1, 5, 100, flags=REDUCE_ONLY).code == Code.REDUCE_ONLY
    give_position(desk, 1, 5)
    assert desk.buy(1, 5, 100, flags=REDUCE_ONLY).code == Code.REDUCE_ONLY
    assert desk.sell(1, 9, 100, flags=REDUCE_ONLY).code == Code.OK


def test_a_reduce_only_fill_or_kill_order_is_not_larger_than_the_position(desk):
    give_position(desk, 1, 5)
    desk.buy(1, 20, 100, owner=2)
    fields = {"flags": REDUCE_ONLY, "time_in_force": Life.FOK}
    assert desk.sell(2, 6, 100, **fields).code == Code.REDUCE_ONLY
    assert desk.sell(2, 5, 100, **fields).exec_qty == 5


def test_an_arriving_reduce_only_order_trades_to_zero_and_ends(desk):
    give_position(desk, 1, 5)
    desk.buy(1, 20, 100, owner=2)
    answer = desk.sell(2, 9, 100, flags=REDUCE_ONLY)
    assert answer.events[1:] == ["TRADE 1<2 5@100 S", "CHANGED 1 15@100", "ENDED 2 4 REDUCE_ONLY"]


def test_an_arriving_reduce_only_order_at_zero_rests_when_nothing_is_left_to_meet(desk):
    give_position(desk, 1, 5)
    desk.buy(1, 5, 100, owner=2)
    answer = desk.sell(2, 9, 100, flags=REDUCE_ONLY)
    assert answer.events[-1] == "ADDED 2 4@100"


def test_a_resting_reduce_only_order_is_cut_and_ends_when_met_again(desk):
    give_position(desk, 1, 5)
    desk.sell(1, 9, 100, flags=REDUCE_ONLY)
    desk.sell(2, 9, 100, owner=2)
    assert desk.buy(3, 5, 100, owner=3).events[1:] == ["TRADE 1<3 5@100 B", "CHANGED 1 4@100"]
    answer = desk.buy(4, 5, 100, owner=3)
    assert answer.events[1:] == [
        "REMOVED 1",
        "ENDED 1 4 REDUCE_ONLY",
        "TRADE 2<4 5@100 B",
        "CHANGED 2 4@100",
    ]


def test_a_trade_with_oneself_reduces_nothing_and_is_not_made(desk):
    give_position(desk, 1, 5)
    desk.buy(1, 20, 100)
    assert desk.sell(2, 9, 100, flags=REDUCE_ONLY).events[1:] == ["ENDED 2 9 SELF_TRADE"]
    assert desk.sell(3, 2, 100, flags=REDUCE_ONLY, self_trade=2).ends == ["ENDED 1 20 SELF_TRADE"]
    assert desk.book == " | 3:2@100"
    assert desk.buy(4, 2**32 - 1, 100).events[1:] == [
        "REMOVED 3",
        "ENDED 3 2 REDUCE_ONLY",
        f"ADDED 4 {2**32 - 1}@100",
    ]


def test_a_modified_reduce_only_order_does_not_trade_with_its_owner_either(desk):
    give_position(desk, 1, 5)
    desk.buy(1, 20, 90)
    desk.sell(2, 5, 100, flags=REDUCE_ONLY)
    assert desk.modify(2, 5, 90).ends == ["ENDED 2 5 SELF_TRADE"]


def test_a_reduce_only_market_order(desk):
    give_position(desk, 1, -5)
    desk.sell(1, 4, 100, owner=2)
    assert desk.market(2, BUY, 9, flags=REDUCE_ONLY).ends == ["ENDED 2 5 UNFILLED_IOC_FOK"]
    desk.sell(1, 4, 100, owner=2)
    assert desk.market(2, BUY, 9, flags=REDUCE_ONLY).ends == ["ENDED 2 8 REDUCE_ONLY"]


def test_an_auction_ends_resting_reduce_only_orders(desk):
    give_position(desk, 1, 5)
    give_position(desk, 2, -5)
    desk.sell(1, 1, 102, flags=REDUCE_ONLY)
    desk.sell(2, 1, 101, flags=REDUCE_ONLY)
    desk.buy(3, 1, 99, owner=2, flags=REDUCE_ONLY)
    answer = desk.phase(Phase.AUCTION)
    assert answer.ends == ["ENDED 3 1 REDUCE_ONLY", "ENDED 2 1 REDUCE_ONLY", "ENDED 1 1 REDUCE_ONLY"]
