"""What makes events a tape's rows: checks, ticks and, market by order, the orders' changes."""

from libc.stdint cimport int64_t

from engine.backtest.tape cimport Tape, TapeBlock
from engine.book.roll cimport RollChange


# Packs rows up to `end` of the current chunk, or up to a fault, which it returns: the Fault of checks.pxd.
cdef int pack_rows(Tape* tape, TapeBlock* block, int64_t end) noexcept nogil
# Has the rows of a packed block move the orders, and notes what they do.
cdef void pack_orders(Tape* tape, TapeBlock* block) noexcept nogil
# Room for that of one block, cleared, so that a loop may look ahead; NULL without memory.
cdef RollChange* pack_room() noexcept nogil
# The later of the times at which the sides see the last row that they see of the chunk that is to be packed.
cdef int64_t pack_end(const Tape* tape) noexcept nogil
