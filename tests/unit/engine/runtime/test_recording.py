"""A run's journal becomes rows: each output and each market record once, whoever is killed."""

from __future__ import annotations

import logging
import random
import time
from collections import defaultdict

import numpy as np
import pytest

from engine.backtest.recorder import Recorder
from engine.core.errors import ConfigError
from engine.core.types import EXCH_EVENT, LOCAL_EVENT
from engine.journal.export import AS_EXCH, AS_LOCAL
from engine.journal.journaller import Journaller
from engine.journal.reader import JournalReader, market_chunks, market_dtype
from engine.journal.wal import Journal
from engine.runtime.config import RecorderSection, check
from engine.runtime.recording import Recording, market_rows
from engine.runtime.records import FeedState
from engine.runtime.recovery import beginning, quiet_log, run_directory
from engine.runtime.returning import open_journal
from engine.storage.columns import filled, length, prepare
from engine.storage.rows import Units, fill_rows, order_rows
from engine.storage.schema import TABLES
from engine.storage.spool import Spool
from tests.kit.loops import Loop
from tests.kit.runs import SIZES, Session, make_loop, running, snapshot_at, trader

RUN_ID = "ab" * 16
OUTPUTS = ("orders", "fills", "positions", "strategy_status", "params_log")
LOG = logging.getLogger("test")


class World:
    """A loop with a journal on disk, whose own outputs are kept too."""

    def __init__(self, tmp_path, seed, loop=None, sizes=SIZES):
        run, self.loop = running(tmp_path, RUN_ID), loop or make_loop()
        self.loop.config.journal.dir, self.loop.config.journal.buffer_mb = str(tmp_path / "journals"), 1
        self.outputs = Recorder(market=True)
        self.loop.engine.record_into(self.outputs)
        open_journal(lambda: self.loop.engine, self.loop.config, run, quiet_log())
        self.session = Session(self.loop, seed)
        self.loop.received = time.monotonic_ns()
        self.buffer = Journal.attach(run.journal_buffer)
        self.directory = run_directory(self.loop.config, bytes.fromhex(RUN_ID))
        self.journaller = Journaller(self.buffer, self.directory, sizes=sizes)

    def go(self, rounds=1):
        self.session.go(rounds)
        self.journaller.drain()
        self.journaller.step()

    def end(self):
        self.session.end()
        self.journaller.drain()


def rows_of(columns):
    n = length(columns)
    return list(zip(*(filled(column, n).tolist() for column in columns.values()), strict=True))


def drained(spool, into):
    """Takes all batches out of a spool, as a writer does; ids may not be there yet."""
    while (batch := spool.first()) is not None:
        for row in rows_of(batch.columns):
            assert row[2] not in into[batch.table.name], (batch.table.name, row[2])
            into[batch.table.name][row[2]] = row
        spool.stored(batch)


def recorded(spool, world):
    recording = Recording(spool, world.directory, LOG, interval_ns=50_000_000)
    while not recording.step(world.buffer.durable_seq):
        pass
    return recording


@pytest.mark.parametrize("seed", range(4))
def test_everything_is_recorded_once_however_often_the_recorder_is_killed(tmp_path, seed):
    rng, world = random.Random(seed), World(tmp_path, seed)
    spool, stored = Spool(tmp_path / "spool"), defaultdict(dict)
    world.go()
    recording, reached = Recording(spool, world.directory, LOG, interval_ns=50_000_000), 0
    for _ in range(40):
        world.go()
        if rng.random() < 0.5 and recording.step(durable := world.buffer.durable_seq):
            assert reached <= recording.seq < durable
            reached = recording.seq
        if rng.random() < 0.3:
            drained(spool, stored)
        if rng.random() < 0.2:
            spool.close()
            spool = Spool(tmp_path / "spool")
            recording = Recording(spool, world.directory, LOG, interval_ns=50_000_000)
    world.end()
    while not recording.step(world.buffer.durable_seq):
        pass
    assert recording.ended
    assert recording.seq == world.buffer.durable_seq > reached
    recording.finish()
    drained(spool, stored)

    names, units = world.loop.kernel.strategy_names, Units(world.loop.config.instruments)
    entries, fills = world.outputs.order_array(), world.outputs.fill_array()
    assert len(entries) > 50
    assert len(fills) > 5
    ticks = {
        tuple(entry[name].item() for name in ("strategy", "order_id", "req", "ts")): int(entry["took"])
        for entry in world.outputs.tick_array()
    }
    assert len(ticks) > 20
    wanted = {
        "orders": order_rows(entries, units, names, RUN_ID, 1, ticks),
        "fills": fill_rows(fills, units, names, RUN_ID, 1),
    }
    for table, rows in wanted.items():
        found = [stored[table][number] for number in sorted(stored[table])]
        assert repr(found) == repr(rows_of(prepare(TABLES[table], rows))), table
    took = list(TABLES["orders"].kinds).index("tick_to_trade_ns")
    assert sum(row[took] > 0 for row in stored["orders"].values()) == len(ticks)
    market = np.concatenate(list(market_chunks(JournalReader(world.directory))))
    assert sorted(stored["market_data"]) == market["seq"].tolist()

    # One recorder, once, at the end makes the same of it, as far as what it made goes by the engine's clock.
    whole, again = defaultdict(dict), Spool(tmp_path / "again")
    recorded(again, world).finish()
    drained(again, whole)
    assert {name: repr(whole[name]) for name in OUTPUTS} == {name: repr(stored[name]) for name in OUTPUTS}
    assert all(whole[name] for name in OUTPUTS)


class Within(World):
    """A loop with the market within, which is told the time and makes the rest itself."""

    def __init__(self, tmp_path, seed):
        super().__init__(tmp_path, seed, Loop(trader(), kind="market"))
        self.rng, self.ts = random.Random(seed), self.loop.config.feed.opens

    def go(self):
        for _ in range(5):
            self.ts += self.rng.randrange(1, 400_000_000)
            self.loop.received = time.monotonic_ns()
            self.loop.feed_status(FeedState.RUNNING, self.ts)
            self.loop.step(2)
        self.journaller.drain()


def test_a_market_within_is_recorded_once_however_often_the_recorder_is_killed(tmp_path):
    rng, world = random.Random(4), Within(tmp_path, 4)
    spool, stored = Spool(tmp_path / "spool"), defaultdict(dict)
    world.go()
    # A recorder begins with its own snapshots where the run has one too.
    snapshot_at(world.directory, world.buffer.durable_seq)
    recording, began = Recording(spool, world.directory, LOG, every=5), [0]
    for _ in range(12):
        world.go()
        if rng.random() < 0.7:
            recording.step(world.buffer.durable_seq)
        if rng.random() < 0.3:
            drained(spool, stored)
        if rng.random() < 0.4:
            spool.close()
            spool = Spool(tmp_path / "spool")
            recording = Recording(spool, world.directory, LOG, every=5)
            began.append(recording._replica.began)
    while not recording.step(world.buffer.durable_seq):
        pass
    recording.finish()
    drained(spool, stored)
    assert max(began) > 0
    shown = world.outputs.market_array()
    assert len(shown) > 1_000
    wanted = np.zeros(len(shown), market_dtype)
    for name in ("ts", "event", "instrument"):
        wanted[name] = shown[name]
    wanted["seq"] = np.arange(1, len(shown) + 1)
    columns = prepare(TABLES["market_data"], market_rows(wanted, ["BTCUSDT"], RUN_ID, False))
    assert repr(list(stored["market_data"].values())) == repr(rows_of(columns))
    took = list(TABLES["orders"].kinds).index("tick_to_trade_ns")
    ticks = world.outputs.tick_array()
    assert sorted(row[took] for row in stored["orders"].values() if row[took]) == sorted(
        ticks["took"].tolist()
    )
    assert len(ticks) > 20


def test_market_data_of_a_market_within_are_left_out_where_nobody_wants_them(tmp_path):
    world = Within(tmp_path, 2)
    world.go()
    spool, stored = Spool(tmp_path / "spool"), defaultdict(dict)
    Recording(spool, world.directory, LOG, market=False).step(world.buffer.durable_seq)
    drained(spool, stored)
    assert not stored["market_data"]
    assert stored["orders"]


def test_market_data_that_find_no_room_are_a_gap_and_orders_are_kept(tmp_path):
    world = World(tmp_path, 5)
    for _ in range(10):
        world.go()
    spool, stored = Spool(tmp_path / "spool", limit=1), defaultdict(dict)
    recording = recorded(spool, world)
    early = world.buffer.durable_seq
    for _ in range(10):
        world.go()
    recording.step(world.buffer.durable_seq)
    assert recording.left_out > 0
    assert recording.seq == 0, "what is left out is recorded once its row is"
    drained(spool, stored)
    for _ in range(10):
        world.go()
    recording.step(world.buffer.durable_seq)
    drained(spool, stored)
    market = np.concatenate(list(market_chunks(JournalReader(world.directory))))["seq"].tolist()
    missing = set(market) - set(stored["market_data"])
    assert missing
    assert min(missing) > min(market)
    assert any(seq > early for seq in stored["market_data"])
    gaps = list(stored["recording_gaps"].values())
    columns = list(TABLES["recording_gaps"].kinds)
    first, last, rows = (columns.index(name) for name in ("first_id", "last_id", "rows"))
    covered = {seq for gap in gaps for seq in market if gap[first] <= seq <= gap[last]}
    assert covered == missing
    assert sum(gap[rows] for gap in gaps) == len(missing)
    assert spool.place(RUN_ID)["market_data"] == market[-1]
    assert sorted(stored["orders"]) == list(range(1, world.outputs.counts[1] + 1))


def test_a_run_that_does_something_else_now_has_its_market_recorded_still(tmp_path, monkeypatch, caplog):
    world = World(tmp_path, 1)
    for _ in range(20):
        world.go()
    world.end()

    def other(directory):
        begun = beginning(directory)
        begun.config.strategies[0] = trader("Other")
        return begun

    monkeypatch.setattr("engine.runtime.recording.beginning", other)
    spool, stored = Spool(tmp_path / "spool"), defaultdict(dict)
    recording = recorded(spool, world)
    drained(spool, stored)
    assert recording.lost
    assert "are not recorded from here on" in caplog.text
    market = np.concatenate(list(market_chunks(JournalReader(world.directory))))
    assert sorted(stored["market_data"]) == market["seq"].tolist()


def test_a_row_of_both_sides_keeps_in_each_record_the_flag_of_its_side():
    chunk = np.zeros(3, market_dtype)
    chunk["event"]["ev"] = EXCH_EVENT | LOCAL_EVENT | 1
    chunk["flags"] = AS_EXCH, AS_LOCAL, AS_EXCH | AS_LOCAL
    chunk["instrument"] = 0, 1, 7
    rows = market_rows(chunk, ["A", "B"], "r", True)
    assert rows["ev"].tolist() == [EXCH_EVENT | 1, LOCAL_EVENT | 1, EXCH_EVENT | LOCAL_EVENT | 1]
    assert rows["symbol"].tolist() == ["A", "B", ""]
    assert market_rows(chunk[:1], ["A"], "r", False)["ev"].tolist() == [EXCH_EVENT | LOCAL_EVENT | 1]


def test_a_recorder_needs_a_journal_and_a_store_that_can_be():
    config = make_loop().config
    config.recorder = RecorderSection(enabled=True)
    with pytest.raises(ConfigError, match=r"recorder\.enabled: a recorder reads the journal"):
        check(config)
    config.journal.dir = "somewhere"
    for url, says in (("oracle://x", "a store is"), ("clickhouse://a:secret@b/c", "password_file")):
        config.recorder.store = url
        with pytest.raises(ConfigError, match=says) as error:
            check(config)
        assert "secret" not in str(error.value)
