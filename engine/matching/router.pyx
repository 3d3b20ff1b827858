"""The exchange of many instruments; router.pxd says what goes where."""

cimport cython
from libc.stdint cimport uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from engine.core.codes cimport ERR_INVALID_REQUEST, ERR_UNKNOWN_INSTRUMENT, OK
from engine.matching.book cimport matcher_flush
from engine.matching.engine cimport MatchingEngine, log_keep, log_take
from engine.matching.matcher cimport matcher_apply
from engine.matching.records cimport MATCH_BANDS, MATCH_MASS_CANCEL, MATCH_PHASE, MATCH_TIME

import numpy as np

from engine.core.errors import CapacityError, ConfigError, InvalidOrder
from engine.matching.records import command_dtype, result_dtype

EVERY = int(ROUTE_ALL)


cdef int _apply_to_all(MatchRouter* router, const MatchCommand* command, MatchResult* result) noexcept nogil:
    cdef MatchResult one
    cdef uint32_t i
    for i in range(router.n):
        matcher_apply(router.matchers[i], command, &one)
        result.exec_qty += one.exec_qty
        result.exec_value = <long long>(<uint64_t>result.exec_value + <uint64_t>one.exec_value)
        result.n_events += one.n_events
        if result.code == OK:
            result.code = one.code
    return result.code


cdef int router_apply(MatchRouter* router, const MatchCommand* command, MatchResult* result) noexcept nogil:
    cdef bint for_all
    if command.instrument < router.n:
        return matcher_apply(router.matchers[command.instrument], command, result)
    memset(result, 0, sizeof(MatchResult))
    result.code = ERR_UNKNOWN_INSTRUMENT
    if command.instrument == ROUTE_ALL:
        for_all = command.kind == MATCH_MASS_CANCEL or command.kind == MATCH_PHASE
        for_all = for_all or command.kind == MATCH_BANDS or command.kind == MATCH_TIME
        result.code = OK if for_all else ERR_INVALID_REQUEST
        if for_all:
            return _apply_to_all(router, command, result)
    return result.code


@cython.final
cdef class MatchingRouter:
    """Engines by instrument, for commands that name one (or ``EVERY``).

    Args:
        engines: A :class:`MatchingEngine` for each instrument; the one at place i has ``instrument=i``.

    Raises:
        ConfigError: An engine is not at its instrument's place, or there are none or too many.
    """

    def __cinit__(self, engines):
        cdef MatchingEngine engine
        self.engines = tuple(engines)
        if not 0 < len(self.engines) < ROUTE_ALL:
            raise ConfigError(f"matching: a router has 1 to {ROUTE_ALL - 1} engines, not {len(self.engines)}")
        self.router.matchers = <Matcher**>calloc(len(self.engines), sizeof(Matcher*))
        if self.router.matchers == NULL:
            raise CapacityError("no memory for a router")
        for i, item in enumerate(self.engines):
            if not isinstance(item, MatchingEngine) or item.settings["instrument"] != i:
                raise ConfigError(f"matching: at place {i} of a router is the engine with instrument={i}")
            engine = item
            self.router.matchers[i] = &engine.matcher
        self.router.n = len(self.engines)

    def __dealloc__(self):
        free(self.router.matchers)
        free(self.log.events)

    # What the engines kept becomes the router's, in the order of the commands.
    cdef void _gather(self, list engines):
        cdef MatchingEngine engine
        for engine in engines:
            matcher_flush(&engine.matcher)
            if engine.log.n:
                log_keep(&self.log, engine.log.events, <uint32_t>engine.log.n)
                engine.log.n = 0

    def apply(self, commands):
        """Applies commands, each at its instrument's engine.

        Args:
            commands: Records of ``command_dtype``, one-dimensional and contiguous.

        Returns:
            The results, and the events of all instruments in the order of the commands.

        Raises:
            InvalidOrder: What was given is not commands.
        """
        cdef const MatchCommand[::1] view
        cdef MatchResult[::1] answers
        cdef uint64_t i
        if not isinstance(commands, np.ndarray) or commands.dtype != command_dtype or commands.ndim != 1:
            raise InvalidOrder("commands are a one-dimensional array of engine.matching.records.command_dtype")
        if not commands.flags.c_contiguous:
            raise InvalidOrder("commands are contiguous")
        results = np.empty(len(commands), result_dtype)
        everybody = list(self.engines)
        self._gather(everybody)
        view, answers = commands, results
        for i in range(<uint64_t>len(commands)):
            router_apply(&self.router, &view[i], &answers[i])
            if answers[i].n_events == 0:
                continue
            if view[i].instrument < self.router.n:
                self._gather([everybody[view[i].instrument]])
            else:
                self._gather(everybody)
        return results, log_take(&self.log)
