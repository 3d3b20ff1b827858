"""Our converter of Tardis's csv files against hftbacktest's, on synthetic level changes.

Run with ``python -m benchmarks.bench_tardis`` from the project's root. The reference gets a buffer that just
fits, so that it does not pay for its default of 6.4 GB; it reads with polars, on as many cores as there are.
An operation is a row of the result.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import random
import sys
import tempfile
from functools import partial
from pathlib import Path

from hftbacktest.data.utils import tardis as reference

if not __package__:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.harness import arguments, compare, report
from engine.feeds import tardis

LINES = 300_000
COLUMNS = "exchange,symbol,timestamp,local_timestamp,is_snapshot,side,price,amount\n"


def day() -> bytes:
    """A snapshot and then level changes."""
    draw = random.Random(1)
    ts, lines = 1_600_000_000_000_000, [COLUMNS]
    for side, sign in (("bid", -1), ("ask", 1)):
        for k in range(1, 500):
            price = 50_000 + sign * k * 0.1
            lines.append(f"binance-futures,BTCUSDT,{ts},{ts + 5000},true,{side},{price:.1f},{k}\n")
    for _ in range(LINES):
        ts += 100
        side, price = draw.choice(("bid", "ask")), 50_000 + draw.randint(-500, 500) * 0.1
        lines.append(
            f"binance-futures,BTCUSDT,{ts},{ts + 5000},false,{side},{price:.1f},{draw.random():.3f}\n"
        )
    return "".join(lines).encode()


def ours(path: Path) -> int:
    """Converts with Ringbook; returns the number of rows."""
    return len(tardis.convert([path]).events)


def theirs(path: Path) -> int:
    """Converts with hftbacktest."""
    with contextlib.redirect_stdout(io.StringIO()):
        return len(reference.convert([str(path)], buffer_size=LINES + 2_000))


def main() -> None:
    """Runs all cases and prints them."""
    args = arguments("Conversion of Tardis's level changes: Ringbook against hftbacktest.")
    text = day()
    with tempfile.TemporaryDirectory() as directory:
        plain, packed = (
            Path(directory, "incremental_book_L2.csv"),
            Path(directory, "incremental_book_L2.csv.gz"),
        )
        plain.write_bytes(text)
        packed.write_bytes(gzip.compress(text, 6))
        cases = (("text", plain), ("gzip", packed))
        results = [
            compare(
                case, ("ringbook", partial(ours, path)), ("hftbacktest", partial(theirs, path)), args.rounds
            )
            for case, path in cases
        ]
    report("tardis", results, as_json=args.json)


if __name__ == "__main__":
    main()
