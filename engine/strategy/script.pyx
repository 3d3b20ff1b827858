"""Writing calls down and making them again; see the header of script.pxd."""

from libc.stdlib cimport free, realloc
from libc.string cimport memset

from engine.core.types cimport REASON_CANCEL_REQUESTED
from engine.strategy.desk cimport desk_cancel, desk_cancel_all, desk_modify, desk_set_timer, desk_submit

import numpy as np

cdef ScriptCall _call
call_dtype = np.asarray(<ScriptCall[:1]>&_call).dtype
"""A call of a strategy, as it is kept in files."""


cdef class Script:
    """The calls of a kernel's Python strategies; neither written down nor played until it is asked for."""

    def __cinit__(self):
        self.texts = []

    def __dealloc__(self):
        free(self.calls)

    def record(self):
        """Writes calls down from now on."""
        self.mode = SCRIPT_RECORD

    def take(self):
        """The calls since the last time, ``call_dtype`` of shape ``(n,)``; what they say in words is in ``texts``."""
        array = np.zeros(self.n, call_dtype)
        if self.n:
            array[:] = np.asarray(<ScriptCall[:self.n]>self.calls)
        self.n = 0
        return array

    def play(self, const ScriptCall[::1] calls, list texts):
        """Makes these calls in place of the strategies' callbacks, from the run's start.

        Args:
            calls: ``call_dtype``, as they were taken.
            texts: As they were then.
        """
        self.mode = SCRIPT_PLAY
        self.texts = list(texts)
        self.held = calls
        self.next = self.end = NULL
        if calls.shape[0]:
            self.next = &calls[0]
            self.end = self.next + calls.shape[0]

    @property
    def left(self):
        """Calls that are still to be played."""
        return self.end - self.next

    cdef int add(self, uint16_t slot, uint8_t action, uint16_t instrument, uint64_t order_id, int64_t px,
                 int64_t qty, int8_t side, uint8_t order_type, uint8_t time_in_force) except -1:
        cdef ScriptCall* call
        cdef size_t room
        if self.n == self.room:
            room = max(2 * self.room, <size_t>1024)
            call = <ScriptCall*>realloc(self.calls, room * sizeof(ScriptCall))
            if call == NULL:
                raise MemoryError
            self.calls = call
            self.room = room
        call = &self.calls[self.n]
        memset(call, 0, sizeof(ScriptCall))
        call.at = self.callbacks
        call.order_id = order_id
        call.px = px
        call.qty = qty
        call.slot = slot
        call.instrument = instrument
        call.action = action
        call.side = side
        call.order_type = order_type
        call.time_in_force = time_in_force
        self.n += 1
        return 0

    cdef int add_text(self, uint16_t slot, uint8_t action, object text) except -1:
        self.add(slot, action, 0, len(self.texts), 0, 0, 0, 0, 0)
        self.texts.append(text)
        return 0


cdef void script_repeat(const ScriptCall* call, Desk* desk) noexcept nogil:
    if call.action == SCRIPT_SUBMIT:
        desk_submit(
            desk, call.slot, call.instrument, call.side, call.px, call.qty, call.order_type, call.time_in_force, 0
        )
    elif call.action == SCRIPT_MODIFY:
        desk_modify(desk, call.slot, call.order_id, call.px, call.qty)
    elif call.action == SCRIPT_CANCEL:
        desk_cancel(desk, call.slot, call.order_id, REASON_CANCEL_REQUESTED)
    elif call.action == SCRIPT_CANCEL_ALL:
        desk_cancel_all(desk, call.slot, call.instrument, REASON_CANCEL_REQUESTED)
    elif call.action == SCRIPT_TIMER:
        desk_set_timer(desk, call.slot, call.qty, call.px)
