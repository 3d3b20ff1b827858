"""Messages of any length through an SPSC ring: each takes as many neighbouring slots as it needs.

The first slot begins with a header; what follows runs on over the slots, around the end of the ring too. A
message is published as a whole or not at all, so a killed producer leaves none half written.

Cost: one claim, one copy and one publish a message. Bad case: messages little longer than a number of slots,
which waste nearly one each.

Nothing in the header is trusted beyond what the ring says is published: a hostile producer can make messages
of wrong bytes, not of wrong addresses.
"""

from libc.stdint cimport uint16_t, uint32_t, uint64_t

from engine.core.ring cimport Ring


cdef struct FrameHeader:
    uint32_t length              # bytes that follow, of head and body
    uint16_t head                # of which this many are the head
    uint16_t tag


cdef class Frames:
    cdef readonly Ring ring
    cdef readonly uint64_t longest

    cdef uint64_t _slots(self, uint64_t length) noexcept
    cdef void _write(self, uint64_t at, const void* data, uint64_t size) noexcept
    cdef void _read(self, uint64_t at, void* data, uint64_t size) noexcept
