"""Acknowledgements of a daemon whose journaller stands still: who waits for the disk, and who does not."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from contextlib import contextmanager

import pytest

from bridge import aioclient
from bridge.client import connect
from bridge.errors import RequestTimeout
from bridge.protocol import EngineStatus, OrderUpdate
from engine.runtime.metrics import describe
from tests.kit.daemons import SIMULATED, daemon, until
from tests.kit.patience import PATIENT


@contextmanager
def journaled(acknowledge, tmp_path):
    """A daemon with a journal."""
    more = f'dir = "{tmp_path}/journals"\nbuffer_mb = 4\nsegment_mb = 4\nacknowledge = "{acknowledge}"\n'
    with daemon(f"{SIMULATED}\n[journal]\n{more}") as it:
        it.start()
        yield it


@contextmanager
def stopped(pid):
    """A process that stands still."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def trader(it):
    endpoint = it.status()["endpoint"]
    return connect(endpoint, role="trader", strategy_id="x", symbols=["BTCUSDT"], **PATIENT)


def far_order(client, number=0):
    return client.submit("BTCUSDT", "buy", 42_000.0, 0.001, time_in_force="GTX", client_order_id=number)


def test_acknowledgements_wait_for_the_disk_and_nothing_else_does(tmp_path):
    with journaled("durable", tmp_path) as it, trader(it) as client:
        first = client.wait_order(far_order(client, 1), 20.0)
        number = first.journal_seq
        assert number > 0
        assert client.wait_durable(first, 20.0) >= number
        admin = connect(it.status()["endpoint"], role="admin", **PATIENT)
        with admin:
            updates, statuses = admin.messages("tm.orders"), admin.messages("tm.status")
            with stopped(it.pid("journaller")):
                # Whatever was under way when it was stopped is over.
                time.sleep(0.1)
                far_order(client, 2)
                client.cancel(1)
                with pytest.raises(RequestTimeout, match="no answer"):
                    client.wait_order(2, 0.5)
                with pytest.raises(RequestTimeout):
                    admin.pause("mm", timeout=0.3)
                assert client.order(1).live
                # The engine has done all of it, and telemetry says so.
                news = (m for m in updates if type(m) is OrderUpdate and m.client_order_id == 2)
                assert next(news).strategy_id == "x"
                status = next(m for m in statuses if type(m) is EngineStatus and m.durable_seq > 0)
                assert status.journal == "ok"
                assert status.accepted_seq > status.durable_seq
            second = client.wait_order(2, 20.0)
            assert second.journal_seq > number
            until(lambda: not client.order(1).live, "the cancel's execution")
            executions = list(client.executions(0))
            assert [e.seq for e in executions] == list(range(1, len(executions) + 1))
            numbers = [e.journal_seq for e in executions]
            assert numbers == sorted(numbers)
            until(lambda: it.status()["engine"]["journal"]["durable_seq"] >= numbers[-1], "a page")
            reply = admin.resume("mm", timeout=20.0)
            assert reply.success
            assert reply.journal_seq > numbers[-1]
        assert it.end()[0] == 0


def test_with_accepted_the_answer_comes_at_once_and_a_client_may_wait_itself(tmp_path):
    with journaled("accepted", tmp_path) as it, trader(it) as client:
        with stopped(it.pid("journaller")):
            time.sleep(0.1)
            order = client.wait_order(far_order(client), 20.0)
            with pytest.raises(RequestTimeout, match="unknown, not refused"):
                client.wait_durable(order, 0.3)

            async def wait():
                async with aioclient.connect(it.status()["endpoint"], **PATIENT) as other:
                    with pytest.raises(RequestTimeout, match="unknown, not refused"):
                        await other.wait_durable(order.journal_seq, 0.2)
                    waiting = asyncio.create_task(other.wait_durable(order, 20.0))
                    await asyncio.sleep(0.1)
                    assert not waiting.done()
                    os.kill(it.pid("journaller"), signal.SIGCONT)
                    return await waiting

            assert asyncio.run(wait()) >= order.journal_seq
        assert client.wait_durable(order, 20.0) >= order.journal_seq
        assert "journal ok; accepted" in describe(it.status())
        assert it.end()[0] == 0
