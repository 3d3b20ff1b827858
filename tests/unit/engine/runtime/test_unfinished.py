"""Which run a start goes on with, and which configurations may."""

import copy
import logging
import os

import msgspec
import pytest

from engine.core.errors import CannotResume
from engine.journal.journaller import Journaller
from engine.journal.segments import Sizes
from engine.journal.wal import Journal, RecordType
from engine.runtime.config import DaemonConfig, FeedSection, JournalSection
from engine.runtime.recovery import Beginning, Instrument
from engine.runtime.rundir import RunDir, RunState
from engine.runtime.unfinished import (
    config_in_force,
    config_to_resume,
    find_last,
    last_run,
    with_state_of,
)
from tests.kit.loops import asset
from tests.kit.runs import trader

LOG = logging.getLogger("ringbook.unfinished.test")
SIZES = Sizes(segment=1 << 17, batch=1 << 16)


class Place:
    """A folder with the journals of daemons."""

    def __init__(self, folder):
        self.folder, self.runs = folder, 0
        self.config = DaemonConfig(
            feed=FeedSection(kind="simulated"),
            journal=JournalSection(dir=str(folder / "journals"), segment_mb=1),
            instruments=[asset()],
            strategies=[trader()],
        )
        self.run = self.run_dir("main")

    def run_dir(self, name):
        run = RunDir(self.folder / name)
        run.journal_buffer = str(self.folder / f"{name}.buffer")
        return run

    def daemon(self, *, end=False, drain=True, run=None, name="main", meta=True):
        """A run of a daemon, which is gone; the run's id."""
        run = run or self.run
        self.runs += 1
        run_id = self.runs.to_bytes(16, "big")
        config = copy.deepcopy(self.config)
        config.engine.name = name
        begun = Beginning(run_id.hex(), [Instrument("BTCUSDT")], [], 0, config, str(run.path))
        buffer = Journal.create(run.journal_buffer, run_id=run_id, capacity=1 << 16)
        body = msgspec.msgpack.encode(begun) if meta else b"?"
        buffer.append_time(RecordType.META, 0, body)
        buffer.append_time(RecordType.FEED_STATUS, 1)
        if end:
            buffer.append_time(RecordType.END, 2, end if isinstance(end, bytes) else b"")
            buffer.end()
        if drain:
            directory = self.folder / "journals" / run_id.hex()
            with Journaller(buffer, directory, sizes=SIZES) as journaller:
                journaller.run(lambda: True)
                if end:
                    journaller.step()
            os.unlink(run.journal_buffer)
        buffer.close()
        return run_id.hex()

    def found(self, new=False):
        last = last_run(self.config, self.run, LOG, new=new)
        return last and last.begun.run_id


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


def test_nothing_is_found_where_nothing_was(place):
    assert place.found() is None


def test_the_newest_run_counts_if_it_did_not_end_in_good_order(place):
    place.daemon()
    assert place.found() == f"{1:032x}"
    second = place.daemon()
    assert place.found() == second
    place.daemon(end=True)
    assert place.found() is None


def test_positions_that_the_last_run_has_left_are_warned_of(place, caplog):
    place.daemon(end=msgspec.msgpack.encode([("t", "BTCUSDT", -0.25), ("x", "ETHUSDT", 3.0)]))
    assert place.found() is None
    assert "which this one does not have: t BTCUSDT -0.25, x ETHUSDT 3" in caplog.text
    caplog.clear()
    place.daemon(end=b"something else")
    assert place.found() is None
    assert caplog.text == ""


def test_what_is_left_in_shared_memory_counts_too(place, caplog):
    run_id = place.daemon(drain=False)
    assert place.found() == run_id
    assert not os.path.exists(place.run.journal_buffer)
    place.daemon(drain=False, end=True)
    assert place.found() is None


def test_runs_of_other_daemons_are_left_alone(place):
    mine = place.daemon()
    place.daemon(name="other", run=place.run_dir("other"))
    (place.folder / "journals" / "notes").mkdir()
    (place.folder / "journals" / f"{99:032x}").mkdir()
    assert place.found() == mine


def test_a_run_of_this_name_that_had_another_run_directory_is_not_passed_over_in_silence(place):
    elsewhere = place.run_dir("moved")
    place.daemon(run=elsewhere)
    with pytest.raises(CannotResume, match=r"whose run directory was .*moved and is .*main now: start with"):
        place.found()
    assert place.found(new=True) is None
    elsewhere.claim()  # its daemon lives
    try:
        assert place.found() is None
    finally:
        elsewhere.release()
    place.daemon(run=elsewhere, end=True)
    assert place.found() is None


def test_new_leaves_the_unfinished_run_as_it_is(place, caplog):
    run_id = place.daemon(drain=False)
    assert place.found(new=True) is None
    assert "unfinished, and stays so" in caplog.text
    assert place.found() == run_id  # until the new one has begun
    place.daemon(end=True)
    assert place.found() is None


def test_damage_is_refused_and_does_not_stand_in_the_way_of_a_new_run(place):
    run_id = place.daemon()
    segment = next((place.folder / "journals" / run_id).glob("*.seg"))
    data = bytearray(segment.read_bytes())
    data[100] ^= 1
    segment.write_bytes(data)
    with pytest.raises(CannotResume, match=r"damaged; `ringbook run --new` begins another run"):
        place.found()
    assert place.found(new=True) is None


def test_a_buffer_that_fits_no_journal_is_refused_and_given_up_for_a_new_run(place, caplog):
    run_id = place.daemon()
    place.runs -= 1
    place.daemon(drain=False)
    with open(place.run.journal_buffer, "r+b") as buffer:
        buffer.seek(65536 + 40)
        buffer.write(b"??")
    with pytest.raises(CannotResume, match="--new"):
        place.found()
    assert place.found(new=True) is None
    assert "left as it is" in caplog.text
    assert place.found() == run_id


def test_a_run_that_this_build_cannot_read_is_refused_unless_it_has_ended(place):
    place.daemon(meta=False)
    with pytest.raises(CannotResume, match="this build cannot read"):
        place.found()
    place.daemon()
    assert place.found() == f"{2:032x}"
    place.daemon(meta=False, end=True)
    assert place.found() == f"{2:032x}"


# --- configurations ------------------------------------------------------------------------------


def changed(config, path, value):
    values = msgspec.to_builtins(config)
    node = values
    *parts, last = path.split(".")
    for part in parts:
        node = node[int(part)] if part.isdigit() else node[part]
    node[last] = value
    return msgspec.convert(values, DaemonConfig)


def unfinished(place):
    place.daemon()
    return find_last(place.config, place.run)


@pytest.mark.parametrize(
    ("path", "value", "key"),
    [
        ("instruments.0.tick_size", 0.5, "instruments.BTCUSDT.tick_size"),
        ("strategies", [], "strategies.t"),
        ("strategies.0.class", "x:Y", "strategies.t.class"),
        ("feed.seed", 8, "feed.seed"),
        ("engine.max_orders", 8, "engine.max_orders"),
    ],
)
def test_what_the_state_depends_on_must_be_the_same(place, path, value, key):
    last = unfinished(place)
    other = changed(place.config, path, value)
    with pytest.raises(CannotResume, match=rf"another configuration \({key}\).*--new"):
        config_to_resume(last, None, other)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("feed.speed", 3.0),
        ("bridge.endpoint", "tcp://127.0.0.1:7411"),
        ("journal.acknowledge", "durable"),
        ("engine.log_level", "debug"),
        ("engine.status_interval_ms", 50),
        ("control.watch", False),
    ],
)
def test_all_else_is_as_the_file_says_now(place, path, value):
    last = unfinished(place)
    other = changed(place.config, path, value)
    assert config_to_resume(last, None, other) == other


def test_what_may_change_live_is_the_runs_until_the_engine_has_been_told(place):
    last = unfinished(place)
    other = changed(place.config, "strategies.0.params", {"qty": 0.05})
    assert config_to_resume(last, None, other) == place.config
    with pytest.raises(CannotResume, match=r"strategies\.t\.params\.qty"):
        config_to_resume(last, None, changed(other, "control.watch", False))


def test_what_an_edit_has_put_in_force_is_kept_where_the_run_directory_is(place):
    last = unfinished(place)
    edited = changed(place.config, "strategies.0.params", {"qty": 0.05})
    place.run.make()
    place.run.write_config(edited)
    nothing = dict.fromkeys(("endpoint", "config", "config_hash"), "")
    state = RunState(
        name="t", mode="PAPER", state="running", pid=1, started=0, run_id=last.begun.run_id, **nothing
    )
    assert config_in_force(edited, place.run, state, last) == edited
    state.run_id = "of another run"
    assert config_in_force(edited, place.run, state, last) == place.config
    assert config_in_force(edited, place.run, None, last) == place.config
    place.run.config_file.write_text("{")
    state.run_id = last.begun.run_id
    assert config_in_force(edited, place.run, state, last) == place.config


def test_the_state_of_one_configuration_and_the_rest_of_another(place):
    other = changed(changed(place.config, "feed.speed", 9.0), "feed.seed", 5)
    made = with_state_of(place.config, other)
    assert (made.feed.speed, made.feed.seed) == (9.0, place.config.feed.seed)
