"""TotalView-ITCH 5.0 written and read the slow, obvious way: files from random order flow, and their book."""

from __future__ import annotations

import random
import struct
from pathlib import Path

NANOSECONDS = 9 * 3600 * 10**9


def message(kind: str, locate: int, ts: int, body: bytes) -> bytes:
    """A message without its length; ``ts`` in nanoseconds after midnight."""
    return kind.encode() + struct.pack(">HH", locate, 0) + ts.to_bytes(6, "big") + body


def stock(symbol: str) -> bytes:
    return symbol.encode().ljust(8)


def system(ts: int, code: str) -> bytes:
    return message("S", 0, ts, code.encode())


def directory(locate: int, ts: int, symbol: str) -> bytes:
    return message("R", locate, ts, stock(symbol) + b"QN" + struct.pack(">I", 100) + b"NCZ PNN1N\0\0\0\0N")


def action(locate: int, ts: int, symbol: str, state: str) -> bytes:
    return message("H", locate, ts, stock(symbol) + state.encode() + b" T1  ")


def add(
    locate: int, ts: int, ref: int, side: str, shares: int, symbol: str, price: int, mpid: str = ""
) -> bytes:
    body = struct.pack(">Q", ref) + side.encode() + struct.pack(">I", shares) + stock(symbol)
    return message("F" if mpid else "A", locate, ts, body + struct.pack(">I", price) + mpid.encode())


def executed(locate: int, ts: int, ref: int, shares: int, match: int = 1) -> bytes:
    return message("E", locate, ts, struct.pack(">QIQ", ref, shares, match))


def executed_at(locate: int, ts: int, ref: int, shares: int, price: int, printable: str = "Y") -> bytes:
    body = struct.pack(">QIQ", ref, shares, 1) + printable.encode() + struct.pack(">I", price)
    return message("C", locate, ts, body)


def reduced(locate: int, ts: int, ref: int, shares: int) -> bytes:
    return message("X", locate, ts, struct.pack(">QI", ref, shares))


def deleted(locate: int, ts: int, ref: int) -> bytes:
    return message("D", locate, ts, struct.pack(">Q", ref))


def replaced(locate: int, ts: int, ref: int, new: int, shares: int, price: int) -> bytes:
    return message("U", locate, ts, struct.pack(">QQII", ref, new, shares, price))


def hidden(locate: int, ts: int, side: str, shares: int, symbol: str, price: int) -> bytes:
    body = bytes(8) + side.encode() + struct.pack(">I", shares) + stock(symbol)
    return message("P", locate, ts, body + struct.pack(">IQ", price, 1))


def cross(locate: int, ts: int, shares: int, symbol: str, price: int, kind: str = "O") -> bytes:
    body = struct.pack(">Q", shares) + stock(symbol) + struct.pack(">IQ", price, 1)
    return message("Q", locate, ts, body + kind.encode())


def broken(locate: int, ts: int, match: int) -> bytes:
    return message("B", locate, ts, struct.pack(">Q", match))


def write(path: Path, messages: list[bytes], framed: bool = True) -> Path:
    """Writes a file; ``framed`` puts the lengths before the messages."""
    path.write_bytes(b"".join((struct.pack(">H", len(m)) if framed else b"") + m for m in messages))
    return path


class Book:
    """Orders of one instrument as the messages tell them: a dict, in the order of their arrival."""

    def __init__(self) -> None:
        self.orders: dict[int, tuple[str, int, int]] = {}
        self.trades: list[tuple[str, int, int]] = []
        """Side of the aggressor (or ``""``), price and shares of each."""

    def apply(self, m: bytes) -> None:
        kind = chr(m[0])
        if kind in "AF":
            ref, side, shares = struct.unpack_from(">QcI", m, 11)
            self.orders[ref] = (side.decode(), struct.unpack_from(">I", m, 32)[0], shares)
        elif kind in "EXC":
            ref, shares = struct.unpack_from(">QI", m, 11)
            side, price, left = self.orders[ref]
            if kind == "E" or (kind == "C" and m[31:32] == b"Y"):
                at = price if kind == "E" else struct.unpack_from(">I", m, 32)[0]
                self.trades.append(("S" if side == "B" else "B", at, shares))
            if left == shares:
                del self.orders[ref]
            else:
                self.orders[ref] = (side, price, left - shares)
        elif kind == "D":
            del self.orders[struct.unpack_from(">Q", m, 11)[0]]
        elif kind == "U":
            old, new, shares, price = struct.unpack_from(">QQII", m, 11)
            side = self.orders.pop(old)[0]
            self.orders[new] = (side, price, shares)
        elif kind == "P":
            self.trades.append(("", *reversed(struct.unpack_from(">I8xI", m, 20))))
        elif kind == "Q":
            shares, price = struct.unpack_from(">Q8xI", m, 11)
            self.trades += [("", price, shares)] * (shares > 0)


def _some_order(draw, book: Book) -> int | None:
    """A recent order, or now and then the one with the best price of its side."""
    if not book.orders:
        return None
    if draw.random() < 0.9:
        return draw.choice(list(book.orders)[-30:])
    side = draw.choice(list(book.orders.values()))[0]
    of_side = {ref: price for ref, (one, price, _) in book.orders.items() if one == side}
    return (max if side == "B" else min)(of_side, key=of_side.get)


def _about(draw, kind, where, symbol, of, ref, side, price) -> bytes:
    """A message of a kind: about the order ``of`` (number and what is left of it), or the new one ``ref``."""
    live, left = of
    some = draw.choice((left, draw.randint(1, left))) if left else 0
    shares = draw.randint(1, 500)
    make = {
        "A": lambda: add(*where, ref, side, shares, symbol, price),
        "F": lambda: add(*where, ref, side, shares, symbol, price, "MPID"),
        "E": lambda: executed(*where, live, some),
        "C": lambda: executed_at(*where, live, some, price, draw.choice("YN")),
        "X": lambda: reduced(*where, live, draw.randint(1, left)),
        "D": lambda: deleted(*where, live),
        "U": lambda: replaced(*where, live, ref, shares, price),
        "P": lambda: hidden(*where, "B", shares, symbol, price),
        "Q": lambda: cross(*where, draw.choice((0, 2500)), symbol, price),
        "H": lambda: action(*where, symbol, draw.choice("HT")),
        "B": lambda: broken(*where, 1),
        "I": lambda: message("I", *where, bytes(39)),
    }
    return make[kind]()


def random_flow(
    seed: int, n: int, symbols: dict[str, int], market: int = 1_000_000, widest: int = 50
) -> tuple[list[bytes], dict[str, Book]]:
    """Messages of a day: system events, the directory, then orders of every kind about all symbols.

    Args:
        seed: Of the randomness.
        n: Messages about orders.
        symbols: The locate of each symbol.
        market: Price between bids and asks, of 1/10,000.
        widest: Ticks of a cent that orders are away from it at most.

    Returns:
        The messages, and the book of each symbol behind them.
    """
    draw = random.Random(seed)
    ts, ref = NANOSECONDS, draw.randrange(1, 10**6)
    books = {symbol: Book() for symbol in symbols}
    day = [system(ts, "O"), system(ts, "S"), *(directory(at, ts, name) for name, at in symbols.items())]
    day.append(system(ts, "Q"))
    names = list(symbols)
    for _ in range(n):
        ts += draw.choice((0, 1, 1000, 10**6))
        symbol = draw.choice(names)
        book, locate = books[symbol], symbols[symbol]
        live = _some_order(draw, book)
        kind = draw.choice("AAAAFEECXDDUPQHBI") if live is not None else "A"
        # A replacement stays on its side of the market, so that the book never crosses.
        side = book.orders[live][0] if kind == "U" else draw.choice("BS")
        price = market + (-100 if side == "B" else 100) * draw.randint(1, widest)
        ref += draw.randint(1, 9)
        left = book.orders[live][2] if live is not None else 0
        m = _about(draw, kind, (locate, ts), symbol, (live, left), ref, side, price)
        book.apply(m)
        day.append(m)
    return [*day, system(ts, "C")], books
