"""docs/matching.md, level by level: allocation, self-trade prevention, cancelling, reducing, modifying."""

import pytest

from engine.matching.records import (
    POST_ONLY,
    POST_ONLY_SLIDE,
    REDUCE_ONLY,
    AllocationRule,
    Code,
    Kind,
    Life,
    SelfTradePolicy,
)
from tests.kit.matching import BUY, SELL


def shares(answer):
    """Who traded how much, in order: ``{"1": 5, ...}`` as text, such as ``1:5 2:3``."""
    return " ".join(f"{t.split()[1].split('<')[0]}:{t.split()[2].split('@')[0]}" for t in answer.trades)


@pytest.fixture
def pro_rata(make_desk):
    return lambda **settings: make_desk(levels=False, allocation=AllocationRule.PRO_RATA, **settings)


@pytest.fixture
def weighted(make_desk):
    return make_desk(levels=False, allocation=AllocationRule.SIZE_WEIGHTED)


# --- pro-rata -------------------------------------------------------------------------------------


def fill_level(desk, *quantities, px=100, owner=2, **fields):
    for number, qty in enumerate(quantities, 1):
        desk.sell(number, qty, px, owner=owner, **fields)


def test_pro_rata_shares_by_what_is_shown_and_the_rest_first_come(pro_rata):
    desk = pro_rata()
    fill_level(desk, 10, 20, 31)
    # 13 of 61: 2.13, 4.26, 6.6, then 1 left for the first.
    assert shares(desk.buy(9, 13, 100)) == "1:2 2:4 3:6 1:1"
    assert desk.book == " | 1:7@100 2:16@100 3:25@100"


def test_pro_rata_takes_a_whole_level_in_queue_order(pro_rata):
    desk = pro_rata()
    fill_level(desk, 3, 5, 2)
    assert shares(desk.buy(9, 30, 100)) == "1:3 2:5 3:2"


def test_shares_under_the_minimum_become_none(pro_rata):
    desk = pro_rata(min_allocation=3)
    fill_level(desk, 10, 20, 30)
    # 12 of 60: 2 (none), 4, 6, then 2 left for the first.
    assert shares(desk.buy(9, 12, 100)) == "2:4 3:6 1:2"


def test_a_share_is_cut_to_what_is_shown_before_it_is_held_to_the_minimum(pro_rata):
    desk = pro_rata(min_allocation=3)
    fill_level(desk, 2, 10)
    assert shares(desk.buy(9, 100, 100)) == "2:10 1:2"


def test_the_top_order_takes_its_share_first(pro_rata):
    desk = pro_rata(top_share=40)
    fill_level(desk, 50, 50)
    # 40 % of 21 is 8, then 13 in proportion to 42 and 50: 5 and 7, then 1.
    assert shares(desk.buy(9, 21, 100)) == "1:8 1:5 2:7 1:1"


def test_the_top_order_takes_no_more_than_it_shows(pro_rata):
    desk = pro_rata(top_share=100)
    fill_level(desk, 5, 50)
    assert shares(desk.buy(9, 21, 100)) == "1:5 2:16"


def test_only_who_made_the_level_the_best_is_its_top_order(pro_rata):
    desk = pro_rata(top_share=100)
    desk.sell(1, 10, 100)
    desk.sell(2, 10, 101)  # a new level behind the best has none
    desk.sell(3, 10, 101)
    desk.cancel(1)
    assert shares(desk.buy(9, 10, 101)) == "2:5 3:5"
    desk.sell(4, 10, 99)
    desk.sell(5, 10, 98)
    desk.cancel(5)
    desk.sell(6, 10, 99)
    assert shares(desk.buy(9, 8, 99)) == "4:8"


@pytest.mark.parametrize(("qty", "expected"), [(9, "1:8"), (11, "2:3 1:4 2:1")])
def test_a_top_order_stays_the_top_while_it_keeps_its_place(pro_rata, qty, expected):
    desk = pro_rata(top_share=100)
    fill_level(desk, 10, 10)
    desk.modify(1, qty, 100, owner=2)
    assert shares(desk.buy(9, 8, 100)) == expected


def test_an_icebergs_second_slice_is_not_the_top_order(pro_rata):
    desk = pro_rata(top_share=100)
    desk.sell(1, 20, 100, display_qty=4)
    desk.sell(2, 8, 100)
    assert shares(desk.buy(9, 4, 100)) == "1:4"
    assert desk.book == " | 2:8@100 1:4@100"
    assert shares(desk.buy(9, 6, 100)) == "2:4 1:2"


def test_hidden_quantity_waits_for_the_next_round(pro_rata):
    desk = pro_rata()
    desk.sell(1, 30, 100, display_qty=10)
    desk.sell(2, 20, 100)
    answer = desk.buy(9, 29, 100)
    # 29 of 30: 9.67 and 19.3, the one left to the first: its new slice is not of this round.
    assert shares(answer) == "1:9 2:19 1:1"
    assert desk.book == " | 2:1@100 1:10@100"
    answer = desk.buy(9, 15, 100)
    assert shares(answer) == "2:1 1:10 1:4"


def test_products_of_the_largest_quantities_are_exact(pro_rata):
    desk = pro_rata()
    largest = 2**32 - 1
    fill_level(desk, largest, largest)
    half = largest // 2
    assert shares(desk.buy(9, largest, 100)) == f"1:{half} 2:{half} 1:1"


def test_a_reduce_only_order_is_cut_in_its_turn_and_the_cut_goes_to_the_others(pro_rata):
    desk = pro_rata()
    desk.sell(1, 5, 90, owner=9)
    desk.buy(2, 5, 90, owner=2)
    desk.sell(1, 10, 100, owner=2, flags=REDUCE_ONLY)
    desk.sell(2, 10, 100, owner=2, flags=REDUCE_ONLY)
    desk.sell(3, 10, 100, owner=3)
    answer = desk.buy(9, 15, 100, owner=4)
    # 5 each: the first reduces all there is, the second ends; its share goes first come: the first ends.
    assert shares(answer) == "1:5 3:5 3:5"
    assert answer.ends == ["ENDED 2 10 REDUCE_ONLY", "ENDED 1 5 REDUCE_ONLY"]


def test_an_arriving_reduce_only_order_counts_as_large_as_what_it_may_reduce(pro_rata):
    desk = pro_rata()
    desk.sell(1, 6, 90, owner=9)
    desk.buy(2, 6, 90, owner=2)
    desk.buy(1, 10, 80, owner=3)
    desk.buy(2, 20, 80, owner=3)
    answer = desk.sell(3, 30, 80, owner=2, flags=REDUCE_ONLY)
    assert shares(answer) == "1:2 2:4"
    assert answer.ends == ["ENDED 3 24 REDUCE_ONLY"]


# --- size-weighted --------------------------------------------------------------------------------


def test_the_larger_goes_first_and_equal_ones_first_come(weighted):
    for number, qty in enumerate((5, 9, 5, 9), 1):
        weighted.sell(number, qty, 100)
    assert shares(weighted.buy(9, 25, 100)) == "2:9 4:9 1:5 3:2"


def test_size_counts_what_is_shown_and_next_slices_wait(weighted):
    weighted.sell(1, 50, 100, display_qty=8)
    weighted.sell(2, 9, 100)
    weighted.sell(3, 2, 100)
    assert shares(weighted.buy(9, 25, 100)) == "2:9 1:8 3:2 1:6"


# --- self-trade prevention ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "events", "book"),
    [
        (
            "NONE",
            ["TRADE 1<9 2@100 S", "REMOVED 1", "TRADE 2<9 4@100 S", "CHANGED 2 1@100"],
            "2:1@100 3:9@99 | ",
        ),
        ("CANCEL_NEWEST", ["TRADE 1<9 2@100 S", "REMOVED 1", "ENDED 9 4 SELF_TRADE"], "2:5@100 3:9@99 | "),
        (
            "CANCEL_OLDEST",
            [
                "TRADE 1<9 2@100 S",
                "REMOVED 1",
                "REMOVED 2",
                "ENDED 2 5 SELF_TRADE",
                "TRADE 3<9 4@99 S",
                "CHANGED 3 5@99",
            ],
            "3:5@99 | ",
        ),
        (
            "CANCEL_BOTH",
            [
                "TRADE 1<9 2@100 S",
                "REMOVED 1",
                "REMOVED 2",
                "ENDED 2 5 SELF_TRADE",
                "ENDED 9 4 SELF_TRADE",
            ],
            "3:9@99 | ",
        ),
        (
            "DECREMENT",
            ["TRADE 1<9 2@100 S", "REMOVED 1", "REPLACED 2 1@100", "CHANGED 2 1@100", "ENDED 9 4 SELF_TRADE"],
            "2:1@100 3:9@99 | ",
        ),
    ],
)
def test_each_policy_when_the_order_reaches_its_owners(desk, policy, events, book):
    desk.buy(1, 2, 100, owner=2)
    desk.buy(2, 5, 100)
    desk.buy(3, 9, 99, owner=2)
    answer = desk.sell(9, 6, 99, self_trade=SelfTradePolicy[policy])
    assert answer.events[1:] == events
    assert desk.book == book


def test_decrement_ends_the_smaller_and_the_larger_goes_on(desk):
    desk.buy(1, 9, 100, display_qty=4)
    desk.buy(2, 3, 99, owner=2)
    answer = desk.sell(9, 14, 99, self_trade=SelfTradePolicy.DECREMENT)
    assert answer.events[1:] == [
        "REMOVED 1",
        "ENDED 1 9 SELF_TRADE",
        "REPLACED 9 5@99",
        "TRADE 2<9 3@99 S",
        "REMOVED 2",
        "ADDED 9 2@99",
    ]
    assert (answer.exec_qty, answer.leaves_qty) == (3, 2)


def test_decrement_of_equal_ones_ends_both(desk):
    desk.buy(1, 4, 100)
    answer = desk.sell(9, 4, 100, self_trade=SelfTradePolicy.DECREMENT)
    assert answer.events[1:] == ["REMOVED 1", "ENDED 1 4 SELF_TRADE", "ENDED 9 4 SELF_TRADE"]


def test_decrement_takes_hidden_quantity_first(desk):
    desk.buy(1, 9, 100, display_qty=4)
    answer = desk.sell(9, 5, 100, self_trade=SelfTradePolicy.DECREMENT)
    assert answer.events[1:] == ["REPLACED 1 4@100", "ENDED 9 5 SELF_TRADE"]
    assert desk.book == "1:4@100 | "


@pytest.mark.parametrize("allocation", [AllocationRule.PRO_RATA, AllocationRule.SIZE_WEIGHTED])
def test_shared_levels_prevent_self_trades_before_anything_trades(make_desk, allocation):
    desk = make_desk(levels=False, allocation=allocation)
    desk.buy(1, 5, 100, owner=2)
    desk.buy(2, 5, 100)
    desk.buy(3, 5, 100)
    answer = desk.sell(9, 12, 100, self_trade=SelfTradePolicy.CANCEL_OLDEST)
    assert answer.ends == ["ENDED 2 5 SELF_TRADE", "ENDED 3 5 SELF_TRADE"]
    assert answer.trades == ["TRADE 1<9 5@100 S"]
    assert answer.events.index("ENDED 3 5 SELF_TRADE") < answer.events.index("TRADE 1<9 5@100 S")
    desk.cancel(9)
    desk.buy(4, 5, 101, owner=2)
    desk.buy(5, 5, 100, owner=2)
    desk.buy(6, 5, 100)
    answer = desk.sell(9, 12, 100, self_trade=SelfTradePolicy.CANCEL_NEWEST)
    assert answer.events[1:] == ["TRADE 4<9 5@101 S", "REMOVED 4", "ENDED 9 7 SELF_TRADE"]


def test_the_policy_of_the_resting_order_does_not_matter(desk):
    desk.buy(1, 5, 100, self_trade=SelfTradePolicy.CANCEL_BOTH)
    assert desk.sell(2, 5, 100).exec_qty == 5


# --- cancel, reduce, mass cancel ------------------------------------------------------------------


def test_cancels_say_who_asked(desk):
    desk.buy(1, 5, 100)
    desk.buy(2, 5, 100)
    assert desk.cancel(1).events == ["REMOVED 1", "ENDED 1 5 CANCEL_REQUESTED"]
    assert desk.cancel(2, owner=0).events == ["REMOVED 2", "ENDED 2 5 CANCEL_BY_OPERATOR"]
    desk.stop(3, BUY, 5, 120)
    assert desk.cancel(3).events == ["ENDED 3 5 CANCEL_REQUESTED"]


def test_reduce_keeps_the_place_and_takes_hidden_quantity_first(desk):
    desk.buy(1, 9, 100, display_qty=4)
    desk.buy(2, 9, 100)
    answer = desk.reduce(1, 5)
    assert (answer.events, answer.leaves_qty, answer.px) == (["REPLACED 1 4@100"], 4, 100)
    assert desk.reduce(1, 1).events == ["REPLACED 1 3@100", "CHANGED 1 3@100"]
    assert desk.book == "1:3@100 2:9@100 | "
    assert desk.reduce(2, 9).events == ["REMOVED 2", "ENDED 2 9 CANCEL_REQUESTED"]
    assert desk.reduce(1, 2**32 - 1, owner=0).events == ["REMOVED 1", "ENDED 1 3 CANCEL_BY_OPERATOR"]


def test_reduce_of_a_waiting_stop(desk):
    desk.stop(1, BUY, 5, 120, 125)
    answer = desk.reduce(1, 2)
    assert (answer.events, answer.leaves_qty, answer.px) == (["REPLACED 1 3@125"], 3, 125)


@pytest.mark.parametrize(
    ("owner", "side", "ended"),
    [(0, 0, "3 2 1 5 4 6 7"), (1, 0, "3 1 4 6"), (2, 0, "2 5 7"), (0, BUY, "3 2 1 6"), (2, SELL, "5 7")],
)
def test_mass_cancel_goes_through_the_book_from_the_best_then_through_the_stops(desk, owner, side, ended):
    desk.buy(1, 1, 98)
    desk.buy(2, 1, 99, owner=2)
    desk.buy(3, 1, 100)
    desk.sell(4, 1, 104)
    desk.sell(5, 1, 103, owner=2)
    desk.stop(6, BUY, 1, 120)
    desk.stop(7, SELL, 1, 80, owner=2)
    answer = desk.send(Kind.MASS_CANCEL, owner=owner, side=side)
    assert answer.code == Code.OK
    assert [end.split()[1] for end in answer.ends] == ended.split()
    assert all(end.endswith("MASS_CANCEL") for end in answer.ends)


# --- modify ---------------------------------------------------------------------------------------


def test_modify_to_less_at_the_same_price_keeps_the_place(desk):
    desk.buy(1, 9, 100, display_qty=4)
    desk.buy(2, 5, 100)
    answer = desk.modify(1, 6, 100)
    assert (answer.events, answer.leaves_qty) == (["REPLACED 1 6@100"], 6)
    assert desk.modify(1, 3, 100).events == ["REPLACED 1 3@100", "CHANGED 1 3@100"]
    assert desk.modify(1, 3, 100).events == ["REPLACED 1 3@100"]
    assert desk.book == "1:3@100 2:5@100 | "


def test_modify_to_more_or_another_price_loses_the_place(desk):
    desk.buy(1, 5, 100)
    desk.buy(2, 5, 100)
    assert desk.modify(1, 6, 100).events == ["REPLACED 1 6@100", "REMOVED 1", "ADDED 1 6@100"]
    assert desk.modify(2, 4, 99).events == ["REPLACED 2 4@99", "REMOVED 2", "ADDED 2 4@99"]
    assert desk.book == "1:6@100 2:4@99 | "


def test_a_modified_order_may_trade(desk):
    desk.sell(1, 5, 102, owner=2)
    desk.buy(2, 5, 100)
    answer = desk.modify(2, 8, 102)
    assert answer.events == [
        "REPLACED 2 8@102",
        "REMOVED 2",
        "TRADE 1<2 5@102 B",
        "REMOVED 1",
        "ADDED 2 3@102",
    ]
    assert (answer.exec_qty, answer.exec_value, answer.leaves_qty, answer.px) == (5, 510, 3, 102)


def test_a_modified_order_keeps_its_policy_and_may_meet_its_owner(desk):
    desk.sell(1, 5, 102)
    desk.buy(2, 5, 100, self_trade=SelfTradePolicy.CANCEL_NEWEST)
    assert desk.modify(2, 5, 102).ends == ["ENDED 2 5 SELF_TRADE"]


def test_a_modified_post_only_order_is_refused_or_slides(desk):
    desk.sell(1, 5, 102, owner=2)
    desk.buy(2, 5, 100, flags=POST_ONLY)
    desk.buy(3, 5, 101, flags=POST_ONLY_SLIDE)
    desk.buy(4, 5, 101)
    assert desk.modify(2, 5, 102).code == Code.POST_ONLY
    # Asked for another price than its own: anew, though it slides back to where it was.
    assert desk.modify(3, 5, 109).events == ["REPLACED 3 5@101", "REMOVED 3", "ADDED 3 5@101"]
    assert desk.book == "4:5@101 3:5@101 2:5@100 | 1:5@102"
    desk.bands(102, 200)
    assert desk.modify(3, 5, 109).code == Code.PRICE_BAND


def test_a_modified_reduce_only_order_ends_when_it_meets_somebody_without_a_position(desk):
    desk.sell(1, 5, 90, owner=9)
    desk.buy(2, 5, 90)
    desk.sell(3, 5, 100, flags=REDUCE_ONLY)
    desk.sell(4, 5, 95)
    desk.buy(5, 5, 95, owner=2)
    desk.buy(6, 5, 94, owner=2)
    assert desk.modify(3, 4, 94).events == ["REPLACED 3 4@94", "REMOVED 3", "ENDED 3 4 REDUCE_ONLY"]


def test_a_display_quantity_is_cut_to_the_open_quantity_for_good(desk):
    desk.buy(1, 9, 100, display_qty=4)
    desk.modify(1, 2, 100)
    desk.modify(1, 9, 100)
    assert desk.book == "1:2@100 | "


def test_entry_of_a_modified_order_is_the_modification(desk):
    desk.buy(1, 5, 100, time_in_force=Life.GTD, expire_ts=50)
    desk.buy(2, 5, 100, time_in_force=Life.GTD, expire_ts=50)
    desk.modify(1, 5, 101)
    assert desk.send(Kind.TIME, ts=50).ends == ["ENDED 2 5 EXPIRED_TIME", "ENDED 1 5 EXPIRED_TIME"]
