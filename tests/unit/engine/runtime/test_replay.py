"""Journal and replay: the same inputs, in the same steps, give the same outputs and the same state."""

import pytest

from engine.core.errors import JournalError, ReplayDiverged
from engine.core.types import Reason, Status
from engine.journal.journaller import Journaller, settle
from engine.journal.reader import JournalReader
from engine.journal.wal import Journal, JournalFlag, RecordType
from engine.runtime.changes import read
from engine.runtime.loop import simulate_clock
from engine.runtime.records import JournalState, Kind
from engine.runtime.recovery import Replay, beginning, newest_run, quiet_log, run_directory
from engine.runtime.returning import open_journal
from engine.runtime.rundir import RunDir
from tests.kit.loops import Loop, quotes
from tests.kit.runs import MS, Session, make_loop, running, trader

RUN_ID = "ab" * 16


def journal_of(tmp_path, **sizes):
    return Journal.create(tmp_path / "buffer", run_id=b"r" * 16, **({"capacity": 1 << 20} | sizes))


def on_disk(buffer, tmp_path):
    with Journaller(buffer, tmp_path / "journal") as journaller:
        journaller.drain()
    return tmp_path / "journal"


def journalled(tmp_path, seed):
    """A whole session, and the directory of its journal."""
    loop = make_loop()
    with journal_of(tmp_path) as buffer:
        loop.engine.keep_in(buffer)
        session = Session(loop, seed)
        session.go()
        session.end()
        return loop, on_disk(buffer, tmp_path), buffer.accepted_seq


def replayed(directory, cls="Trader"):
    again = make_loop(trader(cls))
    replay = Replay(again.engine, JournalReader(directory))
    return again, replay


@pytest.mark.parametrize("seed", range(12))
def test_a_replay_gives_the_same_outputs_and_the_same_state(tmp_path, seed):
    loop, directory, last = journalled(tmp_path, seed)
    again, replay = replayed(directory)
    replay.run()
    reached = replay.reached()
    assert reached.seq == last
    assert reached.stopped
    assert reached.ended
    assert reached.compared >= 2
    assert reached.outputs == loop.engine.outputs > 100
    assert loop.kernel.strategy("t").state == again.kernel.strategy("t").state == "Stopped"
    assert reached.outputs_hash == loop.engine.outputs_hash
    assert reached.state_hash == loop.kernel.state_hash()
    assert again.engine.step == loop.engine.step
    assert again.engine.inputs.records_taken() == loop.engine.inputs.records_taken()
    again.kernel.check_invariants()


def test_a_replay_tells_nobody_what_the_run_has_told(tmp_path):
    _, directory, _ = journalled(tmp_path, 1)
    again, replay = replayed(directory)
    again.engine.begin_repeating()
    replay.run()
    assert [out for out in again.take("orders_out") if out.kind in (Kind.ORDER, Kind.FILL)] == []


def test_a_replay_in_parts_is_the_replay_in_one(tmp_path):
    loop, directory, _ = journalled(tmp_path, 2)
    again, replay = replayed(directory)
    for until in range(1_000_000_000, loop.engine.now, 10 * MS):
        replay.run(until)
        assert again.engine.now <= until
    replay.run()
    assert replay.reached().state_hash == loop.kernel.state_hash()


def test_a_strategy_that_has_changed_is_found_out(tmp_path):
    _, directory, _ = journalled(tmp_path, 3)
    _, replay = replayed(directory, "Other")
    with pytest.raises(ReplayDiverged, match=r"record \d+: .* the run had"):
        replay.run()


@pytest.mark.parametrize("seed", range(8))
def test_an_engine_that_was_killed_goes_on_where_it_was(tmp_path, seed):
    """Twice: once before the market has begun, or soon after, and once in the middle."""
    run = running(tmp_path, RUN_ID)
    loop = make_loop()
    loop.config.journal.dir, loop.config.journal.buffer_mb = str(tmp_path / "journals"), 1
    log = quiet_log()
    open_journal(lambda: loop.engine, loop.config, run, log)
    session = Session(loop, seed)
    for rounds in (3, 20):
        session.go(rounds)
        before = loop.kernel.state_hash(), loop.engine.outputs_hash, loop.engine.step, loop.engine.now
        loop.begin()
        open_journal(lambda: loop.engine, loop.config, run, log)
        after = loop.kernel.state_hash(), loop.engine.outputs_hash, loop.engine.step, loop.engine.now
        assert after == before
    session.go(20)
    session.end()
    directory = run_directory(loop.config, bytes.fromhex(RUN_ID))
    settle(directory, run.journal_buffer)
    _, replay = replayed(directory)
    replay.run()
    assert replay.reached().state_hash == loop.kernel.state_hash()
    assert replay.reached().ended
    assert newest_run(loop.config.journal.dir) == directory
    assert beginning(directory).config == loop.config


def test_changes_keep_their_versions_when_an_engine_was_killed_before_it_had_written_the_last(tmp_path):
    run = running(tmp_path, RUN_ID)
    loop = Loop(trader(), run=run)
    loop.config.journal.dir, loop.config.journal.buffer_mb = str(tmp_path / "journals"), 1
    log = quiet_log()
    open_journal(lambda: loop.engine, loop.config, run, log)
    for qty in (0.02, 0.03, 0.04):
        loop.command("update_params", strategy_id="t", params={"qty": qty})
        loop.step(2)
    loop.ledger.close()
    lines = run.changes_file.read_bytes().splitlines(keepends=True)
    run.changes_file.write_bytes(b"".join(lines[:-1]) + lines[-1][:20])
    loop.begin()
    open_journal(lambda: loop.engine, loop.config, run, log)
    loop.command("update_params", strategy_id="t", params={"qty": 0.05})
    loop.step(2)
    loop.ledger.close()
    changes = read(run.changes_file)
    assert [change.version for change in changes] == [1, 2, 3, 4]
    assert [change.values["qty"][1] for change in changes] == [0.02, 0.03, 0.04, 0.05]


def test_a_run_does_not_go_on_with_another_one(tmp_path):
    run = RunDir(tmp_path / "run")
    run.make()
    run.journal_buffer = str(tmp_path / "buffer")
    loop = make_loop()
    loop.config.journal.dir, loop.config.journal.buffer_mb = str(tmp_path / "journals"), 1
    open_journal(lambda: loop.engine, loop.config, run, quiet_log())
    Session(loop, 5).go()
    assert loop.engine.step > 0
    loop.begin()
    open_journal(lambda: loop.engine, loop.config, run, quiet_log())
    assert loop.engine.step == 0
    [whole] = [path for path in (tmp_path / "journals").iterdir() if any(path.glob("journal-*.seg"))]
    assert replayed(whole)[1].run() is None  # what the first one had accepted is on disk


def test_a_full_journal_has_the_feed_wait_and_denies_new_orders_but_takes_cancels(tmp_path):
    loop = make_loop()
    with journal_of(tmp_path, capacity=1 << 16) as buffer:
        loop.engine.keep_in(buffer)
        loop.command("register", strategy_id="ext", symbols=[], params={})
        loop.feed(quotes(20))
        loop.step(3)
        loop.order(Status.NEW, 1, strategy=1, side=1, price_tick=990, qty=5)
        loop.step(2)
        loop.feed(quotes(2000, start=2_000_000_000))
        loop.step(30)
        now, waiting = loop.engine.now, len(loop.rings["feed"])
        assert waiting > 500
        loop.take("orders_out")
        loop.order(Status.NEW, 2, strategy=1, side=1, price_tick=990, qty=5)
        loop.order(Status.CANCELED, 1, strategy=1)
        loop.step(3)
        told = {
            int(out.body["order"]["client_order_id"]): (
                Status(out.body["order"]["status"]),
                Reason(out.body["order"]["reason"]),
            )
            for out in loop.take("orders_out")
            if out.kind == Kind.ORDER
        }
        assert told[2] == (Status.DENIED, Reason.BUSY)
        assert loop.engine.now == now
        with Journaller(buffer, tmp_path / "journal") as journaller:
            while len(loop.rings["feed"]):
                journaller.drain()
                loop.step(3)
            journaller.drain()
        assert loop.kernel.counters["live_orders"] == 0
    _, replay = replayed(tmp_path / "journal")
    replay.run()
    assert replay.reached().state_hash == loop.kernel.state_hash()


def test_a_disk_that_has_failed_ends_the_run(tmp_path):
    loop = make_loop()
    with journal_of(tmp_path) as buffer:
        loop.engine.keep_in(buffer)
        buffer.set_flag(JournalFlag.HALTED)
        loop.feed(quotes(5))
        with pytest.raises(JournalError, match="disk has failed"):
            loop.step(3)
        # The last status says so.
        [*_, last] = loop.of_kind("telemetry_out", Kind.STATUS)
        assert last.body["journal_state"] == JournalState.HALTED


def test_what_is_told_names_the_record_that_it_follows_from(tmp_path):
    loop = make_loop()
    told = []
    with journal_of(tmp_path) as buffer:
        loop.engine.keep_in(buffer)
        loop.command("register", strategy_id="ext", symbols=[], params={})
        loop.feed(quotes(20))
        loop.step(3)
        for number in range(1, 9):
            if number == 5:
                assert loop.ask("query_status").body["journal_seq"] == buffer.accepted_seq
            loop.order(Status.NEW, number, strategy=1, side=1, price_tick=990, qty=5)
            loop.step(1)
            told += [out for out in loop.take("orders_out") if out.kind == Kind.ORDER]
        directory = on_disk(buffer, tmp_path)
        loop.engine.flush()
        [*_, last] = loop.of_kind("telemetry_out", Kind.STATUS)
        assert last.body["journal_state"] == JournalState.OK
        assert last.body["accepted_seq"] == buffer.accepted_seq > buffer.durable_seq > 50
        assert last.body["durable_seq"] == buffer.durable_seq
    kinds = {record.seq: record.type for record in JournalReader(directory)}
    numbers = [int(out.body["journal_seq"]) for out in told]
    assert len(numbers) > 4
    assert numbers == sorted(numbers)
    assert {kinds[seq] for seq in numbers} <= {RecordType.ORDER_REQUEST, RecordType.MARKET, RecordType.TIMER}
    assert RecordType.ORDER_REQUEST in {kinds[seq] for seq in numbers}


@pytest.fixture
def clock():
    """Sets the steady clock of all loops, in seconds."""
    yield lambda seconds: simulate_clock(int(seconds * 1e9))
    simulate_clock(None)


def test_market_data_grows_old_while_the_feed_is_silent_and_a_replay_says_the_same(tmp_path, clock):
    clock(1000)
    loop = make_loop()
    told = {}

    def order(number):
        loop.order(Status.NEW, number, strategy=1, side=1, price_tick=990, qty=5)
        loop.step(2)
        for out in loop.take("orders_out"):
            if out.kind == Kind.ORDER and out.body["order"]["client_order_id"] == number:
                told.setdefault(
                    number, (Status(out.body["order"]["status"]), Reason(out.body["order"]["reason"]))
                )

    with journal_of(tmp_path) as buffer:
        loop.engine.keep_in(buffer)
        loop.command("register", strategy_id="ext", symbols=[], params={})
        loop.command("update_risk_limits", strategy_id="ext", limits={"max_data_age_ns": 3_000_000_000})
        loop.feed(quotes(20))
        loop.step(5)
        order(1)
        clock(1002)
        loop.step(2)
        order(2)
        # Engine time has not moved since; what is known of the market is older than the limit all the same.
        clock(1010)
        order(3)
        loop.feed(quotes(20, start=loop.engine.now + 1_000_000))
        loop.step(3)
        order(4)
        session_end = loop.engine.now
        loop.engine.inputs.note_state(session_end, loop.kernel.state_hash())
        directory = on_disk(buffer, tmp_path)
        last = buffer.accepted_seq
    stale = (Status.DENIED, Reason.STALE_MARKET_DATA)
    assert [told[number] == stale for number in (1, 2, 3, 4)] == [False, False, True, False]
    silences = [record for record in JournalReader(directory) if record.type == RecordType.SILENCE]
    assert len(silences) == 2
    _, replay = replayed(directory)
    replay.run()
    reached = replay.reached()
    assert (reached.seq, reached.state_hash) == (last, loop.kernel.state_hash())
    assert reached.outputs_hash == loop.engine.outputs_hash
