"""Strategies in the kernel: which callbacks are called and when, timers, errors, start and stop, hashes."""

from __future__ import annotations

import numpy as np
import pytest

from engine.core.errors import CapacityError, ConfigError, RingbookError
from engine.core.types import EXCH_EVENT, LOCAL_EVENT, Reason, Side, Status
from engine.kernel import InstrumentSpec, Kernel
from engine.strategy.base import Strategy
from engine.strategy.native import MarketMaker
from tests.kit.kernels import BTC, ETH, LOG, ORDER, STRATEGY, Recorder, Venue, events, request, trading


def test_callbacks_follow_the_market():
    strategy = Recorder()
    kernel, _venue = trading(strategy)
    kernel.market(0, events(("buy", 101.0, 0.5), ("ask", 101.5, 2.0), ts=1100))
    kernel.market(1, events(("bid", 9.0, 2.0), ts=1200), last=False)
    kernel.market(1, events(("ask", 9.5, 2.0), ts=1200))
    assert [name for name, _ in strategy.calls] == ["on_start", "on_book", "on_trade", "on_book", "on_book"]
    trade = strategy.of("on_trade")[0]
    assert (trade.symbol, trade.px, trade.qty, trade.side, trade.local_ts) == (
        "BTC",
        101.0,
        0.5,
        Side.BUY,
        1100,
    )
    assert strategy.of("on_book") == [("BTC", 100.0, 101.0), ("BTC", 100.0, 101.0), ("ETH", 9.0, 9.5)]
    assert kernel.now == 1200


def test_only_the_symbols_that_a_strategy_named_reach_it():
    kernel = Kernel([BTC, ETH])
    strategy = Recorder()
    kernel.add_strategy("eth", strategy, ["ETH"])
    kernel.start(0)
    kernel.market(0, events(("bid", 100.0, 1.0), ("buy", 100.0, 1.0), ts=1))
    kernel.market(1, events(("bid", 10.0, 1.0), ts=2))
    assert [name for name, _ in strategy.calls] == ["on_start", "on_book"]
    assert strategy.ctx.symbols == ("ETH",)
    assert strategy.ctx.book().symbol == "ETH"


def test_a_row_that_only_the_venue_sees_does_nothing_here():
    strategy = Recorder()
    kernel, _venue = trading(strategy)
    rows = events(("bid", 100.5, 1.0), ("sell", 100.0, 1.0), ts=1500)
    rows["ev"] &= ~np.uint64(LOCAL_EVENT)
    assert (rows["ev"] & np.uint64(EXCH_EVENT)).all()
    kernel.market(0, rows, last=False)
    assert kernel.book("BTC").best_bid == 100.0
    assert strategy.of("on_trade") == []


def test_a_book_view_is_live_and_knows_its_levels():
    strategy = Recorder()
    kernel, _venue = trading(strategy)
    book = strategy.ctx.book("BTC")
    kernel.market(0, events(("bid", 99.0, 2.0), ("bid", 100.5, 0.3), ("ask", 103.0, 4.0), ts=1))
    assert (book.best_bid, book.best_ask, book.mid) == (100.5, 101.0, 100.75)
    assert (book.best_bid_tick, book.best_ask_tick) == (201, 202)
    assert (book.best_bid_qty, book.best_ask_qty) == (0.3, 6.0)
    assert book.bids(2) == [(100.5, 0.3), (100.0, 5.0)]
    assert book.asks() == [(101.0, 6.0), (103.0, 4.0)]
    assert book.bids(0) == []
    assert (book.tick_size, book.lot_size, book.contract_size) == (0.5, 0.1, 1.0)
    empty = strategy.ctx.book("ETH")
    assert (empty.best_bid_tick, empty.best_ask_tick, empty.best_bid_qty) == (None, None, 0.0)
    assert np.isnan([empty.best_bid, empty.best_ask, empty.mid]).all()


def test_timers_keep_their_beat_from_the_first_event():
    strategy = Recorder({"on_start": lambda ctx, _: ctx.set_timer(300)})
    kernel, _venue = trading(strategy)
    assert kernel.next_timer == 1300
    kernel.timer(1299)
    assert strategy.of("on_timer") == []
    kernel.timer(1310)
    assert (strategy.of("on_timer"), kernel.next_timer) == ([1310], 1600)
    kernel.timer(2300)
    assert (len(strategy.of("on_timer")), kernel.next_timer) == (4, 2500)
    strategy.ctx.set_timer(0)
    assert kernel.next_timer is None
    strategy.ctx.set_timer(50, first=5000)
    assert kernel.next_timer == 5000
    kernel.check_invariants()


def test_timers_of_several_strategies_fire_in_slot_order():
    order = []
    strategies = [
        Recorder(
            {"on_start": lambda ctx, _: ctx.set_timer(100), "on_timer": lambda ctx, _: order.append(ctx.name)}
        )
        for _ in range(3)
    ]
    kernel, _venue = trading(*strategies)
    kernel.timer(1100)
    assert order == ["s0", "s1", "s2"]


@pytest.mark.parametrize("arguments", [(-1,), (1 << 62,), (1, -1)])
def test_a_wrong_timer_is_refused(arguments):
    strategy = Recorder()
    trading(strategy)
    with pytest.raises(ValueError, match="timer"):
        strategy.ctx.set_timer(*arguments)


def explode(ctx, _):
    raise RuntimeError("boom")


@pytest.mark.parametrize("where", ["on_book", "on_trade", "on_order", "on_fill", "on_timer", "on_signal"])
def test_a_strategy_that_raises_stops_alone(where):
    bad, good = Recorder(), Recorder()
    kernel, venue = trading(bad, good)
    ids = [bad.ctx.buy(99.0, 0.2), bad.ctx.buy(98.0, 0.2)]
    bad.ctx.set_timer(10)
    venue.answer()
    bad.script[where] = explode
    kernel.market(0, events(("buy", 101.0, 1.0), ts=2000))
    if where == "on_fill":
        venue.fill(ids[0], 1)
    elif where == "on_order":
        bad.ctx.cancel(ids[0])
        venue.answer()
    kernel.timer(2000)
    kernel.send_signal("x", "", 1.0)
    info = kernel.strategy("s0")
    assert (info.state, info.message) == ("Error", "RuntimeError: boom")
    assert "explode" in info.traceback
    assert any("RuntimeError: boom" in line[4] for line in kernel.take_logs())
    assert {o["strategy"] for o in venue.of(LOG)} == {0}
    venue.answer()
    ends = [o["order"] for o in venue.of(ORDER) if o["order"]["status"] == Status.CANCELED]
    assert Reason.STRATEGY_ERROR in {Reason(o["reason"]) for o in ends}
    assert bad.ctx.orders() == []
    count = len(bad.calls)
    kernel.market(0, events(("buy", 101.0, 1.0), ts=3000))
    kernel.timer(3000)
    assert len(bad.calls) == count
    assert good.of("on_trade")[-1].local_ts == 3000
    assert kernel.strategy("s1").state == "Running"
    assert not kernel.resume("s0").success
    kernel.check_invariants()


@pytest.mark.parametrize("where", ["on_start", "on_stop", "on_params"])
def test_a_strategy_that_raises_in_a_rare_callback(where):
    bad = Recorder({where: explode})
    kernel, _venue = trading(bad)
    if where == "on_params":
        assert not kernel.update_params("s0", {}).success
    kernel.stop()
    assert kernel.strategy("s0").state == "Error"


def test_a_cancel_after_an_error_waits_for_the_request_in_flight():
    bad = Recorder({"on_trade": explode})
    kernel, venue = trading(bad)
    bad.ctx.buy(99.0, 0.2)
    kernel.market(0, events(("buy", 101.0, 1.0), ts=2000))
    assert venue.answer() == 1
    assert venue.answer() == 1
    assert bad.ctx.orders() == []


def test_a_cancel_that_the_venue_refuses_is_repeated_but_not_for_ever():
    strategy = Recorder()
    kernel, venue = trading(strategy)
    strategy.ctx.buy(99.0, 0.2)
    venue.answer()
    kernel.cancel_orders()
    refused = 0
    while venue.reject():
        refused += 1
    assert refused == 3
    assert len(strategy.ctx.orders()) == 1


def test_start_and_stop():
    strategy = Recorder({"on_stop": lambda ctx, _: ctx.buy(90.0, 0.1)})
    kernel, venue = trading(strategy)
    with pytest.raises(RingbookError, match="already"):
        kernel.start(1)
    strategy.ctx.buy(99.0, 0.1)
    venue.answer()
    kernel.stop()
    assert [name for name, _ in strategy.calls][-1] == "on_order"
    assert strategy.of("on_order")[-1].reason is Reason.STRATEGY_NOT_RUNNING
    assert venue.answer() == 1
    states = [o["strategy"] for o in venue.of(STRATEGY)]
    assert kernel.strategy("s0").state == "Stopped"
    assert states == [0, 0, 0]
    kernel.stop()
    assert len(venue.of(STRATEGY)) == 3


def test_orders_may_be_sent_from_on_start_and_a_late_strategy_starts_at_once():
    kernel, venue = trading()
    kernel.add_strategy("late", Recorder({"on_start": lambda ctx, _: ctx.buy(99.0, 0.1)}))
    assert venue.answer() == 1
    assert kernel.strategy("late").state == "Running"


def test_logs_have_their_output():
    strategy = Recorder()
    kernel, venue = trading(strategy)
    kernel.step = 9
    strategy.ctx.log("hello")
    logs = venue.of(LOG)
    assert [(o["strategy"], o["ts"], o["step"]) for o in logs] == [(0, 1000, 9)]
    assert kernel.take_logs() == [(1000, 9, "s0", "info", "hello")]
    assert kernel.take_logs() == []


def test_a_flood_of_logs_is_dropped_and_counted():
    strategy = Recorder()
    kernel, _venue = trading(strategy, outbox_size=10)
    for _ in range(20):
        strategy.ctx.log("again")
    assert len(kernel.take_logs()) + kernel.counters["dropped"] == 20


def test_wrong_constructions_say_what_is_wrong():
    with pytest.raises(ConfigError, match="0 instruments"):
        Kernel([])
    with pytest.raises(ConfigError, match="twice"):
        Kernel([BTC, BTC])
    with pytest.raises(ConfigError, match="tick_size"):
        Kernel([InstrumentSpec("X", 0.0, 1.0)])
    with pytest.raises(ConfigError, match="quanto"):
        Kernel([InstrumentSpec("X", 0.1, 1.0, 1.0, "quanto")])
    with pytest.raises(CapacityError, match="0 orders"):
        Kernel([BTC], max_orders=0)
    kernel = Kernel([BTC])
    with pytest.raises(ConfigError, match="int is no strategy"):
        kernel.add_strategy("x", 3)
    with pytest.raises(ConfigError, match="DOGE"):
        kernel.add_strategy("x", Recorder(), ["DOGE"])
    with pytest.raises(ConfigError, match="limits"):
        kernel.add_strategy("x", Recorder(), limits={"max_position": 1})
    kernel.add_strategy("x", Recorder())
    with pytest.raises(ConfigError, match="already"):
        kernel.add_strategy("x", Recorder())
    with pytest.raises(ConfigError, match="nobody"):
        kernel.state("nobody", "BTC")


def test_there_is_room_for_64_strategies():
    kernel = Kernel([BTC], max_orders=1)
    for number in range(64):
        kernel.add_strategy(f"s{number}", Strategy())
    with pytest.raises(CapacityError, match="64"):
        kernel.add_strategy("one more", Strategy())


def test_a_native_strategy_belongs_to_one_kernel():
    native = MarketMaker()
    Kernel([BTC]).add_strategy("mm", native)
    with pytest.raises(RingbookError, match="already belongs"):
        Kernel([BTC]).add_strategy("mm", native)


def run(seed_px: float) -> tuple[int, bytes]:
    strategy = Recorder({"on_book": lambda ctx, _: ctx.buy(seed_px, 0.1)})
    kernel, venue = trading(strategy)
    for ts in range(2000, 2050, 10):
        kernel.market(0, events(("bid", 99.5, ts / 100), ("ask", 101.5, 1.0), ts=ts))
        venue.answer(ts + 3)
    venue.collect()
    return kernel.state_hash(), b"".join(output.tobytes() for output in venue.outputs)


def test_equal_inputs_give_equal_bytes_and_hashes_and_others_do_not():
    assert run(99.0) == run(99.0)
    assert run(99.0)[0] != run(98.5)[0]


def test_the_hash_sees_every_part_of_the_state():
    def build():
        kernel, venue = trading(Recorder())
        kernel.register_external("bot", ["BTC"])
        kernel.request(request(kernel, "bot", "BTC", 1), 1000)
        venue.answer()
        return kernel, venue

    def changes():
        yield lambda k, v: k.market(0, events(("bid", 99.0, 1.0), ts=1000))
        yield lambda k, v: k.timer(1001)
        yield lambda k, v: k.strategy("s0") and k.pause("s0")
        yield lambda k, v: k.reduce_only()
        yield lambda k, v: v.fill(1)
        yield lambda k, v: k.cancel_orders()
        yield lambda k, v: k.update_limits("bot", max_position=1.0)
        yield lambda k, v: k.request(request(k, "bot", "BTC", 2), 1000)

    same = {build()[0].state_hash() for _ in range(3)}
    assert len(same) == 1
    seen = set(same)
    for change in changes():
        kernel, venue = build()
        change(kernel, venue)
        seen.add(kernel.state_hash())
        kernel.check_invariants()
    assert len(seen) == 9


def test_an_order_that_ended_leaves_no_trace_in_the_hash_but_its_number():
    kernel, venue = trading(Recorder())
    assert isinstance(venue, Venue)
    before = kernel.state_hash()
    assert kernel.state_hash() == before
    kernel.register_external("bot", ["BTC"])
    assert kernel.state_hash() != before
