"""Writes msgpack by hand, where a message is made of a record: each writes one value and returns where it ended.

A number takes at most nine bytes. What is written is what :mod:`bridge.codec` would write; tests hold the two
together.
"""

from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy


cdef inline uint64_t swapped(uint64_t value) noexcept nogil:
    cdef uint64_t out = 0
    cdef int i
    for i in range(8):
        out = (out << 8) | ((value >> (8 * i)) & 0xff)
    return out


cdef inline unsigned char* pack_big(unsigned char* at, unsigned char code, uint64_t value, int size) noexcept nogil:
    # msgpack is big-endian: the last `size` bytes of the number.
    cdef uint64_t big = swapped(value)
    at[0] = code
    memcpy(at + 1, <unsigned char*>&big + 8 - size, size)
    return at + 1 + size


cdef inline unsigned char* pack_unsigned(unsigned char* at, uint64_t value) noexcept nogil:
    if value < 0x80:
        at[0] = <unsigned char>value
        return at + 1
    if value <= 0xff:
        return pack_big(at, 0xcc, value, 1)
    if value <= 0xffff:
        return pack_big(at, 0xcd, value, 2)
    if value <= 0xffffffffu:
        return pack_big(at, 0xce, value, 4)
    return pack_big(at, 0xcf, value, 8)


cdef inline unsigned char* pack_signed(unsigned char* at, int64_t value) noexcept nogil:
    if value >= 0:
        return pack_unsigned(at, <uint64_t>value)
    if value >= -32:
        at[0] = <unsigned char>(value & 0xff)
        return at + 1
    if value >= -128:
        return pack_big(at, 0xd0, <uint64_t>value, 1)
    if value >= -32768:
        return pack_big(at, 0xd1, <uint64_t>value, 2)
    if value >= -2147483648:
        return pack_big(at, 0xd2, <uint64_t>value, 4)
    return pack_big(at, 0xd3, <uint64_t>value, 8)


cdef inline unsigned char* pack_float(unsigned char* at, double value) noexcept nogil:
    cdef uint64_t bits
    memcpy(&bits, &value, 8)
    return pack_big(at, 0xcb, bits, 8)


cdef inline unsigned char* pack_bool(unsigned char* at, bint value) noexcept nogil:
    at[0] = 0xc3 if value else 0xc2
    return at + 1


cdef inline unsigned char* pack_text(unsigned char* at, const char* text, size_t size) noexcept nogil:
    """Writes UTF-8 of less than 65,536 bytes."""
    if size < 32:
        at[0] = <unsigned char>(0xa0 | size)
        at += 1
    elif size <= 0xff:
        at = pack_big(at, 0xd9, size, 1)
    else:
        at = pack_big(at, 0xda, size, 2)
    memcpy(at, text, size)
    return at + size
