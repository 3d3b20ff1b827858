"""Runs simulated worlds: ``python -m tests.simulation.run --seeds 1000000`` for the long form.

Each seed is a world of its own (see ``world.py``). The first one in which an invariant does not hold ends the
run with exit code 1 and prints the command that repeats it.
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from tests.simulation.world import Plant, World

REPEAT_EVERY = 64
"""Of so many seeds one is run twice: a seed must give the same state."""

PART = 1000
"""Worlds between two words of the long form."""


@dataclass
class Found:
    """What came of some worlds.

    Attributes:
        worlds: Seeds that were run.
        steps: Steps of all of them.
        tally: Orders, fills and denials.
        seed: The first that failed, or None.
        error: What it failed with.
    """

    worlds: int = 0
    steps: int = 0
    tally: Counter[str] = field(default_factory=Counter)
    seed: int | None = None
    error: BaseException | None = None

    @property
    def command(self) -> str:
        """What repeats the failure."""
        return f"python -m tests.simulation.run --seed {self.seed}"


def simulate(seeds: Iterable[int], plant: Plant | None = None, seconds: float | None = None) -> Found:
    """Runs worlds until one fails, all have been run, or the time is over.

    Args:
        seeds: Of the worlds.
        plant: A bug to plant in each.
        seconds: Wall time after which no new world begins.
    """
    found = Found()
    end = None if seconds is None else time.monotonic() + seconds
    for seed in seeds:
        if end is not None and time.monotonic() > end:
            break
        try:
            world = World(seed, plant)
            state = world.run()
            if plant is None and seed % REPEAT_EVERY == 0 and World(seed).run() != state:
                raise AssertionError("the same seed gives another state")
        except Exception as error:
            found.seed, found.error = seed, error
            return found
        found.worlds += 1
        found.steps += world.step_number
        found.tally += world.ledger.tally
    return found


def main(argv: list[str] | None = None) -> int:
    """The command line.

    Args:
        argv: The arguments; ``sys.argv[1:]`` by default.

    Returns:
        1 if a world failed.
    """
    parser = argparse.ArgumentParser(description="Simulated worlds against invariants, by seed.")
    parser.add_argument("--seeds", type=int, default=2000, help="how many (default 2000)")
    parser.add_argument("--start", type=int, default=0, help="the first seed (default 0)")
    parser.add_argument("--seed", type=int, help="this one only")
    args = parser.parse_args(argv)
    seeds = range(args.start, args.start + args.seeds) if args.seed is None else [args.seed]
    began = time.monotonic()
    found = Found()
    for part in range(0, len(seeds), PART):
        more = simulate(seeds[part : part + PART])
        found.worlds, found.steps = found.worlds + more.worlds, found.steps + more.steps
        found.tally += more.tally
        found.seed, found.error = more.seed, more.error
        if found.error is not None:
            break
        if len(seeds) > PART:
            print(f"{found.worlds:,} of {len(seeds):,} worlds", file=sys.stderr, flush=True)
    took = time.monotonic() - began
    if found.error is not None:
        traceback.print_exception(found.error)
        print(f"seed {found.seed} fails: {type(found.error).__name__}: {found.error}")
        print(f"repeat it with: {found.command}")
        return 1
    tally = ", ".join(f"{n:,} {name}" for name, n in sorted(found.tally.items()))
    print(f"{found.worlds:,} worlds, {found.steps:,} steps, {tally}; {took:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
