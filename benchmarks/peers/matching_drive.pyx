# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Drives a matcher from compiled code, as an engine loop does: in batches, one by one, at a given pace."""

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memset
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

from engine.matching.book cimport Matcher, MatcherConfig, matcher_flush, matcher_free, matcher_init
from engine.matching.matcher cimport matcher_apply, matcher_apply_many
from engine.matching.records cimport MatchCommand, MatchEvent, MatchResult
from engine.matching.state cimport matcher_check

import numpy as np


cdef inline int64_t now() noexcept nogil:
    cdef timespec t
    clock_gettime(CLOCK_MONOTONIC, &t)
    return <int64_t>t.tv_sec * 1000000000 + t.tv_nsec


# A sink that reads each event's number, so that the events are really there.
cdef void count(void* context, const MatchEvent* events, uint32_t n) noexcept nogil:
    cdef uint64_t* seen = <uint64_t*>context
    cdef uint32_t i
    for i in range(n):
        seen[0] += events[i].seq != 0


cdef class Driver:
    """A matcher of its own and the sink that counts its events.

    Args:
        max_orders: Live orders at a time.
        output: 0 no events, 1 trades and answers, 2 all.
        levels: Whether LEVEL events are put out.
    """

    cdef Matcher matcher
    cdef readonly uint64_t events

    def __cinit__(self, uint32_t max_orders, int output=0, bint levels=False):
        cdef MatcherConfig config
        memset(&config, 0, sizeof(config))
        config.max_orders = max_orders
        config.max_owners = 64
        config.output = output
        config.levels = levels
        config.flush = count
        config.context = &self.events
        if matcher_init(&self.matcher, &config) != 0:
            raise MemoryError

    def __dealloc__(self):
        matcher_free(&self.matcher)

    def __len__(self):
        return self.matcher.orders.used

    def batch(self, const MatchCommand[::1] commands, MatchResult[::1] results):
        """Applies commands as a batch; returns how many."""
        with nogil:
            matcher_apply_many(&self.matcher, &commands[0], &results[0], commands.shape[0])
            matcher_flush(&self.matcher)
        return commands.shape[0]

    def singly(self, const MatchCommand[::1] commands, MatchResult[::1] results):
        """Applies commands one by one; returns how many."""
        cdef uint64_t i
        with nogil:
            for i in range(<uint64_t>commands.shape[0]):
                matcher_apply(&self.matcher, &commands[i], &results[i])
            matcher_flush(&self.matcher)
        return commands.shape[0]

    def paced(self, const MatchCommand[::1] commands, int64_t gap):
        """Applies a command every ``gap`` nanoseconds.

        Returns:
            For each the nanoseconds from when it was due until it was done, and those it took by itself; both
            with a reading of the clock in them.
        """
        cdef MatchResult result
        cdef int64_t due, begun
        cdef uint64_t i
        cdef int64_t[::1] waited, taken
        waited = np.zeros(commands.shape[0], np.int64)
        taken = np.zeros(commands.shape[0], np.int64)
        with nogil:
            due = now() + 1000
            for i in range(<uint64_t>commands.shape[0]):
                begun = now()
                while begun < due:
                    begun = now()
                matcher_apply(&self.matcher, &commands[i], &result)
                waited[i] = now()
                taken[i] = waited[i] - begun
                waited[i] -= due
                due += gap
        return np.asarray(waited), np.asarray(taken)

    def sound(self):
        """Whether the matcher's invariants hold."""
        return matcher_check(&self.matcher) == 0


def clock_cost(uint32_t n=100_000):
    """Nanoseconds a reading of the clock takes."""
    cdef int64_t start = now(), end = start
    cdef uint32_t i
    for i in range(n):
        end = now()
    return (end - start) / n
