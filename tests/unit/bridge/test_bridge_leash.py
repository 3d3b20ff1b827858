"""The leash: who holds a session, who lets go, and whose process is dead."""

import os
import signal
import socket
import subprocess
import sys
import threading

import pytest

from bridge.hold import Hold
from bridge.leash import MAX_LINE, PATIENCE, Leashes
from engine.core import robust
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


def in_thread(make):
    """What something gives back that is done in a thread which has ended since."""
    out = []
    thread = threading.Thread(target=lambda: out.append(make()))
    thread.start()
    thread.join()
    return out[0]


needs_locks = pytest.mark.skipif(not robust.available(), reason="the kernel cannot wait for several locks")


@needs_locks
def test_a_lost_lock_is_a_death_while_the_connection_is_still_open(held):
    leashes, lost, path = held
    base = f"ipc://{os.path.dirname(path)}"
    lives = Hold(base, "two")
    dies = in_thread(lambda: Hold(base, "one"))
    wait_until(lambda: leashes.look() or lost == ["one"])
    # Its connection was there until now, and a goodbye comes too late.
    dies.let_go()
    lives.let_go()
    look(leashes)
    assert lost == ["one"]


@needs_locks
def test_who_says_goodbye_before_the_lock_is_lost_is_not_dead(held):
    leashes, lost, path = held

    def leave():
        client, lock = hold(path, ""), robust.RobustLock()
        socket.send_fds(client, [b"one\n"], [lock.fd])
        client.sendall(b"goodbye\n")
        return client, lock

    client, lock = in_thread(leave)
    closed(leashes, client)
    lock.release()
    assert lost == []


@needs_locks
@pytest.mark.parametrize("how", ["a pipe", "many", "none that a lock can be"])
def test_what_is_no_lock_is_let_go_and_the_connection_tells(held, how):
    leashes, lost, path = held
    ends = os.pipe()
    locks = [robust.RobustLock() for _ in range(3)]
    files = {"a pipe": [ends[0]], "many": [lock.fd for lock in locks] * 3}.get(how, list(ends))
    client = hold(path, "")
    look(leashes)
    before = len(os.listdir("/proc/self/fd"))
    socket.send_fds(client, [b"one\n"], files)
    look(leashes)
    assert len(os.listdir("/proc/self/fd")) == before
    assert lost == []
    client.close()
    look(leashes)
    assert lost == ["one"]
    for lock in locks:
        lock.release()
    for end in ends:
        os.close(end)


def test_without_locks_the_connection_tells(held, monkeypatch):
    leashes, lost, path = held

    def none():
        raise OSError("no such thing")

    monkeypatch.setattr(robust, "RobustLock", none)
    one = in_thread(lambda: Hold(f"ipc://{os.path.dirname(path)}", "one"))
    look(leashes)
    assert lost == []
    one._socket.close()
    look(leashes)
    assert lost == ["one"]


def test_there_is_no_leash_to_hold_where_nobody_listens(tmp_path):
    with pytest.raises(OSError, match="No such file"):
        Hold(f"ipc://{tmp_path}", "one")
    with pytest.raises(OSError, match="tcp"):
        Hold("tcp://127.0.0.1:7400", "one")


def test_there_is_none_over_tcp():
    leashes = Leashes("tcp://127.0.0.1:7400", lambda session: True, lambda session: None)
    leashes.look()
    leashes.close()
