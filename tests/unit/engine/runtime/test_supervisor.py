"""The supervisor over processes that only pretend: quick, and able to fail in every way."""

import os
import signal
import sys
import textwrap
import threading
import time

import pytest

from engine.core.errors import AlreadyRunning
from engine.runtime import spare
from engine.runtime import supervisor as module
from engine.runtime.config import DaemonConfig, EngineSection, JournalSection
from engine.runtime.supervisor import StartFailed, Supervisor

# Reads what to do from <run>/<role>.do: "serve", "fail TEXT", "exit N".
FAKE = textwrap.dedent(
    """
    import os, pathlib, signal, sys, time
    role, path, parent, fd, *word = sys.argv[1:]
    run = pathlib.Path(path)
    if word:
        # A standby as runtime/processes makes it, but for what it knows.
        os.write(int(fd), b"by\\n")
        while os.read(int(word[0]), 3):
            between = os.fork()
            if between:
                os.waitpid(between, 0)
                continue
            between = os.getpid()
            if os.fork():
                os._exit(0)
            while os.getppid() == between:
                time.sleep(0.001)
            os.write(int(fd), b"pid %d\\n" % os.getpid())
            break
        else:
            sys.exit(0)
    with open(run / "started", "a") as file:
        file.write(role + "\\n")
    plan = (run / (role + ".do"))
    word, _, rest = (plan.read_text() if plan.exists() else "serve").partition(" ")
    if word == "fail":
        os.write(int(fd), rest.encode())
        sys.exit(2)
    def end(*_):
        with open(run / "ended", "a") as file:
            file.write(role + "\\n")
        sys.exit(0)
    if word != "deaf":
        signal.signal(signal.SIGTERM, end)
    else:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.write(int(fd), b"ok\\n")
    os.close(int(fd))
    if word == "exit":
        time.sleep(0.05)
        sys.exit(int(rest))
    while True:
        time.sleep(10)
    """
)


class Daemon:
    """A supervisor in this process, told what to do by its own signals."""

    def __init__(self, tmp_path, **journal):
        self.script = tmp_path / "fake.py"
        self.script.write_text(FAKE)
        config = DaemonConfig(
            engine=EngineSection(run_dir=str(tmp_path)), journal=JournalSection(**journal), instruments=[]
        )
        self.run_dir = config.run_dir()
        self.run_dir.make()
        self.supervisor = Supervisor(config, "x.toml", command=(sys.executable, str(self.script)))
        self.helper = None

    def plan(self, role, text):
        (self.run_dir.path / f"{role}.do").write_text(text)

    def lines(self, name):
        path = self.run_dir.path / name
        return path.read_text().split() if path.exists() else []

    def state(self):
        return self.run_dir.read_state()

    def run(self, act):
        """Runs until ``act``, in a thread, has returned and asked for the end."""

        faults = []

        def helper():
            try:
                act()
            except BaseException as fault:
                faults.append(fault)
            finally:
                os.kill(os.getpid(), signal.SIGTERM)

        def ready(state):
            self.helper = threading.Thread(target=helper)
            self.helper.start()

        code = self.supervisor.run(ready)
        self.helper.join()
        if faults:
            raise faults[0]
        return code


@pytest.fixture
def daemon(tmp_path):
    return Daemon(tmp_path)


def until(condition, seconds=10):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)


def test_starts_in_order_and_stops_the_engine_first(daemon):
    seen = []
    assert daemon.run(lambda: seen.append(daemon.state())) == 0
    assert daemon.lines("started") == ["engine", "bridge", "feed"]
    assert daemon.lines("ended")[0] == "engine"
    assert sorted(daemon.lines("ended")) == ["bridge", "engine", "feed"]
    state = seen[0]
    assert (state.state, state.pid, set(state.pids)) == ("running", os.getpid(), {"engine", "feed", "bridge"})
    assert daemon.state().state == "stopped"
    assert daemon.run_dir.owner() is None
    assert not daemon.run_dir.ring_dir.exists()


@pytest.mark.parametrize("role", ["feed", "bridge"])
def test_a_killed_process_is_started_again(daemon, role, monkeypatch):
    monkeypatch.setattr(module, "BACKOFF_S", (0.02, 0.05))

    def act():
        for count in (1, 2):
            before = daemon.state().pids
            os.kill(before[role], signal.SIGKILL)
            until(lambda count=count: daemon.lines("started").count(role) == count + 1)
            assert daemon.state().restarts[role] == count
            assert daemon.state().pids["engine"] == before["engine"]
            assert daemon.state().pids[role] != before[role]

    assert daemon.run(act) == 0


def test_the_engines_death_ends_the_daemon_and_says_why(daemon, capfd):
    daemon.plan("engine", "exit 7")
    assert daemon.supervisor.run() == 1
    assert "the engine died (exit code 7)" in daemon.state().message
    assert "the engine died (exit code 7)" in capfd.readouterr().err


def test_a_feed_that_has_ended_is_not_started_again(daemon, monkeypatch):
    monkeypatch.setattr(module, "BACKOFF_S", (0.01,))
    daemon.plan("feed", "exit 0")

    def act():
        until(lambda: "feed" not in daemon.state().pids)
        time.sleep(0.1)

    assert daemon.run(act) == 0
    assert daemon.lines("started").count("feed") == 1


def test_a_process_that_cannot_start_stops_everything_with_its_own_words(daemon):
    daemon.plan("feed", "fail recording.npz: row 7: bad price")
    with pytest.raises(StartFailed, match=r"recording\.npz: row 7: bad price"):
        daemon.supervisor.run()
    assert daemon.run_dir.owner() is None
    assert daemon.state().pids == {}


def test_a_process_deaf_to_signals_is_killed(daemon, monkeypatch):
    monkeypatch.setattr(module, "STOP_LIMIT_S", 1.8)
    daemon.plan("bridge", "deaf")
    assert daemon.run(lambda: None) == 0
    assert "bridge" not in daemon.lines("ended")
    assert daemon.state().pids == {}


def test_a_second_daemon_is_refused(daemon, tmp_path):
    other = Daemon(tmp_path)

    def act():
        with pytest.raises(AlreadyRunning, match=f"pid {os.getpid()}"):
            other.run_dir.claim()

    assert daemon.run(act) == 0


def test_an_engine_that_had_to_be_killed_is_no_ordered_stop(daemon, monkeypatch):
    monkeypatch.setattr(module, "STOP_LIMIT_S", 1.8)
    daemon.plan("engine", "deaf")
    assert daemon.run(lambda: None) == 1
    assert daemon.state().message == "the engine did not stop in good order (killed by SIGKILL)"


def test_a_state_that_cannot_be_written_ends_nothing(daemon, capfd):
    def act():
        (daemon.run_dir.path / f".state.json.{os.getpid()}").mkdir()
        os.kill(daemon.state().pids["bridge"], signal.SIGKILL)
        until(lambda: daemon.lines("started").count("bridge") == 2)

    assert daemon.run(act) == 0
    assert "state.json was not written: Is a directory" in capfd.readouterr().err
    assert daemon.run_dir.owner() is None
    assert not daemon.run_dir.ring_dir.exists()


def kill(daemon, role):
    """Kills a process and waits until another one is in its place."""
    pid = daemon.state().pids[role]
    os.kill(pid, signal.SIGKILL)
    until(lambda: daemon.state().pids.get(role) not in (None, pid))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a process adopt others")
def test_a_standby_takes_over_from_each_engine_that_is_killed(tmp_path):
    daemon = Daemon(tmp_path, dir=str(tmp_path))
    seen = []

    def act():
        until(lambda: "standby" in daemon.state().pids)
        before = daemon.state()
        for count in range(2, 10):
            kill(daemon, "engine")
            until(lambda count=count: daemon.lines("started").count("engine") == count)
        seen.extend((before, daemon.state()))

    assert daemon.run(act) == 0
    before, after = seen
    for role in ("standby", "journaller", "bridge", "feed"):
        assert after.pids[role] == before.pids[role]
    assert after.restarts == {"engine": 8, "journaller": 0, "bridge": 0, "feed": 0}
    for pid in after.pids.values():
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a process adopt others")
def test_a_killed_standby_harms_nothing_and_is_replaced(tmp_path, monkeypatch):
    monkeypatch.setattr(spare, "BACKOFF_S", (0.02,))
    daemon = Daemon(tmp_path, dir=str(tmp_path))
    seen = []

    def act():
        until(lambda: "standby" in daemon.state().pids)
        before = daemon.state()
        kill(daemon, "standby")
        seen.extend((before, daemon.state()))
        pids = daemon.state().pids
        for role in ("standby", "engine"):
            os.kill(pids[role], signal.SIGKILL)
        until(lambda: daemon.state().restarts["engine"] == 1 and "engine" in daemon.state().pids)
        until(lambda: daemon.state().pids.get("standby") not in (None, pids["standby"]))
        kill(daemon, "engine")

    assert daemon.run(act) == 0
    before, after = seen
    assert before.pids["engine"] == after.pids["engine"]
    assert before.restarts == after.restarts


def test_without_a_standby_the_engine_is_started_anew(tmp_path):
    daemon = Daemon(tmp_path, dir=str(tmp_path), standby=False)

    def act():
        bridge = daemon.state().pids["bridge"]
        kill(daemon, "engine")
        until(lambda: daemon.lines("started").count("engine") == 2)
        assert daemon.state().pids["bridge"] == bridge
        assert "standby" not in daemon.state().pids

    assert daemon.run(act) == 0


def test_an_engine_whose_return_fails_ends_the_daemon(tmp_path, capfd):
    daemon = Daemon(tmp_path, dir=str(tmp_path), standby=False)

    def act():
        daemon.plan("engine", "fail the disk is full")
        os.kill(daemon.state().pids["engine"], signal.SIGKILL)
        until(lambda: daemon.state().state == "stopped")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "kill", lambda pid, number, kill=os.kill: pid == os.getpid() or kill(pid, number))
        assert daemon.run(act) == 1
    assert "the engine died (exit code 2: the disk is full)" in daemon.state().message
