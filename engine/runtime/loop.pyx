"""The engine loop's compiled part; see loop.pxd. Commands, start and stop are in runtime/engine.py."""

cimport cython
from libc.stdint cimport INT64_MAX, int64_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memset

from engine.backtest.recorder cimport Recorder
from engine.core.clock cimport CLOCK_SIMULATED, CLOCK_STEADY, CLOCK_WALL, ClockState, clock_now
from engine.core.codes cimport ERR_BAD_EVENT, ERR_CORRUPT, ERR_FULL, ERR_UNSORTED, OK
from engine.core.histogram cimport Histogram, histogram_add
from engine.core.ring cimport (
    SPSC_EMPTY,
    SPSC_OK,
    Bell,
    Ring,
    bell_wait,
    spsc_claim,
    spsc_consume,
    spsc_consumed,
    spsc_is_empty,
    spsc_peek,
    spsc_set_consumer_cursor,
)
from engine.core.types cimport Event, Order
from engine.gateways.venue cimport ITEM_LOCAL_MARKET, ITEM_VENUE_MARKET, Venue
from engine.journal.wal cimport JOURNAL_SILENCE, JOURNAL_TIMER, TimerPayload
from engine.kernel cimport Kernel
from engine.runtime.driver cimport LoopDriver
from engine.runtime.inputs cimport FROM_FEED, FROM_ORDERS, FROM_US, InputLog
from engine.runtime.publish cimport ORDERS_RESERVE, Publisher
from engine.runtime.records cimport *

from enum import IntEnum

from engine.core.errors import CapacityError, RingCorrupt
from engine.runtime.records import SLOT_BYTES, FeedState


cdef extern from *:
    """
    #include <signal.h>
    #include <string.h>
    #ifdef RINGBOOK_DEBUG
    #define RINGBOOK_CHECKS 1
    #else
    #define RINGBOOK_CHECKS 0
    #endif
    /* Set by SIGTERM. A C handler, because Python's own run only between bytecodes, and the loop has none. */
    static volatile sig_atomic_t ringbook_stop_asked = 0;
    static void ringbook_ask_stop(int number) { (void)number; ringbook_stop_asked = 1; }
    static int ringbook_catch_sigterm(void) {
        struct sigaction action;
        memset(&action, 0, sizeof action);
        action.sa_handler = ringbook_ask_stop;
        return sigaction(SIGTERM, &action, NULL);
    }
    """
    bint RINGBOOK_CHECKS
    int ringbook_stop_asked
    int ringbook_catch_sigterm() noexcept nogil

cdef enum:
    BRIDGE_PATIENCE_NS = 500_000_000   # without progress of the bridge before the feed goes on without it
    STALL_SLEEP_NS = 50_000
    FEED_LOST_NS = 1_000_000_000      # a running feed says something much more often
    IDLE_MAX_NS = 50_000_000          # a signal between the last look and the sleep is seen after this

cdef ClockState _wall
_wall.kind, _wall.now = CLOCK_WALL, 0
cdef ClockState _steady
_steady.kind, _steady.now = CLOCK_STEADY, 0

cdef int FEED_WAITING = FeedState.WAITING
cdef int FEED_RUNNING = FeedState.RUNNING
cdef int FEED_ENDED = FeedState.ENDED
cdef int FEED_LOST = FeedState.LOST


class Want(IntEnum):
    """Why the loop has returned to the interpreter."""

    NOTHING = WANT_NOTHING
    CONTROL = WANT_CONTROL
    SIGNAL = WANT_SIGNAL
    TELL = WANT_TELL
    START = WANT_START
    STOP = WANT_STOP
    FAULT = WANT_FAULT
    ROOM = WANT_ROOM


def simulate_clock(now: int | None) -> None:
    """Has all loops of this process see a time that stands still, so that runs repeat.

    Args:
        now: Nanoseconds of both the wall and the steady clock, or None: the real ones again.
    """
    _wall.kind = CLOCK_WALL if now is None else CLOCK_SIMULATED
    _steady.kind = CLOCK_STEADY if now is None else CLOCK_SIMULATED
    _wall.now = _steady.now = 0 if now is None else now


def catch_sigterm() -> None:
    """Makes SIGTERM end the loop in good order instead of the process at once."""
    ringbook_catch_sigterm()


cdef class LoopCore:
    """The loop without its Python side: takes inputs, drives the kernel, publishes.

    Args:
        kernel: The kernel.
        venue: What it trades with, with the same instruments.
        out: The producer side of the outgoing rings.
        feed: Ring of market records.
        orders_in: Ring of order requests and signals.
        control_in: Ring of commands.
        bell: Rung by the producers of these three.
        status_interval_ms: Wall time between two status records.
    """

    def __init__(
        self,
        Kernel kernel not None,
        Venue venue not None,
        Publisher out not None,
        Ring feed not None,
        Ring orders_in not None,
        Ring control_in not None,
        Bell bell not None,
        *,
        status_interval_ms=100,
    ):
        for ring in (feed, orders_in, control_in):
            if ring.slot_size != SLOT_BYTES:
                raise CapacityError(f"ring slots of {ring.slot_size} bytes instead of {SLOT_BYTES}")
        self.kernel, self.out = kernel, out
        self.inputs = InputLog(kernel)
        self.driver = LoopDriver(kernel, venue, out, self.inputs)
        self.driver.steady = &_steady
        self.steps = Histogram()
        self.feed, self.orders_in, self.control_in, self.bell = feed, orders_in, control_in, bell
        self.rings[0], self.rings[1], self.rings[2] = &control_in.spsc, &orders_in.spsc, &feed.spsc
        self.status_interval = status_interval_ms * 1_000_000
        self.feed_state = FEED_WAITING

    # --- Python's handles ----------------------------------------------------------------------

    def run_until_wanted(self, double seconds=-1.0, *, bint skip_control=False) -> int:
        """Runs steps without the GIL until the interpreter is wanted.

        Args:
            seconds: Wall time after which it returns all the same; negative for ever.
            skip_control: Whether the first step goes before waiting commands, so that a flood of them
                cannot starve the market.

        Returns:
            A ``Want``.
        """
        cdef int64_t deadline = INT64_MAX
        cdef int want
        if RINGBOOK_CHECKS:
            deadline = 0
        elif seconds >= 0.0:
            deadline = clock_now(&_steady) + <int64_t>(seconds * 1e9)
        with nogil:
            want = self.spin(deadline, skip_control)
        if RINGBOOK_CHECKS:
            # A debug build looks at everything after every step.
            self.kernel.check_invariants()
            self.driver.venue.check_invariants()
        return want

    def new_step(self) -> None:
        """Has the next input, which Python applies, begin a step."""
        self.inputs.fresh = True

    def advance(self) -> None:
        """Moves the kernel to the engine's time, for an input that comes without one."""
        self.kernel.advance(self.now)

    def take_blob(self, source) -> object:
        """Takes the next record of a ring of blobs: 0 commands, 1 orders.

        Returns:
            Its bytes, or None: there is none, there is no room to keep it, or ``code`` says what is wrong.
        """
        cdef void* slot = NULL
        cdef uint64_t n = 0
        cdef int ring = source
        cdef int code = spsc_peek(self.rings[ring], &slot, &n)
        cdef Record* record = <Record*>slot
        if code != SPSC_OK:
            self.code = OK if code == SPSC_EMPTY else ERR_CORRUPT
            return None
        record.header.ts = self.now
        if self.keep(ring, record, record.header.length, clock_now(&_steady)) != WANT_NOTHING:
            return None
        blob = (<unsigned char*>slot)[:SLOT_SIZE]
        spsc_consume(self.rings[ring], 1)
        return blob

    @property
    def outputs(self) -> int:
        """Outputs of the kernel; they are counted while inputs are kept or replayed."""
        return self.driver.n_outputs

    @property
    def outputs_hash(self) -> int:
        """Of everything that the kernel has put out."""
        return self.driver.outputs_hash

    def keep_in(self, journal) -> None:
        """Keeps inputs from here on in a journal's buffer that this process has made or taken over."""
        self.driver.counting = True
        self.inputs.keep_in(journal)
        self.out.keep_in(journal)

    def mute(self, bint muted) -> None:
        """Has outputs go to the venue only, or into the rings as well."""
        self.driver.muted = muted
        self.out.mute(muted)

    def skip_taken(self) -> None:
        """Passes over the records that an engine before us kept, but had not yet taken off their rings.

        Raises:
            RingCorrupt: A ring lacks records that have been kept, or has lost some that have not.
        """
        cdef uint64_t gone, left
        cdef void* slot = NULL
        cdef uint64_t n = 0
        cdef int i
        for i in range(3):
            gone = spsc_consumed(self.rings[i])
            left = self.inputs.taken[i] - gone
            while left > 0:
                if self.inputs.taken[i] < gone or spsc_peek(self.rings[i], &slot, &n) != SPSC_OK:
                    raise RingCorrupt(f"{self.inputs.taken[i]} records were kept, the ring has given {gone}")
                n = min(n, left)
                spsc_consume(self.rings[i], n)
                left -= n
        self.last_feed = self.last_market = clock_now(&_steady)

    def take_mark(self, uint16_t kind, int64_t ts) -> bool:
        """Takes an input of the engine's own that has nothing but a time; False if there is no room for it."""
        cdef Record record
        memset(&record, 0, HEADER_SIZE)
        record.header.kind = kind
        record.header.ts = ts
        return self.keep(FROM_US, &record, 0, clock_now(&_steady)) == WANT_NOTHING

    def flush(self) -> None:
        """Publishes what the last inputs put out, all changed books, the status and all positions."""
        cdef int code
        with nogil:
            code = self.driver.drain()
            self.publish(clock_now(&_steady), True)
        if code != OK:
            self.code = code

    def drain(self) -> None:
        """Sends what the last inputs put out on its way: requests to the venue, the rest to the rings."""
        with nogil:
            self.code = self.driver.drain()
            self.out.notify()

    def settle_venue(self, uint32_t most) -> int:
        """Lets at most ``most`` things happen that are on their way; returns how many did."""
        cdef uint32_t done = 0
        with nogil:
            self.code = self.settle(most, &done)
        return done

    def record_into(self, Recorder recorder not None) -> None:
        """Keeps all fills and order updates from now on, besides telling the rings."""
        self.driver.recorder = recorder

    @property
    def step(self) -> int:
        """The number of the last step: the inputs that were taken before anything was published."""
        return self.inputs.step

    def set_started(self) -> None:
        """The strategies have been started: market records may come."""
        self.started = True

    def first_ts(self) -> int:
        """The time of the record that waits at the head of the feed ring."""
        cdef void* slot = NULL
        cdef uint64_t n = 0
        if spsc_peek(&self.feed.spsc, &slot, &n) != SPSC_OK:
            return 0
        return (<Record*>slot).header.ts

    def signal_waits(self) -> bool:
        """Whether the order ring's next record is a piece of a signal."""
        cdef void* slot = NULL
        cdef uint64_t n = 0
        if spsc_peek(&self.orders_in.spsc, &slot, &n) != SPSC_OK:
            return False
        return (<Record*>slot).header.kind == RECORD_SIGNAL

    def release_feed(self, uint64_t word) -> None:
        """Tells a feed that waits for the first trader to begin."""
        spsc_set_consumer_cursor(&self.feed.spsc, word)

    @property
    def events(self) -> int:
        """Market events applied."""
        return self.out.status.events

    # --- the loop ------------------------------------------------------------------------------

    cdef int keep(self, int source, Record* record, uint32_t length, int64_t steady) noexcept nogil:
        """Keeps an input that is a ring's record with so many bytes of payload; a Want."""
        cdef int code = self.inputs.take(
            source, record.header.kind, record.header.flags, record.header.instrument, record.header.strategy,
            &record.header.ts, <uint32_t>(sizeof(int64_t) + min(length, <uint32_t>PAYLOAD_SIZE)), steady,
        )
        self.journal_full = code == ERR_FULL
        if code == OK:
            return WANT_NOTHING
        if code == ERR_FULL:
            return WANT_ROOM
        self.code = code
        # The last status says why: a halted journal ends the engine.
        self.out.status_due = True
        return WANT_FAULT

    cdef int spin(self, int64_t deadline, bint skip_control) noexcept nogil:
        cdef uint32_t done
        cdef int64_t began = clock_now(&_steady)
        cdef int64_t ended
        cdef int want
        while True:
            if ringbook_stop_asked:
                return WANT_STOP
            if not skip_control and not spsc_is_empty(self.rings[0]):
                return WANT_CONTROL
            if self.out.strategies_changed or self.out.logs_wait:
                return WANT_TELL
            skip_control = False
            self.inputs.fresh = True
            done = 0
            want = self.take_requests(began, &done)
            if want == WANT_NOTHING:
                want = self.take_feed(began, &done)
            if want == WANT_NOTHING and self.feed_state == FEED_ENDED:
                self.code = self.settle(SETTLE_BATCH, &done)
                if self.code != OK:
                    want = WANT_FAULT
            self.publish(began, False)
            if want != WANT_NOTHING:
                return want
            ended = clock_now(&_steady)
            if done > 0:
                self.step_ns += 0.01 * (<double>(ended - began) - self.step_ns)
                histogram_add(self.steps.counts, <uint64_t>max(ended - began, 0))
            elif ended < deadline:
                self.idle(ended, deadline - ended)
                ended = clock_now(&_steady)
            began = ended
            if ended >= deadline:
                return WANT_NOTHING

    cdef int take_requests(self, int64_t steady, uint32_t* done) noexcept nogil:
        cdef void* slot = NULL
        cdef uint64_t n = 0, i
        cdef Record* record
        cdef int want = WANT_NOTHING
        cdef int code = spsc_peek(self.rings[1], &slot, &n)
        if code == SPSC_EMPTY:
            return WANT_NOTHING
        if code != SPSC_OK:
            self.code = ERR_CORRUPT
            return WANT_FAULT
        self.kernel.desk.busy = (
            spsc_claim(self.out.orders_out, ORDERS_RESERVE) != SPSC_OK or self.inputs.is_short(n * SLOT_SIZE)
        )
        if self.feed_state == FEED_LOST:
            want = self.take_silence(steady - self.last_feed, steady)
        n = min(n, <uint64_t>REQUEST_BATCH)
        i = 0
        while i < n and want == WANT_NOTHING:
            record = <Record*>(<unsigned char*>slot + i * SLOT_SIZE)
            if record.header.kind == RECORD_SIGNAL:
                want = WANT_SIGNAL
                break
            want = self.take_order(record, steady)
            if want != WANT_ROOM:
                i += 1
        spsc_consume(self.rings[1], i)
        done[0] += <uint32_t>i
        return WANT_NOTHING if want == WANT_ROOM else want

    cdef int take_silence(self, int64_t silence, int64_t steady) noexcept nogil:
        """The feed has said nothing for so long: market data is older than engine time can tell."""
        cdef TimerPayload silent
        cdef int code
        silent.ts, silent.key = self.now, silence
        code = self.inputs.take(FROM_US, JOURNAL_SILENCE, 0, 0, NO_STRATEGY, &silent, sizeof(silent), steady)
        if code == ERR_FULL:
            return WANT_ROOM
        self.code = code
        self.kernel.desk.silence = silence
        return WANT_NOTHING if code == OK else WANT_FAULT

    cdef int take_order(self, Record* record, int64_t steady) noexcept nogil:
        cdef bint is_request = record.header.kind == RECORD_ORDER_REQUEST
        cdef int want
        # What is no request is kept too, because records that were taken are counted by what was kept.
        record.header.kind = RECORD_ORDER_REQUEST
        record.header.ts = self.now
        want = self.keep(FROM_ORDERS, record, sizeof(Order) if is_request else 0, steady)
        if want != WANT_NOTHING or not is_request:
            return want
        # The kernel refuses what no client of the bridge can have sent; nothing changes then.
        self.kernel.apply_request(&record.payload.order.order, self.now)
        self.code = self.driver.drain()
        return WANT_NOTHING if self.code == OK else WANT_FAULT

    cdef bint orders_fit(self, int64_t steady) noexcept nogil:
        """Whether the next feed record may be taken: outputs fit, or the bridge is not worth waiting for."""
        cdef uint64_t room
        if spsc_claim(self.out.orders_out, ORDERS_RESERVE) == SPSC_OK:
            self.kernel.desk.busy = False
            self.stalled_since = 0
            return True
        room = self.out.orders_room()
        if self.stalled_since == 0 or room > self.stalled_room:
            self.stalled_since = steady
        self.stalled_room = room
        if steady - self.stalled_since < BRIDGE_PATIENCE_NS:
            return False
        self.kernel.desk.busy = True
        return True

    cdef int take_feed(self, int64_t steady, uint32_t* done) noexcept nogil:
        cdef void* slot = NULL
        cdef uint64_t n = 0, i
        cdef int want = WANT_NOTHING
        cdef int code = spsc_peek(self.rings[2], &slot, &n)
        if code == SPSC_EMPTY:
            if self.feed_state == FEED_RUNNING and steady - self.last_feed > FEED_LOST_NS:
                self.feed_state = FEED_LOST
            return WANT_NOTHING
        if code != SPSC_OK:
            self.code = ERR_CORRUPT
            return WANT_FAULT
        n = min(n, <uint64_t>FEED_BATCH)
        i = 0
        while i < n and want == WANT_NOTHING and self.orders_fit(steady):
            want = self.take_record(<Record*>(<unsigned char*>slot + i * SLOT_SIZE), steady)
            if want != WANT_START and want != WANT_ROOM:
                i += 1
        spsc_consume(self.rings[2], i)
        done[0] += <uint32_t>i
        return WANT_NOTHING if want == WANT_ROOM else want

    cdef int take_record(self, Record* record, int64_t steady) noexcept nogil:
        cdef int64_t ts = record.header.ts
        cdef const Event* event = &record.payload.market.event
        cdef bint is_local = (record.header.flags & FLAG_LOCAL) != 0
        cdef int want
        self.last_feed = steady
        if record.header.kind == RECORD_FEED_STATUS:
            if not self.started and self.driver.venue.has_market and ts > self.now:
                return WANT_START
            want = self.keep(FROM_FEED, record, sizeof(FeedStatusRecord), steady)
            if want != WANT_NOTHING:
                return want
            self.kernel.desk.silence = 0
            self.feed_state = record.payload.feed_status.state
            if not self.started or self.feed_state != FEED_RUNNING or ts <= self.now:
                return WANT_NOTHING
            self.driver.received, self.driver.input_ts = record.header.step, ts
            want = self.take_time(ts, steady)
            self.driver.received = 0
            return want
        if record.header.kind != RECORD_MARKET or record.header.instrument >= self.kernel.desk.n_instruments:
            self.code = ERR_BAD_EVENT
            return WANT_FAULT
        if not self.started:
            return WANT_START
        if ts < self.now:
            self.code = ERR_UNSORTED
            return WANT_FAULT
        want = self.keep(FROM_FEED, record, sizeof(MarketRecord), steady)
        if want != WANT_NOTHING:
            return want
        self.kernel.desk.silence = 0
        self.feed_state = FEED_RUNNING
        self.now = ts
        self.driver.received, self.driver.input_ts = record.header.step, ts
        self.code = self.driver.item(
            ts,
            record.header.instrument,
            ITEM_LOCAL_MARKET if is_local else ITEM_VENUE_MARKET,
            event,
            (record.header.flags & FLAG_LAST) != 0,
        )
        self.driver.received = 0
        if self.code != OK:
            return WANT_FAULT
        if is_local:
            self.last_market = steady
        return WANT_NOTHING

    cdef int take_time(self, int64_t ts, int64_t steady) noexcept nogil:
        """Nothing comes before ``ts`` but what is on its way, and what a venue with a market of its own does."""
        cdef uint64_t events = self.out.status.events
        self.code = self.driver.catch_up(ts, 0)
        self.now = ts
        if self.out.status.events != events:
            self.last_market = steady
        return WANT_NOTHING if self.code == OK else WANT_FAULT

    cdef int settle(self, uint32_t most, uint32_t* done) noexcept nogil:
        """Once no market time comes any more: what is on its way arrives, with the timers before it."""
        cdef int64_t ts = 0, key = 0
        cdef uint32_t i
        cdef int want
        for i in range(most):
            if not self.driver.venue.venue_pending(&ts, &key):
                break
            want = self.take_due(ts, key, clock_now(&_steady))
            if want == WANT_ROOM:
                break
            if want != WANT_NOTHING:
                return self.code
            done[0] += 1
        return OK

    cdef int take_due(self, int64_t ts, int64_t key, int64_t steady) noexcept nogil:
        """What is on its way happens, up to the thing due at that time and rank."""
        cdef TimerPayload due
        cdef int code
        due.ts, due.key = ts, key
        code = self.inputs.take(FROM_US, JOURNAL_TIMER, 0, 0, NO_STRATEGY, &due, sizeof(due), steady)
        if code == OK:
            code = self.driver.catch_up(ts, key + 1)
            self.now = max(self.now, ts)
        self.code = code
        if code == ERR_FULL:
            self.code, self.journal_full = OK, True
            return WANT_ROOM
        return WANT_NOTHING if code == OK else WANT_FAULT

    cdef void publish(self, int64_t steady, bint force) noexcept nogil:
        self.out.fills()
        self.out.depth(steady, force)
        if force or self.out.status_due or steady >= self.next_status:
            self.out.status_due = False
            self.next_status = steady + self.status_interval
            self.report(steady, clock_now(&_wall))
        self.out.notify()

    cdef void report(self, int64_t steady, int64_t wall) noexcept nogil:
        cdef double seconds = <double>(steady - self.rated_at) / 1e9
        self.inputs.note_outputs(self.now, self.driver.n_outputs, self.driver.outputs_hash, steady)
        if seconds > 0.0:
            self.out.status.events_per_second = <double>(self.out.status.events - self.rated_events) / seconds
        self.rated_events, self.rated_at = self.out.status.events, steady
        self.out.status.feed_state = self.feed_state
        self.out.status.loop_ns = self.step_ns
        if self.out.status.events > 0:
            self.out.status.feed_wall_ts = wall - (steady - self.last_market)
        self.out.telemetry(wall)

    cdef void idle(self, int64_t steady, int64_t left) noexcept nogil:
        """Sleeps until something comes, a batch or the status is due, or ``left`` is over."""
        cdef int64_t timeout = min(min(self.next_status - steady, <int64_t>IDLE_MAX_NS), left)
        if self.out.waiting():
            timeout = min(timeout, self.out.depth_interval)
        if (self.stalled_since != 0 or self.journal_full) and not spsc_is_empty(self.rings[2]):
            # The feed has something but waits for bridge or journal: its ring must not wake us at once.
            bell_wait(self.bell.fd, self.rings, 2, STALL_SLEEP_NS)
        elif timeout > 0:
            bell_wait(self.bell.fd, self.rings, 3, timeout)
