"""What changed in a book since it was last published: a bounded set of levels, and the best prices then.

Noting a change is one probe into an open-addressing table of a fixed size; emptying it is one increment,
because an entry counts only with the present generation. A set that is full, or a best price that jumped
far, makes the next publication a snapshot: nothing is lost, it only gets coarser.

Levels that a moving best price hides, uncovers or (a quote of the best) drops have no event of their own,
so everything that the best price has passed since the last publication is published as well.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t

from engine.book.l2 cimport L2Book
from engine.core.types cimport Event
from engine.runtime.records cimport DepthLevel


cdef enum:
    DIRTY_LIMIT = 2048           # changed levels that a batch holds; more make it a snapshot
    DIRTY_TABLE = 4096
    SNAPSHOT_LEVELS = 1000       # of each side; levels further out follow as they change
    BATCH_LEVELS = 2 * SNAPSHOT_LEVELS + DIRTY_LIMIT


cdef struct Conflator:
    int64_t* keys                # DIRTY_TABLE of them: tick * 2 + (1 for asks)
    uint32_t* generations
    uint32_t* used               # places of the changed levels, in the order they changed
    int64_t* ticks               # scratch of a snapshot, SNAPSHOT_LEVELS
    double* qtys
    int64_t low[2]               # where the best bid and ask have been since the last batch
    int64_t high[2]
    int64_t exch_ts              # of the last event noted
    uint32_t generation
    uint32_t n
    uint8_t snapshot             # the next batch starts from an empty book
    uint8_t conflated            # a level changed twice, or a batch could not be sent, since the last one
    uint8_t _pad[6]


cdef int conflator_init(Conflator* self) noexcept nogil
cdef void conflator_free(Conflator* self) noexcept nogil
# Takes note of an event that the book has applied.
cdef void conflator_note(Conflator* self, const L2Book* book, const Event* event) noexcept nogil
# Whether there is something to publish.
cdef bint conflator_due(const Conflator* self) noexcept nogil
# Writes the changed levels, bids first, and returns how many; `out` has room for BATCH_LEVELS. n_bids is set.
cdef uint32_t conflator_levels(
    Conflator* self, const L2Book* book, DepthLevel* out, uint32_t* n_bids
) noexcept nogil
# The levels are on their way: start anew.
cdef void conflator_sent(Conflator* self, const L2Book* book) noexcept nogil
