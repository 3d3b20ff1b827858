"""Robust locks: who holds them, who lets go, whose end is told; with real threads, processes and signals."""

import fcntl
import mmap
import os
import select
import signal
import socket
import subprocess
import sys
import threading

import pytest

from engine.core.errors import CapacityError
from engine.core.robust import RobustLock, RobustWatch, available

pytestmark = pytest.mark.skipif(not available(), reason="the kernel cannot wait for several locks at once")

WAITERS = 0x80000000


@pytest.fixture
def watch():
    one = RobustWatch()
    yield one
    one.close()


def told(watch, seconds=20.0):
    """Waits for the bell, then says who has died."""
    assert select.select([watch.fileno()], [], [], seconds)[0]
    return watch.dead()


def in_thread(do):
    """Does something in a thread and waits for its end; what it gave back."""
    out = []
    thread = threading.Thread(target=lambda: out.append(do()))
    thread.start()
    thread.join()
    return out[0]


def own_file(size=4096, seals=fcntl.F_SEAL_SHRINK):
    fd = os.memfd_create("test", os.MFD_ALLOW_SEALING)
    if size:
        os.posix_fallocate(fd, 0, size)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
    return fd


CHILD = """
import os, socket, sys, time
from engine.core.robust import RobustLock
lock = RobustLock()
connection = socket.socket(fileno=int(sys.argv[1]))
if sys.argv[2] == "fork" and os.fork() == 0:
    time.sleep(60)
socket.send_fds(connection, [b"x"], [lock.fd])
if sys.argv[2] == "exec":
    connection.recv(1)
    os.execv("/bin/sleep", ["sleep", "60"])
time.sleep(60)
"""


def child(how="wait"):
    """A process that holds a lock; the process, our end of a connection to it, and the lock's file."""
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(theirs.fileno()), how],
            pass_fds=[theirs.fileno()],
            start_new_session=True,
        )
    _, (fd,), _, _ = socket.recv_fds(ours, 1, 1)
    return process, ours, fd


@pytest.mark.parametrize("how", ["wait", "fork"])
def test_a_killed_process_is_told_once_also_where_a_fork_of_it_lives_on(watch, how):
    process, connection, fd = child(how)
    try:
        place = watch.add(fd)
        assert watch.dead() == []
        process.kill()
        assert told(watch) == [place]
        assert watch.dead() == []
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        connection.close()
        os.close(fd)


def test_a_process_that_becomes_another_program_has_lost_its_lock(watch):
    process, connection, fd = child("exec")
    try:
        place = watch.add(fd)
        connection.send(b"x")
        assert told(watch) == [place]
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()
        connection.close()
        os.close(fd)


def test_who_died_before_he_was_watched_is_told(watch):
    process, connection, fd = child()
    process.kill()
    process.wait()
    place = watch.add(fd)
    assert told(watch) == [place]
    connection.close()
    os.close(fd)


def test_a_release_is_no_death_and_the_end_of_a_thread_is_one(watch):
    released, kept = RobustLock(), None
    places = [watch.add(released.fd)]
    released.release()
    released.release()
    kept = in_thread(RobustLock)
    place = watch.add(kept.fd)
    assert told(watch) == [place]
    watch.remove(place)
    watch.remove(places[0])
    kept.release()


def test_a_release_in_another_thread_leaves_it_held(watch):
    lock = RobustLock()
    fd = os.dup(lock.fd)
    with mmap.mmap(fd, 4096) as memory:
        owner = int.from_bytes(memory[:4], "little")
        in_thread(lock.release)
        assert int.from_bytes(memory[:4], "little") == owner != 0
    os.close(fd)


def test_a_lock_says_who_holds_it_and_a_watch_that_it_waits(watch):
    lock = RobustLock()
    with mmap.mmap(lock.fd, 4096) as memory:
        assert int.from_bytes(memory[:4], "little") == threading.get_native_id()
        watch.add(lock.fd)
        deadline = 1000
        while int.from_bytes(memory[:4], "little") != threading.get_native_id() | WAITERS and deadline:
            select.select([], [], [], 0.01)
            deadline -= 1
        assert deadline
    lock.release()


@pytest.mark.parametrize(
    ("size", "seals", "match"),
    [
        (4096, fcntl.F_SEAL_GROW, "sealed"),
        (0, fcntl.F_SEAL_SHRINK, "0 bytes"),
        (2048, fcntl.F_SEAL_SHRINK, "2048 bytes"),
    ],
)
def test_memory_that_may_go_away_is_refused(watch, size, seals, match):
    fd = own_file(size, seals)
    with pytest.raises(ValueError, match=match):
        watch.add(fd)
    os.close(fd)


def test_what_is_no_memory_is_refused(watch, tmp_path):
    with open(tmp_path / "file", "w+b") as file, pytest.raises(ValueError, match="sealed"):
        watch.add(file.fileno())


def test_it_watches_127_and_has_room_again_when_one_goes(watch):
    fd = own_file()
    places = [watch.add(fd) for _ in range(127)]
    assert sorted(places) == list(range(127))
    with pytest.raises(CapacityError, match="127"):
        watch.add(fd)
    watch.remove(60)
    assert watch.add(fd) == 60
    with pytest.raises(ValueError, match="place 127"):
        watch.remove(127)
    os.close(fd)


def test_words_that_nobody_would_write_keep_nobody_busy_and_hide_no_death(watch):
    """Each word that changes for no reason is left alone; a lock beside them is told all the same."""
    fds = [own_file() for _ in range(5)]
    memories = [mmap.mmap(fd, 4096) for fd in fds]
    for value, memory in zip((0, 12345, 0x3FFFFFFF, WAITERS, WAITERS | 1), memories, strict=True):
        memory[:4] = value.to_bytes(4, "little")
    for fd in fds:
        watch.add(fd)
    for memory in memories:
        memory[:4] = (777).to_bytes(4, "little")
    lock = in_thread(RobustLock)
    place = watch.add(lock.fd)
    assert told(watch) == [place]
    for memory, fd in zip(memories, fds, strict=True):
        memory.close()
        os.close(fd)
    lock.release()


def test_many_deaths_at_once_are_all_told(watch):
    stop = threading.Event()
    locks = []

    def hold():
        locks.append(RobustLock())
        stop.wait()

    threads = [threading.Thread(target=hold) for _ in range(40)]
    for thread in threads:
        thread.start()
    while len(locks) < 40:
        select.select([], [], [], 0.001)
    places = {watch.add(lock.fd) for lock in locks}
    stop.set()
    found = set()
    while found != places:
        found |= set(told(watch))
    for thread in threads:
        thread.join()
    for lock in locks:
        lock.release()


def test_a_closed_watch_takes_none_and_closes_twice():
    watch = RobustWatch()
    fd = own_file()
    watch.add(fd)
    watch.close()
    watch.close()
    with pytest.raises(CapacityError, match="closed"):
        watch.add(fd)
    os.close(fd)
