"""Clients over shared memory: everything as over sockets, and what only memory can do wrong."""

import asyncio
import os
import signal
import subprocess
import sys
import time

import pytest

from bridge import aioclient
from bridge.client import Client, connect
from bridge.errors import ConnectionLost
from bridge.transport import ConnectionState
from tests.kit.fake_engine import ROOT, BridgeProcess, bridge_thread, wait_until
from tests.kit.patience import PATIENT

TRADER = {"role": "trader", "strategy_id": "ext", "symbols": ["BTCUSDT"]}


@pytest.fixture
def memory(endpoint):
    """The same place, over shared memory."""
    return endpoint.replace("ipc://", "shm://")


def test_a_killed_bridge_is_noticed_at_once_and_nothing_is_missed(engine, memory):
    process = BridgeProcess(engine, memory, heartbeat_misses=50, grace_s=20)
    try:
        with connect(memory, **TRADER, heartbeat_misses=1000) as client:
            client.subscribe_depth("BTCUSDT")
            client.wait_order(client.submit("BTCUSDT", "buy", 90.0, 0.002, client_order_id=11))
            process.kill()
            # Not by its silence: that would take 100 s.
            wait_until(lambda: client.state is ConnectionState.RECONNECTING)
            assert client.detail == "the bridge is gone"
            engine.fill(11, 0.001)
            process = BridgeProcess(engine, memory, heartbeat_misses=50, grace_s=20)
            wait_until(lambda: client.state is ConnectionState.CONNECTED, 20)
            wait_until(lambda: client.order(11).leaves_qty == pytest.approx(0.001))
            client.cancel(11)
            wait_until(lambda: client.order(11).status == "CANCELED")
    finally:
        process.kill()


def test_a_killed_client_loses_its_orders(engine, memory):
    code = (
        "import sys, time; from bridge.client import connect\n"
        f"c = connect({memory!r}, role='trader', strategy_id='ext', heartbeat_misses=50).__enter__()\n"
        "c.wait_order(c.submit('BTCUSDT', 'buy', 90.0, 0.002)); print('placed', flush=True); time.sleep(60)\n"
    )
    with bridge_thread(engine.config(memory, heartbeat_misses=1000)):
        child = subprocess.Popen(
            [sys.executable, "-c", code], cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=-1
        )
        assert child.stdout.readline() == b"placed\n"
        assert len(engine.orders) == 1
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
        wait_until(lambda: not engine.orders)


def test_asyncio_trades_and_watches_over_a_lane(engine, memory):
    async def trade():
        async with aioclient.connect(memory, **TRADER, **PATIENT) as client:
            messages = client.messages("tm.status")
            number = client.submit("BTCUSDT", "buy", 100.1, 0.002)
            assert (await client.wait_order(number)).status == "NEW"
            async with asyncio.timeout(10):
                await anext(messages)
            client.cancel(number)
            async with asyncio.timeout(10):
                while client.order(number).status != "CANCELED":
                    await asyncio.sleep(0.01)

    with bridge_thread(engine.config(memory, **PATIENT)):
        asyncio.run(trade())


def test_an_operator_controls_over_sockets_and_watches_over_a_lane(engine, memory):
    with bridge_thread(engine.config(memory, **PATIENT)):
        with connect(memory, role="admin", **PATIENT) as client:
            client.subscribe_depth("BTCUSDT")
            assert client.query_status().success
            engine.depth("BTCUSDT", [(1000, 5)], [(1001, 4)])
            wait_until(lambda: client.book("BTCUSDT").bids)


def test_where_nobody_offers_a_lane_the_client_says_so(tmp_path):
    client = Client(f"shm://{tmp_path}", **PATIENT)
    client.start()
    try:
        with pytest.raises(ConnectionLost, match=r"lane\.sock: No such file"):
            client.connected(timeout=0.5)
    finally:
        client.close()


def test_a_client_that_sleeps_costs_nothing(engine, memory):
    with bridge_thread(engine.config(memory, **PATIENT)), connect(memory, **TRADER, **PATIENT):
        before = time.process_time()
        time.sleep(0.5)
        assert time.process_time() - before < 0.25
