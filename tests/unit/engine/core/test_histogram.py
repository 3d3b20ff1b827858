"""The histogram of times beside what NumPy says of the values themselves."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.core.histogram import HISTOGRAM_BYTES, WORDS, Histogram, below, lower_bounds, percentile

TOP = 1 << 36
times = st.one_of(st.integers(0, 100), st.integers(0, TOP - 1), st.integers(0, 36).map(lambda bit: 1 << bit))


def place(value: int) -> int:
    """The bucket of a value, by its bounds."""
    return int(np.searchsorted(lower_bounds(), min(value, TOP - 1), side="right")) - 1


@given(st.lists(times, min_size=1, max_size=200), st.floats(0.0, 100.0))
def test_counts_and_percentiles_are_those_of_the_values(values, q):
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    counts = histogram.read()
    expected = np.bincount([place(value) for value in values], minlength=WORDS - 1)
    assert np.array_equal(counts[:-1], expected)
    assert int(counts[-1]) == sum(values)
    # Inverted: the smallest value that has so many at or below it.
    exact = min(int(np.percentile(values, q, method="inverted_cdf")), TOP - 1)
    bounds = lower_bounds()
    assert bounds[place(exact)] <= percentile(counts, q) <= bounds[place(exact) + 1]
    for bound, number in below(counts, (1, 32, 1 << 20, TOP >> 1)):
        assert number == sum(value < bound for value in values)


def test_a_bucket_is_a_thirty_second_of_a_power_of_two_wide():
    bounds = lower_bounds()
    assert (bounds[0], bounds[-1], len(bounds)) == (0, TOP, WORDS)
    assert (np.diff(bounds) == np.maximum(1, 2 ** np.floor(np.log2(np.maximum(bounds[:-1], 1))) // 32)).all()


def test_nothing_has_no_percentile_and_what_is_above_all_is_in_the_last_bucket():
    histogram = Histogram()
    assert percentile(histogram.read(), 50) == 0.0
    histogram.add(1 << 60)
    assert histogram.read()[-2] == 1
    with pytest.raises(ValueError, match="101"):
        percentile(histogram.read(), 101)


def test_it_goes_on_in_the_memory_that_it_is_given():
    page = bytearray(HISTOGRAM_BYTES)
    one = Histogram(page)
    one.add(40)
    other = Histogram(page)
    other.add(40)
    assert one.read()[40] == 2
    with pytest.raises(ValueError, match="needs"):
        Histogram(bytearray(HISTOGRAM_BYTES - 8))
    with pytest.raises(ValueError, match="aligned"):
        Histogram(memoryview(bytearray(HISTOGRAM_BYTES + 1))[1:])
