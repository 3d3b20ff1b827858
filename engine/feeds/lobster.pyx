"""LOBSTER's message files: lines ``time,type,order id,size,price,direction`` to rows of ``event_dtype``.

One pass over the text without the GIL, about 100 ns a line; memory and rows are those of by_order.pxd.

A message file begins with a book that it does not tell: orders that were added before, or at prices out of
its levels, are reduced and executed all the same. What ``seed`` puts into the book stands for those that were
there at the beginning, one order a price; messages about orders that are in neither are counted.
"""

cimport cython
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memset

from engine.core.codes cimport ERR_BAD_QTY, ERR_NO_MEMORY, ERR_ORDER_ID_EXIST, ERR_ORDER_NOT_FOUND, OK
from engine.core.idmap cimport idmap_find
from engine.core.types cimport EV_BUY, EV_SELL
from engine.feeds.by_order cimport (
    ByOrder,
    by_order_add,
    by_order_cancel,
    by_order_delete,
    by_order_execute,
    by_order_free,
    by_order_init,
    by_order_room,
    by_order_take,
    by_order_trade,
)
from engine.feeds.fields cimport LineParser, line_end, read_integer, skip_field

from engine.core.errors import CapacityError, DataError

NAMES = ("", "add", "reduced", "deleted", "executed", "hidden_trade", "cross", "halt")
"""What the types of messages are called."""

FIELDS = ("time", "type", "order_id", "size", "price", "direction")

cdef enum:
    TYPE_ADD = 1
    TYPE_REDUCE = 2
    TYPE_DELETE = 3
    TYPE_EXECUTE = 4
    TYPE_HIDDEN = 5
    TYPE_CROSS = 6
    TYPE_HALT = 7

cdef enum:
    FAULT_FIELD = 200      # and the field's number: no number, or there is none
    FAULT_VALUE = 210      # and the field's number: out of its limits
    FAULT_UNSORTED = 220
    FAULT_END = 221

cdef enum:
    MAX_PRICE = 2_000_000_000

cdef int64_t MAX_SIZE = 4_294_967_295
cdef int64_t DAY = 86_400_000_000_000
cdef int64_t SECOND = 1_000_000_000

# Numbers of stand-ins: the side and the price, far from those of orders.
cdef uint64_t STAND_IN = <uint64_t>1 << 63

cdef struct Message:
    int64_t ts
    int64_t kind
    int64_t order_id
    int64_t size
    int64_t price
    int64_t direction


cdef const char* _read_time(const char* p, int64_t* out) noexcept nogil:
    """Seconds with decimals as nanoseconds; what is finer is dropped."""
    cdef int64_t unit = SECOND
    cdef unsigned int c
    p = read_integer(p, out)
    if p == NULL or out[0] < 0 or out[0] > DAY:
        return NULL
    out[0] *= SECOND
    if p[0] != b".":
        return p
    p += 1
    c = <unsigned char>p[0] - 48
    while c <= 9:
        unit //= 10
        out[0] += unit * c
        p += 1
        c = <unsigned char>p[0] - 48
    return p


cdef inline uint64_t _stand_in(uint64_t side, int64_t price) noexcept nogil:
    return STAND_IN | (side << 32) | <uint64_t>price


@cython.final
cdef class LobsterParser(LineParser):
    """Turns the text of a message file, fed in blocks of any size, into events in its order.

    Args:
        midnight: Nanoseconds since the epoch at the beginning of the day at the exchange.
        latency: Added to exchange times, which makes local times.
        hidden_sides: Whether trades of hidden orders tell the side (until July 14, 2014).
        levels: ``(side, price, size)`` of the book behind the first message, side 1 or -1, in 1/10,000.
        file: What errors name.
    """

    cdef ByOrder book
    cdef int64_t _counts[8]
    cdef int64_t _midnight, _last
    cdef bint _hidden_sides
    cdef list _levels
    cdef readonly int64_t unknown

    def __cinit__(self, *, int64_t midnight=0, int64_t latency=0, bint hidden_sides=False, levels=(), file=None):
        memset(&self._counts[0], 0, sizeof(self._counts))
        if by_order_init(&self.book, latency) != OK:
            raise MemoryError
        self._midnight, self._hidden_sides, self.file = midnight, hidden_sides, file
        self._levels = list(levels)
        self._last = self.unknown = 0

    def __dealloc__(self):
        by_order_free(&self.book)

    @property
    def counts(self):
        """Messages by what they are."""
        return {NAMES[k]: self._counts[k] for k in range(1, 8) if self._counts[k]}

    @property
    def live(self):
        """Orders in the book now, stand-ins included."""
        return self.book.ids.used

    def take(self):
        """Hands over the events so far.

        Returns:
            An ``event_dtype`` array with EXCH and LOCAL flags, sorted by both clocks.
        """
        return by_order_take(&self.book)

    cdef int parse_line(self, const char** cursor) noexcept nogil:
        cdef const char* p = cursor[0]
        cdef Message m
        cdef int64_t* fields = &m.kind
        cdef int k, code
        p = _read_time(p, &m.ts)
        if p == NULL:
            return FAULT_FIELD
        for k in range(1, 6):
            if p[0] != b",":
                return FAULT_FIELD + k - 1
            p = read_integer(p + 1, &fields[k - 1])
            if p == NULL:
                return FAULT_FIELD + k
        # Newer files have a seventh field, the participant's name.
        if p[0] == b",":
            p = skip_field(p + 1)
        p = line_end(p)
        if p == NULL:
            return FAULT_END
        code = self._check(&m)
        if code == OK:
            code = self._message(&m)
        if code != OK:
            return code
        cursor[0] = p
        return OK

    cdef int _check(self, const Message* m) noexcept nogil:
        """Whether every field is in its limits."""
        if m.ts >= DAY:
            return FAULT_VALUE
        if m.ts < self._last:
            return FAULT_UNSORTED
        if not 1 <= m.kind <= 7:
            return FAULT_VALUE + 1
        if m.kind == TYPE_HALT:
            return OK
        if m.order_id < 0 and m.kind <= TYPE_EXECUTE:
            return FAULT_VALUE + 2
        if not 0 < m.size <= MAX_SIZE and not (m.kind == TYPE_CROSS and m.size == 0):
            return FAULT_VALUE + 3
        if not 0 <= m.price <= MAX_PRICE:
            return FAULT_VALUE + 4
        if m.direction != 1 and m.direction != -1:
            return FAULT_VALUE + 5
        return OK

    cdef int _message(self, const Message* m) noexcept nogil:
        cdef ByOrder* book = &self.book
        cdef int64_t ts = self._midnight + m.ts
        cdef uint64_t side = EV_BUY if m.direction == 1 else EV_SELL
        cdef uint64_t order_id = <uint64_t>m.order_id
        cdef int code = OK
        if self.line == 0 and m.kind == TYPE_ADD:
            code = self._seed(m)
        if code == OK:
            code = by_order_room(book)
        if code != OK:
            return code
        self._last = m.ts
        self._counts[m.kind] += 1
        if m.kind == TYPE_ADD:
            code = by_order_add(book, ts, order_id, side, m.price, m.size)
        elif m.kind <= TYPE_EXECUTE:
            code = self._change(m, ts, side, order_id)
        elif m.kind == TYPE_HIDDEN:
            by_order_trade(book, ts, (EV_BUY | EV_SELL) ^ side if self._hidden_sides else 0, m.price, m.size)
        elif m.kind == TYPE_CROSS and m.size > 0:
            by_order_trade(book, ts, 0, m.price, m.size)
        if code == OK and self.line == 0 and m.kind != TYPE_ADD:
            code = self._seed(m)
        return code

    cdef int _change(self, const Message* m, int64_t ts, uint64_t side, uint64_t order_id) noexcept nogil:
        """Takes from an order, or from the one that stands for those there were at its price."""
        cdef ByOrder* book = &self.book
        cdef bint known = idmap_find(&book.ids, order_id) != 0
        cdef int code = ERR_ORDER_NOT_FOUND
        if not known:
            order_id = _stand_in(side, m.price)
        if m.kind == TYPE_EXECUTE:
            code = by_order_execute(book, ts, order_id, m.size, m.price, True)
        elif m.kind == TYPE_DELETE and known:
            code = by_order_delete(book, ts, order_id)
        else:
            code = by_order_cancel(book, ts, order_id, m.size)
        if known or code == OK:
            return code
        self.unknown += 1
        if m.kind == TYPE_EXECUTE:
            by_order_trade(book, ts, (EV_BUY | EV_SELL) ^ side, m.price, m.size)
        return OK

    cdef int _seed(self, const Message* m) noexcept with gil:
        """Adds what the first line of the book says was there; the first message's order comes by itself."""
        cdef int64_t price, size
        cdef uint64_t side
        cdef int code
        for sign, price, size in self._levels:
            side = EV_BUY if sign == 1 else EV_SELL
            if m.kind == TYPE_ADD and m.direction == sign and m.price == price:
                size -= m.size
            if size <= 0:
                continue
            code = by_order_room(&self.book)
            if code == OK:
                code = by_order_add(
                    &self.book, self._midnight + m.ts, _stand_in(side, price), side, price, size
                )
            if code != OK:
                return code
        return OK

    cdef object refuse(self, bytes text, int fault):
        cdef list values = text.decode("utf-8", "replace").rstrip("\r").split(",")
        field, message = None, ""
        if fault == ERR_NO_MEMORY:
            raise CapacityError(f"no memory for more than {self.book.n} rows and {self.book.ids.used} orders")
        if FAULT_FIELD <= fault < FAULT_VALUE:
            field = FIELDS[fault - FAULT_FIELD]
            if len(values) <= fault - FAULT_FIELD or len(values) < len(FIELDS):
                message = f"a line of {len(values)} fields instead of {len(FIELDS)}"
            else:
                message = f"{values[fault - FAULT_FIELD]!r} is no number"
        elif FAULT_VALUE <= fault < FAULT_UNSORTED:
            field = FIELDS[fault - FAULT_VALUE]
            message = f"{values[fault - FAULT_VALUE]} is not {_LIMITS[field]}"
        elif fault == FAULT_UNSORTED:
            field, message = "time", f"{values[0]} is before the line above it"
        elif fault == FAULT_END:
            message = "more behind the direction than one field"
        elif fault == ERR_BAD_QTY:
            field, message = "size", f"{values[3]}, but less is left of order {values[2]}"
        elif fault == ERR_ORDER_ID_EXIST:
            field, message = "order_id", f"order {values[2]} is in the book already"
        raise DataError(message, file=self.file, line=self.line, field=field)


_LIMITS = {
    "time": "less than a day of 86400 seconds",
    "type": "a type from 1 to 7",
    "order_id": "0 or more",
    "size": f"from 1 to {MAX_SIZE}",
    "price": f"from 0 to {MAX_PRICE}",
    "direction": "1 or -1",
}
