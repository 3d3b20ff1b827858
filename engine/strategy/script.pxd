"""What Python strategies have asked of the desk, call by call: written down, or played in their place.

All else in a run follows from its data, so a run is brought back to where it was by running it again; only Python
strategies would take long, and what they did is known. While the script is played their callbacks are counted but not
made, and each call is made at the callback in which it was made the first time: the kernel cannot tell the difference.
A callback that is played costs a compare, and no GIL; one that is written down an addition, and a copy of 48 bytes for
each call that it makes.
"""

from libc.stdint cimport int8_t, int64_t, uint8_t, uint16_t, uint64_t

from engine.strategy.desk cimport Desk


cdef enum ScriptMode:
    SCRIPT_OFF = 0
    SCRIPT_RECORD = 1
    SCRIPT_PLAY = 2


cdef enum ScriptAction:
    SCRIPT_SUBMIT = 1
    SCRIPT_MODIFY = 2
    SCRIPT_CANCEL = 3
    SCRIPT_CANCEL_ALL = 4
    SCRIPT_TIMER = 5
    SCRIPT_LOG = 6
    SCRIPT_FAIL = 7


cdef struct ScriptCall:
    uint64_t at                  # the callback that made it, counted over all Python strategies from 1
    uint64_t order_id            # or the number of its text
    int64_t px                   # tick, or when a timer fires first
    int64_t qty                  # lots, or a timer's interval
    uint16_t slot
    uint16_t instrument
    uint8_t action
    int8_t side
    uint8_t order_type
    uint8_t time_in_force
    uint8_t _pad[8]


cdef class Script:
    cdef int mode
    cdef readonly uint64_t callbacks     # of Python strategies so far
    cdef ScriptCall* calls               # since they were last taken
    cdef size_t n
    cdef size_t room
    cdef const ScriptCall* next          # to be played
    cdef const ScriptCall* end
    cdef object held
    cdef readonly list texts             # log lines, and failures

    cdef int add(self, uint16_t slot, uint8_t action, uint16_t instrument, uint64_t order_id, int64_t px,
                 int64_t qty, int8_t side, uint8_t order_type, uint8_t time_in_force) except -1
    cdef int add_text(self, uint16_t slot, uint8_t action, object text) except -1


# Makes one call again, of those that need no text.
cdef void script_repeat(const ScriptCall* call, Desk* desk) noexcept nogil
