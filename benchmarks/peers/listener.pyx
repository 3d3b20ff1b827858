"""The strategies of bench_strategy.py, compiled: the same callbacks doing the same."""

cimport cython
from libc.stdint cimport int64_t, uint16_t

from engine.core.types cimport Event
from engine.strategy.desk cimport CALL_BOOK, CALL_TIMER, CALL_TRADE, book_mid
from engine.strategy.native cimport NativeStrategy, native_book, native_position, native_set_timer


@cython.final
cdef class Listener(NativeStrategy):
    """Hears of every book and every trade."""

    cdef int64_t heard

    def __cinit__(self):
        self.calls = CALL_BOOK | CALL_TRADE

    cdef void on_book(self, uint16_t instrument) noexcept nogil:
        self.heard += 1

    cdef void on_trade(self, uint16_t instrument, const Event* event) noexcept nogil:
        self.heard += 1


@cython.final
cdef class Reader(NativeStrategy):
    """Keeps an average of the mid price and the traded quantity, and looks at its position."""

    cdef int64_t heard
    cdef double average
    cdef double traded

    def __cinit__(self):
        self.calls = CALL_BOOK | CALL_TRADE

    cdef void on_book(self, uint16_t instrument) noexcept nogil:
        cdef double mid = book_mid(native_book(self, instrument))
        self.heard += 1
        if mid == mid and native_position(self, instrument) == 0:
            self.average += 0.01 * (mid - self.average)

    cdef void on_trade(self, uint16_t instrument, const Event* event) noexcept nogil:
        self.heard += 1
        self.traded += event.qty


@cython.final
cdef class Ticker(NativeStrategy):
    """Hears of every tick of a timer."""

    cdef int64_t heard

    def __cinit__(self):
        self.calls = CALL_TIMER

    cdef void on_start(self) noexcept nogil:
        native_set_timer(self, 500_000)

    cdef void on_timer(self, int64_t now) noexcept nogil:
        self.heard += 1
