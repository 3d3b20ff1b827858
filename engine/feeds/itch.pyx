"""NASDAQ TotalView-ITCH 5.0: the messages about one instrument to rows of ``event_dtype``.

What it is
    A file is a sequence of messages, each behind its length as two bytes (``framed``) or bare, since the first
    byte tells the length as well. Messages name their instrument by a number, the locate, which the stock
    directory at the beginning of the day gives it; so all others are passed over after a look at type, length
    and locate. What an order's messages become is in by_order.pxd.

What it costs
    About 8 ns for a message of another instrument, 85 for one of the chosen with 100,000 live orders
    (benchmarks/bench_itch.py), and the memory of by_order.pxd. The stock directory goes through Python once, some 10,000 messages.

The bad case
    A file without a directory: until the first order of the symbol every order's text is compared.

Every field is read as it is: nothing is assumed of alignment, and nothing behind a message's end is looked at.
"""

cimport cython
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

import difflib

from engine.core.codes cimport ERR_BAD_QTY, ERR_NO_MEMORY, ERR_ORDER_ID_EXIST, ERR_ORDER_NOT_FOUND, OK
from engine.core.types cimport EV_BUY, EV_SELL
from engine.feeds.by_order cimport (
    ByOrder,
    by_order_add,
    by_order_cancel,
    by_order_delete,
    by_order_execute,
    by_order_free,
    by_order_init,
    by_order_replace,
    by_order_room,
    by_order_take,
    by_order_trade,
)

from engine.core.errors import CapacityError, DataError

LENGTHS = {
    "S": 12, "R": 39, "H": 25, "Y": 20, "L": 26, "V": 35, "W": 12, "K": 28, "J": 35, "h": 21, "A": 36, "F": 40,
    "E": 31, "C": 36, "X": 23, "D": 19, "U": 35, "P": 44, "Q": 40, "B": 19, "I": 50, "N": 20, "O": 48,
}
"""Bytes of each type of message, without the two of its length."""

NAMES = {
    "A": "add", "F": "add_attributed", "E": "executed", "C": "executed_at_price", "X": "reduced", "D": "deleted",
    "U": "replaced", "P": "hidden_trade", "Q": "cross", "B": "broken_trade", "H": "trading_action",
}
"""What the types that concern orders and trades are called; all others are ``other``."""

cdef enum:
    STEP_DONE = 0          # no whole message is left
    STEP_COLD = 1          # a message that Python looks at
    STEP_REFUSED = 2       # the message at the cursor is wrong

cdef enum Fault:
    FAULT_TYPE = 200
    FAULT_LENGTH
    FAULT_TIME
    FAULT_UNSORTED
    FAULT_SIDE
    FAULT_SHARES
    FAULT_PRICE
    FAULT_STOCK
    FAULT_PRINTABLE

cdef enum:
    MAX_PRICE = 2_000_000_000   # 200,000.0000, the greatest that ITCH has

cdef int64_t DAY = 86_400_000_000_000
cdef uint8_t[256] LENGTH_OF
cdef int _k
for _k in range(256):
    LENGTH_OF[_k] = LENGTHS.get(chr(_k), 0)


# --- fields ---------------------------------------------------------------------------------------

cdef inline uint32_t _u16(const uint8_t* p) noexcept nogil:
    return (<uint32_t>p[0] << 8) | p[1]


cdef inline uint32_t _u32(const uint8_t* p) noexcept nogil:
    return (<uint32_t>p[0] << 24) | (<uint32_t>p[1] << 16) | (<uint32_t>p[2] << 8) | p[3]


cdef inline uint64_t _u64(const uint8_t* p) noexcept nogil:
    return (<uint64_t>_u32(p) << 32) | _u32(p + 4)


cdef inline int64_t _time(const uint8_t* p) noexcept nogil:
    return <int64_t>((<uint64_t>_u16(p) << 32) | _u32(p + 2))


cdef inline uint64_t _stock(const uint8_t* p) noexcept nogil:
    """Eight characters as they lie in memory, to be compared only."""
    cdef uint64_t text
    memcpy(&text, p, 8)
    return text


@cython.final
cdef class ItchParser:
    """Turns the bytes of a file, fed in blocks of any size, into events in the order of the file.

    Args:
        symbol: The instrument; None for the only one of the file.
        midnight: Nanoseconds since the epoch at the beginning of the day at the exchange.
        latency: Added to exchange times, which makes local times.
        hidden_sides: Whether trades of hidden orders tell the side (until July 14, 2014).
        framed: Whether every message comes behind its length.
        file: What errors name.

    Raises:
        DataError: A message is refused; the error has the offset of its first byte.
    """

    cdef ByOrder book
    cdef int64_t _counts[256]
    cdef int64_t _total, _byte, _midnight, _last
    cdef uint64_t _wanted
    cdef int _locate
    cdef bint _any, _hidden_sides, _framed
    cdef bytes _tail
    cdef readonly object file
    cdef readonly object symbol
    cdef readonly dict directory

    def __cinit__(self, symbol=None, *, int64_t midnight=0, int64_t latency=0, bint hidden_sides=False,
                  bint framed=True, file=None):
        cdef bytes padded
        memset(&self._counts[0], 0, sizeof(self._counts))
        if by_order_init(&self.book, latency) != OK:
            raise MemoryError
        self.file, self.symbol, self.directory = file, symbol, {}
        self._midnight, self._hidden_sides, self._framed = midnight, hidden_sides, framed
        self._tail = b""
        self._total = self._byte = self._last = 0
        self._locate = -1
        self._any = symbol is None
        self._wanted = 0
        if symbol is not None:
            padded = symbol.encode("ascii", "replace").ljust(8)
            if len(padded) != 8:
                raise DataError(f"the symbol {symbol!r} has more than 8 characters", file=file)
            memcpy(&self._wanted, <const char*>padded, 8)

    def __dealloc__(self):
        by_order_free(&self.book)

    @property
    def total(self):
        """Messages read so far, of all instruments."""
        return self._total

    @property
    def counts(self):
        """Messages about the instrument, by what they are."""
        found = {name: self._counts[ord(kind)] for kind, name in NAMES.items()}
        found["other"] = sum([self._counts[k] for k in range(256)]) - sum(found.values())
        return {name: count for name, count in found.items() if count}

    @property
    def live(self):
        """Orders in the book now."""
        return self.book.ids.used

    def feed(self, bytes block not None):
        """Parses the messages that this block completes."""
        cdef bytes data = self._tail + block if self._tail else block
        cdef const uint8_t* begin = <const uint8_t*><const char*>data
        cdef const uint8_t* end = begin + len(data)
        cdef const uint8_t* p = begin
        cdef int fault = OK
        cdef int step
        while True:
            with nogil:
                step = self._run(&p, end, &fault)
            if step == STEP_DONE:
                break
            if step == STEP_REFUSED:
                self._refuse(p, self._byte + (p - begin), fault)
            p = self._cold(p, self._byte + (p - begin))
        self._byte += p - begin
        self._tail = data[p - begin:]

    def close(self):
        """Looks whether the file ended with a message, and had the symbol."""
        if self._tail:
            raise DataError("truncated: the last message is cut short", file=self.file, byte=self._byte)
        self._check_symbol()

    def take(self):
        """Hands over the events so far.

        Returns:
            An ``event_dtype`` array with EXCH and LOCAL flags, sorted by both clocks.
        """
        return by_order_take(&self.book)

    cdef int _run(self, const uint8_t** cursor, const uint8_t* end, int* fault) noexcept nogil:
        """Parses until a message is cold or refused, or none is whole; the cursor is at its beginning."""
        cdef const uint8_t* p = cursor[0]
        cdef const uint8_t* m
        cdef uint32_t length
        cdef int kind, code
        cdef int step = STEP_DONE
        while p < end:
            if self._framed:
                m = p + 2
                if end - p < 2:
                    break
                length = _u16(p)
                if length == 0:
                    # How a session's end is marked.
                    p = m
                    continue
                if m == end:
                    break
            else:
                m = p
                length = LENGTH_OF[m[0]]
            kind = m[0]
            if LENGTH_OF[kind] != length or length == 0:
                fault[0] = FAULT_LENGTH if LENGTH_OF[kind] else FAULT_TYPE
                step = STEP_REFUSED
                break
            if end - m < <Py_ssize_t>length:
                break
            if kind == c"R" or kind == c"S" or ((self._locate < 0 or self._any) and self._tells(m, kind)):
                step = STEP_COLD
                break
            if <int>_u16(m + 1) == self._locate:
                code = self._message(m, kind)
                if code != OK:
                    fault[0] = code
                    step = STEP_REFUSED
                    break
            self._total += 1
            p = m + length
        cursor[0] = p
        return step

    cdef bint _tells(self, const uint8_t* m, int kind) noexcept nogil:
        """Whether an order tells the locate that no directory has told, or that there is another symbol."""
        if kind != c"A" and kind != c"F":
            return False
        return <int>_u16(m + 1) != self._locate if self._any else _stock(m + 24) == self._wanted

    cdef const uint8_t* _cold(self, const uint8_t* p, int64_t at) except NULL:
        """Learns from a system event, a stock directory or the first order; the message behind it."""
        cdef const uint8_t* m = p + 2 if self._framed else p
        cdef int kind = m[0]
        if kind == c"S":
            # The directory is whole before the market opens.
            if m[11] == c"Q":
                self._check_symbol()
        else:
            self._learn(m, m + 11 if kind == c"R" else m + 24)
            if kind != c"R":
                self._check_symbol()
                return p
            if <int>_u16(m + 1) == self._locate:
                self._counts[kind] += 1
        self._total += 1
        return m + LENGTH_OF[kind]

    cdef object _learn(self, const uint8_t* m, const uint8_t* stock):
        name = stock[:8].decode("ascii", "replace").rstrip()
        self.directory.setdefault(name, _u16(m + 1))
        if self.symbol is None:
            self.symbol = name
        if self._locate < 0 and name == self.symbol:
            self._locate = _u16(m + 1)
            self._wanted = _stock(stock)

    cdef object _check_symbol(self):
        known = list(self.directory)
        if self._any and len(known) > 1:
            raise DataError(f"has several symbols, name one: {_some(known)}", file=self.file)
        if self._locate >= 0:
            return
        if self.symbol is None:
            raise DataError("names no symbol", file=self.file)
        near = difflib.get_close_matches(self.symbol, known, 10, 0.5)
        some = _some(near + [name for name in known if name not in near]) or "unnamed ones"
        raise DataError(f"has no symbol {self.symbol!r}, only: {some}", file=self.file)

    # --- messages ---

    cdef int _message(self, const uint8_t* m, int kind) noexcept nogil:
        """Appends what a message of the instrument says. OK or why it is refused."""
        cdef int64_t ts = _time(m + 5)
        cdef ByOrder* book = &self.book
        if ts >= DAY:
            return FAULT_TIME
        if ts < self._last:
            return FAULT_UNSORTED
        if by_order_room(book) != OK:
            return ERR_NO_MEMORY
        self._last = ts
        self._counts[kind] += 1
        ts += self._midnight
        if kind == c"A" or kind == c"F":
            return self._add(m, ts)
        if kind == c"D":
            return by_order_delete(book, ts, _u64(m + 11))
        if kind == c"U":
            return self._replace(m, ts)
        if kind == c"E" or kind == c"C" or kind == c"X":
            return self._reduce(m, kind, ts)
        if kind == c"P" or kind == c"Q":
            return self._trade(m, kind, ts)
        return OK

    cdef int _add(self, const uint8_t* m, int64_t ts) noexcept nogil:
        cdef uint32_t shares = _u32(m + 20)
        cdef uint32_t price = _u32(m + 32)
        if m[19] != c"B" and m[19] != c"S":
            return FAULT_SIDE
        if shares == 0:
            return FAULT_SHARES
        if price > MAX_PRICE:
            return FAULT_PRICE
        if _stock(m + 24) != self._wanted:
            return FAULT_STOCK
        return by_order_add(
            &self.book, ts, _u64(m + 11), EV_BUY if m[19] == c"B" else EV_SELL, price, shares
        )

    cdef int _replace(self, const uint8_t* m, int64_t ts) noexcept nogil:
        cdef uint32_t shares = _u32(m + 27)
        cdef uint32_t price = _u32(m + 31)
        if shares == 0:
            return FAULT_SHARES
        if price > MAX_PRICE:
            return FAULT_PRICE
        return by_order_replace(&self.book, ts, _u64(m + 11), _u64(m + 19), price, shares)

    cdef int _reduce(self, const uint8_t* m, int kind, int64_t ts) noexcept nogil:
        cdef uint64_t order_id = _u64(m + 11)
        cdef uint32_t shares = _u32(m + 19)
        if shares == 0:
            return FAULT_SHARES
        if kind == c"X":
            return by_order_cancel(&self.book, ts, order_id, shares)
        if kind == c"E":
            return by_order_execute(&self.book, ts, order_id, shares, -1, True)
        if m[31] != c"Y" and m[31] != c"N":
            return FAULT_PRINTABLE
        if _u32(m + 32) > MAX_PRICE:
            return FAULT_PRICE
        # What is not printable is part of a cross, which is printed as a whole.
        return by_order_execute(&self.book, ts, order_id, shares, _u32(m + 32), m[31] == c"Y")

    cdef int _trade(self, const uint8_t* m, int kind, int64_t ts) noexcept nogil:
        cdef uint64_t shares = _u64(m + 11) if kind == c"Q" else _u32(m + 20)
        cdef uint32_t price = _u32(m + 27) if kind == c"Q" else _u32(m + 32)
        cdef uint64_t side = 0
        if price > MAX_PRICE:
            return FAULT_PRICE
        if shares >> 53:
            return FAULT_SHARES
        if kind == c"P":
            if m[19] != c"B" and m[19] != c"S":
                return FAULT_SIDE
            if shares == 0:
                return FAULT_SHARES
            if self._hidden_sides:
                side = EV_SELL if m[19] == c"B" else EV_BUY
        # A cross in which nothing met is told with no shares.
        if shares:
            by_order_trade(&self.book, ts, side, price, <int64_t>shares)
        return OK

    cdef object _refuse(self, const uint8_t* p, int64_t at, int fault):
        """Raises what is wrong with a message."""
        cdef const uint8_t* m = p + 2 if self._framed else p
        cdef str kind = chr(m[0])
        field, message = None, ""
        if fault == ERR_NO_MEMORY:
            raise CapacityError(f"no memory for more than {self.book.n} rows and {self.book.ids.used} orders")
        if fault == FAULT_TYPE:
            field, message = "type", f"{kind!r} is none of {' '.join(LENGTHS)}"
        elif fault == FAULT_LENGTH:
            field = "length"
            message = f"a message {kind!r} has {LENGTHS[kind]} bytes, not {_u16(p)}"
        elif fault == FAULT_TIME:
            field, message = "timestamp", f"{_time(m + 5)} ns after midnight; a day has {DAY}"
        elif fault == FAULT_UNSORTED:
            field, message = "timestamp", f"{_time(m + 5)} ns after midnight, behind {self._last}"
        elif fault == FAULT_SIDE:
            field, message = "buy_sell_indicator", f"{chr(m[19])!r} is neither B nor S"
        elif fault == FAULT_PRINTABLE:
            field, message = "printable", f"{chr(m[31])!r} is neither Y nor N"
        elif fault == FAULT_STOCK:
            found = m[24:32].decode("ascii", "replace").rstrip()
            field, message = "stock", f"{found!r} under the locate of {self.symbol!r}"
        elif fault == FAULT_SHARES:
            field, message = "shares", "the number is not between 1 and 2**53"
        elif fault == FAULT_PRICE:
            field, message = "price", f"more than {MAX_PRICE // 10_000}"
        elif fault == ERR_BAD_QTY:
            field, message = "shares", f"{_u32(m + 19)}, but less is left of order {_u64(m + 11)}"
        elif fault == ERR_ORDER_NOT_FOUND:
            field, message = "order_reference", f"order {_u64(m + 11)} is not in the book"
        elif fault == ERR_ORDER_ID_EXIST:
            number = _u64(m + 19) if kind == "U" else _u64(m + 11)
            field, message = "order_reference", f"order {number} is in the book already"
        raise DataError(message, file=self.file, byte=at, field=field)


def _some(names):
    """Up to ten names, and how many more there are."""
    more = f" and {len(names) - 10:,} more" if len(names) > 10 else ""
    return ", ".join(names[:10]) + more
