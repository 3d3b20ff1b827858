"""Waiting stops: how they wait, trigger and become active, one after the other.

Cost: waiting and triggering are a push and a pop of a heap by stop price; those that trigger together are sorted
by entry. A command pays for stops only by looking whether there are any. Bad case: a cascade, each trade of
which triggers more; every stop becomes active at most once.
"""

from libc.stdint cimport int64_t, uint32_t

from engine.matching.book cimport Matcher
from engine.matching.trading cimport Taker


# Enters a stop that does not trigger yet; `t` is what it becomes.
cdef void stops_wait(Matcher* m, Taker* t, int64_t stop_px) noexcept nogil
# Whether the last trade's price triggers a stop.
cdef bint stops_reached(const Matcher* m, uint32_t bits, int64_t stop_px) noexcept nogil
# TRIGGERED, then it takes, rests or ends; a waiting one is out of its heap already.
cdef void stops_activate(Matcher* m, Taker* t) noexcept nogil
# Makes what prices from low to high trigger active, and what that triggers in turn.
cdef void stops_run(Matcher* m, int64_t low, int64_t high) noexcept nogil
# Collects waiting stops into scratch, to be popped oldest first; returns how many.
cdef uint32_t stops_gather(Matcher* m) noexcept nogil
# What a waiting stop is when it becomes active.
cdef void stops_load(const Matcher* m, uint32_t handle, Taker* t) noexcept nogil
