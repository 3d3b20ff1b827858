"""Scopes: what limits and latches hold for. The whole engine, each strategy, each instrument.

One array for all of them: number 0 is the engine, then come the strategies' slots, then the instruments.
"""

from engine.risk.latch cimport Latch


cdef struct Scope:
    Latch latch


cdef enum:
    SCOPE_GLOBAL = 0
    SCOPE_STRATEGIES = 1         # the first of them
