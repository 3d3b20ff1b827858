"""A population of agents with the matcher it trades on, owned by a Python object."""

from libc.stdint cimport uint64_t

from engine.matching.agents cimport Agents
from engine.matching.book cimport Matcher


cdef class Population:
    cdef Agents* agents
    cdef Matcher venue
    cdef uint64_t externals

    cdef _fill_crowd(self, law, resting)
    cdef _fill_rest(self, law, double speed)
    cdef _fill_traders(self, agents, double speed)
