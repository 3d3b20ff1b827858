"""Messages of any length through a ring: to the last slot, between processes, from liars."""

import os
import random
import struct

import numpy as np
import pytest

from engine.core.errors import RingCorrupt
from engine.core.frames import Frames
from engine.core.ring import Bell, Ring

HEADER = struct.Struct("<IHH")


def pair(capacity=16, slot=16):
    ring = Ring(capacity, slot)
    return Frames(ring), Frames(ring)


def test_a_message_comes_out_as_it_went_in():
    producer, consumer = pair()
    assert consumer.take() == []
    assert producer.send(7, b"body", b"head")
    assert producer.send(0, b"")
    assert consumer.take() == [(7, b"head", b"body"), (0, b"", b"")]
    assert consumer.take() == []


def test_at_most_so_many_are_taken():
    producer, consumer = pair()
    for tag in range(5):
        assert producer.send(tag, b"")
    assert [tag for tag, _, _ in consumer.take(2)] == [0, 1]
    assert [tag for tag, _, _ in consumer.take(0)] == []
    assert [tag for tag, _, _ in consumer.take()] == [2, 3, 4]


def test_what_is_too_long_is_an_error_and_what_has_no_room_an_answer():
    producer, consumer = pair(capacity=16, slot=16)
    assert producer.longest == 4 * 16 - 8
    with pytest.raises(ValueError, match="at most 56"):
        producer.send(0, b"x" * 57)
    for _ in range(4):
        assert producer.send(0, b"x" * 56)
    assert not producer.send(0, b"")
    assert len(consumer.take()) == 4
    assert producer.send(0, b"")


def test_a_head_has_less_than_64_kib():
    producer, _ = pair(capacity=1 << 16, slot=16)
    with pytest.raises(ValueError, match="65535"):
        producer.send(0, b"", b"x" * 65_536)


def test_two_processes_lose_and_change_nothing(tmp_path):
    rng = random.Random(5)
    sizes = [rng.choice((0, 1, 55, 56, 57, 300, 3000)) for _ in range(3000)]
    bell = Bell.named(tmp_path / "bell")
    ring = Ring.create(tmp_path / "ring", 256, 64, bell=bell)
    child = os.fork()
    if child == 0:
        producer = Frames(Ring.attach(tmp_path / "ring", bell=Bell.named(tmp_path / "bell")))
        for number, size in enumerate(sizes):
            while not producer.send(number & 0xFFFF, bytes([number & 0xFF]) * size, b"%d" % number):
                pass
        os._exit(0)
    consumer, got = Frames(ring), []
    while len(got) < len(sizes):
        found = consumer.take()
        if not found:
            bell.wait((ring,), 5_000_000_000)
        got += found
    assert os.waitpid(child, 0)[1] == 0
    for number, (size, (tag, head, body)) in enumerate(zip(sizes, got, strict=True)):
        assert (tag, head, body) == (number & 0xFFFF, b"%d" % number, bytes([number & 0xFF]) * size)


@pytest.mark.parametrize(
    ("length", "head"), [(2**32 - 1, 0), (16 * 16 - 8 + 1, 0), (0, 1), (40, 41), (16, 0)]
)
def test_a_producer_that_lies_about_lengths_is_found_out(length, head):
    ring = Ring(16, 16)
    slot = np.zeros((1, 16), np.uint8)
    slot[0, : HEADER.size] = np.frombuffer(HEADER.pack(length, head, 0), np.uint8)
    assert ring.push_many(slot) == 1
    with pytest.raises(RingCorrupt, match="impossible length"):
        Frames(ring).take()


def test_any_bytes_at_all_are_a_message_or_corrupt():
    rng = np.random.default_rng(11)
    for _ in range(300):
        ring = Ring(16, 16)
        ring.push_many(rng.integers(0, 256, (int(rng.integers(1, 17)), 16), dtype=np.uint8))
        try:
            for tag, head, body in Frames(ring).take():
                assert len(head) + len(body) <= 16 * 16 - HEADER.size
                assert 0 <= tag < 65_536
        except RingCorrupt:
            pass
