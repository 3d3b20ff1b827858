"""Counts of times by their size: see histogram.pxd."""

from libc.stdint cimport uint8_t, uint64_t

import numpy as np

WORDS = BUCKETS + 1
"""Of a histogram: its buckets and the sum of all values."""
HISTOGRAM_BYTES = 8 * WORDS


def lower_bounds() -> np.ndarray:
    """The smallest value of each bucket, and behind them the first that is above all, shape (BUCKETS + 1,)."""
    cdef int i, shift
    bounds = np.zeros(BUCKETS + 1, np.uint64)
    for i in range(BUCKETS + 1):
        shift = max(0, (i >> SUB_BITS) - 1)
        bounds[i] = <uint64_t>(i - (shift << SUB_BITS)) << shift
    return bounds


def percentile(counts, double q) -> float:
    """The value below which a share of all values lies, to three per cent.

    Args:
        counts: Of the buckets, shape (BUCKETS,) or with the sum behind them; of one look, or of two the
            difference.
        q: The share in per cent.

    Returns:
        Between the bounds of its bucket, as if values were spread evenly in it; 0.0 of nothing.
    """
    if not 0.0 <= q <= 100.0:
        raise ValueError(f"a percentile of {q}")
    counts = np.asarray(counts)[:BUCKETS].astype(np.float64)
    total = np.cumsum(counts)
    if not counts.any():
        return 0.0
    wanted = q / 100.0 * float(counts.sum())
    # Not an empty one, at either end.
    place = min(int(np.searchsorted(total, wanted)), int(np.flatnonzero(counts).max()))
    place = max(place, int(np.flatnonzero(counts).min()))
    bounds = lower_bounds()
    inside = (wanted - (total[place] - counts[place])) / counts[place]
    return float(bounds[place] + inside * float(bounds[place + 1] - bounds[place]))


def below(counts, bounds) -> list[list[int]]:
    """How many values are below bounds that are powers of two and less than 2**36.

    Args:
        counts: As :func:`percentile`.
        bounds: In order.

    Returns:
        A bound and a number each.
    """
    total = np.concatenate(([0], np.cumsum(np.asarray(counts)[:BUCKETS])))
    return [[bound, int(total[histogram_bucket(bound)])] for bound in bounds]


cdef class Histogram:
    """A histogram in memory of its own, or in a page that others read.

    Args:
        buffer: Writable, at least HISTOGRAM_BYTES, aligned to 8; what it has counted goes on. None makes one.
    """

    def __init__(self, buffer=None):
        self.keep_in(bytearray(HISTOGRAM_BYTES) if buffer is None else buffer)

    def keep_in(self, buffer) -> None:
        """Counts in other memory from here on, on top of what that holds."""
        cdef uint8_t[::1] view = buffer
        if view.shape[0] < <Py_ssize_t>HISTOGRAM_BYTES or <size_t>&view[0] % 8:
            raise ValueError(f"a histogram needs {HISTOGRAM_BYTES} aligned bytes, not {view.shape[0]}")
        self.buffer = buffer
        self.counts = <uint64_t*>&view[0]

    def add(self, uint64_t value) -> None:
        """Counts a value."""
        histogram_add(self.counts, value)

    def read(self) -> np.ndarray:
        """A copy: the buckets' counts and, last, the sum of all values."""
        return np.frombuffer(self.buffer, np.uint64, WORDS).copy()
