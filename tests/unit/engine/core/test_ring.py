import contextlib
import multiprocessing
import os
import random
import struct
import threading
import time

import numpy as np
import pytest

from engine.core.errors import CapacityError, InvariantError, RingCorrupt
from engine.core.ring import Bell, Ring

HEAD, TAIL, LINE = 128, 256, 128
SLOTS = 4 * LINE


def numbers(records):
    return records[:, :8].copy().view("<u8").ravel().tolist()


def records(first, n, slot_size=16):
    out = np.zeros((n, slot_size), dtype=np.uint8)
    out[:, :8] = np.arange(first, first + n, dtype="<u8").view(np.uint8).reshape(n, 8)
    return out


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "ring")


def poke(path, offset, *words):
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(struct.pack(f"<{len(words)}Q", *words))


def test_what_goes_in_comes_out_in_order_and_padded():
    ring = Ring(4, 16)
    assert ring.push(b"a")
    assert ring.push(b"")
    assert ring.push(bytes(range(16)))
    assert len(ring) == 3
    out = ring.pop_many()
    assert out.tobytes() == b"a" + bytes(31) + bytes(range(16))
    assert len(ring) == 0
    assert ring.pop() is None


def test_full_is_an_answer_and_loses_nothing():
    ring = Ring(2, 16)
    assert ring.push(b"1")
    assert ring.push(b"2")
    assert not ring.push(b"3")
    assert ring.pop() == b"1" + bytes(15)
    assert ring.push(b"4")
    assert [bytes(row[:1]) for row in ring.pop_many()] == [b"2", b"4"]


def test_batches_wrap_around_the_end():
    ring = Ring(8, 16)
    sent = taken = 0
    for n in (5, 7, 3, 8, 1, 6, 8, 8, 2):
        accepted = ring.push_many(records(sent, n))
        assert accepted == min(n, 8 - (sent - taken))
        sent += accepted
        got = numbers(ring.pop_many(max=5))
        assert got == list(range(taken, taken + len(got)))
        taken += len(got)
        ring.check_invariants()
    assert len(ring) == sent - taken


def test_pop_many_returns_a_copy():
    ring = Ring(2, 16)
    ring.push(b"1")
    out = ring.pop_many()
    ring.push(b"2")
    ring.push(b"3")
    assert out.tobytes() == b"1" + bytes(15)


@pytest.mark.parametrize(
    ("capacity", "slot_size"),
    [(0, 16), (3, 16), (-4, 16), (4, 0), (4, 12), (4, 65544), (2**33, 16), (2**70, 16)],
)
def test_bad_sizes_are_refused(capacity, slot_size, path):
    with pytest.raises(CapacityError, match="power of two"):
        Ring(capacity, slot_size)
    with pytest.raises(CapacityError, match="power of two"):
        Ring.create(path, capacity, slot_size)
    assert not os.path.exists(path)


def test_a_record_that_does_not_fit_is_refused():
    ring = Ring(2, 16)
    with pytest.raises(ValueError, match="17 bytes"):
        ring.push(bytes(17))
    with pytest.raises(ValueError, match="slots of 16"):
        ring.push_many(np.zeros((1, 8), dtype=np.uint8))
    assert len(ring) == 0


def test_a_closed_ring_says_so():
    ring = Ring(2, 16)
    ring.close()
    ring.close()
    for use in (ring.pop, ring.pop_many, lambda: ring.push(b"1"), lambda: len(ring), lambda: ring.capacity):
        with pytest.raises(ValueError, match="closed"):
            use()


def test_both_ends_of_a_shared_ring_see_each_other(path):
    producer = Ring.create(path, 4, 16)
    consumer = Ring.attach(path)
    assert (consumer.capacity, consumer.slot_size) == (4, 16)
    assert producer.push_many(records(0, 4)) == 4
    assert not producer.push(b"5")
    assert numbers(consumer.pop_many(3)) == [0, 1, 2]
    assert producer.push_many(records(4, 4)) == 3
    assert numbers(consumer.pop_many()) == [3, 4, 5, 6]


def test_a_restarted_producer_goes_on_where_the_first_one_stopped(path):
    producer = Ring.create(path, 8, 16)
    consumer = Ring.attach(path)
    assert producer.cursor == 0
    assert producer.push_many(records(0, 3), cursor=100) == 3
    assert producer.push_many(records(3, 6), cursor=103) == 5
    assert producer.push_many(records(8, 6), cursor=108) == 0
    assert producer.cursor == 108
    producer.close()
    assert numbers(consumer.pop_many()) == list(range(8))
    again = Ring.attach(path)
    assert again.cursor == 108
    again.cursor = 7
    again.push(b"x")
    assert (again.cursor, Ring.attach(path).cursor) == (7, 7)
    consumer.consumer_cursor = 2**64 - 1
    assert again.consumer_cursor == 2**64 - 1


def test_the_cursor_belongs_to_what_is_published(path):
    """A producer killed between writing the new cursor and publishing leaves the old one in force."""
    producer = Ring.create(path, 8, 16)
    producer.push_many(records(0, 2), cursor=18)
    with open(path, "rb") as file:
        before = file.read()
    producer.push_many(records(2, 2), cursor=38)
    assert producer.cursor == 40
    # The head goes back by one word: as if the last store of spsc_publish_at had not happened.
    with open(path, "r+b") as file:
        file.seek(HEAD)
        file.write(before[HEAD : HEAD + 8])
    assert producer.cursor == 20
    assert len(producer) == 2


def test_create_replaces_an_old_file_and_leaves_its_users_alone(path):
    old = Ring.create(path, 4, 16)
    old.push(b"old")
    new = Ring.create(path, 8, 16)
    assert (len(old), len(new), Ring.attach(path).capacity) == (1, 0, 8)
    assert os.listdir(os.path.dirname(path)) == [os.path.basename(path)]
    assert os.stat(path).st_mode & 0o777 == 0o600
    new.unlink()
    new.unlink()
    with pytest.raises(FileNotFoundError):
        Ring.attach(path)


def test_no_room_is_an_error_and_not_a_bus_error(path):
    with pytest.raises(CapacityError, match="no room"):
        Ring.create(path, 2**32, 65536)
    assert os.listdir(os.path.dirname(path)) == []


@pytest.mark.parametrize(
    ("offset", "word"),
    [(0, 0), (8, 2 | 16 << 32), (8, 1 | 12 << 32), (16, 3), (16, 0), (16, 2**40), (HEAD, 5), (TAIL, 1)],
)
def test_attach_refuses_a_header_that_cannot_be_right(path, offset, word):
    Ring.create(path, 4, 16)
    poke(path, offset, word)
    with pytest.raises(RingCorrupt, match="corrupt"):
        Ring.attach(path)


@pytest.mark.parametrize("size", [0, 100, 512, SLOTS + 4 * 16 - 1])
def test_attach_refuses_a_short_file(path, size):
    Ring.create(path, 4, 16)
    os.truncate(path, size)
    with pytest.raises(RingCorrupt):
        Ring.attach(path)


@pytest.mark.parametrize(("head", "tail"), [(5, 0), (2**63, 0), (0, 1), (0, 2**64 - 5)])
def test_hostile_indices_are_noticed_by_the_consumer(path, head, tail):
    ring = Ring.create(path, 4, 16)
    poke(path, HEAD, head)
    poke(path, TAIL, tail)
    for use in (ring.pop, ring.pop_many, lambda: len(ring)):
        with pytest.raises(RingCorrupt):
            use()
    with pytest.raises(InvariantError):
        ring.check_invariants()
    # A consumer must not sleep on a ring whose corruption it has not seen.
    assert not Bell().arm([ring])


@pytest.mark.parametrize(("head", "tail"), [(5, 0), (2**63, 0), (7, 2**64 - 1)])
def test_hostile_indices_are_noticed_by_the_producer(path, head, tail):
    ring = Ring.create(path, 4, 16)
    poke(path, HEAD, head)
    poke(path, TAIL, tail)
    with pytest.raises(RingCorrupt):
        ring.push(b"x")
    with pytest.raises(RingCorrupt):
        ring.push_many(records(0, 2))


def test_whatever_the_indices_say_only_the_ring_s_memory_is_touched(path):
    """A peer that changes indices at random between operations may confuse us, but nothing worse."""
    rng = random.Random(1)
    ring = Ring.create(path, 4, 16)
    interesting = [0, 1, 3, 4, 5, 8, 2**32, 2**63, 2**64 - 1, 2**64 - 4]
    for _ in range(3_000):
        poke(path, rng.choice([HEAD, TAIL]), rng.choice(interesting))
        use = rng.choice(
            [ring.pop, ring.pop_many, lambda: ring.push(b"x"), lambda: ring.push_many(records(0, 3))]
        )
        with contextlib.suppress(RingCorrupt):
            use()


def test_indices_may_pass_the_end_of_64_bits(path):
    ring = Ring.create(path, 4, 16)
    poke(path, HEAD, 2**64 - 2)
    poke(path, TAIL, 2**64 - 2)
    assert ring.push_many(records(0, 5)) == 4
    assert numbers(ring.pop_many()) == [0, 1, 2, 3]
    ring.check_invariants()


def test_dropped_is_counted_where_both_sides_see_it(path):
    ring = Ring.create(path, 4, 16)
    ring.drop()
    ring.drop(4)
    assert Ring.attach(path).dropped == 5


def test_bell_wakes_only_for_something():
    bell = Bell()
    a, b = Ring(4, 16, bell=bell), Ring(4, 16, bell=bell)
    assert not bell.wait([a, b], 0)
    assert not bell.wait([a, b], 1_000_000)
    b.push(b"1")
    assert bell.wait([a, b])
    b.pop()
    bell.ring()
    assert not bell.wait([a, b], 10**12)


def test_arm_and_disarm_serve_a_foreign_poller():
    import select

    bell = Bell()
    ring = Ring(4, 16, bell=bell)
    poller = select.poll()
    poller.register(bell.fd, select.POLLIN)
    assert bell.arm([ring])
    assert poller.poll(0) == []
    ring.push(b"1")
    assert poller.poll(0) != []
    bell.disarm([ring])
    assert poller.poll(0) == []
    assert not bell.arm([ring])
    ring.pop()
    ring.push(b"2")
    assert poller.poll(0) == []


def test_a_bell_nobody_answers_never_blocks_the_producer():
    bell = Bell()
    ring = Ring(4, 16, bell=bell)
    assert bell.arm([ring])
    for _ in range(100_000):
        bell.ring()
    assert ring.push(b"1")
    bell.disarm([ring])
    assert not bell.wait([Ring(4, 16)], 0)


def test_a_named_bell_refuses_what_is_no_fifo(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(RingCorrupt, match="not a FIFO"):
        Bell.named(tmp_path / "file")
    bell = Bell.named(tmp_path / "bell")
    Bell.named(tmp_path / "bell").ring()
    assert not bell.wait([], 10**12)
    bell.unlink()
    assert not (tmp_path / "bell").exists()


def test_too_many_rings_for_a_bell_are_refused():
    with pytest.raises(ValueError, match="at most 32"):
        Bell().wait([Ring(1, 8) for _ in range(33)])


LOST = 20


def drain(bell, rings, n):
    """Takes n records, sleeping whenever there are none; a lost wake-up shows as a sleep without end."""
    out = [[] for _ in rings]
    while sum(map(len, out)) < n:
        start = time.monotonic()
        bell.wait(rings, LOST * 10**9)
        assert time.monotonic() - start < LOST, "records were published and nobody woke the consumer"
        for ring, taken in zip(rings, out, strict=True):
            taken.extend(numbers(ring.pop_many()))
    return out


def _produce(paths, bell_path, n):
    bell = Bell.named(bell_path)
    rings = [Ring.attach(path, bell=bell) for path in paths]
    for i in range(n):
        ring = rings[i % len(rings)]
        assert ring.push(struct.pack("<Q", i))
        # Nothing follows until the consumer is done: the next record would make a lost wake-up good.
        while len(ring):
            os.sched_yield()


def test_no_wake_up_is_lost_between_two_processes(tmp_path):
    """Every record finds a consumer about to sleep, and a lost wake-up would stop the exchange for good."""
    n, paths = 6_000, [str(tmp_path / name) for name in ("a", "b")]
    bell = Bell.named(tmp_path / "bell")
    rings = [Ring.create(path, 2, 16) for path in paths]
    context = multiprocessing.get_context("fork")
    producer = context.Process(target=_produce, args=(paths, str(tmp_path / "bell"), n))
    producer.start()
    seen = drain(bell, rings, n)
    producer.join(20)
    assert producer.exitcode == 0
    assert seen == [list(range(0, n, 2)), list(range(1, n, 2))]


def test_no_wake_up_is_lost_between_two_threads():
    bell = Bell()
    ring = Ring(8, 16, bell=bell)
    n = 5_000

    def produce():
        done = 0
        while done < n:
            done += ring.push_many(records(done, min(5, n - done)))

    thread = threading.Thread(target=produce)
    thread.start()
    (out,) = drain(bell, [ring], n)
    thread.join()
    assert out == list(range(n))
