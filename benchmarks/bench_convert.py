"""Our converter of Binance captures against hftbacktest's, on the real recordings.

Run with ``python -m benchmarks.bench_convert`` from the project's root. The reference gets a buffer that
just fits, so that it does not pay for its default of 6.4 GB; an operation is a row of the result.
"""

from __future__ import annotations

import contextlib
import io
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from hftbacktest.data.utils import binancefutures

if not __package__:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.harness import arguments, compare, report
from engine.backtest.data import save_events
from engine.feeds.capture import convert

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
CAPTURES = {
    "USD-M": DATA / "binance_usdm_btcusdt_20240808.gz",
    "COIN-M": DATA / "binance_cm_btcusd_perp_20240808.gz",
}


def ours(path: Path, out: Path | None = None, compress: bool = False, opt: str = "") -> int:
    """Converts with Ringbook; returns the number of rows."""
    events = convert(path, opt=opt).events
    if out is not None:
        save_events(out, events, compress=compress)
    return len(events)


def theirs(path: Path, out: Path | None = None, opt: str = "") -> int:
    """Converts with hftbacktest, which always compresses what it writes."""
    with contextlib.redirect_stdout(io.StringIO()):
        name = str(out) if out is not None else None
        return len(binancefutures.convert(str(path), name, opt=opt, buffer_size=1_000_000))


def main() -> None:
    """Runs all cases and prints them."""
    args = arguments("Conversion of Binance captures: Ringbook against hftbacktest.")
    missing = [str(path) for path in CAPTURES.values() if not path.is_file()]
    if missing:
        sys.exit(f"the recordings are not there: {', '.join(missing)}")
    cases: list[tuple[str, Callable[[], int], Callable[[], int]]] = []
    with tempfile.TemporaryDirectory() as directory:
        a, b = Path(directory, "a.npz"), Path(directory, "b.npz")
        for name, path in CAPTURES.items():
            cases += [
                (f"{name}, to an array", partial(ours, path), partial(theirs, path)),
                (f"{name}, with book ticker", partial(ours, path, opt="t"), partial(theirs, path, opt="t")),
                (f"{name}, to npz", partial(ours, path, a), partial(theirs, path, b)),
                (f"{name}, to compressed npz", partial(ours, path, a, True), partial(theirs, path, b)),
            ]
        results = [compare(c, ("ringbook", x), ("hftbacktest", y), args.rounds) for c, x, y in cases]
    report("convert", results, as_json=args.json)


if __name__ == "__main__":
    main()
