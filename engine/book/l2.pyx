"""The out-of-line half of the market-by-price book, and its Python face; l2.pxd says how it is built."""

cimport cython
from libc.math cimport INFINITY, NAN, isfinite, nextafter
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memset

from engine.book.ladder cimport (
    ladder_below,
    ladder_check,
    ladder_clear,
    ladder_clear_upto,
    ladder_free,
    ladder_image,
    ladder_init,
    ladder_levels,
    ladder_mix,
    ladder_remove,
    ladder_set_best,
    ladder_visible,
)
from engine.core.codes cimport ERR_BAD_SIZE, ERR_FULL, ERR_INVARIANT, ERR_NO_MEMORY
from engine.core.image cimport Image, image_fault, image_move, image_same
from engine.core.types cimport (
    EV_EXCH,
    EV_LOCAL,
    EVENT_DEPTH_BBO,
    EVENT_DEPTH_CLEAR,
    SIDE_BUY,
    SIDE_NONE,
    SIDE_SELL,
)

import numpy as np

from engine.core.errors import CapacityError, DataError, raise_for_code
from engine.core.types import event_dtype


cdef extern from *:
    """
    #ifdef RINGBOOK_DEBUG
    #define L2_CHECK_ALWAYS 1
    #else
    #define L2_CHECK_ALWAYS 0
    #endif
    """
    const bint L2_CHECK_ALWAYS


# Rows fetched ahead of the one applied: a stream of 64-byte rows outruns the hardware's own prefetching.
cdef enum:
    LOOK_AHEAD = 64


cdef inline void _publish(L2Book* book) noexcept nogil:
    book.best_bid_tick = book.ladders[0].best
    book.best_ask_tick = ~book.ladders[1].best


cdef double l2_min_qty(double lot_size) noexcept nogil:
    cdef double qty = 0.5 * lot_size
    while qty / lot_size >= 0.5:
        qty = nextafter(qty, 0.0)
    while not qty / lot_size >= 0.5:
        qty = nextafter(qty, INFINITY)
    return qty


cdef double l2_max_qty(double lot_size) noexcept nogil:
    return min(L2_LOT_LIMIT * lot_size, L2_QTY_LIMIT)


cdef int l2_init(L2Book* book, double tick_size, double lot_size, uint32_t window_ticks) noexcept nogil:
    cdef uint64_t window = L2_MIN_WINDOW
    cdef int i
    memset(book, 0, sizeof(L2Book))
    if window_ticks == 0:
        window_ticks = L2_DEFAULT_WINDOW
    if window_ticks > L2_MAX_WINDOW or not (0.0 < tick_size < INFINITY and 0.0 < lot_size < INFINITY):
        return ERR_BAD_SIZE
    while window < window_ticks:
        window *= 2
    book.tick_size = tick_size
    book.lot_size = lot_size
    # Exactly the least quantity of which round(qty / lot_size) is 1, to compare instead of dividing.
    book.min_qty = l2_min_qty(lot_size)
    book.max_qty = l2_max_qty(lot_size)
    for i in range(2):
        if ladder_init(&book.ladders[i], window) != OK:
            l2_free(book)
            return ERR_NO_MEMORY
    _publish(book)
    return OK


cdef void l2_free(L2Book* book) noexcept nogil:
    cdef int i
    for i in range(2):
        ladder_free(&book.ladders[i])
    memset(book, 0, sizeof(L2Book))


cdef int64_t _l2_move_best(L2Book* book, int side, int64_t key, bint keep) noexcept nogil:
    cdef Ladder* ladder = &book.ladders[side]
    cdef Ladder* other = &book.ladders[1 - side]
    if keep:
        if key < ladder.bound:
            ladder.bound = key
        if key > ladder.best:
            ladder_set_best(ladder, key)
            if key >= ~other.best:
                ladder_set_best(other, ladder_below(other, ~key))
    elif key == ladder.best:
        ladder_set_best(ladder, ladder_below(ladder, key))
        if ladder.best == INVALID_MIN_TICK:
            ladder.bound = INVALID_MAX_TICK
    _publish(book)
    return ladder.best


cdef void l2_clear(L2Book* book, int side, double upto_px) noexcept nogil:
    cdef double ratio = upto_px / book.tick_size
    cdef int64_t tick
    cdef int i
    for i in range(2):
        if side == (SIDE_SELL if i == 0 else SIDE_BUY):
            continue
        if side == SIDE_NONE or not isfinite(upto_px):
            ladder_clear(&book.ladders[i])
        else:
            tick = round_half_away(min(max(ratio, -L2_TICK_LIMIT), L2_TICK_LIMIT))
            ladder_clear_upto(&book.ladders[i], tick ^ -<int64_t>i)
    _publish(book)


# A quote of the best: the level is set and whatever was better on its side is dropped. A quantity that
# rounds to nothing removes the level, as in a depth event.
cdef int _apply_bbo(L2Book* book, const Event* event, L2Change* change) noexcept nogil:
    cdef int side = (event.ev & EV_BUY) == 0
    cdef Ladder* ladder = &book.ladders[side]
    cdef int64_t mirror = -<int64_t>side
    cdef int64_t tick = round_half_away(event.px / book.tick_size)
    cdef int code = _l2_update(book, side, tick, event.qty, change)
    if code != OK:
        return code
    if event.qty >= book.min_qty:
        ladder_remove(ladder, (tick ^ mirror) + 1, INVALID_MAX_TICK)
        ladder_set_best(ladder, tick ^ mirror)
        _publish(book)
        change.best_tick = tick
    return OK


cdef int _l2_apply_rest(L2Book* book, const Event* event, L2Change* change) noexcept nogil:
    cdef uint64_t kind = event.ev & EV_KIND_MASK
    cdef double ratio = event.px / book.tick_size
    cdef bint is_bid = (event.ev & EV_BUY) != 0
    cdef bint has_side = (event.ev & (EV_BUY | EV_SELL)) != 0
    memset(change, 0, sizeof(L2Change))
    change.price_tick = INVALID_MIN_TICK
    change.prev_best_tick = book.best_bid_tick if is_bid or not has_side else book.best_ask_tick
    change.best_tick = change.prev_best_tick
    if kind == EVENT_DEPTH_BBO and has_side:
        if not (-L2_TICK_LIMIT < ratio < L2_TICK_LIMIT):
            return ERR_BAD_TICK
        if not (0.0 <= event.qty <= book.max_qty):
            return ERR_BAD_QTY
        book.ts = event.exch_ts
        return _apply_bbo(book, event, change)
    if kind == EVENT_DEPTH_CLEAR:
        if has_side and isfinite(event.px) and not (-L2_TICK_LIMIT < ratio < L2_TICK_LIMIT):
            return ERR_BAD_TICK
        book.ts = event.exch_ts
        l2_clear(book, SIDE_NONE if not has_side else (SIDE_BUY if is_bid else SIDE_SELL), event.px)
        change.best_tick = book.best_bid_tick if is_bid or not has_side else book.best_ask_tick
    return OK


# --- looking at the book -------------------------------------------------------------------------

cdef uint32_t l2_levels(const L2Book* book, int side, uint32_t n, int64_t* ticks, double* qtys) noexcept nogil:
    cdef int index = side == SIDE_SELL
    cdef uint32_t count = ladder_levels(&book.ladders[index], n, ticks, qtys)
    cdef uint32_t i
    if index:
        for i in range(count):
            ticks[i] = ~ticks[i]
    return count


cdef uint32_t l2_count(const L2Book* book, int side) noexcept nogil:
    cdef uint64_t hashed
    return <uint32_t>ladder_visible(&book.ladders[side == SIDE_SELL], 0, &hashed)


cdef uint64_t l2_hash(const L2Book* book) noexcept nogil:
    cdef uint64_t bids, asks
    ladder_visible(&book.ladders[0], 0, &bids)
    ladder_visible(&book.ladders[1], -1, &asks)
    return ladder_mix(ladder_mix(bids + 1) * 3 + ladder_mix(asks + 2))


cdef int l2_check(const L2Book* book) noexcept nogil:
    if book.best_bid_tick != book.ladders[0].best or book.best_ask_tick != ~book.ladders[1].best:
        return ERR_INVARIANT
    if ladder_check(&book.ladders[0]) != OK:
        return ERR_INVARIANT
    return ladder_check(&book.ladders[1])


cdef void l2_image(L2Book* book, Image* image) noexcept nogil:
    image_same(image, &book.tick_size, sizeof(double))
    image_same(image, &book.lot_size, sizeof(double))
    image_move(image, &book.best_bid_tick, sizeof(int64_t))
    image_move(image, &book.best_ask_tick, sizeof(int64_t))
    image_move(image, &book.ts, sizeof(int64_t))
    ladder_image(&book.ladders[0], image)
    ladder_image(&book.ladders[1], image)
    if image.loading and image.code == OK:
        image_fault(image, l2_check(book))


# --- Python's face -------------------------------------------------------------------------------

best_dtype = np.dtype(
    [("bid_tick", "i8"), ("ask_tick", "i8"), ("bid_qty", "f8"), ("ask_qty", "f8")], align=True
)

cdef struct _Best:
    int64_t bid_tick
    int64_t ask_tick
    double bid_qty
    double ask_qty


cdef uint64_t _view_mask(str view) except 0:
    if view == "all":
        return EV_EXCH | EV_LOCAL
    if view == "local":
        return EV_LOCAL
    if view == "exch":
        return EV_EXCH
    raise ValueError(f"view must be 'all', 'local' or 'exch', not {view!r}")


def _raise_for_event(int code, Py_ssize_t row, const Event[::1] events, L2 self):
    event = events[row]
    if code == ERR_BAD_TICK:
        raise DataError(f"{event.px} is not within 2**62 ticks of {self.book.tick_size}", row=row, field="px")
    if code == ERR_BAD_QTY:
        raise DataError(
            f"{event.qty} is not between 0 and {self.book.max_qty}", row=row, field="qty"
        )
    if code == ERR_FULL:
        raise CapacityError(f"row {row}, price {event.px}: too many levels outside the window of {self.window} ticks")
    raise_for_code(code, f"row {row}, price {event.px}")


@cython.final
cdef class L2:
    """A market-by-price book with hftbacktest's semantics.

    Prices are floats on a grid of ``tick_size``; ticks are prices over it, rounded half away from zero.
    A quantity that rounds to no lot removes its level, any other is stored as it is.

    Args:
        tick_size: The price of one tick.
        lot_size: The quantity of one lot.
        window: Ticks of the dense window of each side, rounded up to a power of two of at least 512. Levels
            outside it are kept too, but cost more.

    Raises:
        CapacityError: A size is not a positive number, the window exceeds 2**24, or memory is short.
    """

    def __cinit__(self, double tick_size, double lot_size, *, uint32_t window=L2_DEFAULT_WINDOW):
        cdef int code = l2_init(&self.book, tick_size, lot_size, window)
        if code != OK:
            raise_for_code(code, f"book of tick {tick_size}, lot {lot_size}, window {window}")

    def __dealloc__(self):
        l2_free(&self.book)

    def __reduce__(self):
        raise TypeError("an L2 book cannot be pickled; take its snapshot()")

    # --- changing it ---

    def apply(self, const Event[::1] events, str view="all"):
        """Applies depth, snapshot, clear and BBO events; trades and other kinds are passed over.

        Args:
            events: Rows of ``event_dtype``.
            view: ``"local"`` or ``"exch"`` to apply only the rows that side sees; ``"all"`` for both.

        Returns:
            The number of rows that were in the view.

        Raises:
            DataError: A price or quantity that cannot be in a book; rows before it are applied.
            CapacityError: More than 2**20 levels outside the window of a side.
        """
        cdef uint64_t wanted = _view_mask(view)
        cdef Py_ssize_t i = 0
        cdef Py_ssize_t n = 0
        cdef int code = OK
        cdef L2Change change
        with nogil:
            for i in range(events.shape[0]):
                l2_fetch(&events[i] + LOOK_AHEAD)
                if events[i].ev & wanted:
                    n += 1
                    code = l2_apply(&self.book, &events[i], &change)
                    if code != OK:
                        break
        if L2_CHECK_ALWAYS:
            self.check_invariants()
        if code != OK:
            _raise_for_event(code, i, events, self)
        return n

    def replay(self, const Event[::1] events, str view="local"):
        """Applies events as :meth:`apply` does and records the best after each row, in the view or not.

        Args:
            events: Rows of ``event_dtype``.
            view: ``"local"``, ``"exch"`` or ``"all"``.

        Returns:
            As many rows of ``best_dtype`` (``bid_tick, ask_tick, bid_qty, ask_qty``); the ticks of an empty
            side are the least and the greatest int64, its quantity is 0.

        Raises:
            DataError, CapacityError: As :meth:`apply`.
        """
        cdef uint64_t wanted = _view_mask(view)
        cdef Py_ssize_t i = 0
        cdef int code = OK
        cdef L2Change change
        out = np.empty(events.shape[0], best_dtype)
        cdef _Best[::1] best = out
        with nogil:
            for i in range(events.shape[0]):
                if events[i].ev & wanted:
                    code = l2_apply(&self.book, &events[i], &change)
                    if code != OK:
                        break
                best[i].bid_tick = self.book.best_bid_tick
                best[i].ask_tick = self.book.best_ask_tick
                best[i].bid_qty = l2_bid_qty(&self.book, self.book.best_bid_tick)
                best[i].ask_qty = l2_ask_qty(&self.book, self.book.best_ask_tick)
        if code != OK:
            _raise_for_event(code, i, events, self)
        return out

    cdef _update(self, uint64_t side, double px, double qty):
        cdef L2Change change
        cdef Event event
        memset(&event, 0, sizeof(Event))
        event.ev = EVENT_DEPTH | side
        event.exch_ts = self.book.ts
        event.px = px
        event.qty = qty
        cdef int code = l2_apply(&self.book, &event, &change)
        if L2_CHECK_ALWAYS:
            self.check_invariants()
        if code != OK:
            _raise_for_event(code, 0, <Event[:1]>&event, self)
        return (change.price_tick, change.prev_best_tick, change.best_tick, change.prev_qty, change.new_qty)

    def update_bid(self, double px, double qty):
        """Sets the quantity at a bid price; none, or less than half a lot, removes the level.

        Returns:
            ``(price_tick, prev_best_tick, best_tick, prev_qty, new_qty)`` of the bid side.

        Raises:
            DataError: The price or quantity cannot be in a book.
        """
        return self._update(EV_BUY, px, qty)

    def update_ask(self, double px, double qty):
        """Sets the quantity at an ask price; see :meth:`update_bid`."""
        return self._update(EV_SELL, px, qty)

    def clear(self, int side=0, double upto_px=NAN):
        """Removes levels.

        Args:
            side: 1 for bids, -1 for asks, 0 for both and whatever the price.
            upto_px: From the best to this price; a price that is not finite removes the whole side.
        """
        if side not in (SIDE_BUY, SIDE_SELL, SIDE_NONE):
            raise ValueError(f"side must be 1, -1 or 0, not {side}")
        l2_clear(&self.book, side, upto_px)
        if L2_CHECK_ALWAYS:
            self.check_invariants()

    # --- looking at it ---

    @property
    def tick_size(self):
        return self.book.tick_size

    @property
    def lot_size(self):
        return self.book.lot_size

    @property
    def window(self):
        """Ticks of the dense window of each side."""
        return self.book.ladders[0].mask + 1

    @property
    def spilled(self):
        """How many levels are outside their side's window."""
        return self.book.ladders[0].spill_count + self.book.ladders[1].spill_count

    @property
    def ts(self):
        """``exch_ts`` of the last event applied, in nanoseconds."""
        return self.book.ts

    @property
    def best_bid_tick(self):
        """The best bid's tick, the least int64 without one."""
        return self.book.best_bid_tick

    @property
    def best_ask_tick(self):
        """The best ask's tick, the greatest int64 without one."""
        return self.book.best_ask_tick

    @property
    def best_bid(self):
        """The best bid's price, NaN without one."""
        return NAN if self.book.best_bid_tick == INVALID_MIN_TICK else self.book.best_bid_tick * self.book.tick_size

    @property
    def best_ask(self):
        """The best ask's price, NaN without one."""
        return NAN if self.book.best_ask_tick == INVALID_MAX_TICK else self.book.best_ask_tick * self.book.tick_size

    @property
    def best_bid_qty(self):
        """The quantity at the best bid, 0 without one."""
        return l2_bid_qty(&self.book, self.book.best_bid_tick)

    @property
    def best_ask_qty(self):
        """The quantity at the best ask, 0 without one."""
        return l2_ask_qty(&self.book, self.book.best_ask_tick)

    def bid_qty_at_tick(self, int64_t tick):
        """The bid quantity at a tick, 0 without a level; one that was crossed and is stale counts."""
        return l2_bid_qty(&self.book, tick)

    def ask_qty_at_tick(self, int64_t tick):
        """The ask quantity at a tick; see :meth:`bid_qty_at_tick`."""
        return l2_ask_qty(&self.book, tick)

    cdef _levels(self, int side, n):
        cdef uint32_t room = l2_count(&self.book, side)
        if n is not None:
            if n < 0:
                raise ValueError(f"the number of levels must not be negative, not {n}")
            room = min(room, n)
        ticks = np.empty(max(room, 1), np.int64)
        qtys = np.empty(max(room, 1), np.float64)
        cdef int64_t[::1] tick_view = ticks
        cdef double[::1] qty_view = qtys
        cdef uint32_t count = l2_levels(&self.book, side, room, &tick_view[0], &qty_view[0])
        return ticks[:count], qtys[:count]

    def bids(self, n=None):
        """The bids at or below the best, best first.

        Args:
            n: How many at most; all by default.

        Returns:
            An array of shape (levels, 2): price, quantity.
        """
        ticks, qtys = self._levels(SIDE_BUY, n)
        return np.column_stack((ticks * self.book.tick_size, qtys))

    def asks(self, n=None):
        """The asks at or above the best, best first; see :meth:`bids`."""
        ticks, qtys = self._levels(SIDE_SELL, n)
        return np.column_stack((ticks * self.book.tick_size, qtys))

    def snapshot(self):
        """The visible book as DEPTH_SNAPSHOT events of ``event_dtype``: bids, then asks, best first.

        Applied to an empty book they make this one, but for its stale levels.
        """
        bid_ticks, bid_qtys = self._levels(SIDE_BUY, None)
        ask_ticks, ask_qtys = self._levels(SIDE_SELL, None)
        rows = np.zeros(len(bid_ticks) + len(ask_ticks), event_dtype)
        rows["ev"] = EVENT_DEPTH_SNAPSHOT | EV_EXCH | EV_LOCAL
        rows["ev"][: len(bid_ticks)] |= np.uint64(EV_BUY)
        rows["ev"][len(bid_ticks) :] |= np.uint64(EV_SELL)
        rows["exch_ts"] = rows["local_ts"] = self.book.ts
        rows["px"] = np.concatenate((bid_ticks, ask_ticks)) * self.book.tick_size
        rows["qty"] = np.concatenate((bid_qtys, ask_qtys))
        return rows

    def hash(self):
        """A 64-bit hash of the visible levels, the same wherever the windows are."""
        return l2_hash(&self.book)

    def check_invariants(self):
        """Raises InvariantError if the structure contradicts itself."""
        if l2_check(&self.book) != OK:
            raise_for_code(ERR_INVARIANT, f"L2 book of tick {self.book.tick_size}, hash {l2_hash(&self.book):#x}")
