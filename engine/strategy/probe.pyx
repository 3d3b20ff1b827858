"""A stopwatch for the admission of orders, for benchmarks/bench_risk.py: what the chain costs, call by call."""

from libc.stdint cimport int64_t
from libc.string cimport memset

from engine.core.clock cimport CLOCK_STEADY, ClockState, clock_now
from engine.core.types cimport REASON_NONE, SIDE_BUY, SIDE_SELL, STATUS_NEW, Order
from engine.risk.pretrade cimport Denial
from engine.strategy.admission cimport admit
from engine.strategy.roster cimport Roster

import numpy as np


def time_checks(Roster kernel not None, int calls):
    """Times single admissions of orders that pass, of the first strategy in the first instrument.

    Args:
        kernel: Started, with a book of 100 x 101 in its first instrument; nothing in it changes but losses' peaks.
        calls: How many orders are checked.

    Returns:
        Nanoseconds by ``p50``, ``p90``, ``p99``, ``p99.9``, less what the clock itself takes, and ``denied``:
        how many orders were denied, which is 0 where the limits are wide enough.
    """
    cdef ClockState clock
    cdef Order order
    cdef Denial why
    cdef int64_t start, n
    cdef int64_t denied = 0
    cdef int64_t[::1] took = np.zeros(calls, np.int64)
    cdef int64_t[::1] empty = np.zeros(calls, np.int64)
    clock.kind = CLOCK_STEADY
    clock.now = 0
    memset(&order, 0, sizeof(Order))
    order.req = STATUS_NEW
    for n in range(calls):
        start = clock_now(&clock)
        empty[n] = clock_now(&clock) - start
        # Prices and quantities differ from call to call, so that branches are not learned by heart.
        order.side = SIDE_BUY if n & 1 else SIDE_SELL
        order.price_tick = 190 + n % 10 if n & 1 else 205 + n % 10
        order.qty = order.leaves_qty = 1 + n % 7
        start = clock_now(&clock)
        denied += admit(&kernel.desk, &order, NULL, order.qty, &why) != REASON_NONE
        took[n] = clock_now(&clock) - start
    spent = np.maximum(np.asarray(took) - np.median(np.asarray(empty)), 0)
    found = {f"p{share:g}": float(np.percentile(spent, share)) for share in (50, 90, 99, 99.9)}
    return found | {"denied": denied}
