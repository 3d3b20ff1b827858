"""A kernel's state written down: the desk and its strategies between two inputs.

What C holds goes through the functions of core/image, what Python holds becomes plain values, and what a strategy
in Python holds is pickled as for a checkpoint. Books, orders, positions, limits, counters, latches, timers, ids and
the strategies' own values are all there is; what a kernel puts out afterwards is the same, byte by byte.

Costs: linear in the state, with the GIL; for between inputs, and not for the engine's thread.
"""

from engine.core.image cimport Image
from engine.strategy.desk cimport Desk


# Moves a desk whose strategies are seated already, out or in.
cdef void desk_image(Desk* desk, Image* image) noexcept nogil
