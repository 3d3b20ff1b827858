"""Messages of any length through an SPSC ring; frames.pxd says how they lie there."""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

from engine.core.ring cimport (
    SPSC_EMPTY,
    SPSC_FULL,
    SPSC_OK,
    Ring,
    ring_notify,
    spsc_claim,
    spsc_consume,
    spsc_peek,
    spsc_publish,
    spsc_slot,
    spsc_used,
)

from engine.core.errors import RingCorrupt


@cython.final
cdef class Frames:
    """One end of a queue of messages; the other process, or thread, has the other end of the same ring.

    Args:
        ring: Its slots; 64 bytes are a good size for messages of a hundred.

    Attributes:
        longest: Bytes of a message at most: a quarter of the ring, so that none waits for all of it.
    """

    def __init__(self, Ring ring):
        self.ring = ring
        self.longest = max(1, ring.capacity // 4) * ring.slot_size - sizeof(FrameHeader)

    cdef uint64_t _slots(self, uint64_t length) noexcept:
        cdef uint64_t size = self.ring.spsc.slot_size
        return (sizeof(FrameHeader) + length + size - 1) // size

    # `at` counts bytes from the first claimed, or the first published, slot.
    cdef void _write(self, uint64_t at, const void* data, uint64_t size) noexcept:
        cdef unsigned char* first = self.ring.spsc.slots
        cdef uint64_t bytes = self.ring.spsc.capacity * self.ring.spsc.slot_size
        cdef uint64_t start = <uint64_t>(<unsigned char*>spsc_slot(&self.ring.spsc, 0) - first) + at
        cdef uint64_t to_end
        if start >= bytes:
            start -= bytes
        to_end = bytes - start
        memcpy(first + start, data, min(size, to_end))
        if size > to_end:
            memcpy(first, <const unsigned char*>data + to_end, size - to_end)

    cdef void _read(self, uint64_t at, void* data, uint64_t size) noexcept:
        cdef unsigned char* first = self.ring.spsc.slots
        cdef uint64_t bytes = self.ring.spsc.capacity * self.ring.spsc.slot_size
        cdef uint64_t start = at, to_end
        if start >= bytes:
            start -= bytes
        to_end = bytes - start
        memcpy(data, first + start, min(size, to_end))
        if size > to_end:
            memcpy(<unsigned char*>data + to_end, first, size - to_end)

    def send(self, uint16_t tag, bytes body not None, bytes head not None=b"") -> bool:
        """Publishes one message and wakes the consumer if it sleeps.

        Args:
            tag: What kind it is; the consumer gets it back.
            body: Its bytes.
            head: Bytes before them that the consumer gets apart, fewer than 65,536.

        Returns:
            False when there is no room.

        Raises:
            ValueError: It is longer than :attr:`longest`, or the head is.
            RingCorrupt: The indices cannot be right.
        """
        cdef FrameHeader header
        cdef uint64_t n_head = len(head), n_body = len(body)
        cdef int code
        self.ring._open()
        if n_head + n_body > self.longest or n_head > 0xffff:
            raise ValueError(f"{n_head} and {n_body} bytes: a message has at most {self.longest}, its head 65535")
        code = spsc_claim(&self.ring.spsc, self._slots(n_head + n_body))
        if code == SPSC_FULL:
            return False
        if code != SPSC_OK:
            self.ring._corrupt()
        header.length, header.head, header.tag = <uint32_t>(n_head + n_body), <uint16_t>n_head, tag
        self._write(0, &header, sizeof(FrameHeader))
        self._write(sizeof(FrameHeader), PyBytes_AS_STRING(head), n_head)
        self._write(sizeof(FrameHeader) + n_head, PyBytes_AS_STRING(body), n_body)
        spsc_publish(&self.ring.spsc, self._slots(n_head + n_body))
        ring_notify(self.ring)
        return True

    def take(self, Py_ssize_t most=64) -> list:
        """Takes messages out, oldest first.

        Args:
            most: At most so many.

        Returns:
            ``(tag, head, body)`` each.

        Raises:
            RingCorrupt: Indices or a header cannot be right; nothing more can be read.
        """
        cdef FrameHeader header
        cdef uint64_t n = 0, start
        cdef void* first = NULL
        cdef int code
        cdef list out = []
        self.ring._open()
        while len(out) < most:
            code = spsc_peek(&self.ring.spsc, &first, &n)
            if code == SPSC_EMPTY:
                break
            if code != SPSC_OK:
                self.ring._corrupt()
            memcpy(&header, first, sizeof(FrameHeader))
            n = self._slots(header.length)
            if n > spsc_used(&self.ring.spsc) or n > self.ring.spsc.capacity or header.head > header.length:
                raise RingCorrupt(f"ring {self.ring.path or 'in private memory'}: a message of impossible length")
            start = <uint64_t>(<unsigned char*>first - self.ring.spsc.slots) + sizeof(FrameHeader)
            head = PyBytes_FromStringAndSize(NULL, header.head)
            body = PyBytes_FromStringAndSize(NULL, header.length - header.head)
            self._read(start, PyBytes_AS_STRING(head), header.head)
            self._read(start + header.head, PyBytes_AS_STRING(body), header.length - header.head)
            spsc_consume(&self.ring.spsc, n)
            out.append((header.tag, head, body))
        return out

    def take_parts(self, Py_ssize_t most=64) -> list:
        """As :meth:`take`, where tags mean nothing: ``[head, body]`` each, or ``[body]`` if there is no head."""
        cdef list out = self.take(most)
        cdef Py_ssize_t i
        cdef tuple one
        for i in range(len(out)):
            one = out[i]
            out[i] = [one[1], one[2]] if one[1] else [one[2]]
        return out
