"""A producer that is killed again and again, at any instruction, over one ring."""

import multiprocessing
import os
import random
import signal
import time

import numpy as np

from engine.core.ring import Bell, Ring

SLOT = 16


def produce(ring_path, bell_path):
    """Numbers its records from where the last one of its kind stopped."""
    ring = Ring.attach(ring_path, bell=Bell.named(bell_path))
    rng = random.Random(os.getpid())
    records = np.zeros((8, SLOT), np.uint8)
    while True:
        first = ring.cursor
        batch = records[: rng.randrange(1, 9)]
        batch[:, :8] = np.arange(first, first + len(batch), dtype="<u8").view(np.uint8).reshape(-1, 8)
        ring.push_many(batch, cursor=first)


def test_every_record_comes_exactly_once_whoever_is_killed(tmp_path):
    ring_path, bell_path = str(tmp_path / "ring"), str(tmp_path / "bell")
    bell = Bell.named(bell_path)
    ring = Ring.create(ring_path, 32, SLOT)
    context = multiprocessing.get_context("fork")
    rng = random.Random(11)
    taken = 0
    for _ in range(40):
        producer = context.Process(target=produce, args=(ring_path, bell_path), daemon=True)
        producer.start()
        goal = taken + rng.randrange(1, 400)
        while taken < goal:
            start = time.monotonic()
            bell.wait([ring], 20 * 10**9)
            assert time.monotonic() - start < 20, "the producer's successor does not go on"
            numbers = ring.pop_many(rng.randrange(1, 40))[:, :8].copy().view("<u8").ravel()
            assert numbers.tolist() == list(range(taken, taken + len(numbers)))
            taken += len(numbers)
        os.kill(producer.pid, signal.SIGKILL)
        producer.join(20)
        assert producer.exitcode == -signal.SIGKILL
        ring.check_invariants()
        assert ring.cursor == taken + len(ring)
