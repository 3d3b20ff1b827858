"""Our ring against what Python has: queues and deques in one process, queues and pipes between two.

Run with ``python -m benchmarks.bench_ring`` from the project's root.
"""

from __future__ import annotations

import multiprocessing
import queue
import sys
import tempfile
from collections import deque
from contextlib import ExitStack
from pathlib import Path

import numpy as np

if not __package__:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.harness import arguments, compare, report
from engine.core.ring import Bell, Ring

SLOT = 256
BATCH = 256
RECORD = bytes(SLOT)
BLOCK = np.zeros((BATCH, SLOT), np.uint8)
LOCAL_RECORDS = 100 * BATCH
REMOTE_RECORDS = 40 * BATCH
PINGS = 1000


def ring_batches() -> int:
    """A ring, drained in batches by its own thread."""
    ring = Ring(BATCH, SLOT)
    for _ in range(LOCAL_RECORDS // BATCH):
        ring.push_many(BLOCK)
        ring.pop_many()
    return LOCAL_RECORDS


def ring_singly() -> int:
    """A ring, a record at a time."""
    ring = Ring(BATCH, SLOT)
    for _ in range(LOCAL_RECORDS):
        ring.push(RECORD)
        ring.pop()
    return LOCAL_RECORDS


def deque_batches() -> int:
    """A deque, filled and emptied in the same batches; it stores references, it copies nothing."""
    items: deque[bytes] = deque(maxlen=BATCH)
    batch = [RECORD] * BATCH
    for _ in range(LOCAL_RECORDS // BATCH):
        items.extend(batch)
        for _ in range(BATCH):
            items.popleft()
    return LOCAL_RECORDS


def queue_singly() -> int:
    """queue.Queue, what threads use, a record at a time."""
    items: queue.Queue[bytes] = queue.Queue(BATCH)
    for _ in range(LOCAL_RECORDS):
        items.put(RECORD)
        items.get()
    return LOCAL_RECORDS


def _ring_child(directory: str, echo: bool) -> None:
    bells = [Bell.named(f"{directory}/{name}") for name in ("there-bell", "back-bell")]
    there, back = Ring.attach(f"{directory}/there"), Ring.attach(f"{directory}/back", bell=bells[1])
    taken = 0
    while True:
        bells[0].wait([there])
        records = there.pop_many()
        if len(records) and records[0, 0]:
            return
        taken += len(records)
        if echo and len(records):
            back.push_many(records)
        elif taken >= REMOTE_RECORDS:
            taken -= REMOTE_RECORDS
            back.push(RECORD)


class RingPeer:
    """A process that drains one shared ring and answers on another."""

    def __init__(self, directory: str, *, echo: bool) -> None:
        bells = [Bell.named(f"{directory}/{name}") for name in ("there-bell", "back-bell")]
        self.there = Ring.create(f"{directory}/there", 4096, SLOT, bell=bells[0])
        self.back = Ring.create(f"{directory}/back", 4096, SLOT)
        self.bell = bells[1]
        self.process = multiprocessing.get_context("fork").Process(
            target=_ring_child, args=(directory, echo), daemon=True
        )
        self.process.start()

    def answer(self) -> None:
        """Waits for one record."""
        while self.back.pop() is None:
            self.bell.wait([self.back])

    def send(self) -> int:
        """Sends all records in batches and waits until the peer has them."""
        sent = 0
        while sent < REMOTE_RECORDS:
            sent += self.there.push_many(BLOCK)
        self.answer()
        return REMOTE_RECORDS

    def ping(self) -> int:
        """Sends a record and waits for it to come back, many times."""
        for _ in range(PINGS):
            self.there.push(RECORD)
            self.answer()
        return PINGS

    def __enter__(self) -> RingPeer:
        return self

    def __exit__(self, *exc: object) -> None:
        self.there.push(b"\1")
        self.process.join()


def _queue_child(there, back) -> None:
    while True:
        for _ in range(REMOTE_RECORDS):
            if there.get() is None:
                return
        back.put(RECORD)


class QueuePeer:
    """A process that drains a multiprocessing.Queue and answers on another."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("fork")
        self.there, self.back = context.Queue(4096), context.Queue()
        self.process = context.Process(target=_queue_child, args=(self.there, self.back), daemon=True)
        self.process.start()

    def send(self) -> int:
        """Sends all records and waits until the peer has them."""
        for _ in range(REMOTE_RECORDS):
            self.there.put(RECORD)
        self.back.get()
        return REMOTE_RECORDS

    def __enter__(self) -> QueuePeer:
        return self

    def __exit__(self, *exc: object) -> None:
        self.there.put(None)
        self.process.join()


def _pipe_child(end) -> None:
    while record := end.recv_bytes():
        end.send_bytes(record)


class PipePeer:
    """A process that echoes what comes through a multiprocessing.Pipe."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("fork")
        self.end, other = context.Pipe()
        self.process = context.Process(target=_pipe_child, args=(other,), daemon=True)
        self.process.start()

    def ping(self) -> int:
        """Sends a record and waits for it to come back, many times."""
        for _ in range(PINGS):
            self.end.send_bytes(RECORD)
            self.end.recv_bytes()
        return PINGS

    def __enter__(self) -> PipePeer:
        return self

    def __exit__(self, *exc: object) -> None:
        self.end.send_bytes(b"")
        self.process.join()


def main() -> None:
    """Runs all cases and prints them."""
    args = arguments("Ring against deque, queue.Queue, multiprocessing.Queue and Pipe; 256-byte records.")
    results = [
        compare("one thread, batches of 256", ("Ring", ring_batches), ("deque", deque_batches), args.rounds),
        compare("one thread, one by one", ("Ring", ring_singly), ("queue.Queue", queue_singly), args.rounds),
    ]
    shared = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with ExitStack() as stack:
        directories = [stack.enter_context(tempfile.TemporaryDirectory(dir=shared)) for _ in range(2)]
        sink = stack.enter_context(RingPeer(directories[0], echo=False))
        mirror = stack.enter_context(RingPeer(directories[1], echo=True))
        other_sink = stack.enter_context(QueuePeer())
        other_mirror = stack.enter_context(PipePeer())
        results += [
            compare(
                "two processes, one way",
                ("Ring", sink.send),
                ("multiprocessing.Queue", other_sink.send),
                args.rounds,
            ),
            compare(
                "two processes, there and back",
                ("Ring and Bell", mirror.ping),
                ("multiprocessing.Pipe", other_mirror.ping),
                args.rounds,
            ),
        ]
    report("ring", results, as_json=args.json)


if __name__ == "__main__":
    main()
