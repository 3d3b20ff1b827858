"""The daemon as its user sees it: real processes, signals and kills."""

import itertools
import json
import os
import signal
import time
from pathlib import Path

import pytest

from engine.runtime.rundir import RunDir
from tests.kit.daemons import SIMULATED, Daemon, daemon, until


@pytest.fixture
def one():
    with daemon() as it:
        yield it


def totals(status):
    """What may only grow: events, orders, fills, trades, volume."""
    engine, position = status["engine"], status["positions"][0]
    return [
        engine["step"],
        engine["events"],
        engine["orders"],
        engine["fills"],
        position["num_trades"],
        position["trading_volume"],
    ]


def trading(it, fills=1):
    """Waits until there were some fills; the status then."""

    def ready():
        status = it.status()
        return status if status.get("engine", {}).get("fills", 0) >= fills else None

    return until(ready, f"{fills} fills")


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_starts_tells_its_status_and_stops(one):
    said = one.start()
    assert said["endpoint"] == f"ipc://{one.run_path}"
    status = trading(one)
    assert (status["state"], status["mode"], status["pid"]) == ("running", "PAPER", said["pid"])
    assert set(status["processes"]) == {"engine", "bridge", "feed"}
    assert status["engine"]["feed_state"] == "running"
    assert status["positions"][0]["strategy"] == "mm"
    shown = one.ringbook("status", "--name", "t")
    assert shown.returncode == 0
    assert "t: running, PAPER" in shown.stdout
    as_json = one.ringbook("status", "--name", "t", "--json")
    assert json.loads(as_json.stdout)["pid"] == said["pid"]
    pids = [process["pid"] for process in status["processes"].values()]
    stopped = one.ringbook("stop", "--name", "t")
    assert (stopped.returncode, stopped.stdout) == (0, f"daemon t (pid {said['pid']}) has stopped\n")
    assert one.process.wait(5) == 0
    assert not any(alive(pid) for pid in pids)
    assert not RunDir(one.run_path).ring_dir.exists()
    assert not list(one.run_path.glob("*.sock"))
    for command in ("status", "stop"):
        answer = one.ringbook(command, "--name", "t")
        assert (answer.returncode, answer.stderr) == (1, f"ringbook: no daemon runs in {one.run_path}\n")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_in_order_with_no_order_left(one, number):
    one.start()
    trading(one)
    code, seconds, _ = one.end(number)
    assert code == 0
    assert seconds < 5
    last = next(line for line in one.log() if line["text"] == "engine stopped")
    assert last["live_orders"] == 0
    assert RunDir(one.run_path).read_state().state == "stopped"


def test_a_second_instance_is_refused_and_names_the_first(one):
    said = one.start()
    again = one.ringbook("run", "--config", str(one.config))
    assert again.returncode == 2
    assert f"pid {said['pid']}" in again.stderr
    assert len(again.stderr.splitlines()) == 1
    assert one.status()["state"] == "running"


@pytest.mark.parametrize("role", ["feed", "bridge"])
def test_a_killed_process_comes_back_and_the_engine_loses_nothing(one, role):
    one.start()
    before = trading(one, 3)
    engine = before["processes"]["engine"]["pid"]
    os.kill(before["processes"][role]["pid"], signal.SIGKILL)
    seen = [totals(before)]

    def back():
        status = one.status()
        seen.append(totals(status))
        process = status["processes"][role]
        return (
            process["restarts"] == 1
            and process["pid"]
            and status["engine"]["fills"] > before["engine"]["fills"]
        )

    until(back, f"a new {role} and new fills")
    assert one.pid("engine") == engine
    for older, newer in itertools.pairwise(seen):
        assert all(a <= b for a, b in zip(older, newer, strict=True))
    if role == "feed":
        until(lambda: any("going on after" in line["text"] for line in one.log()), "the feed's word")
    # It goes on to work: more fills, and an ordered end.
    trading(one, one.status()["engine"]["fills"] + 1)
    assert one.end()[0] == 0


def test_the_engines_death_ends_the_daemon_and_says_so(one):
    one.start()
    os.kill(until(lambda: one.pid("engine"), "an engine"), signal.SIGKILL)
    errors = one.process.communicate(timeout=10)[1]
    assert one.process.returncode == 1
    assert "the engine died (killed by SIGKILL)" in errors
    answer = one.ringbook("status", "--name", "t")
    assert answer.returncode == 1
    assert "the last one ended because the engine died" in answer.stderr


def test_a_killed_supervisor_takes_its_processes_along_and_leaves_a_directory_to_use_again(one):
    one.start()
    pids = [process["pid"] for process in trading(one)["processes"].values()]
    one.process.kill()
    one.process.communicate()
    until(lambda: not any(alive(pid) for pid in pids), "the end of the processes", 8)
    assert one.ringbook("status", "--name", "t").returncode == 1
    one.start()
    trading(one)
    assert one.end()[0] == 0


def test_detached_it_returns_when_it_answers(one):
    done = one.ringbook("run", "--config", str(one.config), "--detach", "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert RunDir(one.run_path).owner() == said["pid"]
    assert one.status()["state"] == "running"
    assert one.ringbook("stop", "--name", "t").returncode == 0
    assert "stopped" in (one.run_path / "console.log").read_text()


@pytest.mark.parametrize("how", [[], ["--detach"]])
@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("MarketMaker", "Nobody", "engine.strategy.native has no Nobody"),
        ("half_spread = 1.0", "half_spread = -1.0", "half_spread: -1.0 is below 0"),
        ('kind = "simulated"', 'kind = "simulator"', r"$.feed.kind"),
    ],
)
def test_a_bad_configuration_is_one_line_and_exit_code_2(how, old, new, message):
    text = SIMULATED.replace(old, new)
    assert text != SIMULATED
    with daemon(text) as it:
        done = it.ringbook("run", "--config", str(it.config), *how)
        assert done.returncode == 2
        assert message in done.stderr.splitlines()[-1]
        assert RunDir(it.run_path).owner() is None


def test_two_daemons_live_side_by_side(one):
    one.start()
    other = Daemon(one.folder, name="u")
    try:
        other.start()
        trading(one)
        trading(other)
        assert other.end()[0] == 0
        trading(one, one.status()["engine"]["fills"] + 1)
    finally:
        other.kill()


def test_the_configuration_a_run_has_is_the_one_it_was_started_with(one):
    one.environment["RINGBOOK__ENGINE__NAME"] = "v"
    one.name = "v"
    assert one.start()["name"] == "v"
    Path(one.config).unlink()
    before = time.monotonic()
    os.kill(until(lambda: one.pid("feed"), "a feed"), signal.SIGKILL)
    until(lambda: one.status()["processes"]["feed"]["restarts"] == 1, "a new feed")
    assert time.monotonic() - before < 10
