"""Lines of comma-separated fields: what parsers of csv files share; see fields.pyx.

Every scanner stops at the newline that ends a line or at the NUL behind a ``bytes`` object, hence needs no end.
"""

from libc.stdint cimport int64_t, uint64_t

cdef enum:
    MAX_DIGITS = 18        # that 64 bits hold whatever they are

cdef double[23] POW10


cdef inline bint at_end(const char* p) noexcept nogil:
    """Whether a field ends here: at a comma, the line's end or the text's."""
    cdef unsigned char c = <unsigned char>p[0]
    # A comma is the greatest of the four, and nearly all other bytes are greater.
    return c <= 44 and (c == 44 or c == 10 or c == 13 or c == 0)


# Reads a decimal number of any form up to a comma or the line's end; NULL if it is none or not finite.
cdef const char* slow_decimal(const char* p, double* out) noexcept nogil


# An integer of at most MAX_DIGITS digits; NULL if there is none.
cdef inline const char* read_integer(const char* p, int64_t* out) noexcept nogil:
    cdef int64_t value = 0
    cdef bint negative = p[0] == b"-"
    cdef const char* start
    cdef unsigned int c
    p += negative
    start = p
    c = <unsigned char>p[0] - 48
    while c <= 9 and p - start < MAX_DIGITS:
        value = value * 10 + c
        p += 1
        c = <unsigned char>p[0] - 48
    if p == start or c <= 9:
        return NULL
    out[0] = -value if negative else value
    return p


# A decimal, correctly rounded: 53 bits over a power of ten round once, anything else goes the slow way.
cdef inline const char* read_decimal(const char* begin, double* out) noexcept nogil:
    cdef uint64_t mantissa = 0
    cdef const char* p = begin + (begin[0] == b"-")
    cdef const char* start = p
    cdef const char* point = NULL
    cdef unsigned int c = <unsigned char>p[0] - 48
    cdef Py_ssize_t digits, fraction
    while c <= 9 or (p[0] == b"." and point == NULL):
        if c <= 9:
            mantissa = mantissa * 10 + c
        else:
            point = p
        p += 1
        c = <unsigned char>p[0] - 48
    digits = p - start - (point != NULL)
    fraction = p - point - 1 if point != NULL else 0
    if digits == 0 or digits > MAX_DIGITS or mantissa > <uint64_t>1 << 53 or not at_end(p):
        return slow_decimal(begin, out)
    out[0] = <double>mantissa / POW10[fraction]
    if begin[0] == b"-":
        out[0] = -out[0]
    return p


# Where a field ends.
cdef inline const char* skip_field(const char* p) noexcept nogil:
    while not at_end(p):
        p += 1
    return p


# Behind a line's end, NULL if this is none.
cdef inline const char* line_end(const char* p) noexcept nogil:
    p += p[0] == b"\r"
    return p + 1 if p[0] == b"\n" else NULL


cdef class LineParser:
    cdef bytes _tail
    cdef readonly int64_t line
    cdef readonly object file
    cdef int parse_line(self, const char** cursor) noexcept nogil
    cdef object refuse(self, bytes text, int fault)
