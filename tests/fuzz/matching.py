"""The differential run of the matcher: random commands to it and to the oracle, every answer compared.

    python -m tests.fuzz.matching --commands 100_000_000 --seed 1 --state build/matching.json

runs chunk by chunk (a chunk: settings and commands drawn from seed and number) and prints what was reached.
With ``--state`` it goes on where it was ended. At a difference it prints the line that repeats and shrinks it
and ends with 1. ``--part 0/2`` and ``--part 1/2`` share a run between two processes.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from pathlib import Path

from engine.matching.naive import NaiveMatcher
from tests.fuzz.matching_compare import Difference, compare, differs, shrink, story
from tests.fuzz.matching_coverage import Coverage
from tests.fuzz.matching_flow import draw
from tests.kit.matching import IMPLEMENTATIONS

CHUNK = 8192
AUDIT_EVERY = 16


def run_chunk(seed: int, chunk: int, make_fast, coverage: Coverage) -> Difference | None:
    """Compares one chunk; every sixteenth with a client and a ledger that follow the events."""
    settings, commands = draw(seed, chunk, CHUNK)
    audit = chunk % AUDIT_EVERY == 0 and settings["events"] == "all"
    for item in compare(make_fast(**settings), NaiveMatcher(**settings), commands, audit=audit):
        if isinstance(item, Difference):
            return item
        coverage.take(settings, *item)
    return None


def shrink_chunk(seed: int, chunk: int, make_fast) -> int:
    """Prints the fewest commands of a chunk in which the two differ, and what both say."""
    settings, commands = draw(seed, chunk, CHUNK)
    if differs(make_fast, NaiveMatcher, settings, commands) is None:
        print(f"seed {seed} chunk {chunk}: no difference")
        return 0
    few = shrink(lambda fewer: differs(make_fast, NaiveMatcher, settings, fewer), commands)
    print(f"settings {settings}")
    for name, make in (("matcher", make_fast), ("oracle", NaiveMatcher)):
        print(f"--- {name}")
        print("\n".join(story(make, settings, few)))
    print(differs(make_fast, NaiveMatcher, settings, few).what)
    return 1


def load(path: Path | None, coverage: Coverage, asked: dict) -> int:
    """The chunk to begin with, by the state an earlier run left."""
    if path is None or not path.exists():
        return 0
    state = json.loads(path.read_text())
    if state["asked"] != asked:
        raise SystemExit(f"{path} is of another run: {state['asked']}")
    coverage.commands, coverage.counts = state["commands"], Counter(state["counts"])
    return state["chunk"]


def save(path: Path | None, chunk: int, coverage: Coverage, asked: dict) -> None:
    """Writes the state as a whole, so that a run that is ended leaves the last one."""
    if path is None:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    state = {"asked": asked, "chunk": chunk, "commands": coverage.commands, "counts": coverage.counts}
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(state))
    fresh.replace(path)


def run(arguments: argparse.Namespace, make_fast) -> int:
    """Runs the chunks of this process; 1 at the first difference."""
    part, parts = map(int, arguments.part.split("/"))
    asked = {"seed": arguments.seed, "part": arguments.part}
    coverage = Coverage()
    begin = time.monotonic()
    done = load(arguments.state, coverage, asked)
    already = coverage.commands
    while coverage.commands < arguments.commands:
        chunk = done * parts + part
        difference = run_chunk(arguments.seed, chunk, make_fast, coverage)
        if difference:
            print(f"seed {arguments.seed} chunk {chunk}, by command {difference.upto}: {difference.what}")
            print(f"python -m tests.fuzz.matching --seed {arguments.seed} --shrink {chunk}")
            return 1
        done += 1
        if done % 50 == 0 or coverage.commands >= arguments.commands:
            save(arguments.state, done, coverage, asked)
            rate = (coverage.commands - already) / (time.monotonic() - begin)
            print(f"{coverage.commands:,} commands equal, {rate:,.0f}/s", file=sys.stderr, flush=True)
    print("\n".join(coverage.report()))
    print(f"{coverage.commands:,} commands: results, events and states equal")
    return 0


def main(argv: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz.matching", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--commands", type=int, default=1_000_000, help="how many in all (default 1_000_000)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--state", type=Path, help="file to go on from and to keep")
    parser.add_argument("--part", default="0/1", help="this process's share, such as 0/2")
    parser.add_argument("--shrink", type=int, metavar="CHUNK", help="cut a failing chunk down and show it")
    parser.add_argument("--matcher", choices=sorted(IMPLEMENTATIONS), default="compiled")
    arguments = parser.parse_args(argv)
    make_fast = IMPLEMENTATIONS[arguments.matcher]
    if arguments.shrink is not None:
        return shrink_chunk(arguments.seed, arguments.shrink, make_fast)
    return run(arguments, make_fast)


if __name__ == "__main__":
    sys.exit(main())
