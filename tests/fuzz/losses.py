"""Kills or stops an external strategy again and again on a real daemon, and times its cancels.

A fresh process joins as the strategy, rests orders and is killed (``kill -9``) or stopped (SIGSTOP) at a
random moment. In the step that takes in the loss the engine sends the cancels out; the journal has the time
at which it was taken in, by the clock that the campaign kills by. How long it takes until another client
hears that the engine has stopped the strategy is told as well.

    python -m tests.fuzz.losses --how kill --times 1000
    python -m tests.fuzz.losses --how stop --times 100
"""

from __future__ import annotations

import argparse
import os
import queue
import random
import signal
import subprocess
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from bridge import protocol as p
from bridge.client import connect
from engine.journal.reader import JournalReader
from engine.journal.wal import RecordType
from tests.kit.daemons import ROOT, SIMULATED, daemon, until
from tests.kit.patience import PATIENT

JOURNALLED = (
    SIMULATED
    + """
[journal]
dir = "{journals}"
"""
)
NAME = "victim"
SYMBOL = "BTCUSDT"
ORDERS = 3
SAID = 8


def _victim(endpoint: str, ready: int) -> None:
    """A strategy that rests some orders far from the market and waits for its end."""
    with connect(endpoint, role="trader", strategy_id=NAME, symbols=[SYMBOL], **PATIENT) as client:
        client.subscribe_depth(SYMBOL)
        until(lambda: client.book(SYMBOL).mid is not None, "a book")
        px = round(client.book(SYMBOL).mid * 0.9, 0)
        numbers = [client.submit(SYMBOL, "buy", px - i, 0.001) for i in range(ORDERS)]
        for number in numbers:
            client.wait_order(number, 20.0)
        os.write(ready, b"y")
        signal.pause()


def _fork(endpoint: str) -> int:
    """Forks a victim and waits until its orders rest; a fork saves the interpreter's start."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(read)
            _victim(endpoint, write)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        assert pipe.read(1) == b"y", "the victim did not come to trade"
    return pid


def victims(endpoint: str) -> None:
    """Forks a victim for each byte of standard input, and answers with its process id once its orders rest.

    Args:
        endpoint: The daemon's.
    """
    while sys.stdin.buffer.read(1):
        sys.stdout.buffer.write(_fork(endpoint).to_bytes(4, "little"))
        sys.stdout.buffer.flush()


class Watcher:
    """Another client, which hears of the strategy's end.

    Args:
        endpoint: The daemon's.
    """

    def __init__(self, endpoint: str) -> None:
        self.ended: queue.SimpleQueue[tuple[float, str]] = queue.SimpleQueue()
        self.reasons: Counter[str] = Counter()
        self.causes: Counter[str] = Counter()
        self.client = connect(endpoint, **PATIENT)
        self.client.on_message = self._hear

    def _hear(self, topic: str, message: object) -> None:
        if type(message) is p.StrategyStatus and message.strategy_id == NAME:
            self.ended.put((time.monotonic(), message.state))
        elif type(message) is p.OrderUpdate and message.strategy_id == NAME and message.status == "CANCELED":
            self.reasons[message.reason] += 1
        elif type(message) is p.Log and f"trader {NAME} " in message.text and " left: " in message.text:
            self.causes[message.text.split(" left: ")[1].partition(" (and ")[0]] += 1

    def await_end(self, seconds: float) -> float:
        """Waits until the engine has stopped the strategy; returns when it was heard of."""
        end = time.monotonic() + seconds
        while True:
            heard, state = self.ended.get(timeout=max(0.001, end - time.monotonic()))
            if state == "Stopped":
                return heard


def campaign(endpoint: str, how: str, times: int, seed: int) -> tuple[list[float], list[float], Watcher]:
    """Loses the strategy again and again.

    Args:
        endpoint: The daemon's.
        how: ``kill`` or ``stop``.
        times: How often.
        seed: Of the moments.

    Returns:
        When each was lost, by the steady clock, the seconds until another client heard of it, and that one.
    """
    rng = random.Random(seed)
    # Forks come from a process without threads; here there are a watcher's, and what other tests have left.
    command = [sys.executable, "-c", f"from tests.fuzz.losses import victims; victims({endpoint!r})"]
    server = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert server.stdin is not None
    assert server.stdout is not None
    moments: list[float] = []
    heard: list[float] = []
    watcher = Watcher(endpoint)
    with watcher.client as client:
        client.subscribe(p.STRATEGIES_TOPIC, p.ORDERS_TOPIC, p.LOG_TOPIC)
        until(lambda: not client.stale(p.STRATEGIES_TOPIC), "a snapshot")
        try:
            for _ in range(times):
                server.stdin.write(b"x")
                server.stdin.flush()
                pid = int.from_bytes(server.stdout.read(4), "little")
                assert pid, "the victim did not come to trade"
                time.sleep(rng.uniform(0.0, 0.02 if how == "kill" else 0.2))
                moments.append(time.monotonic())
                os.kill(pid, signal.SIGKILL if how == "kill" else signal.SIGSTOP)
                heard.append(watcher.await_end(20.0) - moments[-1])
                if how == "stop":
                    os.kill(pid, signal.SIGKILL)
            # The next victim's hello cancels what is still on its way once more, with a reason of its own.
            until(lambda: sum(watcher.reasons.values()) == ORDERS * times, "all cancels")
            # Of very many joins and leaves the log tells some, and how many more there were.
            until(lambda: sum(watcher.causes.values()) >= min(times, SAID), "goodbyes in the log")
        finally:
            server.kill()
            server.stdin.close()
            server.stdout.close()
            server.wait()
    return moments, heard, watcher


def taken_in(journals: Path) -> list[float]:
    """When the engine took in each loss of the strategy, seconds of the steady clock.

    Args:
        journals: The daemon's directory of journals, of one run.
    """
    (directory,) = journals.iterdir()
    return [
        record.t_mono / 1e9
        for record in JournalReader(directory)
        if record.type == RecordType.CONTROL and b"disconnect" in record.body and NAME.encode() in record.body
    ]


def _spread(seconds: Iterable[float]) -> str:
    ranked = sorted(seconds)
    return ", ".join(
        f"{name} {1e3 * ranked[min(len(ranked) - 1, int(share * len(ranked)))]:.2f} ms"
        for name, share in (("p50", 0.5), ("p99", 0.99), ("most", 1.0))
    )


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--how", choices=("kill", "stop"), default="kill")
    parser.add_argument("--times", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with daemon() as one:
        journals = one.folder / "journals"
        one.config.write_text(JOURNALLED.format(name=one.name, journals=journals))
        one.environment["RINGBOOK__BRIDGE__HEARTBEAT_MISSES"] = str(p.HEARTBEAT_MISSES)
        one.start()
        moments, heard, watcher = campaign(f"ipc://{one.run_path}", options.how, options.times, options.seed)
        until(lambda: len(taken_in(journals)) == options.times, "the journal of all losses")
        losses = taken_in(journals)
    out = _spread(then - lost for lost, then in zip(moments, losses, strict=True))
    print(f"{options.how}, {len(moments)} times: cancels out after {out}; {dict(watcher.causes)}")
    print(f"heard of by another client after {_spread(heard)}")


if __name__ == "__main__":
    main()
