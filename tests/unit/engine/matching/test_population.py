"""The agents on their matcher: tables, determinism, books that agree, and that others' orders are real."""

import contextlib
import dataclasses
import math

import numpy as np
import pytest

from engine.book.l2 import L2
from engine.core.errors import ConfigError, OrderNotFound, RingbookError
from engine.core.types import event_dtype
from engine.feeds.market import AgentMarket
from engine.matching.laws import PROBABILITIES, load_law
from engine.matching.population import EXTERNAL_OWNER, equally_likely, more_than, shares_of

SECOND = 1_000_000_000
ME = EXTERNAL_OWNER
BUY, SELL = 1, -1
IOC = 3


class Market:
    """A population with a book that follows what everybody sees."""

    def __init__(self, seed=5, **options):
        source = AgentMarket("X", seed=seed, **options)
        self.agents = source.population()
        self.book = L2(source.tick_size, source.lot_size)
        self.now = source.start_ts
        self.rows = np.empty(1 << 14, event_dtype)

    def run(self, seconds):
        self.now += int(seconds * SECOND)
        seen = []
        while not seen or len(seen[-1]) == len(self.rows):
            n = self.agents.fill(self.rows, self.now)
            seen.append(self.rows[:n].copy())
            self.book.apply(seen[-1], "exch")
        return np.concatenate(seen)

    @property
    def mid(self):
        return (self.book.best_bid_tick + self.book.best_ask_tick) / 2


def test_equally_likely_values_have_the_quantiles():
    values = equally_likely([100 * p for p in PROBABILITIES], 1000)
    assert values == sorted(values)
    assert values[499] in (50, 49)
    assert values[0] == 0
    assert values[-1] == 100


def test_shares_are_whole_and_complete():
    assert shares_of([1.0, 1.0, 2.0], 4) == [1, 1, 2]
    assert sum(shares_of([0.1, 0.7, 3.3, 0.0], 4096)) == 4096
    assert shares_of([0.0, 5.0], 7) == [0, 7]


@pytest.mark.parametrize("mean", [0.0, 0.05, 0.5, 1.0])
def test_children_are_poisson(mean):
    found = more_than(mean, 5)
    at_most = 0.0
    for k, probability in enumerate(found):
        at_most += math.exp(-mean) * mean**k / math.factorial(k)
        assert probability == pytest.approx((1 - at_most) * 2**32, abs=4)


def test_time_does_not_depend_on_how_it_is_cut():
    whole, cut = Market(), Market()
    rows = whole.run(2.0)
    pieces = np.concatenate([cut.run(0.1) for _ in range(20)])
    assert rows.tobytes() == pieces.tobytes()
    assert whole.agents.commands == cut.agents.commands


def test_books_and_orders_agree_step_by_step():
    market = Market(seed=11)
    for _ in range(40):
        market.run(0.25)
        market.agents.check_invariants()
        assert market.book.best_bid_tick < market.book.best_ask_tick
    assert market.agents.resting > 500
    assert market.agents.commands > 5000


def test_what_owners_hold_adds_up_to_nothing():
    market = Market(seed=3)
    market.run(5.0)
    market.agents.order(ME, BUY, market.book.best_ask_tick + 50, 4000, IOC)
    market.run(5.0)
    positions = [market.agents.position(owner) for owner in range(64)]
    assert sum(positions) == 0
    assert positions[ME] > 0


def test_an_order_of_somebody_else_is_taken_by_agents():
    market = Market(seed=4)
    market.run(2.0)
    tick = market.book.best_bid_tick
    order, executed, left = market.agents.order(ME, BUY, tick, 5)
    assert (executed, left) == (0, 5)
    before = market.book.bid_qty_at_tick(tick)
    market.run(0.0001)
    assert market.book.bid_qty_at_tick(tick) == pytest.approx(before + 0.005)
    for _ in range(240):
        market.run(0.25)
        if market.agents.position(ME) == 5:
            break
    assert market.agents.position(ME) == 5
    with pytest.raises(OrderNotFound):
        market.agents.cancel(ME, order)


def test_an_order_can_be_cancelled_by_who_sent_it_only():
    market = Market(seed=4)
    market.run(1.0)
    order, *_ = market.agents.order(ME, SELL, market.book.best_ask_tick + 900, 7)
    with pytest.raises(RingbookError):
        market.agents.cancel(ME + 1, order)
    market.agents.cancel(ME, order)
    with pytest.raises(OrderNotFound):
        market.agents.cancel(ME, order)
    with pytest.raises(ConfigError, match="owner 1 is an agent"):
        market.agents.order(1, BUY, 1000, 1)
    with pytest.raises(ConfigError, match="owners 0 to 63"):
        market.agents.position(64)


def test_a_large_order_moves_the_price():
    moves = []
    for seed in range(6):
        touched, left_alone = Market(seed=seed), Market(seed=seed)
        for market in (touched, left_alone):
            market.run(3.0)
        assert touched.mid == left_alone.mid
        touched.agents.order(ME, BUY, touched.book.best_ask_tick + 60, 10**6, IOC)
        for market in (touched, left_alone):
            market.run(0.05)
        moves.append(touched.mid - left_alone.mid)
    assert np.median(moves) > 10


def test_more_informed_traders_keep_the_price_nearer_to_the_fair_value():
    def distance(informed):
        law = load_law()
        law = dataclasses.replace(law, agents=dataclasses.replace(law.agents, informed=informed))
        market = Market(seed=8, law=law)
        away = []
        for _ in range(150):
            market.run(0.2)
            away.append(abs(market.mid - market.agents.fair_tick))
        return np.mean(away)

    assert distance(4) < 0.5 * distance(0)


def test_a_crowd_that_is_too_large_is_refused():
    law = load_law()
    crowd = dataclasses.replace(law.crowd, placed=tuple(1e5 for _ in law.crowd.placed))
    with pytest.raises(ConfigError, match="more than 262144"):
        AgentMarket("X", law=dataclasses.replace(law, crowd=crowd)).population()


@pytest.mark.parametrize("seed", [1, 2])
def test_a_lively_law_loses_nothing(seed):
    """Every kind of trader, restless; a thin crowd; news all the time."""
    law = load_law()
    crowd = dataclasses.replace(law.crowd, placed=tuple(max(0.2, x / 20) for x in law.crowd.placed))
    fair = dataclasses.replace(law.fair, news=36000.0, activity=0.9)
    agents = dataclasses.replace(
        law.agents, makers=8, informed=8, momentum=8, reversion=8, momentum_looks=50.0, reversion_looks=50.0,
        maker_levels=4, momentum_edge=5, reversion_edge=5,
    )  # fmt: skip
    market = Market(seed=seed, law=dataclasses.replace(law, crowd=crowd, fair=fair, agents=agents))
    for _ in range(10):
        market.run(1.0)
        market.agents.check_invariants()
    held = [market.agents.position(owner) for owner in range(64)]
    assert sum(held) == 0
    assert sum(position != 0 for position in held[3:35]) > 12


@pytest.mark.parametrize("seed", range(4))
def test_strangers_at_random_break_nothing(seed):
    """Three of them send, sweep and cancel between the agents; what is seen stays what the matcher holds."""
    rng = np.random.default_rng(seed)
    market = Market(seed=seed)
    market.run(1.0)
    live, executed = [], dict.fromkeys(range(ME, ME + 3), 0)
    for _ in range(200):
        owner, side = ME + int(rng.integers(3)), int(rng.choice([BUY, SELL]))
        best = market.book.best_ask_tick if side == BUY else market.book.best_bid_tick
        if live and rng.random() < 0.3:
            whose, order = live.pop(int(rng.integers(len(live))))
            with contextlib.suppress(OrderNotFound):
                market.agents.cancel(whose, order)
        else:
            tick = best + side * int(rng.integers(-30, 30))
            lots = int(rng.integers(1, 5000))
            order, taken, left = market.agents.order(owner, side, tick, lots, int(rng.choice([0, IOC])))
            assert 0 <= taken <= lots
            executed[owner] += taken
            if left:
                live.append((owner, order))
        market.run(0.01)
        assert market.book.best_bid_tick < market.book.best_ask_tick
    market.agents.check_invariants()
    assert sum(market.agents.position(owner) for owner in range(64)) == 0
    assert min(executed.values()) > 0
