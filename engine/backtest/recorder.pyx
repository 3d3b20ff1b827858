"""The logs of a run, and their way to NumPy; see the header of recorder.pxd."""

from libc.errno cimport EINTR, errno
from libc.stdint cimport int64_t, uint16_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcpy, memset
from posix.unistd cimport close, pwrite

import os
import tempfile

import numpy as np

from engine.core.codes cimport ERR_NO_MEMORY, ERR_NO_SPACE, OK
from engine.core.types cimport Event, Fill
from engine.risk.position cimport position_equity, position_qty
from engine.strategy.desk cimport OUTPUT_FILL, OUTPUT_ORDER, Cell, Desk, Output, book_mid, desk_cell

from engine.core.errors import raise_for_code

cdef OrderEntry _entry
cdef EquitySample _sample
cdef TickEntry _tick
cdef MarketEntry _market

order_entry_dtype = np.asarray(<OrderEntry[:1]>&_entry).dtype
equity_sample_dtype = np.asarray(<EquitySample[:1]>&_sample).dtype
tick_entry_dtype = np.asarray(<TickEntry[:1]>&_tick).dtype
market_entry_dtype = np.asarray(<MarketEntry[:1]>&_market).dtype


MEMORY = 8 << 20
"""Bytes of each log that stay in memory."""


cdef int log_init(Log* log, size_t item, size_t capacity, size_t memory) noexcept nogil:
    log.item = item
    log.n = 0
    log.limit = memory // item if memory > item else <size_t>1
    log.capacity = min(capacity, log.limit)
    log.written = 0
    log.file = -1
    log.data = <char*>malloc(item * log.capacity)
    return OK if log.data != NULL else ERR_NO_MEMORY


cdef void log_free(Log* log) noexcept nogil:
    free(log.data)
    if log.file >= 0:
        close(log.file)


cdef int log_open(Log* log) noexcept with gil:
    """Makes the file."""
    try:
        with tempfile.TemporaryFile() as file:
            log.file = os.dup(file.fileno())
    except OSError:
        return ERR_NO_SPACE
    return OK


cdef int log_write(Log* log) noexcept nogil:
    """Moves the block's entries to the file; ERR_NO_SPACE."""
    cdef size_t done = 0
    cdef ssize_t wrote
    if log.file < 0 and log_open(log) != OK:
        return ERR_NO_SPACE
    while done < log.n * log.item:
        wrote = pwrite(log.file, log.data + done, log.n * log.item - done, log.written * log.item + done)
        if wrote > 0:
            done += wrote
        elif wrote == 0 or errno != EINTR:
            return ERR_NO_SPACE
    log.written += log.n
    log.n = 0
    return OK


cdef int log_add(Log* log, void** slot) noexcept nogil:
    """Makes room for one more entry. ERR_NO_MEMORY or ERR_NO_SPACE."""
    cdef char* grown
    cdef size_t capacity
    cdef int code
    if log.n == log.capacity:
        if log.capacity == log.limit:
            code = log_write(log)
            if code != OK:
                return code
        else:
            capacity = min(2 * log.capacity, log.limit)
            grown = <char*>realloc(log.data, capacity * log.item)
            if grown == NULL:
                return ERR_NO_MEMORY
            log.data = grown
            log.capacity = capacity
    slot[0] = log.data + log.n * log.item
    log.n += 1
    return OK


cdef object log_array(Log* log, object dtype):
    """The entries so far: a copy, or a map of their file (a private one, so it can be written to)."""
    cdef char[::1] view
    if log.written:
        raise_for_code(log_write(log))
        with os.fdopen(os.dup(log.file), "rb") as file:
            return np.memmap(file, dtype, "c", 0, log.written).view(np.ndarray)
    array = np.empty(log.n, dtype=dtype)
    if log.n:
        view = array.view(np.int8)
        memcpy(&view[0], log.data, log.n * log.item)
    return array


cdef class Recorder:
    """Collects what a kernel puts out during one run.

    Args:
        memory: Bytes of each log that stay in memory.
        market: Whether the market that strategies are shown is kept, where the driver tells it.

    Attributes:
        n_orders: Order updates so far, whether they have been taken or not.
    """

    def __cinit__(self, size_t memory=MEMORY, bint market=False):
        self.has_market = market
        self.fills.file = self.orders.file = self.samples.file = self.ticks.file = self.market.file = -1
        if (
            log_init(&self.fills, sizeof(Fill), 1024, memory) != OK
            or log_init(&self.orders, sizeof(OrderEntry), 4096, memory) != OK
            or log_init(&self.samples, sizeof(EquitySample), 256, memory) != OK
            or log_init(&self.ticks, sizeof(TickEntry), 256, memory) != OK
            or log_init(&self.market, sizeof(MarketEntry), 4096 if market else 1, memory) != OK
        ):
            raise MemoryError

    def __dealloc__(self):
        log_free(&self.fills)
        log_free(&self.orders)
        log_free(&self.samples)
        log_free(&self.ticks)
        log_free(&self.market)

    cdef int record(self, const Output* output) noexcept nogil:
        """Keeps a fill or an order update; other outputs are not its business."""
        cdef void* slot = NULL
        cdef char* tail
        cdef int code
        if output.kind == OUTPUT_FILL:
            code = log_add(&self.fills, &slot)
            if code != OK:
                return code
            (<Fill*>slot)[0] = output.fill
        elif output.kind == OUTPUT_ORDER:
            code = log_add(&self.orders, &slot)
            if code != OK:
                return code
            self.n_orders += 1
            (<OrderEntry*>slot).ts = output.ts
            (<OrderEntry*>slot).order = output.order
            (<OrderEntry*>slot).prev_status = output.prev_status
            memset((<OrderEntry*>slot)._pad, 0, 7)
            # Copies of orders carry whatever their padding held: the same run must give the same bytes.
            tail = <char*>&(<OrderEntry*>slot).order.flags + 1
            memset(tail, 0, <char*>(&(<OrderEntry*>slot).order + 1) - tail)
        return OK

    cdef int tick(self, const TickEntry* entry) noexcept nogil:
        """Keeps how long a request took."""
        cdef void* slot = NULL
        cdef int code = log_add(&self.ticks, &slot)
        if code == OK:
            (<TickEntry*>slot)[0] = entry[0]
        return code

    cdef int show(self, int64_t ts, uint16_t instrument, const Event* event) noexcept nogil:
        """Keeps a market event that strategies are shown, where that is asked for."""
        cdef MarketEntry* slot = NULL
        cdef int code
        if not self.has_market:
            return OK
        code = log_add(&self.market, <void**>&slot)
        if code == OK:
            memset(slot, 0, sizeof(MarketEntry))
            slot.ts, slot.instrument, slot.event = ts, instrument, event[0]
        return code

    cdef int sample(self, const Desk* desk, int64_t ts) noexcept nogil:
        """Takes the equity of every strategy in every instrument it trades."""
        cdef EquitySample* slot = NULL
        cdef int code
        cdef Cell* cell
        cdef uint16_t strategy, instrument
        for strategy in range(desk.n_strategies):
            for instrument in range(desk.n_instruments):
                cell = desk_cell(desk, strategy, instrument)
                if not cell.trades:
                    continue
                code = log_add(&self.samples, <void**>&slot)
                if code != OK:
                    return code
                memset(slot, 0, sizeof(EquitySample))
                slot.ts = ts
                slot.mid_price = book_mid(&desk.books[instrument])
                slot.position = position_qty(&cell.position, &desk.instruments[instrument])
                slot.balance = cell.position.balance
                slot.fee = cell.position.fee
                slot.funding = cell.position.funding
                slot.equity = position_equity(&cell.position, &desk.instruments[instrument], slot.mid_price)
                slot.strategy = strategy
                slot.instrument = instrument
        return OK

    @property
    def counts(self):
        """How many fills, order updates and equity samples there are so far."""
        return (
            self.fills.written + self.fills.n,
            self.orders.written + self.orders.n,
            self.samples.written + self.samples.n,
        )

    @property
    def waiting(self):
        """The most entries that any log has had since the last :meth:`take`."""
        return max(*self.counts, self.market.written + self.market.n)

    def take(self):
        """Gives the fills and the order updates since the last time, and forgets them: a run needs no more
        room than lies between two calls.

        Returns:
            As :meth:`fill_array` and :meth:`order_array`, with those of :meth:`tick_array` and
            :meth:`market_array` forgotten too, behind them.
        """
        taken = self.fill_array(), self.order_array(), self.tick_array(), self.market_array()
        taken = tuple(np.array(one) for one in taken)
        self.fills.n = self.fills.written = self.orders.n = self.orders.written = 0
        self.ticks.n = self.ticks.written = self.market.n = self.market.written = 0
        return taken

    def tick_array(self):
        """How long requests took from the tick that led to them: ``tick_entry_dtype``."""
        return log_array(&self.ticks, tick_entry_dtype)

    def market_array(self):
        """What strategies have been shown: ``market_entry_dtype``."""
        return log_array(&self.market, market_entry_dtype)

    def fill_array(self):
        """All fills so far, as a ``fill_dtype`` array."""
        from engine.core.types import fill_dtype

        return log_array(&self.fills, fill_dtype)

    def order_array(self):
        """All order updates so far: ``ts``, ``order`` and ``prev_status``."""
        return log_array(&self.orders, order_entry_dtype)

    def sample_array(self):
        """All equity samples so far."""
        return log_array(&self.samples, equity_sample_dtype)
