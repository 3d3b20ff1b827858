"""Strategies on a market within: real orders of theirs meet agents' and each other's, and nothing is lost."""

from __future__ import annotations

import json

import numpy as np
import pytest

from engine.backtest.config import AssetConfig
from engine.backtest.recorder import Recorder
from engine.core.errors import ConfigError
from engine.core.types import OrdType, Reason, Status, TimeInForce
from engine.feeds.market import AgentMarket
from engine.gateways.market import MarketDriver, MarketVenue
from engine.kernel import Kernel
from engine.matching.population import EXTERNAL_OWNER
from engine.strategy.base import Strategy
from engine.strategy.native import MarketMaker
from tests.kit.scripted import Scripted

MS = 1_000_000
S = 1_000_000_000
ENTRY, RESPONSE = 100_000, 200_000
FEES = {"maker_fee": -0.0001, "taker_fee": 0.0005}
TICK, LOT = 0.5, 0.01
OPENS = 1_704_067_200_000_000_000


def asset(symbol="BTC", **changes):
    sizes = {"tick_size": TICK, "lot_size": LOT}
    times = {"entry_latency_ns": ENTRY, "response_latency_ns": RESPONSE}
    return AssetConfig(symbol=symbol, **(sizes | times | FEES | changes))


class Trading:
    """A market within, and a kernel on it."""

    def __init__(self, strategies, *, agents=False, assets=None, seed=3):
        self.assets = assets or [asset()]
        sources = [
            AgentMarket(one.symbol, seed=seed, start_px=60_000, tick_size=one.tick_size, lot_size=LOT)
            for one in self.assets
        ]
        self.venue = MarketVenue(self.assets, [source.population(agents=agents) for source in sources], 64)
        self.kernel = Kernel(self.assets, max_orders=256, seed=1)
        for name, strategy in strategies.items():
            self.kernel.add_strategy(name, strategy)
        self.recorder = Recorder()
        self.driver = MarketDriver(self.kernel, self.venue, self.recorder)
        self.kernel.start(OPENS)

    def run(self, ns):
        self.driver.run(OPENS + ns)
        self.venue.check_invariants()
        self.kernel.check_invariants()
        return self

    @property
    def fills(self):
        return self.recorder.fill_array()

    def updates(self, name="a"):
        """(status, reason) of each update of a strategy's orders, the request itself left out."""
        orders = self.recorder.order_array()["order"]
        answered = (orders["exch_ts"] > 0) & (orders["req"] == 0)
        mine = orders[answered & (orders["strategy"] == self.kernel.slot(name))]
        return [(Status(o["status"]).name, Reason(o["reason"]).name, int(o["leaves_qty"])) for o in mine]


def scripted(*actions):
    """Acts each millisecond, see ``Scripted``; ticks are counted from 1000."""
    strategy = Scripted()
    strategy.interval_ns = MS
    strategy.script = json.dumps(list(actions))
    return strategy


def test_two_strategies_trade_with_each_other():
    maker = scripted([1, "buy", 1000, 0.05])
    taker = scripted([2, "sell", 999, 0.02], [3, "sell", 1000, 0.04])
    run = Trading({"a": maker, "b": taker}).run(10 * MS)
    assert run.updates("a") == [
        ("NEW", "NONE", 5),
        ("PARTIALLY_FILLED", "MATCHED", 3),
        ("FILLED", "MATCHED", 0),
    ]
    assert run.updates("b") == [
        ("FILLED", "MATCHED", 0),
        ("PARTIALLY_FILLED", "MATCHED", 1),
    ]
    a, b = run.kernel.state("a", "BTC"), run.kernel.state("b", "BTC")
    assert (a.position, b.position) == (0.05, -0.05)
    assert a.balance == -b.balance == -25.0
    assert a.fee == pytest.approx(-0.0001 * 25.0)
    assert b.fee == pytest.approx(0.0005 * 25.0)
    assert run.venue.accounts("BTC") == {EXTERNAL_OWNER: (5, -5000), EXTERNAL_OWNER + 1: (-5, 5000)}


def test_requests_and_answers_travel():
    run = Trading({"a": scripted([1, "buy", 1000, 0.01]), "b": scripted([2, "sell", 1000, 0.01])}).run(5 * MS)
    assert run.fills["exch_ts"].tolist() == [OPENS + 2 * MS + ENTRY] * 2
    assert run.fills["local_ts"].tolist() == [OPENS + 2 * MS + ENTRY + RESPONSE] * 2
    assert run.fills["is_maker"].tolist() == [1, 0]
    early = Trading({"a": scripted([1, "buy", 1000, 0.01])}).run(MS + ENTRY + RESPONSE - 1)
    assert early.updates() == []
    assert early.run(MS + ENTRY + RESPONSE).updates() == [("NEW", "NONE", 1)]


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        (["buy", 1001, 0.02, "GTX"], [("EXPIRED", "POST_ONLY_CROSSED", 2)]),
        (["buy", 1001, 0.06, "FOK"], [("EXPIRED", "UNFILLED_IOC_FOK", 6)]),
        (["buy", 1001, 0.05, "FOK"], [("FILLED", "MATCHED", 0)]),
        (
            ["buy", 1001, 0.06, "IOC"],
            [("PARTIALLY_FILLED", "MATCHED", 1), ("EXPIRED", "UNFILLED_IOC_FOK", 1)],
        ),
        (["buy", 1000, 0.01, "IOC"], [("EXPIRED", "UNFILLED_IOC_FOK", 1)]),
        (["buy", 1000, 0.01, "GTX"], [("NEW", "NONE", 1)]),
    ],
)
def test_what_becomes_of_an_order(order, expected):
    other = scripted([1, "sell", 1001, 0.05])
    assert Trading({"b": other, "a": scripted([2, *order])}).run(5 * MS).updates() == expected


class Marketeer(Strategy):
    """Sends one market order after two milliseconds."""

    qty: float = 0.03

    def on_start(self, ctx):
        ctx.set_timer(2 * MS)

    def on_timer(self, ctx, now):
        if now == OPENS + 2 * MS:
            ctx.submit(None, "buy", 0.0, self.qty, OrdType.MARKET, TimeInForce.GTC)


def test_a_market_order_takes_what_there_is():
    other = scripted([1, "sell", 1001, 0.01], [1, "sell", 1003, 0.01])
    run = Trading({"b": other, "a": Marketeer()}).run(5 * MS)
    assert run.updates() == [
        ("PARTIALLY_FILLED", "MATCHED", 2),
        ("PARTIALLY_FILLED", "MATCHED", 1),
        ("EXPIRED", "UNFILLED_IOC_FOK", 1),
    ]
    assert sorted(run.fills["price_tick"].tolist()) == [1001, 1001, 1003, 1003]


def test_a_market_order_that_comes_too_late_finds_nothing():
    # The cancel is sent at the same moment, by a strategy that is called first.
    other = scripted([1, "sell", 1001, 0.01], [2, "cancel", 0])
    run = Trading({"b": other, "a": Marketeer()}).run(5 * MS)
    assert run.updates() == [("EXPIRED", "NO_MARKET", 3)]


def test_a_modification_keeps_its_place_or_trades():
    first = scripted([1, "buy", 1000, 0.05], [3, "modify", 0, 1000, 0.03])
    second = scripted([2, "buy", 1000, 0.05], [6, "modify", 0, 1001, 0.01])
    seller = scripted([4, "sell", 1000, 0.04], [5, "sell", 1001, 0.01])
    run = Trading({"a": first, "b": second, "c": seller}).run(10 * MS)
    assert run.updates("a") == [("NEW", "NONE", 5), ("NEW", "NONE", 3), ("FILLED", "MATCHED", 0)]
    assert run.updates("b") == [
        ("NEW", "NONE", 5),
        ("PARTIALLY_FILLED", "MATCHED", 4),
        ("FILLED", "MATCHED", 0),
    ]
    assert run.kernel.state("c", "BTC").position == -0.05


def test_a_cancel_takes_an_order_out():
    run = Trading({"a": scripted([1, "buy", 1000, 0.01], [3, "cancel", 0])}).run(10 * MS)
    assert run.updates() == [("NEW", "NONE", 1), ("CANCELED", "CANCEL_REQUESTED", 1)]


def test_a_cancel_that_comes_too_late_is_refused():
    maker = scripted([1, "buy", 1000, 0.01], [7, "cancel", 0])
    taker = scripted([6, "sell", 1000, 0.01])
    run = Trading({"a": maker, "b": taker}, assets=[asset(response_latency_ns=3 * MS)]).run(20 * MS)
    # The fill is on its way back when the cancel is sent.
    assert run.updates() == [("NEW", "NONE", 1), ("FILLED", "MATCHED", 0)]
    assert run.kernel.counters["live_orders"] == 0
    assert not run.kernel.failures()


def test_room_for_orders_is_what_was_asked_for():
    run = Trading({"a": scripted(*([1, "buy", 1000 - i, 0.01] for i in range(70)))}).run(5 * MS)
    reasons = [update[1] for update in run.updates()]
    assert (reasons.count("NONE"), reasons.count("BUSY")) == (64, 6)


def test_everybody_sees_levels_and_trades_and_only_its_own_orders():
    seen = {"a": [], "b": []}

    class Watcher(Scripted):
        name = ""

        def on_order(self, ctx, order):
            seen[self.name].append(order.order_id)

    watchers = {}
    for name, actions in {"a": [[1, "buy", 1000, 0.02]], "b": [[2, "sell", 1000, 0.01]]}.items():
        watchers[name] = Watcher()
        watchers[name].interval_ns, watchers[name].script, watchers[name].name = MS, json.dumps(actions), name
    run = Trading(watchers).run(2 * S)
    assert len(set(seen["a"])) == len(set(seen["b"])) == 1
    assert set(seen["a"]) != set(seen["b"])
    book = run.kernel.book("BTC")
    assert (book.best_bid_tick, book.best_bid_qty) == (1000, 0.01)


def test_an_agent_market_is_deterministic_and_conserves_everything():
    def once(seconds, steps):
        maker = MarketMaker(half_spread=1.0, order_qty=0.05, max_position=1.0, interval_ns=50 * MS)
        run = Trading({"mm": maker}, agents=True)
        for step in range(1, steps + 1):
            run.run(seconds * S * step // steps)
        return run

    whole, parts = once(20, 1), once(20, 7)
    assert len(whole.fills) > 0
    assert whole.fills.tobytes() == parts.fills.tobytes()
    assert whole.recorder.order_array().tobytes() == parts.recorder.order_array().tobytes()
    accounts = whole.venue.accounts("BTC")
    assert sum(p for p, _ in accounts.values()) == sum(c for _, c in accounts.values()) == 0
    position, cash = accounts[EXTERNAL_OWNER]
    state = whole.kernel.state("mm", "BTC")
    assert round(state.position / LOT) == position
    assert state.balance == pytest.approx(cash * TICK * LOT)
    assert state.fee == pytest.approx(float(np.sum(whole.fills["fee"])))


def test_own_orders_move_the_market():
    class Buyer(Strategy):
        qty: float = 200.0

        def on_start(self, ctx):
            ctx.set_timer(S)

        def on_timer(self, ctx, now):
            if now == OPENS + S:
                ctx.submit(None, "buy", 0.0, self.qty, OrdType.MARKET, TimeInForce.GTC)

    moved = Trading({"a": Buyer()}, agents=True).run(S + 50 * MS)
    paid = moved.fills["price_tick"]
    assert (np.diff(paid) >= 0).all()
    assert paid[-1] > paid[0] + 3


def test_several_instruments_are_several_markets():
    assets = [asset("BTC"), asset("ETH", tick_size=0.25)]
    run = Trading({"mm": MarketMaker(interval_ns=50 * MS)}, agents=True, assets=assets).run(5 * S)
    bids = [run.kernel.book(symbol).best_bid_tick for symbol in ("BTC", "ETH")]
    assert 1.9 < bids[1] / bids[0] < 2.1


def test_what_cannot_be_is_refused():
    source = AgentMarket("BTC", tick_size=TICK, lot_size=LOT)
    with pytest.raises(ConfigError, match=r"BTC: a market within takes built-in fees and constant latencies"):
        MarketVenue([asset(fee_model="tests/kit/own_models.py:Fee")], [source.population()])
    with pytest.raises(TypeError):
        MarketVenue([asset()], [None])
    with pytest.raises(ValueError, match="zip"):
        MarketVenue([asset()], [])
    with pytest.raises(ConfigError, match="'ETH' is none of BTC"):
        MarketVenue([asset()], [source.population()]).accounts("ETH")


def test_the_collector_cannot_take_the_markets_before_the_venue():
    # It empties lists that it finds in a cycle, and the venue still writes to its markets when it goes.
    assert type(Trading({}).venue.markets) is tuple
