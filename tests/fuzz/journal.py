"""Losses of power in the journal, by the million: ``python -m tests.fuzz.journal --images 1000000``.

Every image is decided by the seed and its number; one that is wrong names the command that repeats it.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from itertools import islice

from tests.kit.journal_power import images


def main(argv: list[str] | None = None) -> int:
    """Generates and recovers images, and says what became of them.

    Args:
        argv: The arguments without the program's name; ``sys.argv[1:]`` by default.

    Returns:
        0 when every image recovered or was refused as it must, 1 otherwise.
    """
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.journal", description=__doc__)
    parser.add_argument("--images", type=int, default=20_000, help="how many (default 20000)")
    parser.add_argument("--seed", type=int, default=1, help="of everything (default 1)")
    parser.add_argument("--only", type=int, metavar="NUMBER", help="repeat one image, showing where it fails")
    args = parser.parse_args(argv)
    if args.only is not None:
        outcome = next(islice(images(args.seed, args.only + 1, first=args.only), 1))
        print(outcome)
        return 0
    start = time.perf_counter()
    seen: Counter[str] = Counter()
    try:
        for outcome in images(args.seed, args.images):
            seen["refused" if outcome.refused else "cut" if outcome.cut else "clean"] += 1
            seen["kept"] += outcome.kept
            if sum(seen[what] for what in ("refused", "cut", "clean")) % 50_000 == 0:
                print(f"{dict(seen)}, {time.perf_counter() - start:.0f} s", flush=True)
    except AssertionError as error:
        print(error, file=sys.stderr)
        return 1
    print(
        f"{args.images:,} images in {time.perf_counter() - start:.0f} s: {seen['clean']:,} ended clean, "
        f"{seen['cut']:,} were cut ({seen['kept']:,} whole records of torn batches kept), "
        f"{seen['refused']:,} of lying disks refused; none was accepted that should not be"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
