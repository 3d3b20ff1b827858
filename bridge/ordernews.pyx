"""ORDER records of the engine: what the bridge asks of one, and the two messages it makes of it.

An execution made of tuples and a struct of msgspec's costs its owner some 40 microseconds when the bridge has
just been woken; from the record's memory it costs a few. :mod:`bridge.codec` says what the bytes are; a test
holds the two together.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_AsUTF8AndSize
from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memcpy

from bridge.packing cimport pack_bool, pack_float, pack_signed, pack_text, pack_unsigned
from engine.core.types cimport STATUS_DENIED, STATUS_NONE, Order
from engine.runtime.records cimport SLOT_SIZE, Record

from bridge.streams import order_ended
from engine.core.errors import RingCorrupt
from engine.core.types import OrdType, Reason, Status, TimeInForce
from engine.risk.codes import DENY_CODES

cdef enum:
    # Both tags, 27 fields of at most nine bytes, and the names of codes.
    FIXED = 768
    LONGEST_TEXT = 0xffff


def _names(dict names) -> list:
    return [names[code].encode() if code in names else None for code in range(256)]


_REASONS = {int(code): "" if code == Reason.NONE else code.name.lower() for code in Reason}
cdef list _STATUS = _names({int(code): code.name for code in Status})
cdef list _REASON = _names(_REASONS)
cdef list _TIF = _names({int(code): code.name for code in TimeInForce})
cdef list _TYPE = _names({int(OrdType.LIMIT): "limit", int(OrdType.MARKET): "market"})
cdef list _DENY = _names({int(code): name for code, name in DENY_CODES.items()})
# Whether an order is over with a status; one that was denied, by reason.
_STATUSES = [code for code in Status if code != Status.DENIED]
cdef bytes _OVER = bytes(code in _STATUSES and order_ended(Status(code).name, "NEW", "") for code in range(256))
cdef bytes _OVER_DENIED = bytes(order_ended("DENIED", "NONE", _REASONS.get(code, "")) for code in range(256))


cdef inline unsigned char* _name(unsigned char* at, list names, uint8_t code, str what) except NULL:
    name = names[code]
    if name is None:
        raise RingCorrupt(f"an order record with {what} {code}")
    return pack_text(at, PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name))


cdef inline unsigned char* _text(unsigned char* at, str text) except NULL:
    cdef Py_ssize_t size = 0
    cdef const char* utf8 = PyUnicode_AsUTF8AndSize(text, &size)
    return pack_text(at, utf8, size)


cdef bytes _room(str strategy_id, str symbol):
    if len(strategy_id) > LONGEST_TEXT // 4 or len(symbol) > LONGEST_TEXT // 4:
        raise RingCorrupt(f"a name of {max(len(strategy_id), len(symbol))} characters")
    return PyBytes_FromStringAndSize(NULL, FIXED + 4 * (len(strategy_id) + len(symbol)))


@cython.final
cdef class OrderNews:
    """A copy of one ORDER record."""

    cdef Record record

    @property
    def strategy(self) -> int:
        """The slot of its strategy."""
        return self.record.header.strategy

    @property
    def instrument(self) -> int:
        """The instrument's number."""
        return self.record.header.instrument

    @property
    def dropped(self) -> int:
        """Records of the ring that were dropped just before it."""
        return self.record.header.dropped

    @property
    def order_id(self) -> int:
        """The engine's number of the order."""
        return self.record.payload.order.order.order_id

    @property
    def client_order_id(self) -> int:
        """The owner's number of the order; 0 for strategies inside the engine."""
        return self.record.payload.order.order.client_order_id

    @property
    def side(self) -> int:
        """1 or -1."""
        return self.record.payload.order.order.side

    @property
    def cum_exec_qty(self) -> float:
        """What has been executed so far, in quantity units."""
        return self.record.payload.order.cum_exec_qty

    @property
    def journal_seq(self) -> int:
        """The journal's record that it follows from; 0 without a journal."""
        return self.record.payload.order.journal_seq

    @property
    def changed(self) -> bool:
        """Whether its status is another one than before."""
        return self.record.payload.order.order.status != self.record.payload.order.prev_status

    @property
    def denied(self) -> bool:
        """Whether a request of it was denied."""
        return self.record.payload.order.order.status == STATUS_DENIED

    @property
    def ended(self) -> bool:
        """Whether the order is over with it: :func:`bridge.streams.order_ended`."""
        cdef const Order* order = &self.record.payload.order.order
        if order.status != STATUS_DENIED:
            return _OVER[order.status] != 0
        return self.record.payload.order.prev_status == STATUS_NONE and _OVER_DENIED[order.reason] != 0

    cdef unsigned char* _codes(self, unsigned char* at) except NULL:
        cdef const Order* order = &self.record.payload.order.order
        if order.side == 1:
            at = pack_text(at, b"buy", 3)
        elif order.side == -1:
            at = pack_text(at, b"sell", 4)
        else:
            raise RingCorrupt(f"an order record with side {order.side}")
        at = _name(at, _TYPE, order.order_type, "order_type")
        at = _name(at, _TIF, order.time_in_force, "time_in_force")
        at = _name(at, _STATUS, order.status, "status")
        return _name(at, _STATUS, self.record.payload.order.prev_status, "prev_status")

    cdef unsigned char* _denial(self, unsigned char* at) except NULL:
        cdef const Order* order = &self.record.payload.order.order
        cdef bint denied = order.status == STATUS_DENIED
        at = pack_unsigned(_name(at, _REASON, order.reason, "reason"), self.record.header.step)
        code = _DENY[order.reason] if denied else None
        at = pack_text(at, PyBytes_AS_STRING(code), PyBytes_GET_SIZE(code)) if code is not None else pack_text(at, b"", 0)
        at = pack_float(at, order.queue_ahead if denied else 0.0)
        return pack_float(at, order.queue_traded if denied else 0.0)

    def execution(
        self, bint executed, uint64_t epoch, uint64_t seq, str strategy_id not None, str symbol not None
    ) -> bytes:
        """Its :class:`bridge.protocol.Execution`, encoded.

        Args:
            executed: Whether its last execution is news.
            epoch: Of the bridge.
            seq: The execution's number.
            strategy_id: Whose it is.
            symbol: The instrument's.

        Raises:
            RingCorrupt: A code in it has no name.
        """
        cdef const Order* order = &self.record.payload.order.order
        cdef bytes frame = _room(strategy_id, symbol)
        cdef unsigned char* first = <unsigned char*>PyBytes_AS_STRING(frame)
        cdef unsigned char* at = first
        memcpy(at, b"\xdc\x00\x1c\xa9Execution", 13)
        at = pack_unsigned(pack_unsigned(at + 13, epoch), seq)
        at = pack_signed(pack_signed(at, self.record.header.ts), order.exch_ts)
        at = _text(_text(at, strategy_id), symbol)
        at = pack_unsigned(pack_unsigned(at, order.client_order_id), order.order_id)
        at = self._codes(at)
        at = pack_float(pack_float(at, self.record.payload.order.px), self.record.payload.order.qty)
        at = pack_float(at, self.record.payload.order.leaves_qty)
        at = pack_float(at, self.record.payload.order.cum_exec_qty)
        at = pack_float(at, self.record.payload.order.exec_px if executed else 0.0)
        at = pack_float(at, self.record.payload.order.exec_qty if executed else 0.0)
        at = pack_float(at, order.fee if executed else 0.0)
        at = self._denial(pack_bool(at, executed and order.is_maker != 0))
        at = pack_unsigned(at, self.record.payload.order.journal_seq)
        return frame[: at - first]

    def update(self, uint64_t epoch, uint64_t seq, str strategy_id not None, str symbol not None) -> bytes:
        """Its :class:`bridge.protocol.OrderUpdate`, encoded; arguments and errors are :meth:`execution`'s."""
        cdef const Order* order = &self.record.payload.order.order
        cdef bytes frame = _room(strategy_id, symbol)
        cdef unsigned char* first = <unsigned char*>PyBytes_AS_STRING(frame)
        cdef unsigned char* at = first
        memcpy(at, b"\xdc\x00\x15\xabOrderUpdate", 15)
        at = pack_unsigned(pack_unsigned(at + 15, epoch), seq)
        at = _text(_text(pack_signed(at, self.record.header.ts), strategy_id), symbol)
        at = pack_unsigned(pack_unsigned(at, order.order_id), order.client_order_id)
        at = self._codes(at)
        at = pack_float(pack_float(at, self.record.payload.order.px), self.record.payload.order.qty)
        at = self._denial(pack_float(at, self.record.payload.order.leaves_qty))
        return frame[: at - first]


def orders(const unsigned char[:, ::1] slots, Py_ssize_t begin, Py_ssize_t end) -> list:
    """Copies ORDER records.

    Args:
        slots: Shape (n, 256).
        begin: The first record.
        end: One after the last.

    Returns:
        An :class:`OrderNews` each.
    """
    cdef OrderNews one
    cdef Py_ssize_t i
    cdef list out = []
    if slots.shape[1] != SLOT_SIZE or not 0 <= begin <= end <= slots.shape[0]:
        raise ValueError(f"records {begin} to {end} of {slots.shape[0]} of {slots.shape[1]} bytes")
    for i in range(begin, end):
        one = OrderNews.__new__(OrderNews)
        memcpy(&one.record, &slots[i, 0], SLOT_SIZE)
        out.append(one)
    return out
