"""Events in the order of arrival to events sorted by both clocks, as hftbacktest wants them.

A row is one event seen twice: by the exchange at ``exch_ts`` and locally at ``local_ts``. Where the two
orders disagree it is split into a row for each side (flags EXCH and LOCAL), so that each side's rows are
sorted. Cost: two stable sorts (near-sorted input, hence near linear), one merge; memory for the result,
at most twice the rows. The bad case is a constant disagreement of the two clocks, which doubles the rows.
"""

from libc.stdint cimport INT64_MAX, int64_t, uint64_t
from libc.string cimport memcpy

import numpy as np

from engine.core.types cimport EV_EXCH, EV_LOCAL, Event

from engine.core.errors import DataError
from engine.core.types import event_dtype


def latency_shift(const Event[::1] data, int64_t base_latency=0):
    """How far ``local_ts`` has to be shifted so that no feed latency is negative.

    Args:
        data: Events.
        base_latency: Added to the shift, in nanoseconds; like hftbacktest's only if there is a shift.

    Returns:
        Nanoseconds to add to every ``local_ts``: 0 when no latency is negative.

    Raises:
        DataError: The shift takes a local time beyond 64 bits.
    """
    cdef Py_ssize_t i, n = data.shape[0]
    cdef int64_t latency = 0
    cdef int64_t latest = 0
    cdef int64_t shift
    with nogil:
        for i in range(n):
            latency = min(latency, data[i].local_ts - data[i].exch_ts)
            latest = max(latest, data[i].local_ts)
    if latency >= 0:
        return 0
    shift = base_latency - latency
    if latest > INT64_MAX - max(shift, <int64_t>0):
        raise DataError(f"the correction of {shift} ns takes local times beyond 64 bits", field="local_ts")
    return shift


cdef bint _sorted(const Event* data, Py_ssize_t n, bint by_exch) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(1, n):
        if by_exch:
            if data[i].exch_ts < data[i - 1].exch_ts:
                return False
        elif data[i].local_ts < data[i - 1].local_ts:
            return False
    return True


cdef Py_ssize_t _merge(
    const Event* data,
    const int64_t* by_exch,
    const int64_t* by_local,
    Py_ssize_t n,
    int64_t shift,
    Event* out,
) noexcept nogil:
    cdef Py_ssize_t e = 0
    cdef Py_ssize_t l = 0
    cdef Py_ssize_t rows = 0
    cdef const Event* exch
    cdef const Event* local
    cdef const Event* source
    cdef uint64_t flags
    while e < n or l < n:
        exch = &data[by_exch[e]] if e < n else NULL
        local = &data[by_local[l]] if l < n else NULL
        if exch == NULL:
            source, flags = local, EV_LOCAL
        elif local == NULL:
            source, flags = exch, EV_EXCH
        elif exch.exch_ts == local.exch_ts and exch.local_ts == local.local_ts:
            source, flags = exch, EV_EXCH | EV_LOCAL
        elif exch.exch_ts < local.exch_ts or (
            exch.exch_ts == local.exch_ts and exch.local_ts < local.local_ts
        ):
            source, flags = exch, EV_EXCH
        else:
            source, flags = local, EV_LOCAL
        e += (flags & EV_EXCH) != 0
        l += (flags & EV_LOCAL) != 0
        memcpy(&out[rows], source, sizeof(Event))
        out[rows].ev |= flags
        out[rows].local_ts += shift
        rows += 1
    return rows


def correct_event_order(const Event[::1] data, int64_t shift=0):
    """Splits rows where exchange and local order disagree, and sorts each side by its own clock.

    Args:
        data: Events without EXCH and LOCAL flags, in any order; equal times keep their order.
        shift: Added to every ``local_ts`` of the result, see :func:`latency_shift`.

    Returns:
        A new ``event_dtype`` array of ``n`` to ``2 n`` rows.
    """
    cdef Py_ssize_t n = data.shape[0]
    cdef Py_ssize_t rows
    cdef const int64_t[::1] by_exch, by_local
    cdef Event[::1] merged
    # Memory is committed when it is written to, so the part that is not needed costs nothing.
    result = np.empty(2 * n, event_dtype)
    if n == 0:
        return result
    array = np.asarray(data)
    identity = np.arange(n, dtype=np.int64)
    by_exch = identity if _sorted(&data[0], n, True) else np.argsort(array["exch_ts"], kind="stable")
    by_local = identity if _sorted(&data[0], n, False) else np.argsort(array["local_ts"], kind="stable")
    merged = result
    with nogil:
        rows = _merge(&data[0], &by_exch[0], &by_local[0], n, shift, &merged[0])
    merged = None
    result.resize(rows, refcheck=False)
    return result
