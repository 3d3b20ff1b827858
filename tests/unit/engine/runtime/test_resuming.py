"""A run whose daemon has gone as a whole goes on from disk, with new rings, as if nothing had been."""

import sys

import pytest

from engine.core.errors import CannotResume
from engine.core.ring import Ring
from engine.core.types import Status
from engine.journal.journaller import Journaller, settle
from engine.journal.reader import JournalReader
from engine.journal.recovery import recover
from engine.journal.segments import Sizes
from engine.journal.wal import Journal, RecordType
from engine.runtime import resuming
from engine.runtime.build import build_hash, strategies_code
from engine.runtime.config import DaemonConfig
from engine.runtime.leaving import read_left
from engine.runtime.records import SLOT_BYTES, Kind
from engine.runtime.recovery import Replay, beginning, private_loop, quiet_log, run_directory
from engine.runtime.resuming import config_of_run
from engine.runtime.returning import Return, open_journal
from engine.runtime.switches import write_switches
from engine.strategy.status import LatchInfo
from tests.kit.runs import Session, make_loop, running, trader

RUN_ID = "ef" * 16
SIZES = Sizes(segment=1 << 19, batch=1 << 18)


class Machine:
    """A loop with a journal, on a machine that may be started again."""

    def __init__(self, tmp_path, strategy=None):
        self.run, self.loop = running(tmp_path, RUN_ID), make_loop(strategy)
        self.loop.config.journal.dir, self.loop.config.journal.buffer_mb = str(tmp_path / "journals"), 1
        self.directory = run_directory(self.loop.config, bytes.fromhex(RUN_ID))
        self.begin()

    def begin(self):
        open_journal(lambda: self.loop.engine, self.loop.config, self.run, quiet_log())

    def reboot(self, config: DaemonConfig | None = None):
        """What was accepted is on disk, and everything else is gone."""
        settle(self.directory, self.run.journal_buffer, sizes=SIZES)
        loop = self.loop
        loop.config = config or loop.config
        loop.rings = {name: Ring(ring.capacity, SLOT_BYTES) for name, ring in loop.rings.items()}
        loop.begin()

    def state(self):
        engine = self.loop.engine
        return self.loop.kernel.state_hash(), engine.outputs_hash, engine.step, engine.now

    def replay(self):
        begun = beginning(self.directory)
        loop = private_loop(begun.config, begun.switches, quiet_log())
        replay = Replay(loop, JournalReader(self.directory))
        replay.run()
        return replay.reached()


def state_of(run, **values):
    state = run.read_state()
    for name, value in values.items():
        setattr(state, name, value)
    run.write_state(state)


@pytest.mark.parametrize("seed", range(4))
def test_a_run_goes_on_where_the_whole_daemon_was(tmp_path, seed):
    """Twice: once before the market has begun, or soon after, and once in the middle."""
    machine = Machine(tmp_path)
    session = Session(machine.loop, seed)
    for rounds in (3, 20):
        session.go(rounds)
        number, before = machine.loop.publisher.orders_number, machine.state()
        sent = sum(record.type == RecordType.MARKET for record in records_of(machine))
        machine.reboot()
        machine.begin()
        assert machine.state() == before
        assert machine.loop.take("orders_out") == []  # whoever asks is told everything; nobody else is
        assert machine.loop.rings["orders_out"].cursor == machine.loop.publisher.orders_number == number
        assert machine.loop.rings["feed"].cursor == sent
    session.go(20)
    session.end()
    settle(machine.directory, machine.run.journal_buffer, sizes=SIZES)
    reached = machine.replay()
    assert reached.ended
    assert reached.state_hash == machine.loop.kernel.state_hash()
    assert reached.outputs_hash == machine.loop.engine.outputs_hash
    left = read_left(machine.directory, reached.seq)
    kernel = machine.loop.kernel
    assert [one.strategy for one in left]
    assert all(kernel.state(one.strategy, one.symbol).position == one.qty for one in left)


def records_of(machine):
    with (
        Journal.attach(machine.run.journal_buffer) as buffer,
        Journaller(buffer, machine.directory, sizes=SIZES) as journaller,
    ):
        journaller.drain()
    return JournalReader(machine.directory)


def test_an_order_that_was_sent_before_is_a_duplicate_afterwards_and_one_that_was_live_can_be_cancelled(
    tmp_path,
):
    machine = Machine(tmp_path)
    Session(machine.loop, 1).go(10)
    loop = machine.loop
    loop.order(Status.NEW, 5000, strategy=1, side=1, price_tick=900, qty=1)
    loop.step(3)
    loop.take("orders_out")
    machine.reboot()
    machine.begin()
    loop.order(Status.NEW, 5000, strategy=1, side=1, price_tick=900, qty=1)
    loop.order(Status.CANCELED, 5000, strategy=1)
    loop.step(3)
    said = [out.body for out in loop.take("orders_out") if out.kind == Kind.ORDER]
    mine = [body["order"] for body in said if body["order"]["client_order_id"] == 5000]
    assert mine[0]["reason"]  # the second of its name
    assert mine[-1]["req"] == Status.CANCELED


def test_an_engine_that_is_killed_after_that_comes_back_from_its_buffer(tmp_path):
    machine = Machine(tmp_path)
    session = Session(machine.loop, 2)
    session.go(20)
    machine.reboot()
    machine.begin()
    session.go(20)
    before, told = machine.state(), machine.loop.take("orders_out")
    assert told
    machine.loop.begin()
    machine.begin()
    assert machine.state() == before
    assert [out for out in machine.loop.take("orders_out") if out.kind in (Kind.ORDER, Kind.FILL)] == []


def test_a_standby_follows_a_run_that_was_resumed(tmp_path):
    machine = Machine(tmp_path)
    session = Session(machine.loop, 3)
    session.go(20)
    machine.reboot()
    machine.begin()
    session.go(10)
    records_of(machine)
    before = machine.state()
    buffer = Journal.attach(machine.run.journal_buffer)
    machine.loop.begin()
    way = Return(lambda: machine.loop.engine, buffer, machine.loop.config, quiet_log(), dead=False)
    way.follow(lambda seconds: True, lambda: None)
    way.complete()
    assert machine.state() == before


def test_a_switch_that_the_journal_lost_is_thrown_again(tmp_path):
    machine = Machine(tmp_path)
    Session(machine.loop, 4).go(10)
    lost = LatchInfo("strategy", "t", "kill_switch", "HALTED", 5, reason="enough", who="ann")
    write_switches(machine.run.switches_file, [lost])
    machine.reboot()
    machine.begin()
    assert machine.loop.kernel.latches() == ()
    machine.loop.step(2)
    [thrown] = machine.loop.kernel.latches()
    assert (thrown.scope, thrown.name, thrown.who) == ("strategy", "t", "ann")
    assert "enough" in thrown.reason
    before = machine.state()
    machine.reboot()
    machine.begin()
    assert machine.state() == before
    assert len(machine.loop.kernel.latches()) == 1


def test_a_file_of_switches_that_cannot_be_read_kills_everything(tmp_path):
    machine = Machine(tmp_path)
    Session(machine.loop, 4).go(5)
    machine.run.switches_file.write_text("{")
    machine.reboot()
    machine.begin()
    machine.loop.step(2)
    assert [info.scope for info in machine.loop.kernel.latches()] == ["global"]


def test_another_build_is_refused_unless_it_is_said_that_it_may_be(tmp_path, monkeypatch):
    machine = Machine(tmp_path)
    Session(machine.loop, 5).go(10)
    before = machine.state()
    machine.reboot()
    other = "ab" * 32
    monkeypatch.setattr(resuming, "build_hash", lambda code: other)
    with pytest.raises(
        CannotResume, match=r"Ringbook is another than that of the unfinished run efef.*--new"
    ):
        machine.begin()
    state_of(machine.run, other_build=True)
    machine.loop.begin()
    machine.begin()
    assert machine.state() == before
    # What follows is that build's: in a segment of its own, so that it need not be said again.
    records_of(machine)
    machine.reboot()
    assert recover(machine.directory).segment.build == other
    state_of(machine.run, other_build=False)
    machine.begin()
    assert machine.state() == before


def test_other_code_of_a_strategy_is_named(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("from tests.kit.runs import Trader\n\n\nclass Mine(Trader):\n    pass\n")
    machine = Machine(tmp_path, trader("Mine", str(file)))
    Session(machine.loop, 5).go(5)
    machine.reboot()
    file.write_text(file.read_text() + "\n\n# another\n")
    with pytest.raises(CannotResume, match="the code of t is another"):
        machine.begin()
    state_of(machine.run, other_build=True)
    machine.loop.begin()
    machine.begin()


def test_a_strategy_that_does_something_else_is_refused_even_where_it_may_be_another(tmp_path, monkeypatch):
    file = tmp_path / "mine.py"
    text = "from tests.kit.runs import Trader\n\n\nclass Mine(Trader):\n    skip: int = {}\n"
    file.write_text(text.format(3))
    machine = Machine(tmp_path, trader("Mine", str(file)))
    Session(machine.loop, 6).go(30)
    machine.loop.engine.flush()
    machine.reboot()
    file.write_text(text.format(20))
    for name in [name for name in sys.modules if name.startswith("ringbook_strategy_mine_")]:
        monkeypatch.delitem(sys.modules, name)
    state_of(machine.run, other_build=True)
    machine.loop.begin()
    with pytest.raises(CannotResume, match="does not come to the same again: record"):
        machine.begin()


def test_a_run_that_was_being_stopped_does_not_go_on(tmp_path):
    machine = Machine(tmp_path)
    session = Session(machine.loop, 7)
    session.go(10)
    machine.loop.engine.take_mark(RecordType.STOP, machine.loop.engine.now)
    machine.loop.engine.apply_stop()
    machine.reboot()
    with pytest.raises(CannotResume, match="was being stopped"):
        machine.begin()


def test_an_engine_begins_with_the_runs_first_configuration_however_it_was_edited_since(tmp_path):
    machine = Machine(tmp_path)
    session = Session(machine.loop, 8)
    session.go(5)
    records_of(machine)
    edited = DaemonConfig(
        instruments=machine.loop.config.instruments,
        feed=machine.loop.config.feed,
        external=machine.loop.config.external,
        journal=machine.loop.config.journal,
        strategies=[trader()],
    )
    edited.strategies[0].params["qty"] = 0.05
    edited.engine.status_interval_ms = 50
    first = config_of_run(edited, machine.run)
    assert first.strategies == machine.loop.config.strategies
    assert first.engine.status_interval_ms == 50


def test_the_build_is_the_same_for_the_same_files_and_depends_on_the_code_of_strategies(tmp_path):
    native = trader()
    native.cls = "engine.strategy.native:MarketMaker"
    own = trader()
    assert strategies_code([native]) == {}
    code = strategies_code([own])
    assert set(code) == {"t"}
    assert build_hash({}) == build_hash({}) != build_hash(code)
