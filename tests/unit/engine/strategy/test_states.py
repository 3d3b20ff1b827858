from itertools import product

import pytest

from engine.core.errors import IllegalTransition
from engine.core.types import StrategyState, TradingState
from engine.kernel import InstrumentSpec, Kernel
from engine.strategy.base import Strategy
from engine.strategy.states import (
    STRATEGY_MOVES,
    TRADING_MOVES,
    TRADING_NAMES,
    next_state,
    next_strategy,
    next_trading,
)
from engine.strategy.status import STATE_NAMES

BTC = InstrumentSpec("BTC", 0.5, 0.1)
INSIDE = ("start", "pause", "resume", "stop", "finish", "fail")


class Told(Strategy):
    """Runs what it is given inside a callback, and notes the states that it sees."""

    def __init__(self):
        self.within = {}

    def _do(self, callback):
        self.within.get(callback, lambda: None)()

    def on_start(self, ctx):
        self._do("on_start")

    def on_params(self, ctx):
        self._do("on_params")

    def on_stop(self, ctx):
        self._do("on_stop")


def fail():
    raise ValueError("no more")


def bring(state, act):
    """A kernel whose strategy ``s`` is brought into a state, and what ``act`` returned while it was there."""
    kernel = Kernel([BTC])
    strategy = Told()
    kernel.add_strategy("s", strategy)
    if state == "Starting":
        return kernel, act(kernel, strategy)
    if state == "Error":
        strategy.within["on_start"] = fail
    kernel.start(1)
    if state == "Paused":
        assert kernel.pause("s").success
    if state == "Stopping":
        done = []
        strategy.within["on_stop"] = lambda: done.append(act(kernel, strategy))
        kernel.stop()
        return kernel, done[0]
    if state == "Stopped":
        kernel.stop()
    assert kernel.strategy("s").state == state
    return kernel, act(kernel, strategy)


def test_the_tables_name_states_that_there_are():
    assert tuple(state.name.capitalize() for state in StrategyState) == STATE_NAMES
    assert tuple(state.name for state in TradingState) == TRADING_NAMES
    for row in STRATEGY_MOVES.values():
        assert set(row) | set(row.values()) <= set(STATE_NAMES)
    for row in TRADING_MOVES.values():
        assert set(row) | set(row.values()) <= set(TRADING_NAMES)
        assert len(set(row.values())) == 1


@pytest.mark.parametrize(("action", "state"), list(product(STRATEGY_MOVES, STATE_NAMES)))
def test_every_move_of_the_table_and_no_other(action, state):
    row = STRATEGY_MOVES[action]
    if state in row:
        assert STATE_NAMES[next_strategy(action, STATE_NAMES.index(state), "s")] == row[state]
    else:
        with pytest.raises(IllegalTransition, match=f"^s is {state}: {action} needs {' or '.join(row)}$"):
            next_strategy(action, STATE_NAMES.index(state), "s")


@pytest.mark.parametrize(("action", "state"), list(product(TRADING_MOVES, TRADING_NAMES)))
def test_every_move_of_trading_and_no_other(action, state):
    row = TRADING_MOVES[action]
    after = row.get(state, state)
    assert TRADING_NAMES[next_trading(action, TRADING_NAMES.index(state))] == after
    if state not in row:
        with pytest.raises(IllegalTransition, match=f"trading is {state}: {action} needs"):
            next_state(TRADING_MOVES, action, state, "trading")


@pytest.mark.parametrize(("command", "state"), list(product(("pause", "resume"), STATE_NAMES)))
def test_commands_on_a_strategy_in_each_state(command, state):
    kernel, result = bring(state, lambda kernel, strategy: getattr(kernel, command)("s"))
    row = STRATEGY_MOVES[command]
    if state in row:
        assert (result.success, result.strategy_state) == (True, row[state])
    elif state in row.values():
        assert (result.success, result.strategy_state) == (True, state)
        assert result.message.startswith("nothing to do")
    else:
        assert (result.success, result.strategy_state) == (False, state)
        assert result.message == f"s is {state}: {command} needs {' or '.join(row)}"
    kernel.check_invariants()


@pytest.mark.parametrize("state", STATE_NAMES)
def test_what_raises_fails_from_every_state_that_can(state):
    def act(kernel, strategy):
        strategy.within["on_params"] = fail
        return kernel.update_params("s", {})

    _, result = bring(state, act)
    row = STRATEGY_MOVES["fail"]
    assert not result.success or state == "Stopping"
    if state in ("Stopped", "Error"):
        assert result.message == f"s is {state}: it has ended"
        assert result.strategy_state == state
    elif state in row and state != "Stopping":
        assert (result.message, result.strategy_state) == ("ValueError: no more", "Error")


def test_a_strategy_may_fail_while_it_stops_and_stays_failed():
    kernel = Kernel([BTC])
    strategy = Told()
    strategy.within["on_stop"] = fail
    kernel.add_strategy("s", strategy)
    kernel.start(1)
    kernel.stop()
    assert kernel.strategy("s").state == "Error"
    kernel.stop()
    assert kernel.strategy("s").state == "Error"


@pytest.mark.parametrize("state", ["Starting", "Running", "Paused", "Stopped", "Error"])
def test_stop_ends_what_has_not_ended(state):
    kernel, _ = bring(state, lambda kernel, strategy: kernel.stop())
    assert kernel.strategy("s").state == ("Error" if state == "Error" else "Stopped")


def test_an_external_strategy_connects_pauses_and_leaves():
    kernel = Kernel([BTC])
    assert kernel.register_external("x", ("BTC",)).strategy_state == "Running"
    refused = kernel.register_external("x", ("BTC",))
    assert (refused.success, refused.message) == (False, "x is connected already")
    assert kernel.pause("x").strategy_state == "Paused"
    kernel.start(1)
    assert kernel.strategy("x").state == "Paused"
    assert kernel.disconnect_external("x").strategy_state == "Stopped"
    again = kernel.disconnect_external("x")
    assert (again.success, again.message) == (False, "x is Stopped: disconnect needs Running or Paused")
    assert kernel.resume("x").message == "x is Stopped: resume needs Paused"
    assert kernel.register_external("x", ("BTC",)).strategy_state == "Running"


def test_trading_goes_from_state_to_state_and_commands_may_be_repeated():
    kernel = Kernel([BTC])
    kernel.start(1)
    seen = []
    for command in ("resume", "reduce_only", "reduce_only", "resume", "emergency_stop", "emergency_stop"):
        seen.append(getattr(kernel, command)().trading_state)
    assert seen == ["ACTIVE", "REDUCING", "REDUCING", "ACTIVE", "HALTED", "HALTED"]
    assert kernel.reduce_only().trading_state == "REDUCING"
    assert kernel.emergency_stop().trading_state == "HALTED"
    assert kernel.resume().trading_state == "ACTIVE"
