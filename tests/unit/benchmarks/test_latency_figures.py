"""Quantiles, buckets and the histogram of the latency benchmark."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.latency import buckets, figures, histogram, table


def test_a_quantile_is_a_sample_that_was_measured():
    samples = np.arange(1, 10_001, dtype=float)
    np.random.default_rng(1).shuffle(samples)
    found = figures(samples)
    assert [found[name] for name in ("p50", "p99.9", "p99.99")] == [5_000, 9_990, 9_999]
    assert (found["n"], found["min"], found["max"], found["mean"]) == (10_000, 1, 10_000, 5_000.5)


def test_one_sample_is_every_quantile():
    found = figures(np.array([320.0]))
    assert {found[name] for name in ("p50", "p99.9", "min", "max", "mean")} == {320.0}


@pytest.mark.parametrize("steps", [1, 4, 16])
def test_each_sample_is_in_the_bucket_whose_bounds_hold_it(steps):
    samples = np.exp(np.random.default_rng(2).uniform(0.0, 16.0, 5_000))
    rows = buckets(samples, steps)
    assert sum(count for _, _, count in rows) == len(samples)
    for (low, high, count), (following, _, _) in zip(rows, [*rows[1:], (rows[-1][1], 0, 0)], strict=True):
        assert high == following
        assert count == np.count_nonzero((samples >= low) & (samples < high))


def test_bounds_belong_to_the_bucket_above():
    assert buckets(np.array([256.0, 320.0])) == [(256.0, 320.0, 1), (320.0, 384.0, 1)]


def test_a_rare_sample_shows_and_a_gap_is_one_line():
    lines = histogram(np.concatenate([np.full(1_000, 300.0), [100_000.0]]))
    assert lines[0].endswith("#" * 46)
    assert lines[-1].endswith("100.000 %  .")
    assert len(lines) == 3


def test_a_table_has_a_line_for_each_case():
    lines = table([("one", figures(np.array([1.0, 2.0]))), ("another", figures(np.array([1_234.0])))])
    assert lines[2].split() == ["another", "1", *["1,234"] * 6]
    assert len(lines) == 3
