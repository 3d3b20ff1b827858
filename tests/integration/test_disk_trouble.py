"""A daemon that acknowledges only what is durable, on a disk that fills up, and on one that fails."""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
import sys
from contextlib import contextmanager, suppress

import pytest

from bridge.client import connect
from bridge.errors import BridgeError, OrderRejected
from tests.kit.daemons import SIMULATED, daemon, until
from tests.kit.patience import PATIENT
from tests.kit.small_disk import small_disk

JOURNAL = """
[journal]
dir = "{disk}"
buffer_mb = 4
segment_mb = 2
acknowledge = "durable"
standby = false
"""


@pytest.fixture
def disk(tmp_path):
    with small_disk(tmp_path, "32m") as target:
        yield target


@contextmanager
def trading(disk):
    """A daemon whose journal is on a disk, and a trader of it."""
    with daemon(SIMULATED + JOURNAL.format(disk=disk)) as it:
        it.start()
        with connect(
            it.status()["endpoint"], role="trader", strategy_id="x", symbols=["BTCUSDT"], **PATIENT
        ) as client:
            yield it, client


def far_order(client):
    number = client.submit("BTCUSDT", "buy", 42_000.0, 0.001, time_in_force="GTX")
    return client.wait_order(number, 20.0)


def journal(it):
    return it.status()["engine"]["journal"]


def replayed(it, disk):
    done = it.ringbook("replay", "--journal", str(disk), "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_on_a_full_disk_orders_are_denied_cancels_pass_and_with_room_all_goes_on(disk):
    with trading(disk) as (it, client):
        resting = far_order(client)
        ballast = disk / "ballast"
        with ballast.open("wb") as file, suppress(OSError):
            while True:
                file.write(bytes(1 << 16))
                file.flush()
        # Known as soon as the spare is in use and there is no room for another.
        until(lambda: journal(it)["state"] == "full", "the engine knows that the disk is full", 40)
        # Without a market, what room is left in the segment is for what is asked here.
        os.kill(it.pid("feed"), signal.SIGSTOP)
        with pytest.raises(OrderRejected) as denied:
            far_order(client)
        assert denied.value.reason == "busy"
        os.kill(it.pid("feed"), signal.SIGCONT)
        client.cancel(resting.client_order_id)
        until(lambda: not client.order(resting.client_order_id).live, "the cancel's execution")
        ballast.unlink()
        until(lambda: journal(it)["state"] == "ok", "the engine knows that there is room")
        assert far_order(client).live
        assert it.end()[0] == 0
        said = replayed(it, disk)
        assert said["ended"]
        assert said["compared"] > 1


@pytest.mark.skipif(sys.platform != "linux", reason="prlimit is of Linux")
def test_when_the_disk_fails_the_daemon_ends_and_what_was_acknowledged_is_there_afterwards(tmp_path):
    journals = tmp_path / "journals"
    with trading(journals) as (it, client):
        kept = far_order(client)
        # From here on each write to a segment fails, as on a broken disk; the message is EFBIG's.
        resource.prlimit(it.pid("journaller"), resource.RLIMIT_FSIZE, (4096, 4096))
        lost = client.submit("BTCUSDT", "buy", 42_001.0, 0.001, time_in_force="GTX")
        assert it.process.wait(30) == 1
        errors = it.process.communicate()[1]
        assert os.strerror(errno.EFBIG) in errors
        assert "the journal's disk has failed" in errors
        # Nobody was told of what never became durable.
        assert client.order(lost).status == "PENDING"
        said = it.start()
        assert said["resumed"] > 0
        until(lambda: _is_there(client), "the bridge, again")
        assert far_order(client).live
        assert client.order(kept.client_order_id).live
        assert it.end()[0] == 0
        assert replayed(it, journals)["ended"]


def _is_there(client):
    try:
        return client.connected(0.1)
    except BridgeError:
        return False
