"""One strategy, unchanged, in a backtest, in the engine and in a process of its own: the same decisions."""

import contextlib
import dataclasses
import subprocess
import sys
import threading

import numpy as np
import pytest

from bridge import protocol as p
from bridge.client import connect
from bridge.errors import BridgeError, CommandRefused
from bridge.runner import StrategyRunner
from engine.backtest.config import BacktestConfig, StrategyConfig
from engine.backtest.data import save_events
from engine.backtest.runner import BacktestRunner
from engine.core.errors import StrategyError
from engine.core.types import OrdType, Side, Status, TimeInForce
from engine.feeds.simulated import SimulatedMarket
from engine.strategy.base import Strategy
from tests.kit.daemons import ROOT, daemon, replay, until
from tests.kit.fake_engine import BridgeProcess, bridge_thread, wait_until
from tests.kit.loops import asset
from tests.kit.patience import PATIENT

SECONDS = 5.0
MESSAGES, GAP_NS = 400, 10_000_000
DECIDER = """
[[strategies]]
id = "decider"
class = "tests.kit.decider:Decider"
params = {{{{ path = "{path}", after = {after} }}}}
"""
EXTERNAL = """
import sys
from bridge.runner import StrategyRunner
from tests.kit.decider import Decider
runner = StrategyRunner(
    Decider(path=sys.argv[2], after=int(sys.argv[3])), ["BTCUSDT"], sys.argv[1], heartbeat_misses=500
)
runner.run(float(sys.argv[4]))
"""


@pytest.fixture(scope="module")
def market(tmp_path_factory):
    """Some seconds of a market: the file, and the rows."""
    rows = SimulatedMarket("BTCUSDT", seed=11, rate=3.0).generate(SECONDS)
    # An engine publishes a book once a turn, so what comes within a turn reaches nobody outside by itself.
    moments, rows["local_ts"] = np.unique(rows["local_ts"], return_inverse=True)
    rows = rows[rows["local_ts"] < MESSAGES]
    rows["local_ts"] = rows["exch_ts"] = moments[0] + rows["local_ts"] * GAP_NS
    path = tmp_path_factory.mktemp("market") / "rows.npz"
    save_events(path, rows)
    return path, rows


def test_the_same_class_decides_the_same_everywhere(market, tmp_path):
    file, rows = market
    # A client needs a moment to subscribe: what comes before that counts for nobody.
    after = int(rows["local_ts"][0]) + MESSAGES // 3 * GAP_NS
    config = BacktestConfig(
        assets=[asset()],
        strategies=[
            StrategyConfig(
                id="decider",
                cls="tests.kit.decider:Decider",
                params={"path": str(tmp_path / "backtest"), "after": after},
            )
        ],
    )
    BacktestRunner().run(config, {"BTCUSDT": rows})
    expected = (tmp_path / "backtest").read_text().splitlines()
    assert len(expected) > 30
    assert {line.split()[1] for line in expected} == {"book", "trade"}

    inside = DECIDER.format(path=tmp_path / "inside", after=after).replace("{{", "{").replace("}}", "}")
    with daemon(replay(file) + inside.replace("{", "{{").replace("}", "}}")) as it:
        it.start()
        until(lambda: it.status()["engine"]["feed_state"] == "ended", "the end of the replay", 60)
    assert (tmp_path / "inside").read_text().splitlines() == expected

    # By default a daemon merges changes of 2 ms; a strategy that must see each one asks for that.
    with daemon(replay(file, speed=1.5, wait=True, more="depth_interval_us = 0")) as it:
        it.start()
        command = [sys.executable, "-c", EXTERNAL, f"ipc://{it.run_path}", tmp_path / "outside", str(after)]
        child = subprocess.Popen([*map(str, command), "60"], cwd=ROOT)
        until(lambda: it.status()["engine"]["feed_state"] == "ended", "the end of the replay", 60)
        status = it.status()
        mine = next(row for row in status["positions"] if row["strategy"] == "Decider")
        assert mine["num_trades"] > 10
        child.terminate()
        child.wait()
    # A book carries the engine's time when it was published: an answer to an order may have come in between.
    outside = (tmp_path / "outside").read_text().splitlines()
    assert [line.split()[1:] for line in outside] == [line.split()[1:] for line in expected]


class Breaks(Strategy):
    """Raises at the first book."""

    def on_book(self, ctx, book):
        raise ValueError("broken on purpose")


def test_a_strategy_that_raises_ends_its_run_and_its_orders(market):
    with daemon() as it:
        it.start()
        runner = StrategyRunner(Breaks(), ["BTCUSDT"], f"ipc://{it.run_path}", **PATIENT)
        with pytest.raises(StrategyError, match="broken on purpose"):
            runner.run(30.0)
        with connect(f"ipc://{it.run_path}", role="admin", **PATIENT) as admin:
            until(lambda: admin.query_status("Breaks").strategy_state == "Stopped", "the end of the seat")


class Rests(Strategy):
    """Keeps one order in the market, and counts its fills."""

    def on_start(self, ctx):
        self.ctx, self.fills = ctx, 0

    def on_book(self, ctx, book):
        if not ctx.orders():
            ctx.submit(None, Side.BUY, 90.0, 0.004, OrdType.LIMIT, TimeInForce.GTC)

    def on_fill(self, ctx, fill):
        self.fills += 1


@contextlib.contextmanager
def running(endpoint):
    """A runner in a thread of its own, and a list of what it raises."""
    runner, raised = StrategyRunner(Rests(), ["BTCUSDT"], endpoint, **PATIENT), []

    def run():
        try:
            runner.run(60.0)
        except BridgeError as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield runner, raised
    finally:
        runner.stop()
        thread.join(30)
        assert not thread.is_alive()


@pytest.mark.parametrize("unread", [False, True])
def test_an_order_whose_end_nobody_has_told_does_not_stay_for_ever(engine, endpoint, unread):
    """A bridge is killed, and the order ends without a word: the strategy hears of it, and sends another.

    What the dead bridge has left unread of the order is older than what the engine tells the new one.
    """
    process = BridgeProcess(engine, endpoint, heartbeat_misses=50)
    try:
        with running(endpoint) as (runner, _):
            wait_until(lambda: runner.kernel is not None)
            engine.depth("BTCUSDT", [(100.0, 1.0)], [(101.0, 1.0)])
            wait_until(lambda: len(engine.orders) == 1)
            (first,) = engine.orders
            process.kill()
            with engine._lock:
                if unread:
                    engine.emit(engine.orders[first], int(Status.NEW))
                engine.orders.clear()
            process = BridgeProcess(engine, endpoint, grace_s=60.0, heartbeat_misses=50)
            wait_until(lambda: not runner.kernel.orders(runner.name) or engine.orders)
            engine.depth("BTCUSDT", [(100.0, 2.0)], [])
            wait_until(lambda: len(engine.orders) == 1)
            assert first not in engine.orders
    finally:
        process.kill()


@pytest.mark.parametrize(
    ("status", "traded", "left"),
    [("FILLED", 0.004, 0), ("CANCELED", 0.002, 0), ("LOST", 0.002, 0), ("PARTIALLY_FILLED", 0.002, 1)],
)
def test_what_was_traded_unheard_counts(engine, bridge, status, traded, left):
    with running(bridge) as (runner, _):
        wait_until(lambda: runner.kernel is not None)
        engine.depth("BTCUSDT", [(100.0, 1.0)], [(101.0, 1.0)])
        wait_until(lambda: [o.status for o in runner.client.orders()] == ["NEW"])
        with runner.client.locked():
            (state,) = runner.client.orders()
            state.status, state.cum_exec_qty, state.exec_px = status, traded, 89.5
            state.leaves_qty = 0.004 - traded
            runner.client.on_order(state)
            assert runner.strategy.ctx.position() == pytest.approx(traded)
            assert len(runner.strategy.ctx.orders()) == left
        assert runner.strategy.fills == 1


@pytest.mark.parametrize(("lost", "ends"), [(2, "filled"), (2, "canceled"), (0, "canceled")])
def test_an_execution_that_is_lost_counts_with_the_next_one(engine, bridge, lost, ends):
    with running(bridge) as (runner, _):
        wait_until(lambda: runner.kernel is not None)
        engine.depth("BTCUSDT", [(100.0, 1.0)], [(101.0, 1.0)])
        wait_until(lambda: [o.status for o in runner.client.orders()] == ["NEW"])
        (mine,) = runner.client.orders()
        engine.fill(mine.client_order_id, 0.001)
        with engine._lock:
            (live,) = engine.orders.values()
            live.order["leaves_qty"] -= lost
            live.order["cum_exec_qty"] += lost
        if ends == "filled":
            engine.fill(mine.client_order_id, 0.001)
        else:
            runner.client.cancel(mine.client_order_id)
        wait_until(lambda: not runner.client.order(mine.client_order_id).live)
        with runner.client.locked():
            traded = 0.001 * (1 + lost + (ends == "filled"))
            assert runner.strategy.ctx.position() == pytest.approx(traded)


def test_a_refusal_for_good_ends_the_run(engine, endpoint):
    """The daemon that comes back does not have the instrument: to wait for it would be to wait for ever."""
    config = engine.config(endpoint, **PATIENT)
    others = [p.InstrumentInfo("SOLUSDT", 0.1, 0.001, 1.0, "linear"), *config.instruments[1:]]
    with contextlib.ExitStack() as stack:
        with bridge_thread(config):
            runner, raised = stack.enter_context(running(endpoint))
            wait_until(lambda: runner.kernel is not None)
        with bridge_thread(dataclasses.replace(config, instruments=others)):
            wait_until(lambda: raised)
    assert isinstance(raised[0], CommandRefused)
    assert "unknown_symbol" in str(raised[0])
