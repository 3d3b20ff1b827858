"""Trading on a real daemon over its bridge: the replay's fills, pausing, and kills in the middle of it."""

import os
import signal
import time
from contextlib import closing

import pytest

from bridge import protocol as p
from bridge.client import connect
from engine.backtest.config import BacktestConfig, StrategyConfig
from engine.backtest.data import save_events
from engine.backtest.runner import BacktestRunner
from engine.core.types import Reason, Side
from tests.kit.daemons import daemon, replay, until
from tests.kit.loops import asset
from tests.kit.patience import PATIENT
from tests.kit.recordings import events, recording

MAKER = {"half_spread": 1.0, "skew": 0.3, "order_qty": 0.01, "max_position": 0.1}
MODELS = {"maker_fee": -0.00005, "taker_fee": 0.0007, "queue_model": "power_prob_queue_model3"}


def endpoint(it):
    return f"ipc://{it.run_path}"


def fills_of(client):
    """The fills that the bridge remembers, oldest first."""
    client.subscribe(p.FILLS_TOPIC)
    with closing(client.messages(p.FILLS_TOPIC, timeout=5)) as messages:
        for message in messages:
            if isinstance(message, p.Snapshot):
                return message.messages
    raise AssertionError("no snapshot of the fills")


@pytest.fixture(scope="module")
def piece(tmp_path_factory):
    """The first part of the real recording, as npz."""
    recording("usdm")
    path = tmp_path_factory.mktemp("replay") / "usdm.npz"
    save_events(path, events("usdm")[:200_000])
    return path


@pytest.mark.recording
def test_a_replay_at_full_speed_gives_the_backtests_fills_to_a_client(piece):
    config = BacktestConfig(
        assets=[asset(**MODELS)],
        strategies=[StrategyConfig(id="mm", cls="engine.strategy.native:MarketMaker", params=MAKER)],
    )
    result = BacktestRunner().run(config, {"BTCUSDT": events("usdm")[:200_000]})
    expected = [
        (
            int(f["local_ts"]),
            Side(int(f["side"])).name.lower(),
            float(f["px"]),
            Reason(int(f["reason"])).name.lower(),
        )
        for f in result.fills
    ]
    assert len(expected) > 50
    with daemon(replay(piece)) as it:
        it.start()
        until(lambda: it.status()["engine"]["feed_state"] == "ended", "the end of the replay", 60)
        with connect(endpoint(it), **PATIENT) as client:
            found = [(f.ts, f.side, f.px, f.reason) for f in fills_of(client)]
        position = it.status()["positions"][0]
    assert found == expected
    values = result.states[0].values
    for name in (
        "position",
        "balance",
        "fee",
        "num_trades",
        "trading_volume",
        "trading_value",
        "realized_pnl",
    ):
        assert position[name] == getattr(values, name), name


@pytest.mark.recording
def test_pausing_over_the_bridge_stops_new_orders_within_one_step_at_full_speed(piece):
    with daemon(replay(piece, loop=0)) as it:
        it.start()
        with connect(endpoint(it), role="admin", **PATIENT) as client:
            client.subscribe(p.ORDERS_TOPIC)
            with closing(client.messages(p.ORDERS_TOPIC, timeout=5)) as messages:
                first = next(message for message in messages if _is_new(message))
                reply = client.pause("mm")
                assert (reply.success, reply.strategy_state) == (True, "Paused")
                before = it.status()["engine"]["events"]
                until(lambda: it.status()["engine"]["events"] > before + 10_000, "more of the market")
                resumed = client.resume("mm")
                steps = [first.step]
                for message in messages:
                    if _is_new(message):
                        steps.append(message.step)
                        if message.step > resumed.step:
                            break
        assert first.step <= reply.step
        assert not [step for step in steps if reply.step < step < resumed.step]


@pytest.mark.recording
def test_an_external_trader_trades_a_replay_that_waits_for_it_and_outlives_the_kill_of_feed_and_bridge(piece):
    with daemon(replay(piece, speed=5.0, wait=True)) as it:
        it.start()
        assert it.status()["engine"]["feed_state"] == "waiting"
        with connect(
            endpoint(it), role="trader", strategy_id="ext", symbols=["BTCUSDT"], **PATIENT
        ) as client:
            client.subscribe_depth("BTCUSDT")
            until(lambda: not client.book("BTCUSDT").stale and client.book("BTCUSDT").mid, "a book")
            book = client.book("BTCUSDT")
            number = client.submit("BTCUSDT", "buy", book.best_ask, 0.001, time_in_force="IOC")
            assert client.wait_order(number, timeout=10).status == "FILLED"
            resting = client.submit("BTCUSDT", "buy", book.best_bid - 1000.0, 0.001)
            until(lambda: client.order(resting).status == "NEW", "an acknowledgement")
            trades = {}
            for role in ("feed", "bridge"):
                before = it.status()
                os.kill(before["processes"][role]["pid"], signal.SIGKILL)
                until(lambda role=role: it.status()["processes"][role]["restarts"] == 1, f"a new {role}")
                until(
                    lambda before=before: it.status()["engine"]["fills"] > before["engine"]["fills"],
                    "fills after the kill",
                )
                after = it.status()
                for old, new in zip(before["positions"], after["positions"], strict=True):
                    assert new["num_trades"] >= old["num_trades"]
                    assert new["trading_volume"] >= old["trading_volume"]
                trades[role] = after
            mine = next(row for row in trades["bridge"]["positions"] if row["strategy"] == "ext")
            assert (mine["position"], mine["num_trades"]) == (0.001, 1)
            until(lambda: str(client.state) == "connected", "the client's reconnection", 30)
        # The trader has said goodbye: its resting order is cancelled, its position stays.
        until(lambda: _open_orders(it, "ext") == 0, "the cancel of what rested")
        assert it.end()[0] == 0


def _is_new(message):
    """Whether it tells of a request for a new order."""
    return isinstance(message, p.OrderUpdate) and message.status == message.prev_status == "NONE"


def _open_orders(it, strategy):
    return next(row["open_orders"] for row in it.status()["positions"] if row["strategy"] == strategy)


def test_a_stop_reaches_the_clients_before_the_bridge_leaves():
    with daemon() as it:
        it.start()
        with connect(endpoint(it), **PATIENT) as client:
            client.subscribe(p.STRATEGIES_TOPIC)
            with closing(client.messages(p.STRATEGIES_TOPIC, timeout=10)) as messages:
                until(lambda: it.status()["engine"]["fills"] > 0, "a fill")
                time.sleep(0.1)
                assert it.end()[0] == 0
                states = []
                for message in messages:
                    if isinstance(message, p.StrategyStatus):
                        states.append(message.state)
                        if message.state == "Stopped":
                            break
        assert states[-1] == "Stopped"
