"""SPSC rings of fixed-size slots, private or in shared memory, and the bell that wakes a consumer.

Compiled users work on ``&ring.spsc`` with the inline functions of spsc.h, without the GIL::

    producer   spsc_claim(r, n) == SPSC_OK      then write spsc_slot(r, 0 .. n-1)
               spsc_claim_upto(r, want, &n)     as many as there are, reached the same way
               spsc_claim_run(r, want, &p, &n)  contiguous slots, for memcpy
               spsc_publish(r, n)               or spsc_publish_at(r, n, cursor), atomic with the cursor;
                                                then ring_notify(ring) once a batch
    consumer   spsc_peek(r, &p, &n) == SPSC_OK  contiguous slots, oldest first
               spsc_consume(r, n)
               bell_wait(fd, rings, n, timeout_ns) when all of them are empty

Costs and the bad case are in spsc.h. Waking costs one fence a batch, and a system call only when the
consumer really sleeps.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t
from posix.unistd cimport write as c_write


cdef extern from "spsc.h" nogil:
    enum:
        SPSC_OK
        SPSC_FULL
        SPSC_EMPTY
        SPSC_CORRUPT
        SPSC_BAD_SIZE

    ctypedef struct SpscHeader:
        pass

    ctypedef struct SpscRing:
        SpscHeader* header
        unsigned char* slots
        uint64_t capacity
        uint64_t slot_size

    bint spsc_size_ok(uint64_t capacity, uint64_t slot_size) noexcept
    uint64_t spsc_bytes(uint64_t capacity, uint64_t slot_size) noexcept
    int spsc_attach(SpscRing* ring, void* memory, uint64_t size) noexcept
    int spsc_format(
        SpscRing* ring, void* memory, uint64_t size, uint64_t capacity, uint64_t slot_size
    ) noexcept

    int spsc_claim(SpscRing* ring, uint64_t n) noexcept
    void* spsc_slot(SpscRing* ring, uint64_t i) noexcept
    void* spsc_claim_one(SpscRing* ring) noexcept
    int spsc_claim_upto(SpscRing* ring, uint64_t want, uint64_t* n) noexcept
    int spsc_claim_run(SpscRing* ring, uint64_t want, void** first, uint64_t* n) noexcept
    void spsc_publish(SpscRing* ring, uint64_t n) noexcept
    void spsc_publish_at(SpscRing* ring, uint64_t n, uint64_t cursor) noexcept
    uint64_t spsc_cursor(const SpscRing* ring) noexcept
    void spsc_drop(SpscRing* ring, uint64_t n) noexcept
    uint64_t spsc_dropped(const SpscRing* ring) noexcept

    int spsc_peek(SpscRing* ring, void** first, uint64_t* n) noexcept
    void spsc_consume(SpscRing* ring, uint64_t n) noexcept
    uint64_t spsc_consumed(const SpscRing* ring) noexcept
    uint64_t spsc_consumer_cursor(const SpscRing* ring) noexcept
    void spsc_set_consumer_cursor(SpscRing* ring, uint64_t cursor) noexcept

    uint64_t spsc_used(const SpscRing* ring) noexcept
    bint spsc_is_empty(const SpscRing* ring) noexcept
    void spsc_set_sleeping(SpscRing* ring, uint32_t sleeping) noexcept
    bint spsc_arm(SpscRing** rings, size_t n) noexcept
    bint spsc_must_wake(const SpscRing* ring) noexcept


cdef enum:
    MAX_BELL_RINGS = 32


cdef class Bell:
    cdef readonly int fd           # readable when rung: for poll and zmq.Poller
    cdef int write_fd
    cdef readonly str path         # None for a private bell


cdef class Ring:
    cdef SpscRing spsc
    cdef void* memory
    cdef uint64_t memory_size
    cdef bint mapped
    cdef readonly str path         # None for a private ring
    cdef readonly Bell bell        # rung by ring_notify, or None
    cdef int bell_fd

    cdef int _map(self, int fd, uint64_t size, path) except -1
    cdef int _open(self) except -1
    cdef int _corrupt(self) except -1
    cdef void _release(self) noexcept


# The handles of at most MAX_BELL_RINGS rings; how many.
cdef uint32_t ring_handles(object rings, SpscRing** out) except? 0xffffffff
# Waits until one of the rings has something or the bell rings; 1 when a ring has something, else 0.
# A negative timeout waits for ever; 0 only looks.
cdef int bell_wait(int fd, SpscRing** rings, uint32_t n, int64_t timeout_ns) noexcept nogil
cdef void bell_drain(int fd) noexcept nogil


cdef inline void bell_ring(int write_fd) noexcept nogil:
    cdef char byte = 1
    # A full pipe is as good as a byte: the consumer will wake up.
    c_write(write_fd, &byte, 1)


# After publishing, once a batch: wakes the consumer if it sleeps.
cdef inline void ring_notify(Ring ring) noexcept nogil:
    if ring.bell_fd >= 0 and spsc_must_wake(&ring.spsc):
        bell_ring(ring.bell_fd)
