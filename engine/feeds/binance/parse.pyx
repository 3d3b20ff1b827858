"""Raw Binance captures to events: ``CaptureParser`` feeds blocks of text to the scanner of scan.pyx.

Lines that the scanner finds unusual go through ``messages.decode``, one at a time, with the GIL.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING
from cython cimport view
from libc.stdint cimport int64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy, memset

import numpy as np

from engine.core.types cimport Event
from engine.feeds.binance.scan cimport (
    MSG_OTHER,
    MSG_SNAPSHOT,
    OPT_MARK,
    OPT_TICKER,
    SCAN_NO_MEMORY,
    SCAN_OK,
    SCAN_UNUSUAL,
    Mark,
    Parser,
    scan_finish,
    scan_line,
    scan_push,
    scan_replay_recent,
    scan_snapshot_time,
)

from engine.core.errors import CapacityError, DataError
from engine.core.types import event_dtype
from engine.feeds.binance import messages

MESSAGE_KINDS = ("", "trade", "depthUpdate", "bookTicker", "markPriceUpdate", "snapshot", "other")

mark_dtype = np.dtype([(name, np.int64) for name in (
    "row", "rows", "line", "kind", "first_id", "last_id", "prev_id", "exch_ts", "timed"
)])
assert mark_dtype.itemsize == sizeof(Mark)


@cython.final
cdef class CaptureParser:
    """Turns the text of a capture, fed in blocks of any size, into events in the order of arrival.

    Args:
        opt: As in hftbacktest's converter: ``m`` adds mark prices, ``t`` the book ticker.
        marks: Also keeps where each message's rows are, with its sequence numbers.
        fast: False sends every line through ``messages.decode``; for tests.
        file: What errors name.

    Raises:
        DataError: A line is refused; the error has its line number and byte offset in the text.
    """

    cdef Parser s
    cdef Mark* _marks
    cdef int64_t _marks_n, _marks_capacity
    cdef bint _keep_marks, _fast
    cdef bytes _tail
    cdef int64_t _line_number, _byte
    cdef readonly object file
    cdef readonly dict others
    cdef readonly object symbol

    def __cinit__(self, str opt="", *, bint marks=False, bint fast=True, file=None):
        memset(&self.s, 0, sizeof(self.s))
        self._marks = NULL
        self._marks_n = self._marks_capacity = 0
        self._keep_marks, self._fast = marks, fast
        self._tail = b""
        self._line_number = self._byte = 0
        self.s.opt = (OPT_MARK if "m" in opt else 0) | (OPT_TICKER if "t" in opt else 0)
        self.s.snapshot_id = -1
        self.file = file
        self.others = {}
        self.symbol = None

    def __dealloc__(self):
        free(self.s.rows.data)
        free(self._marks)

    @property
    def lines(self):
        """Lines read so far."""
        return self._line_number

    @property
    def rows(self):
        """Rows made so far."""
        return self.s.rows.n

    @property
    def counts(self):
        """Messages by kind; those that are no market data under the name they have (``others``)."""
        cdef int k
        known = {}
        for k in range(1, <int>MSG_OTHER):
            if self.s.counts[k] > 0:
                known[MESSAGE_KINDS[k]] = self.s.counts[k]
        return known | dict(sorted(self.others.items()))

    @property
    def stale(self):
        """Spot depth messages dropped because the snapshot before them had included them."""
        return self.s.stale

    @property
    def replayed(self):
        """Rows repeated after a spot snapshot that arrived later than newer updates."""
        return self.s.replayed

    def feed(self, bytes block not None):
        """Parses the lines that this block completes."""
        cdef Py_ssize_t first = 0
        cdef Py_ssize_t last = block.rfind(b"\n") + 1
        if last == 0:
            self._tail += block
            if len(self._tail) > messages.MAX_LINE:
                raise self._error(self._tail, f"a line of more than {messages.MAX_LINE} bytes")
            return
        if self._tail:
            first = block.find(b"\n") + 1
            head = self._tail + block[:first]
            self._tail = b""
            self._parse(head, 0, len(head))
        self._parse(block, first, last)
        self._tail = block[last:]

    def close(self):
        """Parses what is left when the text does not end with a newline."""
        tail, self._tail = self._tail, b""
        self._parse(tail, 0, len(tail))
        if self.s.untimed_rows > 0:
            raise DataError("no message has an exchange time", file=self.file)

    def take(self):
        """Hands over the events; the parser is empty then.

        Returns:
            An ``event_dtype`` array, without EXCH and LOCAL flags.
        """
        cdef view.array owner
        cdef Event* data = self.s.rows.data
        cdef int64_t n = self.s.rows.n
        self.s.rows.data = NULL
        self.s.rows.n = self.s.rows.capacity = 0
        if n == 0:
            free(data)
            return np.empty(0, event_dtype)
        owner = <Event[:n]>data
        owner.callback_free_data = free
        return np.asarray(owner)

    def take_marks(self):
        """The marks of all messages, as an array of ``mark_dtype``."""
        if self._marks_n == 0:
            return np.empty(0, mark_dtype)
        return np.asarray(<int64_t[:self._marks_n, :9]><int64_t*>self._marks).copy().view(mark_dtype)[:, 0]

    cdef object _parse(self, bytes text, Py_ssize_t first, Py_ssize_t last):
        cdef const char* begin = PyBytes_AS_STRING(text)
        cdef const char* p = begin + first
        cdef const char* end = begin + last
        cdef const char* stop
        cdef int status
        while p < end:
            with nogil:
                status = self._run(&p, end)
            if status == SCAN_NO_MEMORY:
                raise CapacityError(f"no memory for more than {self.s.rows.n} rows")
            if status == SCAN_OK:
                break
            stop = p
            while stop < end and stop[0] != b"\n":
                stop += 1
            self._line_number += 1
            self._slow(text[p - begin:stop - begin], p - begin - first)
            p = stop + 1
        self._byte += last - first

    cdef int _run(self, const char** cursor, const char* end) noexcept nogil:
        """Parses lines until one is unusual or none is left."""
        cdef Mark mark
        cdef int status
        while cursor[0] < end:
            if not self._fast:
                return SCAN_UNUSUAL
            status = scan_line(&self.s, cursor, end, &mark)
            if status != SCAN_OK:
                return status
            cursor[0] += 1
            self._line_number += 1
            scan_finish(&self.s, &mark)
            if self._keep_marks and self._mark(&mark) != SCAN_OK:
                return SCAN_NO_MEMORY
        return SCAN_OK

    cdef int _mark(self, Mark* mark) noexcept nogil:
        cdef Mark* data
        if self._marks_n == self._marks_capacity:
            self._marks_capacity += self._marks_capacity // 2 + 4096
            data = <Mark*>realloc(self._marks, <size_t>self._marks_capacity * sizeof(Mark))
            if data == NULL:
                return SCAN_NO_MEMORY
            self._marks = data
        mark.line = self._line_number
        memcpy(&self._marks[self._marks_n], mark, sizeof(Mark))
        self._marks_n += 1
        return SCAN_OK

    cdef object _slow(self, bytes line, int64_t offset):
        """Parses a line with ``messages.decode`` and appends what it says."""
        cdef Mark mark
        cdef int64_t exch_ts
        try:
            decoded = messages.decode(line, bool(self.s.opt & OPT_MARK), bool(self.s.opt & OPT_TICKER))
        except messages.Refused as refused:
            raise self._error(line, str(refused), refused.field, offset) from None
        if decoded is None:
            return
        self._check_symbol(line, decoded.symbol, offset)
        self.s.counts[decoded.kind] += 1
        if decoded.kind == MSG_OTHER:
            self.others[decoded.name] = self.others.get(decoded.name, 0) + 1
        self.s.local_ts = decoded.local_ts
        mark.row, mark.kind, mark.timed = self.s.rows.n, decoded.kind, decoded.timed
        mark.first_id, mark.last_id, mark.prev_id = decoded.first_id, decoded.last_id, decoded.prev_id
        exch_ts = decoded.exch_ts
        if exch_ts < 0:
            is_snapshot = decoded.kind == MSG_SNAPSHOT
            exch_ts = scan_snapshot_time(&self.s, mark.last_id) if is_snapshot else self.s.clock
        for ev, px, qty in decoded.rows:
            if scan_push(&self.s, ev, exch_ts, px, qty) != SCAN_OK:
                raise CapacityError(f"no memory for more than {self.s.rows.n} rows")
        mark.rows = self.s.rows.n - mark.row
        mark.exch_ts = exch_ts if mark.rows else -1
        if exch_ts > self.s.clock:
            self.s.clock = exch_ts
        if self.s.clock == 0:
            self.s.untimed_rows = self.s.rows.n
        if mark.kind == MSG_SNAPSHOT and not mark.timed:
            self.s.snapshot_id = mark.last_id
            if scan_replay_recent(&self.s, mark.last_id) != SCAN_OK:
                raise CapacityError(f"no memory for more than {self.s.rows.n} rows")
        scan_finish(&self.s, &mark)
        if self._keep_marks and self._mark(&mark) != SCAN_OK:
            raise CapacityError(f"no memory for more than {self._marks_n} marks")

    cdef object _check_symbol(self, bytes line, str symbol, int64_t offset):
        if not symbol:
            return
        if self.symbol is None:
            self.symbol = symbol
            encoded = symbol.encode()
            if len(encoded) < <Py_ssize_t>sizeof(self.s.symbol):
                memcpy(self.s.symbol, PyBytes_AS_STRING(encoded), len(encoded))
                self.s.symbol_n = len(encoded)
        elif symbol != self.symbol:
            raise self._error(
                line, f"{symbol} in a capture of {self.symbol}: convert one symbol at a time", "s", offset
            )

    cdef object _error(self, bytes line, str message, field=None, int64_t offset=0):
        return DataError(
            message, file=self.file, line=max(self._line_number, 1), byte=self._byte + offset, field=field
        )
