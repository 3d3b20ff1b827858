"""Hawkes processes with two sides and exponential kernels: what of one's own past and the other side's excites.

The intensity of a side is ``base + sum over k of decay_k * (self_k * S_k + cross_k * C_k)``, where S_k and C_k
are the sums of ``exp(-decay_k * age)`` over the past events of the side and of the other one. ``self_k`` and
``cross_k`` are branching ratios: how many events one event brings about. The sums cost O(n) by recursion; for
given decays the likelihood is maximised by expectation maximisation, which never makes it worse, and the
decays are searched around.
"""

from libc.math cimport exp, sqrt
from libc.stdint cimport int8_t

from dataclasses import dataclass

import numpy as np

from engine.core.errors import DataError


@dataclass(frozen=True)
class Hawkes:
    """A fitted process.

    Attributes:
        base: Events a second of each side that nothing excites.
        decay: Per second, one a kernel, slowest first.
        self_excite: Branching ratios on the own side, one a kernel.
        cross_excite: Branching ratios on the other side, one a kernel.
        log_likelihood: Of the events, natural logarithm.
        events: How many there were.
    """

    base: float
    decay: tuple
    self_excite: tuple
    cross_excite: tuple
    log_likelihood: float
    events: int

    @property
    def branching(self):
        """How many events an event brings about by itself; below 1 the process is stationary."""
        return sum(self.self_excite) + sum(self.cross_excite)


def past_sums(const double[::1] seconds, const int8_t[::1] sides, const double[::1] decay):
    """What each event saw of the past.

    Args:
        seconds: Times of the events, sorted, shape ``(n,)``.
        sides: 1 or -1, shape ``(n,)``.
        decay: Of the kernels, per second, shape ``(k,)``.

    Returns:
        Array of shape ``(n, 2 * k)``: S_1 to S_k, then C_1 to C_k.
    """
    cdef Py_ssize_t n = seconds.shape[0]
    cdef Py_ssize_t kernels = decay.shape[0]
    cdef Py_ssize_t i, k
    cdef int own
    cdef double shrink
    out = np.empty((n, 2 * kernels))
    state = np.zeros((kernels, 2))
    cdef double[:, ::1] result = out
    cdef double[:, ::1] past = state
    with nogil:
        for i in range(n):
            own = sides[i] > 0
            for k in range(kernels):
                shrink = exp(-decay[k] * (seconds[i] - seconds[i - 1])) if i else 0.0
                past[k, 0] *= shrink
                past[k, 1] *= shrink
                result[i, k] = past[k, own]
                result[i, kernels + k] = past[k, 1 - own]
                past[k, own] += 1.0
    return out


def _maximise(seconds, sides, decay, end, rounds):
    """The best base and ratios for given decays, by expectation maximisation."""
    kernels = len(decay)
    sums = past_sums(seconds, sides, decay) * np.concatenate((decay, decay))
    exposure = (1.0 - np.exp(-np.outer(end - seconds, decay))).sum(0)
    exposure = np.maximum(np.concatenate((exposure, exposure)), 1e-12)
    base = 0.5 * len(seconds) / (2.0 * end)
    ratios = np.full(2 * kernels, 0.5 / (2 * kernels))
    for _ in range(rounds):
        parts = sums * ratios
        intensity = base + parts.sum(1)
        ratios = (parts / intensity[:, None]).sum(0) / exposure
        base = (base / intensity).sum() / (2.0 * end)
    likelihood = np.log(base + sums @ ratios).sum() - 2.0 * base * end - float(ratios @ exposure)
    return likelihood, base, ratios


def fit(seconds, sides, kernels=2, rounds=60):
    """Fits a process by maximum likelihood.

    Args:
        seconds: Times of the events, sorted, at least 50; shape ``(n,)``.
        sides: 1 or -1 each.
        kernels: How many exponentials, 1 to 3.
        rounds: Of expectation maximisation for each pair of decays tried.

    Returns:
        A :class:`Hawkes`.

    Raises:
        DataError: There are too few events, or they are not sorted.
    """
    seconds = np.ascontiguousarray(seconds, np.float64)
    sides = np.ascontiguousarray(sides, np.int8)
    if len(seconds) < 50:
        raise DataError(f"{len(seconds)} market orders, and a Hawkes fit needs 50")
    if np.any(np.diff(seconds) < 0):
        raise DataError("the times of a Hawkes fit are not sorted")
    seconds = seconds - seconds[0]
    end = float(seconds[len(seconds) - 1]) + 1e-9
    decay = np.geomspace(1.0, 60.0, kernels) if kernels > 1 else np.array([5.0])
    best = _maximise(seconds, sides, decay, end, rounds)
    cdef double step = 3.0
    while step > 1.05:
        better = False
        for k in range(kernels):
            for factor in (step, 1.0 / step):
                trial = decay.copy()
                trial[k] *= factor
                if not 0.01 <= trial[k] <= 5000.0 or np.any(np.diff(trial) <= 0):
                    continue
                found = _maximise(seconds, sides, trial, end, rounds)
                if found[0] > best[0]:
                    best, decay, better = found, trial, True
                    break
        if not better:
            step = sqrt(step)
    likelihood, base, ratios = _maximise(seconds, sides, decay, end, 10 * rounds)
    return Hawkes(
        float(base),
        tuple(map(float, decay)),
        tuple(map(float, ratios[:kernels])),
        tuple(map(float, ratios[kernels:])),
        float(likelihood),
        len(seconds),
    )
