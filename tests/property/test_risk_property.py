"""The risk chain against its plain twin, order by order, and short storms in which no limit is exceeded."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.core.types import Reason, Status
from engine.kernel import InstrumentSpec, Kernel
from engine.risk.codes import SCOPES
from engine.risk.limits import RiskConfig, RiskLimits
from tests.fuzz.risk import LOT, NAMES, SYMBOLS, TICK, Quiet, episode
from tests.kit.kernels import ORDER, Venue, events
from tests.kit.risk_oracle import CELL, EVERYTHING, INSTRUMENT, STRATEGY, Live, Oracle, Sent

START = 20_000 * 86_400 * 10**9


def some(draw, choices):
    """A few of the given strategies' values, by name."""
    names = draw(st.sets(st.sampled_from(sorted(choices)), max_size=4))
    return {name: draw(choices[name]) for name in sorted(names)}


@st.composite
def limits(draw, *, lots=True):
    """Limits around what the orders below are."""
    choices = {
        "restricted": st.booleans(),
        "reduce_only": st.booleans(),
        "max_data_age_ns": st.integers(0, 2000),
        "max_clock_skew_ns": st.integers(0, 2000),
        "price_collar_bps": st.floats(1, 2000),
        "max_notional": st.floats(10, 200),
        "max_open_orders": st.integers(0, 6),
        "max_open_notional": st.floats(10, 600),
        "max_gross_notional": st.floats(10, 600),
        "max_order_to_trade_ratio": st.floats(1, 10),
        "duplicate_window_ns": st.integers(0, 3000),
        "order_rate": st.floats(1e5, 1e8),
        "message_rate": st.floats(1e5, 1e8),
        "self_trade_prevention": st.booleans(),
    }
    if lots:
        choices |= {
            "max_order_qty": st.integers(1, 12).map(lambda n: n * LOT),
            "max_position": st.integers(0, 30).map(lambda n: n * LOT),
        }
    chosen = some(draw, choices)
    if "order_rate" in chosen:
        chosen["order_burst"] = draw(st.integers(1, 5))
    if "message_rate" in chosen:
        chosen["message_burst"] = draw(st.integers(3, 6))
        chosen["cancel_reserve"] = draw(st.integers(0, 2))
    return RiskLimits(**chosen)


class Twins:
    """A kernel and its oracle, told the same."""

    def __init__(self, own, instruments, everything):
        self.kernel = Kernel([InstrumentSpec(symbol, TICK, LOT) for symbol in SYMBOLS])
        self.kernel.set_risk(
            RiskConfig(limits=everything, instruments=dict(zip(SYMBOLS, instruments, strict=True)))
        )
        self.strategies = [Quiet() for _ in NAMES]
        self.oracle = Oracle(TICK, LOT, {(EVERYTHING, -1, -1): everything})
        for i, those in enumerate(instruments):
            self.oracle.limits[INSTRUMENT, -1, i] = those
        for s, (name, strategy) in enumerate(zip(NAMES, self.strategies, strict=True)):
            self.kernel.add_strategy(name, strategy, limits=own[s])
            self.oracle.limits[STRATEGY, s, -1] = own[s].of_sums()
            for i in range(len(SYMBOLS)):
                self.oracle.limits[CELL, s, i] = own[s].of_orders()
        self.now = START
        self.kernel.start(START)
        self.venue = Venue(self.kernel)
        for i in range(len(SYMBOLS)):
            self.quote(i, 100, 0)

    def quote(self, i, bid, skew):
        old = self.oracle.books.get(i)
        rows = [("bid", old[0] * TICK, 0.0), ("ask", old[1] * TICK, 0.0)] if old else []
        made = events(*rows, ("bid", bid * TICK, 5.0), ("ask", (bid + 2) * TICK, 5.0), ts=self.now)
        made["exch_ts"] += skew
        self.kernel.market(i, made)
        self.oracle.books[i] = bid, bid + 2, self.now + skew

    def order(self, order):
        expected = self.oracle.denies(self.now, order)
        order_id = self.strategies[order.strategy].ctx.submit(
            SYMBOLS[order.instrument], order.side, order.tick * TICK, order.lots * LOT
        )
        row = [o["order"] for o in self.venue.collect() if o["kind"] == ORDER][-1]
        if order_id:
            assert expected == ("", 0)
            self.oracle.live[order_id] = order
            fields = order.strategy, order.instrument, "new", order.side, order.tick, order.lots
            self.oracle.sent.append(Sent(self.now, *fields))
            self.venue.answer(self.now)
        else:
            assert row["status"] == Status.DENIED
            reason = Reason(int(row["reason"])).name.lower()
            assert (reason, SCOPES[row["flags"]]) == (expected[0], SCOPES[expected[1]])

    def end(self, place, fill):
        ids = list(self.oracle.live)
        if not ids:
            return
        order_id = ids[place % len(ids)]
        order = self.oracle.live.pop(order_id)
        if fill:
            self.venue.fill(order_id)
            self.oracle.trades.append(
                (self.now, order.strategy, order.instrument, order.side, order.tick, order.lots)
            )
        else:
            self.strategies[order.strategy].ctx.cancel(order_id)
            self.oracle.sent.append(Sent(self.now, order.strategy, order.instrument, "cancel"))
            self.venue.answer(self.now)
        self.venue.collect()


ORDERS = st.tuples(
    st.just("order"),
    st.builds(
        Live,
        st.integers(0, 2),
        st.integers(0, 1),
        st.sampled_from((1, -1)),
        st.integers(95, 107),
        st.integers(1, 12),
    ),
)
STEPS = st.lists(
    st.one_of(
        ORDERS,
        ORDERS,
        st.tuples(st.just("end"), st.integers(0, 20), st.booleans()),
        st.tuples(st.just("wait"), st.sampled_from((1, 100, 5000))),
        st.tuples(st.just("quote"), st.integers(0, 1), st.integers(96, 104), st.integers(-1500, 1500)),
    ),
    min_size=5,
    max_size=40,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.tuples(limits(), limits(), limits()),
    st.tuples(limits(), limits()),
    limits(lots=False),
    STEPS,
)
def test_the_chain_says_what_its_twin_says(own, instruments, everything, steps):
    twins = Twins(own, instruments, everything)
    for step in steps:
        if step[0] == "order":
            twins.order(step[1])
        elif step[0] == "end":
            twins.end(*step[1:])
        elif step[0] == "wait":
            twins.now += step[1]
            twins.kernel.timer(twins.now)
        else:
            twins.quote(*step[1:])
    twins.kernel.check_invariants()


@pytest.mark.parametrize("seed", [1, 2, 3, 5, 8])
def test_no_limit_is_exceeded_in_a_storm(seed):
    counts = episode(seed, 250)
    assert counts["passed"] > 0
