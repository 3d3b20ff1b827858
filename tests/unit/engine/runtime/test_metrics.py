import math
import os

import pytest

from engine.backtest.config import StrategyConfig
from engine.core.errors import RingCorrupt
from engine.core.histogram import Histogram
from engine.runtime import metrics
from engine.runtime.config import DaemonConfig
from engine.runtime.engine import make_kernel
from engine.runtime.publish import Publisher
from engine.runtime.rundir import RINGS, RunDir, RunState
from tests.kit.loops import Loop, asset, quotes


@pytest.fixture
def run(tmp_path):
    run = RunDir(tmp_path / "main")
    run.claim()
    yield run
    run.release()


def started(run):
    """A run directory as the supervisor leaves it, and a loop whose publisher writes its page."""
    strategy = StrategyConfig(id="mäker", cls="engine.strategy.native:MarketMaker")
    config = DaemonConfig(instruments=[asset()], strategies=[strategy])
    run.write_config(config)
    run.write_state(
        RunState(
            name="main",
            mode="PAPER",
            state="running",
            pid=os.getpid(),
            endpoint="ipc:///x",
            started=1,
            config="d.toml",
            config_hash="h",
            pids={"engine": 7, "bridge": 8},
            restarts={"engine": 0, "bridge": 2, "feed": 0},
        )
    )
    page = metrics.create_page(run)
    kernel = make_kernel(config)
    loop = Loop(strategy)
    rings = (loop.rings[name] for name in RINGS[3:])
    out = Publisher(kernel, *rings, page=memoryview(page)[: metrics.STEPS_AT])
    out.set_name(0, "mäker")
    return out, page


def test_the_times_of_steps_are_in_the_page_and_go_on_in_another_engine(run):
    assert metrics.read_steps(run) is None
    out, page = started(run)
    for engine in range(2):
        steps = Histogram(memoryview(page)[metrics.STEPS_AT :])
        for _ in range(99):
            steps.add(1000)
        steps.add(5_000_000)
        assert metrics.read_steps(run)[:-1].sum() == 100 * (engine + 1)
    out.write_page()
    said = metrics.read(run)["engine"]["step_ns"]
    assert (said["count"], said["sum"]) == (200, 2 * (99_000 + 5_000_000))
    assert said["p50"] == pytest.approx(1000, rel=0.04)
    assert said["p99.9"] == pytest.approx(5_000_000, rel=0.04)
    assert said["below"][0] == [512, 0]
    assert said["below"][1] == [1024, 198]
    assert said["below"][-1] == [1 << 30, 200]
    assert "steps, us: p50 1.0" in metrics.describe(metrics.read(run))


def test_before_the_engine_is_there_the_report_says_starting(run):
    assert metrics.read(run) == {"state": "starting", "run_dir": str(run.path), "processes": {}}
    assert "starting" in metrics.describe(metrics.read(run))
    assert metrics.read_page(run) is None


def test_the_page_is_what_the_engine_last_wrote(run):
    out, _page = started(run)
    assert metrics.read_page(run) is None
    out.write_page()
    report = metrics.read(run)
    assert report["engine"]["trading_state"] == "ACTIVE"
    assert report["engine"]["feed_state"] == "waiting"
    assert report["engine"]["feed_age_s"] is None
    (position,) = report["positions"]
    assert (position["strategy"], position["state"], position["symbol"]) == ("mäker", "Starting", "BTCUSDT")
    assert position["avg_px"] is None
    assert not any(isinstance(v, float) and math.isnan(v) for v in position.values())
    text = metrics.describe(report)
    assert "bridge  pid 8, restarted 2 times" in text
    assert "feed    not running" in text
    assert "mäker BTCUSDT (Starting): position 0" in text


@pytest.mark.parametrize(
    ("state", "said"),
    [("ok", "journal ok; accepted 9, durable 7"), ("full", "DISK FULL"), ("halted", "HALTED"), ("off", "")],
)
def test_a_journal_in_trouble_is_said_plainly(run, state, said):
    out, _page = started(run)
    out.write_page()
    report = metrics.read(run)
    assert report["engine"]["journal"] == {"state": "off", "accepted_seq": 0, "durable_seq": 0}
    report["engine"]["journal"] = {"state": state, "accepted_seq": 9, "durable_seq": 7}
    lines = [line for line in metrics.describe(report).splitlines() if "journal" in line]
    assert [said in line for line in lines] == ([] if state == "off" else [True])


def test_how_far_the_recorder_is_is_said_plainly():
    said = {"seq": 9, "batches": 2, "bytes": 2_500_000, "rows": 70, "failures": 0, "left_out": 0, "error": ""}
    said |= {"behind_s": 1.25, "behind_records": 3}
    assert (
        metrics.describe_recorder(said)
        == "recorder 1.2 s behind; 70 rows stored, batches that wait: 2 (2.5 MB)"
    )
    assert metrics.describe_recorder({**said, "left_out": 5}).endswith("NO ROOM: 5 market rows left out")
    assert metrics.describe_recorder({**said, "error": "away"}).endswith("THE STORE REFUSES: away")


def test_a_page_whose_writer_died_in_the_middle_is_named(run, monkeypatch):
    out, page = started(run)
    out.write_page()
    page[0] = 1
    monkeypatch.setattr(metrics, "READ_TRIES", 3)
    with pytest.raises(RingCorrupt, match="for ever"):
        metrics.read_page(run)


def test_the_loop_counts_what_it_tells():
    loop = Loop()
    loop.feed(quotes(7))
    before = loop.engine.steps.read()
    loop.run_dry()
    assert loop.engine.events == 7
    took = loop.engine.steps.read() - before
    assert took[:-1].sum() >= 1
    assert took[-1] > 0
