"""Depth conflation: see conflate.pxd. The class below is its Python face, for tests."""

cimport cython
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free

from engine.book.l2 cimport L2, L2Book, l2_ask_qty, l2_bid_qty, l2_levels
from engine.core.codes cimport ERR_NO_MEMORY, OK
from engine.core.ticks cimport INVALID_MAX_TICK, INVALID_MIN_TICK, to_px, to_tick
from engine.core.types cimport (
    EV_BUY,
    EV_KIND_MASK,
    EV_SELL,
    EVENT_DEPTH,
    EVENT_DEPTH_BBO,
    EVENT_DEPTH_CLEAR,
    EVENT_DEPTH_SNAPSHOT,
    SIDE_BUY,
    SIDE_SELL,
    Event,
)
from engine.runtime.records cimport DepthLevel

import numpy as np

from engine.core.types import event_dtype


cdef int conflator_init(Conflator* self) noexcept nogil:
    self.keys = <int64_t*>calloc(DIRTY_TABLE, sizeof(int64_t))
    self.generations = <uint32_t*>calloc(DIRTY_TABLE, sizeof(uint32_t))
    self.used = <uint32_t*>calloc(DIRTY_LIMIT, sizeof(uint32_t))
    self.ticks = <int64_t*>calloc(SNAPSHOT_LEVELS, sizeof(int64_t))
    self.qtys = <double*>calloc(SNAPSHOT_LEVELS, sizeof(double))
    self.low[0] = self.high[0] = INVALID_MIN_TICK
    self.low[1] = self.high[1] = INVALID_MAX_TICK
    self.exch_ts = 0
    self.generation = 1
    self.n = 0
    self.snapshot = 1
    self.conflated = 0
    if not (self.keys and self.generations and self.used and self.ticks and self.qtys):
        conflator_free(self)
        return ERR_NO_MEMORY
    return OK


cdef void conflator_free(Conflator* self) noexcept nogil:
    free(self.keys)
    free(self.generations)
    free(self.used)
    free(self.ticks)
    free(self.qtys)
    self.keys = self.ticks = NULL
    self.generations = self.used = NULL
    self.qtys = NULL


cdef void _empty(Conflator* self) noexcept nogil:
    cdef uint32_t i
    self.n = 0
    self.generation += 1
    if self.generation == 0:
        # The counter has wrapped: entries of four thousand million batches ago must not count again.
        for i in range(<uint32_t>DIRTY_TABLE):
            self.generations[i] = 0
        self.generation = 1


cdef inline bint _insert(Conflator* self, int64_t key) noexcept nogil:
    """Whether the level is new in this batch; a full set makes the batch a snapshot."""
    cdef uint32_t place = <uint32_t>((<uint64_t>key * 0x9e3779b97f4a7c15ULL) >> 52)
    while self.generations[place] == self.generation:
        if self.keys[place] == key:
            return False
        place = (place + 1) & (DIRTY_TABLE - 1)
    if self.n == DIRTY_LIMIT:
        self.snapshot = self.conflated = 1
        _empty(self)
        return True
    self.keys[place] = key
    self.generations[place] = self.generation
    self.used[self.n] = place
    self.n += 1
    return True


cdef void conflator_note(Conflator* self, const L2Book* book, const Event* event) noexcept nogil:
    cdef uint64_t kind = event.ev & EV_KIND_MASK
    if kind == EVENT_DEPTH or kind == EVENT_DEPTH_SNAPSHOT or kind == EVENT_DEPTH_BBO:
        if not event.ev & (EV_BUY | EV_SELL):
            return
        self.exch_ts = event.exch_ts
        if self.snapshot:
            return
        self.low[0] = min(self.low[0], book.best_bid_tick)
        self.high[0] = max(self.high[0], book.best_bid_tick)
        self.low[1] = min(self.low[1], book.best_ask_tick)
        self.high[1] = max(self.high[1], book.best_ask_tick)
        # Shifting by multiplication: ticks may be negative.
        if not _insert(self, to_tick(event.px, book.tick_size) * 2 + ((event.ev & EV_BUY) == 0)):
            self.conflated = 1
    elif kind == EVENT_DEPTH_CLEAR:
        self.exch_ts = event.exch_ts
        self.snapshot = 1
        _empty(self)


cdef bint conflator_due(const Conflator* self) noexcept nogil:
    return self.n > 0 or (self.snapshot and self.exch_ts != 0)


cdef inline bint _cover(Conflator* self, int side) noexcept nogil:
    """Notes all that the best price of a side has passed; False when that is too much or unknowable."""
    cdef int64_t low = self.low[side], high = self.high[side]
    cdef int64_t tick
    if low == high:
        return True
    if low == INVALID_MIN_TICK or high == INVALID_MAX_TICK or <double>high - <double>low > DIRTY_LIMIT:
        return False
    for tick in range(low, high + 1):
        _insert(self, tick * 2 + side)
        if self.snapshot:
            return False
    return True


cdef uint32_t _snapshot(
    Conflator* self, const L2Book* book, DepthLevel* out, uint32_t* n_bids
) noexcept nogil:
    cdef uint32_t i, n
    n = l2_levels(book, SIDE_BUY, SNAPSHOT_LEVELS, self.ticks, self.qtys)
    n_bids[0] = n
    for i in range(n):
        out[i].px = to_px(self.ticks[i], book.tick_size)
        out[i].qty = self.qtys[i]
    n = l2_levels(book, SIDE_SELL, SNAPSHOT_LEVELS, self.ticks, self.qtys)
    for i in range(n):
        out[n_bids[0] + i].px = to_px(self.ticks[i], book.tick_size)
        out[n_bids[0] + i].qty = self.qtys[i]
    return n_bids[0] + n


cdef uint32_t conflator_levels(
    Conflator* self, const L2Book* book, DepthLevel* out, uint32_t* n_bids
) noexcept nogil:
    cdef uint32_t i, n = 0
    cdef int64_t key, tick
    if not self.snapshot and not (_cover(self, 0) and _cover(self, 1)):
        self.snapshot = 1
    if self.snapshot:
        return _snapshot(self, book, out, n_bids)
    for i in range(self.n):
        key = self.keys[self.used[i]]
        if not key & 1:
            tick = key >> 1
            out[n].px = to_px(tick, book.tick_size)
            out[n].qty = l2_bid_qty(book, tick) if tick <= book.best_bid_tick else 0.0
            n += 1
    n_bids[0] = n
    for i in range(self.n):
        key = self.keys[self.used[i]]
        if key & 1:
            tick = key >> 1
            out[n].px = to_px(tick, book.tick_size)
            out[n].qty = l2_ask_qty(book, tick) if tick >= book.best_ask_tick else 0.0
            n += 1
    return n


cdef void conflator_sent(Conflator* self, const L2Book* book) noexcept nogil:
    _empty(self)
    self.low[0] = self.high[0] = book.best_bid_tick
    self.low[1] = self.high[1] = book.best_ask_tick
    self.snapshot = self.conflated = 0


@cython.final
cdef class DepthConflator:
    """The changes of one book since they were last taken.

    Args:
        book: The book, which somebody else updates.
    """

    cdef Conflator state
    cdef L2 book

    def __cinit__(self, L2 book not None):
        self.book = book
        if conflator_init(&self.state) != OK:
            raise MemoryError

    def __dealloc__(self):
        conflator_free(&self.state)

    def note(self, events) -> None:
        """Takes note of events that the book has applied.

        Args:
            events: Array of ``event_dtype``, shape (n,).
        """
        cdef const Event[::1] rows = np.ascontiguousarray(events, event_dtype)
        cdef Py_ssize_t i
        for i in range(rows.shape[0]):
            conflator_note(&self.state, &self.book.book, &rows[i])

    def take(self):
        """The batch that brings a reader of the previous ones up to date.

        Returns:
            ``(bids, asks, snapshot, conflated)`` with lists of ``(px, qty)``, or None when nothing changed.
        """
        cdef uint32_t n, n_bids = 0
        if not conflator_due(&self.state):
            return None
        memory = np.empty((BATCH_LEVELS, 2), np.float64)
        cdef double[:, ::1] view = memory
        n = conflator_levels(&self.state, &self.book.book, <DepthLevel*>&view[0, 0], &n_bids)
        flags = bool(self.state.snapshot), bool(self.state.conflated)
        conflator_sent(&self.state, &self.book.book)
        pairs = [tuple(row) for row in memory[:n].tolist()]
        return pairs[:n_bids], pairs[n_bids:], *flags

    def delay(self) -> None:
        """Says that a batch was due and could not be sent."""
        self.state.conflated = 1
