"""Outputs to the rings: see publish.pxd for the policies. Blobs (replies, strategies, logs) go here too."""

cimport cython
from libc.stdint cimport INT64_MIN, UINT64_MAX, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from engine.core.codes cimport OK
from engine.core.ring cimport (
    SPSC_OK,
    Ring,
    ring_notify,
    spsc_claim,
    spsc_claim_one,
    spsc_drop,
    spsc_cursor,
    spsc_dropped,
    spsc_publish,
    spsc_publish_at,
    spsc_slot,
    spsc_used,
)
from engine.core.ticks cimport to_px, to_qty
from engine.core.types cimport EV_KIND_MASK, EVENT_TRADE, Event, Instrument, Order
from engine.journal.wal cimport (
    JOURNAL_DISK_FULL,
    JOURNAL_HALTED,
    Journal,
    JournalWriter,
    journal_accepted_seq,
    journal_durable_seq,
    journal_flags,
)
from engine.kernel cimport Kernel
from engine.risk.position cimport position_avg_px, position_equity, position_qty, position_unrealized
from engine.runtime.conflate cimport (
    BATCH_LEVELS,
    Conflator,
    conflator_due,
    conflator_free,
    conflator_init,
    conflator_levels,
    conflator_note,
    conflator_sent,
)
from engine.runtime.records cimport *
from engine.strategy.desk cimport (
    MAX_STRATEGIES,
    OUTPUT_FILL,
    OUTPUT_LOG,
    OUTPUT_ORDER,
    OUTPUT_STRATEGY,
    Cell,
    Desk,
    Output,
    book_mid,
    desk_cell,
    desk_live,
)

import numpy as np

from engine.core.errors import CapacityError
from engine.runtime.records import SLOT_BYTES, JournalState, blob_records


cdef extern from *:
    """
    #define page_fence() __atomic_thread_fence(__ATOMIC_SEQ_CST)
    """
    void page_fence() noexcept nogil

cdef int JOURNAL_IS_OK = JournalState.OK
cdef int JOURNAL_IS_FULL = JournalState.FULL
cdef int JOURNAL_IS_HALTED = JournalState.HALTED


cdef inline void _header(
    Record* record, const Desk* desk, uint16_t kind, uint16_t instrument, uint16_t strategy, size_t length
) noexcept nogil:
    memset(record, 0, sizeof(Record))
    record.header.kind = kind
    record.header.instrument = instrument
    record.header.strategy = strategy
    record.header.length = <uint32_t>length
    record.header.step = desk.step
    record.header.ts = desk.now


cdef inline void _order_record(
    OrderRecord* out, const Order* order, const Instrument* inst, uint8_t prev
) noexcept nogil:
    out.order = order[0]
    out.px = to_px(order.price_tick, inst.tick_size)
    out.qty = to_qty(order.qty, inst.lot_size)
    out.leaves_qty = to_qty(order.leaves_qty, inst.lot_size)
    out.cum_exec_qty = to_qty(order.cum_exec_qty, inst.lot_size)
    out.exec_qty = to_qty(order.exec_qty, inst.lot_size)
    out.exec_px = to_px(order.exec_price_tick, inst.tick_size)
    out.prev_status = prev


cdef PageHead _page_head
cdef PagePosition _page_position

if sizeof(PageHead) > SLOT_SIZE or sizeof(PagePosition) > SLOT_SIZE:
    raise ImportError("an entry of the status page does not fit its slot")


def _slot_dtype(dtype):
    """The same fields in an item of a slot's size."""
    return np.dtype(
        {
            "names": list(dtype.names),
            "formats": [dtype.fields[name][0] for name in dtype.names],
            "offsets": [dtype.fields[name][1] for name in dtype.names],
            "itemsize": SLOT_SIZE,
        }
    )


page_head_dtype = _slot_dtype(np.asarray(<PageHead[:1]>&_page_head).dtype)
page_position_dtype = _slot_dtype(np.asarray(<PagePosition[:1]>&_page_position).dtype)


@cython.final
cdef class Publisher:
    """The producer side of the four outgoing rings.

    Args:
        kernel: Whose outputs are published; it must outlive the publisher.
        orders_out: Ring for orders, fills, strategies and the replies that belong among them.
        market_out: Ring for depth and trades.
        telemetry_out: Ring for positions, status and logs.
        control_out: Ring for the replies to operators.
        page: Writable buffer for the status page, or None; a multiple of 256 bytes.
        depth_interval_us: Least wall time between two depth batches of an instrument.
    """

    def __init__(self, Kernel kernel not None, Ring orders_out not None, Ring market_out not None,
                 Ring telemetry_out not None, Ring control_out not None, page=None, depth_interval_us=2000):
        cdef uint32_t i
        self.kernel = kernel
        self.desk = &kernel.desk
        self.journal_seq = &self.no_seq
        self.orders_ring, self.market_ring, self.telemetry_ring = orders_out, market_out, telemetry_out
        self.orders_out, self.market_out = &orders_out.spsc, &market_out.spsc
        self.telemetry_out = &telemetry_out.spsc
        self.control_ring = control_out
        for ring in (orders_out, market_out, telemetry_out, control_out):
            if ring.slot_size != SLOT_BYTES:
                raise CapacityError(f"ring slots of {ring.slot_size} bytes instead of {SLOT_BYTES}")
        self.depth_interval = depth_interval_us * 1000
        self.books = <Conflator*>calloc(self.desk.n_instruments, sizeof(Conflator))
        self.book_sent = <int64_t*>calloc(self.desk.n_instruments, sizeof(int64_t))
        self.levels = <DepthLevel*>calloc(BATCH_LEVELS, sizeof(DepthLevel))
        self.cell_changed = <uint8_t*>calloc(<size_t>MAX_STRATEGIES * self.desk.n_instruments, 1)
        self.strategy_changed = <uint8_t*>calloc(MAX_STRATEGIES, 1)
        self.names = <char*>calloc(MAX_STRATEGIES, NAME_BYTES)
        if not (self.books and self.book_sent and self.levels and self.cell_changed and self.strategy_changed
                and self.names):
            raise MemoryError
        for i in range(self.desk.n_instruments):
            if conflator_init(&self.books[i]) != OK:
                raise MemoryError
            self.n_books += 1
            self.book_sent[i] = INT64_MIN // 2
        self.set_page(page)

    def __dealloc__(self):
        cdef uint32_t i
        # Not the desk's number: the collector may have taken the kernel before us.
        if self.books != NULL:
            for i in range(self.n_books):
                conflator_free(&self.books[i])
        free(self.books)
        free(self.book_sent)
        free(self.levels)
        free(self.cell_changed)
        free(self.strategy_changed)
        free(self.names)

    def set_page(self, page) -> None:
        """Chooses the status page.

        Args:
            page: Writable buffer, a multiple of 256 bytes, or None.
        """
        cdef uint8_t[::1] view
        if page is None:
            return
        view = page
        self.page = page
        self.page_head = <PageHead*>&view[0]
        self.page_capacity = <uint32_t>(view.shape[0] // SLOT_SIZE - 1)

    def set_name(self, uint16_t strategy, str name) -> None:
        """Gives a strategy's slot its name on the status page.

        Args:
            strategy: The slot.
            name: At most 64 bytes of UTF-8 are kept.
        """
        cdef bytes text = name.encode()[:NAME_BYTES]
        if strategy >= MAX_STRATEGIES:
            raise CapacityError(f"strategy slot {strategy} of {MAX_STRATEGIES}")
        memset(self.names + strategy * NAME_BYTES, 0, NAME_BYTES)
        memcpy(self.names + strategy * NAME_BYTES, <const char*>text, len(text))

    def keep_in(self, Journal journal not None) -> None:
        """Outputs name the record of a journal that they follow from, and the status its numbers."""
        self.journal = journal
        self.journal_seq = &journal.writer.seq

    @property
    def accepted_seq(self) -> int:
        """Number of the journal's last record, which what is published now follows from; 0 without one."""
        return self.journal_seq[0]

    # --- orders_out ---------------------------------------------------------------------------

    def repeat(self, bint all_known) -> None:
        """Numbers what is put out without publishing it again.

        Args:
            all_known: Whether that goes for everything. Otherwise, and from then on, what the ring says that an
                engine before us has published is left out, and the rest published.
        """
        self.orders_known = UINT64_MAX
        if all_known:
            return
        self.orders_known = spsc_cursor(self.orders_out)
        # It may have died half way through a number; what has none, such as a strategy, must not complete it.
        spsc_publish_at(self.orders_out, 0, self.orders_known)
        if spsc_dropped(self.orders_out):
            # Perhaps it died before it could announce what it had dropped.
            self.orders_dropped += 1

    def number_on(self) -> None:
        """A ring that nobody has published on yet goes on with the number that this has come to."""
        spsc_publish_at(self.orders_out, 0, self.orders_seq)

    @property
    def orders_number(self) -> int:
        """Number of the last order, fill or reply among them."""
        return self.orders_seq

    @property
    def next_is_known(self) -> bool:
        """Whether the next of them has been published already."""
        return self.orders_seq < self.orders_known

    def all_changed(self) -> None:
        """Has all strategies told again, and all books begin anew."""
        memset(self.strategy_changed, 1, self.desk.n_strategies)
        self.strategies_changed = self.status_due = True
        self.snapshot_books()

    cdef uint64_t orders_room(self) noexcept nogil:
        cdef uint64_t used = spsc_used(self.orders_out)
        return self.orders_out.capacity - used if used <= self.orders_out.capacity else 0

    cdef void output(self, const Output* out) noexcept nogil:
        """Publishes one output of the kernel that is no request."""
        cdef Record* record
        if out.kind == OUTPUT_STRATEGY:
            if out.strategy < MAX_STRATEGIES:
                self.strategy_changed[out.strategy] = 1
            else:
                self.status_due = True
            # Of trading as a whole too: what has latched it is to be kept.
            self.strategies_changed = True
            return
        if out.kind == OUTPUT_LOG:
            self.logs_wait = True
            return
        if out.kind == OUTPUT_FILL:
            self.cell_changed[self._place(out.strategy, out.fill.instrument)] = 1
            self.any_changed = True
        self.orders_seq += 1
        if self.orders_seq <= self.orders_known:
            return
        record = <Record*>spsc_claim_one(self.orders_out)
        if record == NULL:
            self.orders_dropped += 1
            spsc_drop(self.orders_out, 1)
            return
        self._record(record, out)
        record.header.dropped = self.orders_dropped
        self.orders_dropped = 0
        spsc_publish_at(self.orders_out, 1, self.orders_seq)

    cdef size_t _place(self, uint16_t strategy, uint16_t instrument) noexcept nogil:
        return <size_t>strategy * self.desk.n_instruments + instrument

    cdef void _record(self, Record* record, const Output* out) noexcept nogil:
        cdef const Instrument* inst = &self.desk.instruments[out.order.instrument]
        cdef Cell* cell
        if out.kind == OUTPUT_ORDER:
            _header(record, self.desk, RECORD_ORDER, out.order.instrument, out.strategy, sizeof(OrderRecord))
            _order_record(&record.payload.order, &out.order, inst, out.prev_status)
            record.payload.order.journal_seq = self.journal_seq[0]
            return
        inst = &self.desk.instruments[out.fill.instrument]
        cell = desk_cell(self.desk, out.strategy, out.fill.instrument)
        _header(record, self.desk, RECORD_FILL, out.fill.instrument, out.strategy, sizeof(FillRecord))
        record.payload.fill.fill = out.fill
        record.payload.fill.qty = to_qty(out.fill.qty, inst.lot_size)
        record.payload.fill.position = position_qty(&cell.position, inst)

    def room_for_resync(self, uint32_t more) -> bool:
        """Whether all live orders and ``more`` records find room on ``orders_out``."""
        return spsc_claim(self.orders_out, self.desk.orders.used + more) == SPSC_OK

    def resend_orders(self) -> None:
        """Publishes all live orders as they stand, oldest first in each strategy and instrument."""
        cdef uint16_t s, i
        cdef uint32_t handle
        cdef Order* order
        cdef Record* record
        for s in range(self.desk.n_strategies):
            for i in range(self.desk.n_instruments):
                handle = desk_cell(self.desk, s, i).head
                while handle != 0:
                    order = &desk_live(self.desk, handle).order
                    handle = order.next_handle
                    record = <Record*>spsc_claim_one(self.orders_out)
                    if record == NULL:
                        self.orders_dropped += 1
                        continue
                    _header(record, self.desk, RECORD_ORDER, i, s, sizeof(OrderRecord))
                    _order_record(&record.payload.order, order, &self.desk.instruments[i], order.status)
                    record.payload.order.order.next_handle = 0
                    record.payload.order.order.prev_handle = 0
                    record.payload.order.journal_seq = self.journal_seq[0]
                    spsc_publish(self.orders_out, 1)

    def mute(self, bint muted) -> None:
        """Numbers what is put out without publishing it, or publishes whatever is put out from here on."""
        if muted:
            self.repeat(True)
        else:
            self.orders_known = min(self.orders_known, self.orders_seq)

    def reply(self, message, bint is_news=True) -> bool:
        """Publishes a reply that has a place and number among the orders; one that is no news is only numbered."""
        self.orders_seq += 1
        if not is_news:
            return True
        if not self.blob(RECORD_REPLY, message):
            return False
        spsc_publish_at(self.orders_out, 0, self.orders_seq)
        return True

    def blob(self, kind, message, *, strategy=NO_STRATEGY, str ring="orders_out") -> bool:
        """Publishes a blob.

        Args:
            kind: One of ``records.BLOB_KINDS``.
            message: What to encode.
            strategy: The strategy's slot, where it is about one.
            ring: ``orders_out``, ``telemetry_out`` or ``control_out``.

        Returns:
            False, and counted as dropped, when the ring has no room.
        """
        cdef Ring target = {
            "orders_out": self.orders_ring, "telemetry_out": self.telemetry_ring, "control_out": self.control_ring
        }[ring]
        cdef uint32_t n
        records = blob_records(kind, message, strategy=strategy, step=self.desk.step, ts=self.desk.now)
        n = len(records)
        if spsc_claim(&target.spsc, n) != SPSC_OK:
            spsc_drop(&target.spsc, n)
            if target is self.telemetry_ring:
                self.telemetry_dropped += n
                self.status.dropped += n
            elif target is self.orders_ring:
                self.orders_dropped += n
            return False
        if target is self.telemetry_ring:
            records["dropped"][0] = self.telemetry_dropped
            self.telemetry_dropped = 0
        elif target is self.orders_ring:
            records["dropped"][0] = self.orders_dropped
            self.orders_dropped = 0
        target.push_many(records.view("u1").reshape(n, SLOT_BYTES))
        return True

    def changed_strategies(self) -> list:
        """Slots of strategies whose state or parameters changed since the last call."""
        changed = [i for i in range(self.desk.n_strategies) if self.strategy_changed[i]]
        memset(self.strategy_changed, 0, MAX_STRATEGIES)
        self.strategies_changed = False
        return changed

    def take_logs(self) -> list:
        """The kernel's log lines since the last call: ``(ts, step, strategy, level, text)``."""
        self.logs_wait = False
        return self.kernel.take_logs()

    # --- market_out ---------------------------------------------------------------------------

    cdef void market(self, uint16_t instrument, const Event* event) noexcept nogil:
        """Takes note of a market event that the kernel has applied."""
        cdef Record* record
        if (event.ev & EV_KIND_MASK) != EVENT_TRADE:
            conflator_note(&self.books[instrument], &self.desk.books[instrument], event)
            return
        if spsc_claim(self.market_out, 1 + TRADES_RESERVE) != SPSC_OK:
            self.trades_dropped += 1
            spsc_drop(self.market_out, 1)
            return
        record = <Record*>spsc_slot(self.market_out, 0)
        _header(record, self.desk, RECORD_TRADE, instrument, NO_STRATEGY, sizeof(MarketRecord))
        record.header.dropped = self.trades_dropped
        record.payload.market.event = event[0]
        self.trades_dropped = 0
        spsc_publish(self.market_out, 1)

    cdef void depth(self, int64_t now, bint force) noexcept nogil:
        """Publishes the books whose interval is over, or all that changed."""
        cdef uint16_t i
        for i in range(self.desk.n_instruments):
            if not force and now - self.book_sent[i] < self.depth_interval:
                continue
            if conflator_due(&self.books[i]) and self._batch(i):
                self.book_sent[i] = now

    cdef bint waiting(self) noexcept nogil:
        """Whether a book has changes that its interval still holds back."""
        cdef uint16_t i
        for i in range(self.desk.n_instruments):
            if conflator_due(&self.books[i]):
                return True
        return False

    cdef bint _batch(self, uint16_t instrument) noexcept nogil:
        cdef Conflator* changes = &self.books[instrument]
        cdef uint32_t n_bids = 0, n, n_records, i, k, take
        cdef uint16_t flags
        cdef Record* record
        n = conflator_levels(changes, &self.desk.books[instrument], self.levels, &n_bids)
        # An empty book is a batch as well: a snapshot without levels.
        n_records = 1 if n == 0 else (n + DEPTH_LEVELS - 1) // DEPTH_LEVELS
        if spsc_claim(self.market_out, n_records) != SPSC_OK:
            changes.conflated = 1
            return False
        flags = FLAG_CONFLATED if changes.conflated else 0
        if changes.snapshot:
            flags |= FLAG_SNAPSHOT
        self.status.conflated += changes.conflated
        for i in range(n_records):
            record = <Record*>spsc_slot(self.market_out, i)
            take = min(n - i * DEPTH_LEVELS, <uint32_t>DEPTH_LEVELS)
            _header(record, self.desk, RECORD_DEPTH, instrument, NO_STRATEGY, sizeof(DepthRecord))
            record.header.flags = flags | (FLAG_LAST if i == n_records - 1 else 0)
            record.payload.depth.exch_ts = changes.exch_ts
            for k in range(take):
                record.payload.depth.levels[k] = self.levels[i * DEPTH_LEVELS + k]
                if i * DEPTH_LEVELS + k < n_bids:
                    record.payload.depth.n_bids += 1
                else:
                    record.payload.depth.n_asks += 1
        spsc_publish(self.market_out, n_records)
        conflator_sent(changes, &self.desk.books[instrument])
        return True

    def snapshot_books(self) -> None:
        """Makes the next batch of every book a snapshot."""
        cdef uint16_t i
        for i in range(self.desk.n_instruments):
            self.books[i].snapshot = 1
            self.book_sent[i] = INT64_MIN // 2

    # --- telemetry ----------------------------------------------------------------------------

    cdef void _position(self, uint16_t strategy, uint16_t instrument, PositionRecord* out) noexcept nogil:
        cdef const Instrument* inst = &self.desk.instruments[instrument]
        cdef Cell* cell = desk_cell(self.desk, strategy, instrument)
        cdef double mid = book_mid(&self.desk.books[instrument])
        out.position = position_qty(&cell.position, inst)
        out.avg_px = position_avg_px(&cell.position, inst)
        out.mid_px = mid
        out.realized_pnl = cell.position.realized_pnl
        out.unrealized_pnl = position_unrealized(&cell.position, inst, mid)
        out.fee = cell.position.fee
        out.balance = cell.position.balance
        out.equity = position_equity(&cell.position, inst, mid)
        out.trading_volume = cell.position.trading_volume
        out.trading_value = cell.position.trading_value
        out.num_trades = <uint64_t>cell.position.num_trades
        out.open_orders = cell.n_orders

    cdef void _send_position(self, uint16_t strategy, uint16_t instrument) noexcept nogil:
        cdef Record* record = <Record*>spsc_claim_one(self.telemetry_out)
        if record == NULL:
            self._drop_telemetry()
            return
        _header(record, self.desk, RECORD_POSITION, instrument, strategy, sizeof(PositionRecord))
        self._position(strategy, instrument, &record.payload.position)
        self._send_telemetry(record)

    cdef void _drop_telemetry(self) noexcept nogil:
        self.telemetry_dropped += 1
        self.status.dropped += 1
        spsc_drop(self.telemetry_out, 1)

    cdef void _send_telemetry(self, Record* record) noexcept nogil:
        record.header.dropped = self.telemetry_dropped
        self.telemetry_dropped = 0
        spsc_publish(self.telemetry_out, 1)

    cdef void fills(self) noexcept nogil:
        """Publishes the positions that fills of this step have changed."""
        cdef uint16_t s, i
        if not self.any_changed:
            return
        for s in range(self.desk.n_strategies):
            for i in range(self.desk.n_instruments):
                if self.cell_changed[self._place(s, i)]:
                    self.cell_changed[self._place(s, i)] = 0
                    self._send_position(s, i)
        self.any_changed = False

    cdef void telemetry(self, int64_t wall) noexcept nogil:
        """Publishes status and all positions, and rewrites the status page."""
        cdef Record* record
        cdef uint16_t s, i
        self.status.trading_state = self.desk.trading_state
        self.status.wall_ts = wall
        self.status.orders = self.desk.requests
        self.status.fills = self.desk.fills
        self.status.denied = self.desk.denials
        self._journal_status()
        record = <Record*>spsc_claim_one(self.telemetry_out)
        if record == NULL:
            self._drop_telemetry()
        else:
            _header(record, self.desk, RECORD_STATUS, 0, NO_STRATEGY, sizeof(StatusRecord))
            record.payload.status = self.status
            self._send_telemetry(record)
        for s in range(self.desk.n_strategies):
            for i in range(self.desk.n_instruments):
                if desk_cell(self.desk, s, i).trades:
                    self._send_position(s, i)
        if self.page_head != NULL:
            self._write_page()

    cdef void _journal_status(self) noexcept nogil:
        cdef JournalWriter* writer
        cdef uint32_t flags
        if self.journal is None:
            return
        writer = &self.journal.writer
        flags = journal_flags(writer)
        # Durable first: the other way round it might seem to be ahead.
        self.status.durable_seq = journal_durable_seq(writer)
        self.status.accepted_seq = journal_accepted_seq(writer)
        if flags & JOURNAL_HALTED:
            self.status.journal_state = JOURNAL_IS_HALTED
        else:
            self.status.journal_state = JOURNAL_IS_FULL if flags & JOURNAL_DISK_FULL else JOURNAL_IS_OK

    def write_page(self) -> None:
        """Rewrites the status page, where there is one."""
        if self.page_head != NULL:
            self._write_page()

    cdef void _write_page(self) noexcept nogil:
        cdef PageHead* head = self.page_head
        cdef PagePosition* entry
        cdef uint32_t n = 0
        cdef uint16_t s, i
        head.lock += 1
        page_fence()
        head.step = self.desk.step
        head.status = self.status
        for s in range(self.desk.n_strategies):
            for i in range(self.desk.n_instruments):
                if not desk_cell(self.desk, s, i).trades or n == self.page_capacity:
                    continue
                entry = <PagePosition*>(<uint8_t*>head + <size_t>(n + 1) * SLOT_SIZE)
                entry.strategy = s
                entry.instrument = i
                entry.state = self.desk.slots[s].state
                memcpy(entry.name, self.names + <size_t>s * NAME_BYTES, NAME_BYTES)
                self._position(s, i, &entry.position)
                n += 1
        head.n_positions = n
        page_fence()
        head.lock += 1

    cdef void notify(self) noexcept nogil:
        """Wakes the bridge if it sleeps and something was published."""
        ring_notify(self.orders_ring)
        ring_notify(self.market_ring)
        ring_notify(self.telemetry_ring)
        ring_notify(self.control_ring)
