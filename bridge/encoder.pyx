"""Market records straight from the ring's memory: trades and books as the frames that the codec would make of them.

A trade costs some 100 ns here and several microseconds by way of NumPy, a tuple and a struct; so does a change of a
book that is one record, which is also made in the book that the bridge keeps. The codec (``bridge.codec.encode`` of
``bridge.protocol.Trade`` and ``Depth``) says what the bytes are; tests hold the two together. Changes of several
records become dictionaries, and are encoded once they are all there.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

from bridge.packing cimport pack_float, pack_signed, pack_unsigned
from engine.core.types cimport EV_BUY
from engine.runtime.records cimport (
    DEPTH_LEVELS,
    FLAG_CONFLATED,
    FLAG_LAST,
    FLAG_SNAPSHOT,
    SLOT_SIZE,
    DepthLevel,
    DepthRecord,
    Event,
    Record,
)

from engine.core.errors import RingCorrupt

cdef enum:
    LONGEST_SYMBOL = 256
    # Tag, two times, epoch, number, side, price and quantity.
    FIXED = 96


cdef int _checked(const unsigned char[:, ::1] slots, Py_ssize_t begin, Py_ssize_t end) except -1:
    if slots.shape[1] != SLOT_SIZE or not 0 <= begin <= end <= slots.shape[0]:
        raise ValueError(f"records {begin} to {end} of {slots.shape[0]} of {slots.shape[1]} bytes")
    return 0


def runs(const unsigned char[:, ::1] slots) -> list:
    """Cuts a batch of market records into runs of one kind and instrument.

    Args:
        slots: Shape (n, 256).

    Returns:
        ``(kind, instrument, begin, end)`` each, in order.
    """
    cdef Py_ssize_t i, begin = 0, n = slots.shape[0]
    cdef const Record* record
    cdef uint16_t kind = 0, instrument = 0
    cdef list out = []
    _checked(slots, 0, n)
    for i in range(n):
        record = <const Record*>&slots[i, 0]
        if i == begin:
            kind, instrument = record.header.kind, record.header.instrument
        elif record.header.kind != kind or record.header.instrument != instrument:
            out.append((kind, instrument, begin, i))
            begin, kind, instrument = i, record.header.kind, record.header.instrument
    if n:
        out.append((kind, instrument, begin, n))
    return out


def trades(
    const unsigned char[:, ::1] slots, Py_ssize_t begin, Py_ssize_t end, uint64_t epoch, uint64_t seq,
    bytes symbol not None,
) -> list:
    """Encodes TRADE records, each as the codec encodes a :class:`bridge.protocol.Trade`.

    Args:
        slots: Shape (n, 256).
        begin: The first record.
        end: One after the last.
        epoch: Of the bridge.
        seq: Number of the first one's message; the others count on.
        symbol: The instrument's, encoded as a msgpack text.

    Returns:
        A frame each.
    """
    cdef unsigned char frame[FIXED + LONGEST_SYMBOL]
    cdef unsigned char* at
    cdef unsigned char* middle
    cdef const Event* event
    cdef const Record* record
    cdef Py_ssize_t i
    cdef list out = []
    _checked(slots, begin, end)
    if PyBytes_GET_SIZE(symbol) > LONGEST_SYMBOL:
        raise ValueError(f"a symbol of {len(symbol)} bytes: at most {LONGEST_SYMBOL}")
    memcpy(frame, b"\x99\xa5Trade", 7)
    middle = pack_unsigned(frame + 7, epoch)
    for i in range(begin, end):
        record = <const Record*>&slots[i, 0]
        event = &record.payload.market.event
        at = pack_unsigned(middle, seq + <uint64_t>(i - begin))
        memcpy(at, PyBytes_AS_STRING(symbol), PyBytes_GET_SIZE(symbol))
        at = pack_signed(at + PyBytes_GET_SIZE(symbol), record.header.ts)
        at = pack_signed(at, event.exch_ts)
        if event.ev & EV_BUY:
            memcpy(at, b"\xa3buy", 4)
            at += 4
        else:
            memcpy(at, b"\xa4sell", 5)
            at += 5
        at = pack_float(pack_float(at, event.px), event.qty)
        out.append(PyBytes_FromStringAndSize(<char*>frame, at - frame))
    return out


cdef dict _levels(const DepthRecord* depth, Py_ssize_t begin, Py_ssize_t end):
    cdef dict out = {}
    cdef Py_ssize_t i
    for i in range(begin, end):
        out[depth.levels[i].px] = depth.levels[i].qty
    return out


cdef inline unsigned char* _array(unsigned char* at, uint32_t n) noexcept nogil:
    # DEPTH_LEVELS is below 16, which is what a head of one byte can say.
    at[0] = <unsigned char>(0x90 | n)
    return at + 1


cdef unsigned char* _side(
    unsigned char* at, const DepthRecord* depth, uint32_t begin, uint32_t end, dict side
) except NULL:
    cdef const DepthLevel* level
    cdef uint32_t i
    at = _array(at, end - begin)
    for i in range(begin, end):
        level = &depth.levels[i]
        at = pack_float(pack_float(_array(at, 2), level.px), level.qty)
        if level.qty > 0:
            side[level.px] = level.qty
        else:
            side.pop(level.px, None)
    return at


def whole_depths(
    const unsigned char[:, ::1] slots, Py_ssize_t begin, Py_ssize_t end, uint64_t epoch, uint64_t seq,
    bytes symbol not None, dict bids not None, dict asks not None, uint64_t checked_every,
) -> tuple:
    """Encodes DEPTH records that are a message each, as the codec encodes :class:`bridge.protocol.Depth`.

    It ends before a record that is a part of a message, begins a book, or whose message has a checksum.

    Args:
        slots: Shape (n, 256).
        begin: The first record.
        end: One after the last.
        epoch: Of the bridge.
        seq: Number of the first one's message; the others count on.
        symbol: The instrument's, encoded as a msgpack text.
        bids: Quantity by price, which the records change.
        asks: As ``bids``.
        checked_every: A message whose number is a multiple of it has a checksum.

    Returns:
        A frame each, and ``ts`` and ``exch_ts`` of the last one.

    Raises:
        RingCorrupt: A record claims more levels than it has room for.
    """
    cdef unsigned char frame[FIXED + LONGEST_SYMBOL + DEPTH_LEVELS * 19]
    cdef unsigned char* at
    cdef unsigned char* middle
    cdef const Record* record
    cdef const DepthRecord* depth
    cdef Py_ssize_t i
    cdef uint32_t n_bids, n_levels
    cdef int64_t ts = 0, exch_ts = 0
    cdef list out = []
    _checked(slots, begin, end)
    if PyBytes_GET_SIZE(symbol) > LONGEST_SYMBOL:
        raise ValueError(f"a symbol of {len(symbol)} bytes: at most {LONGEST_SYMBOL}")
    memcpy(frame, b"\x9b\xa5Depth", 7)
    middle = pack_unsigned(frame + 7, epoch)
    for i in range(begin, end):
        record = <const Record*>&slots[i, 0]
        depth = &record.payload.depth
        if not record.header.flags & FLAG_LAST or record.header.flags & FLAG_SNAPSHOT or not seq % checked_every:
            break
        n_bids, n_levels = depth.n_bids, <uint32_t>depth.n_bids + depth.n_asks
        if n_levels > DEPTH_LEVELS:
            raise RingCorrupt(f"a depth record with {n_bids} bids and {n_levels - n_bids} asks")
        ts, exch_ts = record.header.ts, depth.exch_ts
        at = pack_unsigned(middle, seq)
        memcpy(at, PyBytes_AS_STRING(symbol), PyBytes_GET_SIZE(symbol))
        at = pack_signed(pack_signed(at + PyBytes_GET_SIZE(symbol), ts), exch_ts)
        at = _side(at, depth, 0, n_bids, bids)
        at = _side(at, depth, n_bids, n_levels, asks)
        at[0], at[1], at[2] = 0xc2, 0xc3 if record.header.flags & FLAG_CONFLATED else 0xc2, 0
        out.append(PyBytes_FromStringAndSize(<char*>frame, at + 3 - frame))
        seq += 1
    return out, ts, exch_ts


def depths(const unsigned char[:, ::1] slots, Py_ssize_t begin, Py_ssize_t end) -> list:
    """Reads DEPTH records.

    Args:
        slots: Shape (n, 256).
        begin: The first record.
        end: One after the last.

    Returns:
        ``(flags, ts, exch_ts, bids, asks)`` each; the last two have quantities by price, in order.

    Raises:
        RingCorrupt: A record claims more levels than it has room for.
    """
    cdef const Record* record
    cdef const DepthRecord* depth
    cdef Py_ssize_t i
    cdef uint32_t n_bids, n_asks
    cdef list out = []
    _checked(slots, begin, end)
    for i in range(begin, end):
        record = <const Record*>&slots[i, 0]
        depth = &record.payload.depth
        n_bids, n_asks = depth.n_bids, depth.n_asks
        if n_bids + n_asks > DEPTH_LEVELS:
            raise RingCorrupt(f"a depth record with {n_bids} bids and {n_asks} asks")
        out.append(
            (
                record.header.flags,
                record.header.ts,
                depth.exch_ts,
                _levels(depth, 0, n_bids),
                _levels(depth, n_bids, n_bids + n_asks),
            )
        )
    return out
