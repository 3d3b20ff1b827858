"""Where an engine's loop stands between two inputs, beside kernel and venue: clocks, counts, numbers, cursors."""

from engine.core.image cimport Image
from engine.runtime.loop cimport LoopCore
from engine.runtime.replay cimport JournalPass


# Moves all of it, out or in.
cdef void standing_image(LoopCore loop, JournalPass taken, Image* image) noexcept
