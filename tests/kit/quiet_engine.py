"""Whether a daemon's engine notices what goes on around it: its own step times, with and without that.

The engine has a CPU of its own but for its feed, which is there so that it cannot be late because of what is
measured; everything else shares the others. Short slices with and without a load follow each other in a
random order, and each is compared with its neighbour: what drifts on the machine is in both. Two more slices
of each round tell what the load is not to blame for: another one without it, and one beside a stranger, a
process that has nothing to do with the daemon and keeps the other CPU busy. CPUs may be halves of a core, and
waking the bridge costs the engine more or less by what its CPU does.
"""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from engine.core.histogram import percentile
from engine.runtime.metrics import read_steps
from engine.runtime.rundir import RunDir
from tests.kit.daemons import Daemon

SETTLE_S = 0.2
"""Before each slice: what the one before has left behind is gone by then."""
ENGINE_CPU = 0
STRANGER = "print(flush=True)\nwhile True: pass"


class Timing(NamedTuple):
    """Rounds of four slices of so many seconds."""

    rounds: int
    seconds: float


@dataclass
class Comparison:
    """Percentiles of step times, ns, a round each.

    Attributes:
        q: Which percentile.
        quiet: Without the load.
        control: Without it once more.
        stranger: Without it, beside a loop that has nothing to do with the daemon.
        loaded: With it.
        counts: Of all slices of each kind together, as the engine's histogram has them.
        steps: The fewest that a slice had.
    """

    q: float
    quiet: list[float] = field(default_factory=list)
    control: list[float] = field(default_factory=list)
    stranger: list[float] = field(default_factory=list)
    loaded: list[float] = field(default_factory=list)
    counts: dict[str, np.ndarray] = field(default_factory=dict)
    steps: int = 0

    def pooled(self, *names: str) -> float:
        """The percentile of all steps of some kinds together, ns."""
        return percentile(np.sum([self.counts[name] for name in names], axis=0), self.q)

    def change(self, name: str, against: str = "quiet") -> tuple[float, float, float]:
        """Lower quartile, median and upper quartile of a kind's changes against its neighbour, per cent."""
        pairs = zip(getattr(self, name), getattr(self, against), strict=True)
        changes = [(one / other - 1) * 100 for one, other in pairs if other]
        if not changes:
            return (0.0, 0.0, 0.0)
        low, middle, high = (float(one) for one in np.percentile(changes, (25, 50, 75)))
        return low, middle, high

    def text(self) -> str:
        """For people."""

        def told(name: str, against: str = "quiet") -> str:
            low, middle, high = self.change(name, against)
            return f"{middle:+.1f} % ({low:+.1f} to {high:+.1f})"

        if not self.quiet:
            return "engine not timed"
        quiet, stranger = self.pooled("quiet", "control"), self.pooled("stranger")
        loaded = self.pooled("loaded")
        return (
            f"engine's step p{self.q:g} {quiet / 1e3:.1f} us without, {loaded / 1e3:.1f} us with "
            f"({(loaded / quiet - 1) * 100:+.1f} %), {stranger / 1e3:.1f} us beside a stranger "
            f"({(loaded / stranger - 1) * 100:+.1f} %); slice by slice {told('loaded')} against without, "
            f"{told('loaded', 'stranger')} against a stranger, control {told('control')}; "
            f"{len(self.quiet)} rounds"
        )


@contextlib.contextmanager
def apart() -> Iterator[str]:
    """Keeps this process, and what it starts meanwhile, off the engine's CPU.

    Yields:
        What a daemon's configuration needs in its section ``engine``; empty where there is only one CPU.
    """
    before = os.sched_getaffinity(0)
    others = before - {ENGINE_CPU}
    if not others or ENGINE_CPU not in before:
        yield ""
        return
    os.sched_setaffinity(0, others)
    try:
        yield f"cpu = {ENGINE_CPU}\n"
    finally:
        os.sched_setaffinity(0, before)


def keep_feed_with_engine(daemon: Daemon) -> None:
    """Moves a daemon's feed to the engine's CPU, where it waits until the engine sleeps."""
    pid = daemon.pid("feed")
    assert pid is not None
    for task in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(task.name), {ENGINE_CPU})
        os.sched_setscheduler(int(task.name), os.SCHED_BATCH, os.sched_param(0))


@contextlib.contextmanager
def _stranger() -> Iterator[Callable[[float], object]]:
    """A process that does nothing, as fast as it can."""
    child = subprocess.Popen([sys.executable, "-c", STRANGER], stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None
        child.stdout.readline()
        yield time.sleep
    finally:
        child.kill()
        child.communicate()


def compare(
    daemon: Daemon,
    load: Callable[[], AbstractContextManager[Callable[[float], object]]],
    timing: Timing,
    *,
    q: float,
    rng: random.Random,
) -> Comparison:
    """Takes slices in turns.

    Args:
        daemon: Whose engine.
        load: Prepares it and takes it away again, outside the slice; what it gives is called with the seconds
            for which the load is to last, and returns when they are over, or soon after.
        timing: Of the slices.
        q: Which percentile to look at.
        rng: Says which slice is first.
    """
    found = Comparison(q)
    run = RunDir(daemon.run_path)
    fewest: list[int] = []
    loads = {name: lambda: contextlib.nullcontext(time.sleep) for name in ("quiet", "control")}
    loads |= {"stranger": _stranger, "loaded": load}
    for _ in range(timing.rounds):
        for kind in rng.sample(list(loads), len(loads)):
            time.sleep(min(SETTLE_S, timing.seconds))
            with loads[kind]() as last:
                before = read_steps(run)
                last(timing.seconds)
                after = read_steps(run)
            assert before is not None
            assert after is not None
            taken = after - before
            fewest.append(int(taken[:-1].sum()))
            getattr(found, kind).append(percentile(taken, q))
            found.counts[kind] = found.counts.get(kind, 0) + taken
    found.steps = min(fewest, default=0)
    return found
