"""Finds the messages that leave a book crossed.

Exchanges send a book's changes in messages, bids before asks, and inside a message the bids of a market
that goes up pass asks that are taken away a few rows later. The book resolves that by moving the other
side's best out of the way, and hides the passed levels until they are removed. So what counts is the end
of a message, the last of the rows that share both times: a level that was passed and is still there then
means that two sides of the market overlap: an update was lost, or comes from another book. It is reported
once, when it arises.

Cost: a book update a row, and for messages that cross something one look at each tick between.
"""

from libc.stdint cimport int64_t, uint64_t

import numpy as np

from engine.book.l2 cimport L2Book, L2Change, l2_apply, l2_ask_qty, l2_bid_qty, l2_free, l2_init
from engine.core.codes cimport OK
from engine.core.ticks cimport INVALID_MAX_TICK, INVALID_MIN_TICK
from engine.core.types cimport (
    EV_BUY,
    EV_KIND_MASK,
    EV_SELL,
    EVENT_DEPTH,
    EVENT_DEPTH_BBO,
    EVENT_DEPTH_CLEAR,
    EVENT_DEPTH_SNAPSHOT,
    Event,
)

from engine.core.errors import raise_for_code

# A passed range wider than this many ticks is looked at from both of its ends only.
cdef enum:
    SCAN_TICKS = 1 << 16

cdef struct Passed:
    int64_t low_ask          # the lowest ask passed by a bid within the message
    int64_t high_bid         # the highest bid passed by an ask


cdef bint _overlaps(const L2Book* book, const Passed* passed) noexcept nogil:
    cdef int64_t tick, width
    if passed.low_ask <= book.best_bid_tick:
        width = min(book.best_bid_tick - passed.low_ask, <int64_t>SCAN_TICKS)
        for tick in range(width + 1):
            if l2_ask_qty(book, passed.low_ask + tick) > 0:
                return True
            if l2_ask_qty(book, book.best_bid_tick - tick) > 0:
                return True
    if passed.high_bid >= book.best_ask_tick:
        width = min(passed.high_bid - book.best_ask_tick, <int64_t>SCAN_TICKS)
        for tick in range(width + 1):
            if l2_bid_qty(book, passed.high_bid - tick) > 0:
                return True
            if l2_bid_qty(book, book.best_ask_tick + tick) > 0:
                return True
    return False


cdef inline void _reset(Passed* passed) noexcept nogil:
    passed.low_ask = INVALID_MAX_TICK
    passed.high_bid = INVALID_MIN_TICK


cdef inline bint _is_depth(uint64_t ev) noexcept nogil:
    cdef uint64_t kind = ev & EV_KIND_MASK
    return (
        kind == EVENT_DEPTH
        or kind == EVENT_DEPTH_SNAPSHOT
        or kind == EVENT_DEPTH_CLEAR
        or kind == EVENT_DEPTH_BBO
    )


cdef int64_t _scan(
    L2Book* book, const Event[::1] events, uint64_t view, int64_t[::1] rows, int64_t* refused
) noexcept nogil:
    cdef L2Change change
    cdef Passed passed
    cdef Py_ssize_t i
    cdef int64_t bid, ask, previous = -1
    cdef int64_t count = 0
    _reset(&passed)
    for i in range(events.shape[0]):
        if (view and not events[i].ev & view) or not _is_depth(events[i].ev):
            continue
        if previous >= 0 and (
            events[i].exch_ts != events[previous].exch_ts or events[i].local_ts != events[previous].local_ts
        ):
            if _overlaps(book, &passed):
                if count < rows.shape[0]:
                    rows[count] = previous
                count += 1
            _reset(&passed)
        previous = i
        bid, ask = book.best_bid_tick, book.best_ask_tick
        if l2_apply(book, &events[i], &change) != OK:
            refused[0] += 1
            continue
        if events[i].ev & EV_BUY and book.best_bid_tick >= ask:
            passed.low_ask = min(passed.low_ask, ask)
        if events[i].ev & EV_SELL and book.best_ask_tick <= bid:
            passed.high_bid = max(passed.high_bid, bid)
    if previous >= 0 and _overlaps(book, &passed):
        if count < rows.shape[0]:
            rows[count] = previous
        count += 1
    return count


def crossed_messages(
    const Event[::1] events not None, double tick_size, double lot_size, uint64_t view=0, Py_ssize_t limit=10
):
    """Replays depth events and finds the messages that leave the book crossed or locked.

    Args:
        events: Events, in the order in which they are to be applied.
        tick_size: The price of one tick.
        lot_size: The quantity of one lot.
        view: EXCH_EVENT or LOCAL_EVENT to apply only that side's rows; 0 to apply all.
        limit: How many rows to return.

    Returns:
        ``(count, rows, refused)``: how many messages, the last row of each of the first of them, and how
        many rows the book refused because their price or quantity cannot be.
    """
    cdef L2Book book
    cdef int64_t count
    cdef int64_t refused = 0
    cdef int64_t[::1] rows = np.empty(max(limit, 0), np.int64)
    raise_for_code(l2_init(&book, tick_size, lot_size, 0), f"tick {tick_size}, lot {lot_size}")
    try:
        with nogil:
            count = _scan(&book, events, view, rows, &refused)
    finally:
        l2_free(&book)
    return count, np.asarray(rows)[: min(count, limit)].tolist(), refused
