"""How long it takes from a tick to a request is noted for those requests that a tick has led to."""

from __future__ import annotations

import pytest

from engine.backtest.config import StrategyConfig
from engine.backtest.recorder import Recorder
from engine.core.types import Status
from engine.journal.export import as_dict
from engine.journal.journaller import Journaller
from engine.journal.reader import JournalReader
from engine.journal.wal import Journal
from engine.runtime.loop import simulate_clock
from engine.runtime.recovery import Replay, beginning, private_loop, quiet_log, run_directory
from engine.runtime.returning import open_journal
from engine.strategy.base import Strategy
from tests.kit.loops import Loop, quotes
from tests.kit.runs import running

RUN_ID = "cd" * 16
SECOND = 1_000_000_000
RECEIVED = 5 * SECOND


class Quoter(Strategy):
    """Buys on the second book, changes the order at a timer, cancels on the fifth; each takes it a while."""

    def on_start(self, ctx):
        self.books = 0
        ctx.set_timer(35_000_000)

    def on_book(self, ctx, book):
        self.books += 1
        if self.books == 2:
            simulate_clock(RECEIVED + 350)
            ctx.buy(90.0, 0.01)
        if self.books == 5:
            simulate_clock(RECEIVED + 4_000)
            ctx.cancel_all()

    def on_timer(self, ctx, now):
        if self.books == 4:
            simulate_clock(RECEIVED + 1_500)
            [order] = ctx.orders()
            ctx.modify(order.order_id, 91.0, 0.01)


class Run:
    """A loop with a journal, whose clock stands still but for what the strategy says."""

    def __init__(self, tmp_path):
        run = running(tmp_path, RUN_ID)
        self.loop = Loop(StrategyConfig(id="q", cls=f"{__file__}:Quoter", params={}))
        self.loop.config.journal.dir, self.loop.config.journal.buffer_mb = str(tmp_path / "journals"), 1
        self.outputs = Recorder()
        self.loop.engine.record_into(self.outputs)
        open_journal(lambda: self.loop.engine, self.loop.config, run, quiet_log())
        self.buffer = Journal.attach(run.journal_buffer)
        self.directory = run_directory(self.loop.config, bytes.fromhex(RUN_ID))

    def feed(self, events, received):
        self.loop.received = received
        self.loop.feed(events)
        self.loop.run_dry()

    def notes(self):
        with Journaller(self.buffer, self.directory) as journaller:
            journaller.drain()
        records = [as_dict(record) for record in JournalReader(self.directory)]
        return [record for record in records if record["type"] == "SENT"]


@pytest.fixture
def run(tmp_path):
    simulate_clock(RECEIVED + 100)
    yield Run(tmp_path)
    simulate_clock(None)


def test_each_request_is_timed_from_the_tick_that_led_to_it(run):
    events = quotes(8)
    run.feed(events[:4], RECEIVED)
    run.feed(events[4:], RECEIVED + 1_000)
    taken = [(note["order_id"], note["req"], note["sent"] - note["received"]) for note in run.notes()]
    order_id = taken[0][0]
    assert taken == [
        (order_id, Status.NEW, 350),
        # Of a timer it is the tick that has brought the time.
        (order_id, Status.REPLACED, 500),
        (order_id, Status.CANCELED, 3_000),
    ]
    ticks = run.outputs.tick_array()
    assert ticks["took"].tolist() == [350, 500, 3_000]
    asked = run.outputs.order_array()
    asked = asked[(asked["prev_status"] == asked["order"]["status"]) & (asked["order"]["req"] != Status.NONE)]
    assert ticks["ts"].tolist() == asked["ts"].tolist()
    assert [note["local_ts"] for note in run.notes()] == asked["ts"].tolist()


def test_what_a_client_asks_for_and_what_nobody_has_timed_has_no_time(run):
    run.feed(quotes(8), 0)
    run.loop.command("register", strategy_id="ext", symbols=[], params={})
    run.loop.received = RECEIVED
    run.loop.order(Status.NEW, 1, strategy=1, side=1, price_tick=900, qty=1)
    run.loop.step(3)
    assert run.outputs.n_orders > 4
    assert run.notes() == []
    assert len(run.outputs.tick_array()) == 0


def test_a_replay_measures_nothing_and_knows_what_was_measured(run):
    run.feed(quotes(8), RECEIVED)
    notes = run.notes()
    begun = beginning(run.directory)
    loop, outputs = private_loop(begun.config, begun.switches, quiet_log()), Recorder()
    loop.record_into(outputs)
    replay = Replay(loop, JournalReader(run.directory))
    replay.run()
    assert outputs.tick_array().tobytes() == run.outputs.tick_array().tobytes()
    assert len(notes) == len(outputs.tick_array()) == 3
    assert loop.kernel.state_hash() == run.loop.kernel.state_hash()
    assert replay.settled <= outputs.n_orders
