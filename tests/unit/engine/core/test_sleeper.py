"""Waiting for rings and descriptors at once."""

import itertools
import os
import random
import select
import threading
import time

import pytest

from engine.core.ring import Bell, Ring
from engine.core.sleeper import MOST_LEFT_OUT, Lookout, Sleeper

SLOT = bytes(256)
LONG = 20.0


class Room:
    """A sleeper with the bell of some rings, another bell of another's ring, and a pipe."""

    def __init__(self, rings=2, spin_ns=0):
        self.bell, self.other = Bell(), Bell()
        self.rings = tuple(Ring(8, bell=self.bell) for _ in range(rings))
        self.more = (Ring(8, bell=self.other),)
        self.epoll = select.epoll()
        self.read, self.write = os.pipe()
        for fd in (self.bell.fd, self.other.fd, self.read):
            self.epoll.register(fd, select.EPOLLIN)
        self.lookout = Lookout(spin_ns)
        self.sleeper = Sleeper(self.epoll.fileno(), self.bell, self.lookout)

    def sleep(self, timeout_s=LONG, look=False, waking=0xFFFFFFFF):
        return self.sleeper.sleep(self.rings, waking, self.more, (self.other.fd,), timeout_s, look)

    def rung(self, bell):
        return bool(select.select([bell.fd], [], [], 0)[0])


def later(call):
    timer = threading.Timer(0.05, call)
    timer.start()
    return timer


def test_a_push_wakes_and_the_bell_is_silent_afterwards():
    room = Room()
    timer = later(lambda: room.rings[1].push(SLOT))
    assert room.sleep() == []
    timer.join()
    assert (room.sleeper.filled, room.sleeper.more_filled) == (2, False)
    assert not room.rung(room.bell)
    # Awake, nobody rings it.
    room.rings[0].push(SLOT)
    assert not room.rung(room.bell)
    assert room.sleep() == []
    assert room.sleeper.filled == 3


def test_another_ring_wakes_too():
    room = Room()
    timer = later(lambda: room.more[0].push(SLOT))
    assert room.sleep() == []
    timer.join()
    assert (room.sleeper.filled, room.sleeper.more_filled) == (0, True)
    assert not room.rung(room.other)


def test_a_bell_that_nobody_has_named_is_a_descriptor_like_others():
    room = Room()
    timer = later(room.other.ring)
    assert room.sleeper.sleep(room.rings, 3, room.more, (), LONG, False) == [room.other.fd]
    timer.join()
    assert room.rung(room.other)
    assert room.sleep() == []
    assert not room.rung(room.other)


def test_a_descriptor_wakes():
    room = Room()
    timer = later(lambda: os.write(room.write, b"x"))
    assert room.sleep() == [room.read]
    timer.join()
    assert (room.sleeper.filled, room.sleeper.more_filled) == (0, False)


def test_nobody_sleeps_beside_a_full_ring_but_descriptors_are_looked_at():
    room = Room()
    room.more[0].push(SLOT)
    os.write(room.write, b"x")
    assert room.sleep() == [room.read]
    assert room.sleeper.more_filled
    room.more[0].pop()
    assert room.sleep(0.0) == room.sleep(-1.0) == [room.read]
    assert not room.sleeper.more_filled


def test_a_ring_that_is_not_to_wake_rings_no_bell_and_is_told_of():
    room = Room(spin_ns=1000)
    room.rings[1].push(SLOT)
    # Neither what it has nor what comes keeps anybody from sleeping.
    assert room.sleep(0.01, waking=1, look=True) == []
    assert room.sleeper.filled == 2
    timer = later(lambda: room.rings[1].push(SLOT))
    assert room.sleep(0.2, waking=1) == []
    timer.join()
    assert room.sleeper.filled == 2
    assert not room.sleeper.rung
    timer = later(lambda: room.rings[0].push(SLOT))
    assert room.sleep(waking=1) == []
    timer.join()
    assert room.sleeper.filled == 3
    assert room.sleeper.rung


def test_it_sleeps_no_longer_than_it_may():
    room = Room()
    for timeout_s in (0.0001, 0.02):
        assert room.sleep(timeout_s) == []
        assert (room.sleeper.filled, room.sleeper.more_filled) == (0, False)


def test_no_push_before_or_during_a_sleep_is_overlooked():
    room, rng, total = Room(rings=3), random.Random(3), 3000
    taken = 0

    def produce():
        for _ in range(total):
            ring = rng.choice((*room.rings, *room.more))
            while not ring.push(SLOT):
                pass

    producer = threading.Thread(target=produce, daemon=True)
    producer.start()
    while taken < total:
        began = time.monotonic()
        # A bell may still ring for what was taken already: then nothing is there.
        room.sleep()
        assert time.monotonic() - began < LONG, "slept beside what was there"
        assert all(len(room.rings[place]) for place in range(3) if room.sleeper.filled >> place & 1)
        assert len(room.more[0]) or not room.sleeper.more_filled
        for ring in (*room.rings, *room.more):
            while ring.pop() is not None:
                taken += 1
    producer.join()


def test_looking_first_finds_what_comes_without_a_bell():
    room = Room(spin_ns=5_000_000_000)
    timer = later(lambda: room.rings[0].push(SLOT))
    assert room.sleep(look=True) == []
    timer.join()
    assert room.sleeper.filled == 1
    assert room.lookout.looked == 1
    room.rings[0].pop()
    # Who may not sleep does not look either.
    room.sleep(0.0, look=True)
    assert room.lookout.looked == 1


def test_too_many_rings_and_a_closed_one_are_refused():
    room = Room()
    ring = Ring(2)
    for rings, more in (([ring] * 33, []), ([], [ring] * 33)):
        with pytest.raises(ValueError, match="32"):
            room.sleeper.sleep(rings, 0, more, (), 0.0, False)
    assert room.sleeper.sleep([ring] * 32, 0, [ring] * 32, (), 0.0, False) == []
    ring.close()
    with pytest.raises(ValueError, match="closed"):
        room.sleeper.sleep([ring], 0, [], (), 0.0, False)


def test_looking_ends_when_something_comes_or_time_is_up():
    ring = Ring(16)
    assert not Lookout(1000).look((ring,))
    ring.push(SLOT)
    assert Lookout(0).look((ring,))
    ring.pop()
    timer = later(lambda: ring.push(SLOT))
    assert Lookout(5_000_000_000).look((ring,))
    timer.join()


def test_looking_in_vain_is_left_out_more_and_more_until_it_pays():
    finds, looked = [False] * 9 + [True] * 3 + [False] * 3, []
    empty, full = Ring(2), Ring(2)
    full.push(SLOT)
    lookout = Lookout(0)
    for turn in itertools.count():
        if len(looked) == len(finds):
            break
        found = lookout.look((full if finds[len(looked)] else empty,))
        if lookout.looked > len(looked):
            assert found == finds[len(looked)]
            looked.append(turn)
        else:
            assert not found
    gaps = [two - one for one, two in itertools.pairwise(looked)]
    # The first in vain is forgiven. Then it is done again after 1, 3, 7, ... turns; at most after so many.
    in_vain = [min(2**n, MOST_LEFT_OUT + 1) for n in range(1, 9)]
    assert gaps == [1, *in_vain, 1, 1, 1, 1, 2]
