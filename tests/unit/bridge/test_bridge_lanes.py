"""Lanes of shared memory: both ends, who may have one, and clients that die, lie or sleep."""

import array
import contextlib
import fcntl
import logging
import os
import resource
import select
import socket
import threading
import time

import pytest
import zmq

from bridge import protocol as p
from bridge.errors import BridgeError
from bridge.lane import GREETING, ORDERS, SUBSCRIBE, UNSUBSCRIBE, Lane, memory
from bridge.lanes import MAX_LANES, Lanes
from engine.core.ring import Bell, Ring
from engine.core.sleeper import Lookout, Sleeper

LOG = logging.getLogger("test")


@pytest.fixture
def base(tmp_path):
    return f"ipc://{tmp_path}"


class Bridge:
    """The bridge's end, with what it was told."""

    def __init__(self, base):
        self.subscribed = []
        self.epoll = select.epoll()
        self.lanes = Lanes(
            base,
            lambda prefix, on: self.subscribed.append((prefix, on)),
            lambda bell: self.epoll.register(bell, select.EPOLLIN),
            LOG,
        )
        self.got = []
        self.bell = Bell()
        self.epoll.register(self.lanes.fileno(), select.EPOLLIN)
        self.sleeper = Sleeper(self.epoll.fileno(), self.bell, Lookout(0))

    def sleep(self, timeout_s):
        return self.sleeper.sleep((), 0, self.lanes.rings, self.lanes.bells, timeout_s, False)

    def turn(self):
        self.lanes.look()
        self.lanes.receive(lambda identity, frame: self.got.append((identity, frame)))

    def until(self, condition, seconds=5.0):
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline
            self.turn()


@pytest.fixture
def bridge(base):
    bridge = Bridge(base)
    yield bridge
    bridge.lanes.close()


@pytest.fixture
def lane(base, bridge):
    lane = Lane(p.lane_path(base))
    yield lane
    lane.close()


def taken(end):
    out = []
    while True:
        try:
            out.append(end.recv_multipart(zmq.DONTWAIT))
        except zmq.Again:
            return out


def test_messages_go_both_ways_byte_by_byte(bridge, lane):
    orders, market = lane.ends["orders"], lane.ends["market"]
    orders.send(b"hello")
    orders.send(b"\x00" * 3000)
    bridge.until(lambda: len(bridge.got) == 2)
    (identity, first), (same, second) = bridge.got
    assert (first, second, same) == (b"hello", b"\x00" * 3000, identity)
    assert bridge.lanes.has(identity)
    assert not bridge.lanes.has(b"\x00abcd")
    assert bridge.lanes.send(identity, b"welcome")
    assert taken(orders) == [[b"welcome"]]
    assert taken(market) == []


def test_a_stream_goes_to_those_who_want_its_topic(bridge, lane, base):
    market = lane.ends["market"]
    market.setsockopt(zmq.SUBSCRIBE, b"md.book.")
    bridge.until(lambda: bridge.subscribed)
    bridge.lanes.publish(b"md.book.BTCUSDT", b"1")
    bridge.lanes.publish(b"md.trades.BTCUSDT", b"2")
    assert taken(market) == [[b"md.book.BTCUSDT", b"1"]]
    other = Lane(p.lane_path(base))
    other.ends["market"].setsockopt(zmq.SUBSCRIBE, b"md.book.")
    other.ends["market"].setsockopt(zmq.SUBSCRIBE, b"md.book.")
    bridge.until(lambda: len(bridge.lanes) == 2)
    bridge.turn()
    market.setsockopt(zmq.UNSUBSCRIBE, b"md.book.")
    bridge.turn()
    assert bridge.subscribed == [("md.book.", True)]
    other.close()
    bridge.until(lambda: len(bridge.lanes) == 1)
    assert bridge.subscribed == [("md.book.", True), ("md.book.", False)]
    bridge.lanes.publish(b"md.book.BTCUSDT", b"3")
    assert taken(market) == []


def test_an_end_that_sleeps_is_rung(bridge, lane):
    bridge.until(lambda: len(bridge.lanes) == 1)
    assert lane.taken()
    assert bridge.sleep(0.01) == []
    timer = threading.Timer(0.05, lambda: lane.ends["orders"].send(b"x"))
    timer.start()
    assert bridge.sleep(20.0) == []
    timer.join()
    assert bridge.sleeper.more_filled
    bridge.turn()
    assert [frame for _, frame in bridge.got] == [b"x"]
    assert bridge.sleep(0.01) == []
    mine = zmq.Poller()
    mine.register(lane.fd, zmq.POLLIN)
    assert lane.arm()
    assert not mine.poll(0)
    assert bridge.lanes.send(bridge.got[0][0], b"answer")
    assert mine.poll(5000)
    lane.disarm()
    assert taken(lane.ends["orders"]) == [[b"answer"]]


def test_what_a_lane_had_or_was_sent_makes_it_busy_once(bridge, lane):
    bridge.until(lambda: len(bridge.lanes) == 1)
    assert not bridge.lanes.was_busy()
    lane.ends["orders"].send(b"hello")
    bridge.until(lambda: bridge.got)
    assert bridge.lanes.was_busy()
    assert not bridge.lanes.was_busy()
    # An answer may be answered.
    assert bridge.lanes.send(bridge.got[0][0], b"welcome")
    assert bridge.lanes.was_busy()
    assert not bridge.lanes.was_busy()


def test_a_client_that_dies_is_found_at_once(bridge, base):
    child = os.fork()
    if child == 0:
        lane = Lane(p.lane_path(base))
        lane.ends["orders"].send(b"from the child")
        time.sleep(60)
        os._exit(0)
    bridge.until(lambda: bridge.got)
    os.kill(child, 9)
    os.waitpid(child, 0)
    bridge.until(lambda: len(bridge.lanes) == 0)
    identity = bridge.got[0][0]
    assert not bridge.lanes.send(identity, b"nobody")
    assert bridge.lanes.longest(identity) == 0


def test_a_bridge_that_goes_is_seen(bridge, lane):
    bridge.until(lambda: len(bridge.lanes) == 1)
    assert not lane.is_cut()
    bridge.lanes.close()
    assert lane.is_cut()
    bridge.lanes = Lanes("tcp://127.0.0.1:1", lambda *_: None, lambda bell: None, LOG)


def test_who_reads_too_slowly_goes_without(bridge, lane):
    lane.ends["market"].setsockopt(zmq.SUBSCRIBE, b"")
    bridge.until(lambda: bridge.subscribed)
    frame = b"x" * 4000
    for _ in range(2000):
        bridge.lanes.publish(b"md.x", frame)
    got = taken(lane.ends["market"])
    assert 900 < len(got) < 1100
    assert all(message == [b"md.x", frame] for message in got)
    bridge.lanes.publish(b"md.x", b"again")
    assert taken(lane.ends["market"]) == [[b"md.x", b"again"]]


def test_what_waits_of_the_streams_may_be_thrown_away(bridge, lane):
    lane.ends["market"].setsockopt(zmq.SUBSCRIBE, b"")
    bridge.until(lambda: bridge.subscribed)
    for number in range(500):
        bridge.lanes.publish(b"md.x", b"%d" % number)
    assert lane.ends["market"].recv_multipart() == [b"md.x", b"0"]
    lane.ends["market"].skip()
    assert taken(lane.ends["market"]) == []
    bridge.lanes.publish(b"md.x", b"again")
    assert taken(lane.ends["market"]) == [[b"md.x", b"again"]]


def test_a_full_ring_is_answered_like_a_full_socket(lane):
    sent = 0
    with contextlib.suppress(zmq.Again):
        while sent < 100_000:
            lane.ends["orders"].send(b"x" * 1000)
            sent += 1
    assert 450 < sent < 550


def test_without_memory_a_client_is_told_as_if_nobody_listened(bridge, base):
    before = len(os.listdir("/proc/self/fd"))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, limits[1]))
    try:
        with pytest.raises(OSError, match="no room for a ring"):
            Lane(p.lane_path(base))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert len(os.listdir("/proc/self/fd")) == before


def test_what_is_too_long_for_a_ring_is_not_sent(bridge, lane):
    lane.ends["orders"].send(b"hi")
    bridge.until(lambda: bridge.got)
    identity = bridge.got[0][0]
    longest = bridge.lanes.longest(identity)
    assert longest > p.MAX_FRAME
    assert bridge.lanes.send(identity, b"x" * longest)
    assert taken(lane.ends["orders"]) == [[b"x" * longest]]
    assert not bridge.lanes.send(identity, b"x" * (longest + 1))


def files(slots=(1 << 13, 1 << 16, 1 << 16)):
    return [memory("test", n)[0] for n in slots]


def plain():
    """A ring in a file that may still be cut off under whoever has it mapped."""
    fd = os.memfd_create("plain", os.MFD_ALLOW_SEALING)
    Ring.create_in(fd, 1 << 13, 64)
    return fd


def noise():
    fd = os.memfd_create("noise", os.MFD_ALLOW_SEALING)
    os.write(fd, os.urandom(1 << 20))
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
    return fd


@pytest.mark.parametrize(
    "made",
    [
        lambda: (GREETING, files()[:2]),
        lambda: (GREETING, []),
        lambda: (b"ringbook lane 9\n", files()),
        lambda: (b"GET / HTTP/1.1\r\n", []),
        lambda: (GREETING, [plain(), *files()[1:]]),
        lambda: (GREETING, [noise(), *files()[1:]]),
        lambda: (GREETING, files((1 << 12, 1 << 16, 1 << 16))),
        lambda: (GREETING, [os.open("/dev/null", os.O_RDWR), *files()[1:]]),
        lambda: (GREETING, [os.pipe()[0], *files()[1:]]),
    ],
)
def test_who_does_not_greet_in_form_is_refused(bridge, base, made):
    text, descriptors = made()
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(p.lane_path(base))
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
    connection.sendmsg([text], rights)
    for descriptor in descriptors:
        os.close(descriptor)
    bridge.until(lambda: select.select([connection], [], [], 0)[0])
    assert len(bridge.lanes) == 0
    assert connection.recv(1) == b""
    connection.close()


def test_a_client_that_writes_nonsense_loses_its_lane_and_nobody_else_does(bridge, lane, base):
    good = Lane(p.lane_path(base))
    good.ends["orders"].send(b"fine")
    bridge.until(lambda: len(bridge.lanes) == 2)
    lane.up.ring.push(b"\xff" * 64)
    bridge.until(lambda: len(bridge.lanes) == 1)
    assert [frame for _, frame in bridge.got] == [b"fine"]
    assert bridge.lanes.send(bridge.got[0][0], b"still here")
    assert taken(good.ends["orders"]) == [[b"still here"]]
    good.close()


def test_tags_that_nobody_knows_and_topics_without_end_are_nothing(bridge, lane):
    lane.send(99, b"what")
    for number in range(2000):
        lane.send(SUBSCRIBE, b"%d" % number)
    lane.send(UNSUBSCRIBE, b"never wanted")
    lane.send(ORDERS, b"end")
    bridge.until(lambda: bridge.got)
    assert [frame for _, frame in bridge.got] == [b"end"]
    assert len(bridge.subscribed) == 1024


def test_there_are_only_so_many(bridge, base):
    lanes = []
    for _ in range(MAX_LANES + 3):
        lanes.append(Lane(p.lane_path(base)))
        bridge.turn()
    bridge.turn()
    assert len(bridge.lanes) == MAX_LANES
    for lane in lanes:
        lane.close()
    bridge.until(lambda: len(bridge.lanes) == 0)


def test_without_a_directory_there_are_none(tmp_path):
    assert p.lane_path("tcp://127.0.0.1:1") == ""
    assert p.lane_path("shm:///run/x/") == "/run/x/lane.sock"
    lanes = Lanes("tcp://127.0.0.1:1", lambda *_: None, lambda bell: None, LOG)
    assert lanes.rings == ()
    lanes.close()
    with pytest.raises(BridgeError, match=r"lane\.sock"):
        Lanes(f"ipc://{tmp_path}/missing", lambda *_: None, lambda bell: None, LOG)
    with pytest.raises(OSError):
        Lane(p.lane_path(f"ipc://{tmp_path}"))
