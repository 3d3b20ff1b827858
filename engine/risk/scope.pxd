"""Scopes: what limits, counters and latches hold for. The whole engine, each strategy, each instrument.

One array for all of them: number 0 is the engine, then come the strategies' slots, then the instruments. A
strategy's limits on single orders are not here but with its cell in the instrument: the narrowest scope.
"""

from engine.risk.latch cimport Latch
from engine.risk.pretrade cimport LimitSet, ScopeState


cdef struct Scope:
    LimitSet limits
    ScopeState state
    Latch latch


cdef enum:
    SCOPE_GLOBAL = 0
    SCOPE_STRATEGIES = 1         # the first of them

# Whose limit denied a request, from the narrowest; the order in which they are asked.
cdef enum:
    SCOPE_OF_ORDER = 0           # a strategy's in an instrument, or no limit at all
    SCOPE_OF_STRATEGY = 1
    SCOPE_OF_INSTRUMENT = 2
    SCOPE_OF_ALL = 3
