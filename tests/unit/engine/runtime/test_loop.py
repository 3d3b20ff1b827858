"""The loop in this process: what comes in through its rings, what goes out, and in which step."""

import sys
import time
from typing import ClassVar

import numpy as np
import pytest

from engine.backtest.config import StrategyConfig
from engine.core.errors import DataError
from engine.core.types import (
    DEPTH_EVENT,
    TRADE_EVENT,
    OrdType,
    Reason,
    Status,
    TimeInForce,
    TradingState,
)
from engine.runtime.records import FeedState, Flag, Kind
from engine.strategy.base import Strategy
from tests.kit.loops import ALL, Loop, asset, quotes, rows

MS = 1_000_000
S = 1_000_000_000


class Quoter(Strategy):
    """Keeps one bid at a price; a new one after each fill."""

    px: float = 99.9
    qty: float = 0.01

    def on_book(self, ctx, book):
        if not ctx.orders():
            ctx.buy(self.px, self.qty, book.symbol, post_only=True)


class Taker(Strategy):
    """Buys with every message."""

    def on_book(self, ctx, book):
        ctx.submit(book.symbol, "buy", book.best_ask, 0.001, OrdType.LIMIT, TimeInForce.IOC)


class Clockwork(Strategy):
    """Notes when its timer is called."""

    seen: ClassVar[list]

    def on_start(self, ctx):
        type(self).seen = []
        ctx.set_timer(100 * MS)

    def on_timer(self, ctx, now):
        self.seen.append(now)


class Raiser(Strategy):
    def on_book(self, ctx, book):
        raise ValueError("no idea")


class Listener(Strategy):
    seen: ClassVar[list]

    def on_start(self, ctx):
        type(self).seen = []

    def on_signal(self, ctx, signal):
        self.seen.append((signal.name, signal.value))


def strategy(cls, name="s", **params):
    return StrategyConfig(id=name, cls=f"{__file__}:{cls.__name__}", params=params)


def loaded(name):
    """The class as the loader made it, which is not this module's."""
    module = next(m for key, m in sys.modules.items() if key.startswith("ringbook_strategy_test_loop"))
    return getattr(module, name)


def test_a_step_counts_if_it_took_something_in_and_an_idle_loop_publishes_its_status():
    loop = Loop(status_interval_ms=10)
    loop.step(3)
    assert loop.engine.step == 0
    loop.feed(quotes(10))
    loop.step(3)
    assert loop.engine.step == 2  # the start, and the rows
    status = loop.of_kind("telemetry_out", Kind.STATUS)
    assert status
    assert status[0].body["feed_state"] == FeedState.WAITING


def test_the_market_comes_out_as_it_went_in():
    loop = Loop()
    events = quotes(20)
    trade = rows((3 * S, TRADE_EVENT, "sell", 99.9, 0.5))
    loop.feed(np.concatenate([events, trade]))
    loop.run_dry()
    book = {}
    trades = []
    for out in loop.take("market_out"):
        if out.kind == Kind.TRADE:
            trades.append((out.body["event"]["px"], out.body["event"]["qty"], out.header["ts"]))
            continue
        if out.header["flags"] & Flag.SNAPSHOT and not book.get("open"):
            book = {"bids": {}, "asks": {}}
        n_bids, n_asks = int(out.body["n_bids"]), int(out.body["n_asks"])
        for i, level in enumerate(out.body["levels"][: n_bids + n_asks]):
            book["bids" if i < n_bids else "asks"][float(level["px"])] = float(level["qty"])
        book["open"] = not out.header["flags"] & Flag.LAST
    assert trades == [(99.9, 0.5, 3 * S)]
    view = loop.kernel.book("BTCUSDT")
    assert book["bids"] == {float(p): float(q) for p, q in view.bids(10)}
    assert book["asks"] == {float(p): float(q) for p, q in view.asks(10)}
    assert loop.engine.events == 21


def test_orders_fills_and_positions_of_a_strategy_are_published():
    loop = Loop(strategy(Quoter))
    loop.feed(
        np.concatenate(
            [
                quotes(10),
                rows((2 * S, TRADE_EVENT, "sell", 99.8, 1.0), (3 * S, DEPTH_EVENT, "buy", 99.0, 1.0)),
            ]
        )
    )
    loop.run_dry()
    outs = loop.take("orders_out")
    states = [out.body["state"] for out in outs if out.kind == Kind.STRATEGY]
    assert states == ["Running"]
    statuses = [Status(int(out.body["order"]["status"])).name for out in outs if out.kind == Kind.ORDER]
    assert statuses[:3] == ["NONE", "NEW", "FILLED"]
    fill = next(out for out in outs if out.kind == Kind.FILL)
    assert (fill.body["fill"]["px"], fill.body["qty"], fill.body["position"]) == (99.9, 0.01, 0.01)
    assert Reason(int(fill.body["fill"]["reason"])) == Reason.TRADE_THROUGH
    steps = [int(out.header["step"]) for out in outs]
    assert steps == sorted(steps)
    positions = loop.of_kind("telemetry_out", Kind.POSITION)
    assert positions[-1].body["position"] == 0.01
    assert positions[-1].body["num_trades"] == 1


def test_pausing_stops_new_orders_within_the_step_of_the_reply():
    loop = Loop(strategy(Taker))
    events = quotes(400)
    loop.feed(events[:200])
    loop.run_dry()
    assert any(out.kind == Kind.ORDER for out in loop.take("orders_out"))
    # The command and the market are there at the same time: the command goes first.
    loop.feed(events[200:])
    loop.command("pause", strategy_id="s")
    loop.run_dry()
    outs = loop.take("orders_out")
    (reply,) = loop.of_kind("control_out", Kind.REPLY)
    assert (reply.body["success"], reply.body["strategy_state"]) == (True, "Paused")
    requested = [
        int(out.header["step"])
        for out in outs
        if out.kind == Kind.ORDER
        and out.body["order"]["req"] == Status.NEW
        and out.body["order"]["status"] == Status.NONE
    ]
    assert all(step <= reply.header["step"] for step in requested)
    denied = [out for out in outs if out.kind == Kind.ORDER and out.body["order"]["status"] == Status.DENIED]
    assert denied
    assert {int(out.body["order"]["reason"]) for out in denied} == {Reason.STRATEGY_NOT_RUNNING}
    assert loop.kernel.book("BTCUSDT").best_bid == 99.9


def test_a_flood_of_commands_does_not_starve_the_market():
    loop = Loop(strategy(Quoter))
    loop.feed(quotes(100))
    for _ in range(300):
        loop.command("query_status")
    loop.step(5)
    assert loop.engine.events > 0
    loop.run_dry()
    loop.step(20)
    assert len(loop.of_kind("control_out", Kind.REPLY)) == 300


def test_timers_fire_at_their_times_and_go_on_while_the_feed_only_tells_the_time():
    loop = Loop(strategy(Clockwork))
    loop.feed(quotes(3))
    loop.run_dry()
    loop.feed_status(FeedState.RUNNING, S + 350 * MS)
    loop.step(2)
    seen = loaded("Clockwork").seen
    first = S - 1000  # the venue saw the first row a microsecond before us
    assert seen == [first + 100 * MS, first + 200 * MS, first + 300 * MS]


def test_an_order_in_flight_is_answered_when_the_feed_has_ended():
    loop = Loop(strategy(Quoter))
    loop.feed(quotes(2), end=True)
    loop.run_dry()
    statuses = [int(out.body["order"]["status"]) for out in loop.of_kind("orders_out", Kind.ORDER)]
    assert statuses == [Status.NONE, Status.NEW]
    assert loop.kernel.counters["live_orders"] == 1


def test_a_strategy_that_raises_is_stopped_and_told_of():
    loop = Loop(strategy(Raiser), strategy(Quoter, "other"))
    loop.feed(quotes(5))
    loop.run_dry()
    states = {o.body["strategy_id"]: o.body["state"] for o in loop.of_kind("orders_out", Kind.STRATEGY)}
    assert states == {"s": "Error", "other": "Running"}
    log = loop.of_kind("telemetry_out", Kind.LOG)
    assert "ValueError: no idea" in log[0].body["text"]
    assert log[0].body["source"] == "s"


def test_signals_reach_strategies_between_orders():
    loop = Loop(strategy(Listener))
    loop.feed(quotes(5))
    loop.run_dry()
    loop.signal("alpha", 0.25)
    loop.signal("broken", "x")
    loop.signal("alpha", 0.5, "BTCUSDT")
    loop.step(3)
    assert loaded("Listener").seen == [("alpha", 0.25), ("alpha", 0.5)]


# --- external traders ----------------------------------------------------------------------------


def external(loop):
    reply = loop.ask("register", strategy_id="ext", symbols=["BTCUSDT"], params={"edge": 1.5})
    assert reply.body["success"]
    return reply.body["slot"]


def submit(loop, slot, number, tick=990, lots=10, **fields):
    loop.order(
        Status.NEW,
        number,
        strategy=slot,
        side=1,
        price_tick=tick,
        qty=lots,
        leaves_qty=lots,
        time_in_force=TimeInForce.GTC,
        **fields,
    )


def test_an_external_trader_registers_trades_and_leaves():
    loop = Loop()
    loop.feed(quotes(50)[:25])
    loop.run_dry()
    slot = external(loop)
    submit(loop, slot, 7)
    loop.step()
    loop.feed(quotes(50)[25:])
    loop.run_dry()
    loop.order(Status.CANCELED, 7, strategy=slot)
    loop.step()
    loop.feed(quotes(80)[50:])
    loop.run_dry()
    orders = loop.of_kind("orders_out", Kind.ORDER)
    seen = [
        (int(o.body["order"]["client_order_id"]), Status(int(o.body["order"]["status"])).name) for o in orders
    ]
    assert seen == [(7, "NONE"), (7, "NEW"), (7, "NEW"), (7, "CANCELED")]
    assert orders[0].body["px"] == pytest.approx(99.0)
    assert orders[0].body["qty"] == 0.01
    left = loop.ask("disconnect", strategy_id="ext")
    assert (left.body["success"], left.body["strategy_state"]) == (True, "Stopped")
    submit(loop, slot, 8)
    loop.step()
    denied = loop.of_kind("orders_out", Kind.ORDER)
    assert [int(o.body["order"]["reason"]) for o in denied] == [Reason.STRATEGY_NOT_RUNNING]


def test_the_first_trader_lets_a_waiting_feed_begin():
    loop = Loop()
    assert loop.rings["feed"].consumer_cursor == 0
    external(loop)
    assert loop.rings["feed"].consumer_cursor == 1


def test_requests_that_no_bridge_would_send_change_nothing():
    loop = Loop(strategy(Quoter))
    loop.feed(quotes(10))
    loop.run_dry()
    loop.take("orders_out")
    before = loop.kernel.state_hash()
    submit(loop, 0, 1)  # the slot of a strategy inside the engine
    submit(loop, 9, 1)
    loop.order(Status.CANCELED, 0, strategy=ALL, instrument=ALL)
    loop.step(2)
    assert loop.take("orders_out") == []
    assert loop.kernel.state_hash() == before


# --- full rings ----------------------------------------------------------------------------------


def test_the_feed_waits_for_a_bridge_that_reads():
    loop = Loop(strategy(Taker), slots={"orders_out": 1 << 14})
    loop.feed(quotes(6000, every=10_000))
    ring = loop.rings["orders_out"]
    fullest = 0
    while len(loop.rings["feed"]):
        loop.step()
        fullest = max(fullest, len(ring))
        ring.pop_many(200)
    # The reserve was touched, again and again, and nothing was denied or lost for it.
    assert 8192 < fullest < 8192 + 1000
    assert loop.kernel.counters["denials"] == 0
    assert ring.dropped == 0


def test_the_feed_goes_on_without_a_bridge_that_does_not_read():
    loop = Loop(strategy(Taker), slots={"orders_out": 1 << 14})
    loop.feed(quotes(12_000, every=10_000))
    end = time.monotonic() + 20
    while len(loop.rings["feed"]) and time.monotonic() < end:
        loop.step()
    assert len(loop.rings["feed"]) == 0
    # New orders were denied, and nothing was overwritten.
    outs = [o for o in loop.take("orders_out") if o.kind == Kind.ORDER]
    assert len(outs) > 8192
    reasons = {int(o.body["order"]["reason"]) for o in outs if o.body["order"]["status"] == Status.DENIED}
    assert reasons == {Reason.BUSY}
    loop.feed(quotes(10, start=5 * S))
    loop.run_dry()
    dropped = [int(o.header["dropped"]) for o in loop.take("orders_out")]
    assert dropped[0] > 0
    assert not any(dropped[1:])


def test_depth_conflates_and_trades_drop_when_nobody_reads_the_market():
    loop = Loop(slots={"market_out": 2048})
    loop.feed(quotes(4000, every=100_000))
    loop.run_dry()
    burst = [(9 * S + i, TRADE_EVENT, "buy", 100.1, 0.001) for i in range(1500)]
    loop.feed(rows(*burst))
    loop.run_dry()
    outs = loop.take("market_out")
    assert loop.rings["market_out"].dropped > 0
    loop.feed(rows((20 * S, TRADE_EVENT, "buy", 100.1, 0.002)))
    loop.run_dry()
    last = loop.of_kind("market_out", Kind.TRADE)[-1]
    trades = [o for o in outs if o.kind == Kind.TRADE]
    assert last.header["dropped"] + len(trades) == 1500


def test_telemetry_drops_and_counts():
    loop = Loop(strategy(Quoter), slots={"telemetry_out": 4}, status_interval_ms=10)
    loop.feed(quotes(5))
    loop.run_dry()
    for _ in range(10):
        loop.engine.flush()
    assert len(loop.rings["telemetry_out"]) == 4
    loop.take("telemetry_out")
    loop.engine.flush()
    outs = loop.take("telemetry_out")
    assert outs[0].header["dropped"] > 0
    assert next(o for o in outs if o.kind == Kind.STATUS).body["dropped"] > 0


# --- commands that tell or end everything --------------------------------------------------------


def test_resync_tells_strategies_live_orders_books_and_then_answers():
    loop = Loop(strategy(Quoter))
    loop.feed(quotes(50))
    loop.run_dry()
    for ring in ("orders_out", "market_out", "telemetry_out"):
        loop.take(ring)
    loop.command("resync")
    loop.step(2)
    outs = loop.take("orders_out")
    assert [out.kind for out in outs] == [Kind.STRATEGY, Kind.ORDER, Kind.REPLY]
    assert outs[0].body["params"][0] == {
        "name": "px",
        "kind": "float",
        "value": 99.9,
        "ge": None,
        "le": None,
        "doc": "",
    }
    assert outs[1].body["order"]["status"] == Status.NEW
    depth = loop.of_kind("market_out", Kind.DEPTH)
    assert all(out.header["flags"] & Flag.SNAPSHOT for out in depth)
    assert depth[-1].header["flags"] & Flag.LAST
    assert {out.kind for out in loop.take("telemetry_out")} >= {Kind.STATUS, Kind.POSITION}


def test_an_emergency_stop_halts_trading_and_is_told_at_once():
    loop = Loop(strategy(Quoter), status_interval_ms=10_000)
    loop.feed(quotes(50))
    loop.run_dry()
    loop.take("telemetry_out")
    reply = loop.ask("emergency_stop", cancel_orders=True, close_position=False)
    assert (reply.body["success"], reply.body["trading_state"]) == (True, "HALTED")
    loop.step()
    states = [out.body["trading_state"] for out in loop.of_kind("telemetry_out", Kind.STATUS)]
    assert TradingState.HALTED in states


def test_stopping_cancels_everything_and_waits_for_the_answers():
    loop = Loop(strategy(Quoter))
    loop.feed(quotes(50))
    loop.run_dry()
    assert loop.kernel.counters["live_orders"] == 1
    loop.command("stop")
    while loop.engine.turn(0.0):
        pass
    loop.engine.stop()
    assert loop.kernel.counters["live_orders"] == 0
    outs = loop.take("orders_out")
    assert [o.body["state"] for o in outs if o.kind == Kind.STRATEGY][-1] == "Stopped"
    assert [int(o.body["order"]["status"]) for o in outs if o.kind == Kind.ORDER][-1] == Status.CANCELED
    assert loop.of_kind("control_out", Kind.REPLY)[0].body["message"] == "stopping"


def test_stopping_while_a_trader_is_there_cancels_its_orders_too():
    loop = Loop()
    loop.feed(quotes(20))
    loop.run_dry()
    slot = external(loop)
    submit(loop, slot, 7)
    loop.step()
    loop.engine.stop()
    outs = loop.take("orders_out")
    assert [int(o.body["order"]["status"]) for o in outs if o.kind == Kind.ORDER][-1] == Status.CANCELED
    assert [o.body["state"] for o in outs if o.kind == Kind.STRATEGY][-1] == "Stopped"
    assert loop.kernel.counters["live_orders"] == 0


# --- inputs that cannot be right -----------------------------------------------------------------


def test_time_that_goes_back_ends_the_engine_with_the_time():
    loop = Loop()
    loop.feed(quotes(5))
    loop.run_dry()
    loop.feed(quotes(5, start=S // 2))
    with pytest.raises(DataError, match=r"the feed sent a record at"):
        loop.run_dry()


def test_a_record_of_an_unknown_instrument_ends_the_engine():
    loop = Loop()
    loop.feed(quotes(2), quotes(2))
    with pytest.raises(DataError):
        loop.run_dry()


def test_two_instruments_have_their_own_books_and_positions():
    loop = Loop(
        StrategyConfig(id="a", cls=f"{__file__}:Quoter", symbols=["A"]),
        StrategyConfig(id="b", cls=f"{__file__}:Quoter", symbols=["B"], params={"px": 99.5}),
        assets=[asset("A"), asset("B")],
    )
    loop.feed(
        np.concatenate([quotes(10), rows((2 * S, TRADE_EVENT, "sell", 99.8, 1.0))]),
        quotes(20, start=S + 5),
        end=True,
    )
    loop.run_dry()
    positions = {
        (int(o.header["strategy"]), int(o.header["instrument"])): float(o.body["position"])
        for o in loop.of_kind("telemetry_out", Kind.POSITION)
    }
    assert positions == {(0, 0): 0.01, (1, 1): 0.0}
