"""The kill switch: of everything, a strategy or an instrument; latched until re-armed, across a restart."""

from __future__ import annotations

import itertools

import msgspec
import pytest

from engine.core.errors import ConfigError
from engine.core.types import Reason, Status, TradingState
from engine.kernel import Kernel
from engine.strategy.status import LatchInfo
from tests.kit.kernels import BTC, ETH, STRATEGY, Recorder, events, request, trading


@pytest.fixture
def world():
    first, second = Recorder(), Recorder()
    kernel, venue = trading(first, second)
    kernel.market(1, events(("bid", 10.0, 5.0), ("ask", 10.1, 6.0), ts=1000))
    return kernel, venue, first, second


def denials(kernel, strategy: Recorder) -> list[Reason]:
    kernel.market(0, events(("bid", 1.0, 1.0), ts=kernel.now))
    return [o.reason for o in strategy.of("on_order") if o.status is Status.DENIED]


def places(strategy: Recorder) -> tuple[bool, bool]:
    """Whether an order in each of the two instruments passes."""
    return (strategy.ctx.submit("BTC", 1, 90.0, 0.1) != 0, strategy.ctx.submit("ETH", 1, 9.0, 1.0) != 0)


@pytest.mark.parametrize(
    ("scope", "first_may", "second_may"),
    [
        ({}, (False, False), (False, False)),
        ({"strategy": "s0"}, (False, False), (True, True)),
        ({"symbol": "BTC"}, (False, True), (False, True)),
    ],
)
def test_a_kill_stops_its_scope_and_nothing_else(world, scope, first_may, second_may):
    kernel, _, first, second = world
    assert kernel.kill(**scope, reason="test", who="me").success
    assert places(first) == first_may
    assert places(second) == second_may
    assert set(denials(kernel, first)) == {Reason.KILL_SWITCH}
    kernel.check_invariants()


def test_a_kill_cancels_the_orders_of_its_scope(world):
    kernel, venue, first, second = world
    for strategy in (first, second):
        assert places(strategy) == (True, True)
    venue.answer()
    answer = kernel.kill("s0", who="me")
    assert answer.message == "strategy s0 killed; orders being cancelled: 2"
    venue.answer()
    assert kernel.orders("s0") == []
    assert len(kernel.orders("s1")) == 2
    ended = [o for o in first.of("on_order") if o.status is Status.CANCELED]
    assert {o.reason for o in ended} == {Reason.KILL_SWITCH}


def test_cancels_pass_while_it_is_thrown(world):
    kernel, venue, first, _ = world
    order_id = first.ctx.buy(90.0, 0.1)
    venue.answer()
    kernel.kill(cancel_orders=False)
    assert len(kernel.orders("s0")) == 1
    first.ctx.cancel(order_id)
    venue.answer()
    assert kernel.orders("s0") == []


def test_a_changed_order_is_a_new_one_even_of_a_paused_strategy(world):
    kernel, venue, first, _ = world
    order_id = first.ctx.buy(90.0, 0.5)
    venue.answer()
    kernel.kill(symbol="BTC", cancel_orders=False)
    assert first.ctx.modify(order_id, 90.0, 0.1) is False
    kernel.pause("s0")
    assert first.ctx.modify(order_id, 90.0, 0.1) is False
    assert denials(kernel, first) == [Reason.KILL_SWITCH, Reason.KILL_SWITCH]


@pytest.mark.parametrize("scope", [{}, {"strategy": "s0"}, {"symbol": "BTC"}])
def test_only_a_rearm_ends_it(world, scope):
    kernel, _, first, _ = world
    kernel.kill(**scope)
    for again in (kernel.resume, lambda: kernel.resume("s0"), lambda: kernel.rearm("s1")):
        again()
        assert first.ctx.buy(90.0, 0.1) == 0
    assert kernel.rearm(**scope, who="boss").success
    if not scope:
        assert first.ctx.buy(90.0, 0.1) == 0
        assert kernel.resume().success
    assert first.ctx.buy(90.0, 0.1) != 0
    assert kernel.latches() == ()
    assert kernel.rearm(**scope).message == "nothing to do: not latched"
    kernel.check_invariants()


def test_everything_killed_is_halted_and_not_resumed(world):
    kernel, venue, first, _ = world
    assert first.ctx.trading
    kernel.kill()
    assert kernel.trading_state is TradingState.HALTED
    assert not first.ctx.trading
    refused = kernel.resume()
    assert not refused.success
    assert "re-arm" in refused.message
    assert kernel.rearm(who="boss").message == (
        "global re-armed by boss: kill_switch; trading is HALTED until it is resumed"
    )
    assert len(venue.of(STRATEGY)) >= 2


def test_a_strategy_says_what_it_is_latched_by(world):
    kernel, _, first, _ = world
    kernel.kill("s0", reason="prices look wrong", who="ann")
    text = "strategy s0 HALTED by kill_switch, set by ann: prices look wrong"
    assert kernel.strategy("s0").message == text
    assert kernel.query_status("s0").message == text
    assert not first.ctx.trading


def test_a_kill_says_what_it_cannot_find(world):
    kernel, *_ = world
    assert "unknown strategy 'nobody'" in kernel.kill("nobody").message
    assert "unknown symbol 'XRP'" in kernel.kill(symbol="XRP").message
    assert kernel.kill("s0", "BTC").message == "name a strategy or a symbol, not both"
    assert kernel.rearm("s0", "BTC").message == "name a strategy or a symbol, not both"
    assert "unknown strategy" in kernel.rearm("nobody").message
    assert "unknown cause 'hunger'" in kernel.rearm("s0", cause="hunger").message
    assert kernel.latches() == ()


def test_a_kill_holds_while_outputs_wait_and_asks_for_the_cancels_again():
    strategy = Recorder()
    kernel, venue = trading(strategy, outbox_size=2)
    venue.collect()
    strategy.ctx.buy(90.0, 0.1)
    venue.answer()
    kernel.market(0, events(("bid", 99.0, 1.0), ts=1001))
    for _ in range(3):
        kernel.pause("s0"), kernel.resume("s0")
    answer = kernel.kill("s0")
    assert not answer.success
    assert "ask again" in answer.message
    assert kernel.latches()[0].name == "s0"
    venue.collect()
    answer = kernel.kill("s0")
    assert answer.message == "strategy s0 killed already; orders being cancelled: 1"


def test_latches_survive_a_restart_as_plain_values(world):
    kernel, *_ = world
    kernel.kill(symbol="ETH", reason="halted at the venue", who="ann")
    kernel.register_external("bot", ["BTC"])
    kernel.kill("bot", who="bob")
    kept = msgspec.json.decode(msgspec.json.encode(kernel.latches()), type=list[LatchInfo])
    assert [info.name for info in kept] == ["ETH", "bot"]
    again, _ = Kernel([BTC, ETH]), None
    again.restore_latches(kept)
    assert list(again.latches()) == kept
    again.start(1000)
    again.market(0, events(("bid", 100.0, 5.0), ("ask", 101.0, 6.0), ts=1000))
    # The strategy comes later: its latch has waited for it.
    again.register_external("bot", ["BTC"])
    again.request(request(again, "bot", "BTC", 1), 1001)
    assert Reason(again.drain()[-1]["order"]["reason"]) is Reason.KILL_SWITCH
    assert again.rearm("bot").success
    again.request(request(again, "bot", "BTC", 2), 1002)
    assert Status(again.drain()[-1]["order"]["req"]) is Status.NEW
    again.check_invariants()


def test_restoring_everything_killed_starts_halted():
    kernel = Kernel([BTC])
    kernel.restore_latches([LatchInfo("global", "", "kill_switch", "HALTED", 5, who="ann")])
    strategy = Recorder()
    kernel.add_strategy("s0", strategy)
    kernel.start(1000)
    kernel.market(0, events(("bid", 100.0, 5.0), ("ask", 101.0, 6.0), ts=1000))
    assert kernel.trading_state is TradingState.HALTED
    assert strategy.ctx.buy(99.0, 0.1) == 0


def test_an_unknown_cause_is_not_restored(world):
    kernel, *_ = world
    with pytest.raises(ConfigError, match="unknown cause 'hunger'"):
        kernel.restore_latches([LatchInfo("global", "", "hunger", "HALTED", 5)])


def test_a_killed_trader_whose_seat_was_taken_is_still_killed():
    kernel, _ = trading()
    names = [f"bot{n}" for n in range(64)]
    for name in names:
        assert kernel.register_external(name, ["BTC"]).success
    kernel.kill("bot7")
    kernel.disconnect_external("bot7")
    assert kernel.register_external("other", ["BTC"]).success
    assert kernel.strategy("other").message == "connected"
    assert [info.name for info in kernel.latches()] == ["bot7"]
    kernel.disconnect_external("other")
    assert kernel.register_external("bot7", ["BTC"]).success
    kernel.request(request(kernel, "bot7", "BTC", 1), 1001)
    assert Reason(kernel.drain()[-1]["order"]["reason"]) is Reason.KILL_SWITCH
    kernel.check_invariants()


def test_the_state_hash_knows_what_is_latched(world):
    kernel, *_ = world
    hashes = {kernel.state_hash()}
    for scope in ({"strategy": "s0"}, {"strategy": "s1"}, {"symbol": "BTC"}, {"symbol": "ETH"}):
        kernel.kill(**scope)
        hashes.add(kernel.state_hash())
        kernel.rearm(**scope)
    assert len(hashes) == 5
    assert kernel.state_hash() in hashes
    assert all(a != b for a, b in itertools.pairwise(sorted(hashes)))
