"""The roster: strategies in their slots, their states and their callbacks, over one desk.

Costs: a callback of a compiled strategy is one virtual call; one of a Python strategy takes the GIL and
makes its arguments. Only callbacks that a class overrides are ever called. A strategy that raises is
put into Error and its orders are cancelled; nothing is raised towards the caller.
"""

from libc.stdint cimport uint8_t, uint16_t, uint64_t

from engine.strategy.desk cimport MAX_STRATEGIES, Desk
from engine.strategy.script cimport Script, ScriptCall


cdef class Roster:
    cdef Desk desk
    cdef uint64_t* book_calls            # an instrument's strategies that have on_book, as bits
    cdef uint64_t* trade_calls
    cdef void* natives[MAX_STRATEGIES]   # borrowed from `strategies`: called without the GIL
    cdef bint started
    cdef readonly uint64_t seed          # of the run, for strategies that draw random numbers
    cdef readonly tuple symbols          # in the order of the instruments' numbers
    cdef list views                      # a BookView an instrument
    cdef list strategies                 # Strategy, NativeStrategy, or None for an external one
    cdef list contexts
    cdef list names
    cdef list messages
    cdef list failed                     # (StrategyFailure, its exception), or None
    cdef list symbols_of
    cdef list params_of                  # of external strategies
    cdef list logs
    cdef readonly Script script          # of the Python strategies
    cdef dict limits                     # (slot, instrument) to RiskLimits on single orders
    cdef dict scope_limits               # scope number to RiskLimits
    cdef dict latched                    # (kind of scope, its name, cause) to LatchInfo

    cdef void fan_out(
        self, uint64_t listeners, uint8_t call, uint16_t instrument, const void* data
    ) noexcept nogil
    # One callback, if the strategy has it, then the denials that it caused.
    cdef void callback(
        self, uint8_t call, uint16_t slot, uint16_t instrument, const void* data, const void* more
    ) noexcept nogil
    cdef void _dispatch(
        self, uint8_t call, uint16_t slot, uint16_t instrument, const void* data, const void* more
    ) noexcept nogil
    cdef void _deliver_denied(self) noexcept nogil
    # In place of a Python strategy's callback: what it did there when the script was written.
    cdef void _play(self) noexcept nogil
    cdef void _play_text(self, const ScriptCall* call) noexcept with gil
    cdef void _call_python(
        self, uint8_t call, uint16_t slot, uint16_t instrument, const void* data, const void* more
    ) noexcept with gil

    # Cold: these hold the GIL.
    cdef int call_cold(self, uint16_t slot, str method, tuple arguments) except -1
    cdef void fail(self, uint16_t slot, str callback, object error)
    cdef void mark_failed(self, uint16_t slot, object what, object error)
    # By the table of strategy/states.py: IllegalTransition for what it does not have.
    cdef int move(self, uint16_t slot, str action, str message) except -1
    cdef void enter(self, uint16_t slot, uint8_t state, str message)
    cdef void log(self, uint16_t slot, str level, str text)
    cdef int instrument_of(self, object symbol) except -1
    cdef int slot_of(self, object name) except -1
    cdef int vacancy(self, str name, uint8_t kind) except -1
    cdef int seat(self, str name, uint8_t kind, object strategy, object symbols, object limits) except -1
    cdef int must_add_up(self, object limits, object instruments) except -1
    cdef int take_limits(self, uint16_t slot, object limits, object instruments) except -1
    cdef int assign(self, uint16_t slot, object symbols) except -1
    cdef int set_limits(self, uint16_t slot, uint16_t instrument, object limits) except -1
    cdef int set_scope_limits(self, size_t scope, object limits, object instruments) except -1
    cdef int begin(self, uint16_t slot) except -1
    cdef int keep_latches(self, size_t scope, str kind, str name) except -1
    cdef int apply_latches(self, size_t scope, str kind, str name) except -1
