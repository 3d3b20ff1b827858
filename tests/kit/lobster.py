"""LOBSTER's files made the obvious way: ITCH messages retold as lines, with the book beside them."""

from __future__ import annotations

import struct

from tests.kit.itch import Book


def line(ts: int, kind: int, order_id: int, size: int, price: int, direction: int) -> str:
    """A line; ``ts`` in nanoseconds after midnight."""
    return f"{ts // 10**9}.{ts % 10**9:09d},{kind},{order_id},{size},{price},{direction}\n"


def retell(messages: list[bytes], levels: int = 1000) -> tuple[list[str], list[str], list[dict]]:
    """A day of one instrument in LOBSTER's words.

    Returns:
        The lines of the message file, those of the orderbook file, and the orders behind each.
    """
    book, lines, depths, books = Book(), [], [], []

    def tell(ts: int, *fields: int) -> None:
        lines.append(line(ts, *fields))
        depths.append(_depth(book, levels))
        books.append(book.orders.copy())

    for m in messages:
        kind, ts = chr(m[0]), int.from_bytes(m[5:11], "big")
        ref = struct.unpack_from(">Q", m, 11)[0] if kind in "AFEXCDU" else 0
        before = book.orders.get(ref, ("B", 0, 0))
        book.apply(m)
        side, price, left = book.orders.get(ref, (before[0], before[1], 0))
        direction = 1 if side == "B" else -1
        gone = before[2] - left
        if kind in "AF":
            tell(ts, 1, ref, left, price, direction)
        elif kind in "EC":
            tell(ts, 4, ref, gone, price, direction)
        elif kind in "XD":
            tell(ts, 2 if left else 3, ref, gone, price, direction)
        elif kind == "U":
            new, shares, at = struct.unpack_from(">QII", m, 19)
            added = book.orders.pop(new)
            tell(ts, 3, ref, gone, price, direction)
            book.orders[new] = added
            tell(ts, 1, new, shares, at, direction)
        elif kind == "P":
            shares, at = struct.unpack_from(">I8xI", m, 20)
            tell(ts, 5, 0, shares, at, 1)
        elif kind == "H":
            tell(ts, 7, 0, 0, -1 if m[19:20] == b"H" else 1, -1)
    return lines, depths, books


def _depth(book: Book, levels: int) -> str:
    sides: dict[str, dict[int, int]] = {"B": {}, "S": {}}
    for side, price, left in book.orders.values():
        sides[side][price] = sides[side].get(price, 0) + left
    asks, bids = sorted(sides["S"].items()), sorted(sides["B"].items(), reverse=True)
    fields: list[int] = []
    for k in range(min(levels, max(len(asks), len(bids)))):
        fields += asks[k] if k < len(asks) else (9_999_999_999, 0)
        fields += bids[k] if k < len(bids) else (-9_999_999_999, 0)
    return ",".join(map(str, fields)) + "\n"
