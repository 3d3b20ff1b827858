"""Feeding tapes from Python; source.pxd says who packs them."""

cimport cython
from libc.stdint cimport INT64_MAX, int64_t

import numpy as np

from engine.backtest.checks cimport FAULT_NONE
from engine.backtest.tape cimport (
    LOCAL,
    VENUE,
    Tape,
    helper_free,
    helper_new,
    helper_runs,
    helper_stop,
    tape_check,
    tape_free,
    tape_help,
    tape_init,
    tape_offer,
    tape_offer_none,
    tape_start,
)
from engine.core.codes cimport ERR_BAD_ROW, OK
from engine.core.types cimport Event

from engine.backtest.checks import FAULTS
from engine.core.errors import ConfigError, DataError, raise_for_code

def check_threads(threads) -> None:
    """Raises ConfigError unless ``threads`` is 1 or 2."""
    if isinstance(threads, bool) or threads not in (1, 2):
        raise ConfigError(f"threads {threads!r} is neither 1 nor 2")


cdef class Packer:
    """Who packs the tapes of a run.

    Args:
        tapes: How many there are.
        threads: 1 packs them when they are needed; with 2 a thread does so ahead.
    """

    def __cinit__(self, int tapes, threads=1):
        check_threads(threads)
        if threads == 1:
            return
        self.ahead = helper_new(tapes)
        if self.ahead == NULL:
            raise MemoryError

    def __dealloc__(self):
        if self.ahead != NULL:
            helper_free(self.ahead)

    cdef void help(self, Tape* tape):
        """Has a tape packed ahead, unless nothing is in it; its first chunk has been given."""
        if self.ahead != NULL and not tape.packing.no_more:
            tape_help(tape, self.ahead)

    @property
    def threads(self) -> int:
        """How many the run uses now."""
        return 2 if self.ahead != NULL and helper_runs(self.ahead) else 1

    cpdef close(self):
        """Ends the helper's thread; what is left is packed when it is needed."""
        if self.ahead != NULL:
            helper_stop(self.ahead)


cdef void _more(Tape* tape) noexcept nogil:
    with gil:
        (<Source>tape.owner).give()


# The helper reads arrays that this holds: it has to end before they are let go.
@cython.no_gc_clear
cdef class Source:
    """A recording on its way into a tape.

    Args:
        chunks: Iterable of ``(events, name, first_row)``: ``event_dtype`` arrays in order of time, what errors
            call the file (None for none), and the number of the array's first row in that file. The next one
            is asked for when the one before is used up (or, with a helper, is being packed), and let go when
            both sides have passed it.
        tick_size: Of the book that the rows have to fit.
        lot_size: Of the book.
        latency_offset: Nanoseconds added to all local times.
        by_order: Whether the recording is market by order.
        packer: Who packs it.
    """

    def __cinit__(
        self,
        chunks,
        double tick_size,
        double lot_size,
        int64_t latency_offset,
        bint by_order,
        Packer packer not None,
    ):
        self.chunks = iter(chunks)
        self.held = []
        self.error = None
        self.asked = 0
        self.packer = packer
        raise_for_code(tape_init(&self.tape, tick_size, lot_size, by_order))
        self.tape.latency_offset = latency_offset
        self.tape.more = _more
        self.tape.owner = <void*>self
        if packer.ahead != NULL:
            self.give()
            packer.help(&self.tape)

    def __dealloc__(self):
        if self.packer is not None:
            self.packer.close()
        tape_free(&self.tape)

    cdef void give(self) noexcept:
        """Offers the tape the next chunk that has rows; an error ends it behind those it has."""
        cdef const Event[::1] view
        cdef int64_t needed = min(self.tape.cursors[VENUE].block.chunk, self.tape.cursors[LOCAL].block.chunk)
        try:
            while self.held and self.held[0][0] < needed:
                del self.held[0]
            for events, name, first in self.chunks:
                if len(events):
                    view = events
                    self.asked += 1
                    self.held.append((self.asked, view, name, first))
                    tape_offer(&self.tape, &view[0], view.shape[0])
                    return
        except BaseException as error:
            self.error = error
            tape_offer_none(&self.tape, ERR_BAD_ROW)
            return
        tape_offer_none(&self.tape, OK)

    cdef int64_t horizon(self) noexcept:
        """A time up to which no side needs more than the chunks they have come to; INT64_MAX at the end.

        Running beyond it comes to another chunk, and so to a later horizon, unless the rows are not in order.
        """
        return INT64_MAX if self.tape.ended else self.tape.reached_end

    @property
    def rows(self):
        """Rows of the chunks that the sides have come to."""
        return self.tape.given

    @property
    def last_ts(self):
        """The time of the last row that either side has come to."""
        return self.tape.last_ts

    def start(self):
        """Reads up to the first row of either side."""
        with nogil:
            tape_start(&self.tape)

    def check(self):
        """Raises what ended the tape before its time, DataError with file, row and field for a row."""
        if self.tape.code == OK:
            return
        if self.tape.packing.fault == FAULT_NONE:
            if self.error is not None:
                raise self.error
            raise_for_code(self.tape.code)
        _, view, name, first = next(one for one in self.held if one[0] == self.tape.packing.chunk)
        row = self.tape.packing.fault_row
        field, message = FAULTS[self.tape.packing.fault]
        value = np.asarray(view)[row][field]
        shown = hex(value) if field == "ev" else value
        sizes = (self.tape.tick_size, self.tape.lot_size)
        raise DataError(f"{shown}: {message.format(sizes)}", file=name, row=first + row, field=field)

    def check_invariants(self):
        """Raises InvariantError unless the tape's blocks are in order."""
        raise_for_code(tape_check(&self.tape), "tape")
