"""Acknowledgements of a daemon whose journaller stands still: who waits for the disk, and who does not."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from contextlib import contextmanager

import pytest

from bridge import aioclient, durable
from bridge.client import connect
from bridge.errors import NotDurable, RequestTimeout
from bridge.protocol import EngineStatus, OrderUpdate
from engine.journal.wal import Journal, JournalFlag, RecordType
from engine.runtime.metrics import describe
from tests.kit.daemons import SIMULATED, daemon, until
from tests.kit.fake_engine import FakeEngine, bridge_thread
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


class JournaledEngine(FakeEngine):
    """A fake engine that appends a record before each thing it says of an order; tests play the disk."""

    def __init__(self, directory):
        super().__init__(directory)
        self.journal = Journal.create(directory / "journal", run_id=b"r" * 16, capacity=1 << 16)

    def emit(self, live, before, *, dropped=0):
        assert self.journal.append_time(RecordType.TIMER, 1)
        live.record["journal_seq"] = self.journal.accepted_seq
        super().emit(live, before, dropped=dropped)

    def flush(self, seq=None):
        self.journal.commit(self.journal.tail, self.journal.accepted_seq if seq is None else seq)


def test_what_is_held_is_bounded_survives_a_resync_and_is_not_told_when_the_journal_halts(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(durable, "MAX_HELD", 6)
    with JournaledEngine(tmp_path / "rings") as engine:
        config = engine.config(f"ipc://{tmp_path}/s", journal=engine.journal.path, hold=True, **PATIENT)
        with bridge_thread(config):
            with connect(config.endpoint, role="trader", strategy_id="x", **PATIENT) as client:
                for number in range(1, 6):
                    far_order(client, number)
                until(lambda: len(engine.orders) == 5, "five orders")
                # A lost record: the bridge asks for all of it again, and what is told again waits as well.
                first = next(iter(engine.orders.values()))
                engine.emit(first, first.order["status"], dropped=1)
                for number in range(6, 21):
                    far_order(client, number)
                until(lambda: len(engine.orders) == 20, "twenty orders")
                until(lambda: len(engine.rings["orders_out"]) > 5, "what the bridge leaves in the ring")
                assert list(client.executions(0.2)) == []
                engine.flush(3)
                assert [e.client_order_id for e in client.executions(0.2)] == [1, 2, 3]

                def live():
                    engine.flush()
                    return {one.client_order_id for one in client.orders() if one.status == "NEW"}

                until(lambda: live() == set(range(1, 21)), "all of them")
                told = list(client.executions(0.2))
                assert [e.seq for e in told] == list(range(4, 4 + len(told)))
                assert [e.journal_seq for e in told] == sorted(e.journal_seq for e in told)
                far_order(client, 99)
                until(lambda: len(engine.orders) == 21, "the last one")
                engine.journal.set_flag(JournalFlag.HALTED)
                with pytest.raises(NotDurable) as halted:
                    client.wait_durable(engine.journal.accepted_seq)
                assert halted.value.code == "journal_halted"
        assert client.order(99).status == "PENDING"
