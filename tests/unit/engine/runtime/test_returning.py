"""The way back into a killed engine's run: every output once, whoever published it, and no input twice."""

import pytest

from engine.core.errors import JournalError
from engine.core.types import Status
from engine.journal.journaller import Journaller
from engine.journal.segments import Sizes
from engine.journal.wal import Journal
from engine.runtime.records import Kind
from engine.runtime.recovery import quiet_log, run_directory
from engine.runtime.returning import Return, open_journal
from tests.kit.runs import Session, make_loop, running, trader

RUN_ID = "cd" * 16
NUMBERED = (Kind.ORDER, Kind.FILL, Kind.REPLY)


class World:
    """A loop with a journal, a journaller in hand, and a session that trades."""

    def __init__(self, tmp_path, seed, strategy=None):
        self.run, self.loop = running(tmp_path, RUN_ID), make_loop(strategy)
        self.loop.config.journal.dir, self.loop.config.journal.buffer_mb = str(tmp_path / "journals"), 1
        open_journal(lambda: self.loop.engine, self.loop.config, self.run, quiet_log())
        self.session = Session(self.loop, seed)
        self.buffer = Journal.attach(self.run.journal_buffer)
        directory = run_directory(self.loop.config, bytes.fromhex(RUN_ID))
        self.journaller = Journaller(self.buffer, directory, sizes=Sizes(segment=1 << 19, batch=1 << 18))

    def go(self, rounds):
        for _ in range(rounds):
            self.session.go(1)
            self.journaller.drain()
            self.journaller.step()

    def told(self):
        """What has come out on the order ring since the last time, but for what is not numbered there."""
        return [
            (out.kind, int(out.header["step"]), out.body if out.kind == Kind.REPLY else out.body.tobytes())
            for out in self.loop.take("orders_out")
            if out.kind in NUMBERED
        ]

    def orders(self, first, n):
        """Sends orders, of which each is answered."""
        for number in range(first, first + n):
            self.loop.order(Status.NEW, number, strategy=1, side=1, price_tick=900, qty=1)
        self.loop.step(2)
        self.journaller.drain()

    def way(self, dead):
        """Another engine in the place of the first."""
        self.journaller.drain()
        self.loop.begin()
        return Return(lambda: self.loop.engine, self.buffer, self.loop.config, quiet_log(), dead=dead)

    def state(self):
        engine = self.loop.engine
        return self.loop.kernel.state_hash(), engine.outputs_hash, engine.step, engine.now


@pytest.mark.parametrize("missing", [0, 1, 5])
@pytest.mark.parametrize("seed", range(3))
def test_what_the_dead_engine_had_not_published_is_published_once(tmp_path, seed, missing):
    world = World(tmp_path, seed)
    world.go(40)
    world.told()
    world.orders(10_000, 8)
    world.loop.command("disconnect", strategy_id="ext")
    world.loop.step()
    told, state, ring = world.told(), world.state(), world.loop.rings["orders_out"]
    assert ring.cursor == world.loop.publisher.orders_number > len(told) > 8
    ring.cursor -= missing  # as if it had died before it published them
    world.way(dead=True).complete()
    again = world.told()
    assert world.state() == state
    assert ring.cursor == world.loop.publisher.orders_number
    assert again == (told[-missing:] if missing else [])


@pytest.mark.parametrize("seed", range(3))
def test_a_standby_that_follows_takes_over_with_nothing_told_twice(tmp_path, seed):
    world = World(tmp_path, seed)
    first = world.loop.engine
    way = world.way(dead=False)
    second, kernel, publisher = world.loop.engine, world.loop.kernel, world.loop.publisher
    for _ in range(30):
        world.loop.engine = first
        world.go(1)
        caught_up = []
        way.follow(lambda seconds: True, lambda caught_up=caught_up: caught_up.append(True))
    assert not caught_up  # only the first time
    world.loop.engine, told = first, world.told()
    assert told
    state = first.kernel.state_hash(), first.outputs_hash, first.step, first.now
    world.loop.engine, world.loop.kernel, world.loop.publisher = second, kernel, publisher
    way.complete()
    assert world.state() == state
    assert world.told() == []
    world.go(20)
    assert len(world.told()) > 0
    again = world.way(dead=True)
    state_after = second.kernel.state_hash()
    again.complete()
    assert world.loop.kernel.state_hash() == state_after


def test_a_strategy_that_logs_without_end_comes_back(tmp_path):
    """Its lines are limited, and how many wait must steer nothing."""
    world = World(tmp_path, 1, trader("Chatty"))
    world.go(60)
    state = world.state()
    world.way(dead=True).complete()
    assert world.state() == state


def test_a_run_that_has_ended_does_not_go_on(tmp_path):
    world = World(tmp_path, 2)
    world.go(5)
    world.session.end()
    with pytest.raises(JournalError, match="has ended"):
        world.way(dead=True).complete()
