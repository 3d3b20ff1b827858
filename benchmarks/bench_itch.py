"""The parser of TotalView-ITCH 5.0 on synthetic order flow, beside an obvious reader in Python.

Run with ``python -m benchmarks.bench_itch`` from the project's root. The flow is 46 % add, 43 % delete, 8 %
replace and 3 % execute with up to 100,000 live orders. Ours makes rows of it, the other one, a dict of
orders, keeps the book only; an operation is a message. "Passed over": the file is asked for another symbol.
"""

from __future__ import annotations

import random
import struct
import sys
from functools import partial
from pathlib import Path

if not __package__:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.harness import arguments, compare, report
from engine.feeds.itch import ItchParser
from tests.kit import itch

MESSAGES = 400_000
LIVE = 100_000
BLOCK = 1 << 20


def flow() -> list[bytes]:
    """Messages of one instrument, the directory's first."""
    draw = random.Random(1)
    ts, ref = itch.NANOSECONDS, 1
    live: list[int] = []
    day = [itch.directory(6, ts, "ZVZZT"), itch.directory(5, ts, "AAPL")]
    for _ in range(MESSAGES):
        ts += 1000
        kind = draw.random()
        price = 1_000_000 + 100 * draw.randint(-50, 50)
        ref += 3
        if kind < (0.46 if len(live) > LIVE else 0.6) or not live:
            live.append(ref)
            day.append(itch.add(5, ts, ref, draw.choice("BS"), 100, "AAPL", price))
            continue
        place = draw.randrange(len(live))
        order = live[place]
        if kind < 0.97 and kind >= 0.89:
            day.append(itch.replaced(5, ts, order, ref, 100, price))
            live[place] = ref
            continue
        live[place] = live[-1]
        live.pop()
        day.append(itch.deleted(5, ts, order) if kind < 0.89 else itch.executed(5, ts, order, 100))
    return day


def ours(blocks: list[bytes], symbol: str) -> int:
    """Parses and makes rows."""
    parser = ItchParser(symbol)
    for block in blocks:
        parser.feed(block)
        parser.take()
    return parser.total


def obvious(data: bytes, locate: bytes) -> int:
    """Keeps the book of one instrument in a dict."""
    book, at, total = itch.Book(), 0, 0
    while at < len(data):
        (length,) = struct.unpack_from(">H", data, at)
        message = data[at + 2 : at + 2 + length]
        if message[1:3] == locate:
            book.apply(message)
        at += 2 + length
        total += 1
    return total


def main() -> None:
    """Runs all cases and prints them."""
    args = arguments("TotalView-ITCH 5.0: Ringbook's parser against an obvious one in Python.")
    data = b"".join(struct.pack(">H", len(message)) + message for message in flow())
    blocks = [data[at : at + BLOCK] for at in range(0, len(data), BLOCK)]
    cases = (("the chosen instrument", "AAPL", b"\0\5"), ("passed over", "ZVZZT", b"\0\6"))
    results = [
        compare(
            case,
            ("ringbook", partial(ours, blocks, symbol)),
            ("Python", partial(obvious, data, at)),
            args.rounds,
        )
        for case, symbol, at in cases
    ]
    report("itch", results, as_json=args.json)


if __name__ == "__main__":
    main()
