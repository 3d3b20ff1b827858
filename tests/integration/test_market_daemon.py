"""A daemon with the market within: external strategies in processes of their own trade with each other."""

import json
import os
import signal
import subprocess
import sys

import pytest

from bridge import protocol as p
from bridge.client import connect
from tests.kit.daemons import ROOT, daemon, until
from tests.kit.patience import PATIENT

MARKET = """
[engine]
name = "{{name}}"
status_interval_ms = 10

[feed]
kind = "market"
agents = {agents}
speed = {speed}
seed = 5

[[instruments]]
symbol = "BTCUSDT"
tick_size = 0.1
lot_size = 0.001
maker_fee = -0.0001
taker_fee = 0.0005
"""


def market(*, agents, speed=1.0):
    return MARKET.format(agents=str(agents).lower(), speed=speed)


def trader(it, name, seed, orders):
    arguments = [f"ipc://{it.run_path}", name, str(seed), str(orders)]
    return subprocess.Popen(
        [sys.executable, "-m", "tests.kit.random_trader", *arguments],
        env=it.environment,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )


def positions(it):
    return {row["strategy"]: row for row in it.status()["positions"]}


def test_two_external_strategies_trade_with_each_other_and_nothing_is_made_or_lost():
    with daemon(market(agents=False)) as it:
        it.start()
        traders = {name: trader(it, name, seed, 150) for seed, name in enumerate(("one", "two"))}
        looked = 0
        while any(process.poll() is None for process in traders.values()):
            rows = positions(it).values()
            # Positions and what was paid for them cancel out at every moment; fees come on top.
            assert sum(round(row["position"] / 0.001) for row in rows) == 0
            assert sum(row["balance"] for row in rows) == pytest.approx(0.0, abs=1e-6)
            looked += any(row["num_trades"] for row in rows)
        said = {name: json.loads(process.communicate()[0]) for name, process in traders.items()}
        last = positions(it)
    assert looked > 20
    # Each may also have met an order of its own, which is two fills.
    assert min(mine["fills"] for mine in said.values()) > 20
    assert sum(mine["fills"] for mine in said.values()) % 2 == 0
    for name, mine in said.items():
        # Nobody hears of others' orders.
        assert set(mine["heard"]) <= set(mine["sent"])
        assert mine["lots"] == round(last[name]["position"] / 0.001)
        assert mine["cash"] * 0.0001 == pytest.approx(last[name]["balance"])
        assert mine["fee"] == pytest.approx(last[name]["fee"])
    assert said["one"]["lots"] == -said["two"]["lots"]
    assert said["one"]["cash"] == -said["two"]["cash"]


def test_agents_trade_with_an_external_strategy_and_outlive_the_kill_of_the_feed():
    with daemon(market(agents=True, speed=3.0)) as it:
        it.start()
        trader = {"role": "trader", "strategy_id": "ext", "symbols": ["BTCUSDT"], **PATIENT}
        with connect(f"ipc://{it.run_path}", **trader) as client:
            client.subscribe_depth("BTCUSDT")
            client.subscribe(p.trade_topic("BTCUSDT"))
            until(lambda: not client.book("BTCUSDT").stale and client.book("BTCUSDT").mid, "a book")
            book = client.book("BTCUSDT")
            limit = round(book.best_ask + 5.0, 1)
            number = client.submit("BTCUSDT", "buy", limit, 0.01, time_in_force="IOC")
            assert client.wait_order(number, timeout=10).status == "FILLED"
            before = it.status()["engine"]
            os.kill(it.pid("feed"), signal.SIGKILL)
            until(lambda: it.status()["processes"]["feed"]["restarts"] == 1, "a new feed")
            until(lambda: it.status()["engine"]["events"] > before["events"] + 1000, "more of the market")
            assert it.status()["engine"]["market_ts"] > before["market_ts"]
            resting = client.submit("BTCUSDT", "buy", 50_000.0, 0.01)
            until(lambda: client.order(resting).status == "NEW", "an acknowledgement")
        until(lambda: positions(it)["ext"]["open_orders"] == 0, "the cancel of what rested")
        assert positions(it)["ext"]["position"] == 0.01
        assert it.end()[0] == 0


def test_a_market_within_goes_on_from_a_snapshot_when_all_is_killed(tmp_path):
    journal = f'[journal]\ndir = "{tmp_path}/j"\nbuffer_mb = 4\nsnapshot_records = 300\n'
    with daemon(f"{market(agents=True, speed=5.0)}\n{journal}") as it:
        run = it.start()["run_id"]
        until(lambda: (it.status().get("snapshots") or {}).get("seq"), "a snapshot", 40.0)
        assert it.status()["snapshots"]["refused"] == ""
        before = it.status()["engine"]["market_ts"]
        it.crash(memory=False)
        said = it.start()
        assert (said["run_id"], said["resumed"] > 0) == (run, True)
        assert any("begins with the snapshot" in line["text"] for line in it.log())
        until(lambda: it.status()["engine"]["market_ts"] > before, "more of the market")
        assert it.end()[0] == 0
        assert it.ringbook("replay", "--journal", str(tmp_path / "j")).returncode == 0
