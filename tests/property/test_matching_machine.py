"""A session on the matcher, command by command, each aimed at what rests there, each answer the oracle's.

Commands drawn blindly seldom hit a live order or the best price. Here a change goes to an order that is live,
a price to a side of the book, a quantity to what a level holds.
"""

import pytest
from hypothesis import Phase as HypothesisPhase
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from engine.matching.engine import MatchingEngine
from engine.matching.naive import NaiveMatcher
from engine.matching.records import AllocationRule, Code, Kind, Life, OrderType, Phase
from tests.fuzz.matching_compare import audit_events, first_difference
from tests.kit.matching import BUY, SELL, Client, Planted, command
from tests.kit.matching_ledger import Ledger

MIDDLE, OWNERS = 100, 3
sides = st.sampled_from([BUY, SELL])
owners = st.integers(1, OWNERS)
places = st.integers(-3, 3)
lots = st.integers(1, 9)
pick = st.integers(0, 63)


class MatcherMachine(RuleBasedStateMachine):
    """Owners trade with each other and an operator opens, halts and closes."""

    oracle = NaiveMatcher

    @initialize(
        allocation=st.sampled_from(list(AllocationRule)),
        top_share=st.sampled_from([0, 40]),
        levels=st.booleans(),
        max_orders=st.sampled_from([8, 64]),
    )
    def open(self, **chosen):
        chosen.update(max_owners=OWNERS, min_allocation=1, protection_ticks=2)
        self.fast, self.slow = MatchingEngine(**chosen), self.oracle(**chosen)
        self.client, self.ledger = Client(), Ledger()
        self.next_id, self.now = 1, 0

    def send(self, kind, **fields):
        """The same command to both; returns the code that both answered with."""
        row = command(kind, ts=self.now, **fields)
        before = self.fast.state_hash()
        results, events = self.fast.apply(row)
        expected, expected_events = self.slow.apply(row)
        difference = first_difference("result", results, expected) or first_difference(
            "event", events, expected_events
        )
        assert difference is None, difference
        told = audit_events(self.client, self.ledger, self.slow, events)
        assert told is None, told
        code = Code(int(results["code"][0]))
        if code != Code.OK:
            assert self.fast.state_hash() == before
            assert not len(events)
        return code

    def best(self, side, otherwise):
        """The best price of a side by the oracle's book."""
        levels = self.slow.levels[side]
        if not levels:
            return otherwise
        return max(levels) if side == BUY else min(levels)

    def chosen(self, n):
        """One of the live orders, by the ledger of what events told."""
        return sorted(self.ledger.open)[n % len(self.ledger.open)]

    def add(self, **fields):
        number = self.next_id
        self.next_id += 1
        return self.send(Kind.ADD, order_id=number, **fields)

    @rule(
        side=sides,
        place=places,
        qty=lots,
        owner=owners,
        show=st.integers(0, 3),
        flags=st.sampled_from([0, 0, 1, 2]),
    )
    def quote(self, side, place, qty, owner, show, flags):
        """A limit order around the best of its own side; some show a part, some are post-only."""
        px = self.best(side, MIDDLE - side) - side * place
        self.add(owner=owner, side=side, px=px, qty=qty, display_qty=min(show, qty), flags=flags)

    @precondition(lambda self: self.slow.levels[BUY] and self.slow.levels[SELL])
    @rule(
        side=sides,
        depth=st.integers(0, 2),
        more=st.integers(-1, 2),
        owner=owners,
        life=st.sampled_from([Life.GTC, Life.IOC, Life.FOK]),
        self_trade=st.integers(0, 4),
    )
    def take(self, side, depth, more, owner, life, self_trade):
        """Takes what the other side's best holds, a bit less or more, and perhaps levels behind it."""
        px = self.best(-side, MIDDLE)
        held = sum(order.shown for order in self.slow.levels[-side].get(px, ()))
        self.add(
            owner=owner,
            side=side,
            px=px + side * depth,
            qty=max(1, held + more),
            time_in_force=life,
            self_trade=self_trade,
        )

    @precondition(lambda self: self.slow.levels[BUY] or self.slow.levels[SELL])
    @rule(side=sides, qty=lots, owner=owners)
    def market(self, side, qty, owner):
        self.add(owner=owner, side=side, qty=qty, order_type=OrderType.MARKET, time_in_force=Life.IOC)

    @rule(side=sides, away=st.integers(0, 3), qty=lots, owner=owners, limit=st.booleans())
    def stop(self, side, away, qty, owner, limit):
        """A stop that the next trades may trigger."""
        at = self.best(-side, MIDDLE) + side * away
        kind = OrderType.STOP_LIMIT if limit else OrderType.STOP
        px = at + side if limit else 0
        self.add(owner=owner, side=side, px=px, qty=qty, stop_px=at, order_type=kind)

    @rule(side=sides, qty=lots, owner=owners, until=st.integers(1, 4))
    def until(self, side, qty, owner, until):
        self.add(
            owner=owner,
            side=side,
            px=self.best(side, MIDDLE - side),
            qty=qty,
            time_in_force=Life.GTD,
            expire_ts=self.now + until,
        )

    @precondition(lambda self: self.ledger.open)
    @rule(n=pick, owner=st.integers(0, OWNERS))
    def cancel(self, n, owner):
        """Of its owner or another: only the one may."""
        self.send(Kind.CANCEL, order_id=self.chosen(n), owner=owner)

    @precondition(lambda self: self.ledger.open)
    @rule(n=pick, place=places, qty=lots, across=st.booleans())
    def modify(self, n, place, qty, across):
        number = self.chosen(n)
        order = self.slow.orders[number]
        side = -order.side if across else order.side
        px = self.best(side, MIDDLE) + place
        self.send(Kind.MODIFY, order_id=number, owner=order.owner, px=px, qty=qty, stop_px=order.stop_px)

    @precondition(lambda self: self.ledger.open)
    @rule(n=pick, qty=st.integers(0, 4))
    def reduce(self, n, qty):
        number = self.chosen(n)
        self.send(Kind.REDUCE, order_id=number, owner=self.slow.orders[number].owner, qty=qty)

    @rule(
        act=st.sampled_from([Kind.MASS_CANCEL, Kind.PHASE, Kind.PHASE, Kind.BANDS]),
        owner=st.integers(0, OWNERS),
        side=st.integers(-1, 1),
        phase=st.sampled_from(list(Phase)),
        wide=st.integers(3, 12),
    )
    def operate(self, act, owner, side, phase, wide):
        """The operator cancels, calls an auction, halts, closes, or sets price bands."""
        if self.slow.phase != Phase.CONTINUOUS:
            # Little happens while trade stands still.
            act, phase = Kind.PHASE, Phase.CONTINUOUS
        fields = {
            Kind.MASS_CANCEL: {"owner": owner, "side": side},
            Kind.PHASE: {"qty": phase},
            Kind.BANDS: {"px": MIDDLE - wide, "stop_px": MIDDLE + wide},
        }
        self.send(act, **fields[act])

    @rule(step=st.integers(0, 2))
    def wait(self, step):
        self.now += step
        self.send(Kind.TIME)

    @invariant()
    def both_are_in_one_state(self):
        if not hasattr(self, "fast"):
            return
        self.fast.check_invariants()
        self.slow.check_invariants()
        assert self.fast.state_hash() == self.slow.state_hash()

    @invariant()
    def nothing_comes_from_nowhere(self):
        if not hasattr(self, "fast"):
            return
        assert self.ledger.bought == self.ledger.sold
        assert sum(self.fast.position(owner) for owner in range(1, OWNERS + 1)) == 0

    @invariant()
    def the_book_is_not_crossed_while_it_trades(self):
        if not hasattr(self, "fast") or self.fast.phase != Phase.CONTINUOUS:
            return
        bid, ask = self.best(BUY, None), self.best(SELL, None)
        assert bid is None or ask is None or bid < ask


class PlantedMachine(MatcherMachine):
    oracle = Planted


def test_a_planted_fault_is_found():
    with pytest.raises(AssertionError):
        run_state_machine_as_test(PlantedMachine, settings=PLANTED)


SETTINGS = settings(max_examples=100, stateful_step_count=50, deadline=None)
PLANTED = settings(SETTINGS, phases=(HypothesisPhase.generate,), derandomize=True, database=None)
TestMatcherMachine = MatcherMachine.TestCase
TestMatcherMachine.settings = SETTINGS
