"""Strategies that raise in a backtest: stopped, their orders cancelled, and the run goes on and says so."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest

from engine.backtest.config import AssetConfig, BacktestConfig, StrategyConfig
from engine.backtest.runner import BacktestRunner
from engine.core.errors import ConfigError, StrategyError
from engine.core.types import Reason, Status
from engine.strategy.status import StrategyWarning
from tests.kit import raiser
from tests.kit.markets import LOT_SIZE, TICK_SIZE, random_market

ENTRY = RESPONSE = 1_000
TWICE_THERE = 2 * ENTRY + RESPONSE
"""Until a cancel arrives that waits for the answer to a request which has just been sent."""
ENDED = (Status.CANCELED, Status.FILLED, Status.EXPIRED, Status.REJECTED)
PLACES = {
    "on_start": 1, "on_book": 150, "on_trade": 40, "on_order": 9, "on_fill": 4, "on_timer": 30, "on_stop": 1,
}  # fmt: skip


@pytest.fixture(scope="module")
def data():
    return {"A": random_market(3, 600)}


def strategy(name: str, **params) -> StrategyConfig:
    return StrategyConfig(id=name, cls="tests.kit.raiser:Raiser", params=params)


def run(data, *strategies: StrategyConfig, on_error="stop", stepwise=False):
    sizes = {"tick_size": TICK_SIZE, "lot_size": LOT_SIZE}
    asset = AssetConfig(symbol="A", entry_latency_ns=ENTRY, response_latency_ns=RESPONSE, **sizes)
    runner = BacktestRunner(on_error=on_error, stepwise=stepwise, check_invariants=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", StrategyWarning)
        return runner.run(BacktestConfig(assets=[asset], strategies=list(strategies)), data)


def last_updates(result, name: str) -> dict[int, np.void]:
    """The last update of each order of a strategy, by id."""
    slot = result.strategies.index(name)
    orders = result.orders["order"]
    return {int(order["order_id"]): order for order in orders[orders["strategy"] == slot]}


@pytest.mark.parametrize("where", PLACES)
def test_a_failure_is_told_whole_and_the_orders_are_cancelled(data, where):
    result = run(data, strategy("bad", where=where, nth=PLACES[where]), strategy("good"))
    (failure,) = result.failures
    assert (failure.strategy, failure.callback) == ("bad", where)
    assert failure.message == f"RuntimeError: boom in {where}"
    file, _, line = failure.where.rpartition(":")
    assert file == raiser.__file__
    assert "raise RuntimeError" in Path(file).read_text().splitlines()[int(line) - 1]
    assert failure.traceback.startswith("Traceback")
    assert f"in {where}\n" in failure.traceback
    assert ".pyx" not in failure.traceback
    assert result.first_ts <= failure.ts <= result.last_ts
    assert result.to_json()["failures"] == [failure._asdict()]

    ends = last_updates(result, "bad")
    assert ends
    if where == "on_stop":
        return
    assert {Status(order["status"]) for order in ends.values()} <= set(ENDED)
    assert Reason.STRATEGY_ERROR in {Reason(order["reason"]) for order in ends.values()}
    assert max(order["local_ts"] for order in ends.values()) <= failure.ts + ENTRY + RESPONSE
    fills = result.fills[result.fills["strategy"] == 0]
    assert np.all(fills["exch_ts"] < failure.ts + TWICE_THERE)


@pytest.mark.parametrize("where", PLACES)
def test_the_others_trade_as_if_they_were_alone(data, where):
    alone = run(data, strategy("good")).fill_records()
    assert alone[-1]["ts"] > alone[len(alone) // 2]["ts"]
    both = run(data, strategy("bad", where=where, nth=PLACES[where]), strategy("good"))
    assert [fill for fill in both.fill_records() if fill["strategy"] == "good"] == alone
    assert both.logs[-1][2:4] == ("bad", "error")


def test_a_resting_order_is_cancelled_at_the_venue_before_it_would_have_filled(data):
    place = {"where": "on_book", "nth": 40, "away": 2.0}
    failed = run(data, strategy("s", **place))
    silent = run(data, strategy("s", **place, silent=True))
    (failure,) = failed.failures
    arrival = failure.ts + ENTRY

    def at(result, ts):
        return {
            int(update["order"]["order_id"])
            for update in result.orders[result.orders["ts"] <= ts]
            if update["order"]["status"] == Status.NEW and update["order"]["req"] == Status.NONE
        } - {int(fill["order_id"]) for fill in result.fills[result.fills["exch_ts"] < arrival]}

    resting = at(failed, failure.ts)
    assert resting == at(silent, failure.ts) != set()
    later = {int(fill["order_id"]) for fill in silent.fills if fill["exch_ts"] >= arrival}
    assert resting & later, "nothing would have filled: the test shows nothing"
    assert not {int(fill["order_id"]) for fill in failed.fills if fill["exch_ts"] >= arrival}
    ends = last_updates(failed, "s")
    for order_id in resting:
        assert ends[order_id]["status"] == Status.CANCELED
        assert ends[order_id]["reason"] == Reason.STRATEGY_ERROR
        assert ends[order_id]["exch_ts"] == arrival


def test_a_failure_is_the_same_event_by_event(data):
    strategies = [strategy("bad", where="on_fill", nth=3), strategy("good")]
    batched, stepwise = (run(data, *strategies, stepwise=each) for each in (False, True))
    assert batched.failures == stepwise.failures
    assert batched.orders.tobytes() == stepwise.orders.tobytes()


def test_failures_come_in_the_order_of_time(data):
    result = run(data, strategy("b", where="on_book", nth=90), strategy("a", where="on_timer", nth=2))
    assert [failure.strategy for failure in result.failures] == ["a", "b"]
    assert result.failures[0].ts < result.failures[1].ts


def test_a_run_in_which_nobody_raises_has_no_failures(data):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert run(data, strategy("good")).failures == []


def test_the_default_warns(data):
    asset = AssetConfig(symbol="A", tick_size=TICK_SIZE, lot_size=LOT_SIZE)
    config = BacktestConfig(assets=[asset], strategies=[strategy("s", where="on_start")])
    with pytest.warns(
        StrategyWarning, match=r"strategy s raised RuntimeError: boom in on_start .*raiser\.py"
    ) as seen:
        BacktestRunner().run(config, data)
    assert seen[0].filename == __file__


@pytest.mark.parametrize("where", PLACES)
def test_who_wants_the_exception_gets_it(data, where):
    with pytest.raises(StrategyError, match=rf"strategy s raised RuntimeError: boom in {where} ") as caught:
        run(data, strategy("s", where=where, nth=PLACES[where]), on_error="raise")
    assert isinstance(caught.value.__cause__, RuntimeError)
    assert caught.value.__cause__.__traceback__ is not None


def test_another_word_for_on_error_is_refused():
    with pytest.raises(ConfigError, match="'ignore' is neither stop nor raise"):
        BacktestRunner(on_error="ignore")


def failing(tmp_path, body: str):
    path = tmp_path / "s.py"
    path.write_text(f"import json\nfrom engine.strategy.base import Strategy\n\n\nclass S(Strategy):\n{body}")
    return StrategyConfig(id="s", cls=f"{path}:S")


@pytest.mark.parametrize(
    ("body", "line", "message"),
    [
        ("    def on_book(self, ctx, book):\n        json.loads('x')\n", 7, "json.decoder.JSONDecodeError"),
        ("    def on_book(self, ctx, book):\n        ctx.buy(float('nan'), 1)\n", 7, "engine.core.errors.I"),
        ("    def on_book(self, ctx):\n        pass\n", 6, "TypeError: S.on_book() takes 2 positional"),
        ("    def on_book(self, ctx, book):\n        raise SystemExit(3)\n", 7, "SystemExit: 3"),
        ("    def on_book(self, ctx, book):\n        raise ValueError('a\\nb')\n", 7, "ValueError: a b"),
    ],
)  # fmt: skip
def test_where_is_the_strategys_own_line(tmp_path, data, body, line, message):
    (failure,) = run(data, failing(tmp_path, body)).failures
    assert failure.where == f"{tmp_path / 's.py'}:{line}"
    assert failure.message.startswith(message)
    assert "\n" not in failure.line()
