"""A journal taken in again; see replay.pxd."""

cimport cython
from libc.stdint cimport INT64_MAX, int64_t, uint8_t, uint32_t
from libc.string cimport memcpy, memset

from engine.core.clock cimport CLOCK_STEADY, ClockState, clock_now
from engine.backtest.recorder cimport TickEntry
from engine.core.types cimport Order
from engine.journal.reader cimport JournalReader
from engine.journal.wal cimport (
    JOURNAL_CONTROL,
    JOURNAL_END,
    JOURNAL_FEED_STATUS,
    JOURNAL_HEADER_SIZE,
    JOURNAL_MARKET,
    JOURNAL_META,
    JOURNAL_ORDER_REQUEST,
    JOURNAL_OUTPUT,
    JOURNAL_RESUMED,
    JOURNAL_SENT,
    JOURNAL_SILENCE,
    JOURNAL_SIGNAL,
    JOURNAL_START,
    JOURNAL_STATE_HASH,
    JOURNAL_STOP,
    JOURNAL_TIMER,
    HashPayload,
    JournalRecord,
    OutputPayload,
    SentPayload,
    TimerPayload,
)
from engine.runtime.inputs cimport (
    FROM_CONTROL,
    FROM_ORDERS,
    FROM_US,
    INPUT_BUSY,
    INPUT_RING,
    INPUT_STEP,
    ResumedPayload,
)
from engine.runtime.loop cimport (
    WANT_CONTROL,
    WANT_NOTHING,
    WANT_SIGNAL,
    WANT_START,
    WANT_STOP,
    LoopCore,
)
from engine.runtime.records cimport PAYLOAD_SIZE, SLOT_SIZE, Record

from engine.core.errors import ReplayDiverged

cdef ClockState _steady
_steady.kind = CLOCK_STEADY
_steady.now = 0


@cython.final
cdef class JournalPass:
    """One pass over a journal.

    Args:
        loop: A loop at the beginning of the run, which keeps nothing itself.
        reader: The journal, behind its META record.
    """

    def __init__(self, LoopCore loop not None, JournalReader reader not None):
        self.loop, self.reader = loop, reader
        self.seq = reader.seq
        loop.driver.counting = True

    def run(self, int64_t until=INT64_MAX, uint64_t most=2**63) -> int:
        """Takes inputs in until the interpreter is wanted, or there are no more.

        Args:
            until: No input of a later engine time is taken in.
            most: Inputs at most.

        Returns:
            A ``Want``: CONTROL, SIGNAL, START or STOP, of which :meth:`blob` and :attr:`ts` have more; NOTHING
            at the end or the limit; FAULT, of which the loop has the code.

        Raises:
            JournalDamaged: The journal is broken.
            ReplayDiverged: The run did something else.
        """
        cdef int want
        cdef uint64_t limit = self.records + most
        while self.records < limit:
            if self.next == NULL and self.reader.next_record(&self.next) == 0:
                self.next = NULL
                return WANT_NOTHING
            if (<const int64_t*>(self.next + 1))[0] > until:
                return WANT_NOTHING
            want = self.take(self.next)
            self.seq = self.next.seq
            self.next = NULL
            self.records += 1
            if want != WANT_NOTHING:
                return want
        return WANT_NOTHING

    @property
    def next_ts(self):
        """Engine time of the next record; None where the journal goes no further."""
        if self.next == NULL and self.reader.next_record(&self.next) == 0:
            self.next = NULL
            return None
        return (<const int64_t*>(self.next + 1))[0]

    def show(self, feed_state=None) -> None:
        """Publishes what the loop has come to, as each of an engine's steps does.

        Args:
            feed_state: What is said of the feed; None says what the journal said last.
        """
        cdef LoopCore loop = self.loop
        cdef uint8_t known = loop.feed_state
        cdef int64_t steady = clock_now(&_steady)
        if feed_state is not None:
            loop.feed_state = feed_state
        if loop.out.status.events != loop.rated_events:
            loop.last_market = steady
        with nogil:
            loop.publish(steady, False)
        loop.feed_state = known

    def blob(self) -> bytes:
        """The record of a CONTROL or SIGNAL, as the ring had it."""
        return (<unsigned char*>&self.record)[:SLOT_SIZE]

    @property
    def ts(self) -> int:
        """Engine time of the last input."""
        return self.record.header.ts

    cdef int take(self, const JournalRecord* kept) except -1:
        cdef LoopCore loop = self.loop
        cdef TimerPayload due
        cdef int want
        loop.out.no_seq = kept.seq
        if kept.type == JOURNAL_SENT:
            self.note_sent(kept)
            return WANT_NOTHING
        self.settled_seq = kept.seq - 1
        if loop.driver.recorder is not None:
            self.settled = loop.driver.recorder.n_orders
        if kept.type in (JOURNAL_OUTPUT, JOURNAL_STATE_HASH, JOURNAL_META, JOURNAL_RESUMED, JOURNAL_END):
            self.compare(kept)
            return WANT_NOTHING
        self.fill(kept)
        loop.inputs.fresh = (kept.flags & INPUT_STEP) != 0
        loop.kernel.desk.busy = (kept.flags & INPUT_BUSY) != 0
        if kept.type == JOURNAL_MARKET or kept.type == JOURNAL_FEED_STATUS:
            self.market += kept.type == JOURNAL_MARKET
            want = loop.take_record(&self.record, 0)
            if want == WANT_START:
                raise ReplayDiverged(f"record {kept.seq}: the market had not begun")
            return want
        if kept.type == JOURNAL_ORDER_REQUEST:
            if kept.len < JOURNAL_HEADER_SIZE + sizeof(int64_t) + sizeof(Order):
                self.record.header.kind = 0
            self.at_time(kept)
            return loop.take_order(&self.record, 0)
        if kept.type == JOURNAL_TIMER:
            memcpy(&due, kept + 1, sizeof(due))
            return loop.take_due(due.ts, due.key, 0)
        if kept.type == JOURNAL_SILENCE:
            self.at_time(kept)
            memcpy(&due, kept + 1, sizeof(due))
            return loop.take_silence(due.key, 0)
        if kept.type == JOURNAL_START:
            loop.keep(FROM_US, &self.record, 0, 0)
            return WANT_START
        self.at_time(kept)
        if kept.type == JOURNAL_STOP:
            loop.keep(FROM_US, &self.record, 0, 0)
            return WANT_STOP
        if kept.type == JOURNAL_CONTROL:
            loop.keep(FROM_CONTROL, &self.record, self.record.header.length, 0)
            return WANT_CONTROL
        if kept.type == JOURNAL_SIGNAL:
            loop.keep(FROM_ORDERS, &self.record, self.record.header.length, 0)
            return WANT_SIGNAL
        raise ReplayDiverged(f"record {kept.seq}: type {kept.type} is no input that this version knows")

    cdef int at_time(self, const JournalRecord* kept) except -1:
        if self.record.header.ts != self.loop.now:
            raise ReplayDiverged(
                f"record {kept.seq}: taken in at {self.record.header.ts}, the replay is at {self.loop.now}"
            )
        return 0

    cdef int fill(self, const JournalRecord* kept) except -1:
        """Makes of what was kept the record that the ring had."""
        cdef uint32_t size = kept.len - JOURNAL_HEADER_SIZE
        if size < sizeof(int64_t) or size > sizeof(int64_t) + PAYLOAD_SIZE:
            raise ReplayDiverged(f"record {kept.seq}: {size} bytes are no input")
        memset(&self.record, 0, sizeof(Record))
        self.record.header.kind = kept.type
        self.record.header.flags = kept.flags & INPUT_RING
        self.record.header.instrument = kept.instrument
        self.record.header.strategy = kept.strategy
        self.record.header.length = size - sizeof(int64_t)
        memcpy(&self.record.header.ts, kept + 1, size)
        return 0

    cdef int note_sent(self, const JournalRecord* kept) except -1:
        """What the run measured of a request that the input before has led to."""
        cdef LoopCore loop = self.loop
        cdef SentPayload note
        cdef TickEntry tick
        if loop.driver.recorder is None or kept.len < JOURNAL_HEADER_SIZE + sizeof(note):
            return 0
        memcpy(&note, kept + 1, sizeof(note))
        memset(&tick, 0, sizeof(tick))
        tick.ts, tick.took, tick.order_id, tick.req = note.local_ts, note.sent - note.received, note.order_id, note.req
        tick.instrument, tick.strategy = kept.instrument, kept.strategy
        loop.code = loop.driver.recorder.tick(&tick)
        return 0

    cdef int compare(self, const JournalRecord* kept) except -1:
        cdef LoopCore loop = self.loop
        cdef OutputPayload outputs
        cdef HashPayload state
        cdef ResumedPayload resumed
        if kept.type == JOURNAL_OUTPUT:
            memcpy(&outputs, kept + 1, sizeof(outputs))
            if outputs.count != loop.driver.n_outputs or outputs.outputs_hash != loop.driver.outputs_hash:
                raise ReplayDiverged(
                    f"record {kept.seq}: {loop.driver.n_outputs} outputs of hash {loop.driver.outputs_hash:016x},"
                    f" the run had {outputs.count} of {outputs.outputs_hash:016x}"
                )
            self.compared += 1
        elif kept.type == JOURNAL_STATE_HASH:
            memcpy(&state, kept + 1, sizeof(state))
            found = loop.kernel.state_hash()
            if state.state_hash != found:
                raise ReplayDiverged(
                    f"record {kept.seq}: the state hash is {found:016x}, the run had {state.state_hash:016x}"
                )
            self.compared += 1
        elif kept.type == JOURNAL_RESUMED:
            memcpy(&resumed, kept + 1, sizeof(resumed))
            loop.inputs.set_taken(resumed.control, resumed.orders, resumed.feed)
        elif kept.type == JOURNAL_END:
            self.ended, self.settled_seq = True, kept.seq
        return 0
