"""Tardis's csv files to rows of ``event_dtype``, in their order: trades, and changes of the book's levels.

One pass over the text without the GIL, about 130 ns a line, 64 bytes of memory a row. What the rows of a snapshot
become is the business of tardis.py. The bad case is numbers of more than 53 bits, which go through Python.
"""

cimport cython
from cython cimport view
from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcmp, memcpy

import numpy as np

from engine.core.codes cimport ERR_NO_MEMORY, OK
from engine.core.types cimport (
    EV_BUY,
    EV_SELL,
    EVENT_DEPTH,
    EVENT_DEPTH_SNAPSHOT,
    EVENT_TRADE,
    Event,
)
from engine.feeds.fields cimport LineParser, line_end, read_decimal, read_integer, skip_field

from engine.core.errors import CapacityError, DataError
from engine.core.types import event_dtype

TRADES = ("exchange", "symbol", "timestamp", "local_timestamp", "id", "side", "price", "amount")
"""The columns of the data type ``trades``."""

DEPTH = ("exchange", "symbol", "timestamp", "local_timestamp", "is_snapshot", "side", "price", "amount")
"""The columns of the data type ``incremental_book_L2``."""

cdef enum:
    FAULT_FIELD = 200      # and the column's number
    FAULT_LIMIT = 210      # and the column's number
    FAULT_END = 220
    FAULT_COLUMNS = 221

cdef enum:
    MAX_NAME = 64
    AT_SYMBOL = 1
    AT_TIME = 2
    AT_LOCAL = 3
    AT_KIND = 4
    AT_SIDE = 5
    AT_PRICE = 6
    AT_AMOUNT = 7

# In microseconds: the times of events end in 2116.
cdef int64_t MAX_TIME = 4_611_686_018_427_387


cdef inline bint _is(const char* p, const char* end, const char* word, Py_ssize_t n) noexcept nogil:
    return end - p == n and memcmp(p, word, n) == 0


@cython.final
cdef class TardisParser(LineParser):
    """Turns the text of one file, fed in blocks of any size, into events in its order.

    Args:
        symbol: Which one to take; None for the only one of the file.
        file: What errors name.

    Attributes:
        columns: ``TRADES`` or ``DEPTH``, as the first line says.
        others: Other symbols of the file, at most ten.
    """

    cdef Event* _rows
    cdef int64_t _n, _capacity
    cdef char _symbol[MAX_NAME]
    cdef Py_ssize_t _symbol_n
    cdef bint _trades, _any
    cdef readonly tuple columns
    cdef readonly dict others

    def __cinit__(self, symbol=None, *, file=None):
        self.file, self.columns, self.others = file, None, {}
        self._any = symbol is None
        self._symbol_n = -1
        if symbol is not None:
            self._name(symbol.encode())

    def __dealloc__(self):
        free(self._rows)

    @property
    def symbol(self):
        """The one taken; None before the first line of data."""
        return self._symbol[:self._symbol_n].decode("utf-8", "replace") if self._symbol_n >= 0 else None

    def take(self):
        """Hands over the events so far.

        Returns:
            An ``event_dtype`` array without EXCH and LOCAL flags, in the file's order.
        """
        cdef view.array owner
        cdef Event* rows = self._rows
        cdef int64_t n = self._n
        if n == 0:
            return np.empty(0, event_dtype)
        self._rows = NULL
        self._n = self._capacity = 0
        owner = <Event[:n]>rows
        owner.callback_free_data = free
        return np.asarray(owner)

    cdef object _name(self, bytes name):
        if len(name) > MAX_NAME:
            raise DataError(f"a symbol of {len(name)} bytes", file=self.file, field="symbol")
        memcpy(self._symbol, <const char*>name, len(name))
        self._symbol_n = len(name)

    cdef int parse_line(self, const char** cursor) noexcept nogil:
        cdef const char* p = cursor[0]
        cdef const char* begin
        cdef const char* end
        cdef int64_t exch_ts, local_ts
        cdef uint64_t ev
        cdef double px, qty
        if self.line == 0:
            return self._header(cursor)
        p = skip_field(p)
        if p[0] != b",":
            return FAULT_FIELD
        begin = p + 1
        end = skip_field(begin)
        if end[0] != b",":
            return FAULT_FIELD + AT_SYMBOL
        p = read_integer(end + 1, &exch_ts)
        if p == NULL or p[0] != b",":
            return FAULT_FIELD + AT_TIME
        p = read_integer(p + 1, &local_ts)
        if p == NULL or p[0] != b",":
            return FAULT_FIELD + AT_LOCAL
        p = self._kind(p + 1, &ev)
        if p == NULL:
            return FAULT_FIELD + AT_KIND
        p = self._side(p, &ev)
        if p == NULL:
            return FAULT_FIELD + AT_SIDE
        p = read_decimal(p, &px)
        if p == NULL or p[0] != b",":
            return FAULT_FIELD + AT_PRICE
        p = read_decimal(p + 1, &qty)
        if p == NULL:
            return FAULT_FIELD + AT_AMOUNT
        p = line_end(p)
        if p == NULL:
            return FAULT_END
        if end - begin > MAX_NAME:
            return FAULT_LIMIT + AT_SYMBOL
        if not 0 < exch_ts <= MAX_TIME:
            return FAULT_LIMIT + AT_TIME
        if not 0 < local_ts <= MAX_TIME:
            return FAULT_LIMIT + AT_LOCAL
        if qty < 0.0:
            return FAULT_LIMIT + AT_AMOUNT
        cursor[0] = p
        if not _is(begin, end, self._symbol, self._symbol_n) and not self._first(begin, end):
            return OK
        return self._push(ev, exch_ts * 1000, local_ts * 1000, px, qty)

    cdef int _header(self, const char** cursor) noexcept with gil:
        """Learns from the first line what the file is."""
        cdef const char* p = cursor[0]
        while p[0] != b"\n":
            p += 1
        names = tuple(cursor[0][:p - cursor[0]].decode("utf-8", "replace").rstrip("\r").split(","))
        if names != TRADES and names != DEPTH:
            return FAULT_COLUMNS
        self.columns = names
        self._trades = names == TRADES
        cursor[0] = p + 1
        return OK

    cdef inline const char* _kind(self, const char* p, uint64_t* ev) noexcept nogil:
        """Passes a trade's id over, or reads whether a row is part of a snapshot."""
        cdef const char* end = skip_field(p)
        ev[0] = EVENT_TRADE
        if not self._trades:
            if _is(p, end, b"false", 5):
                ev[0] = EVENT_DEPTH
            elif _is(p, end, b"true", 4):
                ev[0] = EVENT_DEPTH_SNAPSHOT
            else:
                return NULL
        return end + 1 if end[0] == b"," else NULL

    cdef inline const char* _side(self, const char* p, uint64_t* ev) noexcept nogil:
        cdef const char* end = skip_field(p)
        if _is(p, end, b"buy", 3) or (not self._trades and _is(p, end, b"bid", 3)):
            ev[0] |= EV_BUY
        elif _is(p, end, b"sell", 4) or (not self._trades and _is(p, end, b"ask", 3)):
            ev[0] |= EV_SELL
        elif not (self._trades and _is(p, end, b"unknown", 7)):
            return NULL
        return end + 1 if end[0] == b"," else NULL

    cdef bint _first(self, const char* begin, const char* end) noexcept with gil:
        """Whether a symbol that is not the one taken so far is to be: the first, if none was asked for."""
        name = begin[:end - begin]
        if self._symbol_n < 0:
            self._name(name)
            return True
        if len(self.others) < 10:
            self.others[name.decode("utf-8", "replace")] = True
        return False

    cdef int _push(self, uint64_t ev, int64_t exch_ts, int64_t local_ts, double px, double qty) noexcept nogil:
        cdef Event* row
        cdef int64_t capacity
        if self._n == self._capacity:
            capacity = self._capacity + self._capacity // 2 + 65536
            row = <Event*>realloc(self._rows, <size_t>capacity * sizeof(Event))
            if row == NULL:
                return ERR_NO_MEMORY
            self._rows = row
            self._capacity = capacity
        row = self._rows + self._n
        row.ev = ev
        row.exch_ts = exch_ts
        row.local_ts = local_ts
        row.px = px
        row.qty = qty
        row.order_id = 0
        row.ival = 0
        row.fval = 0.0
        self._n += 1
        return OK

    cdef object refuse(self, bytes text, int fault):
        cdef list values = text.decode("utf-8", "replace").rstrip("\r").split(",")
        field, message = None, ""
        if fault == ERR_NO_MEMORY:
            raise CapacityError(f"no memory for more than {self._n} rows")
        if fault == FAULT_COLUMNS:
            message = f"the columns {','.join(values)[:200]} are neither those of trades nor of incremental_book_L2"
        elif fault == FAULT_END or len(values) != len(self.columns):
            message = f"a line of {len(values)} fields instead of {len(self.columns)}"
        elif fault < FAULT_LIMIT:
            field = self.columns[fault - FAULT_FIELD]
            expected = "a number" if fault - FAULT_FIELD != AT_KIND else "true or false"
            if fault - FAULT_FIELD == AT_SIDE:
                expected = "buy, sell or unknown" if self._trades else "bid or ask"
            message = f"{values[fault - FAULT_FIELD]!r} is not {expected}"
        else:
            field = self.columns[fault - FAULT_LIMIT]
            limit = {"amount": "0 or more", "symbol": f"at most {MAX_NAME} bytes"}.get(
                field, f"from 1 to {MAX_TIME}"
            )
            message = f"{values[fault - FAULT_LIMIT]} is not {limit}"
        raise DataError(message, file=self.file, line=self.line, field=field)
