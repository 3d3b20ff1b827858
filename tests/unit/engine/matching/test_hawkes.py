"""The Hawkes fit: its recursion against the definition, and parameters recovered from their process."""

import numpy as np
import pytest

from engine.core.errors import DataError
from engine.matching import hawkes


def clusters(seed, base, ratio, cross, decay, seconds):
    """A process by its definition as a cluster process: every event has children of its own."""
    rng = np.random.default_rng(seed)
    due = [(t, side) for side in (1, -1) for t in rng.uniform(0, seconds, rng.poisson(base * seconds))]
    done = []
    while due:
        t, side = due.pop()
        done.append((t, side))
        for child, mean in ((side, ratio), (-side, cross)):
            due += [(t + d, child) for d in rng.exponential(1 / decay, rng.poisson(mean)) if t + d < seconds]
    done.sort()
    return np.array([t for t, _ in done]), np.array([s for _, s in done], np.int8)


def test_the_recursion_is_the_definition():
    rng = np.random.default_rng(3)
    times = np.sort(rng.uniform(0, 5, 40))
    times[7] = times[6]
    sides = rng.choice([1, -1], 40).astype(np.int8)
    decay = np.array([0.7, 9.0])
    found = hawkes.past_sums(times, sides, decay)
    for i in range(40):
        for k, d in enumerate(decay):
            age = np.exp(-d * (times[i] - times[:i]))
            assert found[i, k] == pytest.approx(age[sides[:i] == sides[i]].sum(), abs=1e-12)
            assert found[i, 2 + k] == pytest.approx(age[sides[:i] != sides[i]].sum(), abs=1e-12)


def test_a_fit_recovers_what_made_the_events():
    times, sides = clusters(5, 2.0, 0.5, 0.1, 8.0, 1500.0)
    found = hawkes.fit(times, sides, kernels=1)
    assert found.events == len(times)
    assert found.base == pytest.approx(2.0, rel=0.1)
    assert found.decay[0] == pytest.approx(8.0, rel=0.15)
    assert found.self_excite[0] == pytest.approx(0.5, abs=0.04)
    assert found.cross_excite[0] == pytest.approx(0.1, abs=0.04)
    assert found.branching == pytest.approx(0.6, abs=0.05)


def test_without_excitation_nearly_none_is_found():
    rng = np.random.default_rng(9)
    times = np.sort(rng.uniform(0, 500, 4000))
    found = hawkes.fit(times, rng.choice([1, -1], 4000), kernels=1)
    assert found.branching < 0.08
    assert found.base == pytest.approx(4.0, rel=0.1)


def test_a_second_kernel_is_never_less_likely():
    times, sides = clusters(6, 2.0, 0.4, 0.1, 20.0, 200.0)
    assert hawkes.fit(times, sides, 2).log_likelihood >= hawkes.fit(times, sides, 1).log_likelihood - 0.5


@pytest.mark.parametrize(
    ("times", "words"), [(np.arange(10.0), "needs 50"), (np.arange(60.0)[::-1], "not sorted")]
)
def test_unusable_events_are_named(times, words):
    with pytest.raises(DataError, match=words):
        hawkes.fit(times, np.ones(len(times)))
