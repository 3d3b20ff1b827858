"""The short form of the fault campaign: no row lost and none doubled, against a real server and embedded.

The long one: ``python -m tests.fuzz.stores``.
"""

from __future__ import annotations

import logging

import pytest

from engine.storage.columns import prepare
from engine.storage.schema import TABLES
from engine.storage.spool import Spool
from engine.storage.store import open_store
from engine.storage.writer import Writer
from tests.fuzz.stores import campaign
from tests.kit.clickhouse_server import Server, require
from tests.kit.proxy import Proxy
from tests.kit.stores import market_rows

POSITIONS = 16
"""Places at which a conversation is cut, in each direction."""
SENT, ANSWERED = 5000, 800
"""Bytes of a conversation, about, by whom."""


def test_a_connection_cut_at_any_byte_and_a_lost_answer_leave_each_row_once(tmp_path):
    with Server(tmp_path / "server", require()) as server:
        open_store(server.url).close()
        proxy, log = Proxy(server.port, 1), logging.getLogger("test")
        url = f"clickhouse://127.0.0.1:{proxy.port}/ringbook?timeout=0.3&compression=none"
        spool, first = Spool(tmp_path / "spool"), 1
        lengths = ((True, SENT), (False, ANSWERED))
        ways = [("cut", at * n // POSITIONS + 1, to) for at in range(POSITIONS) for to, n in lengths]
        ways += [("answer lost", at, True) for at in (300, 2000, 3500)]
        for way in ways:
            spool.add("market_data", "r", prepare(TABLES["market_data"], market_rows(40, first, run="r")))
            first += 40
            # A writer that knows nothing: the connection that inserts is the one that is broken.
            writer = Writer(spool, lambda: open_store(url, create=False), log, sleep=lambda seconds: None)
            writer._doubt = False
            proxy.next.append(way)
            while not writer.step(0.0):
                pass
            writer.stop()
        with open_store(server.url) as store:
            ids = store.query("SELECT id FROM market_data ORDER BY id")["id"].tolist()
        assert ids == list(range(1, first))
        assert proxy.broken["cut"] > POSITIONS
        assert proxy.broken["answer lost"] == 3
        proxy.close()


def test_a_server_that_is_killed_frozen_and_cut_off_has_every_row_once():
    require()
    found = campaign("clickhouse", 6.0, 5000, seed=3)
    faults = found["faults"]
    assert faults["recorder killed"] >= 1
    assert faults["server killed"] + faults["server frozen"] + faults["cut"] + faults["answer lost"] >= 1


def test_an_embedded_store_whose_recorder_is_killed_has_every_row_once():
    pytest.importorskip("chdb", reason="the extra 'embedded' is not installed")
    found = campaign("chdb", 4.0, 5000, seed=1)
    assert found["faults"]["recorder killed"] >= 1
