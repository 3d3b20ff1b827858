"""The leash: who holds a session, who lets go, and whose process is dead."""

import os
import signal
import socket
import subprocess
import sys

import pytest

from bridge.leash import MAX_LINE, PATIENCE, Leashes
from tests.kit.fake_engine import wait_until


@pytest.fixture
def held(tmp_path):
    """Leashes of the sessions ``one`` and ``two``, and the sessions that were lost."""
    lost = []
    leashes = Leashes(f"ipc://{tmp_path}", {"one", "two"}.__contains__, lost.append)
    yield leashes, lost, str(tmp_path / "leash.sock")
    leashes.close()


def hold(path, text):
    client = socket.socket(socket.AF_UNIX)
    client.connect(path)
    client.sendall(text.encode())
    return client


def closed(leashes, client):
    client.setblocking(False)

    def gone():
        leashes.look()
        try:
            return client.recv(1) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True

    wait_until(gone)
    client.close()


def look(leashes):
    for _ in range(3):
        leashes.look()


def test_an_end_without_a_word_is_a_death_and_a_goodbye_is_none(held):
    leashes, lost, path = held
    one, two = hold(path, "one\n"), hold(path, "two\n")
    look(leashes)
    two.sendall(b"goodbye\n")
    two.close()
    look(leashes)
    assert lost == []
    one.close()
    look(leashes)
    assert lost == ["one"]


def test_a_session_is_held_where_it_was_resumed_last(held):
    leashes, lost, path = held
    old = hold(path, "one\n")
    look(leashes)
    new = hold(path, "one\n")
    closed(leashes, old)
    assert lost == []
    new.close()
    look(leashes)
    assert lost == ["one"]


@pytest.mark.parametrize("text", ["three\n", "x" * (MAX_LINE + 2), "\n"])
def test_who_names_no_session_is_let_go(held, text):
    leashes, lost, path = held
    closed(leashes, hold(path, text))
    assert lost == []


def test_who_says_nothing_is_let_go(held):
    leashes, lost, path = held
    client = hold(path, "")
    look(leashes)
    for _ in range(PATIENCE + 1):
        leashes.tick()
    closed(leashes, client)
    assert lost == []


CHILD = """
import os, socket, sys, time
client = socket.socket(socket.AF_UNIX)
client.connect(sys.argv[1])
client.sendall(b"one\\n")
if os.fork() == 0:
    time.sleep(60)
print(os.getpid(), flush=True)
time.sleep(60)
"""


def test_a_fork_that_lives_on_does_not_hold_its_parents_session(held):
    leashes, lost, path = held
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, path], stdout=subprocess.PIPE, start_new_session=True
    )
    try:
        assert child.stdout.readline()
        look(leashes)
        child.kill()
        wait_until(lambda: leashes.look() or lost == ["one"])
    finally:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        child.stdout.close()


def test_there_is_none_over_tcp():
    leashes = Leashes("tcp://127.0.0.1:7400", lambda session: True, lambda session: None)
    leashes.look()
    leashes.close()
