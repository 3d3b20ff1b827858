"""Blocks of text to lines, for parsers of csv files; numbers that fast scanning does not cover."""

from libc.math cimport isfinite

from engine.core.codes cimport OK

from engine.core.errors import DataError

MAX_LINE = 1 << 16
"""Bytes of a line at most."""

cdef int _k
POW10[0] = 1.0
for _k in range(1, 23):
    POW10[_k] = POW10[_k - 1] * 10.0


cdef const char* slow_decimal(const char* p, double* out) noexcept nogil:
    cdef const char* end = skip_field(p)
    with gil:
        try:
            # Python's float also takes white space, underscores, infinities and words.
            text = p[:end - p]
            out[0] = float(text) if text.strip(b"0123456789+-.eE") == b"" else float("nan")
        except ValueError:
            return NULL
    return end if isfinite(out[0]) else NULL


cdef class LineParser:
    """What parsers of lines have in common: blocks are cut at newlines, lines counted.

    Attributes:
        line: Lines read so far.
        file: What errors name.
    """

    def __cinit__(self, *args, **options):
        self._tail = b""
        self.line = 0
        self.file = None

    cdef int parse_line(self, const char** cursor) noexcept nogil:
        """Parses the line at the cursor and moves it behind; the cursor stays if the answer is not OK."""
        return OK

    cdef object refuse(self, bytes text, int fault):
        """Raises what is wrong with a line."""

    def feed(self, bytes block not None):
        """Parses the lines that this block completes.

        Raises:
            DataError: A line is refused; the error has its number and field.
        """
        cdef bytes data = self._tail + block if self._tail else block
        cdef const char* begin = data
        cdef const char* p = begin
        cdef const char* end = begin + data.rfind(b"\n") + 1
        cdef int fault = OK
        with nogil:
            while p < end:
                fault = self.parse_line(&p)
                if fault != OK:
                    break
                self.line += 1
        if fault != OK:
            self.line += 1
            self.refuse(data[p - begin:].split(b"\n", 1)[0], fault)
        self._tail = data[end - begin:]
        if len(self._tail) > MAX_LINE:
            raise DataError(f"a line of more than {MAX_LINE} bytes", file=self.file, line=self.line + 1)

    def close(self):
        """Looks whether the text ended with a line.

        Raises:
            DataError: It did not.
        """
        if self._tail:
            raise DataError("truncated: the last line does not end", file=self.file, line=self.line + 1)
