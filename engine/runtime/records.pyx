"""Python's view of the ring records: dtypes derived from the C structs, and blobs cut into slots and joined.

Every payload dtype is padded to the payload's 224 bytes, so ``records["payload"].view(order_record_dtype)``
reads a whole array of slots in place, without a copy.
"""

from enum import IntEnum, IntFlag

import msgspec
import numpy as np

from engine.core.errors import RingCorrupt

# Cython reads a dtype off a one-element C array. It has none for unions and arrays of structs, and takes two
# doubles for a complex number, so slots and depth records are put together with the C compiler's offsets.
cdef RecordHeader _header
cdef MarketRecord _market
cdef OrderRecord _order
cdef FillRecord _fill
cdef DepthRecord _depth
cdef PositionRecord _position
cdef StatusRecord _status
cdef FeedStatusRecord _feed_status

if sizeof(Record) != SLOT_SIZE or sizeof(RecordHeader) != HEADER_SIZE or sizeof(Payload) != PAYLOAD_SIZE \
        or sizeof(DepthLevel) != 16:
    raise ImportError("a ring record is not 256 bytes on this platform")


def _padded(dtype):
    """The same fields in an item of the payload's size."""
    return np.dtype(
        {
            "names": list(dtype.names),
            "formats": [dtype.fields[name][0] for name in dtype.names],
            "offsets": [dtype.fields[name][1] for name in dtype.names],
            "itemsize": PAYLOAD_SIZE,
        }
    )


# Named as a view: Cython declares what its shared code for views needs only where a view has a name.
cdef RecordHeader[::1] _headers = <RecordHeader[:1]>&_header
header_dtype = np.asarray(_headers).dtype
market_record_dtype = _padded(np.asarray(<MarketRecord[:1]>&_market).dtype)
order_record_dtype = _padded(np.asarray(<OrderRecord[:1]>&_order).dtype)
fill_record_dtype = _padded(np.asarray(<FillRecord[:1]>&_fill).dtype)
depth_level_dtype = np.dtype([("px", np.float64), ("qty", np.float64)])
depth_record_dtype = np.dtype(
    {
        "names": ["n_bids", "n_asks", "exch_ts", "levels"],
        "formats": [np.uint16, np.uint16, np.int64, (depth_level_dtype, DEPTH_LEVELS)],
        "offsets": [
            <size_t>&_depth.n_bids - <size_t>&_depth,
            <size_t>&_depth.n_asks - <size_t>&_depth,
            <size_t>&_depth.exch_ts - <size_t>&_depth,
            <size_t>&_depth.levels - <size_t>&_depth,
        ],
        "itemsize": PAYLOAD_SIZE,
    }
)
position_record_dtype = _padded(np.asarray(<PositionRecord[:1]>&_position).dtype)
status_record_dtype = _padded(np.asarray(<StatusRecord[:1]>&_status).dtype)
feed_status_record_dtype = _padded(np.asarray(<FeedStatusRecord[:1]>&_feed_status).dtype)
record_dtype = np.dtype(
    {
        "names": [*header_dtype.names, "payload"],
        "formats": [header_dtype.fields[name][0] for name in header_dtype.names] + [f"V{PAYLOAD_SIZE}"],
        "offsets": [header_dtype.fields[name][1] for name in header_dtype.names] + [HEADER_SIZE],
        "itemsize": SLOT_SIZE,
    }
)

SLOT_BYTES = int(SLOT_SIZE)
PAYLOAD_BYTES = int(PAYLOAD_SIZE)
LEVELS_PER_RECORD = int(DEPTH_LEVELS)
UNOWNED = int(NO_STRATEGY)
"""The ``strategy`` of a record that belongs to none."""
MAX_BLOB_BYTES = 64 * 1024
"""Longest blob that is cut or joined; more means a corrupt ring or a runaway message."""


class Kind(IntEnum):
    """What a slot holds."""

    MARKET = RECORD_MARKET
    FEED_STATUS = RECORD_FEED_STATUS
    ORDER_REQUEST = RECORD_ORDER_REQUEST
    SIGNAL = RECORD_SIGNAL
    CONTROL = RECORD_CONTROL
    REPLY = RECORD_REPLY
    ORDER = RECORD_ORDER
    FILL = RECORD_FILL
    DEPTH = RECORD_DEPTH
    TRADE = RECORD_TRADE
    POSITION = RECORD_POSITION
    STRATEGY = RECORD_STRATEGY
    STATUS = RECORD_STATUS
    LOG = RECORD_LOG


class Flag(IntFlag):
    """Bits of a slot's ``flags``."""

    MORE = FLAG_MORE
    LAST = FLAG_LAST
    CONFLATED = FLAG_CONFLATED
    SNAPSHOT = FLAG_SNAPSHOT
    EXCH = FLAG_EXCH
    LOCAL = FLAG_LOCAL


class FeedState(IntEnum):
    """The ``feed_state`` of status records."""

    WAITING = 0
    RUNNING = 1
    ENDED = 2
    LOST = 3
    PAUSED = 4


class JournalState(IntEnum):
    """The ``journal_state`` of status records."""

    OFF = 0
    OK = 1
    FULL = 2
    HALTED = 3


BLOB_KINDS = frozenset({Kind.SIGNAL, Kind.CONTROL, Kind.REPLY, Kind.STRATEGY, Kind.LOG})
"""Kinds whose payload is a piece of a msgpack blob."""

PAYLOAD_DTYPES = {
    Kind.MARKET: market_record_dtype,
    Kind.FEED_STATUS: feed_status_record_dtype,
    Kind.ORDER_REQUEST: order_record_dtype,
    Kind.ORDER: order_record_dtype,
    Kind.FILL: fill_record_dtype,
    Kind.DEPTH: depth_record_dtype,
    Kind.TRADE: market_record_dtype,
    Kind.POSITION: position_record_dtype,
    Kind.STATUS: status_record_dtype,
}
"""The dtype of every kind that is not a blob."""


def blob_records(kind, message, *, instrument=0, strategy=UNOWNED, step=0, ts=0):
    """Encodes a message with msgpack and cuts it into slots, which the producer publishes together.

    Args:
        kind: One of :data:`BLOB_KINDS`.
        message: A dict (or anything that msgspec encodes).
        instrument: The header's instrument.
        strategy: The header's strategy slot.
        step: The engine step that writes it, 0 from feeds and the bridge.
        ts: Engine time in nanoseconds.

    Returns:
        Array of ``record_dtype``, shape (slots,); all but the last carry ``Flag.MORE``.

    Raises:
        ValueError: The encoded message is longer than :data:`MAX_BLOB_BYTES`.
    """
    try:
        data = msgspec.msgpack.encode(message)
    except UnicodeEncodeError:
        data = msgspec.msgpack.encode(_encodable(message))
    if len(data) > MAX_BLOB_BYTES:
        raise ValueError(f"a message of {len(data)} bytes is above the limit of {MAX_BLOB_BYTES}")
    slots = -(-len(data) // PAYLOAD_BYTES)
    records = np.zeros(slots, record_dtype)
    records["kind"] = kind
    records["flags"][: slots - 1] = FLAG_MORE
    records["instrument"] = instrument
    records["strategy"] = strategy
    records["length"] = PAYLOAD_BYTES
    records["length"][slots - 1] = len(data) - PAYLOAD_BYTES * (slots - 1)
    records["step"] = step
    records["ts"] = ts
    padded = np.zeros(slots * PAYLOAD_BYTES, np.uint8)
    padded[: len(data)] = np.frombuffer(data, np.uint8)
    records["payload"] = padded.view(f"V{PAYLOAD_BYTES}")
    return records


def _encodable(value):
    """A copy whose texts are UTF-8: what a strategy says may hold half a surrogate pair."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {_encodable(key): _encodable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_encodable(item) for item in value]
    return value


class BlobJoiner:
    """Puts the blobs of one ring together again, slot by slot; a batch may end in the middle of one."""

    def __init__(self):
        self._parts = []
        self._size = 0

    @property
    def begun(self):
        """What there is so far of a blob of which more is to come."""
        return b"".join(self._parts)

    @begun.setter
    def begun(self, bytes data not None):
        self._parts, self._size = [data] if data else [], len(data)

    def add(self, record):
        """Takes the next blob slot of the ring.

        Args:
            record: One element of a ``record_dtype`` array, of one of :data:`BLOB_KINDS`.

        Returns:
            The decoded message with its last slot, otherwise None.

        Raises:
            RingCorrupt: A length is beyond the slot, the blob does not end or is not msgpack.
        """
        length = int(record["length"])
        if length > PAYLOAD_BYTES or self._size + length > MAX_BLOB_BYTES:
            self._parts.clear()
            self._size = 0
            raise RingCorrupt(f"a blob slot of {length} bytes in a record of kind {int(record['kind'])}")
        self._parts.append(record["payload"].tobytes()[:length])
        self._size += length
        if int(record["flags"]) & FLAG_MORE:
            return None
        data = b"".join(self._parts)
        self._parts.clear()
        self._size = 0
        try:
            return msgspec.msgpack.decode(data)
        except msgspec.DecodeError as error:
            raise RingCorrupt(f"a blob of kind {int(record['kind'])} is not msgpack: {error}") from None
