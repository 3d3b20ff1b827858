"""A matcher and a population of agents written down and read back: all that decides what they do next.

Cost: a look at every order, level and window; as many bytes as are not zero. What lies beyond a count and is written
before it is read again (rows that were taken, lists' ends) is left out.
"""

from engine.core.image cimport Image
from engine.matching.agents cimport Agents
from engine.matching.book cimport Matcher


cdef void matcher_image(Matcher* matcher, Image* image) noexcept nogil
# The agents and the matcher they trade on; of the same law, which is held against what was written.
cdef void agents_image(Agents* agents, Image* image) noexcept nogil
