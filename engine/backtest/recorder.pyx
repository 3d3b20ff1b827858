"""The logs of a run, and their way to NumPy; see the header of recorder.pxd."""

from libc.stdint cimport int64_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcpy, memset

import numpy as np

from engine.book.l2 cimport L2Book
from engine.core.codes cimport ERR_NO_MEMORY, OK
from engine.core.types cimport Fill, Order
from engine.risk.position cimport position_equity, position_qty
from engine.strategy.desk cimport OUTPUT_FILL, OUTPUT_ORDER, Cell, Desk, Output, book_mid, desk_cell

cdef OrderEntry _entry
cdef EquitySample _sample

order_entry_dtype = np.asarray(<OrderEntry[:1]>&_entry).dtype
equity_sample_dtype = np.asarray(<EquitySample[:1]>&_sample).dtype


cdef int log_init(Log* log, size_t item, size_t capacity) noexcept nogil:
    log.item = item
    log.n = 0
    log.capacity = capacity
    log.data = <char*>malloc(item * capacity)
    return OK if log.data != NULL else ERR_NO_MEMORY


cdef void* log_add(Log* log) noexcept nogil:
    """Room for one more entry; NULL when memory is out."""
    cdef char* grown
    if log.n == log.capacity:
        grown = <char*>realloc(log.data, 2 * log.capacity * log.item)
        if grown == NULL:
            return NULL
        log.data = grown
        log.capacity *= 2
    log.n += 1
    return log.data + (log.n - 1) * log.item


cdef object log_array(const Log* log, object dtype):
    """A copy of the entries as an array."""
    array = np.empty(log.n, dtype=dtype)
    cdef char[::1] view
    if log.n:
        view = array.view(np.int8)
        memcpy(&view[0], log.data, log.n * log.item)
    return array


cdef class Recorder:
    """Collects what a kernel puts out during one run."""

    def __cinit__(self):
        if (
            log_init(&self.fills, sizeof(Fill), 1024) != OK
            or log_init(&self.orders, sizeof(OrderEntry), 4096) != OK
            or log_init(&self.samples, sizeof(EquitySample), 256) != OK
        ):
            raise MemoryError

    def __dealloc__(self):
        free(self.fills.data)
        free(self.orders.data)
        free(self.samples.data)

    cdef int record(self, const Output* output) noexcept nogil:
        """Keeps a fill or an order update; other outputs are not its business."""
        cdef void* slot
        cdef char* tail
        if output.kind == OUTPUT_FILL:
            slot = log_add(&self.fills)
            if slot == NULL:
                return ERR_NO_MEMORY
            (<Fill*>slot)[0] = output.fill
        elif output.kind == OUTPUT_ORDER:
            slot = log_add(&self.orders)
            if slot == NULL:
                return ERR_NO_MEMORY
            (<OrderEntry*>slot).ts = output.ts
            (<OrderEntry*>slot).order = output.order
            (<OrderEntry*>slot).prev_status = output.prev_status
            memset((<OrderEntry*>slot)._pad, 0, 7)
            # Copies of orders carry whatever their padding held: the same run must give the same bytes.
            tail = <char*>&(<OrderEntry*>slot).order.flags + 1
            memset(tail, 0, <char*>(&(<OrderEntry*>slot).order + 1) - tail)
        return OK

    cdef int sample(self, const Desk* desk, int64_t ts) noexcept nogil:
        """Takes the equity of every strategy in every instrument it trades."""
        cdef EquitySample* slot
        cdef Cell* cell
        cdef uint16_t strategy, instrument
        for strategy in range(desk.n_strategies):
            for instrument in range(desk.n_instruments):
                cell = desk_cell(desk, strategy, instrument)
                if not cell.trades:
                    continue
                slot = <EquitySample*>log_add(&self.samples)
                if slot == NULL:
                    return ERR_NO_MEMORY
                memset(slot, 0, sizeof(EquitySample))
                slot.ts = ts
                slot.mid_price = book_mid(&desk.books[instrument])
                slot.position = position_qty(&cell.position, &desk.instruments[instrument])
                slot.balance = cell.position.balance
                slot.fee = cell.position.fee
                slot.equity = position_equity(&cell.position, &desk.instruments[instrument], slot.mid_price)
                slot.strategy = strategy
                slot.instrument = instrument
        return OK

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
