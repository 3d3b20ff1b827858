"""What the engine takes in, kept before it is applied; see inputs.pxd."""

cimport cython
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memset

from engine.core.codes cimport ERR_CORRUPT, ERR_FULL, ERR_JOURNAL_HALTED, OK
from engine.core.types cimport Order
from engine.journal.wal cimport (
    JOURNAL_CORRUPT,
    JOURNAL_DISK_FULL,
    JOURNAL_END,
    JOURNAL_HALTED,
    JOURNAL_OK,
    JOURNAL_OUTPUT,
    JOURNAL_RESUMED,
    JOURNAL_SENT,
    JOURNAL_START,
    JOURNAL_STATE_HASH,
    JOURNAL_STOP,
    HashPayload,
    Journal,
    OutputPayload,
    SentPayload,
    journal_append_reserved,
    journal_append_tagged,
    journal_flags,
    journal_has_room,
)
from engine.kernel cimport Kernel

from enum import IntEnum

CONTROL_IN = FROM_CONTROL
ORDERS_IN = FROM_ORDERS


class Mark(IntEnum):
    """Inputs of the engine's own that have nothing but a time."""

    START = JOURNAL_START
    STOP = JOURNAL_STOP


@cython.final
cdef class InputLog:
    """Numbers the engine's steps and keeps what it takes in.

    Args:
        kernel: Whose inputs they are.
    """

    def __init__(self, Kernel kernel not None):
        self.desk = &kernel.desk
        self.fresh = True

    def keep_in(self, Journal journal) -> None:
        """Keeps inputs from here on in a journal's buffer, which this process made; None keeps none."""
        self.journal = journal
        self.writer = NULL if journal is None else &journal.writer

    def note_state(self, int64_t ts, uint64_t state_hash) -> None:
        """Notes the hash of the kernel's state, for a replay to be held against."""
        cdef HashPayload state
        if self.journal is not None:
            state.ts, state.state_hash = ts, state_hash
            self.journal.append(JOURNAL_STATE_HASH, (<unsigned char*>&state)[:sizeof(state)])

    def note_resumed(self, int64_t ts) -> None:
        """Notes that an engine goes on from here, and what had been taken from the rings."""
        cdef ResumedPayload resumed
        resumed.ts = ts
        resumed.control, resumed.orders, resumed.feed = self.records_taken()
        self.journal.append(JOURNAL_RESUMED, (<unsigned char*>&resumed)[:sizeof(resumed)])

    def end(self, ts: int, left: bytes = b"") -> None:
        """Says in the journal that the run ended in good order, and what it has left."""
        if self.journal is not None:
            self.journal.append_time(JOURNAL_END, ts, left, reserved=True)
            self.journal.end()

    def set_taken(self, control: int, orders: int, feed: int) -> None:
        """How many records of each incoming ring had been taken when those that follow were."""
        self.taken[FROM_CONTROL], self.taken[FROM_ORDERS], self.taken[FROM_FEED] = control, orders, feed

    def records_taken(self) -> tuple:
        """Records taken from the rings of commands, orders and the feed."""
        return self.taken[FROM_CONTROL], self.taken[FROM_ORDERS], self.taken[FROM_FEED]

    cdef bint is_short(self, uint64_t size) noexcept nogil:
        return self.writer != NULL and (
            (journal_flags(self.writer) & JOURNAL_DISK_FULL) != 0 or not journal_has_room(self.writer, size)
        )

    cdef int take(
        self, int source, uint16_t type, uint16_t flags, uint16_t instrument, uint16_t strategy,
        const void* payload, uint32_t length, int64_t steady,
    ) noexcept nogil:
        cdef uint8_t marks = <uint8_t>(flags & INPUT_RING)
        cdef int code
        if self.writer != NULL:
            if self.desk.busy:
                marks |= INPUT_BUSY
            if self.fresh:
                marks |= INPUT_STEP
            if journal_flags(self.writer) & JOURNAL_HALTED:
                return ERR_JOURNAL_HALTED
            # Market data may wait; nothing else may, and has the reserve.
            if source == FROM_FEED:
                code = journal_append_tagged(
                    self.writer, type, marks, instrument, strategy, payload, length, steady
                )
            else:
                code = journal_append_reserved(
                    self.writer, type, marks, instrument, strategy, payload, length, steady
                )
            if code != JOURNAL_OK:
                return ERR_CORRUPT if code == JOURNAL_CORRUPT else ERR_FULL
        if self.fresh:
            self.fresh = False
            self.step += 1
            self.desk.step = self.step
        self.taken[source] += 1
        return OK

    cdef void note_outputs(self, int64_t ts, uint64_t count, uint64_t outputs_hash, int64_t steady) noexcept nogil:
        cdef OutputPayload outputs
        if self.writer == NULL or count == self.outputs_noted:
            return
        outputs.ts, outputs.count, outputs.outputs_hash = ts, count, outputs_hash
        # Without room for it there is one comparison less, and nothing is lost.
        if journal_append_tagged(self.writer, JOURNAL_OUTPUT, 0, 0, 0, &outputs, sizeof(outputs), steady) == JOURNAL_OK:
            self.outputs_noted = count

    cdef void note_sent(self, int64_t ts, int64_t received, int64_t sent, const Order* request) noexcept nogil:
        cdef SentPayload note
        if self.writer == NULL:
            return
        memset(&note, 0, sizeof(note))
        note.ts, note.local_ts, note.received, note.sent = ts, request.local_ts, received, sent
        note.order_id, note.req = request.order_id, request.req
        # Without room for it there is one measurement less.
        journal_append_tagged(
            self.writer, JOURNAL_SENT, 0, request.instrument, request.strategy, &note, sizeof(note), sent
        )
