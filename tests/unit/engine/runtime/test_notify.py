import os
import socket

import pytest

from engine.runtime.notify import Notifier
from tests.unit.engine.runtime import test_supervisor as supervised


@pytest.fixture
def told(tmp_path):
    """A socket as systemd has it, bound to a path."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(tmp_path / "notify"))
        server.settimeout(5)
        yield server


def environment(server, **more):
    return {"NOTIFY_SOCKET": server.getsockname(), "PATH": "/bin", **more}


def test_without_systemd_nothing_is_said():
    notifier = Notifier({})
    notifier.ready("x")
    notifier.alive()
    notifier.stopping("y")
    notifier.close()
    assert notifier.interval is None


def test_what_is_said_and_that_children_do_not_inherit_it(told):
    environ = environment(told, WATCHDOG_USEC="5000000", WATCHDOG_PID=str(os.getpid()))
    notifier = Notifier(environ)
    assert environ == {"PATH": "/bin"}
    assert notifier.interval == 2.0
    notifier.ready("trading\nin PAPER")
    assert told.recv(4096).decode() == f"READY=1\nSTATUS=trading in PAPER\nMAINPID={os.getpid()}\n"
    notifier.alive()
    assert told.recv(4096) == b"WATCHDOG=1\n"
    notifier.status("halted")
    assert told.recv(4096) == b"STATUS=halted\n"
    notifier.stopping("asked to stop")
    assert told.recv(4096) == b"STOPPING=1\nSTATUS=asked to stop\n"
    notifier.close()


def test_an_abstract_address():
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        name = f"ringbook-test-{os.getpid()}"
        server.bind("\0" + name)
        server.settimeout(5)
        Notifier({"NOTIFY_SOCKET": "@" + name}).stopping("x")
        assert server.recv(4096) == b"STOPPING=1\nSTATUS=x\n"


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"WATCHDOG_USEC": "0"},
        {"WATCHDOG_USEC": "soon"},
        {"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"},
    ],
)
def test_without_a_watchdog_of_ours_there_is_no_sign_of_life(told, wrong):
    notifier = Notifier(environment(told, **wrong))
    assert notifier.interval is None
    notifier.alive()
    notifier.status("first")
    assert told.recv(4096) == b"STATUS=first\n"


def test_nobody_who_listens_is_no_fault(tmp_path):
    Notifier({"NOTIFY_SOCKET": str(tmp_path / "gone")}).ready("x")


def test_a_listener_that_does_not_read_is_not_waited_for(told):
    notifier = Notifier(environment(told, WATCHDOG_USEC="1000000"))
    for _ in range(10_000):
        notifier.alive()


class Watched(supervised.Daemon):
    """A supervisor whose watchdog wants a sign in 25 ms; a test writes the engine's page."""

    def __init__(self, tmp_path, told):
        super().__init__(tmp_path)
        self.supervisor._notifier = Notifier(environment(told, WATCHDOG_USEC="62500"))
        self.beats = 0

    def beat(self):
        self.beats += 2
        self.run_dir.page_file.write_bytes(self.beats.to_bytes(8, "little"))


def test_the_supervisor_says_ready_lives_with_the_engine_and_says_stopping(tmp_path, told):
    daemon = Watched(tmp_path, told)
    seen = []

    def act():
        ready = told.recv(4096).decode()
        assert ready.startswith("READY=1\nSTATUS=trading in PAPER on ipc://")
        # Once for the page as it was found, and from then on for each time that it is written.
        assert told.recv(4096) == b"WATCHDOG=1\n"
        for _ in range(3):
            daemon.beat()
            assert told.recv(4096) == b"WATCHDOG=1\n"
        told.settimeout(0.15)
        with pytest.raises(TimeoutError):
            told.recv(4096)  # the engine hangs: its page is not written
        told.settimeout(5)
        daemon.beat()
        assert told.recv(4096) == b"WATCHDOG=1\n"
        seen.append(True)

    assert daemon.run(act) == 0
    assert seen
    assert told.recv(4096) == b"STOPPING=1\nSTATUS=asked to stop\n"


def test_the_engines_death_is_told_as_well(tmp_path, told):
    daemon = Watched(tmp_path, told)
    daemon.plan("engine", "exit 7")
    assert daemon.supervisor.run() == 1
    told.settimeout(1)
    said = []
    while not said or not said[-1].startswith("STOPPING"):
        said.append(told.recv(4096).decode())
    assert "the engine died (exit code 7)" in said[-1]
